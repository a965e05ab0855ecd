//! The bound chooses the best division, and no list is below it.

use vitcod_isa::lists::{LineGroups, Reads};
use vitcod_support::random::SplitMix64;

use super::*;

fn number(random: &mut SplitMix64, low: usize, high: usize) -> usize {
    low + (random.bits() % (high - low + 1) as u64) as usize
}

/// Masks of a layer: a band, a few keys that all need, and single entries.
fn masks(random: &mut SplitMix64, heads: usize, tokens: usize) -> Vec<Mask> {
    let mut mask = || {
        let (band, global) = (number(random, 0, 3), number(random, 0, 2));
        let rare = number(random, 2, 20);
        Mask::from_fn(tokens, tokens, |query, key| {
            query.abs_diff(key) <= band || key < global || number(random, 1, rare) == rare
        })
    };
    (0..heads).map(|_| mask()).collect()
}

#[test]
fn no_list_is_below_the_bound() {
    for seed in 0..60 {
        let mut random = SplitMix64::new(seed);
        let presets = ["vitcod", "vitcod-wide", "vitcod-ideal"];
        let mut machine = Machine::preset(presets[number(&mut random, 0, 2)]).unwrap();
        if let Some(banks) = &mut machine.banks {
            banks.count = 1 << number(&mut random, 0, 6);
            banks.row_ports = number(&mut random, 1, 16) as u32;
        }
        let head_dim = [8, 16, 40, 64][number(&mut random, 0, 3)];
        let (heads, tokens) = (number(&mut random, 1, 5), number(&mut random, 1, 40));
        let masks = masks(&mut random, heads, tokens);
        let core = AttentionCore { head_dim, compressed_heads: None, minifloat: true, seed: 0 };
        let layer = Layer::new(&masks, core, &machine);
        let lines = machine.all_lines().count;
        let array = Array::new(head_dim as u16, lines, &machine);
        let mut both = Demand::default();
        for phase in Phase::ALL {
            both.add_list(&layer.queries, tokens, phase, &layer.layout, &array);
        }
        for [ordered, shared] in [[true, true], [false, true], [true, false], [false, false]] {
            let list = lists::cycles(&layer, array, Packing { ordered, shared }, &machine);
            let bound = both.bound(Rates::new(&array, lines));
            assert!(bound <= list.cycles(), "{seed}: {bound} {list:?}");
        }
    }
}

/// An array of so many groups of one line, one feature a line, with a port.
fn array(groups: u32) -> Array {
    Array {
        groups: LineGroups { groups, lines_each: 1, contexts: 1, entry_cycles: 1 },
        reads: Some(Reads { ports: 1, banks: 16, word_bytes: 8, access_cycles: 1, queue: 4 }),
        drain: 0,
    }
}

/// A column that everyone needs goes to a block where reads are the limit.
#[test]
fn the_bound_chooses_the_split() {
    // Key 0 is needed by all 16 queries, and each query needs a key of its own.
    let queries: Vec<Query> =
        (0..16u16).map(|query| Query { head: 0, query, keys: vec![0, query + 1] }).collect();
    let layout = RowLayout { d: 8, queries: (17 * 8, 8), keys: (0, 8), word_bytes: 8 };
    let bound_of = |phases: &[Phase], groups: u16| {
        let array = array(groups.into());
        let mut demand = Demand::default();
        phases.iter().for_each(|phase| demand.add_list(&queries, 16, *phase, &layout, &array));
        demand.bound(Rates::new(&array, groups))
    };
    // 32 entries and 32 reads, of which the block saves 16.
    assert_eq!(bound_of(&[Phase::Products], 1), 32);
    // With two groups 16 cycles of work, and 8 + 16 reads; 16 without those of key 0, for which
    // there is no further work.
    assert_eq!(bound_of(&[Phase::Products], 2), 16);
    // Scores read 16 queries too: in the list 40 reads. Without key 0 there are 32 - 8 left, half
    // of each query's read being on the account of key 0; those of own keys cost 15 cells each.
    // Work 16 + 7.5 x = 24 - 1.5 x: x = 8 / 9 of a column.
    assert_eq!(bound_of(&[Phase::Scores], 2), 23);
    // Work that is there in any case.
    let mut demand = Demand::default();
    demand.add_work(100);
    demand.add_list(&queries, 16, Phase::Products, &layout, &array(2));
    assert_eq!(demand.bound(Rates::new(&array(2), 2)), 66);
    assert_eq!(Demand::default().bound(Rates::new(&array(2), 2)), 0);
}

/// One head of four queries and keys on a machine whose limits are easy to compute.
#[test]
fn each_limit_by_hand() {
    let mut machine = Machine::preset("vitcod").unwrap();
    machine.dram.bytes_per_cycle = 16.0;
    // The first query keeps all keys, the others one each.
    let mask = Mask::from_fn(4, 4, |query, key| query == 0 || query == key);
    let masks = Masks::new(vec![vec![mask]]).unwrap();
    let core = AttentionCore { head_dim: 64, compressed_heads: Some(1), minifloat: true, seed: 0 };
    let CoreBound { layers, limits, bound_cycles, .. } =
        core_bound(&masks, core, &machine).unwrap();
    // 7 entries in two phases and 8 decoded rows of 64 x 1 products, on 8 groups of 8 lines.
    assert_eq!(limits.line_cycles, (2.0 * 7.0 + 8.0) / 8.0);
    // Lists of three queries: each reads itself for its score, and its key twice.
    assert_eq!(limits.row_port_cycles, (3.0 + 2.0 * 3.0) / 2.0);
    // 7 scores, 4 results and 8 decoded rows of 64, on 4 requantisers of 64 lines.
    assert_eq!(limits.requantiser_cycles, (7.0 + 4.0 * 64.0 + 8.0 * 64.0) / 256.0);
    assert_eq!(limits.divider_cycles, 4.0);
    // A word of 8 for each query, two units.
    assert_eq!(limits.softmax_cycles, 2.0);
    // Queries, keys, values and results.
    assert_eq!(limits.dram_cycles, 4.0 * 4.0 * 64.0 / 16.0);
    assert_eq!((bound_cycles, layers[0].limited_by), (64, "DRAM"));
}
