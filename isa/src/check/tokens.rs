//! Tokens: that they balance, and that every instruction gets those it waits for.

use super::Report;
use crate::instr::{Instr, Unit, UnitSet};

/// A number per ordered pair of units: sender, receiver.
type PerPair = [[u32; Unit::COUNT]; Unit::COUNT];

pub(super) fn check(code: &[Instr], problems: &mut Report) {
    balance(code, problems);
    progress(code, problems);
}

/// As many signals as waits.
fn balance(code: &[Instr], problems: &mut Report) {
    let (mut signals, mut waits): (PerPair, PerPair) = Default::default();
    for (index, instr) in code.iter().enumerate() {
        let Some(unit) = only(instr.op.units()) else {
            if !(instr.wait.is_empty() && instr.signal.is_empty()) {
                problems.instruction(index, instr, || "an instruction of all units has no tokens".to_owned());
            }
            continue;
        };
        instr.signal.iter().for_each(|to| signals[unit.index()][to.index()] += 1);
        instr.wait.iter().for_each(|from| waits[from.index()][unit.index()] += 1);
    }
    for from in Unit::ALL {
        for to in Unit::ALL {
            let (sent, taken) = (signals[from.index()][to.index()], waits[from.index()][to.index()]);
            if sent != taken {
                problems.program(|| format!("{from} sends {sent} tokens to {to}, which waits for {taken}"));
            }
        }
    }
}

/// Runs the units without timing until no instruction can start. Which unit goes first makes no difference to what can start.
fn progress(code: &[Instr], problems: &mut Report) {
    let mut queues: [Vec<usize>; Unit::COUNT] = Default::default();
    for (index, instr) in code.iter().enumerate() {
        instr.op.units().iter().for_each(|unit| queues[unit.index()].push(index));
    }
    let mut queues = queues.map(|queue| queue.into_iter().peekable());
    let mut tokens = PerPair::default();
    loop {
        let mut moved = false;
        for unit in Unit::ALL {
            let to = unit.index();
            while let Some(index) = queues[to].next_if(|index| {
                let instr = &code[*index];
                only(instr.op.units()).is_some() && instr.wait.iter().all(|from| tokens[from.index()][to] > 0)
            }) {
                code[index].wait.iter().for_each(|from| tokens[from.index()][to] -= 1);
                code[index].signal.iter().for_each(|receiver| tokens[to][receiver.index()] += 1);
                moved = true;
            }
        }
        // Where all units stand at the same instruction, it is one of all units.
        let first = queues[0].peek().copied();
        if first.is_some() && queues.iter_mut().all(|queue| queue.peek().copied() == first) {
            for queue in &mut queues {
                queue.next();
            }
            moved = true;
        }
        if !moved {
            break;
        }
    }
    for unit in Unit::ALL {
        let Some(&index) = queues[unit.index()].peek() else { continue };
        let instr = &code[index];
        let missing = instr.wait.iter().filter(|from| tokens[from.index()][unit.index()] == 0).collect::<UnitSet>();
        if only(instr.op.units()).is_some() {
            problems.instruction(index, instr, || format!("never starts: no token comes from {missing}"));
        }
    }
}

/// The unit of a set of one.
fn only(units: UnitSet) -> Option<Unit> {
    let mut units = units.iter();
    units.next().filter(|_| units.next().is_none())
}
