//! Products over the full depth: each instruction computes complete sums.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::Width;
use vitcod_isa::instr::table::Matmul;
use vitcod_isa::machine::Machine;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Tile, chunks, chunks_of};
use crate::codegen::limits::count;
use crate::codegen::lower::linear::extents::{Extents, Tiling};
use crate::codegen::lower::linear::layer::Layer;
use crate::codegen::lower::linear::operand::ActivationTile;
use crate::codegen::lower::linear::templates::{matmul, width_of};
use crate::codegen::lower::linear::weights::WeightTile;
use crate::codegen::strategy::{STRIPES, drain_cycles};
use crate::ir::Op;

/// Chooses the rows per instruction at the start of a layer with resident activations and at the
/// end of a layer: fewer than `rows` if a full tile would stall the producer or the reader, which
/// work in stripes.
pub(crate) fn boundary_rows(
    machine: &Machine,
    out: Width,
    [rows, channels, k]: [usize; 3],
) -> usize {
    let stripe = rows.div_ceil(STRIPES);
    let op = matmul(machine, out, [stripe, channels, k]);
    let worth = cost(&op.into(), machine).cycles > 8 * drain_cycles(machine);
    if worth { stripe } else { rows }
}

/// Emits the products of all rows of `x` and the channels of `weights` into the tile `dst`,
/// `height` rows per instruction.
pub(crate) fn emit_all_rows(
    builder: &mut Builder<'_>,
    linear: Op,
    weights: &WeightTile,
    [x, dst]: [Tile; 2],
    height: usize,
) {
    let ((m, k), out) = (
        builder.graph.ty(builder.graph.op(linear).operands[0]).matrix(),
        width_of(builder.graph, linear),
    );
    for rows in chunks(m, height) {
        let [x, dst] = [x, dst].map(|tile| builder.offset_rows(tile, rows.start));
        let op = matmul(builder.machine, out, [rows.len(), weights.channels.len(), k]);
        builder.push(
            linear,
            weights.with(x, Matmul { dst: dst.at.into(), dst_stride: dst.stride, ..op }),
        );
    }
}

/// Emits some output channels of a linear layer for all rows of `x` into a new tile, `width`
/// channels at a time; the first of them `first_height` rows per instruction.
pub(crate) fn project(
    builder: &mut Builder<'_>,
    name: &'static str,
    linear: Op,
    x: Tile,
    (channels, width): (Range<usize>, usize),
    first_height: Option<usize>,
) -> Tile {
    let (m, _) = builder.graph.ty(builder.graph.op(linear).operands[0]).matrix();
    let bytes = width_of(builder.graph, linear).bytes() as usize;
    let tile = builder.tile(name, m, channels.len() * bytes);
    for part in chunks_of(&channels, width) {
        let weights = WeightTile::load(builder, linear, part.clone());
        let dst = Tile {
            at: builder.offset_bytes(tile.at, ((part.start - channels.start) * bytes) as u64),
            ..tile
        };
        let height = first_height.filter(|_| part.start == channels.start).unwrap_or(m);
        emit_all_rows(builder, linear, &weights, [x, dst], height);
    }
    tile
}

impl Layer<'_> {
    /// Emits all rows and channels, each instruction over the full depth; at the boundaries of the
    /// layer `boundary_rows` per instruction.
    pub(crate) fn full_k(&self, builder: &mut Builder<'_>, tiling: Tiling, boundary_rows: usize) {
        let Extents { m, n, operand: form, .. } = self.extents;
        let load = |builder: &mut Builder<'_>, channels: Range<usize>| {
            WeightTile::load(builder, self.group.linear, channels)
        };
        let tiles = form.tiles(m, tiling.rows);
        if form.on_chip || tiling.rows >= m {
            let x = self.operand.read(builder, &(0..m));
            let boundary_tiles =
                if form.is_map() { tiles.clone() } else { chunks(m, boundary_rows).collect() };
            for channels in chunks(n, tiling.channels) {
                let at_boundary = channels.start == 0 && form.on_chip || channels.end == n;
                let weights = load(builder, channels);
                let tiles = if at_boundary { &boundary_tiles } else { &tiles };
                tiles.iter().for_each(|rows| self.tile(builder, &x, rows, &weights));
            }
        } else {
            let all = (tiling.channels >= n).then(|| load(builder, 0..n));
            for rows in &tiles {
                let x = self.operand.read(builder, rows);
                match &all {
                    Some(weights) => self.tile(builder, &x, rows, weights),
                    None => {
                        for channels in chunks(n, tiling.channels) {
                            let weights = load(builder, channels);
                            self.tile(builder, &x, rows, &weights);
                        }
                    }
                }
            }
        }
    }

    /// Emits a tile, divided into parts that one instruction can write.
    pub(crate) fn tile(
        &self,
        builder: &mut Builder<'_>,
        x: &ActivationTile,
        rows: &Range<usize>,
        weights: &WeightTile,
    ) {
        self.writable(rows).into_iter().for_each(|rows| self.rows(builder, x, &rows, weights));
    }

    /// Emits rows that one instruction can write.
    pub(crate) fn rows(
        &self,
        builder: &mut Builder<'_>,
        x: &ActivationTile,
        rows: &Range<usize>,
        weights: &WeightTile,
    ) {
        let target = self.target(builder, rows, &weights.channels);
        let ([runs, run_length], out) = (self.extents.operand.runs(), self.extents.out);
        for run in x.row_runs(builder, rows) {
            let offset = (run.rows.start - rows.start) as u64 * u64::from(target.tile.stride);
            let op = Matmul {
                dst: builder.offset_bytes(target.tile.at, offset).into(),
                dst_stride: target.tile.stride,
                more_runs: count(runs - 1),
                run_stride: run.run_stride,
                ..matmul(builder.machine, out, [run.rows.len(), weights.channels.len(), run_length])
            };
            builder
                .push(self.group.linear, weights.with(Tile { at: run.at, stride: run.stride }, op));
        }
        self.finish(builder, rows, &weights.channels, &target);
    }
}
