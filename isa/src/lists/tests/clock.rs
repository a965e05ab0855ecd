//! The clock, worked out by hand: one condition at a time.

use crate::lists::{Array, Clock, ContextSet, Kind, LineGroups, Phase, Reads, Word};
use crate::machine::Machine;

/// A machine of one group of one context.
const ONE: Array = Array {
    groups: LineGroups { groups: 1, lines_each: 1, contexts: 1, entry_cycles: 1 },
    reads: Some(READS),
    drain: 0,
};

const READS: Reads = Reads { ports: 2, banks: 4, word_bytes: 64, access_cycles: 1, queue: 4 };

fn with(reads: Reads) -> Array {
    Array { reads: Some(reads), ..ONE }
}

fn groups(groups: u32, contexts: u32) -> LineGroups {
    LineGroups { groups, contexts, ..ONE.groups }
}

/// Issues rows, each a word and its contexts; returns the cycle of each and the end.
fn rows(array: Array, rows: &[(Word, &[u8])]) -> (Vec<u64>, u64) {
    let mut clock = Clock::new(array, Phase::Scores);
    clock.end_segment();
    let issue = |(word, contexts): &(Word, &[u8])| {
        clock.issue(Kind::Row, &[*word], &contexts.iter().copied().collect());
        clock.cycle()
    };
    let cycles = rows.iter().map(issue).collect();
    clock.end_segment();
    (cycles, clock.end())
}

#[test]
fn ports() {
    let four = Array { groups: groups(4, 1), ..ONE };
    let all: [(Word, &[u8]); 4] = [(0, &[0]), (1, &[1]), (2, &[2]), (3, &[3])];
    // Two in each cycle; the last ones are worked on in cycle 2.
    assert_eq!(rows(four, &all), (vec![0, 0, 1, 1], 3));
    let one = Array { reads: Some(Reads { ports: 1, ..READS }), ..four };
    assert_eq!(rows(one, &all), (vec![0, 1, 2, 3], 5));
    // One read of every bank in two cycles, which takes both.
    let slow = Array { reads: Some(Reads { access_cycles: 2, ..READS }), ..four };
    assert_eq!(rows(slow, &all), (vec![0, 0, 2, 2], 5));
    let ideal = Array { reads: None, ..four };
    assert_eq!(rows(ideal, &all), (vec![0, 0, 0, 0], 1));
}

#[test]
fn banks() {
    let four = Array { groups: groups(4, 1), ..ONE };
    // Words 0, 4 and 8 are in bank 0.
    let all: [(Word, &[u8]); 4] = [(0, &[0]), (4, &[1]), (8, &[2]), (9, &[3])];
    assert_eq!(rows(four, &all), (vec![0, 1, 2, 2], 4));
    let words = |words: &[Word]| {
        let mut clock = Clock::new(four, Phase::Scores);
        clock.end_segment();
        clock.issue(Kind::Row, words, &ContextSet::from_iter([0]));
        let cycle = clock.cycle();
        clock.issue(Kind::Row, &[5], &ContextSet::from_iter([1]));
        (cycle, clock.cycle())
    };
    // Words of one token are read in order; word 5 is in bank 1.
    assert_eq!(words(&[0, 1]), (0, 1));
    assert_eq!(words(&[0, 4]), (1, 1));
    assert_eq!(words(&[0, 4, 8, 9]), (2, 3));
    assert_eq!(words(&[1, 2, 3]), (1, 1));
}

#[test]
fn queues() {
    let ports = Reads { ports: 8, banks: 64, ..READS };
    let all: Vec<(Word, &[u8])> = (0..6).map(|word| (word, &[0][..])).collect();
    // Work begins in cycle 1; the first row leaves in cycle 2, and makes place for the fifth one.
    assert_eq!(rows(with(ports), &all), (vec![0, 0, 0, 0, 2, 3], 7));
    assert_eq!(rows(with(Reads { queue: 1, ..ports }), &all[..3]), (vec![0, 2, 4], 6));
    // Two contexts work on a row for two cycles. A full queue stops the tokens behind it.
    let two = Array { groups: groups(2, 2), ..with(Reads { queue: 1, ..ports }) };
    let shared: [(Word, &[u8]); 3] = [(0, &[0, 1]), (1, &[0]), (2, &[2, 3])];
    assert_eq!(rows(two, &shared), (vec![0, 3, 3], 6));
    let slow = LineGroups { entry_cycles: 3, ..two.groups };
    assert_eq!(rows(Array { groups: slow, ..two }, &shared), (vec![0, 7, 7], 14));
    // A read in every other cycle: the place of cycle 3 is taken in cycle 4.
    let even = with(Reads { queue: 1, access_cycles: 2, ..ports });
    assert_eq!(rows(even, &all[..2]), (vec![0, 4], 7));
}

/// The clock after segments of held queries, and rows of the batch before, each of context 0.
fn batches(array: Array, phase: Phase, rows: &[u64]) -> (Vec<u64>, u64) {
    let mut clock = Clock::new(array, phase);
    let context = ContextSet::from_iter([0]);
    let mut held = Vec::new();
    let mut word = 0;
    for segment in 0..=rows.len() {
        if segment < rows.len() {
            // A bank of its own.
            let words: &[Word] = if phase == Phase::Scores { &[3] } else { &[] };
            clock.issue(Kind::Held, words, &context);
            held.push(clock.cycle());
        }
        for _ in 0..if segment == 0 { 0 } else { rows[segment - 1] } {
            clock.issue(Kind::Row, &[word % 3], &context);
            word += 1;
        }
        clock.end_segment();
    }
    (held, clock.end())
}

#[test]
fn registers_are_taken_by_every_other_batch() {
    let array = with(Reads { queue: 64, banks: 64, ports: 64, ..READS });
    // Query 1 comes with the rows of batch 0, in cycles 1 to 3, since word 3 is taken in cycle 0.
    // Query 2 waits until these have left in cycle 5. The row of batch 1 comes then and leaves in
    // cycle 7; query 3 waits for it.
    let (held, end) = batches(array, Phase::Scores, &[3, 1, 1, 2]);
    assert_eq!(held, [0, 1, 5, 7]);
    // The other rows come in cycle 7.
    assert_eq!(end, 11);
    // Products hold nothing.
    let (held, end) = batches(array, Phase::Products, &[3, 1, 1, 2]);
    assert_eq!((held, end), (vec![0, 0, 0, 1], 8));
}

#[test]
fn sums_are_drained_while_the_next_batch_is_worked_on() {
    let array = Array { drain: 5, ..with(Reads { queue: 64, banks: 64, ports: 64, ..READS }) };
    // Work on batch 0 ends at 2, that on batch 1 at 3. Sums of batch 0 are drained in 2 to 7, of
    // batch 1 in 7 to 12. Batch 2 is worked on in 7, batch 3 in 12; they are drained until 17 and
    // 22.
    assert_eq!(batches(array, Phase::Products, &[1]).1, 7);
    assert_eq!(batches(array, Phase::Products, &[1, 1]).1, 12);
    assert_eq!(batches(array, Phase::Products, &[1, 1, 1, 1]).1, 22);
    // Scores are not drained; queries without entries are.
    assert_eq!(batches(array, Phase::Scores, &[1]).1, 2);
    assert_eq!(batches(array, Phase::Products, &[0, 0]).1, 10);
    // Two queries of a group one after the other.
    let mut clock = Clock::new(Array { groups: groups(1, 2), ..array }, Phase::Products);
    let both = ContextSet::from_iter([0, 1]);
    clock.issue(Kind::Held, &[], &both);
    clock.end_segment();
    clock.issue(Kind::Row, &[0], &both);
    assert_eq!((clock.end(), clock.backlog(0)), (3, 2));
    clock.end_segment();
    assert_eq!(clock.end(), 3 + 2 * 5);
}

#[test]
fn machines_state_the_array() {
    let machine = Machine::preset("vitcod").unwrap();
    let Array { groups, reads, drain } = Array::new(64, 64, &machine);
    assert_eq!((groups.groups, groups.contexts, drain), (8, 2, 2));
    let expected = Reads { ports: 2, banks: 32, word_bytes: 64, access_cycles: 1, queue: 4 };
    assert_eq!(reads, Some(expected));
    let ideal = Array::new(64, 64, &Machine::preset("vitcod-ideal").unwrap());
    assert_eq!((ideal.reads, ideal.drain), (None, 0));
}
