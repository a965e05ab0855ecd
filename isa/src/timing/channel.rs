//! The DRAM channel that loads and stores share.

use crate::machine::Machine;

use super::time::{Bandwidth, Time};

/// The channel: it serves one transfer at a time.
pub(super) struct Channel {
    bandwidth: Bandwidth,
    free: Time,
}

/// How the channel serves a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// When the channel is free for the next transfer.
    pub(super) free: Time,
}

impl Channel {
    pub(super) fn new(machine: &Machine) -> Channel {
        let bandwidth = Bandwidth::new(machine.dram_millibytes_per_cycle());
        Channel { bandwidth, free: Time::default() }
    }

    /// When the next transfer can begin.
    pub(super) fn free(&self) -> Time {
        self.free
    }

    /// Serves a transfer of `burst_bytes` that begins at `start`, which is not before the channel
    /// is free.
    pub(super) fn serve(&mut self, start: Time, burst_bytes: u64) -> Served {
        self.free = self.bandwidth.end(start, burst_bytes);
        Served { free: self.free }
    }
}
