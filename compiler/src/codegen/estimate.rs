//! What a part of a program is estimated to take: the one type that choices are compared by.

use std::ops::Add;

use vitcod_isa::machine::Machine;

use crate::codegen::objective;

/// Time and traffic of a part of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Cycles that the part adds to the program.
    pub(crate) cycles: u64,
    /// Cycles in which the DRAM channel is busy with it, hidden behind `cycles` or not.
    pub(crate) channel_cycles: u64,
    /// Bytes that pass the channel, in whole bursts.
    pub(crate) dram_bytes: u64,
}

impl Estimate {
    /// Transfers that hide behind the computation of something else.
    pub(crate) fn hidden(machine: &Machine, dram_bytes: u64) -> Estimate {
        Estimate { cycles: 0, channel_cycles: transfer_cycles(machine, dram_bytes), dram_bytes }
    }

    /// What choices are compared by: the less, the better.
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

/// Cycles in which the channel moves some bytes.
pub(crate) fn transfer_cycles(machine: &Machine, bytes: u64) -> u64 {
    (bytes * 1000).div_ceil(machine.dram_millibytes_per_cycle())
}
