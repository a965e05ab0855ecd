//! Elementwise instructions on tiles.

use vitcod_isa::instr::Shift;
use vitcod_isa::instr::table::{Add, Lut};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{SramOperand, Tile};
use crate::codegen::limits::{MAX_COUNT, count};
use crate::ir::{Op, OpKind};

impl Builder<'_> {
    /// Looks up the elements of a tile of shape `[m, n]`, in place.
    pub(crate) fn lookup(&mut self, layer: Op, table: SramOperand, tile: Tile, shape: [usize; 2]) {
        let [m, n] = self.flat(shape, &[(tile, 1)]);
        let (src, stride) = (tile.at, tile.stride);
        self.push(
            layer,
            Lut {
                src: src.into(),
                table: table.into(),
                dst: src.into(),
                m,
                n,
                src_stride: stride,
                dst_stride: stride,
            },
        );
    }

    /// The `qadd` of two tiles of shape `[m, n]` into a third one; `narrow` if the sum has 8 bits.
    pub(crate) fn add(
        &mut self,
        layer: Op,
        [a, b, sum]: [Tile; 3],
        shape: [usize; 2],
        narrow: bool,
    ) {
        let OpKind::QAdd { a_scale, b_scale, shift } = self.graph.op(layer).kind else {
            unreachable!("groups are formed by kind")
        };
        let [m, n] = self.flat(shape, &[(a, 2), (b, 2), (sum, if narrow { 1 } else { 2 })]);
        let add = Add {
            narrow,
            a: a.at.into(),
            b: b.at.into(),
            dst: sum.at.into(),
            m,
            n,
            a_scale,
            b_scale,
            shift: Shift(shift),
            a_stride: a.stride,
            b_stride: b.stride,
            dst_stride: sum.stride,
        };
        self.push(layer, add);
    }

    /// Rows and columns of an elementwise instruction on tiles, given with the bytes of an element.
    /// Contiguous tiles become one row if their rows do not fill the words of the vector unit.
    pub(crate) fn flat(&self, [m, n]: [usize; 2], tiles: &[(Tile, usize)]) -> [u16; 2] {
        let full = n.is_multiple_of(self.machine.vector.elements_per_cycle as usize);
        let contiguous = tiles.iter().all(|(tile, bytes)| tile.stride as usize == n * bytes);
        if !full && contiguous && m * n <= MAX_COUNT {
            [1, count(m * n)]
        } else {
            [m, n].map(count)
        }
    }
}
