//! The machine, cycle by cycle, after its description in `clock` but without its recurrence.

use std::collections::{BTreeMap, VecDeque};

use super::super::{Array, Kind, Phase, Token};

struct Machine {
    array: Array,
    phase: Phase,
    groups: Vec<Group>,
}

#[derive(Default)]
struct Group {
    /// Batch and cycles left of each row in the queue.
    rows: VecDeque<(usize, usize)>,
    /// Batch and cycles left of the sums that are drained, or wait for it.
    drains: VecDeque<(usize, usize)>,
    /// By batch: rows that the group has still to work on, and its queries.
    rows_left: BTreeMap<usize, usize>,
    queries: BTreeMap<usize, usize>,
}

/// The cycles of a list.
pub(super) fn cycles(tokens: &[Token], array: &Array, phase: Phase) -> usize {
    let mut groups: Vec<Group> = (0..array.groups).map(|_| Group::default()).collect();
    for token in tokens {
        for (group, uses) in groups.iter_mut().zip(&token.uses).filter(|(_, uses)| **uses != 0) {
            let (counts, by) = match token.kind {
                Kind::Held => (&mut group.queries, uses.count_ones() as usize),
                Kind::Row => (&mut group.rows_left, 1),
            };
            *counts.entry(token.batch).or_default() += by;
        }
    }
    let mut machine = Machine { array: *array, phase, groups };
    let mut left = tokens.iter().peekable();
    let mut end = 0;
    for cycle in 0.. {
        // Rows that come in this cycle are worked on in the next one.
        let present: Vec<bool> = machine.groups.iter().map(|g| !g.rows.is_empty()).collect();
        let mut read = Vec::new();
        while let Some(token) = left.next_if(|token| machine.issues(token, &read)) {
            machine.take(token, &mut read);
        }
        let mut moved = !read.is_empty();
        for (group, present) in machine.groups.iter_mut().zip(present) {
            if group.step(present, phase) {
                (moved, end) = (true, cycle + 1);
            }
        }
        if !moved {
            assert!(left.peek().is_none(), "tokens wait for nothing in cycle {cycle}");
            break;
        }
    }
    end
}

impl Machine {
    /// Whether a token issues in the cycle in which words of these banks have been read.
    fn issues(&self, token: &Token, read: &[usize]) -> bool {
        if !self.reads(token) {
            return true;
        }
        let mut taking = self.groups.iter().zip(&token.uses).filter(|(_, uses)| **uses != 0);
        let same_registers = |batch: usize| batch % 2 == token.batch % 2;
        let free = taking.all(|(group, _)| match token.kind {
            Kind::Held => !group.rows.iter().any(|(batch, _)| same_registers(*batch)),
            Kind::Row => group.rows.len() < self.array.queue,
        });
        free && read.len() < self.array.ports && !read.contains(&(token.word % self.array.banks))
    }

    fn take(&mut self, token: &Token, read: &mut Vec<usize>) {
        if self.reads(token) {
            read.push(token.word % self.array.banks);
        }
        if token.kind == Kind::Row {
            for (group, uses) in self.groups.iter_mut().zip(&token.uses).filter(|(_, u)| **u != 0) {
                group.rows.push_back((token.batch, uses.count_ones() as usize));
            }
        }
    }

    fn reads(&self, token: &Token) -> bool {
        token.kind == Kind::Row || self.phase == Phase::Scores
    }
}

impl Group {
    /// One cycle. `present` says whether a row was there before it. Whether it did anything.
    fn step(&mut self, present: bool, phase: Phase) -> bool {
        let draining = !self.drains.is_empty();
        let same = |batch: usize| self.drains.iter().any(|(other, _)| other % 2 == batch % 2);
        let works = present && !same(self.rows[0].0);
        if draining {
            self.drains[0].1 -= 1;
            if self.drains[0].1 == 0 {
                self.drains.pop_front();
            }
        }
        if works {
            let (batch, left) = &mut self.rows[0];
            let batch = *batch;
            *left -= 1;
            if *left == 0 {
                self.rows.pop_front();
                self.leave(batch, phase);
            }
        }
        works || draining
    }

    /// A row of a batch leaves the queue; after the last one of a batch its sums are drained.
    fn leave(&mut self, batch: usize, phase: Phase) {
        let rows = self.rows_left.get_mut(&batch).expect("the rows have been counted");
        *rows -= 1;
        if let Phase::Product { drain } = phase
            && *rows == 0
            && drain > 0
        {
            self.drains.push_back((batch, drain * self.queries[&batch]));
        }
    }
}
