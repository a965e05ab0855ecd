//! Linear layers and convolutions: tiles of rows x output channels, with the whole sum in one instruction.
//!
//! Where the left operand is on chip, or all of its rows fit, the weights are stationary: each tile of them is loaded once and applied
//! to all rows. Otherwise stripes of rows are stationary and the weights come once for each stripe, or once if all of them fit. Tile
//! sizes are those of the smallest estimate among a fixed set of candidates, by the cost model. A convolution is lowered as the product
//! that it is: its rows are windows, of which an instruction takes those of one row of the map.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Engine, Sram, Traffic, Width};
use vitcod_isa::operands::Channel;

use super::CodegenError;
use super::groups::LinearGroup;
use super::left::{Left, Operand, cut};
use super::limits::MAX_COUNT;
use super::task::{Builder, Window, steps};
use crate::ir::{Elem, Op, Value};

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
    operand: Operand,
    /// Whether tiles of the product need buffers, because they are added to something or leave the chip.
    buffered: bool,
    /// Whether the other operand of the add is loaded.
    other_loaded: bool,
    /// Whether the sum, a tile of its own, leaves the chip.
    sum_stored: bool,
    /// Whether the result in 8 bits leaves the chip.
    narrow_stored: bool,
    /// Lookup tables.
    luts: usize,
    /// How often the vector unit looks at a result.
    looks: usize,
}

impl Layer {
    /// Bytes of the scratchpad that a tiling takes, with double buffers where something can overlap.
    fn bytes(&self, tiling: Tiling) -> u64 {
        let twice = |several: bool, bytes: usize| (bytes * if several { 2 } else { 1 }) as u64;
        let stripes = self.m.div_ceil(tiling.rows);
        let tiles = stripes * self.n.div_ceil(tiling.channels);
        let tile = tiling.rows * tiling.channels;
        let mut bytes = twice(tiling.channels < self.n, tiling.channels * (self.k + Channel::BYTES) + 16);
        if !self.operand.on_chip {
            bytes += twice(stripes > 1, self.operand.loaded_bytes(tiling.rows));
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
        if self.narrow_stored {
            bytes += twice(tiles > 1, tile);
        }
        bytes + 256 * self.luts as u64
    }
}

/// Lowers a linear layer with its lookups and its adds.
pub(super) fn lower(builder: &mut Builder<'_>, group: &LinearGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let operands = &graph.op(group.linear).operands;
    let (weights, channels) = (operands[1], operands[2]);
    let (m, k) = graph.ty(operands[0]).matrix();
    let (n, _) = graph.ty(weights).matrix();
    let out = match graph.ty(graph.op(group.linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    };
    let last = group.luts.last().copied().unwrap_or(group.linear);
    let other = group.add.map(|add| Other::of(builder, add, graph.op(last).results[0]));
    let narrow = group.narrow.map(|narrow| (narrow, graph.op(narrow).results[0]));

    let layer = Layer {
        m,
        n,
        k,
        out,
        operand: Operand::of(builder, group),
        buffered: group.add.is_some() || !builder.on_chip(group.result),
        other_loaded: other.as_ref().is_some_and(|other| !builder.on_chip(other.value)),
        sum_stored: group.add.is_some() && !builder.on_chip(group.result),
        narrow_stored: narrow.is_some_and(|(_, value)| !builder.on_chip(value)),
        luts: group.luts.len(),
        looks: group.luts.len() + usize::from(group.add.is_some()) + usize::from(narrow.is_some()),
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
    let frame = builder.frame(group.result);
    if let Some(frame) = &frame {
        let at = builder.frame_start(group.result);
        builder.zero(group.linear, frame, at, graph.ty(group.result).elem.bytes() * n);
    }
    let [runs, run] = layer.operand.runs();

    // Rows that can be written as one.
    let emit_rows = |builder: &mut Builder<'_>, left: &Left, rows: &Range<usize>, right: &Right| {
        let columns = &right.channels;
        let shape = [rows.len(), columns.len()];
        let bytes = |width: usize| columns.start * width..columns.end * width;
        let width = out.bytes() as usize;
        let window = Window { rows: rows.clone(), bytes: bytes(width) };
        let target = match group.add {
            None => builder.write(group.result, &window),
            Some(_) => builder.scratch(&window),
        };
        for piece in left.pieces(builder, rows) {
            let below = (piece.rows.start - rows.start) as u64 * u64::from(target.tile.stride);
            let product = Matmul {
                engine: Engine::Denser,
                out,
                accumulate: false,
                lines: builder.all_lines(),
                a: piece.at,
                b: right.weights,
                params: right.params,
                acc: Sram(0),
                dst: builder.behind(target.tile.at, below),
                m: piece.rows.len() as u16,
                n: columns.len() as u16,
                k: run as u16,
                a_stride: piece.stride,
                b_stride: k as u32,
                acc_stride: 0,
                dst_stride: target.tile.stride,
                more_runs: (runs - 1) as u16,
                run_stride: piece.run_stride,
            };
            builder.push(group.linear, product);
        }
        for (lut, table) in &tables {
            builder.lookup(*lut, *table, target.tile, shape);
        }
        let mut result = target.tile;
        match (&other, group.add) {
            (Some(other), Some(add)) => {
                let window = Window { rows: rows.clone(), bytes: bytes(2) };
                let addend = builder.read(add, other.value, &window);
                let narrow = graph.ty(group.result).elem == Elem::I8;
                let width = if narrow { 1 } else { 2 };
                let sum = builder.write(group.result, &Window { bytes: bytes(width), ..window });
                let (a, b) = if other.is_first { (addend, target.tile) } else { (target.tile, addend) };
                builder.add(add, [a, b, sum.tile], shape, narrow);
                builder.written(add, &sum);
                result = sum.tile;
            }
            _ => builder.written(last, &target),
        }
        if let Some((narrow, value)) = narrow {
            let target = builder.write(value, &Window { rows: rows.clone(), bytes: bytes(1) });
            builder.add(narrow, [result, result, target.tile], shape, true);
            builder.written(narrow, &target);
        }
    };
    let emit = |builder: &mut Builder<'_>, left: &Left, rows: &Range<usize>, right: &Right| match &frame {
        None => emit_rows(builder, left, rows, right),
        Some(frame) => cut(rows, frame.width).for_each(|rows| emit_rows(builder, left, &rows, right)),
    };

    let right = |builder: &mut Builder<'_>, channels_range: Range<usize>| {
        right(builder, group.linear, (weights, channels), k, channels_range)
    };
    let tiles = layer.operand.tiles(m, tiling.rows);
    let weights_stationary = layer.operand.on_chip || tiling.rows >= m;
    if weights_stationary {
        let left = layer.operand.read(builder, &(0..m));
        for channels_range in steps(n, tiling.channels) {
            let right = right(builder, channels_range);
            for rows in &tiles {
                emit(builder, &left, rows, &right);
            }
        }
    } else {
        let all = (tiling.channels >= n).then(|| right(builder, 0..n));
        for rows in &tiles {
            let left = layer.operand.read(builder, rows);
            match &all {
                Some(right) => emit(builder, &left, rows, right),
                None => {
                    for channels_range in steps(n, tiling.channels) {
                        let right = right(builder, channels_range);
                        emit(builder, &left, rows, &right);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The operand of the add that is not the product.
struct Other {
    value: Value,
    is_first: bool,
}

impl Other {
    fn of(builder: &Builder<'_>, add: Op, product: Value) -> Other {
        let operands = &builder.graph.op(add).operands;
        // A product added to itself is not fused: it has two uses.
        let is_first = operands[1] == product;
        Other { value: if is_first { operands[0] } else { operands[1] }, is_first }
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

/// The tiling with the smallest estimate of cycles among those that fit.
fn choose(builder: &Builder<'_>, linear: Op, layer: &Layer) -> Result<Tiling, CodegenError> {
    let room = builder.room();
    let widths = [layer.n.min(MAX_COUNT), 512, 256, 192, 128, 96, 64, 48, 32, 16, 8, 4, 2, 1];
    let (most_rows, most_channels) = (layer.m.min(MAX_COUNT), layer.n.min(MAX_COUNT));
    let heights = layer.operand.heights(layer.m).into_iter();
    heights
        .flat_map(|rows| widths.map(|channels| Tiling { rows, channels }))
        .filter(|tiling| tiling.rows <= most_rows && tiling.channels <= most_channels && layer.bytes(*tiling) <= room)
        .min_by_key(|tiling| estimate(builder, layer, *tiling))
        .ok_or_else(|| builder.too_small(linear, layer.bytes(Tiling { rows: 1, channels: 1 })))
}

/// Cycles until the layer is done: the longer of computing and loading, the first load, and the vector work on the last tile.
fn estimate(builder: &Builder<'_>, layer: &Layer, tiling: Tiling) -> u64 {
    let machine = builder.machine;
    let per_cycle = machine.dram_millibytes_per_cycle();
    let transfer = |bytes: usize| (bytes as u64 * 1000).div_ceil(per_cycle);
    let [runs, run] = layer.operand.runs();
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
            k: run as u16,
            a_stride: 0,
            b_stride: 0,
            acc_stride: 0,
            dst_stride: 0,
            more_runs: (runs - 1) as u16,
            run_stride: 0,
        };
        if rows == 0 || channels == 0 { 0 } else { cost(&product.into(), machine).cycles }
    };
    // Rows that an instruction takes at most are cut into as many as tiles have of them.
    let together = layer.operand.together(layer.m);
    let rows = tiling.rows.min(together);
    let (full_rows, full_channels) = (together / rows, layer.n / tiling.channels);
    let (rest_rows, rest_channels) = (together % rows, layer.n % tiling.channels);
    let mac_cycles = (full_rows * full_channels) as u64 * compute(rows, tiling.channels)
        + full_rows as u64 * compute(rows, rest_channels)
        + full_channels as u64 * compute(rest_rows, tiling.channels)
        + compute(rest_rows, rest_channels);
    let mac_cycles = mac_cycles * (layer.m / together) as u64;
    let stripes = layer.m.div_ceil(tiling.rows);
    let reloads = if layer.operand.on_chip || tiling.channels >= layer.n { 1 } else { stripes };
    let weights = layer.n * (layer.k + Channel::BYTES) * reloads;
    let loaded = if layer.operand.on_chip { 0 } else { layer.operand.loaded_bytes(tiling.rows) };
    let operand = stripes * loaded;
    let first = tiling.channels * layer.k + loaded;
    let tail = tiling.rows * tiling.channels.div_ceil(machine.vector.elements_per_cycle as usize) * layer.looks.max(1);
    // Small tiles wait for each other: a drain of the lines for each. Traffic that hides behind computation is not free either, for
    // other layers' loads wait behind it.
    let tiles = (stripes * layer.n.div_ceil(tiling.channels)) as u64;
    let drains = 2 * tiles * builder.turnaround();
    let traffic = transfer(weights + operand);
    mac_cycles.max(traffic) + traffic / 4 + transfer(first) + tail as u64 + drains
}
