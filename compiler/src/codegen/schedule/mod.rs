//! Scheduling: the order of the tasks, by list scheduling on the task graph with the cost model.
//!
//! The machine is simulated: each unit takes one task after the other, lines and the DRAM channel are shared, a task starts when those that it
//! waits for are done and its buffers have room. Of the tasks that could start first, those that stand earlier in the program do; a unit
//! whose next task has to wait takes a later one. So loads run ahead as far as memory allows, and what is independent fills the gaps. The order in which
//! tasks start becomes the program order. Its cycles are those of the emulator, if placement keeps the buffers apart that live at the same time.
//!
//! A buffer lives from the start of the first task that touches it to the end of the last one. Tasks of later groups than the oldest
//! that is not done leave some memory to that one: how much decides how far ahead the program runs, and whether the
//! buffers can be placed. The oldest task of all starts whether there is room or not, so a schedule is always found, and placement decides
//! whether it is one.

mod graph;
mod simulation;

use vitcod_isa::machine::Machine;

use super::place::Lifetimes;
use super::task::Tasks;
pub(super) use graph::TaskGraph;

/// An order of tasks.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The tasks, by their places in the program that was scheduled.
    order: Vec<usize>,
    /// The first and the last task of every buffer in the new order; the last is the last one that starts before the buffer is free.
    pub(super) lives: Lifetimes,
    /// Cycles until everything is done.
    pub(super) cycles: u64,
    pub(super) starts: Vec<u64>,
}

/// Schedules tasks on a machine; what runs ahead may take `ahead` bytes of the scratchpad, what is due all of `capacity`.
pub(super) fn run(graph: &TaskGraph, machine: &Machine, ahead: u64, capacity: u64) -> Schedule {
    simulation::Simulation::new(graph, machine, ahead, capacity).run()
}

impl Schedule {
    /// The order in which the tasks stand, for machines that have no room for another one: no buffer lives longer than it must.
    pub(super) fn program_order(tasks: &Tasks) -> Schedule {
        let mut lives = Lifetimes::new();
        for (index, task) in tasks.tasks.iter().enumerate() {
            for buffer in tasks.buffers_of(task) {
                lives[buffer] = Some(lives[buffer].map_or((index, index), |(first, _)| (first, index)));
            }
        }
        Schedule { order: (0..tasks.tasks.len()).collect(), lives, cycles: u64::MAX, starts: vec![] }
    }

    /// The tasks in their new order.
    pub(super) fn apply(&self, tasks: &Tasks) -> Tasks {
        Tasks { tasks: self.order.iter().map(|task| tasks.tasks[*task]).collect(), ..tasks.clone() }
    }
}
