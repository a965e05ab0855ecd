//! Search: the combination of candidate, task order and look-ahead budget whose program has the
//! lowest energy-delay product.
//!
//! Tasks are ordered by one of two algorithms. The [list scheduler](super::list) starts each task
//! as soon as it can; it is better where many tasks are independent. [Prefetch](super::prefetch)
//! keeps program order except for loads; it is better where memory is scarce. Either returns live
//! ranges, and [`placement`] packs the buffers. Both are tried with several look-ahead budgets, in
//! the order of their estimates, until the effort is spent. Programs are not compared by
//! estimates: each is timed with its tokens, exactly as the emulator times it.

use std::collections::{BTreeMap, BTreeSet};

use vitcod_isa::asm::{Attempt, Order};
use vitcod_isa::machine::Machine;

use crate::codegen::objective::energy_delay;
use crate::codegen::schedule::list::{self, TaskGraph};
use crate::codegen::schedule::{placement, prefetch, sync};
use crate::tiled::{Addresses, Scheduled, Tasks, Tiled, word_align};

/// Look-ahead budgets as percentages of the scratchpad, and by how many per cent each is expected
/// to slow a program down.
const AHEAD_PERCENT: [(u64, u64); 7] =
    [(100, 0), (96, 0), (90, 0), (82, 2), (70, 4), (50, 15), (0, 40)];

/// The search ends when it has ordered this many tasks, all attempts together, and has made
/// [`ATTEMPTS`] attempts. It never ends before a first program is found.
const EFFORT: usize = 30_000;

/// The fewest attempts, for programs so large that few attempts spend the effort.
const ATTEMPTS: usize = 16;

/// A lowered graph.
pub(in crate::codegen) struct Candidate<'a> {
    /// Its estimate: candidates with fewer weighted cycles are tried first.
    pub(in crate::codegen) weighted_cycles: u64,
    pub(in crate::codegen) tasks: &'a Tasks,
}

/// The best schedule.
pub(in crate::codegen) struct Found {
    /// The index of its candidate.
    pub(in crate::codegen) candidate: usize,
    /// The attempt that found it, and finds it again.
    pub(in crate::codegen) attempt: Attempt,
    /// The [objective](energy_delay) of its program.
    pub(in crate::codegen) energy_delay: u128,
    /// Attempts.
    pub(in crate::codegen) tried: usize,
    /// Attempts whose buffers were placed.
    pub(in crate::codegen) timed: usize,
}

/// The schedule of a tiled program: by the attempt that it states, or else the best one; `None` if
/// none fits.
pub(in crate::codegen) fn schedule(tiled: &Tiled) -> Option<Scheduled> {
    let Tiled { tasks, machine, .. } = tiled;
    let attempt = match tiled.attempt {
        Some(attempt) => attempt,
        None => run(&[Candidate { weighted_cycles: 1, tasks }], machine)?.attempt,
    };
    let (tasks, addresses) = order_and_place(tasks, machine, attempt, &mut None)?;
    let tiled = Tiled {
        header: tiled.header.clone(),
        machine: machine.clone(),
        image: tiled.image.clone(),
        ir: tiled.ir.clone(),
        tasks,
        attempt: None,
    };
    Some(Scheduled { tiled, addresses })
}

/// One attempt: tasks in their order and the addresses of their buffers; `None` if the buffers are
/// not placed. `graph` keeps the graph of the tasks for the next attempt.
fn order_and_place(
    tasks: &Tasks,
    machine: &Machine,
    Attempt { order, ahead }: Attempt,
    graph: &mut Option<TaskGraph>,
) -> Option<(Tasks, Addresses)> {
    let capacity = u64::from(machine.sram.bytes);
    let ahead = capacity * ahead / 100;
    let (tasks, lives) = match order {
        Order::Listed => {
            let graph = graph.get_or_insert_with(|| TaskGraph::new(tasks, machine));
            list::run(graph, machine, ahead, capacity)?.apply(tasks, machine)
        }
        Order::Prefetched => {
            let mut tasks = tasks.clone();
            let lives = prefetch::run(&mut tasks, machine, ahead);
            (tasks, lives)
        }
    };
    let addresses = placement::run(
        &tasks,
        &lives,
        (&tasks.alignments(machine), word_align(machine)),
        capacity,
    )?;
    Some((tasks, addresses))
}

/// The best schedule of all candidates; `None` if none fits.
pub(in crate::codegen) fn run(candidates: &[Candidate<'_>], machine: &Machine) -> Option<Found> {
    let attempts: BTreeSet<(u64, usize, u64, Order)> = (candidates.iter().enumerate())
        .flat_map(|(index, candidate)| {
            AHEAD_PERCENT
                .map(|(ahead, slower)| (candidate.weighted_cycles * (100 + slower), index, ahead))
        })
        .flat_map(|(rank, index, ahead)| Order::ALL.map(|order| (rank, index, ahead, order)))
        .collect();
    let mut graphs: Vec<Option<TaskGraph>> = candidates.iter().map(|_| None).collect();
    let mut best: Option<Found> = None;
    let (mut tried, mut timed, mut effort) = (0, 0, 0);
    let mut cramped: BTreeMap<(usize, Order), u64> = BTreeMap::new();
    for (_, index, share, order) in attempts {
        let Candidate { tasks, .. } = candidates[index];
        if best.is_some() && effort >= EFFORT && tried >= ATTEMPTS {
            break;
        }
        // Buffers that were not placed are not placed with a larger look-ahead budget either.
        if cramped.get(&(index, order)).is_some_and(|less| share >= *less) {
            continue;
        }
        (tried, effort) = (tried + 1, effort + tasks.tasks.len());
        let attempt = Attempt { order, ahead: share };
        let found = order_and_place(tasks, machine, attempt, &mut graphs[index]);
        let Some((tasks, addresses)) = found else {
            cramped.insert((index, order), share);
            continue;
        };
        timed += 1;
        let objective = energy_delay(&sync::with_tokens(&tasks, &addresses), machine);
        if best.as_ref().is_none_or(|best| objective < best.energy_delay) {
            let candidate = index;
            best = Some(Found { candidate, attempt, energy_delay: objective, tried, timed });
        }
    }
    best.map(|best| Found { tried, timed, ..best })
}
