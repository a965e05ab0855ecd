//! Linear layers: tiles of rows x output channels, with the whole sum in one instruction.
//!
//! Where the left operand is on chip, or all of its rows fit, the weights are stationary: each tile of them is loaded once and applied
//! to all rows. Otherwise stripes of rows are stationary and the weights come once for each stripe. Tile sizes are those of the
//! smallest estimate among a fixed set of candidates, by the cost model.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::{Add, Load, Lut, Matmul};
use vitcod_isa::instr::{Dram, Engine, Shift, Sram, Traffic, Width};
use vitcod_isa::operands::Channel;

use super::CodegenError;
use super::groups::LinearGroup;
use super::limits::MAX_COUNT;
use super::rows::add_scales;
use super::storage::Home;
use super::task::{Builder, Tile, Window, steps};
use crate::ir::{Elem, Op, OpKind, Value};

/// Rows and output channels of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tiling {
    rows: usize,
    channels: usize,
}

/// The layer's extents and where its tensors live.
struct Layer {
    m: usize,
    n: usize,
    k: usize,
    /// Width of what the matrix product writes.
    out: Width,
    /// Whether the left operand needs no loading.
    operand_on_chip: bool,
    /// Whether tiles of the product need buffers, because they are added to something or leave the chip.
    buffered: bool,
    /// Whether the other operand of the add is loaded.
    other_loaded: bool,
    /// Whether the sum, a tile of its own, leaves the chip.
    sum_stored: bool,
    /// Lookup tables.
    luts: usize,
}

impl Layer {
    /// Bytes of the scratchpad that a tiling takes, with double buffers where something can overlap.
    fn bytes(&self, tiling: Tiling) -> u64 {
        let twice = |several: bool, bytes: usize| (bytes * if several { 2 } else { 1 }) as u64;
        let stripes = self.m.div_ceil(tiling.rows);
        let tiles = stripes * self.n.div_ceil(tiling.channels);
        let tile = tiling.rows * tiling.channels;
        let mut bytes = twice(tiles > 1, tiling.channels * (self.k + Channel::BYTES) + 16);
        if !self.operand_on_chip {
            bytes += twice(stripes > 1, tiling.rows * self.k);
        }
        if self.buffered {
            bytes += twice(tiles > 1, tile * self.out.bytes() as usize);
        }
        if self.other_loaded {
            bytes += twice(tiles > 1, 2 * tile);
        }
        if self.sum_stored {
            bytes += twice(tiles > 1, 2 * tile);
        }
        bytes + 256 * self.luts as u64
    }
}

/// Lowers a linear layer with its lookups and its add.
pub(super) fn lower(builder: &mut Builder<'_>, group: &LinearGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let operands = &graph.op(group.linear).operands;
    let (x, weights, channels) = (operands[0], operands[1], operands[2]);
    let (m, k) = graph.ty(x).matrix();
    let (n, _) = graph.ty(weights).matrix();
    let out = match graph.ty(graph.op(group.linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    };
    let last = group.luts.last().copied().unwrap_or(group.linear);
    let product = graph.op(last).results[0];
    let other = group.add.map(|add| Other::of(builder, add, product));

    let layer = Layer {
        m,
        n,
        k,
        out,
        operand_on_chip: group.patches.is_none() && builder.on_chip(x),
        buffered: group.add.is_some() || !builder.on_chip(group.result),
        other_loaded: other.as_ref().is_some_and(|other| !builder.on_chip(other.value)),
        sum_stored: group.add.is_some() && !builder.on_chip(group.result),
        luts: group.luts.len(),
    };
    let tiling = choose(builder, group.linear, &layer)?;
    let tables: Vec<(Op, Sram)> = group
        .luts
        .iter()
        .map(|lut| {
            let table = graph.op(*lut).operands[1];
            (*lut, builder.constant(*lut, table, 0..256, Traffic::Params))
        })
        .collect();

    let emit = |builder: &mut Builder<'_>, left: Tile, rows: &Range<usize>, right: &Right| {
        let columns = &right.channels;
        let bytes = |width: usize| columns.start * width..columns.end * width;
        let width = out.bytes() as usize;
        let window = Window { rows: rows.clone(), bytes: bytes(width) };
        let target = match group.add {
            None => builder.write(group.result, &window),
            Some(_) => builder.scratch(&window),
        };
        builder.push(
            group.linear,
            Matmul {
                engine: Engine::Denser,
                out,
                accumulate: false,
                lines: builder.all_lines(),
                a: left.at,
                b: right.weights,
                params: right.params,
                acc: Sram(0),
                dst: target.tile.at,
                m: rows.len() as u16,
                n: columns.len() as u16,
                k: k as u16,
                a_stride: left.stride,
                b_stride: k as u32,
                acc_stride: 0,
                dst_stride: target.tile.stride,
            },
        );
        for (lut, table) in &tables {
            let (src, src_stride) = (target.tile.at, target.tile.stride);
            let (m, n) = (rows.len() as u16, columns.len() as u16);
            builder.push(*lut, Lut { src, table: *table, dst: src, m, n, src_stride, dst_stride: src_stride });
        }
        match (&other, group.add) {
            (Some(other), Some(add)) => {
                let window = Window { rows: rows.clone(), bytes: bytes(2) };
                let addend = builder.read(add, other.value, &window);
                let sum = builder.write(group.result, &window);
                let (a, b) = if other.is_first { (addend, target.tile) } else { (target.tile, addend) };
                builder.push(
                    add,
                    Add {
                        a: a.at,
                        b: b.at,
                        dst: sum.tile.at,
                        m: rows.len() as u16,
                        n: columns.len() as u16,
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
            _ => builder.written(last, &target),
        }
    };

    let weights_stationary = layer.operand_on_chip || tiling.rows >= m;
    if weights_stationary {
        let whole = Window { rows: 0..m, bytes: 0..k };
        let loaded = if layer.operand_on_chip { None } else { Some(left(builder, group, x, &whole)) };
        for channels_range in steps(n, tiling.channels) {
            let right = right(builder, group.linear, (weights, channels), k, channels_range);
            for rows in steps(m, tiling.rows) {
                let window = Window { rows: rows.clone(), bytes: 0..k };
                let tile = match loaded {
                    Some(tile) => tile,
                    None => builder.read(group.linear, x, &window),
                };
                emit(builder, tile, &rows, &right);
            }
        }
    } else {
        for rows in steps(m, tiling.rows) {
            let tile = left(builder, group, x, &Window { rows: rows.clone(), bytes: 0..k });
            for channels_range in steps(n, tiling.channels) {
                let right = right(builder, group.linear, (weights, channels), k, channels_range);
                emit(builder, tile, &rows, &right);
            }
        }
    }
    Ok(())
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

/// A tile of weights with its channel parameters.
struct Right {
    weights: Sram,
    params: Sram,
    channels: Range<usize>,
}

fn right(
    builder: &mut Builder<'_>,
    linear: Op,
    (weights, params): (Value, Value),
    k: usize,
    channels: Range<usize>,
) -> Right {
    let bytes = |each: usize| channels.start * each..channels.end * each;
    Right {
        weights: builder.constant(linear, weights, bytes(k), Traffic::Weights),
        params: builder.constant(linear, params, bytes(Channel::BYTES), Traffic::Params),
        channels,
    }
}

/// Rows of the left operand: of a stored matrix, or gathered from an image as patches.
fn left(builder: &mut Builder<'_>, group: &LinearGroup, x: Value, window: &Window) -> Tile {
    match group.patches {
        None => builder.read(group.linear, x, window),
        Some(patches) => patch_rows(builder, patches, window),
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

/// The tiling with the smallest estimate of cycles among those that fit.
fn choose(builder: &Builder<'_>, linear: Op, layer: &Layer) -> Result<Tiling, CodegenError> {
    let room = builder.room();
    let heights = (1..=16).map(|parts| layer.m.div_ceil(parts)).chain([8, 4, 2, 1]);
    let widths = [layer.n.min(MAX_COUNT), 512, 256, 192, 128, 96, 64, 48, 32, 16, 8, 4, 2, 1];
    let (most_rows, most_channels) = (layer.m.min(MAX_COUNT), layer.n.min(MAX_COUNT));
    heights
        .flat_map(|rows| widths.map(|channels| Tiling { rows: rows.min(MAX_COUNT), channels }))
        .filter(|tiling| tiling.rows <= most_rows && tiling.channels <= most_channels && layer.bytes(*tiling) <= room)
        .min_by_key(|tiling| estimate(builder, layer, *tiling))
        .ok_or_else(|| builder.too_small(linear, layer.bytes(Tiling { rows: 1, channels: 1 })))
}

/// Cycles until the layer is done: the longer of computing and loading, the first load, and the vector work on the last tile.
fn estimate(builder: &Builder<'_>, layer: &Layer, tiling: Tiling) -> u64 {
    let machine = builder.machine;
    let per_cycle = machine.dram_millibytes_per_cycle();
    let transfer = |bytes: usize| (bytes as u64 * 1000).div_ceil(per_cycle);
    let compute = |rows: usize, channels: usize| {
        let product = Matmul {
            engine: Engine::Denser,
            out: layer.out,
            accumulate: false,
            lines: builder.all_lines(),
            a: Sram(0),
            b: Sram(0),
            params: Sram(0),
            acc: Sram(0),
            dst: Sram(0),
            m: rows as u16,
            n: channels as u16,
            k: layer.k as u16,
            a_stride: 0,
            b_stride: 0,
            acc_stride: 0,
            dst_stride: 0,
        };
        if rows == 0 || channels == 0 { 0 } else { cost(&product.into(), machine).cycles }
    };
    let (full_rows, full_channels) = (layer.m / tiling.rows, layer.n / tiling.channels);
    let (rest_rows, rest_channels) = (layer.m % tiling.rows, layer.n % tiling.channels);
    let mac_cycles = (full_rows * full_channels) as u64 * compute(tiling.rows, tiling.channels)
        + full_rows as u64 * compute(tiling.rows, rest_channels)
        + full_channels as u64 * compute(rest_rows, tiling.channels)
        + compute(rest_rows, rest_channels);
    let stripes = layer.m.div_ceil(tiling.rows);
    let reloads = if layer.operand_on_chip { 1 } else { stripes };
    let weights = layer.n * (layer.k + Channel::BYTES) * reloads;
    let operand = if layer.operand_on_chip { 0 } else { layer.m * layer.k };
    let first = tiling.channels * layer.k + if layer.operand_on_chip { 0 } else { tiling.rows * layer.k };
    let tail = tiling.rows * tiling.channels.div_ceil(machine.vector.elements_per_cycle as usize);
    // Small tiles wait for each other: a drain of the lines for each. Traffic that hides behind computation is not free either, for
    // other layers' loads wait behind it.
    let tiles = (stripes * layer.n.div_ceil(tiling.channels)) as u64;
    let drains = 2 * tiles * builder.turnaround();
    let traffic = transfer(weights + operand);
    mac_cycles.max(traffic) + traffic / 4 + transfer(first) + tail as u64 + drains
}
