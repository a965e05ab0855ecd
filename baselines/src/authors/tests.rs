//! Against the totals that the authors' scripts print, and by hand.

use super::*;
use crate::authors_mask;
use crate::estimate::Estimate;
use crate::shapes;
use crate::system::System;

fn estimate(preset: &str, workload: &Workload) -> Estimate {
    System::preset(preset).unwrap().estimate(workload).unwrap()
}

fn phases(estimate: &Estimate) -> [u64; PHASES.len()] {
    PHASES.map(|name| estimate.phase_cycles(name))
}

/// The stand-in, and the authors' mask where it is present.
fn masks() -> Vec<Workload> {
    std::iter::once(authors_mask::stand_in()).chain(authors_mask::workload()).collect()
}

#[test]
fn head_0_takes_what_the_scripts_print() {
    for workload in masks() {
        let january = estimate("authors-2023-01", &workload);
        assert_eq!(phases(&january), [25_841, 4728, 19_704, 18_023]);
        assert_eq!(january.total.overlapped_cycles, Some(42_455));
        let june = estimate("authors-2023-06", &workload);
        assert_eq!(phases(&june), [9492, 4728, 2463, 2246]);
        assert_eq!(june.total.overlapped_cycles, Some(9492));
        assert_eq!(june.total.serial_cycles, None);
    }
}

/// Denser and sparser SDDMM and SpMM of head 0 in the authors' log,
/// `masks/deit_tiny_lowrank/vitcod_atten_0.95_wo.txt`: the larger of each pair.
const LOGGED: [[u64; 2]; 12] = [
    [120, 119],
    [30, 29],
    [840, 767],
    [54, 54],
    [87, 85],
    [300, 269],
    [255, 224],
    [87, 85],
    [33, 32],
    [135, 121],
    [150, 145],
    [372, 316],
];

#[test]
fn each_layer_takes_what_the_authors_log_says() {
    for workload in masks() {
        let june = estimate("authors-2023-06", &workload);
        let found = june.layers.iter().map(|layer| [2, 3].map(|phase| layer.phases[phase].cycles));
        assert_eq!(found.collect::<Vec<_>>(), LOGGED);
    }
}

#[test]
fn all_heads_side_by_side() {
    for workload in masks() {
        let january = estimate("authors-2023-01-heads", &workload);
        assert_eq!(phases(&january), ALL_HEADS[0]);
        let june = estimate("authors-2023-06-heads", &workload);
        assert_eq!(phases(&june), ALL_HEADS[1]);
    }
}

/// Computed by a script that runs the authors' sums for each head and takes the largest of a layer.
const ALL_HEADS: [[u64; 4]; 2] = [[25_967, 4728, 23_928, 22_066], [9492, 4728, 2991, 2739]];

fn simulator(version: Version) -> AuthorsSimulator {
    AuthorsSimulator {
        version,
        heads: Heads::First,
        lines: 4,
        macs_per_line: 2,
        bytes_per_cycle: 8.0,
    }
}

#[test]
fn without_global_tokens_queries_are_reloaded() {
    // 2 heads, compressed to 1; 3 queries, 4 keys of 5 features, values of 6; 8 entries.
    let kept = KeptEntries::from_fn(3, 4, |query, key| query != 2 || key < 2).unwrap();
    let layer = Layer::masked(5, 6, vec![kept; 2]).unwrap().with_compressed_heads(1);
    let head = head(layer.kept().unwrap().first().unwrap());
    assert_eq!((head.global_tokens, head.others), (0, 10));
    // A compressed row of 5 bytes and a value of 12 take 1 and 2 cycles, decoder weights of 10
    // bytes 2 and of 2 bytes 1. 4 keys and 3 x 10 / 4 queries make 12 rows.
    let [january, june] = [Version::January2023, Version::June2023].map(simulator);
    // Of four MACs per head a row takes two cycles: 8 of keys and 15 of queries.
    let rows = 4 + 8;
    assert_eq!(january.rows(&layer, head), [rows + 8 + 15 + 12, 8 + 15]);
    assert_eq!(june.rows(&layer, head), [rows + 2 + 8, 8 + 15]);
    // All four lines are sparser: ceil(5 x 2 / 2) ceil(10 / 4), ceil(10 x 6 / 4).
    assert_eq!(june.products(&layer, head), [5 * 3, 15]);
}

#[test]
fn a_part_with_work_has_a_line() {
    // One global token of 51 queries beside 49 x 50 other entries: less than a quarter.
    let kept = KeptEntries::from_fn(51, 50, |query, key| key == 0 || query < 50).unwrap();
    let layer = Layer::masked(2, 2, vec![kept]).unwrap();
    let head = head(&layer.kept().unwrap()[0]);
    assert_eq!((head.global_tokens, head.others), (1, 49 * 50));
    // One line is denser: 51 rounds; three are sparser: 817.
    let june = simulator(Version::June2023);
    assert_eq!(june.products(&layer, head), [817, 817]);
    let narrow = AuthorsSimulator { lines: 1, ..june };
    assert_eq!(narrow.products(&layer, head), [2450, 2450]);
}

#[test]
fn dense_layers_are_all_global_or_not_at_all() {
    for model in ["deit-tiny", "levit-128"] {
        for preset in ["authors-2023-01", "authors-2023-06-heads"] {
            let dense = estimate(preset, &shapes::dense(model).unwrap());
            let full = |layer: &Layer| {
                let shape = layer.shape();
                let head = KeptEntries::from_fn(shape.queries, shape.keys, |_, _| true).unwrap();
                let heads = vec![head; shape.heads as usize];
                Layer::masked(shape.key_features, shape.value_features, heads).unwrap()
            };
            let layers = shapes::dense(model).unwrap().layers().iter().map(full).collect();
            let masked = estimate(preset, &Workload::new(layers).unwrap());
            assert_eq!(dense.layers, masked.layers);
            assert_eq!(dense.phase_cycles("decode"), 0);
        }
    }
}
