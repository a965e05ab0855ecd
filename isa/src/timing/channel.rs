//! The DRAM that loads and stores share: a channel of constant bandwidth, or DDR4 in detail.

use crate::dram::bursts::Request;
use crate::dram::memory::Memory;
use crate::dram::{Ddr4, Direction, RowCounts};
use crate::machine::Machine;

use super::BurstIssue;
use super::time::{Bandwidth, Clock, Time};

/// The channel: it serves one transfer at a time.
pub(super) struct Channel<'a> {
    model: Model,
    burst_bytes: u64,
    /// Clocks of the memory, in which bursts are traced.
    clock: Clock,
    free: Time,
    trace: Option<&'a mut dyn FnMut(BurstIssue)>,
}

enum Model {
    Constant(Bandwidth),
    Detailed(Box<Memory>),
}

/// How the channel serves a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// When the channel is free for the next transfer.
    pub(super) free: Time,
    /// When all data have moved, not before the channel is free.
    pub(super) moved: Time,
    /// What the bursts met in their banks; nothing without banks.
    pub(super) rows: RowCounts,
}

impl<'a> Channel<'a> {
    pub(super) fn new(
        machine: &Machine,
        trace: Option<&'a mut dyn FnMut(BurstIssue)>,
    ) -> Channel<'a> {
        let ddr4 = machine.dram.ddr4.as_ref();
        let model = match ddr4 {
            Some(ddr4) => Model::Detailed(Box::new(Memory::new(ddr4))),
            None => Model::Constant(Bandwidth::new(machine.dram_millibytes_per_cycle())),
        };
        let clock_mhz = ddr4.map_or_else(|| Ddr4::ddr4_2400().clock_mhz, |ddr4| ddr4.clock_mhz);
        Channel {
            model,
            burst_bytes: machine.dram.burst_bytes.into(),
            clock: Clock::new(clock_mhz, machine.clock_mhz),
            free: Time::default(),
            trace,
        }
    }

    /// When the next transfer can begin.
    pub(super) fn free(&self) -> Time {
        self.free
    }

    /// Keeps the channel for the transfer that it served last, at least until then.
    pub(super) fn hold(&mut self, until: Time) {
        self.free = self.free.max(until);
    }

    /// Serves a transfer of instruction `index` that begins at `start`, which is not before the
    /// channel is free, and takes `burst_bytes` in whole bursts. What it asks for is computed only
    /// if that matters.
    pub(super) fn serve(
        &mut self,
        start: Time,
        index: usize,
        burst_bytes: u64,
        request: impl FnOnce() -> Option<Request>,
    ) -> Served {
        let served = match &mut self.model {
            Model::Constant(bandwidth) => {
                if let Some(trace) = &mut self.trace
                    && let Some(request) = request()
                {
                    let write = request.direction == Direction::Write;
                    let mut at = start;
                    request.addresses(self.burst_bytes).for_each(|address| {
                        let clock = self.clock.within(at, bandwidth.fractions());
                        trace(BurstIssue { index, clock, address, write });
                        at = bandwidth.end(at, self.burst_bytes);
                    });
                }
                let free = bandwidth.end(start, burst_bytes);
                Served { free, moved: free, rows: RowCounts::default() }
            }
            Model::Detailed(memory) => {
                let Some(request) = request() else {
                    return Served { free: start, moved: start, rows: RowCounts::default() };
                };
                let write = request.direction == Direction::Write;
                let mut issued = |clock, address| {
                    if let Some(trace) = &mut self.trace {
                        trace(BurstIssue { index, clock, address, write });
                    }
                };
                let served = memory.serve(self.clock.first(start), &request, &mut issued);
                Served {
                    free: self.clock.time(served.free),
                    moved: self.clock.time(served.data.max(served.free)),
                    rows: served.rows,
                }
            }
        };
        self.free = served.free;
        served
    }
}
