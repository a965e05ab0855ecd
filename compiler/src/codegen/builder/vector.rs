//! Elementwise instructions on tiles.

use std::ops::Range;

use vitcod_isa::instr::Shift;
use vitcod_isa::instr::table::{Add, Interpolate, Lut};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{SramOperand, Tile};
use crate::codegen::limits::{MAX_COUNT, count};
use crate::ir::{Elem, Op, OpKind, table_bytes};

impl Builder<'_> {
    /// Looks up, or interpolates, the elements of tiles with some columns of a `lut`, each group of
    /// channels in its table.
    pub(crate) fn lookup(
        &mut self,
        layer: Op,
        tables: SramOperand,
        [src, dst]: [Tile; 2],
        rows: usize,
        columns: &Range<usize>,
    ) {
        let OpKind::Lut { channels } = &self.graph.op(layer).kind else {
            unreachable!("groups are formed by kind")
        };
        let operand = self.graph.ty(self.graph.op(layer).operands[0]).elem;
        let width = operand.bytes();
        let all = [columns.end];
        let channels = if channels.is_empty() { &all[..] } else { channels };
        let mut end = 0;
        for (number, channels) in channels.iter().enumerate() {
            let group = end.max(columns.start)..(end + channels).min(columns.end);
            end += channels;
            if group.is_empty() {
                continue;
            }
            let offset = group.start - columns.start;
            let [src, dst] = [(src, width), (dst, 1)].map(|(tile, bytes)| Tile {
                at: self.offset_bytes(tile.at, (offset * bytes) as u64),
                ..tile
            });
            let [m, n] = self.flat([rows, group.len()], &[(src, width), (dst, 1)]);
            let table = self.offset_bytes(tables, (table_bytes(operand) * number) as u64).into();
            let (src_stride, dst_stride) = (src.stride, dst.stride);
            let (src, dst) = (src.at.into(), dst.at.into());
            match operand {
                Elem::I16 => {
                    self.push(layer, Interpolate { src, table, dst, m, n, src_stride, dst_stride });
                }
                _ => self.push(layer, Lut { src, table, dst, m, n, src_stride, dst_stride }),
            }
        }
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
