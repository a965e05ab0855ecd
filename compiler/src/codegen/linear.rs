//! Linear layers: tiles of rows x output channels.
//!
//! Where the left operand is on chip, or all of its rows fit, the weights are stationary: each tile of them is loaded once and applied
//! to all rows. Otherwise stripes of rows are stationary and the weights come once for each stripe, or sums are split: accumulators of as many
//! rows and channels as fit stay while pieces of operand and weights pass. Which of these, and the sizes of tiles, are those of the
//! smallest estimate among a fixed set of candidates, by the cost model ([`tiling`]).

mod tiling;

use std::ops::Range;

use vitcod_isa::instr::table::{Add, Load, Lut, Matmul};
use vitcod_isa::instr::{Dram, Engine, LineSet, Shift, Sram, Traffic, Width};
use vitcod_isa::operands::Channel;

use super::CodegenError;
use super::groups::LinearGroup;
use super::limits::MAX_COUNT;
use super::rows::add_scales;
use super::storage::Home;
use super::task::{Builder, Target, Tile, Window, steps};
use crate::ir::{Elem, Op, OpKind, Value};
pub(super) use tiling::Tilings;
use tiling::{Extents, Tiling};

/// What is lowered.
struct Linear<'g> {
    group: &'g LinearGroup,
    x: Value,
    extents: Extents,
    other: Option<Other>,
    /// Lookups with their tables on chip.
    tables: Vec<(Op, Sram)>,
}

/// Lowers a linear layer with its lookups and its add.
pub(super) fn lower(builder: &mut Builder<'_>, group: &LinearGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let operands = &graph.op(group.linear).operands;
    let (x, weights) = (operands[0], operands[1]);
    let ((m, k), (n, _)) = (graph.ty(x).matrix(), graph.ty(weights).matrix());
    let last = group.luts.last().copied().unwrap_or(group.linear);
    let product = graph.op(last).results[0];
    let other = group.add.map(|add| Other::of(builder, add, product));
    let stored = !builder.on_chip(group.result);
    let extents = Extents {
        m,
        n,
        k,
        out: width_of(builder, group.linear),
        operand_on_chip: group.patches.is_none() && builder.on_chip(x),
        gathered: group.patches.is_some(),
        buffered: group.add.is_some() || stored,
        other_loaded: other.as_ref().is_some_and(|other| !builder.on_chip(other.value)),
        sum_stored: group.add.is_some() && stored,
        luts: group.luts.len(),
    };
    let tiling = tiling::choose(builder, group.linear, &extents)?;
    let table = |lut: &Op| {
        let table = graph.op(*lut).operands[1];
        (*lut, builder.constant(*lut, table, 0..256, Traffic::Params))
    };
    let tables = group.luts.iter().map(table).collect();
    let linear = Linear { group, x, extents, other, tables };
    if tiling.depth < k {
        linear.split_sums(builder, tiling);
    } else {
        linear.whole_sums(builder, tiling);
    }
    Ok(())
}

/// Width of what the matrix product of a linear layer writes.
pub(super) fn width_of(builder: &Builder<'_>, linear: Op) -> Width {
    match builder.graph.ty(builder.graph.op(linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    }
}

/// The product of `m` rows and `n` channels over a depth of `k`; operands are left open.
pub(super) fn matmul(lines: LineSet, out: Width, [m, n, k]: [usize; 3]) -> Matmul {
    Matmul {
        engine: Engine::Denser,
        out,
        accumulate: false,
        lines,
        a: Sram(0),
        b: Sram(0),
        params: Sram(0),
        acc: Sram(0),
        dst: Sram(0),
        m: m as u16,
        n: n as u16,
        k: k as u16,
        a_stride: 0,
        b_stride: 0,
        acc_stride: 0,
        dst_stride: 0,
    }
}

/// Some output channels of a linear layer for all rows of `x`, in a tile of their own, `piece` channels at a time.
pub(super) fn project(builder: &mut Builder<'_>, linear: Op, x: Tile, channels: &Range<usize>, piece: usize) -> Tile {
    let graph = builder.graph;
    let operands = &graph.op(linear).operands;
    let ((m, k), out) = (graph.ty(operands[0]).matrix(), width_of(builder, linear));
    let width = out.bytes() as usize;
    let tile = builder.tile(m, channels.len() * width);
    for part in steps(channels.len(), piece) {
        let right = Right::load(builder, linear, channels.start + part.start..channels.start + part.end);
        let dst = builder.behind(tile.at, (part.start * width) as u64);
        let op = matmul(builder.all_lines(), out, [m, part.len(), k]);
        builder.push(linear, right.with(x, Matmul { dst, dst_stride: tile.stride, ..op }));
    }
    tile
}

impl Linear<'_> {
    /// Each instruction makes whole sums.
    fn whole_sums(&self, builder: &mut Builder<'_>, tiling: Tiling) {
        let Extents { m, n, k, out, operand_on_chip, .. } = self.extents;
        let tile = |builder: &mut Builder<'_>, a: Tile, rows: &Range<usize>, right: &Right| {
            let target = self.target(builder, rows, &right.channels);
            let op = Matmul {
                dst: target.tile.at,
                dst_stride: target.tile.stride,
                ..matmul(builder.all_lines(), out, [rows.len(), right.channels.len(), k])
            };
            builder.push(self.group.linear, right.with(a, op));
            self.finish(builder, rows, &right.channels, &target);
        };
        if operand_on_chip || tiling.rows >= m {
            let whole = Window { rows: 0..m, bytes: 0..k };
            let loaded = if operand_on_chip { None } else { Some(self.left(builder, &whole)) };
            for channels in steps(n, tiling.channels) {
                let right = Right::load(builder, self.group.linear, channels);
                for rows in steps(m, tiling.rows) {
                    let window = Window { rows: rows.clone(), bytes: 0..k };
                    let a = match loaded {
                        Some(tile) => tile,
                        None => builder.read(self.group.linear, self.x, &window),
                    };
                    tile(builder, a, &rows, &right);
                }
            }
        } else {
            for rows in steps(m, tiling.rows) {
                let a = self.left(builder, &Window { rows: rows.clone(), bytes: 0..k });
                for channels in steps(n, tiling.channels) {
                    let right = Right::load(builder, self.group.linear, channels);
                    tile(builder, a, &rows, &right);
                }
            }
        }
    }

    /// Panels of accumulators stay while pieces of the operand and of the weights pass. Every other panel takes the pieces in reverse, so
    /// that it starts with the one that is there.
    fn split_sums(&self, builder: &mut Builder<'_>, tiling: Tiling) {
        let Extents { m, n, k, out, .. } = self.extents;
        let lines = builder.all_lines();
        for rows in steps(m, tiling.rows) {
            let mut depths: Vec<Range<usize>> = steps(k, tiling.depth).collect();
            let mut a: Option<Tile> = None;
            for panel in steps(n, tiling.panel) {
                let pieces: Vec<(Range<usize>, Tile, Sram)> = steps(panel.len(), tiling.channels)
                    .map(|piece| {
                        let channels = panel.start + piece.start..panel.start + piece.end;
                        let sums = builder.tile(rows.len(), 4 * channels.len());
                        let params = load_params(builder, self.group.linear, &channels);
                        (channels, sums, params)
                    })
                    .collect();
                for (turn, depth) in depths.iter().enumerate() {
                    let there = a.filter(|_| turn == 0);
                    let window = Window { rows: rows.clone(), bytes: depth.clone() };
                    let operand = there.unwrap_or_else(|| self.left(builder, &window));
                    a = Some(operand);
                    for (channels, sums, params) in &pieces {
                        let window = Window { rows: channels.clone(), bytes: depth.clone() };
                        let weights = load_weights(builder, self.group.linear, window);
                        let right = Right { weights, params: *params, channels: channels.clone() };
                        let last = turn + 1 == depths.len();
                        let target = last.then(|| self.target(builder, &rows, channels));
                        let dst = target.as_ref().map_or(*sums, |target| target.tile);
                        let width = if last { out } else { Width::I32 };
                        let acc = if turn > 0 { *sums } else { Tile { at: Sram(0), stride: 0 } };
                        let op = Matmul {
                            accumulate: turn > 0,
                            acc: acc.at,
                            acc_stride: acc.stride,
                            dst: dst.at,
                            dst_stride: dst.stride,
                            ..matmul(lines, width, [rows.len(), channels.len(), depth.len()])
                        };
                        builder.push(self.group.linear, right.with(operand, op));
                        if let Some(target) = target {
                            self.finish(builder, &rows, channels, &target);
                        }
                    }
                }
                depths.reverse();
            }
        }
    }

    /// Where the product of some rows and channels goes.
    fn target(&self, builder: &mut Builder<'_>, rows: &Range<usize>, channels: &Range<usize>) -> Target {
        let width = self.extents.out.bytes() as usize;
        let window = Window { rows: rows.clone(), bytes: channels.start * width..channels.end * width };
        match self.group.add {
            None => builder.write(self.group.result, &window),
            Some(_) => builder.scratch(&window),
        }
    }

    /// What follows the product: lookups, the add, the store.
    fn finish(&self, builder: &mut Builder<'_>, rows: &Range<usize>, channels: &Range<usize>, target: &Target) {
        let (m, n) = (rows.len() as u16, channels.len() as u16);
        let Tile { at, stride } = target.tile;
        let mut last = self.group.linear;
        for (lut, table) in &self.tables {
            builder.push(*lut, Lut { src: at, table: *table, dst: at, m, n, src_stride: stride, dst_stride: stride });
            last = *lut;
        }
        let (Some(other), Some(add)) = (&self.other, self.group.add) else {
            builder.written(last, target);
            return;
        };
        let window = Window { rows: rows.clone(), bytes: 2 * channels.start..2 * channels.end };
        let addend = builder.read(add, other.value, &window);
        let sum = builder.write(self.group.result, &window);
        let (a, b) = if other.is_first { (addend, target.tile) } else { (target.tile, addend) };
        builder.push(
            add,
            Add {
                a: a.at,
                b: b.at,
                dst: sum.tile.at,
                m,
                n,
                a_scale: other.scales.0,
                b_scale: other.scales.1,
                shift: Shift(other.scales.2),
                a_stride: a.stride,
                b_stride: b.stride,
                dst_stride: sum.tile.stride,
            },
        );
        builder.written(add, &sum);
    }

    /// A piece of the left operand: of a stored matrix, or gathered from an image as patches.
    fn left(&self, builder: &mut Builder<'_>, window: &Window) -> Tile {
        match self.group.patches {
            None => builder.read(self.group.linear, self.x, window),
            Some(patches) => patch_rows(builder, patches, window),
        }
    }
}

/// The operand of the add that is not the product.
struct Other {
    value: Value,
    is_first: bool,
    scales: (i32, i32, u8),
}

impl Other {
    fn of(builder: &Builder<'_>, add: Op, product: Value) -> Other {
        let operands = &builder.graph.op(add).operands;
        // A product added to itself is not fused: it has two uses.
        let is_first = operands[1] == product;
        Other {
            value: if is_first { operands[0] } else { operands[1] },
            is_first,
            scales: add_scales(builder.graph, add),
        }
    }
}

/// Part of the weights of a linear layer.
fn load_weights(builder: &mut Builder<'_>, linear: Op, window: Window) -> Tile {
    let weights = builder.graph.op(linear).operands[1];
    builder.weights(linear, weights, &window)
}

/// Bias and scale of some output channels of a linear layer.
fn load_params(builder: &mut Builder<'_>, linear: Op, channels: &Range<usize>) -> Sram {
    let params = builder.graph.op(linear).operands[2];
    let bytes = channels.start * Channel::BYTES..channels.end * Channel::BYTES;
    builder.constant(linear, params, bytes, Traffic::Params)
}

/// A tile of weights with its channel parameters.
struct Right {
    weights: Tile,
    params: Sram,
    channels: Range<usize>,
}

impl Right {
    /// Loads all of what some output channels are multiplied by.
    fn load(builder: &mut Builder<'_>, linear: Op, channels: Range<usize>) -> Right {
        let (_, k) = builder.graph.ty(builder.graph.op(linear).operands[1]).matrix();
        Right {
            weights: load_weights(builder, linear, Window { rows: channels.clone(), bytes: 0..k }),
            params: load_params(builder, linear, &channels),
            channels,
        }
    }

    /// A product of `a` and these weights.
    fn with(&self, a: Tile, op: Matmul) -> Matmul {
        let Tile { at: b, stride: b_stride } = self.weights;
        Matmul { a: a.at, a_stride: a.stride, b, b_stride, params: self.params, ..op }
    }
}

/// Loads the patches `window.rows` of an image: for each row of patches and each channel one transfer over the lines of a
/// patch and the patches.
fn patch_rows(builder: &mut Builder<'_>, patches: Op, window: &Window) -> Tile {
    let graph = builder.graph;
    let data = graph.op(patches);
    let OpKind::Patches { kernel, stride, .. } = data.kind else { unreachable!("groups are formed by kind") };
    let shape = &graph.ty(data.operands[0]).shape;
    let (depth, height, width) = (shape[1], shape[2], shape[3]);
    let across = (width - kernel[1]) / stride[1] + 1;
    let place = builder.storages.place(data.operands[0]);
    let Home::Dram(image) = builder.storages.data(place).home else { unreachable!("inputs live in DRAM") };

    let row_bytes = window.bytes.len();
    let buffer = builder.buffer((window.height() * row_bytes) as u64);
    let mut patch = window.rows.start;
    while patch < window.rows.end {
        let (y, x) = (patch / across, patch % across);
        let run = (across - x).min(window.rows.end - patch).min(MAX_COUNT);
        // Not used by a run of one, which may be all that there is room for.
        let step = if run > 1 { stride[1] } else { 0 };
        for channel in 0..depth {
            let source = (channel * height + y * stride[0]) * width + x * stride[1];
            let target = (patch - window.rows.start) * row_bytes + channel * kernel[0] * kernel[1];
            let dst = builder.at(buffer, target as u64);
            builder.push(
                patches,
                Load {
                    dst,
                    src: Dram(image + source as u64),
                    bytes: kernel[1] as u32,
                    inner: run as u16,
                    outer: kernel[0] as u16,
                    src_inner_stride: step as u32,
                    src_outer_stride: width as u32,
                    dst_inner_stride: row_bytes as u32,
                    dst_outer_stride: kernel[1] as u32,
                    traffic: Traffic::Inputs,
                },
            );
        }
        patch += run;
    }
    Tile { at: builder.at(buffer, 0), stride: row_bytes as u32 }
}
