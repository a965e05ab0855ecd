//! The simulation.
//!
//! No event queue is needed. The completion of an instruction is known when it starts, so a token
//! gets its arrival time when its sender starts, and every unit knows the earliest start of its
//! next instruction as soon as all senders have started. Each step starts the instruction that can
//! start first. All its effects are later than its start, because every instruction takes at least
//! a cycle; hence starts are generated in order of time.

use std::collections::VecDeque;

use crate::cost::{Cost, cost};
use crate::instr::{Accumulation, Instr, LineSet, Op, Unit, UnitSet};
use crate::machine::Machine;

use super::time::{Bandwidth, Time};
use super::{Blocked, Reason, Span, Timing, TimingError, UnitCycles, Wait};

pub(super) struct Simulation<'a> {
    code: &'a [Instr],
    bandwidth: Bandwidth,
    lanes: [Lane; Unit::COUNT],
    /// Arrival times of pending tokens, by sender and receiver.
    tokens: [[VecDeque<u64>; Unit::COUNT]; Unit::COUNT],
    /// Cycles from a completion to the arrival of its tokens.
    token_cycles: u64,
    modes: Modes,
    /// When the channel is free.
    channel: Time,
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
    /// The sender of a token has not started.
    Tokens,
    /// All units must reach a barrier or the end.
    Barrier,
    /// Unit and tokens are available from `at` on; only a resource may be missing.
    Ready {
        at: Time,
        /// When the last token arrived, and its sender.
        token: Option<(u64, Unit)>,
    },
}

impl<'a> Simulation<'a> {
    pub(super) fn new(code: &'a [Instr], machine: &Machine) -> Result<Self, TimingError> {
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
        Ok(Simulation {
            code,
            bandwidth: Bandwidth::new(machine.dram_millibytes_per_cycle()),
            token_cycles: machine.datapath.as_ref().map_or(0, |data| data.token_cycles.into()),
            modes: Modes::new(machine),
            lanes,
            tokens: Default::default(),
            channel: Time::default(),
            now: Time::default(),
            timing: Timing {
                spans: vec![Span::default(); code.len()],
                costs: code.iter().map(|instr| cost(&instr.op, machine)).collect(),
                order: Vec::with_capacity(code.len()),
                waits: Vec::new(),
                units: [UnitCycles::default(); Unit::COUNT],
                total: 0,
            },
        })
    }

    pub(super) fn run(mut self) -> Result<Timing, TimingError> {
        Unit::ALL.into_iter().for_each(|unit| self.look_at_head(unit));
        loop {
            if let Some((unit, start)) = self.first_to_start() {
                self.start(unit, start);
            } else if self.lanes.iter().all(|lane| matches!(lane.head, Head::Barrier)) {
                self.pass_barrier();
            } else if self.lanes.iter().all(|lane| matches!(lane.head, Head::Drained)) {
                return Ok(self.timing);
            } else {
                return Err(self.deadlock());
            }
        }
    }

    /// The next instruction of a unit, unless it has drained.
    fn head(&self, unit: Unit) -> Option<usize> {
        let lane = &self.lanes[unit.index()];
        lane.queue.get(lane.started).copied()
    }

    /// Updates the state of a unit's next instruction, and takes its tokens if all have been sent.
    fn look_at_head(&mut self, unit: Unit) {
        let head = match self.head(unit).map(|index| &self.code[index]) {
            None => Head::Drained,
            Some(Instr { op, .. }) if op.units() == UnitSet::ALL => Head::Barrier,
            Some(Instr { wait, .. }) => match self.take_tokens(unit, *wait) {
                None => Head::Tokens,
                Some(token) => {
                    let arrival = Time::at(token.map_or(0, |(arrival, _)| arrival));
                    Head::Ready { at: self.lanes[unit.index()].free.max(arrival), token }
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

    /// The unit whose next instruction can start first, and its start.
    fn first_to_start(&self) -> Option<(Unit, Time)> {
        let mut first = None;
        for unit in Unit::ALL {
            let (Head::Ready { at, .. }, Some(index)) =
                (self.lanes[unit.index()].head, self.head(unit))
            else {
                continue;
            };
            let resource = self.resource(index);
            let start = match resource {
                Resource::Channel => at.max(self.channel),
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
            let key = (start, request, unit);
            if first.is_none_or(|best| key < best) {
                first = Some(key);
            }
        }
        first.map(|(start, _, unit)| (unit, start))
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

        // Since it was free, the unit waited for a token first, then for its resource.
        let idle_from = lane.free.ceil();
        let mut ready = idle_from;
        if let Head::Ready { token: Some((arrival, sender)), .. } = lane.head
            && arrival > ready
        {
            let (reason, cycles) = (Reason::Token(sender), arrival - ready);
            self.timing.add_wait(Wait { index, unit, reason, cycles });
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

        let free = match resource {
            Resource::Channel => {
                // Nothing is buffered between the channel and the scratchpad: the slower one counts.
                self.channel = self.bandwidth.end(start, burst_bytes).max(start.later(cycles));
                self.channel.max(start.later(1))
            }
            _ => start.later(cycles.max(1)),
        };
        let end = free.ceil();
        if let Resource::Lines(lines) = resource {
            self.modes.hold(lines, self.code[index].op.accumulation(), end);
        }
        let completion = end.saturating_add(latency).max(lane.completed);
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
    fn pass_barrier(&mut self) {
        let Some(index) = self.head(Unit::ALL[0]) else { return };
        let halt = matches!(self.code[index].op, Op::Halt(_));
        let start =
            self.lanes.iter().map(|lane| lane.completed.max(lane.free.ceil())).max().unwrap_or(0);
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
