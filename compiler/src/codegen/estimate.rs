//! The estimated cost of a part of a program, by which choices are compared.

use std::ops::Add;

use vitcod_isa::machine::Machine;

use crate::codegen::objective;

/// Time and DRAM traffic of a part of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Cycles that the part adds to the program.
    pub(crate) cycles: u64,
    /// Cycles of the DRAM channel, hidden behind `cycles` or not.
    pub(crate) channel_cycles: u64,
    /// Bytes of DRAM transfers, in whole bursts.
    pub(crate) dram_bytes: u64,
}

impl Estimate {
    /// Transfers that hide behind other computation.
    pub(crate) fn hidden(machine: &Machine, dram_bytes: u64) -> Estimate {
        Estimate { cycles: 0, channel_cycles: machine.transfer_cycles(dram_bytes), dram_bytes }
    }

    /// The [objective] of a part: less is better.
    pub(crate) fn weighted_cycles(&self) -> u64 {
        objective::weighted_cycles(self.cycles, self.channel_cycles)
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
