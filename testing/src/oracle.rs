//! Races, worked out from what the manual promises and nothing else: units execute in order, and
//! the i-th wait of a pair of units takes its i-th token. Independent of how the compiler places
//! tokens and of the verifier: every pair of accesses is compared, and every byte by itself.

use std::collections::{BTreeSet, VecDeque};

use vitcod_isa::effects::{Access, Space, accesses};
use vitcod_isa::instr::{Instr, Op, Unit};
use vitcod_isa::program::Program;

/// Per unit, the number of its instructions that are known to have completed.
pub type Clock = [usize; Unit::COUNT];

/// An instruction of one unit.
pub struct Event {
    unit: usize,
    /// Its number in its unit, from 1.
    number: usize,
    /// What has completed when it starts.
    start: Clock,
    accesses: Vec<Access>,
}

/// The instructions of a program with their clocks. All of them wait only for earlier ones, or this
/// fails.
pub fn events(code: &[Instr]) -> Vec<Event> {
    let mut known = [Clock::default(); Unit::COUNT];
    let mut count = Clock::default();
    // Tokens from the first to the second unit: what has completed when they are sent.
    let mut tokens: [[VecDeque<Clock>; Unit::COUNT]; Unit::COUNT] = Default::default();
    let mut events = Vec::new();
    for instr in code {
        let units: Vec<usize> = instr.op.units().iter().map(Unit::index).collect();
        let [unit] = units[..] else {
            assert!(
                matches!(instr.op, Op::Halt(_)),
                "an instruction of several units is not expected: {instr}"
            );
            continue;
        };
        for sender in instr.wait.iter() {
            let token = tokens[sender.index()][unit].pop_front();
            let token = token.unwrap_or_else(|| panic!("{instr} waits for a later instruction"));
            known[unit]
                .iter_mut()
                .zip(token)
                .for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
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
pub fn races(code: &[Instr]) -> Vec<(usize, usize)> {
    let events = events(code);
    let mut races = Vec::new();
    for (index, later) in events.iter().enumerate() {
        for (other, earlier) in events[..index].iter().enumerate() {
            // Within a unit, operands are read before the next instruction starts, and writes are
            // in order.
            let (own, completed) =
                (earlier.unit == later.unit, earlier.number <= later.start[earlier.unit]);
            let conflict = |a: &Access, b: &Access| {
                let unordered = if own {
                    a.mode.writes() && b.mode.reads()
                } else {
                    a.mode.writes() || b.mode.writes()
                };
                unordered && a.space == b.space && a.region.overlaps(&b.region)
            };
            if !completed
                && earlier.accesses.iter().any(|a| later.accesses.iter().any(|b| conflict(a, b)))
            {
                races.push((other, index));
            }
        }
    }
    races
}

/// Whether every byte that an instruction reads, and every byte of the outputs, was written by an
/// earlier instruction or by the host. In a program without races what is earlier in the program is
/// earlier in time wherever it matters.
pub fn is_defined(program: &Program) -> bool {
    let header = &program.header;
    let mut written: BTreeSet<(Space, u64)> =
        (0..program.image.len() as u64).map(|at| (Space::Dram, at)).collect();
    for input in &header.inputs {
        written.extend(
            (input.address..input.address + input.bytes().unwrap()).map(|at| (Space::Dram, at)),
        );
    }
    let bytes = |access: &Access| {
        let space = access.space;
        access
            .region
            .runs()
            .flat_map(|(at, bytes)| at..at + bytes)
            .map(move |at| (space, at))
            .collect::<Vec<_>>()
    };
    for instr in &program.code {
        let all = accesses(&instr.op);
        if all
            .iter()
            .filter(|access| access.mode.reads())
            .flat_map(bytes)
            .any(|byte| !written.contains(&byte))
        {
            return false;
        }
        written.extend(all.iter().filter(|access| access.mode.writes()).flat_map(bytes));
    }
    let read = |output: &vitcod_isa::program::Binding| {
        output.address..output.address + output.bytes().unwrap()
    };
    header.outputs.iter().flat_map(read).all(|at| written.contains(&(Space::Dram, at)))
}
