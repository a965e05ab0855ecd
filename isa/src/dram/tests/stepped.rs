//! A controller that is stepped clock by clock, slow and plain: each command looks through all
//! earlier ones for a reason to wait.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Direction, Memory, Read, Request, What, Write};
use crate::dram::{Ddr4, Place, RowCounts};
use crate::effects::Region;

/// A command, with its group and its bank among all of the channel.
#[derive(Clone, Copy, PartialEq)]
enum Command {
    Activate(u64, u64),
    Precharge(u64),
    Column(Direction, u64, u64),
    Refresh,
}
use Command::{Activate, Column, Precharge, Refresh};

enum Entry {
    Burst { place: Place, direction: Direction, transfer: usize, accepted: u64, met: Met },
    Refresh,
}

#[derive(Clone, Copy, PartialEq)]
enum Met {
    Hit,
    Miss,
    Conflict,
}

#[derive(Default)]
struct Controller {
    history: Vec<(u64, Command)>,
    queue: VecDeque<Entry>,
    /// The open row of each bank.
    open: Vec<Option<u64>>,
}

impl Controller {
    /// Whether no earlier command forbids one now.
    fn may(&self, d: &Ddr4, now: u64, command: Command) -> bool {
        let write = d.t_cwl + 4;
        let turn = (d.t_cl + 6).saturating_sub(d.t_cwl);
        let mut activations = 0;
        self.history.iter().rev().all(|&(then, earlier)| {
            let distance = match (earlier, command) {
                (Precharge(a), Activate(_, b)) if a == b => d.t_rp,
                (Precharge(_), Refresh) => d.t_rp,
                (Refresh, Activate(..) | Refresh) => d.t_rfc,
                (Activate(g, _), Activate(h, _)) => {
                    activations += 1;
                    let window = if activations == 4 { d.t_faw } else { 0 };
                    window.max(d.t_rrd_s).max(if g == h { d.t_rrd_l } else { 0 })
                }
                (Activate(_, a), Precharge(b)) if a == b => d.t_ras,
                (Column(Read, _, a), Precharge(b)) if a == b => d.t_rtp,
                (Column(Write, _, a), Precharge(b)) if a == b => write + d.t_wr,
                (Activate(_, a), Column(_, _, b)) if a == b => d.t_rcd,
                (Column(first, g, _), Column(second, h, _)) => {
                    let far = |s: u32, l: u32| if g == h { s.max(l) } else { s };
                    let others = match (first, second) {
                        (Read, Write) => turn,
                        (Write, Read) => write + far(d.t_wtr_s, d.t_wtr_l),
                        _ => 0,
                    };
                    others.max(far(d.t_ccd_s, d.t_ccd_l))
                }
                _ => 0,
            };
            now >= then + u64::from(distance)
        })
    }

    fn issue(&mut self, now: u64, command: Command) {
        self.history.push((now, command));
    }

    /// Issues what can be issued; returns the transfer whose burst was read or written, and what
    /// it met.
    fn step(&mut self, d: &Ddr4, now: u64) -> Option<(usize, Direction, Met)> {
        let bank_of = |place: &Place| place.group * u64::from(d.banks) + place.bank;
        if matches!(self.queue.front(), Some(Entry::Refresh)) {
            for bank in 0..self.open.len() {
                if self.open[bank].is_some() && self.may(d, now, Precharge(bank as u64)) {
                    self.issue(now, Precharge(bank as u64));
                    self.open[bank] = None;
                }
            }
            if self.open.iter().all(Option::is_none) && self.may(d, now, Refresh) {
                self.issue(now, Refresh);
                self.queue.pop_front();
            }
        }
        let mut needs_row = false;
        let mut banks: Vec<u64> = Vec::new();
        for index in 0..self.queue.len() {
            let Entry::Burst { place, accepted, met, .. } = &self.queue[index] else { break };
            let (place, bank, mut met) = (*place, bank_of(place), *met);
            let open = self.open[bank as usize];
            if open != Some(place.row) && *accepted < now && !banks.contains(&bank) {
                if open.is_some() && self.may(d, now, Precharge(bank)) {
                    self.issue(now, Precharge(bank));
                    self.open[bank as usize] = None;
                    met = Met::Conflict;
                } else if open.is_none()
                    && !needs_row
                    && self.may(d, now, Activate(place.group, bank))
                {
                    self.issue(now, Activate(place.group, bank));
                    self.open[bank as usize] = Some(place.row);
                    met = if met == Met::Hit { Met::Miss } else { met };
                }
            }
            needs_row |= self.open[bank as usize] != Some(place.row);
            banks.push(bank);
            if let Entry::Burst { met: state, .. } = &mut self.queue[index] {
                *state = met;
            }
        }
        if let Some(&Entry::Burst { place, direction, transfer, accepted, met }) =
            self.queue.front()
        {
            let bank = bank_of(&place);
            let column = Column(direction, place.group, bank);
            if accepted < now
                && self.open[bank as usize] == Some(place.row)
                && self.may(d, now, column)
            {
                self.issue(now, column);
                self.queue.pop_front();
                return Some((transfer, direction, met));
            }
        }
        None
    }
}

/// When each transfer left the interface and when its data had moved, with what its bursts met,
/// without refreshes.
fn stepped(
    d: &Ddr4,
    transfers: &[(u64, Direction, Vec<u64>)],
) -> (Vec<(u64, u64, RowCounts)>, Vec<u64>) {
    let mut controllers: Vec<Controller> = (0..d.channels)
        .map(|_| Controller {
            open: vec![None; (d.groups * d.banks) as usize],
            ..Controller::default()
        })
        .collect();
    let mut results = vec![(0, 0, RowCounts::default()); transfers.len()];
    let mut accepted: Vec<u64> = Vec::new();
    let mut waiting: VecDeque<(usize, u64)> = (transfers.iter().enumerate())
        .flat_map(|(transfer, (_, _, bursts))| bursts.iter().map(move |at| (transfer, *at)))
        .collect();
    let mut last: Option<(usize, u64)> = None;
    for now in 0.. {
        for controller in &mut controllers {
            if now > 0 && now % u64::from(d.t_refi) == 0 {
                controller.queue.push_back(Entry::Refresh);
            }
            if let Some((transfer, direction, met)) = controller.step(d, now) {
                let latency = if direction == Read { d.t_cl } else { d.t_cwl };
                let (_, data, rows) = &mut results[transfer];
                *data = (*data).max(now + u64::from(latency) + 4);
                match met {
                    Met::Hit => rows.hits += 1,
                    Met::Miss => rows.misses += 1,
                    Met::Conflict => rows.conflicts += 1,
                }
            }
        }
        while let Some(&(transfer, address)) = waiting.front() {
            let (at, direction, _) = &transfers[transfer];
            let place = d.mapping.place(d, address);
            let queue = &mut controllers[place.channel as usize].queue;
            let in_queue =
                queue.iter().filter(|entry| matches!(entry, Entry::Burst { .. })).count();
            let recent = accepted.iter().filter(|clock| **clock + 4 > now).count();
            let follows = last.is_some_and(|(other, clock)| other != transfer && clock >= now);
            if now < *at || follows || recent >= d.channels as usize || in_queue >= d.queue as usize
            {
                break;
            }
            queue.push_back(Entry::Burst {
                place,
                direction: *direction,
                transfer,
                accepted: now,
                met: Met::Hit,
            });
            accepted.push(now);
            results[transfer].0 = now + 1;
            last = Some((transfer, now));
            waiting.pop_front();
        }
        let is_idle = |controller: &Controller| {
            controller.queue.iter().all(|entry| matches!(entry, Entry::Refresh))
        };
        if waiting.is_empty() && controllers.iter().all(is_idle) {
            return (results, accepted);
        }
    }
    unreachable!("every burst has its turn")
}

fn memory() -> impl Strategy<Value = Ddr4> {
    let mappings = [
        "row:bank:column:group:channel",
        "row:column:bank:group:channel",
        "channel:row:bank:group:column",
        "column:group:row:bank:channel",
    ];
    let shape = (0u32..3, 0u32..3, 0u32..2, 0u32..3, prop::sample::select(mappings.to_vec()));
    let long = prop::collection::vec(1u32..30, 8);
    let short = prop::collection::vec(1u32..12, 7);
    (shape, long, short, 1u32..6, 4u32..9, 200u32..500).prop_map(
        |((channels, groups, banks, columns, mapping), long, short, queue, ccd, refi)| {
            let rfc = 1 + long[7];
            Ddr4 {
                channels: 1 << channels,
                groups: 1 << groups,
                banks: 1 << banks,
                rows: 4,
                bus_bits: 64,
                row_bytes: 64 << columns,
                mapping: mapping.parse().unwrap(),
                queue,
                t_rcd: long[0],
                t_rp: long[1],
                t_ras: long[2],
                t_cl: long[3],
                t_cwl: long[4],
                t_ccd_s: 4,
                t_ccd_l: ccd,
                t_rrd_s: short[0],
                t_rrd_l: short[1],
                t_faw: long[5],
                t_wtr_s: short[2],
                t_wtr_l: short[3],
                t_wr: long[6],
                t_rtp: short[4],
                t_rfc: rfc,
                t_refi: refi,
                ..Ddr4::ddr4_2400()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn agrees_with_a_controller_that_steps_through_the_clocks(
        ddr4 in memory(),
        transfers in prop::collection::vec(
            (0u64..300, any::<bool>(), 0u64..64, 1u64..12, 0u64..20),
            1..12,
        ),
    ) {
        prop_assert_eq!(ddr4.contradiction(), None);
        let mut at = 0;
        let requests: Vec<(u64, Request)> = transfers
            .iter()
            .map(|&(gap, write, base, runs, stride)| {
                at += if gap > 150 { gap * 3 } else { gap / 30 };
                let region = Region::rows(64 * base, runs, 64, 64 * stride);
                let direction = if write { Write } else { Read };
                (at, Request { direction, what: What::Region(region) })
            })
            .collect();
        let plain: Vec<_> = requests
            .iter()
            .map(|(at, request)| (*at, request.direction, request.addresses(64).collect()))
            .collect();
        let (expected, accepted) = stepped(&ddr4, &plain);
        let mut memory = Memory::new(&ddr4);
        let mut issued = Vec::new();
        for ((at, request), (free, data, rows)) in requests.iter().zip(expected) {
            let served = memory.serve(*at, request, &mut |clock, _| issued.push(clock));
            prop_assert_eq!((served.free, served.data), (free, data));
            prop_assert_eq!(RowCounts { refreshes: 0, ..served.rows }, rows);
        }
        prop_assert_eq!(&issued, &accepted);
        // Never faster than the data buses: four clocks for as many bursts as there are channels.
        for (n, clock) in issued.iter().enumerate() {
            prop_assert!(n as u64 / u64::from(ddr4.channels) * 4 <= *clock);
        }
    }
}
