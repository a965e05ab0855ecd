//! Every entry is computed exactly once; batches share rows.

use std::collections::BTreeMap;

use vitcod_isa::instr::table::{SddmmList, SpmmList};
use vitcod_isa::instr::{Cycles, Engine, Entries, Op, Sram, SramBytes};
use vitcod_isa::lists::{LineGroups, Reads, Run, Token};
use vitcod_isa::machine::Machine;
use vitcod_support::random::SplitMix64;

use super::*;

fn number(random: &mut SplitMix64, range: std::ops::RangeInclusive<usize>) -> usize {
    let (low, high) = (*range.start(), *range.end());
    low + (random.bits() % (high - low + 1) as u64) as usize
}

/// A list of some heads: a band, a few keys that all need, and single entries.
fn list(random: &mut SplitMix64, heads: usize, tokens: usize) -> Vec<Query> {
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
                queries.push(Query { head: head as u8, query: query as u16, keys });
            }
        }
    }
    queries
}

/// Heads side by side, keys from address 0, queries after them.
fn layout(heads: usize, d: u64, word_bytes: u64, tokens: usize) -> RowLayout {
    let stride = heads as u64 * d;
    RowLayout { d, queries: (tokens as u64 * stride, stride), keys: (0, stride), word_bytes }
}

struct Case {
    machine: Machine,
    heads: usize,
    tokens: usize,
    layout: RowLayout,
    queries: Vec<Query>,
}

/// Lists on the presets, with other banks and ports.
fn cases(count: u64) -> impl Iterator<Item = Case> {
    (0..count).map(|seed| {
        let mut random = SplitMix64::new(seed);
        let presets = ["vitcod", "vitcod-wide", "vitcod-ideal"];
        let mut machine = Machine::preset(presets[number(&mut random, 0..=2)]).unwrap();
        let d = [8, 16, 40, 64][number(&mut random, 0..=3)];
        let mut word = d;
        if let Some(banks) = &mut machine.banks {
            (banks.count, banks.row_ports) =
                (1 << number(&mut random, 0..=6), number(&mut random, 1..=16) as u32);
            word = u64::from(banks.word_bytes);
        }
        let (heads, tokens) = (number(&mut random, 1..=5), number(&mut random, 1..=40));
        let queries = list(&mut random, heads, tokens);
        Case { machine, heads, tokens, layout: layout(heads, d, word, tokens), queries }
    })
}

impl Case {
    fn array(&self) -> Array {
        Array::new(self.layout.d as u16, self.machine.all_lines().count, &self.machine)
    }

    fn clusters(&self) -> Clusters {
        Clusters::new(self.queries.clone(), &self.layout, self.array(), Packing::default())
    }

    /// The instruction of a phase on a list.
    fn op(&self, list: &List, phase: Phase) -> Op {
        let lines = self.machine.all_lines();
        let groups = LineGroups::new(self.layout.d as u16, lines.count, &self.machine);
        let token_bytes = SramBytes(list.tokens_to_bytes(false, &groups).unwrap().len() as u32);
        let entries = Entries(list.rows.iter().map(|row| u32::from(row.entries)).sum());
        let (m, d) = (self.tokens as u16, self.layout.d as u16);
        let (heads, queries) = (self.heads as u16, list.rows.len() as u16);
        let (base, stride) = self.layout.queries;
        let cycles = Cycles(1);
        match phase {
            Phase::Scores => SddmmList {
                engine: Engine::Sparser,
                q: Sram(base as u32),
                q_stride: stride as u16,
                k_stride: stride as u16,
                n: m,
                lines,
                m,
                d,
                heads,
                queries,
                entries,
                cycles,
                token_bytes,
                ..SddmmList::ZERO
            }
            .into(),
            Phase::Products => SpmmList {
                engine: Engine::Sparser,
                v_stride: stride as u16,
                dst_stride: stride as u16,
                n: m,
                lines,
                m,
                d,
                heads,
                queries,
                entries,
                cycles,
                token_bytes,
                ..SpmmList::ZERO
            }
            .into(),
        }
    }

    /// The keys that lists compute for each query.
    fn computed(&self, lists: &[List]) -> BTreeMap<(u8, u16), Vec<u16>> {
        let mut keys_of = BTreeMap::new();
        for list in lists {
            let op = self.op(list, Phase::Scores);
            let mut keys = Run::keys(&op, list, &self.machine).unwrap().into_iter();
            for row in &list.rows {
                let mut keys: Vec<u16> = keys.by_ref().take(row.entries.into()).collect();
                keys.sort_unstable();
                assert!(keys_of.insert((row.head, row.query), keys).is_none());
            }
        }
        keys_of
    }

    fn expected(&self) -> BTreeMap<(u8, u16), Vec<u16>> {
        self.queries.iter().map(|of| ((of.head, of.query), of.keys.clone())).collect()
    }
}

fn row_tokens(list: &List) -> usize {
    let tokens = list.segments.iter().flat_map(|segment| &segment.tokens);
    tokens.filter(|token| matches!(token, Token::Row { .. })).count()
}

#[test]
fn every_entry_is_computed_once() {
    for case in cases(80) {
        for parts in [1, 3] {
            let clusters = case.clusters();
            let lists = clusters.pack(parts, &case.layout);
            assert_eq!(case.computed(&lists), case.expected());
            let sizes = clusters.sizes(parts, None);
            assert_eq!(lists.len(), sizes.len());
            for (list, size) in lists.iter().zip(&sizes) {
                assert_eq!(list.rows.len(), size.queries);
                assert_eq!(row_tokens(list), size.rows);
                assert_eq!(list.segments.len(), size.batches + 1);
                let entries = list.rows.iter().map(|row| usize::from(row.entries)).sum::<usize>();
                assert_eq!(entries, size.entries);
            }
        }
    }
}

#[test]
fn an_empty_list_has_no_parts() {
    let case = Case { queries: Vec::new(), ..cases(1).next().unwrap() };
    assert!(case.clusters().pack(1, &case.layout).is_empty());
    assert!(case.clusters().is_empty());
}

/// An array of so many groups of one line, one feature a line.
fn array(groups: u32, contexts: u32, ports: u32) -> Array {
    Array {
        groups: LineGroups { groups, lines_each: 1, contexts, entry_cycles: 1 },
        reads: Some(Reads { ports, banks: 16, word_bytes: 8, access_cycles: 1, queue: 4 }),
        drain: 0,
    }
}

/// Queries of a band. Batches of neighbours need the fewest words.
#[test]
fn neighbours_share_a_batch() {
    let band = |query: usize| -> Vec<u16> {
        (query.saturating_sub(2)..=(query + 2).min(63)).map(|key| key as u16).collect()
    };
    // In an order that separates neighbours.
    let numbers = (0..64).map(|i| i * 37 % 64);
    let queries: Vec<Query> =
        numbers.map(|i| Query { head: 0, query: i as u16, keys: band(i) }).collect();
    let layout = layout(1, 8, 8, 64);
    let lists =
        Clusters::new(queries, &layout, array(4, 2, 2), Packing::default()).pack(1, &layout);
    // 8 batches of 8 neighbours need 12 words each, at the ends 10.
    assert_eq!(lists[0].segments.len(), 9);
    let rows = row_tokens(&lists[0]);
    assert!((92..=105).contains(&rows), "{rows}");
}

/// Where reads are free, groups have equal work.
#[test]
fn groups_finish_together_where_reads_are_free() {
    // One query of many keys, and many of few.
    let keys = |query: u16| if query == 0 { 0..40 } else { 0..query % 5 + 3 };
    let queries: Vec<Query> =
        (0..60).map(|query| Query { head: 0, query, keys: keys(query).collect() }).collect();
    let entries: usize = queries.iter().map(|query| query.keys.len()).sum();
    let layout = layout(1, 8, 8, 60);
    let ideal = Array { reads: None, ..array(4, 2, 1) };
    let sizes = Clusters::new(queries, &layout, ideal, Packing::default()).sizes(1, None);
    assert_eq!(sizes[0].cycles, [entries.div_ceil(4) as u64; 2]);
}
