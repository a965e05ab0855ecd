//! Masked and auto-encoded attention, emulated, has the bits of the reference interpreter: for any
//! mask, any division between the engines, any machine.

use vitcod_compiler::codegen::{CodegenError, Options};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::machine::PRESETS;
use vitcod_support::random::SplitMix64;
use vitcod_testing::equal::assert_bit_equal_with;
use vitcod_testing::machine::{self, preset};
use vitcod_testing::vit::{self, Vit, masked, quantised};

const SMALL: Vit = Vit { all_tokens: true, ..vit::SMALL };

const GLOBALS: [GlobalTokens; 5] = [
    GlobalTokens::Auto,
    GlobalTokens::Above(0),
    GlobalTokens::Above(5),
    GlobalTokens::Above(12),
    GlobalTokens::Above(1000),
];

#[test]
fn every_division_of_a_mask_is_bit_equal() {
    type Kept = fn(usize, usize, usize, usize) -> bool;
    let masks: [(&str, Kept); 7] = [
        ("column 0, the diagonal and its neighbour", |_, _, i, j| j == 0 || i.abs_diff(j) < 2),
        ("a single entry in each row", |_, head, i, j| j == (i * 5 + head) % 17),
        ("full columns alone", |_, head, _, j| j % (head + 2) == 1),
        ("everything but one entry", |_, _, i, j| (i, j) != (3, 4)),
        ("everything in one head, the diagonal in the others", |_, head, i, j| head == 1 || i == j),
        ("everything in one layer", |layer, _, i, j| layer == 0 || i == j),
        ("rows of any length", |_, _, i, j| j <= i),
    ];
    for (name, kept) in masks {
        let graph = quantised(&masked(SMALL, 1, kept));
        for (preset_name, _) in PRESETS {
            for globals in GLOBALS {
                let report = assert_bit_equal_with(
                    &graph,
                    &preset(preset_name),
                    Options { globals, ..Options::default() },
                );
                assert!(report.is_ok(), "{name}, {globals:?}: {report:?}");
            }
        }
    }
}

#[test]
fn random_masks_are_bit_equal_on_random_machines() {
    let mut random = SplitMix64::new(11);
    let mut compiled = 0;
    for round in 0..60 {
        let mut pick = |choices: &[usize]| choices[random.bits() as usize % choices.len()];
        let patch = pick(&[2, 4]);
        let shape = Vit {
            image: patch * pick(&[2, 3, 6]),
            patch,
            heads: pick(&[1, 2, 3, 5]),
            head_dim: pick(&[1, 7, 8, 16]),
            depth: pick(&[1, 2]),
            ..SMALL
        };
        let density = pick(&[2, 5, 20, 60, 95]) as u64;
        let globals = GLOBALS[pick(&[0, 1, 2, 3, 4])];
        let mut entries = SplitMix64::new(round);
        let graph = quantised(&masked(shape, round, |_, _, i, j| {
            j == 0 || i == j || entries.bits() % 100 < density
        }));
        let machine = machine::random(&mut random);
        match assert_bit_equal_with(&graph, &machine, Options { globals, ..Options::default() }) {
            Ok(_) => compiled += 1,
            Err(CodegenError::TooSmall { .. } | CodegenError::NoPlacement { .. }) => {
                assert!(machine.sram.bytes <= 12 * 1024, "{shape:?} does not fit {machine}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(compiled > 45, "{compiled}");
}
