//! List scheduling: the order of the tasks, by the task graph and the cost model.
//!
//! The machine is simulated: each unit takes one task after the other, lines and the DRAM channel
//! are shared, a task starts when those that it waits for are done and its buffers have room. Of
//! the tasks that could start first, those that stand earlier in the program do; a unit whose next
//! task has to wait takes a later one. So loads run ahead as far as memory allows, and what is
//! independent fills the gaps. The order in which tasks start becomes the program order. Its cycles
//! are those of the emulator, if placement keeps the buffers apart that live at the same time.
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

use crate::tiled::{Lifetimes, Tasks};

/// An order of tasks, and how long their buffers are needed.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The tasks, by their places in the program that was scheduled.
    order: Vec<usize>,
    /// By places in the order: tasks that start while a buffer is still in use count.
    lives: Lifetimes,
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
    pub(super) fn apply(self, tasks: &Tasks) -> (Tasks, Lifetimes) {
        let order = self.order.into_iter().map(|task| tasks.tasks[task]).collect();
        (Tasks { tasks: order, ..tasks.clone() }, self.lives)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::prefetch::tests::{Draw, tasks, valid};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]
        /// A task that waits for bytes is scheduled behind tasks that start later. It must not
        /// touch a buffer before the bytes of that buffer are taken.
        #[test]
        fn buffers_live_while_tasks_touch_them(
            draws in prop::collection::vec((0u8..4, [0usize..16, 0usize..16, 0usize..16], 0u64..8), 1..60),
            capacity in 3u64..9,
        ) {
            let draws: Vec<Draw> = valid(draws);
            let (before, machine) = (tasks(&draws), Machine::preset("vitcod").unwrap());
            let capacity = capacity * 64;
            let graph = TaskGraph::new(&before, &machine);
            let Some(schedule) = run(&graph, &machine, capacity, capacity) else { return Ok(()) };
            let (after, lives) = schedule.apply(&before);
            prop_assert_eq!(before.tasks.len(), after.tasks.len());
            for (index, task) in after.tasks.iter().enumerate() {
                for buffer in task.buffers() {
                    let (first, last) = lives[buffer].unwrap();
                    prop_assert!((first..=last).contains(&index), "{buffer} lives in {first}..={last}, not at {index}");
                }
            }
        }
    }
}
