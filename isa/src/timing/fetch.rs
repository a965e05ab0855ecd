//! Instruction fetch: words come over the DRAM channel into a buffer, and are dispatched from there
//! to the queues of the units. `timing` states the rules.

use crate::dram::bursts::{Request, What};
use crate::dram::{Direction, RowCounts};
use crate::effects::{Region, Space, accesses};
use crate::instr::{Instr, MAX_WORD_BYTES, Unit};
use crate::machine::Machine;

use super::time::Time;

/// The instructions that a run fetched, and how long the next one to be dispatched waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the words.
    pub bytes: u64,
    /// Bytes on the DRAM channel: whole bursts.
    pub burst_bytes: u64,
    /// Bursts.
    pub bursts: u64,
    /// Cycles in which its word had not arrived.
    pub word_cycles: u64,
    /// Cycles in which its word had arrived, and the queue of its unit was full.
    pub queue_cycles: u64,
    /// What the bursts met in the banks of the DRAM; nothing without DDR4 in detail.
    pub rows: RowCounts,
}

/// The state of fetch and dispatch.
pub(super) struct Fetch {
    burst_bytes: u64,
    buffer_bytes: u64,
    /// Instructions in the queue of a unit.
    depth: usize,
    /// Address of the first word, at which a burst begins.
    address: u64,
    /// Per instruction, the byte behind its word, counted from the first word.
    ends: Vec<u64>,
    /// Per burst that has been requested, the cycle in which it arrives.
    arrivals: Vec<u64>,
    /// When the next burst can be requested, if there is room for it.
    free: Time,
    /// Per instruction that has been dispatched, when.
    dispatched: Vec<u64>,
    /// Per unit, the number of instructions that have been dispatched to it.
    sent: [usize; Unit::COUNT],
    /// The instruction whose dispatch makes room for the next burst, or one before it.
    room: usize,
    fetched: Fetched,
}

impl Fetch {
    /// Nothing if fetch is free on the machine.
    pub(super) fn new(code: &[Instr], machine: &Machine, with_addresses: bool) -> Option<Fetch> {
        let fetch = machine.fetch.as_ref()?;
        let mut bytes = 0;
        let ends: Vec<u64> = code
            .iter()
            .map(|instr| {
                // The verifier refuses an instruction without a word.
                bytes += instr.encode().map_or(MAX_WORD_BYTES, |word| word.len()) as u64;
                bytes
            })
            .collect();
        let burst_bytes = u64::from(machine.dram.burst_bytes);
        let bursts = bytes.div_ceil(burst_bytes);
        Some(Fetch {
            burst_bytes,
            buffer_bytes: fetch.buffer_bytes.into(),
            depth: fetch.queue_depth as usize,
            address: if with_addresses { behind_data(code, burst_bytes) } else { 0 },
            ends,
            arrivals: Vec::new(),
            free: Time::default(),
            dispatched: Vec::with_capacity(code.len()),
            sent: [0; Unit::COUNT],
            room: 0,
            fetched: Fetched {
                bytes,
                burst_bytes: bursts * burst_bytes,
                bursts,
                ..Fetched::default()
            },
        })
    }

    /// When the next burst is requested; nothing if all have been, or if that is not known yet.
    pub(super) fn request(&mut self) -> Option<Time> {
        let number = self.arrivals.len() as u64;
        if number == self.fetched.bursts {
            return None;
        }
        let end = (number + 1) * self.burst_bytes;
        let Some(free) = end.checked_sub(self.buffer_bytes).filter(|free| *free > 0) else {
            return Some(self.free);
        };
        while self.ends.get(self.room).is_some_and(|end| *end < free) {
            self.room += 1;
        }
        let dispatched = self.dispatched.get(self.room)?;
        Some(self.free.max(Time::at(dispatched.saturating_add(1))))
    }

    /// What the next burst asks of the DRAM, the first instruction that it has bytes of, and its
    /// bytes.
    pub(super) fn burst(&self) -> (Request, usize, u64) {
        let at = self.arrivals.len() as u64 * self.burst_bytes;
        let index = self.ends.partition_point(|end| *end <= at);
        let region = Region::contiguous(self.address + at, self.burst_bytes);
        let request = Request { direction: Direction::Read, what: What::Region(region) };
        (request, index, self.burst_bytes)
    }

    /// Notes that the next burst arrives in this cycle, and when another one can be requested.
    pub(super) fn served(&mut self, arrival: u64, free: Time, rows: RowCounts) {
        let last = self.arrivals.last().copied().unwrap_or_default();
        self.arrivals.push(arrival.max(last));
        self.free = free;
        self.fetched.rows.add(&rows);
    }

    /// Per instruction, the bytes of its word; and the sums.
    pub(super) fn finish(self) -> (Vec<u64>, Option<Fetched>) {
        let starts = std::iter::once(&0).chain(&self.ends);
        let words = self.ends.iter().zip(starts).map(|(end, start)| end - start).collect();
        (words, Some(self.fetched))
    }

    /// When an instruction was dispatched, if it was.
    pub(super) fn dispatched(&self, index: usize) -> Option<u64> {
        self.dispatched.get(index).copied()
    }

    /// The next instruction to be dispatched.
    pub(super) fn next(&self) -> usize {
        self.dispatched.len()
    }

    /// Dispatches the next instruction, if it is known when. `start` is when the instruction with
    /// this number of a unit started, if it did.
    pub(super) fn dispatch(
        &mut self,
        units: impl Iterator<Item = Unit>,
        start: impl Fn(Unit, usize) -> Option<u64>,
    ) -> Option<()> {
        let index = self.dispatched.len();
        let after = self.dispatched.last().map_or(0, |cycle| cycle.saturating_add(1));
        let burst = (self.ends.get(index)? - 1) / self.burst_bytes;
        let arrival = *self.arrivals.get(burst as usize)?;
        let there = after.max(arrival);
        let (mut cycle, mut sent) = (there, self.sent);
        for unit in units {
            let number = &mut sent[unit.index()];
            if let Some(leaving) = number.checked_sub(self.depth) {
                cycle = cycle.max(start(unit, leaving)?.saturating_add(1));
            }
            *number += 1;
        }
        self.fetched.word_cycles += there - after;
        self.fetched.queue_cycles += cycle - there;
        self.sent = sent;
        self.dispatched.push(cycle);
        Some(())
    }
}

/// The first burst behind all bytes of DRAM that the code accesses: instructions lie behind the
/// data.
fn behind_data(code: &[Instr], burst_bytes: u64) -> u64 {
    let accesses = code.iter().flat_map(|instr| accesses(&instr.op));
    let dram = accesses.filter(|access| access.space == Space::Dram);
    let end = dram.map(|access| access.region.end()).max().unwrap_or_default();
    end.div_ceil(burst_bytes).saturating_mul(burst_bytes)
}
