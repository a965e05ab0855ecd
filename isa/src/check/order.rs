//! Happens-before: a possible order of execution of a program, and what each instruction knows to
//! have completed.

use std::ops::Range;

use super::Report;
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
    /// All instructions in topological order: each follows the senders of its tokens and its
    /// predecessor in the unit.
    pub(super) sequence: Vec<usize>,
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
    /// The order of a program; `None` if some instruction never starts, which is reported.
    pub(super) fn new(code: &[Instr], problems: &mut Report) -> Option<Order> {
        let tokens = tokens(code);
        let mut taken = vec![0..0; code.len()];
        for (at, token) in tokens.iter().enumerate() {
            let range = &mut taken[token.receiver];
            *range = if range.end == 0 { at..at + 1 } else { range.start..at + 1 };
        }
        let units: Vec<Option<Unit>> = code.iter().map(|instr| only(instr.op.units())).collect();
        let mut queues: [Vec<usize>; Unit::COUNT] = Default::default();
        for (index, instr) in code.iter().enumerate() {
            instr.op.units().iter().for_each(|unit| queues[unit.index()].push(index));
        }
        let mut order = Order {
            sequence: Vec::with_capacity(code.len()),
            numbers: vec![0; code.len()],
            known: vec![Clock::default(); code.len()],
            previous: vec![None; code.len()],
            queues: Default::default(),
            units,
            tokens,
            taken,
        };
        let ends = order.run(code, &queues, problems);
        order.queues = queues;
        ends.then_some(order)
    }

    /// The order of sequential execution.
    pub(super) fn sequential(code: &[Instr]) -> Order {
        let mut order = Order { sequence: (0..code.len()).collect(), ..Order::default() };
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

    /// Runs the units without timing until no instruction can start. The set of instructions that
    /// start does not depend on the order.
    fn run(
        &mut self,
        code: &[Instr],
        queues: &[Vec<usize>; Unit::COUNT],
        problems: &mut Report,
    ) -> bool {
        let mut started = vec![false; code.len()];
        let mut next = [0; Unit::COUNT];
        let mut completed = Clock::default();
        loop {
            let before = self.sequence.len();
            for unit in Unit::ALL.map(Unit::index) {
                while let Some(&index) = queues[unit].get(next[unit])
                    && self.units[index].is_some()
                    && self.taken[index].len() == code[index].wait.iter().count()
                    && self.taken(index).iter().all(|token| started[token.sender])
                {
                    completed[unit] += 1;
                    self.numbers[index] = completed[unit];
                    self.previous[index] = next[unit].checked_sub(1).map(|at| queues[unit][at]);
                    self.known[index] = self.knowledge(index);
                    started[index] = true;
                    self.sequence.push(index);
                    next[unit] += 1;
                }
            }
            // If all units are at the same instruction, it is one of all units.
            let heads: [Option<usize>; Unit::COUNT] =
                std::array::from_fn(|unit| queues[unit].get(next[unit]).copied());
            if let Some(index) = heads[0]
                && heads.iter().all(|head| *head == Some(index))
            {
                self.known[index] = completed;
                self.sequence.push(index);
                next.iter_mut().for_each(|next| *next += 1);
            }
            if self.sequence.len() == before {
                if self.sequence.len() < code.len() {
                    self.report_stuck(code, &heads, &started, problems);
                }
                return self.sequence.len() == code.len();
            }
        }
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

    /// Reports why no unit can continue: waits without signals, and cycles of waits. Units that
    /// only wait for those are not named.
    fn report_stuck(
        &self,
        code: &[Instr],
        heads: &[Option<usize>; Unit::COUNT],
        started: &[bool],
        problems: &mut Report,
    ) {
        let mut links: [Option<Link>; Unit::COUNT] = Default::default();
        for unit in Unit::ALL {
            let Some(index) = heads[unit.index()] else { continue };
            links[unit.index()] = if self.units[index].is_none() {
                let late = Unit::ALL.into_iter().find(|other| heads[other.index()] != Some(index));
                late.map(|late| Link { unit: late, through: heads[late.index()] })
            } else {
                let answered = |sender: &Unit| {
                    self.taken(index).iter().any(|token| self.units[token.sender] == Some(*sender))
                };
                if let Some(silent) = code[index].wait.iter().find(|sender| !answered(sender)) {
                    problems.instruction(index, &code[index], || {
                        format!("never starts: no token comes from {silent}")
                    });
                    None
                } else {
                    let token = self.taken(index).iter().find(|token| !started[token.sender]);
                    token.and_then(|token| {
                        Some(Link { unit: self.units[token.sender]?, through: Some(token.sender) })
                    })
                }
            };
        }
        let mut seen = [false; Unit::COUNT];
        for first in Unit::ALL.map(Unit::index) {
            let mut path = Vec::new();
            let mut unit = first;
            while !seen[unit] {
                seen[unit] = true;
                path.push(unit);
                let Some(link) = &links[unit] else { break };
                unit = link.unit.index();
            }
            let Some(start) = path.iter().position(|on_path| *on_path == unit) else { continue };
            if links[unit].is_none() {
                continue;
            }
            let circle = &mut path[start..];
            let first = (0..circle.len()).min_by_key(|at| heads[circle[*at]]).unwrap_or(0);
            circle.rotate_left(first);
            let waits: Vec<String> = circle
                .iter()
                .filter_map(|unit| links[*unit].as_ref()?.describe(heads[*unit]?, heads))
                .collect();
            if let Some(index) = heads[circle[0]] {
                problems
                    .instruction(index, &code[index], || format!("deadlock: {}", waits.join("; ")));
            }
        }
    }
}

/// The reason why a unit does not continue.
struct Link {
    unit: Unit,
    /// The next instruction of that unit.
    through: Option<usize>,
}

impl Link {
    /// The message; `waiting` is the instruction that does not start.
    fn describe(&self, waiting: usize, heads: &[Option<usize>; Unit::COUNT]) -> Option<String> {
        let (unit, through, head) = (self.unit, self.through?, heads[self.unit.index()]?);
        Some(if through == head {
            format!("{waiting} waits for {through} of {unit}")
        } else {
            format!("{waiting} waits for {through} of {unit}, which comes after {head}")
        })
    }
}
