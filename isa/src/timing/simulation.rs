//! The simulation.
//!
//! No event queue is needed. The completion of an instruction is known when it starts, so a token
//! gets its arrival time when its sender starts, and every unit knows the earliest start of its
//! next instruction as soon as all senders have started. Likewise, an instruction is dispatched as
//! soon as it is known when: once its word has been requested and an earlier instruction of its
//! unit has started. Each step starts what can start first: an instruction, or a burst of
//! instructions. All its effects are later than its start, because instructions and bursts take at
//! least a cycle, and an instruction starts after the cycle of its dispatch; hence starts are
//! generated in order of time.

use std::collections::VecDeque;

use crate::cost::{Cost, cost};
use crate::dram::RowCounts;
use crate::dram::bursts::Request;
use crate::instr::{Accumulation, Instr, LineSet, Op, Unit, UnitSet};
use crate::machine::Machine;

use super::channel::Channel;
use super::fetch::Fetch;
use super::time::Time;
use super::{Blocked, BurstIssue, Reason, Span, Timing, TimingError, UnitCycles, Wait};

pub(super) struct Simulation<'a> {
    code: &'a [Instr],
    lanes: [Lane; Unit::COUNT],
    /// Arrival times of pending tokens, by sender and receiver.
    tokens: [[VecDeque<u64>; Unit::COUNT]; Unit::COUNT],
    /// Cycles from a completion to the arrival of its tokens.
    token_cycles: u64,
    modes: Modes,
    channel: Channel<'a>,
    /// Cycles from the end of a burst of instructions to its arrival.
    dram_latency: u64,
    /// Nothing if instructions are there without being fetched.
    fetch: Option<Fetch>,
    /// The latest start so far.
    now: Time,
    timing: Timing,
}

/// The state of a unit.
#[derive(Default)]
struct Lane {
    /// Its instructions, in program order.
    queue: Vec<usize>,
    /// Number of instructions that have started.
    started: usize,
    /// When it is free.
    free: Time,
    /// When its last instruction completes.
    completed: u64,
    /// The MAC lines that it holds until it is free.
    lines: Option<LineSet>,
    head: Head,
}

/// The state of a unit's next instruction.
#[derive(Clone, Copy, Default)]
enum Head {
    /// There is no next instruction.
    #[default]
    Drained,
    /// It has not been dispatched.
    Fetch,
    /// The sender of a token has not started.
    Tokens,
    /// All units must reach a barrier or the end.
    Barrier,
    /// Unit and tokens are available from `at` on; only a resource may be missing.
    Ready {
        at: Time,
        /// What came last of tokens and dispatch, and when.
        last: Option<(u64, Reason)>,
    },
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The channel begins to serve a burst of instructions.
    Burst,
    /// A unit starts its next instruction.
    Start(Unit),
    /// All units pass a barrier or halt.
    Barrier,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        code: &'a [Instr],
        machine: &Machine,
        trace: Option<&'a mut dyn FnMut(BurstIssue)>,
    ) -> Result<Self, TimingError> {
        let mut lanes: [Lane; Unit::COUNT] = Default::default();
        for (index, instr) in code.iter().enumerate() {
            let malformed = |reason| {
                Err(TimingError::Malformed { index, instruction: instr.to_string(), reason })
            };
            let everyone = instr.op.units() == UnitSet::ALL;
            if everyone && !(instr.wait.is_empty() && instr.signal.is_empty()) {
                return malformed("it must neither wait nor signal");
            }
            if matches!(instr.op, Op::Halt(_)) && index + 1 != code.len() {
                return malformed("nothing may follow it");
            }
            for unit in instr.op.units().iter() {
                lanes[unit.index()].queue.push(index);
            }
        }
        if !matches!(code.last(), Some(Instr { op: Op::Halt(_), .. })) {
            return Err(TimingError::NoHalt);
        }
        let with_addresses = trace.is_some() || machine.dram.ddr4.is_some();
        Ok(Simulation {
            code,
            token_cycles: machine.datapath.as_ref().map_or(0, |data| data.token_cycles.into()),
            modes: Modes::new(machine),
            lanes,
            tokens: Default::default(),
            channel: Channel::new(machine, trace),
            dram_latency: machine.dram.latency_cycles.into(),
            fetch: Fetch::new(code, machine, with_addresses),
            now: Time::default(),
            timing: Timing {
                spans: vec![Span::default(); code.len()],
                costs: code.iter().map(|instr| cost(&instr.op, machine)).collect(),
                order: Vec::with_capacity(code.len()),
                rows: match machine.dram.ddr4 {
                    Some(_) => vec![RowCounts::default(); code.len()],
                    None => Vec::new(),
                },
                words: Vec::new(),
                fetched: None,
                waits: Vec::new(),
                units: [UnitCycles::default(); Unit::COUNT],
                total: 0,
            },
        })
    }

    pub(super) fn run(mut self) -> Result<Timing, TimingError> {
        Unit::ALL.into_iter().for_each(|unit| self.look_at_head(unit));
        loop {
            self.dispatch();
            match self.first() {
                Some((Event::Burst, start)) => self.fetch_burst(start),
                Some((Event::Start(unit), start)) => self.start(unit, start),
                Some((Event::Barrier, start)) => self.pass_barrier(start.ceil()),
                None if self.lanes.iter().all(|lane| matches!(lane.head, Head::Drained)) => {
                    if let Some(fetch) = self.fetch {
                        (self.timing.words, self.timing.fetched) = fetch.finish();
                    }
                    return Ok(self.timing);
                }
                None => return Err(self.deadlock()),
            }
        }
    }

    /// The next instruction of a unit, unless it has drained.
    fn head(&self, unit: Unit) -> Option<usize> {
        let lane = &self.lanes[unit.index()];
        lane.queue.get(lane.started).copied()
    }

    /// The first cycle in which the next instruction of a unit is in its queue; nothing if
    /// instructions are not fetched.
    fn queued(&self, unit: Unit) -> Option<u64> {
        let dispatched = self.fetch.as_ref()?.dispatched(self.head(unit)?)?;
        Some(dispatched.saturating_add(1))
    }

    fn is_dispatched(&self, unit: Unit) -> bool {
        self.fetch.is_none() || self.queued(unit).is_some()
    }

    /// Dispatches the instructions of which it is known when.
    fn dispatch(&mut self) {
        while let Some(fetch) = &mut self.fetch
            && let Some(instr) = self.code.get(fetch.next())
        {
            let (index, units) = (fetch.next(), instr.op.units());
            let start = |unit: Unit, number: usize| {
                let lane = &self.lanes[unit.index()];
                (number < lane.started).then(|| self.timing.spans[lane.queue[number]].start)
            };
            if fetch.dispatch(units.iter(), start).is_none() {
                return;
            }
            for unit in
                units.iter().filter(|unit| self.head(*unit) == Some(index)).collect::<Vec<_>>()
            {
                self.look_at_head(unit);
            }
        }
    }

    fn fetch_burst(&mut self, start: Time) {
        self.now = start;
        let Some(fetch) = &mut self.fetch else { return };
        let (request, index, bytes) = fetch.burst();
        let served = self.channel.serve(start, index, bytes, || Some(request));
        let free = served.free.max(start.later(1));
        let arrival = served.moved.max(free).ceil().saturating_add(self.dram_latency);
        fetch.served(arrival, free, served.rows);
    }

    /// Updates the state of a unit's next instruction, and takes its tokens if all have been sent.
    fn look_at_head(&mut self, unit: Unit) {
        let head = match self.head(unit).map(|index| &self.code[index]) {
            None => Head::Drained,
            Some(_) if !self.is_dispatched(unit) => Head::Fetch,
            Some(Instr { op, .. }) if op.units() == UnitSet::ALL => Head::Barrier,
            Some(Instr { wait, .. }) => match self.take_tokens(unit, *wait) {
                None => Head::Tokens,
                Some(token) => {
                    let token = token.map(|(arrival, sender)| (arrival, Reason::Token(sender)));
                    let queued = self.queued(unit).map(|cycle| (cycle, Reason::Fetch));
                    let last = match (token, queued) {
                        (Some(token), Some(queued)) if token.0 >= queued.0 => Some(token),
                        (token, queued) => queued.or(token),
                    };
                    let from = Time::at(last.map_or(0, |(cycle, _)| cycle));
                    Head::Ready { at: self.lanes[unit.index()].free.max(from), last }
                }
            },
        };
        self.lanes[unit.index()].head = head;
    }

    /// Takes a token from every sender, or none if one is missing; returns the last one to arrive.
    fn take_tokens(&mut self, receiver: Unit, senders: UnitSet) -> Option<Option<(u64, Unit)>> {
        let pending = |sender: Unit| self.tokens[sender.index()][receiver.index()].is_empty();
        if senders.iter().any(pending) {
            return None;
        }
        let mut last: Option<(u64, Unit)> = None;
        for sender in senders.iter() {
            let arrival = self.tokens[sender.index()][receiver.index()].pop_front()?;
            if last.is_none_or(|(latest, _)| arrival > latest) {
                last = Some((arrival, sender));
            }
        }
        Some(last)
    }

    /// What happens next, and when.
    fn first(&mut self) -> Option<(Event, Time)> {
        let burst = self.fetch.as_mut().and_then(Fetch::request);
        let burst = burst.map(|at| (at.max(self.channel.free()).max(self.now), at, Event::Burst));
        let barrier = self.barrier().map(|start| (start, start, Event::Barrier));
        let mut first = [burst, barrier].into_iter().flatten().min();
        for unit in Unit::ALL {
            let (Head::Ready { at, .. }, Some(index)) =
                (self.lanes[unit.index()].head, self.head(unit))
            else {
                continue;
            };
            let resource = self.resource(index);
            let start = match resource {
                Resource::Channel => at.max(self.channel.free()),
                Resource::Lines(lines) => {
                    let free = self.lines_free(unit, lines);
                    at.max(free).max(self.modes.ready(lines, self.code[index].op.accumulation()))
                }
                Resource::None => at,
            };
            // A unit forgets the lines of its last instruction when it starts the next one, which
            // is not before now.
            let start = start.max(self.now);
            // The channel serves requests by time; elsewhere units have priority by number.
            let request = if resource == Resource::Channel { at } else { start };
            let key = (start, request, Event::Start(unit));
            if first.is_none_or(|best| key < best) {
                first = Some(key);
            }
        }
        first.map(|(start, _, event)| (event, start))
    }

    /// When the units pass the barrier or halt that all have reached.
    fn barrier(&self) -> Option<Time> {
        if !self.lanes.iter().all(|lane| matches!(lane.head, Head::Barrier)) {
            return None;
        }
        let completed = self.lanes.iter().map(|lane| lane.completed.max(lane.free.ceil())).max();
        let queued = self.queued(Unit::ALL[0]).unwrap_or_default();
        Some(Time::at(completed.unwrap_or_default().max(queued)))
    }

    fn resource(&self, index: usize) -> Resource {
        match self.code[index].op.traffic() {
            Some(_) => Resource::Channel,
            None => self.timing.costs[index].lines.map_or(Resource::None, Resource::Lines),
        }
    }

    /// When no other unit holds any of the lines.
    fn lines_free(&self, unit: Unit, lines: LineSet) -> Time {
        let overlap = |held: LineSet| {
            u32::from(held.first) < lines.end() && u32::from(lines.first) < held.end()
        };
        let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != unit.index());
        others
            .filter(|(_, lane)| lane.lines.is_some_and(overlap))
            .map(|(_, lane)| lane.free)
            .max()
            .unwrap_or_default()
    }

    fn start(&mut self, unit: Unit, start: Time) {
        let Some(index) = self.head(unit) else { return };
        self.now = start;
        let resource = self.resource(index);
        let Cost { cycles, latency, lines, burst_bytes, .. } = self.timing.costs[index];
        let lane = &mut self.lanes[unit.index()];

        // Since it was free, the unit waited for its token or its word, then for its resource.
        let idle_from = lane.free.ceil();
        let mut ready = idle_from;
        if let Head::Ready { last: Some((arrival, reason)), .. } = lane.head
            && arrival > ready
        {
            self.timing.add_wait(Wait { index, unit, reason, cycles: arrival - ready });
            ready = arrival;
        }
        let reason = match resource {
            Resource::Channel => Some(Reason::Channel),
            Resource::Lines(_) => Some(Reason::Lines),
            Resource::None => None,
        };
        if let Some(reason) = reason {
            self.timing.add_wait(Wait { index, unit, reason, cycles: start.ceil() - ready });
        }

        let (free, moved) = match resource {
            Resource::Channel => {
                let op = &self.code[index].op;
                let served = self.channel.serve(start, index, burst_bytes, || Request::of(op));
                if let Some(rows) = self.timing.rows.get_mut(index) {
                    *rows = served.rows;
                }
                // Nothing is buffered between the channel and the scratchpad: the slower one
                // counts.
                self.channel.hold(start.later(cycles));
                let free = served.free.max(start.later(cycles.max(1)));
                (free, served.moved.max(free))
            }
            _ => {
                let free = start.later(cycles.max(1));
                (free, free)
            }
        };
        let end = free.ceil();
        if let Resource::Lines(lines) = resource {
            self.modes.hold(lines, self.code[index].op.accumulation(), end);
        }
        let completion = moved.ceil().saturating_add(latency).max(lane.completed);
        self.timing.units[unit.index()].busy += end - start.ceil();
        (lane.free, lane.completed, lane.lines) = (free, completion, lines);
        lane.started += 1;
        self.timing.spans[index] = Span { start: start.ceil(), end, completion };
        self.timing.order.push(index);

        self.look_at_head(unit);
        for receiver in self.code[index].signal.iter() {
            let arrival = completion.saturating_add(self.token_cycles);
            self.tokens[unit.index()][receiver.index()].push_back(arrival);
            if matches!(self.lanes[receiver.index()].head, Head::Tokens) {
                self.look_at_head(receiver);
            }
        }
    }

    /// Executes the barrier or halt that every unit has reached.
    fn pass_barrier(&mut self, start: u64) {
        self.now = Time::at(start);
        let Some(index) = self.head(Unit::ALL[0]) else { return };
        let halt = matches!(self.code[index].op, Op::Halt(_));
        let end = start.saturating_add(self.timing.costs[index].cycles);
        for (unit, lane) in Unit::ALL.into_iter().zip(&mut self.lanes) {
            let cycles = end - lane.free.ceil();
            if halt {
                self.timing.units[unit.index()].drained += cycles;
            } else {
                self.timing.add_wait(Wait { index, unit, reason: Reason::Barrier, cycles });
            }
            (lane.free, lane.completed, lane.lines) = (Time::at(end), end, None);
            lane.started += 1;
        }
        self.timing.spans[index] = Span { start, end, completion: end };
        self.timing.order.push(index);
        self.timing.total = end;
        Unit::ALL.into_iter().for_each(|unit| self.look_at_head(unit));
    }

    fn deadlock(&self) -> TimingError {
        let blocked = Unit::ALL.into_iter().filter_map(|unit| {
            let index = self.head(unit)?;
            let Instr { wait, op, .. } = &self.code[index];
            let missing = |sender: &Unit| self.tokens[sender.index()][unit.index()].is_empty();
            Some(Blocked {
                unit,
                index,
                mnemonic: op.spec().mnemonic,
                dispatched: self.is_dispatched(unit),
                missing: wait.iter().filter(missing).collect(),
            })
        });
        TimingError::Deadlock(blocked.collect())
    }
}

/// How each MAC line accumulates, and until when.
struct Modes {
    switch_cycles: u64,
    lines: Vec<(Option<Accumulation>, u64)>,
}

impl Modes {
    fn new(machine: &Machine) -> Modes {
        let switch_cycles =
            machine.datapath.as_ref().map_or(0, |data| data.mode_switch_cycles.into());
        Modes { switch_cycles, lines: vec![(None, 0); machine.lines.count as usize] }
    }

    /// The lines of a set; an unverified set may name lines that do not exist.
    fn range(&self, lines: LineSet) -> std::ops::Range<usize> {
        let end = (lines.end() as usize).min(self.lines.len());
        usize::from(lines.first).min(end)..end
    }

    /// When lines may accumulate in a mode: those in the other mode are emptied first.
    fn ready(&self, lines: LineSet, mode: Option<Accumulation>) -> Time {
        if self.switch_cycles == 0 {
            return Time::default();
        }
        let other = self.lines[self.range(lines)]
            .iter()
            .filter(|(last, _)| last.is_some() && *last != mode);
        let until = other.map(|(_, until)| *until).max();
        Time::at(until.map_or(0, |until| until.saturating_add(self.switch_cycles)))
    }

    fn hold(&mut self, lines: LineSet, mode: Option<Accumulation>, until: u64) {
        if self.switch_cycles > 0 {
            let range = self.range(lines);
            self.lines[range].fill((mode, until));
        }
    }
}

/// The resource of an instruction other than its unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    None,
    Lines(LineSet),
    Channel,
}
