//! Split sums: accumulators of rows and channels stay while pieces of the operand and of the
//! weights pass.

use std::ops::Range;

use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Sram, Width};

use super::tiling::{Extents, KEPT, Tiling, piece_buffers};
use super::{Linear, Right, load_params, matmul};
use crate::codegen::ring::Ring;
use crate::codegen::rows::STRIPES;
use crate::codegen::task::{Builder, Tile, Window, steps, within};

/// Buffers for panels, one after the other.
pub(super) struct Room {
    /// One for the accumulators of each part of a panel.
    sums: Vec<Tile>,
    /// Channels of a part.
    step: usize,
    weights: Ring,
}

/// Sums of some rows and channels.
pub(super) struct Panel<'r> {
    room: &'r mut Room,
    rows: Range<usize>,
    parts: Vec<Part>,
    /// Whether they hold something.
    begun: bool,
}

/// Channels that an instruction takes.
struct Part {
    channels: Range<usize>,
    sums: Tile,
    params: Sram,
}

/// Part of the depth of some rows of the operand, on chip.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) depth: Range<usize>,
    /// Rows that have a buffer of their own: it is free for those of the next piece as soon as they
    /// have been multiplied.
    pub(super) stripes: Vec<(Range<usize>, Tile)>,
}

impl Room {
    /// For panels of a tiling, the widest first.
    pub(super) fn new(Tiling { channels, depth, .. }: Tiling) -> Room {
        Room { sums: Vec::new(), step: channels, weights: Ring::new(2, channels * depth) }
    }
}

impl Panel<'_> {
    /// Sums of some rows and channels, for which there is room.
    pub(super) fn new<'r>(
        builder: &mut Builder<'_>,
        room: &'r mut Room,
        linear: &Linear<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) -> Panel<'r> {
        let mut parts = Vec::new();
        for (index, channels) in within(channels, room.step).enumerate() {
            let row_bytes = 4 * channels.len();
            if index == room.sums.len() {
                room.sums.push(builder.tile(rows.len(), row_bytes));
            }
            let sums = Tile { stride: row_bytes as u32, ..room.sums[index] };
            let params = load_params(builder, linear.group.linear, &channels);
            parts.push(Part { channels, sums, params });
        }
        Panel { room, rows: rows.clone(), parts, begun: false }
    }

    /// Adds the products of a piece of the operand.
    pub(super) fn add(&mut self, builder: &mut Builder<'_>, linear: &Linear<'_>, piece: &Piece) {
        for part in &self.parts {
            let right = part.right(builder, &mut self.room.weights, linear, &piece.depth);
            for (rows, operand) in &piece.stripes {
                let sums = builder.below(part.sums, rows.start - self.rows.start);
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
    pub(super) fn finish(&mut self, builder: &mut Builder<'_>, linear: &Linear<'_>, piece: &Piece) {
        let height = self.rows.len().div_ceil(STRIPES);
        for part in &self.parts {
            let right = part.right(builder, &mut self.room.weights, linear, &piece.depth);
            for (stripe, operand) in &piece.stripes {
                for rows in within(stripe, height).flat_map(|rows| linear.writable(&rows)) {
                    let operand = builder.below(*operand, rows.start - stripe.start);
                    let sums = builder.below(part.sums, rows.start - self.rows.start);
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

impl Part {
    /// The weights that a part of the depth is multiplied by.
    fn right(
        &self,
        builder: &mut Builder<'_>,
        ring: &mut Ring,
        linear: &Linear<'_>,
        depth: &Range<usize>,
    ) -> Right {
        let window = Window { rows: self.channels.clone(), bytes: depth.clone() };
        let layer = linear.group.linear;
        let weights = builder.weights_in(ring, layer, builder.graph.op(layer).operands[1], &window);
        Right { weights, params: self.params, channels: self.channels.clone() }
    }
}

impl Linear<'_> {
    /// All rows and channels with split sums.
    pub(super) fn split_sums(&self, builder: &mut Builder<'_>, tiling: Tiling) {
        let Extents { m, n, k, .. } = self.extents;
        for rows in steps(m, tiling.rows) {
            self.panels(
                builder,
                &rows,
                &(0..n),
                tiling,
                steps(k, tiling.depth).collect(),
                Vec::new(),
            );
        }
    }

    /// Panels of `tiling` for some rows and channels. The operand comes in pieces of some depths,
    /// before which there are those that are on chip. Every other panel takes the pieces in
    /// reverse, so that it starts with the last [`KEPT`] of the panel before.
    pub(super) fn panels(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
        tiling: Tiling,
        mut depths: Vec<Range<usize>>,
        mut there: Vec<Piece>,
    ) {
        let mut room = Room::new(tiling);
        let [buffers, height] = piece_buffers(rows.len());
        let mut operands = Ring::new(buffers, height * tiling.depth);
        for panel in within(channels, tiling.panel) {
            let mut panel = Panel::new(builder, &mut room, self, rows, &panel);
            let turns = there.len() + depths.len();
            let mut passed: Vec<Piece> = Vec::new();
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
        ring: &mut Ring,
        [rows, depth]: [&Range<usize>; 2],
        height: usize,
    ) -> Piece {
        let height = if self.operand.form.on_chip { rows.len() } else { height };
        let stripe = |rows: Range<usize>| {
            let window = Window { rows: rows.clone(), bytes: depth.clone() };
            (rows, self.operand.part_in(builder, ring, &window))
        };
        Piece { depth: depth.clone(), stripes: within(rows, height).map(stripe).collect() }
    }
}
