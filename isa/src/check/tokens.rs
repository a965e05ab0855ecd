//! Matches each token with its sender and its receiver.

use super::Report;
use crate::instr::{Instr, Unit, UnitSet};

/// A token, by the instructions that send and take it. The match is static: the i-th wait of a pair
/// of units takes its i-th signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The instruction that takes it before it starts.
    pub receiver: usize,
    /// The instruction that sends it when it has completed.
    pub sender: usize,
}

impl Token {
    /// Removes the token from its program: its signal and its wait. All other tokens keep their
    /// senders and receivers.
    pub fn remove(self, code: &mut [Instr]) {
        let units = [self.sender, self.receiver].map(|index| code[index].op.units());
        units[1].iter().for_each(|unit| code[self.sender].signal.remove(unit));
        units[0].iter().for_each(|unit| code[self.receiver].wait.remove(unit));
    }
}

/// The tokens of a program, by receiver, then by the number of the sender's unit. Unmatched signals
/// and waits and the tokens of instructions of all units are skipped.
pub fn tokens(code: &[Instr]) -> Vec<Token> {
    let mut sent: [[Vec<usize>; Unit::COUNT]; Unit::COUNT] = Default::default();
    for (index, instr) in code.iter().enumerate() {
        let Some(unit) = only(instr.op.units()) else { continue };
        instr.signal.iter().for_each(|receiver| sent[unit.index()][receiver.index()].push(index));
    }
    let mut sent = sent.map(|pairs| pairs.map(Vec::into_iter));
    let mut tokens = Vec::new();
    for (receiver, instr) in code.iter().enumerate() {
        let Some(unit) = only(instr.op.units()) else { continue };
        let senders = instr.wait.iter().filter_map(|from| sent[from.index()][unit.index()].next());
        tokens.extend(senders.map(|sender| Token { receiver, sender }));
    }
    tokens
}

/// Checks that there are as many signals as waits, each signal before its wait, and none where they
/// are illegal. Returns whether that holds.
pub(super) fn check(code: &[Instr], problems: &mut Report) -> bool {
    let mut sound = true;
    // Per pair, the number and the last instruction.
    let mut sent = [[(0u32, 0); Unit::COUNT]; Unit::COUNT];
    let mut taken = sent;
    let note = |(count, last): &mut (u32, usize), index| (*count, *last) = (*count + 1, index);
    for (index, instr) in code.iter().enumerate() {
        let Some(unit) = only(instr.op.units()) else {
            if !(instr.wait.is_empty() && instr.signal.is_empty()) {
                sound = false;
                problems.instruction(index, instr, || {
                    "an instruction of all units has no tokens".to_owned()
                });
            }
            continue;
        };
        instr.signal.iter().for_each(|to| note(&mut sent[unit.index()][to.index()], index));
        instr.wait.iter().for_each(|from| note(&mut taken[from.index()][unit.index()], index));
    }
    for from in Unit::ALL {
        for to in Unit::ALL {
            let (signals, waits) =
                (sent[from.index()][to.index()], taken[from.index()][to.index()]);
            if signals.0 != waits.0 {
                sound = false;
                // Which one is superfluous is undecidable; report the last one.
                let index = if signals.0 > waits.0 { signals.1 } else { waits.1 };
                let tokens = if signals.0 == 1 { "token" } else { "tokens" };
                problems.instruction(index, &code[index], || {
                    format!(
                        "{from} sends {} {tokens} to {to}, which waits for {}",
                        signals.0, waits.0
                    )
                });
            }
        }
    }
    for Token { receiver, sender } in tokens(code) {
        // Where a signal or wait is missing, others may only seem to be in the wrong order.
        let pair = [sender, receiver].map(|index| only(code[index].op.units()));
        let [Some(from), Some(to)] = pair.map(|unit| unit.map(Unit::index)) else { continue };
        if sender >= receiver && sent[from][to].0 == taken[from][to].0 {
            sound = false;
            problems.instruction(receiver, &code[receiver], || {
                let whose = if sender == receiver {
                    "itself".to_owned()
                } else {
                    format!("instruction {sender}, which comes later")
                };
                format!("waits for a token of {whose}: a signal precedes its wait")
            });
        }
    }
    sound
}

/// The unit of a set with one element.
pub(super) fn only(units: UnitSet) -> Option<Unit> {
    let mut units = units.iter();
    units.next().filter(|_| units.next().is_none())
}
