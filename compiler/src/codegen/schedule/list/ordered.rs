//! The result of list scheduling.

use vitcod_isa::machine::Machine;
use vitcod_isa::timing::simulate;

use crate::codegen::schedule::sync::with_tokens;
use crate::tiled::{Addresses, Lifetimes, Tasks};

/// An order of tasks with the live ranges of their buffers.
#[derive(Clone, Debug)]
pub(in crate::codegen::schedule) struct Schedule {
    /// The tasks, by their indices in program order.
    pub(super) order: Vec<usize>,
    /// Live ranges by indices in the new order. Tasks that start while a buffer is still in use
    /// count.
    pub(super) lives: Lifetimes,
    /// The cycle in which each task starts, in the new order, if instructions are there without
    /// being fetched; `None` if the machine may start some in other cycles.
    pub(super) starts: Option<Vec<u64>>,
}

impl Schedule {
    /// The tasks in their new order, and the live ranges of their buffers.
    pub(in crate::codegen::schedule) fn apply(
        self,
        tasks: &Tasks,
        machine: &Machine,
    ) -> (Tasks, Lifetimes) {
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

/// The cycle in which each task starts on the machine as the scheduler knows it, without
/// instruction fetch, if no two buffers share bytes; `None` where no scratchpad holds them side by
/// side.
pub(super) fn timed_starts(tasks: &Tasks, machine: &Machine) -> Option<Vec<u64>> {
    let mut addresses = Addresses::new();
    let mut end = 0u32;
    let alignments = tasks.alignments(machine);
    for (buffer, bytes) in tasks.buffers.iter() {
        let start = u64::from(end).next_multiple_of(alignments[buffer]);
        addresses[buffer] = u32::try_from(start).ok()?;
        end = u32::try_from(start.checked_add(*bytes)?).ok()?;
    }
    let machine = Machine { fetch: None, ..machine.clone() };
    let timing = simulate(&with_tokens(tasks, &addresses), &machine).ok()?;
    Some(timing.spans().iter().take(tasks.tasks.len()).map(|span| span.start).collect())
}
