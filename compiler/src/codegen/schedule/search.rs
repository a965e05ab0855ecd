//! Search: of the ways to lower a graph, to order its tasks and to place their buffers, the one
//! whose program has the lowest price.
//!
//! There are two ways to order tasks. The [list scheduler](super::list) takes them as they can
//! start; it is the better one where there is much that is independent. [Prefetch](super::prefetch)
//! keeps the order of the program but for loads; it is the better one where memory is scarce.
//! Either says how long buffers live, and [`placement`] packs them. Both are tried with more and
//! less memory to run ahead, in the order of their estimates, until enough has been tried. What a
//! program takes is not estimated: it is timed, as the emulator times it.

use std::collections::{BTreeMap, BTreeSet};

use vitcod_isa::machine::Machine;

use super::list::{self, TaskGraph};
use super::{placement, prefetch, sync};
use crate::codegen::objective::energy_delay;
use crate::tiled::{Addresses, Scheduled, Tasks, Tiled};

/// Percentages of the scratchpad that may fill with what runs ahead, and by how many per cent less
/// room is thought to make a program slower.
const AHEAD_PERCENT: [(u64, u64); 7] =
    [(100, 0), (96, 0), (90, 0), (82, 2), (70, 4), (50, 15), (0, 40)];

/// Tasks that are ordered in search of a better program, all attempts together, and attempts for
/// programs so large that they are too few. A first program is searched for as long as it takes.
const EFFORT: usize = 30_000;
const ATTEMPTS: usize = 16;

/// How tasks are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Prefetched,
    Scheduled,
}

/// A way to tile a graph.
pub(in crate::codegen) struct Candidate<'a> {
    /// An estimate of its price.
    pub(in crate::codegen) price: u64,
    pub(in crate::codegen) tasks: &'a Tasks,
}

/// A schedule.
pub(in crate::codegen) struct Found {
    /// The candidate that it is of.
    pub(in crate::codegen) candidate: usize,
    /// The tasks in their order.
    tasks: Tasks,
    addresses: Addresses,
    /// What decides between programs: the less, the better.
    pub(in crate::codegen) price: u128,
    /// Schedules that were tried, and those of them that found room.
    pub(in crate::codegen) tried: usize,
    pub(in crate::codegen) timed: usize,
}

impl Found {
    /// The schedule of the tiled program that it is of.
    pub(in crate::codegen) fn apply(self, tiled: Tiled) -> Scheduled {
        Scheduled { tiled: Tiled { tasks: self.tasks, ..tiled }, addresses: self.addresses }
    }
}

/// The best schedule of all candidates; `None` where none of them fits.
pub(in crate::codegen) fn run(candidates: &[Candidate<'_>], machine: &Machine) -> Option<Found> {
    let capacity = u64::from(machine.sram.bytes);
    let attempts: BTreeSet<(u64, usize, u64, Order)> = (candidates.iter().enumerate())
        .flat_map(|(index, candidate)| {
            AHEAD_PERCENT.map(|(ahead, slower)| (candidate.price * (100 + slower), index, ahead))
        })
        .flat_map(|(rank, index, ahead)| {
            [Order::Prefetched, Order::Scheduled].map(|order| (rank, index, ahead, order))
        })
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
        // What found no room finds none where more may run ahead.
        if cramped.get(&(index, order)).is_some_and(|less| share >= *less) {
            continue;
        }
        (tried, effort) = (tried + 1, effort + tasks.tasks.len());
        let ahead = capacity * share / 100;
        let ordered = match order {
            Order::Scheduled => {
                let graph = graphs[index].get_or_insert_with(|| TaskGraph::new(tasks, machine));
                list::run(graph, machine, ahead, capacity)
                    .map(|schedule| schedule.apply(tasks, machine))
            }
            Order::Prefetched => {
                let mut tasks = tasks.clone();
                let lives = prefetch::run(&mut tasks, machine, ahead);
                Some((tasks, lives))
            }
        };
        let placed = ordered.and_then(|(tasks, lives)| {
            let addresses = placement::run(&tasks, &lives, capacity)?;
            Some((tasks, addresses))
        });
        let Some((tasks, addresses)) = placed else {
            cramped.insert((index, order), share);
            continue;
        };
        timed += 1;
        let price = energy_delay(&sync::with_tokens(&tasks, &addresses), machine);
        if best.as_ref().is_none_or(|best| price < best.price) {
            best = Some(Found { candidate: index, tasks, addresses, price, tried, timed });
        }
    }
    best.map(|best| Found { tried, timed, ..best })
}
