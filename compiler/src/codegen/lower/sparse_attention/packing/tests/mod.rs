//! Every entry is computed exactly once; the cycles are those of a machine that is stepped cycle by
//! cycle; cases computed by hand; the bound.

mod stepped;

use std::collections::{BTreeMap, BTreeSet};

use vitcod_support::random::SplitMix64;

use super::*;

const PHASES: [Phase; 3] =
    [Phase::Scores, Phase::Product { drain: 0 }, Phase::Product { drain: 3 }];

fn number(random: &mut SplitMix64, range: std::ops::RangeInclusive<usize>) -> usize {
    let (low, high) = (*range.start(), *range.end());
    low + (random.bits() % (high - low + 1) as u64) as usize
}

/// A list of some heads: a band, a few keys that all need, and single entries.
fn list(random: &mut SplitMix64, layout: RowLayout, heads: usize, tokens: usize) -> Vec<Query> {
    let mut queries = Vec::new();
    for head in 0..heads {
        let (band, global) = (number(random, 0..=3), number(random, 0..=2));
        let rare = number(random, 2..=20);
        for query in 0..tokens {
            let kept = |key: &usize| {
                query.abs_diff(*key) <= band || *key < global || number(random, 1..=rare) == rare
            };
            let keys: Vec<u16> = (0..tokens).filter(kept).map(|key| key as u16).collect();
            if number(random, 0..=9) > 0 {
                queries.push(layout.query(head, query, &keys));
            }
        }
    }
    queries
}

fn array(random: &mut SplitMix64) -> Array {
    Array {
        groups: number(random, 1..=9),
        contexts: number(random, 1..=8),
        queue: number(random, 1..=6),
        ports: number(random, 1..=16),
        banks: number(random, 1..=64),
    }
}

/// Lists and machines of many kinds.
fn cases(number_of: u64) -> impl Iterator<Item = (Vec<Query>, Array)> {
    (0..number_of).map(|seed| {
        let mut random = SplitMix64::new(seed);
        let heads_per_word = number(&mut random, 1..=4);
        let heads = number(&mut random, 1..=5);
        let layout = RowLayout { stride: heads.div_ceil(heads_per_word), heads_per_word };
        let tokens = number(&mut random, 1..=40);
        let queries = list(&mut random, layout, heads, tokens);
        (queries, array(&mut random))
    })
}

/// Computes what the tokens say: the entries as queries and words, in the order of each query.
fn execute(packing: &Packing, queries: &[Query]) -> BTreeMap<usize, Vec<usize>> {
    let mut entries = BTreeMap::<usize, Vec<usize>>::new();
    // The word that each context holds, for two batches.
    let mut held = BTreeMap::<(usize, usize, usize), usize>::new();
    let (mut latest_row, mut latest_held) = (0, 0);
    for token in &packing.tokens {
        assert!(token.uses.iter().any(|uses| *uses != 0), "every word is used");
        match token.kind {
            Kind::Held => latest_held = latest_held.max(token.batch),
            Kind::Row => {
                assert!(latest_row <= token.batch, "batches are in order");
                assert!(latest_held <= token.batch + 1, "its registers have been taken");
                latest_row = token.batch;
            }
        }
        for (group, uses) in token.uses.iter().enumerate() {
            for context in (0..8).filter(|context| uses >> context & 1 == 1) {
                let query = packing.batches[token.batch].groups[group][context];
                let seat = (token.batch, group, context);
                match token.kind {
                    Kind::Held => {
                        assert_eq!(token.word, queries[query].word);
                        assert_eq!(held.insert(seat, token.word), None, "it is held once");
                    }
                    Kind::Row => {
                        assert!(held.contains_key(&seat), "the query has come before its keys");
                        entries.entry(query).or_default().push(token.word);
                    }
                }
            }
        }
    }
    entries
}

#[test]
fn every_entry_is_computed_once() {
    for (queries, array) in cases(80) {
        let packing = pack(&queries, &array);
        let seated = packing.batches.iter().flat_map(|batch| batch.groups.iter().flatten());
        let mut seated: Vec<usize> = seated.copied().collect();
        seated.sort_unstable();
        assert_eq!(seated, (0..queries.len()).collect::<Vec<_>>(), "every query has one seat");
        for batch in &packing.batches {
            assert_eq!(batch.groups.len(), array.groups);
            assert!(batch.groups.iter().all(|group| group.len() <= array.contexts));
        }
        let mut entries = execute(&packing, &queries);
        for (number, query) in queries.iter().enumerate() {
            let mut words = entries.remove(&number).unwrap_or_default();
            words.sort_unstable();
            assert_eq!(words, query.keys);
        }
        assert!(entries.is_empty());
        // A word passes by once in a batch.
        let words: BTreeSet<_> = packing
            .tokens
            .iter()
            .map(|token| (token.batch, token.kind == Kind::Held, token.word))
            .collect();
        assert_eq!(words.len(), packing.tokens.len());
    }
}

#[test]
fn stripes_divide_the_batches() {
    for (queries, array) in cases(40) {
        let stripes = pack_stripes(&queries, &array, 3);
        let batches = stripes.iter().map(|stripe| stripe.batches.len());
        assert!(batches.clone().all(|batches| batches > 0));
        assert_eq!(batches.sum::<usize>(), pack(&queries, &array).batches.len());
        let mut entries = BTreeMap::new();
        for stripe in &stripes {
            entries.extend(execute(stripe, &queries));
        }
        for (number, query) in queries.iter().enumerate() {
            let mut words = entries.remove(&number).unwrap_or_default();
            words.sort_unstable();
            assert_eq!(words, query.keys);
        }
    }
}

#[test]
fn an_empty_list_has_no_tokens() {
    let packing = pack(&[], &ONE);
    assert_eq!(packing, Packing { batches: Vec::new(), tokens: Vec::new() });
    assert!(PHASES.iter().all(|phase| cycles(&packing.tokens, &ONE, *phase) == 0));
}

#[test]
fn the_clock_agrees_with_a_stepped_machine() {
    for (queries, array) in cases(80) {
        let mut tokens = pack(&queries, &array).tokens;
        for phase in PHASES {
            let expected = stepped::cycles(&tokens, &array, phase);
            assert_eq!(cycles(&tokens, &array, phase), expected, "{array:?} {phase:?}");
        }
        // Orders that nobody would choose, and a machine for which the list was not packed.
        tokens.sort_by_key(|token| (token.batch, token.kind == Kind::Row, token.word));
        let other = Array { ports: array.ports.div_ceil(2), banks: 2, ..array };
        for phase in PHASES {
            let expected = stepped::cycles(&tokens, &other, phase);
            assert_eq!(cycles(&tokens, &other, phase), expected, "{other:?} {phase:?}");
        }
    }
}

#[test]
fn no_packing_is_below_the_bound() {
    for (queries, array) in cases(80) {
        let tokens = pack(&queries, &array).tokens;
        let cells = 40;
        let mut both = Demand::default();
        let mut sum = 0;
        for phase in &PHASES[..2] {
            let mut demand = Demand::default();
            demand.add_list(&queries, cells, *phase, &array);
            both.add_list(&queries, cells, *phase, &array);
            let cycles = cycles(&tokens, &array, *phase);
            assert!(bound(&demand, &array) <= cycles, "{array:?} {phase:?}");
            sum += cycles;
        }
        assert!(bound(&both, &array) <= sum);
    }
}

/// Row tokens of one group and context, of these batches and words.
fn rows(rows: &[(usize, usize)]) -> Vec<Token> {
    let row = |(batch, word): &(usize, usize)| Token {
        kind: Kind::Row,
        batch: *batch,
        word: *word,
        uses: vec![1],
    };
    rows.iter().map(row).collect()
}

const ONE: Array = Array { groups: 1, contexts: 1, queue: 2, ports: 2, banks: 2 };

#[test]
fn ports_banks_and_queues() {
    let cycles = |tokens: &[Token], array: Array| cycles(tokens, &array, Phase::Scores);
    // Read in cycle 0, worked on in cycles 1 and 2.
    assert_eq!(cycles(&rows(&[(0, 0), (0, 1)]), ONE), 3);
    // The second one is read in cycle 1, which the first one hides.
    assert_eq!(cycles(&rows(&[(0, 0), (0, 2)]), ONE), 3);
    assert_eq!(cycles(&rows(&[(0, 0), (0, 1)]), Array { ports: 1, ..ONE }), 3);
    // It waits until the first one has left, in cycle 2, and is worked on in cycle 3.
    assert_eq!(cycles(&rows(&[(0, 0), (0, 1)]), Array { queue: 1, ..ONE }), 4);
    // Four words of one bank for four groups: the last one is read in cycle 3.
    let four = Array { groups: 4, banks: 4, ports: 4, ..ONE };
    let of_bank = |stride: usize| -> Vec<Token> {
        let uses = |group: usize| (0..4).map(|g| u8::from(g == group)).collect();
        let row =
            |group| Token { kind: Kind::Row, batch: 0, word: group * stride, uses: uses(group) };
        (0..4).map(row).collect()
    };
    assert_eq!(cycles(&of_bank(4), four), 5);
    assert_eq!(cycles(&of_bank(2), four), 3);
    assert_eq!(cycles(&of_bank(1), four), 2);
    // One word for all of them.
    let shared = Token { kind: Kind::Row, batch: 0, word: 0, uses: vec![1; 4] };
    assert_eq!(cycles(&[shared], four), 2);
}

#[test]
fn registers_are_free_two_batches_later() {
    let held = |batch| Token { kind: Kind::Held, batch, word: 0, uses: vec![1] };
    let [first, second, third] = [0, 1, 2].map(|batch| rows(&[(batch, 1)]).remove(0));
    // Words 0 and 1 are read in cycle 0; the queries of batch 1 in cycle 1. Batch 0 leaves in cycle
    // 2, in which the query of batch 2 is read, and batches 1 and 2 are worked on in 2 and 3.
    let tokens = [held(0), first, held(1), second, held(2), third];
    assert_eq!(cycles(&tokens, &ONE, Phase::Scores), 4);
    // Rows in cycles 0, 1 and 3. Sums of batch 0 are drained in cycles 2 to 6, those of batch 1 in
    // 7 to 11; batch 2 begins in 7, when its accumulators are free, and is drained in 12 to 16.
    assert_eq!(cycles(&tokens, &ONE, Phase::Product { drain: 5 }), 17);
}

/// Queries of a band. Batches of neighbours need the fewest words.
#[test]
fn neighbours_share_a_batch() {
    let layout = RowLayout { stride: 1, heads_per_word: 1 };
    let band = |query: usize| -> Vec<u16> {
        (query.saturating_sub(2)..=(query + 2).min(63)).map(|key| key as u16).collect()
    };
    // In an order that separates neighbours.
    let queries: Vec<Query> =
        (0..64).map(|i| i * 37 % 64).map(|i| layout.query(0, i, &band(i))).collect();
    let array = Array { groups: 4, contexts: 2, queue: 4, ports: 2, banks: 16 };
    let packing = pack(&queries, &array);
    let rows = packing.tokens.iter().filter(|token| token.kind == Kind::Row).count();
    // 8 batches of 8 neighbours need 12 words each, at the ends 10.
    assert_eq!(packing.batches.len(), 8);
    assert!((92..=105).contains(&rows), "{rows}");
    let entries: usize = queries.iter().map(|query| query.keys.len()).sum();
    let cycles = cycles(&packing.tokens, &array, Phase::Scores);
    // Groups of equal work, but for the ends.
    assert!(cycles * 100 <= entries.div_ceil(4) * 115, "{cycles} for {entries} entries");
}

/// A column that everyone needs goes to a block where reads are the limit.
#[test]
fn the_bound_chooses_the_split() {
    let layout = RowLayout { stride: 1, heads_per_word: 1 };
    // Key 0 is needed by all 16 queries, and each query needs a key of its own.
    let queries: Vec<Query> =
        (0..16u16).map(|i| layout.query(0, usize::from(i), &[0, i + 1])).collect();
    let array = Array { groups: 1, contexts: 1, queue: 2, ports: 1, banks: 1 };
    let product = Phase::Product { drain: 0 };
    let bound_of = |phases: &[Phase], array: &Array| {
        let mut demand = Demand::default();
        phases.iter().for_each(|phase| demand.add_list(&queries, 16, *phase, array));
        bound(&demand, array)
    };
    // 32 entries and 32 reads, of which the block saves 16.
    assert_eq!(bound_of(&[product], &array), 32);
    // With two groups 16 cycles of work, and 8 + 16 reads; 16 without those of key 0, for which
    // there is no further work.
    let two = Array { groups: 2, ..array };
    assert_eq!(bound_of(&[product], &two), 16);
    // Scores read 16 queries too: in the list 40 reads. Without key 0 there are 32 - 8 left, half
    // of each query's read being on the account of key 0; those of own keys cost 15 cells each.
    // Work 16 + 7.5 x = 24 - 1.5 x: x = 8 / 9 of a column.
    assert_eq!(bound_of(&[Phase::Scores], &two), 23);
    // Work that is there in any case.
    let mut demand = Demand::default();
    demand.add_work(100);
    demand.add_list(&queries, 16, product, &two);
    assert_eq!(bound(&demand, &two), 66);
    assert_eq!(bound(&Demand::default(), &two), 0);
}
