//! The cycles of a list: when its tokens issue, and when its groups work on which row.
//!
//! The conditions of a token in a cycle:
//!
//! - the token before it has issued, in this cycle or earlier;
//! - fewer than `ports` words have been read in this cycle, none of them from its bank;
//! - *row*: each group that uses it has fewer than `queue` rows. A row leaves the queue at the end
//!   of the last cycle in which the group works on it;
//! - *held row of batch b*: the groups that take it have finished their rows of batch `b - 2`,
//!   whose queries were in the same registers.
//!
//! A group begins a row at the earliest in the cycle after the row issued and after the row before
//! it left, and works on it for as many cycles as it has uses. In the product, accumulators are
//! doubled too: the first row of batch `b` waits until the sums of batch `b - 2` are drained, one
//! query after the other.

use std::collections::VecDeque;

use super::{Array, Kind, Token};

/// What a list computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Held tokens read the row of a query.
    Scores,
    /// Held tokens read nothing. A group needs `drain` cycles to requantise the sums of a query.
    Product { drain: usize },
}

/// The state of the machine after the tokens that have issued so far.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    array: Array,
    phase: Phase,
    /// The cycle of the last token, and the words read in it.
    cycle: usize,
    issued: usize,
    /// For each bank the cycle after its last word was read.
    banks: Vec<usize>,
    groups: Vec<Group>,
}

/// A group of lines. A row *leaves* in the cycle after the last one in which it is worked on.
#[derive(Clone, Debug, Default)]
struct Group {
    /// When the latest rows leave, at most as many as the queue has places.
    leave: VecDeque<usize>,
    /// When the last row leaves, by the parity of its batch.
    last: [usize; 2],
    /// When the sums are drained, by the parity of the batch.
    drained: [usize; 2],
    /// The batch of the last row.
    batch: usize,
    /// Queries by batch.
    queries: Vec<usize>,
}

impl Clock {
    pub(crate) fn new(array: Array, phase: Phase) -> Clock {
        let groups = vec![Group::default(); array.groups];
        Clock { array, phase, cycle: 0, issued: 0, banks: vec![0; array.banks], groups }
    }

    /// The cycle of the last token.
    pub(crate) fn cycle(&self) -> usize {
        self.cycle
    }

    /// The cycle in which a token would issue as the next one.
    pub(crate) fn ready(&self, token: &Token) -> usize {
        if self.reads_nothing(token) {
            return self.cycle;
        }
        let free = |group: &Group| match token.kind {
            Kind::Held => group.last[token.batch % 2],
            Kind::Row => group.place(self.array.queue),
        };
        let taking = self.groups.iter().zip(&token.uses).filter(|(_, uses)| **uses != 0);
        let free = taking.map(|(group, _)| free(group)).max().unwrap_or(0);
        let full = self.issued == self.array.ports
            || self.banks[token.word % self.array.banks] == self.cycle + 1;
        free.max(self.cycle + usize::from(full))
    }

    /// Issues the next token.
    pub(crate) fn issue(&mut self, token: &Token) {
        let cycle = self.ready(token);
        for (group, uses) in self.groups.iter_mut().zip(&token.uses).filter(|(_, u)| **u != 0) {
            let uses = uses.count_ones() as usize;
            match token.kind {
                Kind::Held => group.seat(token.batch, uses),
                Kind::Row => group.append(cycle, token.batch, uses, &self.array, self.phase),
            }
        }
        if !self.reads_nothing(token) {
            self.issued = if cycle > self.cycle { 1 } else { self.issued + 1 };
            self.cycle = cycle;
            self.banks[token.word % self.array.banks] = cycle + 1;
        }
    }

    fn reads_nothing(&self, token: &Token) -> bool {
        token.kind == Kind::Held && self.phase != Phase::Scores
    }

    /// The cycles for which a group has work after the next one.
    pub(crate) fn backlog(&self, group: usize) -> usize {
        self.groups[group].end().saturating_sub(self.cycle + 1)
    }

    /// The cycles from the start until all groups are done.
    pub(crate) fn end(&self) -> usize {
        let end = |group: &Group| match self.phase {
            Phase::Scores => group.end(),
            Phase::Product { drain } => group.drained_after(drain),
        };
        self.groups.iter().map(end).max().unwrap_or(0)
    }
}

impl Group {
    /// When there is a place in its queue.
    fn place(&self, queue: usize) -> usize {
        if self.leave.len() < queue { 0 } else { self.leave[0] }
    }

    fn end(&self) -> usize {
        self.leave.back().copied().unwrap_or(0)
    }

    /// Counts queries of a batch.
    fn seat(&mut self, batch: usize, queries: usize) {
        if self.queries.len() <= batch {
            self.queries.resize(batch + 1, 0);
        }
        self.queries[batch] += queries;
    }

    /// When the sums of its last batch are drained.
    fn drained_after(&self, drain: usize) -> usize {
        let queries = self.queries.get(self.batch).copied().unwrap_or(0);
        self.end().max(self.drained[(self.batch + 1) % 2]) + drain * queries
    }

    /// A row that issues in a cycle.
    fn append(&mut self, cycle: usize, batch: usize, uses: usize, array: &Array, phase: Phase) {
        let mut begin = self.end().max(cycle + 1);
        if let Phase::Product { drain } = phase {
            if batch != self.batch {
                self.drained[self.batch % 2] = self.drained_after(drain);
                self.batch = batch;
            }
            begin = begin.max(self.drained[batch % 2]);
        }
        if self.leave.len() == array.queue {
            self.leave.pop_front();
        }
        self.leave.push_back(begin + uses);
        self.last[batch % 2] = begin + uses;
    }
}

/// The cycles of a list.
pub(crate) fn cycles(tokens: &[Token], array: &Array, phase: Phase) -> usize {
    let mut clock = Clock::new(*array, phase);
    tokens.iter().for_each(|token| clock.issue(token));
    clock.end()
}
