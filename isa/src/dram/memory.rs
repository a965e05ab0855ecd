//! The interface of the memory and the queues of its channels.

use crate::instr::table::Gather;

use super::bursts::{Request, What, bursts, in_place_of_gather, of_region, of_row};
use super::channel::{Access, Channel, Direction, Target};
use super::{BURST_CLOCKS, Ddr4, RowCounts};

/// The most bursts of a transfer that are followed one by one, so that none takes long to follow;
/// the others get slots for the worst case. A transfer has more if bursts are small, or if it
/// repeats its source.
pub(super) const FOLLOWED: u64 = 1 << 18;

/// Later than any program ends; no acceptance is later, so that sums cannot overflow.
const HORIZON: u64 = 1 << 61;

/// The memory: its interface and its channels.
pub(crate) struct Memory {
    ddr4: Ddr4,
    channels: Vec<Channel>,
    /// Clocks in which the last bursts of each channel left its queue, a ring.
    left: Vec<Vec<u64>>,
    /// The next place of each ring.
    next: Vec<usize>,
    /// Clocks in which the interface accepted its last bursts, one for each channel; a ring.
    accepted: Vec<Option<u64>>,
    next_accepted: usize,
    /// No burst is accepted before.
    from: u64,
}

/// How a transfer was served, in clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// When the interface is free for the next one.
    pub(crate) free: u64,
    /// When all its data have moved.
    pub(crate) data: u64,
    pub(crate) rows: RowCounts,
}

impl Memory {
    pub(crate) fn new(ddr4: &Ddr4) -> Memory {
        let channels = ddr4.channels as usize;
        Memory {
            ddr4: ddr4.clone(),
            channels: (0..channels).map(|_| Channel::new(ddr4)).collect(),
            left: vec![vec![0; ddr4.queue as usize]; channels],
            next: vec![0; channels],
            accepted: vec![None; channels],
            next_accepted: 0,
            from: 0,
        }
    }

    /// Serves the transfer that follows, whose first burst comes in clock `at` at the earliest.
    /// `issued` gets the clock in which each burst is accepted, and its address; not of those that
    /// are not followed.
    pub(crate) fn serve(
        &mut self,
        at: u64,
        request: &Request,
        issued: &mut dyn FnMut(u64, u64),
    ) -> Served {
        self.from = self.from.max(at.min(HORIZON));
        let mut served = Served { free: self.from, data: self.from, rows: RowCounts::default() };
        match request.what {
            What::Region(region) => {
                let mut addresses = of_region(region, self.ddr4.burst_bytes().into());
                for address in addresses.by_ref().take(FOLLOWED as usize) {
                    let place = self.ddr4.mapping.place(&self.ddr4, address);
                    let target = Target {
                        group: place.group as usize,
                        bank: (place.group * u64::from(self.ddr4.banks) + place.bank) as usize,
                        row: Some(place.row),
                    };
                    let channel = place.channel as usize;
                    let clock = self.burst(channel, target, request.direction, &mut served);
                    issued(clock, address);
                }
                if addresses.next().is_some() {
                    let all = bursts(region, self.ddr4.burst_bytes().into());
                    self.slots(all - FOLLOWED, &mut served);
                }
            }
            What::Rows(gather) => self.gather(gather, issued, &mut served),
        }
        self.from = self.from.max(served.free);
        served
    }

    /// Accepts a burst as soon as interface and queue allow, and serves it.
    fn burst(
        &mut self,
        channel: usize,
        target: Target,
        direction: Direction,
        served: &mut Served,
    ) -> u64 {
        let before = &mut self.accepted[self.next_accepted];
        let left = &mut self.left[channel][self.next[channel]];
        let paced = before.map_or(0, |before| before + BURST_CLOCKS);
        let clock = self.from.max(paced).max(*left).min(HORIZON);
        let Access { column, data } =
            self.channels[channel].access(clock, target, direction, &mut served.rows);
        (*before, *left) = (Some(clock), column);
        self.next_accepted = (self.next_accepted + 1) % self.accepted.len();
        self.next[channel] = (self.next[channel] + 1) % self.left[channel].len();
        self.from = clock;
        served.free = clock + 1;
        served.data = served.data.max(data);
        clock
    }

    /// Serves the rows of a gather, in slots for the worst case.
    fn gather(&mut self, gather: Gather, issued: &mut dyn FnMut(u64, u64), served: &mut Served) {
        self.settle();
        let burst = u64::from(self.ddr4.burst_bytes());
        let bursts = of_row(&gather, burst);
        // Adjacent bursts are in at most two rows of a bank if the rows of all banks begin and end
        // together; otherwise each can be in a row of its own.
        let others = if self.ddr4.mapping.rows_are_outermost() { 2 } else { bursts };
        let mut addresses = in_place_of_gather(gather, burst);
        let all = bursts.saturating_mul(gather.rows.into());
        for number in (0..gather.rows).flat_map(|_| 0..bursts).take(FOLLOWED as usize) {
            // Which bank it is does not matter: all are equal.
            let row = if number < others { None } else { Some(u64::MAX) };
            let target = Target { group: 0, bank: 0, row };
            let clock = self.burst(0, target, Direction::Read, served);
            if let Some(address) = addresses.next() {
                issued(clock, address);
            }
        }
        if all > FOLLOWED {
            self.slots(all - FOLLOWED, served);
        }
        self.settle();
        served.free = served.free.max(self.from);
    }

    /// Serves bursts beyond those that are followed: each takes as long as a burst can take that is
    /// alone in the memory, or as the distance to the next one, whichever it is.
    fn slots(&mut self, bursts: u64, served: &mut Served) {
        let Ddr4 { t_rcd, t_rp, t_ras, t_cwl, t_cl, t_wr, t_rtp, t_wtr_l, .. } = self.ddr4;
        let Ddr4 { t_rrd_s, t_rrd_l, t_ccd_s, t_ccd_l, t_faw, .. } = self.ddr4;
        let moved = t_rcd + t_cwl.max(t_cl) + BURST_CLOCKS as u32;
        let alone = t_rp + (moved + t_wr.max(t_rtp).max(t_wtr_l)).max(t_ras);
        let distances = [t_rrd_s, t_rrd_l, t_ccd_s, t_ccd_l, t_faw];
        let slot = distances.into_iter().fold(alone, u32::max);
        // Refreshes take less than half of the time, see `Ddr4::contradiction`.
        let slot = 2 * u64::from(slot);
        self.settle();
        self.from = self.from.saturating_add(bursts.saturating_mul(slot)).min(HORIZON);
        served.rows.conflicts = served.rows.conflicts.saturating_add(bursts);
        (served.free, served.data) = (self.from, self.from);
    }

    /// Waits until everything that was accepted has no more effect, and forgets the open rows.
    fn settle(&mut self) {
        let quiet = self.channels.iter().map(Channel::quiet).fold(self.from, u64::max);
        self.from = quiet.min(HORIZON);
        self.channels.iter_mut().for_each(Channel::forget_rows);
    }
}
