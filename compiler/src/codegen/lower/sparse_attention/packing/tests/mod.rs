//! Every entry is in a list exactly once, and lists follow the rules of machines; sizes and cycles
//! are those that machines state; cases by hand; the bound.
//!
//! The clock itself is tested where it is.

use std::collections::BTreeSet;

use vitcod_isa::instr::table::{SddmmList, SpmmList};
use vitcod_isa::instr::{Entries, LineSet, Op, Sram, SramBytes};
use vitcod_isa::lists::{ContextSet, LineGroups, Reads, Run, Segment, Token, state_cycles};
use vitcod_isa::machine::Machine;
use vitcod_support::random::SplitMix64;

use super::bound::{Demand, bound};
use super::*;

fn number(random: &mut SplitMix64, range: std::ops::RangeInclusive<u64>) -> u64 {
    let (low, high) = range.into_inner();
    low + random.bits() % (high - low + 1)
}

/// A list of some heads: a band, a few keys that all need, and single entries; some queries have
/// none.
fn queries(random: &mut SplitMix64, heads: u8, tokens: u16) -> Vec<Query> {
    let mut queries = Vec::new();
    for head in 0..heads {
        let (band, global) = (number(random, 0..=3) as u16, number(random, 0..=2) as u16);
        let rare = number(random, 2..=20);
        for query in 0..tokens {
            let kept = |key: &u16| {
                query.abs_diff(*key) <= band || *key < global || number(random, 1..=rare) == rare
            };
            let keys: Vec<u16> = (0..tokens).filter(kept).collect();
            match number(random, 0..=9) {
                0 => {}
                1 => queries.push(Query { head, query, keys: Vec::new() }),
                _ => queries.push(Query { head, query, keys }),
            }
        }
    }
    queries
}

/// Queries on some lines of a machine, in scratchpad rows of some heads.
#[derive(Debug)]
struct Case {
    machine: Machine,
    lines: u16,
    heads: u8,
    /// Queries and keys of a head.
    tokens: u16,
    layout: RowLayout,
    clusters: Clusters,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut random = SplitMix64::new(seed);
        let machine = vitcod_testing::machine::random(&mut random);
        let lines = number(&mut random, 1..=machine.lines.count.into()) as u16;
        let d = [1, 8, 16, 64, 100][number(&mut random, 0..=4) as usize];
        let (heads, tokens) = (number(&mut random, 1..=5), number(&mut random, 1..=40));
        let mut rows = || {
            let stride = heads * d + number(&mut random, 0..=64);
            (number(&mut random, 0..=4096), stride)
        };
        let (of_queries, keys) = (rows(), rows());
        let array = Array::new(d as u16, lines, &machine);
        let word_bytes = array.reads.map_or(d, |reads| reads.word_bytes.into());
        let layout = RowLayout { d, queries: of_queries, keys, word_bytes };
        let (heads, tokens) = (heads as u8, tokens as u16);
        let queries = queries(&mut random, heads, tokens);
        let clusters = Clusters::new(queries, &layout, array);
        Case { machine, lines, heads, tokens, layout, clusters }
    }

    /// The instructions of both phases on a list.
    fn ops(&self, list: &List) -> [Op; 2] {
        let Case { lines, heads, tokens, layout, clusters, .. } = self;
        let lines = LineSet { first: 0, count: *lines };
        let bytes = list.tokens_to_bytes(true, &clusters.array.groups).expect("tokens have bytes");
        let token_bytes = SramBytes(bytes.len() as u32);
        let queries = list.rows.len() as u16;
        let entries = Entries(list.rows.iter().map(|row| u32::from(row.entries)).sum());
        let [(q, q_stride), (k, k_stride)] =
            [layout.queries, layout.keys].map(|(base, stride)| (Sram(base as u32), stride as u16));
        let scores = SddmmList {
            wide: true,
            lines,
            q,
            k,
            m: *tokens,
            n: *tokens,
            d: layout.d as u16,
            heads: u16::from(*heads),
            q_stride,
            k_stride,
            queries,
            token_bytes,
            entries,
            ..SddmmList::ZERO
        };
        let products = SpmmList {
            wide: true,
            lines,
            v: k,
            m: *tokens,
            n: *tokens,
            d: layout.d as u16,
            heads: u16::from(*heads),
            v_stride: k_stride,
            queries,
            token_bytes,
            entries,
            ..SpmmList::ZERO
        };
        [scores.into(), products.into()]
    }

    /// The lists of so many parts, after a look at their rules: machines take them, with the
    /// entries of the queries, and the rows of a pool of heads pass by once in a batch.
    fn lists(&self, parts: usize) -> Vec<List> {
        let lists = self.clusters.pack(parts, &self.layout);
        let mut left: BTreeSet<(u8, u16)> =
            self.clusters.queries.iter().map(|query| (query.head, query.query)).collect();
        for list in &lists {
            let [scores, products] = self.ops(list);
            let keys = Run::keys(&scores, list, &self.machine).expect("the list holds together");
            assert_eq!(Run::keys(&products, list, &self.machine).as_ref(), Ok(&keys));
            let mut keys = keys.as_slice();
            for row in &list.rows {
                assert!(left.remove(&(row.head, row.query)), "a query is in one list");
                let (own, rest) = keys.split_at(row.entries.into());
                keys = rest;
                let mut own = own.to_vec();
                own.sort_unstable();
                let same = |query: &&Query| (query.head, query.query) == (row.head, row.query);
                assert_eq!(own, self.clusters.queries.iter().find(same).unwrap().keys);
            }
            let mut passed = BTreeSet::new();
            walk(list, |segment, kind, row, heads, _| {
                let pool = |head: &u8| usize::from(*head) / self.layout.heads_per_word();
                assert_eq!(pool(&heads[0]), pool(heads.last().unwrap()), "one pool of heads");
                let held = kind == Kind::Held;
                assert!(passed.insert((segment, held, row, pool(&heads[0]))), "it passes by once");
            });
        }
        assert!(left.is_empty(), "every query is in a list");
        lists
    }
}

/// Lists and machines of many kinds.
fn cases(number: u64) -> impl Iterator<Item = Case> {
    (0..number).map(Case::new)
}

/// Visits the tokens of a list: segment, kind, query or key, heads, contexts.
fn walk(list: &List, mut visit: impl FnMut(usize, Kind, u16, &[u8], &ContextSet)) {
    let mut rows = list.rows.iter();
    // Heads by context, of the batch whose rows pass and of the next one.
    let (mut seated, mut next) = ([0; 256], [0; 256]);
    for (number, segment) in list.segments.iter().enumerate() {
        for token in &segment.tokens {
            let (kind, row, heads, uses) = match *token {
                Token::Held(queries) => {
                    let taking: Vec<_> = rows.by_ref().take(queries.into()).collect();
                    for row in &taking {
                        next[usize::from(row.context)] = row.head;
                    }
                    let heads: BTreeSet<u8> = taking.iter().map(|row| row.head).collect();
                    let uses = taking.iter().map(|row| row.context).collect();
                    (Kind::Held, taking[0].query, heads, uses)
                }
                Token::Row { key, uses } => {
                    let heads = uses.iter().map(|context| seated[usize::from(context)]).collect();
                    (Kind::Row, key, heads, uses)
                }
            };
            visit(number, kind, row, &heads.into_iter().collect::<Vec<u8>>(), &uses);
        }
        seated = next;
    }
}

/// The cycle of the last token before the end of each segment, and the cycles of the list.
fn timed(list: &List, layout: &RowLayout, array: &Array, phase: Phase) -> (Vec<u64>, u64) {
    let mut clock = Clock::new(*array, phase);
    let mut ends = Vec::new();
    walk(list, |segment, kind, row, heads, uses| {
        while ends.len() < segment {
            clock.end_segment();
            ends.push(clock.cycle());
        }
        let mut words = Vec::new();
        layout.words(kind, row, heads, &mut words);
        clock.issue(kind, &words, uses);
    });
    while ends.len() < list.segments.len() {
        clock.end_segment();
        ends.push(clock.cycle());
    }
    (ends, clock.end())
}

#[test]
fn every_entry_is_computed_once() {
    for case in cases(80) {
        case.lists(1);
        let lists = case.lists(3);
        assert!(lists.len() <= 3 && lists.iter().all(|list| !list.rows.is_empty()));
    }
}

#[test]
fn sizes_are_those_of_lists() {
    for case in cases(80) {
        let array = &case.clusters.array;
        for parts in [1, 3] {
            let (lists, sizes) = (case.lists(parts), case.clusters.sizes(parts, None));
            assert_eq!(lists.len(), sizes.len());
            for (list, size) in lists.iter().zip(sizes) {
                let (mut held, mut rows) = (0, 0);
                walk(list, |_, kind, ..| match kind {
                    Kind::Held => held += 1,
                    Kind::Row => rows += 1,
                });
                assert_eq!((size.held, size.rows), (held, rows));
                assert_eq!(size.queries, list.rows.len());
                let entries: usize = list.rows.iter().map(|row| usize::from(row.entries)).sum();
                assert_eq!(size.entries, entries);
                assert_eq!(size.batches + 1, list.segments.len());
                let fits = |segment: &Segment| segment.tokens.len() <= size.most_tokens;
                assert!(list.segments.iter().all(fits));
                if array.reads.is_none() {
                    let cycles = Phase::ALL.map(|phase| timed(list, &case.layout, array, phase).1);
                    assert_eq!(size.cycles, cycles);
                }
            }
        }
    }
}

/// The addresses by which lists are ordered are those of the instructions.
#[test]
fn cycles_are_those_that_machines_state() {
    for case in cases(80) {
        for mut list in case.lists(1) {
            for (mut op, phase) in case.ops(&list).into_iter().zip(Phase::ALL) {
                state_cycles(&mut op, &mut list, &case.machine).unwrap();
                let (ends, cycles) = timed(&list, &case.layout, &case.clusters.array, phase);
                let mut before = 0;
                for (segment, end) in list.segments.iter().zip(ends) {
                    assert_eq!(u64::from(segment.stated(phase)), end - before, "{case:?}");
                    before = end;
                }
                let stated = match op {
                    Op::SddmmList(op) => op.cycles.0,
                    Op::SpmmList(op) => op.cycles.0,
                    _ => unreachable!("it is one on a list"),
                };
                // Banks have further limits.
                assert!(u64::from(stated) >= cycles);
                if case.clusters.array.reads.is_none() {
                    assert_eq!(u64::from(stated), cycles.max(1));
                }
            }
        }
    }
}

#[test]
fn no_packing_is_below_the_bound() {
    for Case { layout, clusters, .. } in cases(80) {
        let Clusters { array, queries, .. } = &clusters;
        let lists = clusters.pack(1, &layout);
        let cells = 40;
        let mut both = Demand::default();
        let mut sum = 0;
        for phase in Phase::ALL {
            let mut demand = Demand::default();
            demand.add_list(queries, cells, phase, &layout, array);
            both.add_list(queries, cells, phase, &layout, array);
            let cycles = lists.iter().map(|list| timed(list, &layout, array, phase).1).sum();
            assert!(bound(&demand, array) as u64 <= cycles, "{array:?} {phase}");
            sum += cycles;
        }
        assert!(bound(&both, array) as u64 <= sum);
    }
}

/// A machine of so many groups and contexts.
fn array(groups: u32, contexts: u32) -> Array {
    let groups = LineGroups { groups, lines_each: 1, contexts, entry_cycles: 1 };
    let reads = Reads { ports: 1, banks: 16, word_bytes: 64, access_cycles: 1, queue: 4 };
    Array { groups, reads: Some(reads), drain: 0 }
}

/// Rows of two heads of `d` features; those of keys are behind those of queries.
fn layout(d: u64) -> RowLayout {
    let stride = 2 * d;
    RowLayout { d, queries: (0, stride), keys: (64 * stride, stride), word_bytes: 64 }
}

fn query(head: u8, query: u16, keys: &[u16]) -> Query {
    Query { head, query, keys: keys.to_vec() }
}

/// The only list of some queries, as rows of query, head and context, and its tokens.
fn packed(queries: &[Query], layout: &RowLayout, array: Array) -> List {
    let clusters = Clusters::new(queries.to_vec(), layout, array);
    let mut lists = clusters.pack(1, layout);
    assert_eq!(lists.len(), 1);
    lists.remove(0)
}

/// Query, head and context of each row.
fn rows(list: &List) -> Vec<(u16, u8, u8)> {
    list.rows.iter().map(|row| (row.query, row.head, row.context)).collect()
}

fn key(key: u16, contexts: &[u8]) -> Token {
    Token::Row { key, uses: contexts.iter().copied().collect() }
}

#[test]
fn without_queries_there_are_no_lists() {
    let clusters = Clusters::new(Vec::new(), &layout(64), array(1, 1));
    assert!(clusters.is_empty());
    assert_eq!(clusters.pack(2, &layout(64)), []);
    assert_eq!(clusters.sizes(2, None), []);
}

#[test]
fn a_list_by_hand() {
    let queries = [query(0, 5, &[1, 2]), query(1, 5, &[2, 3])];
    let tokens = |list: &List| -> Vec<Vec<Token>> {
        list.segments.iter().map(|segment| segment.tokens.clone()).collect()
    };
    // Both heads are in one word: one row holds both queries. Key 2 feeds both groups, so it is
    // the first one.
    let shared = packed(&queries, &layout(32), array(2, 1));
    assert_eq!(rows(&shared), [(5, 0, 0), (5, 1, 1)]);
    let expected = [vec![Token::Held(2)], vec![key(2, &[0, 1]), key(1, &[0]), key(3, &[1])]];
    assert_eq!(tokens(&shared), expected);
    // One row in each of cycles 0 to 3; the last one is worked on in cycle 4.
    let scores = timed(&shared, &layout(32), &array(2, 1), Phase::Scores);
    assert_eq!(scores, (vec![0, 3], 5));
    // A word for each head: the groups take turns.
    let apart = packed(&queries, &layout(64), array(2, 1));
    assert_eq!(rows(&apart), [(5, 0, 0), (5, 1, 1)]);
    let expected =
        [vec![Token::Held(1); 2], vec![key(1, &[0]), key(3, &[1]), key(2, &[0]), key(2, &[1])]];
    assert_eq!(tokens(&apart), expected);
    let scores = timed(&apart, &layout(64), &array(2, 1), Phase::Scores);
    assert_eq!(scores, (vec![1, 5], 7));
}

/// Where reads are free, queries come in descending order, each to the group with the least work.
#[test]
fn longest_queries_come_first_on_an_ideal_machine() {
    let queries = [3, 4, 5, 3, 3].map(|keys| (0..keys).collect::<Vec<u16>>());
    let queries: Vec<Query> =
        queries.iter().zip(0..).map(|(keys, of)| query(0, of, keys)).collect();
    let ideal = Array { reads: None, ..array(2, 1) };
    let list = packed(&queries, &layout(64), ideal);
    // 5 and 4 entries; then 4 + 3, 5 + 3, 7 + 3.
    assert_eq!(rows(&list), [(2, 0, 0), (1, 0, 1), (3, 0, 0), (0, 0, 1), (4, 0, 1)]);
    assert_eq!(timed(&list, &layout(64), &ideal, Phase::Products).1, 10);
}

/// Queries of a band. Batches of neighbours need the fewest words.
#[test]
fn neighbours_share_a_batch() {
    let band =
        |query: u16| -> Vec<u16> { (query.saturating_sub(2)..=(query + 2).min(63)).collect() };
    // In an order that separates neighbours.
    let queries: Vec<Query> = (0..64).map(|i| i * 37 % 64).map(|i| query(0, i, &band(i))).collect();
    let four = array(4, 2);
    let reads = four.reads.map(|reads| Reads { ports: 2, ..reads });
    let four = Array { reads, ..four };
    let list = packed(&queries, &layout(64), four);
    let mut rows = 0;
    walk(&list, |_, kind, ..| rows += usize::from(kind == Kind::Row));
    // 8 batches of 8 neighbours need 12 words each, at the ends 10.
    assert_eq!(list.segments.len(), 9);
    assert!((92..=105).contains(&rows), "{rows}");
    let entries: u64 = queries.iter().map(|query| query.keys.len() as u64).sum();
    let cycles = timed(&list, &layout(64), &four, Phase::Scores).1;
    // Groups of equal work, but for the ends.
    assert!(cycles * 100 <= entries.div_ceil(4) * 115, "{cycles} for {entries} entries");
}

/// A column that everyone needs goes to a block where reads are the limit.
#[test]
fn the_bound_chooses_the_split() {
    let layout = layout(64);
    // Key 0 is needed by all 16 queries, and each query needs a key of its own.
    let queries: Vec<Query> = (0..16u16).map(|i| query(0, i, &[0, i + 1])).collect();
    let bound_of = |phase: Phase, array: &Array| {
        let mut demand = Demand::default();
        demand.add_list(&queries, 16, phase, &layout, array);
        bound(&demand, array)
    };
    // 32 entries and 32 reads, of which the block saves 16.
    assert_eq!(bound_of(Phase::Products, &array(1, 1)), 32);
    // With two groups 16 cycles of work, and 8 + 16 reads; 16 without those of key 0, for which
    // there is no further work.
    let two = array(2, 1);
    assert_eq!(bound_of(Phase::Products, &two), 16);
    // Scores read 16 queries too: in the list 40 reads. Without key 0 there are 32 - 8 left, half
    // of each query's read being on the account of key 0; those of own keys cost 15 cells each.
    // Work 16 + 7.5 x = 24 - 1.5 x: x = 8 / 9 of a column.
    assert_eq!(bound_of(Phase::Scores, &two), 23);
    // Reads in every other cycle: work 16 + 7.5 x = 48 - 3 x: x = 64 / 21.
    let reads = two.reads.map(|reads| Reads { access_cycles: 2, ..reads });
    assert_eq!(bound_of(Phase::Scores, &Array { reads, ..two }), 39);
    // Where reads are free, work is the only limit.
    assert_eq!(bound_of(Phase::Scores, &Array { reads: None, ..two }), 16);
    // Work that is there in any case.
    let mut demand = Demand::default();
    demand.add_work(100);
    demand.add_list(&queries, 16, Phase::Products, &layout, &two);
    assert_eq!(bound(&demand, &two), 66);
    assert_eq!(bound(&Demand::default(), &two), 0);
}
