//! Random machines, and random lists that hold together.

use vitcod_support::random::SplitMix64;

use crate::lists::*;

/// A number of a range.
pub(super) fn number(random: &mut SplitMix64, range: std::ops::RangeInclusive<u64>) -> u64 {
    let (low, high) = range.into_inner();
    low + random.bits() % (high - low + 1)
}

pub(super) fn array(random: &mut SplitMix64) -> Array {
    let groups = LineGroups {
        groups: number(random, 1..=9) as u32,
        lines_each: 1,
        contexts: number(random, 1..=8) as u32,
        entry_cycles: number(random, 1..=10).saturating_sub(7).max(1),
    };
    let reads = Reads {
        ports: number(random, 1..=16) as u32,
        banks: number(random, 1..=64) as u32,
        word_bytes: 64,
        access_cycles: number(random, 1..=2),
        queue: number(random, 1..=6) as u32,
    };
    Array { groups, reads: Some(reads), drain: number(random, 0..=4) }
}

/// A token of a list: its words and contexts.
#[derive(Clone, Debug)]
pub(super) struct Passing {
    pub(super) kind: Kind,
    pub(super) words: Vec<Word>,
    pub(super) uses: ContextSet,
}

/// The segments of a random list: every context that is used has been seated in the segment before.
pub(super) fn segments(random: &mut SplitMix64, array: &Array) -> Vec<Vec<Passing>> {
    let batches = number(random, 0..=6);
    let seats = array.groups.seats() as u8;
    let mut seated: Vec<u8> = Vec::new();
    let mut segments = Vec::new();
    let (keys, wide) = (number(random, 1..=100), number(random, 0..=3) == 0);
    let words = |random: &mut SplitMix64| {
        let most = if wide { 4 } else { 1 };
        let count = number(random, 1..=most);
        let mut words: Vec<Word> = (0..count).map(|_| number(random, 0..=keys)).collect();
        words.sort_unstable();
        words.dedup();
        words
    };
    for batch in 0..=batches {
        let mut tokens = Vec::new();
        let mut next: Vec<u8> = (0..seats).filter(|_| number(random, 0..=3) > 0).collect();
        if batch == batches {
            next.clear();
        }
        let mut left: &[u8] = &next;
        while !left.is_empty() {
            let (taking, rest) =
                left.split_at(number(random, 1..=left.len().min(3) as u64) as usize);
            let uses = taking.iter().copied().collect();
            tokens.push(Passing { kind: Kind::Held, words: words(random), uses });
            left = rest;
        }
        // Queries without entries stay.
        let used: Vec<u8> = seated.iter().copied().filter(|_| number(random, 0..=4) > 0).collect();
        for _ in 0..if used.is_empty() { 0 } else { number(random, 0..=30) } {
            let rare = number(random, 1..=used.len() as u64);
            let uses: ContextSet =
                used.iter().copied().filter(|_| number(random, 1..=rare) == 1).collect();
            if !uses.is_empty() {
                tokens.push(Passing { kind: Kind::Row, words: words(random), uses });
            }
        }
        // Any order within a segment.
        for last in (1..tokens.len()).rev() {
            tokens.swap(last, number(random, 0..=last as u64) as usize);
        }
        segments.push(tokens);
        seated = next;
    }
    segments
}
