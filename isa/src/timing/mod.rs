//! The timing of a program: a discrete-event simulation of the units, without data. The compiler
//! compares programs by it, and the emulator reports it.
//!
//! # Rules
//!
//! - Every unit executes its instructions in program order, one at a time. An instruction *starts*
//!   once its unit is free, its tokens have arrived and the resource that it needs is free; it
//!   *occupies* unit and resource for [`Cost::cycles`]; it *completes* [`Cost::latency`] cycles
//!   later and then signals. A unit completes in order: an instruction with a shorter latency than
//!   its predecessor waits for it, so the i-th token of a pair is that of its i-th signal.
//! - MAC lines are an interlock: an instruction acquires all of its lines at its start. If two
//!   could start in the same cycle, the unit with the lower number does. Lines whose last
//!   instruction accumulated the other way, along sums or along outputs, are emptied first: they
//!   are ready `mode_switch_cycles` after its end. That counts as waiting for lines.
//! - A token arrives `token_cycles` after the completion of its sender.
//! - The DRAM channel serves one transfer at a time, in the order of their requests, at its exact
//!   bandwidth: a transfer begins when the previous one ends, also within a cycle; only what other
//!   units observe is rounded up to whole cycles. The load or store unit is occupied while its
//!   transfer holds the channel, and for at least a cycle. A transfer holds the channel for as long
//!   as its accesses to the banks take, if that is longer.
//! - Where the machine has [DDR4 in detail](crate::dram), its interface takes the place of the
//!   channel: a transfer holds it until its last burst is accepted, and completes
//!   [`Cost::latency`] cycles after its last data have moved.
//! - `barrier` and `halt` start when everything before them has completed, and occupy every unit
//!   for a cycle.
//!
//! Where the machine states how instructions are [fetched](crate::machine::Fetch):
//!
//! - The words lie in DRAM behind the data, from a burst's address on. They are fetched in order, a
//!   burst at a time, over the channel, which serves bursts of instructions and transfers by the
//!   time of their requests; of two that ask at the same time, the burst is first. The next one is
//!   requested when the channel is free of the last one, which is at least a cycle after its start,
//!   and the buffer has room for it. A burst arrives `dram.latency_cycles` after the first cycle in
//!   which its data have moved and the channel is free of it.
//! - Instructions are *dispatched* in program order, at most one per cycle, each to the queue of
//!   its unit (`barrier` and `halt` to all queues): when all bytes of its word have arrived and the
//!   queue holds fewer instructions than its depth. From the next cycle on, the instruction can
//!   start, and the bytes of its word are room in the buffer. It leaves the queue when it starts,
//!   and its place can be taken from the next cycle on.
//!
//! Programs in which each signal precedes its wait, as the [verifier](crate::check) demands, end
//! with buffers and queues of every size.

mod channel;
mod fetch;
mod simulation;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use crate::cost::Cost;
use crate::dram::RowCounts;
use crate::instr::{Instr, Unit};
use crate::machine::Machine;

pub use fetch::Fetched;

/// When an instruction executed, in cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first cycle in which it occupies its unit; operands are read and results written from
    /// here.
    pub start: u64,
    /// The cycle in which its unit is free again.
    pub end: u64,
    /// The cycle in which its tokens arrive.
    pub completion: u64,
}

/// How a unit spent its time; the parts add up to the run's total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCycles {
    /// Cycles occupied by instructions.
    pub busy: u64,
    /// Cycles spent waiting for tokens, by the unit whose token came last.
    pub token: [u64; Unit::COUNT],
    /// Cycles spent waiting for an instruction, where tokens came earlier.
    pub fetch: u64,
    /// Cycles spent waiting for MAC lines.
    pub lines: u64,
    /// Cycles spent waiting for the DRAM channel.
    pub channel: u64,
    /// Cycles spent at barriers.
    pub barrier: u64,
    /// Cycles after the last instruction.
    pub drained: u64,
}

/// Why a unit was idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A token was missing; if several were, this unit's arrived last.
    Token(Unit),
    /// It had not been dispatched: its word had not arrived, or an instruction up to it did not
    /// fit the queue of its unit.
    Fetch,
    /// MAC lines were occupied.
    Lines,
    /// The DRAM channel was occupied.
    Channel,
    /// Other units had not reached the barrier, or it had not been dispatched.
    Barrier,
}

/// An idle period of a unit because its next instruction could not start; for a barrier, until it
/// is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Index of the instruction.
    pub index: usize,
    /// The unit.
    pub unit: Unit,
    /// The reason.
    pub reason: Reason,
    /// Duration in cycles, at least one.
    pub cycles: u64,
}

/// The timing of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    spans: Vec<Span>,
    costs: Vec<Cost>,
    order: Vec<usize>,
    /// Empty without DDR4 in detail.
    rows: Vec<RowCounts>,
    /// Empty if instructions are not fetched.
    words: Vec<u64>,
    fetched: Option<Fetched>,
    waits: Vec<Wait>,
    units: [UnitCycles; Unit::COUNT],
    total: u64,
}

impl Timing {
    /// When each instruction executed, in program order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The cost of each instruction, in program order.
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// The instructions in the order in which they started.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// What the bursts of an instruction met in the banks of the DRAM; nothing if the DRAM is a
    /// channel of constant bandwidth.
    pub fn rows(&self, index: usize) -> Option<&RowCounts> {
        self.rows.get(index)
    }

    /// The instructions that were fetched; nothing if the machine has them without fetching them.
    pub fn fetched(&self) -> Option<&Fetched> {
        self.fetched.as_ref()
    }

    /// The bytes that were fetched for an instruction.
    pub fn word_bytes(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or_default()
    }

    /// The waits of instructions, in the order of their starts: at most two for each instruction,
    /// and one per unit at a barrier. Together with the cycles after a unit's last instruction they
    /// are all of its idle time.
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// How a unit spent its time.
    pub fn unit(&self, unit: Unit) -> &UnitCycles {
        &self.units[unit.index()]
    }

    /// Cycles of the run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Accounts for a wait.
    fn add_wait(&mut self, wait: Wait) {
        let unit = &mut self.units[wait.unit.index()];
        let total = match wait.reason {
            Reason::Token(sender) => &mut unit.token[sender.index()],
            Reason::Fetch => &mut unit.fetch,
            Reason::Lines => &mut unit.lines,
            Reason::Channel => &mut unit.channel,
            Reason::Barrier => &mut unit.barrier,
        };
        *total += wait.cycles;
        if wait.cycles > 0 {
            self.waits.push(wait);
        }
    }
}

/// A program that cannot run to completion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The units wait for each other.
    #[error("deadlock:{}", .0.iter().map(|blocked| format!("\n  {blocked}")).collect::<String>())]
    Deadlock(Vec<Blocked>),
    /// An instruction is illegal at its position.
    #[error("instruction {index}, `{instruction}`: {reason}")]
    Malformed {
        /// Index of the instruction.
        index: usize,
        /// The instruction in assembly.
        instruction: String,
        /// The violated rule.
        reason: &'static str,
    },
    /// The program has no `halt`.
    #[error("the program does not end with `halt`")]
    NoHalt,
}

/// A unit that cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The unit.
    pub unit: Unit,
    /// Index of the instruction that cannot start.
    pub index: usize,
    /// Mnemonic of that instruction.
    pub mnemonic: &'static str,
    /// Whether it has been dispatched to the unit.
    pub dispatched: bool,
    /// The units whose tokens are missing; empty if it waits for other units at a barrier.
    pub missing: Vec<Unit>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: instruction {}, `{}`, waits for ", self.unit, self.index, self.mnemonic)?;
        match self.missing.as_slice() {
            _ if !self.dispatched => f.write_str("its dispatch"),
            [] => f.write_str("the other units"),
            missing => {
                let names: Vec<&str> = missing.iter().map(|unit| unit.name()).collect();
                write!(f, "a token from {}", names.join(" and from "))
            }
        }
    }
}

/// A burst that the DRAM accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstIssue {
    /// Index of the instruction; for a burst of instructions, of the first that it has bytes of.
    pub index: usize,
    /// When, in clocks of the memory.
    pub clock: u64,
    /// Address of its first byte.
    pub address: u64,
    /// Whether it is written.
    pub write: bool,
}

/// Simulates a program on a machine.
///
/// Takes time and memory proportional to the number of instructions, and with
/// [DDR4 in detail](crate::dram) time proportional to the number of bursts, too, of which at most
/// 262,144 of a transfer are followed. Operands matter only for their cost and addresses. The cost
/// of operands outside the memories may overflow, so untrusted programs must be verified first.
///
/// # Errors
/// The units wait for each other, or the program does not end with its only `halt`.
pub fn simulate(code: &[Instr], machine: &Machine) -> Result<Timing, TimingError> {
    simulation::Simulation::new(code, machine, None)?.run()
}

/// Simulates a program and calls `trace` with each burst on the DRAM, in the order in which the
/// DRAM accepts them. A machine without DDR4 in detail counts clocks of DDR4-2400.
///
/// The rows of a gather are known only at run time; bursts of rows at equal distances in its table
/// take their place. With DDR4 in detail, bursts of a transfer that are not followed one by one are
/// missing.
///
/// # Errors
/// As [`simulate`].
pub fn trace_bursts(
    code: &[Instr],
    machine: &Machine,
    trace: &mut dyn FnMut(BurstIssue),
) -> Result<Timing, TimingError> {
    simulation::Simulation::new(code, machine, Some(trace))?.run()
}
