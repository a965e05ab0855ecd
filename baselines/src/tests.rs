//! Laws of all systems.

use proptest::prelude::*;

use crate::workload::{MAX_FEATURES, MAX_TOKENS};
use crate::{KeptEntries, Layer, LayerShape, PRESETS, System, Workload, shapes};

fn systems() -> impl Iterator<Item = System> {
    PRESETS.into_iter().map(|(name, _)| System::preset(name).unwrap())
}

#[test]
fn every_system_computes_every_model() {
    for model in shapes::models().keys() {
        let workload = shapes::dense(model).unwrap();
        for system in systems() {
            let estimate = system.estimate(&workload).unwrap();
            assert_eq!(estimate.layers.len(), workload.layers().len());
            assert!(estimate.total.fewest_cycles() > Some(0), "{model} on {}", system.name());
        }
    }
}

/// The values of a key in the presets, replaced.
fn with(system: &System, keys: &[(&str, &str)]) -> System {
    let text: String = system
        .to_toml()
        .lines()
        .map(|line| {
            let key = line.split(' ').next().unwrap();
            let value = keys.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
            value.map_or(format!("{line}\n"), |value| format!("{key} = {value}\n"))
        })
        .collect();
    System::from_toml(&text).unwrap()
}

#[test]
fn the_largest_workloads_on_the_smallest_systems_have_cycles() {
    let shapes = [
        LayerShape {
            heads: 1,
            queries: MAX_TOKENS,
            keys: MAX_TOKENS,
            key_features: 1,
            value_features: 1,
        },
        LayerShape { heads: 1, queries: 1, keys: 1, key_features: MAX_FEATURES, value_features: 1 },
        LayerShape { heads: 8192, queries: 60, keys: 60, key_features: 4096, value_features: 4096 },
        LayerShape { heads: 8192, queries: 49, keys: 60, key_features: 4096, value_features: 4096 },
        LayerShape {
            heads: 1,
            queries: MAX_TOKENS,
            keys: 1,
            key_features: MAX_FEATURES,
            value_features: 16,
        },
    ];
    let smallest = [
        ("rows", "1"),
        ("pes_per_row", "1"),
        ("columns", "1"),
        ("predictor_macs", "1"),
        ("lines", "1"),
        ("macs_per_line", "1"),
        ("element_bits", "16"),
        ("bytes_per_cycle", "0.001"),
        ("dram_channels", "1"),
        ("channel_bytes_per_cycle", "1"),
        ("multipliers_per_side", "16384"),
        ("top_k_comparators", "1"),
    ];
    let widest = [("rows", "1"), ("columns", "1024"), ("tile_keys", "1024"), ("pes_per_row", "1")];
    for shape in shapes {
        let layer = Layer::dense(shape).with_compressed_heads(shape.heads);
        let workload = Workload::new(vec![layer]).unwrap();
        for system in systems() {
            for keys in [&smallest[..], &widest[..]] {
                let system = with(&with(&system, &[("multipliers_per_side", "16384")]), keys);
                let estimate = system.estimate(&workload).unwrap();
                assert!(estimate.total.fewest_cycles() > Some(0));
            }
        }
    }
}

#[test]
fn keeping_fewer_entries_never_takes_longer() {
    // Of authors' systems, which move lines between denser and sparser parts, this does not hold.
    let workload = |period: u32| {
        let kept = KeptEntries::from_fn(97, 97, |q, k| (q * 31 + k * 17) % period == 0).unwrap();
        Workload::new(vec![Layer::masked(64, 64, vec![kept; 2]).unwrap()]).unwrap()
    };
    for system in systems().filter(|system| !system.name().starts_with("authors")) {
        let cycles = [1, 2, 4, 8, 16].map(|period| {
            system.estimate(&workload(period)).unwrap().total.fewest_cycles().unwrap()
        });
        assert!(cycles.is_sorted_by(|more, fewer| more >= fewer), "{}: {cycles:?}", system.name());
    }
}

proptest! {
    #[test]
    fn totals_lie_between_the_longest_phase_and_the_sum(
        heads in 1..4_u32,
        queries in 1..80_u32,
        keys in 1..80_u32,
        key_features in 1..65_u32,
        value_features in 1..65_u32,
        period in 1..9_u32,
    ) {
        let kept = KeptEntries::from_fn(queries, keys, |q, k| (q + k) % period == 0).unwrap();
        let kept = vec![kept; heads as usize];
        let layer = Layer::masked(key_features, value_features, kept).unwrap();
        let workload = Workload::new(vec![layer.with_compressed_heads(heads)]).unwrap();
        for system in systems() {
            let layer = &system.estimate(&workload).unwrap().layers[0];
            let cycles = || layer.phases.iter().map(|phase| phase.cycles);
            let [longest, sum] = [cycles().max().unwrap(), cycles().sum()];
            for total in layer.total.overlapped_cycles.iter().chain(&layer.total.serial_cycles) {
                prop_assert!((longest..=sum).contains(total), "{}", system.name());
            }
        }
    }
}
