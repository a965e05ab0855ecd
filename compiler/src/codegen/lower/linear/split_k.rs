//! Split-K: accumulators of rows and channels stay on chip while slices of activations and weights
//! pass.

use std::ops::Range;

use vitcod_isa::instr::Width;
use vitcod_isa::instr::table::Matmul;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, SramOperand, Tile, chunks, chunks_of};
use crate::codegen::limits::bytes32;
use crate::codegen::lower::linear::extents::{Extents, KEPT, Tiling, slice_buffers};
use crate::codegen::lower::linear::layer::Layer;
use crate::codegen::lower::linear::names::{ACCUMULATORS, ACTIVATIONS, WEIGHTS};
use crate::codegen::lower::linear::templates::matmul;
use crate::codegen::lower::linear::weights::{WeightTile, load_channels};
use crate::codegen::strategy::STRIPES;

/// Buffers that panels use one after the other.
pub(crate) struct PanelBuffers {
    /// The accumulators of each part of a panel.
    sums: Vec<Tile>,
    /// Channels per part.
    step: usize,
    weights: BufferRing,
}

/// The accumulators of some rows and channels.
pub(crate) struct AccumulatorPanel<'r> {
    buffers: &'r mut PanelBuffers,
    rows: Range<usize>,
    parts: Vec<PanelColumns>,
    /// Whether the accumulators hold sums.
    begun: bool,
}

/// The channels of an instruction, with their accumulators and parameters.
struct PanelColumns {
    channels: Range<usize>,
    sums: Tile,
    params: SramOperand,
}

/// A slice of the depth of some rows of the activations, on chip.
#[derive(Clone)]
pub(crate) struct KSlice {
    pub(crate) depth: Range<usize>,
    /// Stripes of rows, each in its own buffer, which the next slice can reuse as soon as the
    /// stripe has been multiplied.
    pub(crate) stripes: Vec<(Range<usize>, Tile)>,
}

impl PanelBuffers {
    /// Buffers for the panels of a layer's tiling, the widest panel first.
    pub(crate) fn new(extents: &Extents, tiling: Tiling) -> PanelBuffers {
        let Tiling { channels, depth, .. } = tiling;
        PanelBuffers {
            sums: Vec::new(),
            step: channels,
            weights: BufferRing::new(WEIGHTS, 2, extents.weight_bytes(channels, depth)),
        }
    }
}

impl AccumulatorPanel<'_> {
    /// A panel of some rows and channels in the given buffers.
    pub(crate) fn new<'r>(
        builder: &mut Builder<'_>,
        buffers: &'r mut PanelBuffers,
        layer: &Layer<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) -> AccumulatorPanel<'r> {
        let mut parts = Vec::new();
        for (index, channels) in chunks_of(channels, buffers.step).enumerate() {
            let row_bytes = 4 * channels.len();
            if index == buffers.sums.len() {
                buffers.sums.push(builder.tile(ACCUMULATORS, rows.len(), row_bytes));
            }
            let sums = Tile { stride: bytes32(row_bytes), ..buffers.sums[index] };
            let params = load_channels(builder, layer.group.linear, &channels);
            parts.push(PanelColumns { channels, sums, params });
        }
        AccumulatorPanel { buffers, rows: rows.clone(), parts, begun: false }
    }

    /// Accumulates the products of a slice.
    pub(crate) fn add(&mut self, builder: &mut Builder<'_>, layer: &Layer<'_>, slice: &KSlice) {
        for part in &self.parts {
            let weights = part.weights(builder, &mut self.buffers.weights, layer, &slice.depth);
            for (rows, operand) in &slice.stripes {
                let sums = builder.offset_rows(part.sums, rows.start - self.rows.start);
                let shape = [rows.len(), part.channels.len(), slice.depth.len()];
                let op = matmul(builder.machine, Width::I32, shape);
                let op = Matmul { dst: sums.at.into(), dst_stride: sums.stride, ..op };
                builder.push(
                    layer.group.linear,
                    weights.with(*operand, continued(self.begun, sums, op)),
                );
            }
        }
        self.begun = true;
    }

    /// Accumulates the products of the last slice and writes results, in stripes of rows.
    pub(crate) fn finish(&mut self, builder: &mut Builder<'_>, layer: &Layer<'_>, slice: &KSlice) {
        let height = self.rows.len().div_ceil(STRIPES);
        for part in &self.parts {
            let weights = part.weights(builder, &mut self.buffers.weights, layer, &slice.depth);
            for (stripe, operand) in &slice.stripes {
                for rows in chunks_of(stripe, height).flat_map(|rows| layer.writable(&rows)) {
                    let operand = builder.offset_rows(*operand, rows.start - stripe.start);
                    let sums = builder.offset_rows(part.sums, rows.start - self.rows.start);
                    let target = layer.target(builder, &rows, &part.channels);
                    let shape = [rows.len(), part.channels.len(), slice.depth.len()];
                    let op = matmul(builder.machine, layer.extents.out, shape);
                    let op =
                        Matmul { dst: target.tile.at.into(), dst_stride: target.tile.stride, ..op };
                    builder.push(
                        layer.group.linear,
                        weights.with(operand, continued(self.begun, sums, op)),
                    );
                    layer.finish(builder, &rows, &part.channels, &target);
                }
            }
        }
    }
}

/// A product that is added to `sums`, if they have begun.
fn continued(begun: bool, sums: Tile, op: Matmul) -> Matmul {
    if begun {
        Matmul { accumulate: true, acc: sums.at.into(), acc_stride: sums.stride, ..op }
    } else {
        op
    }
}

impl PanelColumns {
    /// The weights of a slice of the depth.
    fn weights(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        layer: &Layer<'_>,
        depth: &Range<usize>,
    ) -> WeightTile {
        let block = Block { rows: self.channels.clone(), bytes: depth.clone() };
        let linear = layer.group.linear;
        let weights =
            builder.weights_in(ring, linear, builder.graph.op(linear).operands[1], &block);
        WeightTile { weights, params: self.params, channels: self.channels.clone() }
    }
}

impl Layer<'_> {
    /// Emits all rows and channels by split-K.
    pub(crate) fn split_k(&self, builder: &mut Builder<'_>, tiling: Tiling) {
        let Extents { m, n, k, .. } = self.extents;
        for rows in chunks(m, tiling.rows) {
            self.panels(
                builder,
                &rows,
                &(0..n),
                tiling,
                chunks(k, tiling.depth).collect(),
                Vec::new(),
            );
        }
    }

    /// Emits panels of `tiling` for some rows and channels. The `resident` K slices are consumed
    /// first, then `depths` are loaded. Every other panel uses the slices in reverse order, so that
    /// it starts with the last [`KEPT`] slices of the panel before.
    pub(crate) fn panels(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
        tiling: Tiling,
        mut depths: Vec<Range<usize>>,
        mut resident: Vec<KSlice>,
    ) {
        let mut buffers = PanelBuffers::new(&self.extents, tiling);
        let [count, height] = slice_buffers(rows.len());
        let mut operands = BufferRing::new(ACTIVATIONS, count, height * tiling.depth);
        for panel in chunks_of(channels, tiling.panel) {
            let mut panel = AccumulatorPanel::new(builder, &mut buffers, self, rows, &panel);
            let turns = resident.len() + depths.len();
            let mut passed: Vec<KSlice> = Vec::new();
            for turn in 1..=turns {
                let slice = match resident.get(turn - 1) {
                    Some(slice) => slice.clone(),
                    None => self.slice(
                        builder,
                        &mut operands,
                        [rows, &depths[turn - 1 - resident.len()]],
                        height,
                    ),
                };
                if turn < turns {
                    panel.add(builder, self, &slice);
                } else {
                    panel.finish(builder, self, &slice);
                }
                passed.push(slice);
            }
            passed.reverse();
            depths = passed.drain(KEPT.min(turns)..).map(|slice| slice.depth).collect();
            resident = passed;
        }
    }

    /// A slice of the activations, resident or loaded in stripes of rows.
    fn slice(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        [rows, depth]: [&Range<usize>; 2],
        height: usize,
    ) -> KSlice {
        let height = if self.operand.form.on_chip { rows.len() } else { height };
        let stripe = |rows: Range<usize>| {
            let block = Block { rows: rows.clone(), bytes: depth.clone() };
            (rows, self.operand.block_in(builder, ring, &block))
        };
        KSlice { depth: depth.clone(), stripes: chunks_of(rows, height).map(stripe).collect() }
    }
}
