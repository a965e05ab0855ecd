//! Happens-before: what each instruction knows to have completed.

use std::ops::Range;

use super::tokens::{Token, only, tokens};
use crate::instr::{Instr, Unit};

/// Per unit, the number of its instructions that are known to have completed: a vector clock.
pub(super) type Clock = [u32; Unit::COUNT];

/// Whether `known` includes everything in `needed`.
pub(super) fn covers(known: &Clock, needed: &Clock) -> bool {
    needed.iter().zip(known).all(|(needed, known)| needed <= known)
}

/// A program as the partial order of its units and tokens.
#[derive(Default)]
pub(super) struct Order {
    /// Per instruction, its unit; `None` for instructions of all units.
    pub(super) units: Vec<Option<Unit>>,
    /// Per instruction, its number in its unit, from 1; 0 for instructions of all units.
    pub(super) numbers: Vec<u32>,
    /// Per instruction, what has completed when it starts.
    pub(super) known: Vec<Clock>,
    /// Per unit, its instructions, including those of all units.
    queues: [Vec<usize>; Unit::COUNT],
    /// Per instruction, its predecessor in its unit.
    previous: Vec<Option<usize>>,
    /// All tokens, by receiver.
    tokens: Vec<Token>,
    /// Per instruction, the range of the tokens that it takes.
    taken: Vec<Range<usize>>,
}

impl Order {
    /// The order of a program whose tokens are sound: every wait takes the token of an earlier
    /// instruction, so that program order is one of the possible orders of execution.
    pub(super) fn new(code: &[Instr]) -> Order {
        let tokens = tokens(code);
        let mut taken = vec![0..0; code.len()];
        for (at, token) in tokens.iter().enumerate() {
            let range = &mut taken[token.receiver];
            *range = if range.end == 0 { at..at + 1 } else { range.start..at + 1 };
        }
        let mut order = Order {
            units: code.iter().map(|instr| only(instr.op.units())).collect(),
            numbers: vec![0; code.len()],
            known: vec![Clock::default(); code.len()],
            queues: Default::default(),
            previous: vec![None; code.len()],
            tokens,
            taken,
        };
        let mut started = Clock::default();
        for (index, instr) in code.iter().enumerate() {
            let unit = order.units[index].map(Unit::index);
            if let Some(unit) = unit {
                started[unit] += 1;
                order.numbers[index] = started[unit];
                order.previous[index] = order.queues[unit].last().copied();
            }
            // An instruction of all units starts when everything before it has completed.
            order.known[index] = if unit.is_some() { order.knowledge(index) } else { started };
            instr.op.units().iter().for_each(|unit| order.queues[unit.index()].push(index));
        }
        order
    }

    /// The order of sequential execution.
    pub(super) fn sequential(code: &[Instr]) -> Order {
        let mut order = Order::default();
        let mut completed = Clock::default();
        for (index, instr) in code.iter().enumerate() {
            let unit = only(instr.op.units());
            order.units.push(unit);
            order.known.push(completed);
            order.numbers.push(unit.map_or(0, |unit| {
                order.queues[unit.index()].push(index);
                completed[unit.index()] += 1;
                completed[unit.index()]
            }));
        }
        order
    }

    /// The instruction of a unit with this number, if there is one.
    pub(super) fn index(&self, unit: Unit, number: u32) -> Option<usize> {
        // Numbers skip instructions of all units.
        let queue = &self.queues[unit.index()];
        queue.iter().copied().find(|index| number > 0 && self.numbers[*index] == number)
    }

    /// The tokens that an instruction takes.
    pub(super) fn taken(&self, index: usize) -> &[Token] {
        &self.tokens[self.taken[index].clone()]
    }

    /// All tokens, by receiver.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Per instruction of one unit, its direct successors: the next of its unit and the receivers
    /// of its tokens.
    pub(super) fn successors(&self) -> Vec<Vec<usize>> {
        let mut successors = vec![Vec::new(); self.units.len()];
        for (index, previous) in self.previous.iter().enumerate() {
            previous.iter().for_each(|previous| successors[*previous].push(index));
        }
        self.tokens.iter().for_each(|token| successors[token.sender].push(token.receiver));
        successors
    }

    /// What an instruction of one unit knows from its predecessors.
    pub(super) fn knowledge(&self, index: usize) -> Clock {
        self.knowledge_without(index, |_| false)
    }

    /// [`Self::knowledge`] without some tokens.
    pub(super) fn knowledge_without(
        &self,
        index: usize,
        left_out: impl Fn(Token) -> bool,
    ) -> Clock {
        // The predecessor has started but not completed.
        let mut known =
            self.previous[index].map_or(Clock::default(), |previous| self.known[previous]);
        for token in self.taken(index).iter().filter(|token| !left_out(**token)) {
            let theirs = &self.known[token.sender];
            known.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
            if let Some(unit) = self.units[token.sender] {
                let mine = &mut known[unit.index()];
                *mine = (*mine).max(self.numbers[token.sender]);
            }
        }
        known
    }
}
