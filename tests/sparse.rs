//! Masked and auto-encoded attention, emulated, has the bits of the reference interpreter: for any
//! mask, any division between the engines, any machine.

#[allow(dead_code, reason = "each test takes a part of it")]
mod common;

use common::{Random, Vit, assert_bit_equal_with, machine, quantised, vit};
use vitcod_compiler::codegen::{CodegenError, Options};
use vitcod_compiler::ir::Graph;
use vitcod_compiler::masks::{self, Mask, Masks};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::machine::{Machine, PRESETS};

const SMALL: Vit = Vit { all_tokens: true, ..common::SMALL };

/// A quantised graph whose attention keeps what `kept(layer, head, query, key)` says.
fn masked(
    shape: Vit,
    seed: u64,
    mut kept: impl FnMut(usize, usize, usize, usize) -> bool,
) -> Graph {
    let tokens = (shape.image / shape.patch).pow(2) + 1;
    let layers = (0..shape.depth).map(|layer| {
        let head = |head| Mask::from_fn(tokens, tokens, |query, key| kept(layer, head, query, key));
        (0..shape.heads).map(head).collect()
    });
    let masks = Masks::new(layers.collect()).unwrap();
    quantised(&masks::apply(&vit(shape, seed), &masks).unwrap())
}

fn preset(name: &str) -> Machine {
    Machine::preset(name).unwrap()
}

const GLOBALS: [GlobalTokens; 5] = [
    GlobalTokens::Auto,
    GlobalTokens::Above(0),
    GlobalTokens::Above(5),
    GlobalTokens::Above(12),
    GlobalTokens::Above(1000),
];

#[test]
fn every_way_to_divide_a_mask() {
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
        let graph = masked(SMALL, 1, kept);
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
fn on_random_machines_with_random_masks() {
    let mut random = Random(11);
    let mut compiled = 0;
    for round in 0..60 {
        let mut pick = |choices: &[usize]| choices[random.next() as usize % choices.len()];
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
        let mut entries = Random(round);
        let graph =
            masked(shape, round, |_, _, i, j| j == 0 || i == j || entries.next() % 100 < density);
        let machine = machine(&mut random);
        match assert_bit_equal_with(&graph, &machine, Options { globals, ..Options::default() }) {
            Ok(report) => {
                assert!(report.sram.peak_bytes <= u64::from(machine.sram.bytes));
                compiled += 1;
            }
            Err(CodegenError::TooSmall { .. } | CodegenError::NoPlacement { .. }) => {
                assert!(machine.sram.bytes <= 12 * 1024, "{shape:?} does not fit {machine}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(compiled > 45, "{compiled}");
}
