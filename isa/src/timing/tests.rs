//! Programs whose cycles are worked out by hand, and a simulator that steps through the cycles one
//! by one.
//!
//! On `vitcod` a transfer moves 153.6 bytes per cycle in bursts of 64 and completes 50 cycles
//! later; a product completes 12 cycles after its last operand; `halt` takes a cycle.

mod channel;
mod ddr4;
mod fetch;

use std::collections::VecDeque;

use crate::cost::{Cost, cost};
use crate::instr::table::{Barrier, Halt, Sync};
use crate::instr::{Engine, Instr, Op, Unit, UnitSet};
use crate::machine::{self, Machine};
use proptest::prelude::*;

use super::*;
use crate::testing::{instr, load, store, vitcod, work};

fn timing(code: &[Instr]) -> Timing {
    simulate(&ended(code), &vitcod()).unwrap()
}

fn ended(code: &[Instr]) -> Vec<Instr> {
    code.iter().copied().chain([Instr::new(Halt {})]).collect()
}

fn span(start: u64, end: u64, completion: u64) -> Span {
    Span { start, end, completion }
}

#[test]
fn a_load_takes_the_channel_and_then_its_latency() {
    // 24 bursts, 1,536 bytes, 10 cycles.
    let timing = timing(&[Instr::new(load(0, 0, 1530))]);
    assert_eq!(timing.spans(), [span(0, 10, 60), span(60, 61, 61)]);
    assert_eq!(timing.total(), 61);
    assert_eq!(
        *timing.unit(Unit::Load),
        UnitCycles { busy: 10, drained: 51, ..UnitCycles::default() }
    );
    assert_eq!(*timing.unit(Unit::Vector), UnitCycles { drained: 61, ..UnitCycles::default() });
}

#[test]
fn tokens_chain_load_product_and_store() {
    let timing = timing(&[
        instr(load(0, 0, 1536), &[], &[Unit::Denser]),
        instr(work(Engine::Denser, 0, 64, 1), &[Unit::Load], &[Unit::Store]),
        instr(store(0, 0, 64), &[Unit::Denser], &[]),
    ]);
    // The store's burst takes 0.417 cycles of the channel.
    assert_eq!(
        timing.spans(),
        [span(0, 10, 60), span(60, 61, 73), span(73, 74, 124), span(124, 125, 125)]
    );
    assert_eq!(timing.unit(Unit::Denser).token[Unit::Load.index()], 60);
    assert_eq!(timing.unit(Unit::Store).token[Unit::Denser.index()], 73);
    let waits: Vec<_> = timing
        .waits()
        .iter()
        .map(|wait| (wait.index, wait.unit, wait.reason, wait.cycles))
        .collect();
    let (load, denser) = (Reason::Token(Unit::Load), Reason::Token(Unit::Denser));
    assert_eq!(waits, [(1, Unit::Denser, load, 60), (2, Unit::Store, denser, 73)]);
}

#[test]
fn loads_overlap_with_products_that_do_not_need_them() {
    let pair = [
        instr(load(0, 0, 1536), &[], &[Unit::Denser]),
        instr(work(Engine::Denser, 0, 64, 100), &[Unit::Load], &[]),
    ];
    let timing = timing(&[pair, pair, pair].concat());
    let starts: Vec<u64> = timing.spans().iter().map(|span| span.start).collect();
    assert_eq!(starts, [0, 60, 10, 160, 20, 260, 372]);
    assert_eq!(timing.unit(Unit::Denser).busy, 300);
}

#[test]
fn lines_are_taken_by_one_instruction_at_a_time() {
    let timing = timing(&[
        Instr::new(work(Engine::Sparser, 0, 32, 10)),
        Instr::new(work(Engine::Denser, 0, 64, 100)),
        Instr::new(work(Engine::Sparser, 32, 32, 10)),
    ]);
    // Both can start in cycle 0: the denser engine has the lower number.
    assert_eq!(timing.spans()[..3], [span(100, 110, 122), span(0, 100, 112), span(110, 120, 132)]);
    assert_eq!(timing.unit(Unit::Sparser).lines, 100);
}

#[test]
fn disjoint_lines_run_at_once() {
    let timing = timing(&[
        Instr::new(work(Engine::Denser, 0, 40, 100)),
        Instr::new(work(Engine::Sparser, 40, 24, 100)),
    ]);
    assert_eq!(timing.spans()[..2], [span(0, 100, 112); 2]);
    assert_eq!(timing.unit(Unit::Sparser).lines, 0);
}

#[test]
fn transfers_follow_each_other_within_a_cycle() {
    // 25 bursts take 10 5/12 cycles: two end at 20 5/6 and twelve at exactly 125.
    let timing = timing(&[Instr::new(load(0, 0, 1600)); 12]);
    assert_eq!(timing.spans()[..2], [span(0, 11, 61), span(11, 21, 71)]);
    assert_eq!(timing.spans()[11].end, 125);
    assert_eq!(timing.unit(Unit::Load).busy, 125);
    assert_eq!(timing.unit(Unit::Load).channel, 0);
}

#[test]
fn a_unit_issues_one_short_transfer_per_cycle() {
    let timing = timing(&[
        Instr::new(load(0, 0, 64)),
        Instr::new(load(0, 0, 64)),
        Instr::new(load(0, 0, 64)),
    ]);
    assert_eq!(timing.spans()[..3], [span(0, 1, 51), span(1, 2, 52), span(2, 3, 53)]);
}

#[test]
fn the_channel_serves_loads_and_stores_in_the_order_of_their_requests() {
    let timing = timing(&[
        Instr::new(load(0, 0, 1600)),
        Instr::new(load(0, 0, 1600)),
        Instr::new(store(0, 0, 1600)),
        Instr::new(store(0, 0, 1600)),
    ]);
    // The first store asked in cycle 0, before the second load could.
    let starts: Vec<u64> = timing.spans().iter().map(|span| span.start).collect();
    assert_eq!(starts[..4], [0, 21, 11, 32]);
    assert_eq!(timing.unit(Unit::Store).channel, 11 + (32 - 21));
    assert_eq!(timing.order(), [0, 2, 1, 3, 4]);
}

#[test]
fn a_barrier_waits_for_every_completion() {
    let timing = timing(&[
        Instr::new(load(0, 0, 1536)),
        Instr::new(Barrier {}),
        Instr::new(work(Engine::Denser, 0, 64, 5)),
    ]);
    assert_eq!(timing.spans()[1..3], [span(60, 61, 61), span(61, 66, 78)]);
    assert_eq!(timing.unit(Unit::Denser).barrier, 61);
    assert_eq!(timing.unit(Unit::Load).barrier, 51);
    let waits: Vec<_> = timing
        .waits()
        .iter()
        .map(|wait| (wait.index, wait.unit, wait.reason, wait.cycles))
        .collect();
    assert_eq!(waits.len(), Unit::COUNT);
    assert_eq!(waits[0], (1, Unit::Load, Reason::Barrier, 51));
}

#[test]
fn units_complete_in_order() {
    let timing = timing(&[
        Instr::new(work(Engine::Denser, 0, 64, 10)),
        instr(Sync { unit: Unit::Denser }, &[], &[Unit::Vector]),
        instr(Sync { unit: Unit::Vector }, &[Unit::Denser], &[]),
    ]);
    assert_eq!(timing.spans()[..3], [span(0, 10, 22), span(10, 11, 22), span(22, 23, 23)]);
}

#[test]
fn a_deadlock_names_what_each_unit_waits_for() {
    let code = ended(&[
        instr(load(0, 0, 64), &[Unit::Denser, Unit::Store], &[Unit::Denser]),
        instr(work(Engine::Denser, 0, 64, 1), &[Unit::Load], &[Unit::Load]),
    ]);
    let error = simulate(&code, &vitcod()).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().map(str::trim).collect();
    assert_eq!(lines[0], "deadlock:");
    assert_eq!(
        lines[1],
        "load: instruction 0, `load`, waits for a token from store and from denser"
    );
    assert_eq!(lines[2], "store: instruction 2, `halt`, waits for the other units");
    assert_eq!(lines[3], "denser: instruction 1, `matmul`, waits for a token from load");
}

#[test]
fn programs_end_with_their_only_halt() {
    assert_eq!(simulate(&[], &vitcod()), Err(TimingError::NoHalt));
    let code = [Instr::new(Halt {}), Instr::new(Halt {})];
    assert!(matches!(simulate(&code, &vitcod()), Err(TimingError::Malformed { index: 0, .. })));
    let code = [instr(Halt {}, &[Unit::Load], &[])];
    assert!(matches!(simulate(&code, &vitcod()), Err(TimingError::Malformed { index: 0, .. })));
}

/// The rules, stepped through cycle by cycle: slow and plain. Only for machines on which transfers
/// take whole cycles.
fn stepped(code: &[Instr], machine: &Machine) -> Vec<Span> {
    let costs: Vec<Cost> = code.iter().map(|instr| cost(&instr.op, machine)).collect();
    let mut spans: Vec<Option<Span>> = vec![None; code.len()];
    let mut queues: [VecDeque<usize>; Unit::COUNT] = Default::default();
    let mut fetch = SteppedFetch::new(code, machine);
    if machine.fetch.is_none() {
        fetch.put(code, 0..code.len(), &mut queues);
    }
    let mut running: [Option<usize>; Unit::COUNT] = [None; Unit::COUNT];
    let mut requested: [Option<u64>; Unit::COUNT] = [None; Unit::COUNT];
    let mut last_completion = [0; Unit::COUNT];
    let mut tokens: Vec<(Unit, Unit, u64)> = Vec::new();
    for cycle in 0.. {
        for running in &mut running {
            *running = running.filter(|index| spans[*index].unwrap().end > cycle);
        }
        if spans[code.len() - 1].is_some() {
            return spans.into_iter().flatten().collect();
        }
        // What happens in a cycle is seen in the next one.
        let dispatched = fetch.dispatch(code, cycle, &queues);
        let arrived = |unit: Unit, index: usize, tokens: &[(Unit, Unit, u64)]| {
            let from = |sender| tokens.iter().any(|t| t.0 == sender && t.1 == unit && t.2 <= cycle);
            code[index].wait.iter().all(from)
        };
        for unit in Unit::ALL {
            let u = unit.index();
            if running[u].is_none()
                && queues[u].front().is_some_and(|index| arrived(unit, *index, &tokens))
            {
                requested[u].get_or_insert(cycle);
            }
        }
        let transfer = |unit: usize| {
            queues[unit].front().is_some_and(|index| code[*index].op.traffic().is_some())
        };
        let mut order = Unit::ALL;
        if requested[1] < requested[0] && requested[1].is_some() && transfer(0) && transfer(1) {
            order.swap(0, 1);
        }
        let moves = |u: usize| requested[u].filter(|_| transfer(u));
        let first = [moves(0), moves(1)].into_iter().flatten().min();
        let occupied = running.iter().flatten().any(|index| costs[*index].burst_bytes > 0);
        let bursts = fetch.burst(cycle, occupied, first);
        for unit in order {
            let u = unit.index();
            let (None, Some(&index)) = (running[u], queues[u].front()) else { continue };
            let (op, cost) = (&code[index].op, &costs[index]);
            if matches!(op, Op::Barrier(_) | Op::Halt(_)) {
                let reached = queues.iter().all(|queue| queue.front() == Some(&index));
                if reached && last_completion.iter().all(|completion| *completion <= cycle) {
                    spans[index] = Some(span(cycle, cycle + 1, cycle + 1));
                    for u in 0..Unit::COUNT {
                        queues[u].pop_front();
                        running[u] = Some(index);
                        last_completion[u] = cycle + 1;
                        requested[u] = None;
                    }
                }
                continue;
            }
            if requested[u].is_none() {
                continue;
            }
            let taken =
                running.iter().flatten().any(|other| match (cost.lines, costs[*other].lines) {
                    (Some(a), Some(b)) => (a.first.into()..a.end())
                        .any(|line| (b.first.into()..b.end()).contains(&line)),
                    _ => cost.burst_bytes > 0 && costs[*other].burst_bytes > 0,
                });
            if taken || (bursts && cost.burst_bytes > 0) {
                continue;
            }
            for sender in code[index].wait.iter() {
                let token = tokens.iter().position(|t| t.0 == sender && t.1 == unit).unwrap();
                tokens.remove(token);
            }
            let cycles = cost.cycles.max(cost.burst_bytes / 64).max(1);
            last_completion[u] = (cycle + cycles + cost.latency).max(last_completion[u]);
            spans[index] = Some(span(cycle, cycle + cycles, last_completion[u]));
            tokens.extend(
                code[index].signal.iter().map(|receiver| (unit, receiver, last_completion[u])),
            );
            running[u] = Some(index);
            requested[u] = None;
            queues[u].pop_front();
        }
        fetch.put(code, dispatched, &mut queues);
    }
    unreachable!("the program ends")
}

/// Fetch and dispatch in [`stepped`].
struct SteppedFetch {
    /// Bytes of the buffer and depth of the queues.
    sizes: Option<(usize, usize)>,
    latency: u64,
    words: Vec<usize>,
    /// When the next burst was requested.
    requested: Option<u64>,
    /// When the bursts arrive, of 64 bytes each.
    arrivals: Vec<u64>,
    /// Bytes of dispatched words.
    freed: usize,
    next: usize,
}

impl SteppedFetch {
    fn new(code: &[Instr], machine: &Machine) -> SteppedFetch {
        SteppedFetch {
            sizes: machine
                .fetch
                .as_ref()
                .map(|f| (f.buffer_bytes as usize, f.queue_depth as usize)),
            latency: machine.dram.latency_cycles.into(),
            words: code.iter().map(|instr| instr.encode().unwrap().len()).collect(),
            requested: None,
            arrivals: Vec::new(),
            freed: 0,
            next: 0,
        }
    }

    /// The instructions that are dispatched in this cycle.
    fn dispatch(
        &self,
        code: &[Instr],
        cycle: u64,
        queues: &[VecDeque<usize>; Unit::COUNT],
    ) -> std::ops::Range<usize> {
        let Some((_, depth)) = self.sizes else {
            return self.next..self.next;
        };
        let there = 64 * self.arrivals.iter().filter(|arrival| **arrival <= cycle).count();
        let dispatches = self.next < code.len()
            && self.freed + self.words[self.next] <= there
            && code[self.next].op.units().iter().all(|unit| queues[unit.index()].len() < depth);
        self.next..self.next + usize::from(dispatches)
    }

    /// Whether a burst takes the channel in this cycle; `other` is the earliest request of a
    /// transfer.
    fn burst(&mut self, cycle: u64, occupied: bool, other: Option<u64>) -> bool {
        let Some((bytes, _)) = self.sizes else { return false };
        let asked = 64 * self.arrivals.len();
        let all = asked >= self.words.iter().sum();
        if !all && asked + 64 - self.freed <= bytes {
            self.requested.get_or_insert(cycle);
        }
        let is_first = |own: u64| other.is_none_or(|other| own <= other);
        let served = !occupied && self.requested.is_some_and(is_first);
        if served {
            self.requested = None;
            self.arrivals.push(cycle + 1 + self.latency);
        }
        served
    }

    fn put(
        &mut self,
        code: &[Instr],
        dispatched: std::ops::Range<usize>,
        queues: &mut [VecDeque<usize>; Unit::COUNT],
    ) {
        for index in dispatched {
            self.freed += self.words[index];
            self.next = index + 1;
            code[index].op.units().iter().for_each(|unit| queues[unit.index()].push_back(index));
        }
    }
}

fn operation() -> impl Strategy<Value = Op> {
    let engine = prop_oneof![Just(Engine::Denser), Just(Engine::Sparser)];
    prop_oneof![
        3 => (1u32..1000).prop_map(|bytes| load(0, 0, bytes).into()),
        3 => (1u32..1000).prop_map(|bytes| store(0, 0, bytes).into()),
        5 => (engine, 0u16..60, 1u16..60, 1u16..20).prop_map(|(engine, first, count, cycles)| {
            work(engine, first, count.min(64 - first), cycles).into()
        }),
        2 => (0..Unit::COUNT).prop_map(|unit| Sync { unit: Unit::ALL[unit] }.into()),
        1 => Just(Barrier {}.into()),
    ]
}

/// Buffers from the smallest and queues of every depth; a third of the machines do not fetch.
fn fetches() -> impl Strategy<Value = Option<machine::Fetch>> {
    let fetch = (128u32..600, 1u32..6)
        .prop_map(|(buffer_bytes, queue_depth)| Some(machine::Fetch { buffer_bytes, queue_depth }));
    prop_oneof![1 => Just(None), 2 => fetch]
}

/// Programs without a deadlock: every token is waited for after the instruction that sends it.
fn programs() -> impl Strategy<Value = Vec<Instr>> {
    (
        prop::collection::vec(operation(), 1..40),
        prop::collection::vec((0usize..40, 0usize..40), 0..40),
    )
        .prop_map(|(operations, edges)| {
            let mut code: Vec<Instr> = operations.into_iter().map(Instr::new).collect();
            let single = |instr: &Instr| !matches!(instr.op, Op::Barrier(_) | Op::Halt(_));
            let mut edges: Vec<_> =
                edges.iter().map(|(a, b)| (a % code.len(), b % code.len())).collect();
            edges.sort_unstable();
            for (from, to) in edges {
                if from >= to || !single(&code[from]) || !single(&code[to]) {
                    continue;
                }
                let sender = code[from].op.units().iter().next().unwrap();
                let receiver = code[to].op.units().iter().next().unwrap();
                // A pair's waits are in the order of its signals, so a token may be taken by a
                // later one only.
                let taken_later = code[to..]
                    .iter()
                    .any(|i| i.op.units().contains(receiver) && i.wait.contains(sender));
                let sent_later = code[from..]
                    .iter()
                    .any(|i| i.op.units().contains(sender) && i.signal.contains(receiver));
                if !taken_later && !sent_later {
                    code[from].signal.insert(receiver);
                    code[to].wait.insert(sender);
                }
            }
            ended(&code)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn agrees_with_a_simulator_that_steps_through_the_cycles(
        code in programs(),
        latency in 0u32..30,
        fetch in fetches(),
    ) {
        let mut machine = Machine { fetch, ..vitcod() };
        machine.dram.bytes_per_cycle = 64.0;
        machine.dram.latency_cycles = latency;
        let timing = simulate(&code, &machine).unwrap();
        prop_assert_eq!(timing.spans(), stepped(&code, &machine));
    }

    #[test]
    fn every_cycle_of_a_unit_is_accounted_for(code in programs(), fetch in fetches()) {
        let timing = simulate(&code, &Machine { fetch, ..vitcod() }).unwrap();
        for unit in Unit::ALL {
            let UnitCycles { busy, token, fetch, lines, channel, barrier, drained } =
                *timing.unit(unit);
            let sum = busy + fetch + token.iter().sum::<u64>() + lines + channel + barrier + drained;
            prop_assert_eq!(sum, timing.total(), "{}", unit);
        }
        let mut waits = [UnitCycles::default(); Unit::COUNT];
        let mut before = vec![0; code.len()];
        for Wait { index, unit, reason, cycles } in timing.waits() {
            let sums = &mut waits[unit.index()];
            match reason {
                Reason::Token(sender) => sums.token[sender.index()] += cycles,
                Reason::Fetch => sums.fetch += cycles,
                Reason::Lines => sums.lines += cycles,
                Reason::Channel => sums.channel += cycles,
                Reason::Barrier => sums.barrier += cycles,
            }
            prop_assert!(code[*index].op.units().contains(*unit) && *cycles > 0);
            before[*index] += cycles;
        }
        for unit in Unit::ALL {
            let UnitCycles { busy, drained, .. } = *timing.unit(unit);
            prop_assert_eq!(UnitCycles { busy, drained, ..waits[unit.index()] }, *timing.unit(unit), "{}", unit);
            let mut free = 0;
            for (index, instr) in code.iter().enumerate().filter(|(_, instr)| instr.op.units().contains(unit)) {
                let span = timing.spans()[index];
                if instr.op.units() != UnitSet::ALL {
                    prop_assert_eq!(before[index], span.start - free, "instruction {}", index);
                }
                free = span.end;
            }
        }
        prop_assert!(timing.order().is_sorted_by_key(|index| timing.spans()[*index].start));
        prop_assert_eq!(timing.order().len(), code.len());
    }
}
