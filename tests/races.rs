//! No two accesses that conflict are left unordered, whatever the instructions take.
//!
//! Happens-before is worked out from what the manual promises and nothing else: units execute in order, and the i-th wait of a pair
//! of units takes its i-th token. It is independent of how the compiler places tokens: every pair of accesses is compared.

#[allow(dead_code, reason = "each test takes a part of it")]
mod common;

use std::collections::VecDeque;

use common::{Random, Vit, quantised, vit};
use vitcod_compiler::codegen;
use vitcod_isa::effects::{Access, accesses};
use vitcod_isa::instr::{Instr, Op, Unit};
use vitcod_isa::machine::{Machine, PRESETS};
use vitcod_isa::program::Program;

/// Per unit, the number of its instructions that are known to have completed.
type Clock = [usize; Unit::COUNT];

/// An instruction of one unit.
struct Event {
    unit: usize,
    /// Its number in its unit, from 1.
    number: usize,
    /// What has completed when it starts.
    start: Clock,
    accesses: Vec<Access>,
}

/// The instructions of a program with their clocks. All of them wait only for earlier ones, or this fails.
fn events(code: &[Instr]) -> Vec<Event> {
    let mut known = [Clock::default(); Unit::COUNT];
    let mut count = Clock::default();
    // Tokens from the first to the second unit: what has completed when they are sent.
    let mut tokens: [[VecDeque<Clock>; Unit::COUNT]; Unit::COUNT] = Default::default();
    let mut events = Vec::new();
    for instr in code {
        let units: Vec<usize> = instr.op.units().iter().map(Unit::index).collect();
        let [unit] = units[..] else {
            assert!(matches!(instr.op, Op::Halt(_)), "an instruction of several units is not expected: {instr}");
            continue;
        };
        for sender in instr.wait.iter() {
            let token = tokens[sender.index()][unit].pop_front();
            let token = token.unwrap_or_else(|| panic!("{instr} waits for a later instruction"));
            known[unit].iter_mut().zip(token).for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
        }
        count[unit] += 1;
        let (start, number) = (known[unit], count[unit]);
        let mut completed = start;
        completed[unit] = number;
        for receiver in instr.signal.iter() {
            tokens[unit][receiver.index()].push_back(completed);
        }
        events.push(Event { unit, number, start, accesses: accesses(&instr.op) });
    }
    assert!(tokens.iter().flatten().all(VecDeque::is_empty), "tokens are left");
    events
}

/// Pairs of instructions, by their indices, that conflict and are not ordered.
fn races(code: &[Instr]) -> Vec<(usize, usize)> {
    let events = events(code);
    let mut races = Vec::new();
    for (index, later) in events.iter().enumerate() {
        for (other, earlier) in events[..index].iter().enumerate() {
            // Within a unit, operands are read before the next instruction starts, and writes are in order.
            let (own, completed) = (earlier.unit == later.unit, earlier.number <= later.start[earlier.unit]);
            let conflict = |a: &Access, b: &Access| {
                let unordered =
                    if own { a.mode.writes() && b.mode.reads() } else { a.mode.writes() || b.mode.writes() };
                unordered && a.space == b.space && a.region.overlaps(&b.region)
            };
            if !completed && earlier.accesses.iter().any(|a| later.accesses.iter().any(|b| conflict(a, b))) {
                races.push((other, index));
            }
        }
    }
    races
}

fn programs() -> Vec<Program> {
    let mut random = Random(11);
    let mut programs = Vec::new();
    for round in 0..10 {
        let mut pick = |choices: &[usize]| choices[random.next() as usize % choices.len()];
        let shape = Vit {
            image: 4 * pick(&[1, 2, 4]),
            patch: 4,
            channels: 2,
            heads: pick(&[1, 2, 3]),
            head_dim: pick(&[3, 8, 16]),
            hidden: pick(&[5, 32]),
            depth: 2,
            classes: 7,
            all_tokens: pick(&[0, 1]) == 1,
        };
        let graph = quantised(&vit(shape, round));
        for sram in [6, 10, 20, 320] {
            let (preset, _) = PRESETS[pick(&[0, 1])];
            let mut machine = Machine::preset(preset).unwrap();
            machine.sram.bytes = sram * 1024;
            programs.extend(codegen::compile(&graph, &machine, codegen::Options::default()));
        }
    }
    assert!(programs.len() > 30, "{}", programs.len());
    programs
}

#[test]
fn conflicting_accesses_are_ordered() {
    for program in programs() {
        if let Some((a, b)) = races(&program.code).first() {
            panic!("{}: {} | {} ({a}, {b})", program.machine, program.code[*a], program.code[*b]);
        }
    }
}

/// The test above finds what it looks for: without any one of its tokens, each program has a race.
#[test]
fn every_token_is_needed() {
    for program in programs().into_iter().take(2) {
        let mut sent: Vec<(usize, Unit)> = Vec::new();
        for (index, instr) in program.code.iter().enumerate() {
            sent.extend(instr.signal.iter().map(|receiver| (index, receiver)));
        }
        for (sender, receiver) in sent.into_iter().step_by(23) {
            let mut code = program.code.clone();
            let unit = code[sender].op.units().iter().next().unwrap();
            // The token's number in its pair, which is that of the wait that takes it.
            let number = code[..sender]
                .iter()
                .filter(|instr| instr.op.units().contains(unit) && instr.signal.contains(receiver))
                .count();
            let waits =
                code.iter_mut().filter(|instr| instr.op.units().contains(receiver) && instr.wait.contains(unit));
            let wait = &mut waits.into_iter().nth(number).unwrap().wait;
            *wait = wait.iter().filter(|other| *other != unit).collect();
            let signal = &mut code[sender].signal;
            *signal = signal.iter().filter(|other| *other != receiver).collect();
            assert!(!races(&code).is_empty(), "token {number} from {unit} to {receiver} is redundant");
        }
    }
}
