//! List scheduling: the order of the tasks, by the task graph and the cost model.
//!
//! The machine is simulated. Each unit executes one task at a time; MAC lines and the DRAM channel
//! are shared. A task starts when its predecessors are done and its buffers fit. Of the tasks that
//! could start first, those that are earlier in the program do; a unit whose next task has to wait
//! takes a later one. So loads run ahead as far as memory allows, and independent tasks fill the
//! gaps. The order in which tasks start becomes the program order.
//!
//! Of the independent parts of a program, one runs ahead of the oldest that has not ended, if not
//! all buffers fit at once.
//!
//! Tasks start in the cycles that [`vitcod_isa::timing`] gives them, on three conditions: no task
//! was put off because its buffers found no bytes or its part runs ahead, which the machine knows
//! nothing of; no two
//! buffers share bytes, so that no token orders accesses which do not conflict here; and the DRAM
//! has a constant bandwidth, which is assumed here of [DDR4 in detail](vitcod_isa::dram), too.
//! Debug builds assert it.
//!
//! A buffer is allocated when the first task that accesses it starts, and freed when the last one
//! is done. A task may allocate early only if the tasks before it, executed one by one, would still
//! find their bytes within the look-ahead budget. That budget is less than the scratchpad where
//! placement loses bytes in gaps. [`placement`](super::placement) finds addresses.

mod graph;
mod memory;
mod ordered;
mod simulation;

use vitcod_isa::machine::Machine;

use crate::codegen::schedule::list::ordered::Schedule;
use crate::codegen::schedule::list::simulation::Simulation;

pub(super) use crate::codegen::schedule::list::graph::TaskGraph;

/// Schedules tasks on a machine with `capacity` bytes of scratchpad and a look-ahead budget of
/// `ahead` bytes. `None` if the tasks do not fit even one by one.
pub(super) fn run(
    graph: &TaskGraph,
    machine: &Machine,
    ahead: u64,
    capacity: u64,
) -> Option<Schedule> {
    Simulation::new(graph, machine, ahead, capacity).run()
}

#[cfg(test)]
mod tests;
