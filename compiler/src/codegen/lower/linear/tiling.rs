//! How a linear layer is cut, by the cost model.

use crate::codegen::lower::linear::matmul;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Add;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::Width;
use vitcod_isa::instr::table::Matmul;
use vitcod_isa::machine::Machine;
use vitcod_isa::operands::Channel;
use vitcod_isa::program::Alternative;

use crate::codegen::builder::Builder;
use crate::codegen::error::CodegenError;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::elementwise::STRIPES;
use crate::codegen::lower::linear::mlp::Interleaving;
use crate::codegen::lower::linear::operand::Form;
use crate::codegen::price;
use crate::ir::Op;

/// How a layer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Rows of an instruction.
    pub(crate) rows: usize,
    /// Output channels of an instruction.
    pub(crate) channels: usize,
    /// Products of a sum in an instruction: all of them, or sums are split.
    pub(crate) depth: usize,
    /// Output channels whose sums are made at the same time: more than those of an instruction
    /// where sums are split.
    pub(crate) panel: usize,
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows x {} channels", self.rows, self.channels)
    }
}

/// A tiling and what it is estimated to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costed {
    tiling: Tiling,
    pub(crate) estimate: Estimate,
}

/// What a layer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Cycles that it adds to those of the program.
    pub(crate) cycles: u64,
    /// The same, and what its traffic is worth on top.
    pub(crate) price: u64,
    /// Bytes of operands and weights.
    pub(crate) bytes: u64,
}

impl Add for Estimate {
    type Output = Estimate;

    fn add(self, other: Estimate) -> Estimate {
        Estimate {
            cycles: self.cycles + other.cycles,
            price: self.price + other.price,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The tilings of layers that were cut before, by what they depend on.
#[derive(Debug, Default)]
pub(crate) struct Tilings {
    /// The best of each kind.
    alone: BTreeMap<(Extents, u64), Vec<Costed>>,
    /// Of two layers.
    pub(crate) interleaved: BTreeMap<(Extents, Extents, u64, u64), Option<Interleaving>>,
}

/// The layer's extents and where its tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extents {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Width of what the matrix product writes.
    pub(crate) out: Width,
    pub(crate) operand: Form,
    /// Whether the product is added to something.
    pub(crate) added: bool,
    /// Whether the result leaves the chip.
    pub(crate) stored: bool,
    /// Whether the other operand of the add is loaded.
    pub(crate) addend_loaded: bool,
    /// Whether a sum in 8 bits, a tile of its own, leaves the chip. One in 16 bits is written over
    /// the product.
    pub(crate) narrow_sum_stored: bool,
    /// Whether the result in 8 bits leaves the chip.
    pub(crate) narrow_stored: bool,
    /// Lookup tables.
    pub(crate) luts: usize,
    /// How often the vector unit vector_passes at a result.
    pub(crate) vector_passes: usize,
}

impl Extents {
    /// Bytes of the scratchpad that a tiling takes, with double buffers where something can
    /// overlap.
    pub(crate) fn bytes(&self, tiling: Tiling) -> u64 {
        let twice = |several: bool, bytes: usize| (bytes * if several { 2 } else { 1 }) as u64;
        let Tiling { rows, channels, depth, panel } = tiling;
        let stripes = self.m.div_ceil(rows);
        let tiles = stripes * self.n.div_ceil(channels);
        let split = depth < self.k;
        let mut bytes =
            twice(channels < self.n || split, channels * depth + 16) + 256 * self.luts as u64;
        if split {
            bytes += (panel * (4 * rows + Channel::BYTES)) as u64;
        } else {
            bytes += twice(channels < self.n, channels * Channel::BYTES);
        }
        bytes += match split {
            true if self.operand.on_chip => 0,
            true => slice_buffers(rows).into_iter().product::<usize>() as u64 * depth as u64,
            false => twice(stripes > 1, self.loaded_bytes(tiling)),
        };
        // Where sums are split, results come in stripes, and their accumulators are free then.
        let (several, elements) = match split {
            true => (rows > 1, rows.div_ceil(STRIPES) * channels),
            false => (tiles > 1, rows * channels),
        };
        if self.added || self.stored {
            bytes += twice(several, elements * self.out.bytes() as usize);
        }
        if self.addend_loaded {
            bytes += twice(several, 2 * elements);
        }
        if self.narrow_sum_stored {
            bytes += twice(several, elements);
        }
        if self.narrow_stored {
            bytes += twice(several, elements);
        }
        bytes
    }

    /// Bytes of the left operand that are loaded at a time.
    fn loaded_bytes(&self, Tiling { rows, depth, .. }: Tiling) -> usize {
        match (self.operand.on_chip, depth < self.k) {
            (true, _) => 0,
            (false, true) => rows * depth,
            (false, false) => self.operand.loaded_bytes(rows),
        }
    }

    /// Whether each tile of weights is applied to all rows before the next one comes.
    fn weights_stationary(&self, tiling: Tiling) -> bool {
        let Tiling { rows, channels, depth, .. } = tiling;
        depth == self.k && (self.operand.on_chip || rows >= self.m || channels >= self.n)
    }

    /// A tiling in words.
    fn describe(&self, tiling: Tiling) -> String {
        let Tiling { depth, panel, .. } = tiling;
        if depth < self.k {
            format!("{tiling}, sums of {panel} channels split by {depth}")
        } else if self.weights_stationary(tiling) {
            format!("{tiling}, weights stationary")
        } else {
            format!("{tiling}, rows stationary")
        }
    }

    /// How often the weights travel, and how many bytes of the left operand do.
    fn travels(&self, tiling: Tiling) -> [usize; 2] {
        let stripes = self.m.div_ceil(tiling.rows);
        let weights = if self.weights_stationary(tiling) { 1 } else { stripes };
        let panels = self.n.div_ceil(tiling.panel);
        let kept = (KEPT * tiling.depth).min(self.k);
        let operand = match tiling.depth < self.k {
            true if self.operand.on_chip => 0,
            true => self.m * (self.k + (panels - 1) * (self.k - kept)),
            false => stripes * self.loaded_bytes(tiling),
        };
        [weights, operand]
    }
}

/// Why a tiling is chosen.
pub(crate) const REASON: &str = "the fewest cycles, with more on top for those of the channel";

/// The tiling with the lowest price among those that fit.
pub(crate) fn choose(
    builder: &mut Builder<'_>,
    linear: Op,
    extents: &Extents,
) -> Result<Tiling, CodegenError> {
    let room = builder.available_bytes();
    let Some(Costed { tiling, .. }) = cheapest(builder, extents, room) else {
        let least = DEPTHS[DEPTHS.len() - 1].min(extents.k);
        let depth = if extents.operand.is_map() { extents.k } else { least };
        let smallest = Tiling { rows: 1, channels: 1, depth, panel: 1 };
        return Err(builder.too_small(linear, extents.bytes(smallest)));
    };
    if builder.explains() {
        let alternative = |costed: &Costed| Alternative {
            name: extents.describe(costed.tiling),
            cycles: costed.estimate.cycles,
            dram_bytes: costed.estimate.bytes,
        };
        let alternatives =
            builder.tilings.alone[&(*extents, room)].iter().map(alternative).collect();
        builder.explain(linear, "tiles", extents.describe(tiling), REASON, alternatives);
    }
    Ok(tiling)
}

/// The tiling of the lowest price that there is room for.
pub(crate) fn cheapest(builder: &mut Builder<'_>, extents: &Extents, room: u64) -> Option<Costed> {
    if !builder.tilings.alone.contains_key(&(*extents, room)) {
        // What is left lets loads of the next layer run ahead.
        let mut found = search(builder, extents, room - room / 8);
        if found.is_empty() {
            found = search(builder, extents, room);
        }
        builder.tilings.alone.insert((*extents, room), found);
    }
    builder.tilings.alone[&(*extents, room)]
        .iter()
        .min_by_key(|costed| costed.estimate.price)
        .copied()
}

/// Pieces of the left operand of split sums that a panel leaves to the next one.
pub(crate) const KEPT: usize = 1;

/// Buffers for pieces of `rows` rows of the left operand of split sums, and the rows of each: a
/// piece comes in two stripes, and one more is loaded ahead.
pub(crate) fn slice_buffers(rows: usize) -> [usize; 2] {
    let height = rows.div_ceil(2);
    [rows.div_ceil(height) + 1, height]
}

/// Widths of tiles and panels that are looked at.
pub(crate) const WIDTHS: [usize; 16] =
    [768, 512, 384, 320, 256, 192, 128, 96, 64, 48, 32, 16, 8, 4, 2, 1];

/// Depths of split sums that are looked at.
pub(crate) const DEPTHS: [usize; 8] = [1024, 768, 512, 384, 256, 192, 128, 64];

/// The best tiling of each kind that fits: weights stationary, rows stationary, sums split.
fn search(builder: &Builder<'_>, extents: &Extents, room: u64) -> Vec<Costed> {
    let &Extents { m, n, k, .. } = extents;
    let most = m.min(MAX_COUNT);
    let widths =
        [n.min(MAX_COUNT)].into_iter().chain(WIDTHS.into_iter().filter(|width| *width < n));
    let fits = |tiling: &Tiling| extents.bytes(*tiling) <= room;
    let best = |tilings: &mut dyn Iterator<Item = Tiling>| {
        let costed =
            tilings.map(|tiling| Costed { tiling, estimate: estimate(builder, extents, tiling) });
        costed.min_by_key(|costed| costed.estimate.price)
    };
    let whole =
        (extents.operand.heights(m).into_iter().filter(|rows| *rows <= most)).flat_map(|rows| {
            widths.clone().map(move |channels| Tiling { rows, channels, depth: k, panel: channels })
        });
    let whole: Vec<Tiling> = whole.filter(fits).collect();
    let of_kind = |stationary: bool| {
        best(
            &mut whole
                .iter()
                .copied()
                .filter(|tiling| extents.weights_stationary(*tiling) == stationary),
        )
    };
    let mut found: Vec<Costed> = [true, false].into_iter().filter_map(of_kind).collect();
    // There is nothing to be gained where everything travels once.
    if extents.operand.is_map()
        || found.first().is_some_and(|costed| extents.travels(costed.tiling)[0] == 1)
    {
        return found;
    }
    let heights =
        (1..=4).map(|parts| m.div_ceil(parts)).chain([8, 4, 2, 1]).filter(|rows| *rows <= most);
    let split = heights.flat_map(|rows| {
        let depths = DEPTHS.into_iter().filter(|depth| *depth < k);
        let panels = depths.flat_map(|depth| widths.clone().map(move |panel| (depth, panel)));
        panels.filter_map(move |(depth, panel)| {
            // The fewest instructions.
            let channels = WIDTHS.into_iter().filter(|channels| *channels <= panel.min(128));
            channels.map(|channels| Tiling { rows, channels, depth, panel }).find(fits)
        })
    });
    found.extend(best(&mut split.into_iter()));
    found
}

/// Bytes in whole bursts.
fn padded(machine: &Machine, bytes: usize) -> usize {
    bytes.next_multiple_of(machine.dram.burst_bytes as usize)
}

/// Cycles in which the channel moves some bytes.
fn transfer(machine: &Machine, bytes: usize) -> u64 {
    (bytes as u64 * 1000).div_ceil(machine.dram_millibytes_per_cycle())
}

/// Runs of bytes that move while something else is computed.
pub(crate) fn moved(machine: &Machine, runs: usize, length: usize) -> Estimate {
    let bytes = runs * padded(machine, length);
    Estimate { cycles: 0, price: price::of_part(0, transfer(machine, bytes)), bytes: bytes as u64 }
}

/// The longer of computing and loading, the first load, and the vector work on the last tile.
/// Traffic that hides behind computation is not free either, for other layers' loads wait behind
/// it.
pub(crate) fn estimate(builder: &Builder<'_>, extents: &Extents, tiling: Tiling) -> Estimate {
    let &Extents { m, n, k, out, operand: form, .. } = extents;
    let machine = builder.machine;
    let lines = builder.all_lines();
    let transfer = |bytes: usize| transfer(machine, bytes);
    let cycles = |op: Matmul| cost(&op.into(), machine).cycles;
    let [runs, run] = form.runs();
    let sums = |rows: usize, channels: usize| {
        let pieces = k.div_ceil(tiling.depth);
        let piece = |out, accumulate, depth| {
            cycles(Matmul { accumulate, ..matmul(lines, out, [rows, channels, depth]) })
        };
        match pieces {
            1 => cycles(Matmul {
                more_runs: (runs - 1) as u16,
                ..matmul(lines, out, [rows, channels, run])
            }),
            _ => {
                let between = (pieces - 2) as u64 * piece(Width::I32, true, tiling.depth);
                let last = piece(out, true, k - (pieces - 1) * tiling.depth);
                piece(Width::I32, false, tiling.depth) + between + last
            }
        }
    };
    let in_parts = |extent: usize, step: usize, of: &dyn Fn(usize) -> u64| {
        let rest = extent % step;
        (extent / step) as u64 * of(step) + if rest > 0 { of(rest) } else { 0 }
    };
    // Rows that an instruction takes at most are cut into as many as tiles have of them.
    let together = form.together(m);
    let mac_cycles = in_parts(together, tiling.rows.min(together), &|rows| {
        in_parts(n, tiling.channels, &|channels| sums(rows, channels))
    });
    let mac_cycles = mac_cycles * (m / together) as u64;

    let [weights, operand] = extents.travels(tiling);
    // Runs of bytes end with a burst.
    let runs = |count: usize, length: usize, step: usize| {
        count * (length / step * padded(machine, step) + padded(machine, length % step))
    };
    let operand = if tiling.depth < k { runs(operand / k, k, tiling.depth) } else { operand };
    let weights =
        if tiling.depth < k { runs(n * weights, k, tiling.depth) } else { n * weights * k };
    let results = |wanted: bool, width: usize| match wanted {
        true if tiling.channels < n => runs(m, width * n, width * tiling.channels),
        true => m * n * width,
        false => 0,
    };
    let width = out.bytes() as usize;
    let results = results(extents.stored && !extents.narrow_sum_stored, width)
        + results(extents.addend_loaded, 2)
        + results(extents.narrow_sum_stored, 1)
        + results(extents.narrow_stored, 1);
    let bytes = weights + n * Channel::BYTES + operand + results;
    let traffic = transfer(bytes);
    let first = tiling.depth * tiling.channels + extents.loaded_bytes(tiling);
    let across = tiling.channels.div_ceil(machine.vector.elements_per_cycle as usize);
    let tail = tiling.rows * across * extents.vector_passes.max(1);
    // Small tiles wait for each other: a drain of the lines for each.
    let tiles = (m.div_ceil(tiling.rows) * n.div_ceil(tiling.channels)) as u64;
    // A piece of a sum waits for the one before it, unless others come in between.
    let pieces = if tiling.panel > tiling.channels { 1 } else { k.div_ceil(tiling.depth) as u64 };
    let drains = 2 * tiles * pieces * builder.drain_cycles();
    let cycles = mac_cycles.max(traffic) + transfer(first) + tail as u64 + drains;
    Estimate { cycles, price: price::of_part(cycles, traffic), bytes: bytes as u64 }
}
