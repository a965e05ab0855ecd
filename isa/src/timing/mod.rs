//! When each instruction runs: a discrete-event simulation of the units, without data. The compiler
//! chooses among programs by it, the emulator reports by it.
//!
//! # Rules
//!
//! - Every unit takes its instructions in program order and holds one at a time. An instruction
//!   *starts* once its unit is free, its tokens have arrived and the resource that it needs is
//!   free; it *occupies* unit and resource for [`Cost::cycles`]; it *completes* [`Cost::latency`]
//!   cycles later and then signals. A unit completes in order: an instruction with a shorter
//!   latency than the one before it waits for it, so the i-th token of a pair is that of its i-th
//!   signal.
//! - MAC lines are an interlock: an instruction takes all of its lines at once at its start. Where
//!   two could start in the same cycle, the unit with the lower number does.
//! - The DRAM channel serves one transfer at a time, in the order in which they could have started,
//!   at its exact bandwidth: a transfer begins the moment the one before it ends, within a cycle
//!   too, and only what others see of it is rounded up to whole cycles. The loading or storing unit
//!   is occupied while its transfer holds the channel, and for a cycle at least.
//! - `barrier` and `halt` start when everything before them has completed, and take every unit for
//!   a cycle.

mod simulation;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use crate::cost::Cost;
use crate::instr::{Instr, Unit};
use crate::machine::Machine;

/// When an instruction ran, in cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first cycle in which it holds its unit; operands are read and results written here.
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
    /// Cycles spent waiting for MAC lines.
    pub lines: u64,
    /// Cycles spent waiting for the DRAM channel.
    pub channel: u64,
    /// Cycles spent at barriers.
    pub barrier: u64,
    /// Cycles after the last instruction.
    pub drained: u64,
}

/// Why a unit was not busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A token was missing; where several were, that of this unit came last.
    Token(Unit),
    /// MAC lines were taken.
    Lines,
    /// The DRAM channel was taken.
    Channel,
    /// The other units had to come to a barrier.
    Barrier,
}

/// Cycles that a unit was not busy because its next instruction could not start; for a barrier,
/// until it is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Index of the instruction.
    pub index: usize,
    /// The unit.
    pub unit: Unit,
    /// What it waited for.
    pub reason: Reason,
    /// How long, at least a cycle.
    pub cycles: u64,
}

/// The timing of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    spans: Vec<Span>,
    costs: Vec<Cost>,
    order: Vec<usize>,
    waits: Vec<Wait>,
    units: [UnitCycles; Unit::COUNT],
    total: u64,
}

impl Timing {
    /// When each instruction ran, in program order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// What each instruction cost, in program order.
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// The instructions in the order in which they started.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// What instructions waited for, in the order in which they started: at most two waits each,
    /// and one per unit at a barrier. With the cycles after a unit's last instruction they are all
    /// the time in which it was not busy.
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// How a unit spent its time.
    pub fn unit(&self, unit: Unit) -> &UnitCycles {
        &self.units[unit.index()]
    }

    /// Cycles of the whole run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Accounts for a wait.
    fn add_wait(&mut self, wait: Wait) {
        let unit = &mut self.units[wait.unit.index()];
        let total = match wait.reason {
            Reason::Token(sender) => &mut unit.token[sender.index()],
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

/// A program that cannot run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// No unit can go on.
    #[error("deadlock:{}", .0.iter().map(|blocked| format!("\n  {blocked}")).collect::<String>())]
    Deadlock(Vec<Blocked>),
    /// An instruction that has no meaning where it stands.
    #[error("instruction {index}, `{instruction}`: {reason}")]
    Malformed {
        /// Its index.
        index: usize,
        /// Its text.
        instruction: String,
        /// The rule that is broken.
        reason: &'static str,
    },
    /// A program without `halt`.
    #[error("the program does not end with `halt`")]
    NoHalt,
}

/// A unit that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The unit.
    pub unit: Unit,
    /// Index of the instruction that cannot start.
    pub index: usize,
    /// Its mnemonic.
    pub mnemonic: &'static str,
    /// The units whose tokens are missing; none where it waits for the other units at a barrier.
    pub missing: Vec<Unit>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: instruction {}, `{}`, waits for ", self.unit, self.index, self.mnemonic)?;
        match self.missing.as_slice() {
            [] => f.write_str("the other units"),
            missing => {
                let names: Vec<&str> = missing.iter().map(|unit| unit.name()).collect();
                write!(f, "a token from {}", names.join(" and from "))
            }
        }
    }
}

/// Simulates a program on a machine.
///
/// Takes time and memory in proportion to the number of instructions. Operands do not matter beyond
/// their cost, but that of operands which lie in no memory of the machine can be beyond what an
/// integer holds: programs from elsewhere are to be checked first.
///
/// # Errors
/// The units wait for each other, or the program is not a sequence that ends with its only `halt`.
pub fn simulate(code: &[Instr], machine: &Machine) -> Result<Timing, TimingError> {
    simulation::Simulation::new(code, machine)?.run()
}
