//! The machine, cycle by cycle, after the description of the clock but without its recurrence.

use std::collections::VecDeque;

use super::machines::{Passing, array, segments};
use crate::lists::{Array, Clock, Kind, Phase};
use vitcod_support::random::SplitMix64;

/// A row in a queue, or sums that are drained.
struct Work {
    batch: usize,
    left: u64,
    /// The first cycle in which it can be worked on.
    from: u64,
}

#[derive(Default)]
struct Group {
    rows: VecDeque<Work>,
    drains: VecDeque<Work>,
    batches: VecDeque<Batch>,
}

/// The part of a group in a batch whose sums have not begun to be drained.
struct Batch {
    number: usize,
    queries: u64,
    /// Queries and rows that have not come or, of rows, not left.
    standing: u64,
    rows: u64,
}

/// The machine in a cycle.
struct Stepped<'a> {
    array: Array,
    phase: Phase,
    /// Tokens that have not issued, with their segments; words of the first one that have been
    /// read.
    left: VecDeque<(usize, &'a Passing)>,
    words_read: usize,
    groups: Vec<Group>,
}

/// The cycles of a list, and the cycle of the last token of each segment.
fn cycles(segments: &[Vec<Passing>], array: &Array, phase: Phase) -> (u64, Vec<u64>) {
    let numbered = segments.iter().enumerate();
    let left = numbered.flat_map(|(number, of)| of.iter().map(move |token| (number, token)));
    let mut groups: Vec<Group> = (0..array.groups.groups).map(|_| Group::default()).collect();
    for (number, tokens) in segments.iter().enumerate() {
        let uses = |kind: Kind, group: usize| {
            let of_kind = tokens.iter().filter(move |token| token.kind == kind);
            let mut uses = of_kind.flat_map(|token| token.uses.by_group(array.groups.contexts));
            std::iter::from_fn(move || uses.find(|(other, _)| *other == group))
        };
        for (place, group) in groups.iter_mut().enumerate() {
            if let Some(batch) = group.batches.back_mut().filter(|of| of.number + 1 == number) {
                batch.rows = uses(Kind::Row, place).count() as u64;
            }
            let queries = uses(Kind::Held, place).map(|(_, queries)| queries).sum();
            if queries > 0 {
                group.batches.push_back(Batch { number, queries, standing: queries, rows: 0 });
            }
        }
    }
    let left = left.collect();
    let mut machine = Stepped { array: *array, phase, left, words_read: 0, groups };
    let access = array.reads.unwrap().access_cycles;
    let mut last = vec![0; segments.len()];
    let mut reading = 0;
    let mut end = 0;
    for cycle in 0.. {
        if cycle % access == 0 {
            let mut banks = Vec::new();
            while let Some((segment, token)) = machine.left.front().copied() {
                let needs = token.kind == Kind::Row || phase == Phase::Scores;
                // A token without words passes with the one before it.
                let at = if needs { cycle } else { reading };
                if needs && !machine.reads(segment, token, &mut banks) {
                    break;
                }
                if needs {
                    reading = cycle;
                }
                machine.left.pop_front();
                machine.issue(segment, token, cycle);
                last[segment] = at;
            }
        }
        if machine.step(cycle) {
            end = cycle + 1;
        }
        if machine.is_done() {
            break;
        }
    }
    for segment in 1..last.len() {
        last[segment] = last[segment].max(last[segment - 1]);
    }
    (end, last)
}

impl Stepped<'_> {
    /// Reads as many words of a token as can be in this cycle; whether these were the last ones.
    fn reads(&mut self, segment: usize, token: &Passing, banks: &mut Vec<u64>) -> bool {
        let reads = self.array.reads.unwrap();
        let mut groups = token.uses.by_group(self.array.groups.contexts);
        let free = self.words_read > 0
            || groups.all(|(group, _)| {
                let rows = &self.groups[group].rows;
                match token.kind {
                    Kind::Row => rows.len() < reads.queue as usize,
                    // Every other batch takes the same registers.
                    Kind::Held => !rows.iter().any(|row| row.batch % 2 == segment % 2),
                }
            });
        if !free {
            return false;
        }
        while self.words_read < token.words.len() {
            let bank = token.words[self.words_read] % u64::from(reads.banks);
            if banks.len() == reads.ports as usize || banks.contains(&bank) {
                return false;
            }
            banks.push(bank);
            self.words_read += 1;
        }
        self.words_read = 0;
        true
    }

    fn issue(&mut self, segment: usize, token: &Passing, cycle: u64) {
        let access = self.array.reads.unwrap().access_cycles;
        for (group, uses) in token.uses.by_group(self.array.groups.contexts) {
            let group = &mut self.groups[group];
            match token.kind {
                Kind::Row => {
                    let left = uses * self.array.groups.entry_cycles;
                    group.rows.push_back(Work { batch: segment - 1, left, from: cycle + access });
                }
                Kind::Held => {
                    let mut batches = group.batches.iter_mut();
                    let batch = batches.find(|batch| batch.number == segment);
                    batch.expect("it has been counted").standing -= uses;
                }
            }
        }
    }

    /// One cycle of all groups; whether one did anything.
    fn step(&mut self, cycle: u64) -> bool {
        let (phase, drain) = (self.phase, self.array.drain);
        let mut any = false;
        for group in &mut self.groups {
            while let Some(batch) = group.batches.front()
                && (batch.standing, batch.rows) == (0, 0)
            {
                let Batch { number, queries, .. } = *batch;
                if drain > 0 && phase == Phase::Products {
                    let left = drain * queries;
                    group.drains.push_back(Work { batch: number, left, from: cycle });
                }
                group.batches.pop_front();
            }
            let same = |a: usize, b: usize| a % 2 == b % 2;
            let taken = |batch| group.drains.iter().any(|other| same(other.batch, batch));
            let works =
                group.rows.front().is_some_and(|row| row.from <= cycle && !taken(row.batch));
            if let Some(sums) = group.drains.front_mut() {
                any = true;
                sums.left -= 1;
                if sums.left == 0 {
                    group.drains.pop_front();
                }
            }
            if works && let Some(row) = group.rows.front_mut() {
                any = true;
                row.left -= 1;
                if row.left == 0 {
                    let number = row.batch;
                    group.rows.pop_front();
                    let mut batches = group.batches.iter_mut();
                    let batch = batches.find(|batch| batch.number == number);
                    batch.expect("its row has been counted").rows -= 1;
                }
            }
        }
        any
    }

    fn is_done(&self) -> bool {
        let idle = |group: &Group| {
            group.rows.is_empty() && group.drains.is_empty() && group.batches.is_empty()
        };
        self.left.is_empty() && self.groups.iter().all(idle)
    }
}

/// The same of the clock.
fn clocked(segments: &[Vec<Passing>], array: &Array, phase: Phase) -> (u64, Vec<u64>) {
    let mut clock = Clock::new(*array, phase);
    let mut last = Vec::new();
    for segment in segments {
        for Passing { kind, words, uses } in segment {
            let words =
                if *kind == Kind::Held && phase == Phase::Products { &[] } else { &words[..] };
            let ready = clock.ready(*kind, words, uses);
            clock.issue(*kind, words, uses);
            assert_eq!(clock.cycle(), ready);
        }
        clock.end_segment();
        last.push(clock.cycle());
    }
    (clock.end(), last)
}

#[test]
fn the_clock_agrees_with_a_stepped_machine() {
    for seed in 0..4000 {
        let mut random = SplitMix64::new(seed);
        let array = array(&mut random);
        let segments = segments(&mut random, &array);
        for phase in Phase::ALL {
            assert_eq!(
                clocked(&segments, &array, phase),
                cycles(&segments, &array, phase),
                "seed {seed}, {array:?}, {phase}"
            );
        }
    }
}
