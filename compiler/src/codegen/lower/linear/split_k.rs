//! Split sums: accumulators of rows and channels stay while pieces of the operand and of the
//! weights pass.

use std::ops::Range;

use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Sram, Width};

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, Tile, chunks, chunks_of};
use crate::codegen::lower::elementwise::STRIPES;
use crate::codegen::lower::linear::tiling::{Extents, KEPT, Tiling, slice_buffers};
use crate::codegen::lower::linear::{Linear, WeightTile, load_params, matmul};

/// Buffers for panels, one after the other.
pub(crate) struct PanelBuffers {
    /// One for the accumulators of each part of a panel.
    sums: Vec<Tile>,
    /// Channels of a part.
    step: usize,
    weights: BufferRing,
}

/// Sums of some rows and channels.
pub(crate) struct AccumulatorPanel<'r> {
    buffers: &'r mut PanelBuffers,
    rows: Range<usize>,
    parts: Vec<PanelColumns>,
    /// Whether they hold something.
    begun: bool,
}

/// Channels that an instruction takes.
struct PanelColumns {
    channels: Range<usize>,
    sums: Tile,
    params: Sram,
}

/// PanelColumns of the depth of some rows of the operand, on chip.
#[derive(Clone)]
pub(crate) struct KSlice {
    pub(crate) depth: Range<usize>,
    /// Rows that have a buffer of their own: it is free for those of the next piece as soon as they
    /// have been multiplied.
    pub(crate) stripes: Vec<(Range<usize>, Tile)>,
}

impl PanelBuffers {
    /// For panels of a tiling, the widest first.
    pub(crate) fn new(Tiling { channels, depth, .. }: Tiling) -> PanelBuffers {
        PanelBuffers {
            sums: Vec::new(),
            step: channels,
            weights: BufferRing::new(2, channels * depth),
        }
    }
}

impl AccumulatorPanel<'_> {
    /// Sums of some rows and channels, for which there is buffers.
    pub(crate) fn new<'r>(
        builder: &mut Builder<'_>,
        buffers: &'r mut PanelBuffers,
        linear: &Linear<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) -> AccumulatorPanel<'r> {
        let mut parts = Vec::new();
        for (index, channels) in chunks_of(channels, buffers.step).enumerate() {
            let row_bytes = 4 * channels.len();
            if index == buffers.sums.len() {
                buffers.sums.push(builder.tile(rows.len(), row_bytes));
            }
            let sums = Tile { stride: row_bytes as u32, ..buffers.sums[index] };
            let params = load_params(builder, linear.group.linear, &channels);
            parts.push(PanelColumns { channels, sums, params });
        }
        AccumulatorPanel { buffers, rows: rows.clone(), parts, begun: false }
    }

    /// Adds the products of a piece of the operand.
    pub(crate) fn add(&mut self, builder: &mut Builder<'_>, linear: &Linear<'_>, piece: &KSlice) {
        for part in &self.parts {
            let right = part.right(builder, &mut self.buffers.weights, linear, &piece.depth);
            for (rows, operand) in &piece.stripes {
                let sums = builder.offset_rows(part.sums, rows.start - self.rows.start);
                let shape = [rows.len(), part.channels.len(), piece.depth.len()];
                let op = matmul(builder.all_lines(), Width::I32, shape);
                let op = Matmul { dst: sums.at, dst_stride: sums.stride, ..op };
                builder.push(
                    linear.group.linear,
                    right.with(*operand, continued(self.begun, sums, op)),
                );
            }
        }
        self.begun = true;
    }

    /// Adds the products of the last piece of the operand and makes results of the sums, in stripes
    /// of rows.
    pub(crate) fn finish(
        &mut self,
        builder: &mut Builder<'_>,
        linear: &Linear<'_>,
        piece: &KSlice,
    ) {
        let height = self.rows.len().div_ceil(STRIPES);
        for part in &self.parts {
            let right = part.right(builder, &mut self.buffers.weights, linear, &piece.depth);
            for (stripe, operand) in &piece.stripes {
                for rows in chunks_of(stripe, height).flat_map(|rows| linear.writable(&rows)) {
                    let operand = builder.offset_rows(*operand, rows.start - stripe.start);
                    let sums = builder.offset_rows(part.sums, rows.start - self.rows.start);
                    let target = linear.target(builder, &rows, &part.channels);
                    let shape = [rows.len(), part.channels.len(), piece.depth.len()];
                    let op = matmul(builder.all_lines(), linear.extents.out, shape);
                    let op = Matmul { dst: target.tile.at, dst_stride: target.tile.stride, ..op };
                    builder.push(
                        linear.group.linear,
                        right.with(operand, continued(self.begun, sums, op)),
                    );
                    linear.finish(builder, &rows, &part.channels, &target);
                }
            }
        }
    }
}

/// A product that is added to what sums hold, if they do.
fn continued(begun: bool, sums: Tile, op: Matmul) -> Matmul {
    if begun {
        Matmul { accumulate: true, acc: sums.at, acc_stride: sums.stride, ..op }
    } else {
        op
    }
}

impl PanelColumns {
    /// The weights that a part of the depth is multiplied by.
    fn right(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        linear: &Linear<'_>,
        depth: &Range<usize>,
    ) -> WeightTile {
        let window = Block { rows: self.channels.clone(), bytes: depth.clone() };
        let layer = linear.group.linear;
        let weights = builder.weights_in(ring, layer, builder.graph.op(layer).operands[1], &window);
        WeightTile { weights, params: self.params, channels: self.channels.clone() }
    }
}

impl Linear<'_> {
    /// All rows and channels with split sums.
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

    /// Panels of `tiling` for some rows and channels. The operand comes in pieces of some depths,
    /// before which there are those that are on chip. Every other panel takes the pieces in
    /// reverse, so that it starts with the last [`KEPT`] of the panel before.
    pub(crate) fn panels(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
        tiling: Tiling,
        mut depths: Vec<Range<usize>>,
        mut there: Vec<KSlice>,
    ) {
        let mut buffers = PanelBuffers::new(tiling);
        let [count, height] = slice_buffers(rows.len());
        let mut operands = BufferRing::new(count, height * tiling.depth);
        for panel in chunks_of(channels, tiling.panel) {
            let mut panel = AccumulatorPanel::new(builder, &mut buffers, self, rows, &panel);
            let turns = there.len() + depths.len();
            let mut passed: Vec<KSlice> = Vec::new();
            for turn in 1..=turns {
                let piece = match there.get(turn - 1) {
                    Some(piece) => piece.clone(),
                    None => self.piece(
                        builder,
                        &mut operands,
                        [rows, &depths[turn - 1 - there.len()]],
                        height,
                    ),
                };
                if turn < turns {
                    panel.add(builder, self, &piece);
                } else {
                    panel.finish(builder, self, &piece);
                }
                passed.push(piece);
            }
            passed.reverse();
            depths = passed.drain(KEPT.min(turns)..).map(|piece| piece.depth).collect();
            there = passed;
        }
    }

    /// A piece of the operand, where it lies on chip or loaded in stripes of rows.
    fn piece(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        [rows, depth]: [&Range<usize>; 2],
        height: usize,
    ) -> KSlice {
        let height = if self.operand.form.on_chip { rows.len() } else { height };
        let stripe = |rows: Range<usize>| {
            let window = Block { rows: rows.clone(), bytes: depth.clone() };
            (rows, self.operand.part_in(builder, ring, &window))
        };
        KSlice { depth: depth.clone(), stripes: chunks_of(rows, height).map(stripe).collect() }
    }
}
