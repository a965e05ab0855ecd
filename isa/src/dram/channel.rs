//! A channel: its banks, and when its commands are issued. Times are clocks.

use super::{BURST_CLOCKS, Ddr4, RowCounts};

/// The row of a bank after a gather: no burst asks for it.
const UNKNOWN: u64 = u64::MAX;

/// Which way a burst goes: the index of what differs by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The distances between commands, and what follows from them. Pairs are by [`Direction`], or
/// between bank groups and within one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distances {
    rcd: u64,
    rp: u64,
    ras: u64,
    ccd: [u64; 2],
    rrd: [u64; 2],
    faw: u64,
    rfc: u64,
    refi: u64,
    /// From a read to its last data, and from a write.
    data: [u64; 2],
    /// From a read to a write, and from a write to a read.
    turn: [[u64; 2]; 2],
    /// From a read to the precharge of its bank, and from a write.
    close: [u64; 2],
}

/// Index of a distance between bank groups, and within one.
const SHORT: usize = 0;
const LONG: usize = 1;

impl Distances {
    pub(super) fn new(ddr4: &Ddr4) -> Distances {
        let clocks = |time: u32| u64::from(time);
        let (read, write) = (clocks(ddr4.t_cl) + BURST_CLOCKS, clocks(ddr4.t_cwl) + BURST_CLOCKS);
        Distances {
            rcd: ddr4.t_rcd.into(),
            rp: ddr4.t_rp.into(),
            ras: ddr4.t_ras.into(),
            ccd: [ddr4.t_ccd_s, ddr4.t_ccd_l].map(clocks),
            rrd: [ddr4.t_rrd_s, ddr4.t_rrd_l].map(clocks),
            faw: ddr4.t_faw.into(),
            rfc: ddr4.t_rfc.into(),
            refi: ddr4.t_refi.into(),
            data: [read, write],
            turn: [
                // The write's data follow the read's, and a preamble and a postamble of a clock.
                [(read + 2).saturating_sub(ddr4.t_cwl.into()); 2],
                [ddr4.t_wtr_s, ddr4.t_wtr_l].map(|wtr| write + clocks(wtr)),
            ],
            close: [ddr4.t_rtp.into(), write + clocks(ddr4.t_wr)],
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Bank {
    row: Option<u64>,
    /// The first clock of a read or write, a precharge and an activation.
    column_from: u64,
    precharge_from: u64,
    activate_from: u64,
}

/// The first clocks of commands to a bank group, or to any.
#[derive(Clone, Copy, Default)]
struct Earliest {
    /// Of a read, and of a write.
    column: [u64; 2],
    activate: u64,
}

impl Earliest {
    fn last(&self) -> u64 {
        self.column.into_iter().fold(self.activate, u64::max)
    }
}

/// Where a burst goes in its channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) group: usize,
    /// The bank among all of the channel.
    pub(super) bank: usize,
    /// None for a row that is surely not open.
    pub(super) row: Option<u64>,
}

/// When a burst is read or written, and when its last data have moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) column: u64,
    pub(super) data: u64,
}

pub(super) struct Channel {
    distances: Distances,
    banks: Vec<Bank>,
    groups: Vec<Earliest>,
    any: Earliest,
    /// The last four activations, of which the oldest is the next to be replaced.
    activations: [Option<u64>; 4],
    oldest: usize,
    refresh_due: u64,
    /// When the last data have moved.
    data: u64,
}

impl Channel {
    pub(super) fn new(ddr4: &Ddr4) -> Channel {
        let distances = Distances::new(ddr4);
        Channel {
            distances,
            banks: vec![Bank::default(); (ddr4.groups * ddr4.banks) as usize],
            groups: vec![Earliest::default(); ddr4.groups as usize],
            any: Earliest::default(),
            activations: [None; 4],
            oldest: 0,
            refresh_due: distances.refi,
            data: 0,
        }
    }

    /// Serves a burst that was accepted in a clock, after all that were accepted before.
    pub(super) fn access(
        &mut self,
        accepted: u64,
        target: Target,
        direction: Direction,
        counts: &mut RowCounts,
    ) -> Access {
        if accepted >= self.refresh_due {
            self.refresh_until(accepted, counts);
        }
        let (d, from) = (self.distances, accepted + 1);
        let (bank, group) = (&mut self.banks[target.bank], &mut self.groups[target.group]);
        if bank.row.is_some() && bank.row == target.row {
            counts.hits += 1;
        } else {
            let closed = if bank.row.is_some() {
                counts.conflicts += 1;
                from.max(bank.precharge_from) + d.rp
            } else {
                counts.misses += 1;
                from
            };
            let window = self.activations[self.oldest].map_or(0, |first| first + d.faw);
            let activate = closed
                .max(bank.activate_from)
                .max(self.any.activate)
                .max(group.activate)
                .max(window);
            self.activations[self.oldest] = Some(activate);
            self.oldest = (self.oldest + 1) % self.activations.len();
            self.any.activate = activate + d.rrd[SHORT];
            group.activate = activate + d.rrd[LONG];
            bank.row = Some(target.row.unwrap_or(UNKNOWN));
            bank.column_from = activate + d.rcd;
            bank.precharge_from = activate + d.ras;
        }
        let (this, other) = (direction as usize, 1 - direction as usize);
        let earliest = from.max(bank.column_from);
        let column = earliest.max(self.any.column[this]).max(group.column[this]);
        for (earliest, near) in [(&mut self.any, SHORT), (group, LONG)] {
            earliest.column[this] = column + d.ccd[near];
            earliest.column[other] = column + d.ccd[near].max(d.turn[this][near]);
        }
        bank.precharge_from = bank.precharge_from.max(column + d.close[this]);
        let data = column + d.data[this];
        self.data = self.data.max(data);
        Access { column, data }
    }

    /// Executes every refresh that is due by a clock: each closes all rows, and takes tRFC.
    fn refresh_until(&mut self, clock: u64, counts: &mut RowCounts) {
        let d = self.distances;
        let more = (clock - self.refresh_due) / d.refi;
        let first = self.banks.iter().map(|bank| match bank.row {
            Some(_) => self.refresh_due.max(bank.precharge_from) + d.rp,
            None => bank.activate_from,
        });
        let first = first.fold(self.refresh_due, u64::max);
        let last = self.refresh_due + more * d.refi;
        // The others find all rows closed. They are due at a distance that is larger than tRFC, so
        // all follow the first at once until one is in time; then the last is in time, too.
        let ready = (first + more * d.rfc).max(last) + d.rfc;
        for bank in &mut self.banks {
            (bank.row, bank.activate_from) = (None, ready);
        }
        self.refresh_due = last + d.refi;
        counts.refreshes = counts.refreshes.saturating_add(more + 1);
    }

    /// The first clock in which any command may be issued to any bank, and all data have moved.
    pub(super) fn quiet(&self) -> u64 {
        let banks = self
            .banks
            .iter()
            .map(|bank| bank.column_from.max(bank.precharge_from).max(bank.activate_from));
        let groups = self.groups.iter().map(Earliest::last);
        let window = self.activations.iter().flatten().map(|first| first + self.distances.faw);
        banks.chain(groups).chain(window).fold(self.data.max(self.any.last()), u64::max)
    }

    /// Forgets the rows: all banks hold one that no burst asks for.
    pub(super) fn forget_rows(&mut self) {
        self.banks.iter_mut().for_each(|bank| bank.row = Some(UNKNOWN));
    }
}
