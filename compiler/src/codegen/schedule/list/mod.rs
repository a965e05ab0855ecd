//! List scheduling: the order of the tasks, by the task graph and the cost model.
//!
//! The machine is simulated: each unit takes one task after the other, lines and the DRAM channel
//! are shared, a task starts when those that it waits for are done and its buffers have room. Of
//! the tasks that could start first, those that stand earlier in the program do; a unit whose next
//! task has to wait takes a later one. So loads run ahead as far as memory allows, and what is
//! independent fills the gaps. The order in which tasks start becomes the program order.
//!
//! Tasks start in the cycles that [`vitcod_isa::timing`] gives them, on three conditions: no task was
//! put off because its buffers found no bytes, which the machine knows nothing of; no two buffers
//! share bytes, so that no token orders accesses which do not conflict here; and a single unit takes
//! MAC lines. Debug builds assert it. (Of two units, one that starts its next task at the moment
//! when another waits for its lines is taken not to have held them: the other starts too early
//! here.)
//!
//! A buffer takes room when the first task that touches it starts, and gives it up when the last
//! one is done. A task may take room early only if the tasks before it, executed one by one, would
//! still have theirs: `ahead` bytes at most, less than there are where gaps between buffers are
//! lost. Addresses are for [`placement`](super::placement) to find.

mod graph;
mod memory;
mod simulation;

pub(super) use graph::TaskGraph;
use vitcod_isa::machine::Machine;
use vitcod_isa::timing::simulate;

use super::sync::with_tokens;
use crate::tiled::{Addresses, BUFFER_ALIGN, Lifetimes, Tasks};

/// An order of tasks, and how long their buffers are needed.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The tasks, by their places in the program that was scheduled.
    order: Vec<usize>,
    /// By places in the order: tasks that start while a buffer is still in use count.
    lives: Lifetimes,
    /// The cycle in which each task starts, in the new order; `None` where the machine may start
    /// some in others.
    starts: Option<Vec<u64>>,
}

/// Schedules tasks on a machine with `capacity` bytes of scratchpad, of which what runs ahead may
/// fill `ahead`. `None` where the tasks do not fit even one by one.
pub(super) fn run(
    graph: &TaskGraph,
    machine: &Machine,
    ahead: u64,
    capacity: u64,
) -> Option<Schedule> {
    simulation::Simulation::new(graph, machine, ahead, capacity).run()
}

impl Schedule {
    /// The tasks in their new order, and the lifetimes of their buffers.
    pub(super) fn apply(self, tasks: &Tasks, machine: &Machine) -> (Tasks, Lifetimes) {
        let order = self.order.into_iter().map(|task| tasks.tasks[task]).collect();
        let ordered = Tasks { tasks: order, ..tasks.clone() };
        if cfg!(debug_assertions)
            && let Some(starts) = self.starts
            && let Some(timed) = timed_starts(&ordered, machine)
        {
            assert_eq!(starts, timed, "the scheduler and the machine disagree on times");
        }
        (ordered, self.lives)
    }
}

/// The cycle in which each task starts on the machine, if no two buffers share bytes; `None` where
/// no scratchpad holds them side by side.
fn timed_starts(tasks: &Tasks, machine: &Machine) -> Option<Vec<u64>> {
    let mut addresses = Addresses::new();
    let mut end = 0u32;
    for (buffer, bytes) in tasks.buffers.iter() {
        addresses[buffer] = end;
        end = end.checked_add(bytes.next_multiple_of(BUFFER_ALIGN).try_into().ok()?)?;
    }
    let timing = simulate(&with_tokens(tasks, &addresses), machine).ok()?;
    Some(timing.spans().iter().take(tasks.tasks.len()).map(|span| span.start).collect())
}

#[cfg(test)]
mod tests;
