//! DDR4 in detail: channels, banks, rows and refresh. A machine whose `[dram]` has a section `ddr4`
//! has this memory; any other has one channel of constant bandwidth and latency.
//!
//! Time is a function of the program's addresses alone, never of data, and all of it is counted in
//! clocks of the memory ([`Ddr4::clock_mhz`]) with integers.
//!
//! # What is modelled
//!
//! - *Interface*: transfers pass it one after the other, run by run and burst by burst. In the time
//!   of a burst on a bus it accepts as many bursts as there are channels, and none while the queue
//!   of the burst's channel is full. A transfer leaves it a clock after its last burst, and then
//!   the unit is free; the transfer's data have moved when those of all its bursts have, and it
//!   completes [`Cost::latency`](crate::cost::Cost::latency) later.
//! - *Queues*: a channel reads and writes in the order of its queue (first come, first served). An
//!   entry gives up its place with its read or write. Its row is prepared while entries before it
//!   are served: from the clock after its acceptance on, its bank is precharged if it holds another
//!   row, and the row is activated. Rows are activated in the order of the queue, and stay open.
//! - *Distances* between commands of a channel, as JESD79-4 defines them: tRCD, tRP, tRAS, tRTP and
//!   tWR of a bank (so tRC = tRAS + tRP); tCCD, tRRD and tWTR, each of one bank group (`_l`) and of
//!   different ones (`_s`); four activations in tFAW; a read before a write by
//!   tCL + 4 + 2 - tCWL, so that the bus can turn around. Bursts have 8 beats, so they take the
//!   data bus for 4 clocks.
//! - *Refresh* of all banks of a channel every tREFI, from tREFI on. A refresh has its place in the
//!   queue: it follows the bursts that were accepted before it was due (which postpones it by the
//!   length of a queue; JESD79-4 allows 8 tREFI). It closes all rows, and takes tRFC.
//! - *Gather*: its rows are known only at run time, so it gets slots for the worst case: it begins
//!   when all earlier bursts and everything that follows from them have passed; its rows are taken
//!   one after the other from one bank, of which each burst that can be in another row of the bank
//!   than its predecessor is in one; then all banks count as open at an unknown row, and the next
//!   transfer waits until these slots have passed.
//! - *Long transfers*: 262,144 bursts of a transfer are followed. Each of the others takes as long
//!   as a burst can take, with refreshes, and no other channel has a burst meanwhile.
//!
//! # What is not modelled
//!
//! - Conflicts on the command bus: several commands may be issued in the same clock. A burst of 4
//!   clocks has at most 3 of them.
//! - Reordering of reads and writes (FR-FCFS), which would depend on the queue's contents in the
//!   same way, and gain at most what the conflicts cost; closing of idle rows; write buffers: a
//!   write takes its turn.
//! - Several ranks, power-down, self refresh, calibration, temperature (refresh at twice the rate),
//!   errors. A burst of 8 beats is never chopped.

pub(crate) mod bursts;
mod channel;
pub(crate) mod mapping;
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use channel::Direction;
pub use mapping::{Mapping, Place};

/// Channels of DDR4 and the controller before them: section `dram.ddr4` of a machine. Times are in
/// clocks of the memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ddr4 {
    /// Clock in MHz: half of the transfers per second and line.
    pub clock_mhz: u32,
    /// Channels, a power of two.
    pub channels: u32,
    /// Width of a channel in bits, a power of two. A burst of 8 beats has as many bytes.
    pub bus_bits: u32,
    /// Bank groups of a channel, a power of two.
    pub groups: u32,
    /// Banks of a group, a power of two.
    pub banks: u32,
    /// Rows of a bank, a power of two. Addresses beyond the last belong to further rows.
    pub rows: u32,
    /// Bytes of a row over all chips of a channel, a power of two.
    pub row_bytes: u32,
    /// Which bits of an address select what.
    pub mapping: Mapping,
    /// Bursts that wait in the controller for each channel.
    pub queue: u32,
    /// From an activation to a read or write in its row.
    pub t_rcd: u32,
    /// From a precharge to an activation in its bank.
    pub t_rp: u32,
    /// From an activation to a precharge of its bank.
    pub t_ras: u32,
    /// From a read to its first data.
    pub t_cl: u32,
    /// From a write to its first data.
    pub t_cwl: u32,
    /// Between reads or writes in different bank groups.
    pub t_ccd_s: u32,
    /// Between reads or writes in the same bank group.
    pub t_ccd_l: u32,
    /// Between activations in different bank groups.
    pub t_rrd_s: u32,
    /// Between activations in the same bank group.
    pub t_rrd_l: u32,
    /// The time in which at most four rows are activated.
    pub t_faw: u32,
    /// From the last data of a write to a read in another bank group.
    pub t_wtr_s: u32,
    /// From the last data of a write to a read in the same bank group.
    pub t_wtr_l: u32,
    /// From the last data of a write to a precharge of its bank.
    pub t_wr: u32,
    /// From a read to a precharge of its bank.
    pub t_rtp: u32,
    /// From a refresh to the next activation.
    pub t_rfc: u32,
    /// Between refreshes.
    pub t_refi: u32,
}

/// Clocks that a burst takes on the data bus: 8 beats, two per clock.
pub const BURST_CLOCKS: u64 = 4;

impl Ddr4 {
    /// Four channels of DDR4-2400 with chips of 8 Gb, 8 bits wide: 76.8 GB/s, as in the paper.
    ///
    /// Times of the speed bin 17-17-17 at 0.833 ns, from JESD79-4: tRCD = tRP = 14.16 ns,
    /// tRAS = 32 ns, tRRD_S 3.3 ns (at least 4 clocks), tRRD_L 4.9 ns, tFAW 21 ns, tWTR_S 2.5 ns,
    /// tWTR_L and tRTP 7.5 ns, tWR 15 ns, tRFC 350 ns, tREFI 7.8 us. Ramulator 2 (`DDR4.cpp`) and
    /// DRAMsim3 (`DDR4_8Gb_x8_2400.ini`) have the same figures but for the speed bin. Mapping and
    /// queue are ours: adjacent bursts take turns on channels, then on bank groups (which makes
    /// tCCD_S apply), and a row is read to its end before the next bank; DRAMsim3 has the same
    /// queue.
    ///
    /// ```
    /// let ddr4 = vitcod_isa::dram::Ddr4::ddr4_2400();
    /// assert_eq!(ddr4.peak_bytes_per_second(), 76_800_000_000);
    /// ```
    pub fn ddr4_2400() -> Ddr4 {
        Ddr4 {
            clock_mhz: 1200,
            channels: 4,
            bus_bits: 64,
            groups: 4,
            banks: 4,
            rows: 65_536,
            row_bytes: 8192,
            mapping: Mapping::default(),
            queue: 16,
            t_rcd: 17,
            t_rp: 17,
            t_ras: 39,
            t_cl: 17,
            t_cwl: 12,
            t_ccd_s: 4,
            t_ccd_l: 6,
            t_rrd_s: 4,
            t_rrd_l: 6,
            t_faw: 26,
            t_wtr_s: 3,
            t_wtr_l: 9,
            t_wr: 18,
            t_rtp: 9,
            t_rfc: 420,
            t_refi: 9360,
        }
    }

    /// Bytes of a burst.
    pub fn burst_bytes(&self) -> u32 {
        self.bus_bits
    }

    /// Bytes per second of all channels together, with every data bus busy.
    pub fn peak_bytes_per_second(&self) -> u64 {
        let beats = 2_000_000 * u64::from(self.clock_mhz);
        u64::from(self.channels) * u64::from(self.bus_bits) / 8 * beats
    }

    /// What is wrong between keys that are right by themselves: the key, and the message.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, String)> {
        let Ddr4 { row_bytes, t_refi, t_rfc, t_rp, t_ras, .. } = *self;
        let burst = self.burst_bytes();
        if row_bytes < burst {
            let message =
                format!("dram.ddr4.row_bytes = {row_bytes}: a row has a burst at least, {burst}");
            return Some(("dram.ddr4.row_bytes", message));
        }
        // At least half of the time is left for bursts, so every burst has its turn.
        let least = 2 * (t_rfc + t_rp + t_ras);
        (t_refi < least).then(|| {
            let message = format!(
                "dram.ddr4.t_refi = {t_refi}: expected {least} at least, twice t_rfc + t_rp + t_ras"
            );
            ("dram.ddr4.t_refi", message)
        })
    }
}

/// What bursts met in their banks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Bursts whose row was open.
    pub hits: u64,
    /// Bursts whose bank was closed.
    pub misses: u64,
    /// Bursts whose bank had another row open.
    pub conflicts: u64,
    /// Refreshes before them, since the last burst of their channels.
    pub refreshes: u64,
}

impl RowCounts {
    /// All bursts.
    pub fn bursts(&self) -> u64 {
        self.hits.saturating_add(self.misses).saturating_add(self.conflicts)
    }

    /// Adds the counts of other bursts.
    pub fn add(&mut self, other: &RowCounts) {
        self.hits = self.hits.saturating_add(other.hits);
        self.misses = self.misses.saturating_add(other.misses);
        self.conflicts = self.conflicts.saturating_add(other.conflicts);
        self.refreshes = self.refreshes.saturating_add(other.refreshes);
    }
}
