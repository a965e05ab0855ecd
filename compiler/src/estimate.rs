//! The estimated cost of a part of a program.
//!
//! Parts of a program are chosen one by one, before the program exists: global tokens, the form of
//! auto-encoders, tilings, strategies. Every such choice compares [`Estimate`]s, by
//! [weighted cycles](Estimate::weighted_cycles). Whole programs are compared by what the weights
//! approximate, the product of energy and time.
//!
//! # The weight of the DRAM channel
//!
//! The weight follows from the product. Let a program take `T` cycles and the energy `E`, of which
//! `p T` is static, and let a cycle of the DRAM channel take the energy `d`. One more cycle of the
//! machine adds `E + p T` to the product. One more channel cycle, hidden behind busy MAC lines,
//! adds `d T`. So a hidden channel cycle weighs `d T / (E + p T)` cycles of the machine (our
//! derivation).

use std::fmt;
use std::ops::Add;

use vitcod_isa::machine::Machine;

/// The weight of a hidden channel cycle, in cycles of the machine: 12 to 14 for DeiT models by the
/// energy per event of `vitcod`.
const CHANNEL_WEIGHT: u64 = 12;

/// One in this many channel cycles of an attention layer is not hidden: a unit waits for it.
const CHANNEL_CYCLES_PER_WAIT: u64 = 4;

/// The reason of a choice by [`Estimate::weighted_cycles`], for reports.
pub(crate) fn fewest_weighted_cycles() -> String {
    format!(
        "the fewest weighted cycles: cycles plus {CHANNEL_WEIGHT} per cycle of the DRAM channel"
    )
}

/// Time and DRAM traffic of a part of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Cycles that the part adds to the program.
    pub cycles: u64,
    /// Cycles of the DRAM channel, hidden behind `cycles` or not.
    pub channel_cycles: u64,
    /// Bytes of DRAM transfers, in whole bursts where the choice depends on them.
    pub dram_bytes: u64,
}

impl Estimate {
    /// So many cycles, with transfers that hide behind them.
    pub(crate) fn new(machine: &Machine, cycles: u64, dram_bytes: u64) -> Estimate {
        Estimate { cycles, channel_cycles: machine.transfer_cycles(dram_bytes), dram_bytes }
    }

    /// So many cycles, and those for which a unit waits for the transfers.
    pub(crate) fn with_waits(machine: &Machine, cycles: u64, dram_bytes: u64) -> Estimate {
        let hidden = Estimate::new(machine, cycles, dram_bytes);
        let waits = hidden.channel_cycles / CHANNEL_CYCLES_PER_WAIT;
        Estimate { cycles: cycles.saturating_add(waits), ..hidden }
    }

    /// Cycles, plus [the weight](self) of each cycle of the DRAM channel. Less is better.
    pub fn weighted_cycles(&self) -> u64 {
        self.cycles.saturating_add(CHANNEL_WEIGHT.saturating_mul(self.channel_cycles))
    }
}

impl Add for Estimate {
    type Output = Estimate;

    fn add(self, other: Estimate) -> Estimate {
        Estimate {
            cycles: self.cycles + other.cycles,
            channel_cycles: self.channel_cycles + other.channel_cycles,
            dram_bytes: self.dram_bytes + other.dram_bytes,
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { cycles, dram_bytes, .. } = self;
        write!(f, "{cycles} cycles and {dram_bytes} bytes of DRAM")
    }
}
