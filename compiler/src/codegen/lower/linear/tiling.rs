//! Chooses the tiling of a linear layer by the cost model.

use std::collections::BTreeMap;

use crate::estimate::Estimate;
use vitcod_isa::cost::cost;
use vitcod_isa::instr::Width;
use vitcod_isa::instr::table::Matmul;
use vitcod_isa::machine::Machine;
use vitcod_isa::operands::Channel;

use crate::codegen::limits::{MAX_COUNT, count, row_stride};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::linear::extents::{Extents, Tiling};
use crate::codegen::lower::linear::templates::matmul;
use crate::codegen::strategy::RUN_AHEAD_SHARE;

/// A tiling with its estimate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costed {
    pub(crate) tiling: Tiling,
    pub(crate) estimate: Estimate,
}

/// The best tilings of the layers so far, by everything that they depend on: a model has many
/// layers of the same shape.
pub(crate) type Memo = BTreeMap<(Extents, u64), Vec<Costed>>;

/// The best tiling of each kind that fits `available` bytes; empty if nothing fits.
pub(crate) fn of_each_kind<'m>(
    planner: &Planner<'_>,
    memo: &'m mut Memo,
    extents: &Extents,
    available: u64,
) -> &'m [Costed] {
    memo.entry((*extents, available)).or_insert_with(|| {
        // The other bytes let loads of the next group run ahead.
        let found = search(planner, extents, available - available / RUN_AHEAD_SHARE);
        if found.is_empty() { search(planner, extents, available) } else { found }
    })
}

/// The tiling with the fewest weighted cycles.
pub(crate) fn best(costed: &[Costed]) -> Option<Costed> {
    costed.iter().min_by_key(|costed| costed.estimate.weighted_cycles()).copied()
}

/// The tiling with the fewest bytes.
pub(crate) fn smallest(extents: &Extents) -> Tiling {
    let least = DEPTHS[DEPTHS.len() - 1].min(extents.k);
    let depth = if extents.operand.is_map() { extents.k } else { least };
    Tiling { rows: 1, channels: 1, depth, panel: 1 }
}

/// Widths of tiles and panels that are considered.
pub(crate) const WIDTHS: [usize; 16] =
    [768, 512, 384, 320, 256, 192, 128, 96, 64, 48, 32, 16, 8, 4, 2, 1];

/// Depths of K slices that are considered.
pub(crate) const DEPTHS: [usize; 8] = [1024, 768, 512, 384, 256, 192, 128, 64];

/// The best tiling of each kind that fits: weights stationary, rows stationary, split-K.
fn search(planner: &Planner<'_>, extents: &Extents, available: u64) -> Vec<Costed> {
    let &Extents { m, n, k, .. } = extents;
    let most = m.min(MAX_COUNT);
    let widths =
        [n.min(MAX_COUNT)].into_iter().chain(WIDTHS.into_iter().filter(|width| *width < n));
    let fits = |tiling: &Tiling| extents.buffers(*tiling).bytes() <= available;
    let cheapest = |tilings: &mut dyn Iterator<Item = Tiling>| {
        let costed =
            tilings.map(|tiling| Costed { tiling, estimate: estimate(planner, extents, tiling) });
        costed.min_by_key(|costed| costed.estimate.weighted_cycles())
    };
    let full_k =
        (extents.operand.heights(m).into_iter().filter(|rows| *rows <= most)).flat_map(|rows| {
            widths.clone().map(move |channels| Tiling { rows, channels, depth: k, panel: channels })
        });
    let full_k: Vec<Tiling> = full_k.filter(fits).collect();
    let of_kind = |stationary: bool| {
        cheapest(
            &mut full_k
                .iter()
                .copied()
                .filter(|tiling| extents.weights_stationary(*tiling) == stationary),
        )
    };
    let mut found: Vec<Costed> = [true, false].into_iter().filter_map(of_kind).collect();
    // Split-K gains nothing if everything is loaded once.
    if extents.operand.is_map()
        || found.first().is_some_and(|costed| extents.loads(costed.tiling)[0] == 1)
    {
        return found;
    }
    let heights =
        (1..=4).map(|parts| m.div_ceil(parts)).chain([8, 4, 2, 1]).filter(|rows| *rows <= most);
    let split_k = heights.flat_map(|rows| {
        let depths = DEPTHS.into_iter().filter(|depth| *depth < k);
        let panels = depths.flat_map(|depth| widths.clone().map(move |panel| (depth, panel)));
        panels.filter_map(move |(depth, panel)| {
            // The widest that fit: the fewest instructions.
            let channels = WIDTHS.into_iter().filter(|channels| *channels <= panel.min(128));
            channels.map(|channels| Tiling { rows, channels, depth, panel }).find(fits)
        })
    });
    found.extend(cheapest(&mut split_k.into_iter()));
    found
}

/// Bytes in whole bursts.
pub(crate) fn padded(machine: &Machine, bytes: usize) -> usize {
    bytes.next_multiple_of(machine.dram.burst_bytes as usize)
}

/// The estimate of a tiling. Its cycles are the longer of computation and transfers, plus the first
/// load, the vector work on the last tile, and drains. Hidden traffic counts as channel cycles,
/// because the loads of other layers wait for it.
pub(crate) fn estimate(planner: &Planner<'_>, extents: &Extents, tiling: Tiling) -> Estimate {
    let &Extents { m, n, k, out, operand: form, .. } = extents;
    let machine = planner.machine;
    let transfer = |bytes: usize| machine.transfer_cycles(bytes as u64);
    let cycles = |op: Matmul| cost(&op.into(), machine).cycles;
    let [runs, run] = form.runs();
    let sums = |rows: usize, channels: usize| {
        let slices = k.div_ceil(tiling.depth);
        let slice = |out, accumulate, depth| {
            cycles(Matmul { accumulate, ..matmul(machine, out, [rows, channels, depth]) })
        };
        match slices {
            1 => cycles(Matmul {
                more_runs: count(runs - 1),
                run_stride: row_stride(run as u64),
                a_stride: row_stride(k as u64),
                b_stride: row_stride(machine.spread().stride(k as u64)),
                ..matmul(machine, out, [rows, channels, run])
            }),
            _ => {
                let between = (slices - 2) as u64 * slice(Width::I32, true, tiling.depth);
                let last = slice(out, true, k - (slices - 1) * tiling.depth);
                slice(Width::I32, false, tiling.depth) + between + last
            }
        }
    };
    let in_parts = |extent: usize, step: usize, of: &dyn Fn(usize) -> u64| {
        let rest = extent % step;
        (extent / step) as u64 * of(step) + if rest > 0 { of(rest) } else { 0 }
    };
    // The rows of a run of the operand, divided into tiles.
    let together = form.rows_per_run(m);
    let mac_cycles = in_parts(together, tiling.rows.min(together), &|rows| {
        in_parts(n, tiling.channels, &|channels| sums(rows, channels))
    });
    let mac_cycles = mac_cycles * (m / together) as u64;

    let [weights, operand] = extents.loads(tiling);
    // Each contiguous run of bytes takes complete bursts.
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
    let results = results(extents.stored && !extents.narrow_stored_apart, width)
        + results(extents.addend_loaded, 2)
        + results(extents.narrow_stored_apart, 1)
        + results(extents.narrow_stored, 1);
    let bytes = weights + n * Channel::BYTES + operand + results;
    let traffic = transfer(bytes);
    let first = tiling.depth * tiling.channels + extents.loaded_bytes(tiling);
    let across = tiling.channels.div_ceil(machine.vector.elements_per_cycle as usize);
    let tail = tiling.rows * across * extents.vector_passes.max(1);
    // Small tiles wait for each other: two drains for each.
    let tiles = (m.div_ceil(tiling.rows) * n.div_ceil(tiling.channels)) as u64;
    // A K slice waits for the one before it, unless other parts of the panel come in between.
    let slices = if tiling.panel > tiling.channels { 1 } else { k.div_ceil(tiling.depth) as u64 };
    let drains = 2 * tiles * slices * planner.drain_cycles();
    let cycles = mac_cycles.max(traffic) + transfer(first) + tail as u64 + drains;
    Estimate::new(machine, cycles, bytes as u64)
}
