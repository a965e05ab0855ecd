//! No two accesses that conflict are left unordered, whatever the instructions take.

use vitcod_compiler::codegen;
use vitcod_isa::check;
use vitcod_isa::machine::{Machine, PRESETS};
use vitcod_isa::program::Program;
use vitcod_support::random::SplitMix64;
use vitcod_testing::oracle::races;
use vitcod_testing::vit::{Vit, quantised, vit};

fn programs() -> Vec<Program> {
    let mut random = SplitMix64::new(11);
    let mut programs = Vec::new();
    for round in 0..10 {
        let mut pick = |choices: &[usize]| choices[random.bits() as usize % choices.len()];
        let shape = Vit {
            image: 4 * pick(&[1, 2, 4]),
            patch: 4,
            channels: 2,
            heads: pick(&[1, 2, 3]),
            head_dim: pick(&[3, 8, 16]),
            hidden: pick(&[5, 32]),
            depth: 2,
            classes: 7,
            all_tokens: pick(&[0, 1]) == 1,
        };
        let graph = quantised(&vit(shape, round));
        for sram in [6, 10, 20, 320] {
            let (preset, _) = PRESETS[pick(&[0, 1])];
            let mut machine = Machine::preset(preset).unwrap();
            machine.sram.bytes = sram * 1024;
            programs.extend(codegen::compile(&graph, &machine, codegen::Options::default()));
        }
    }
    assert!(programs.len() > 30, "{}", programs.len());
    programs
}

#[test]
fn conflicting_accesses_are_ordered() {
    for program in programs() {
        if let Some((a, b)) = races(&program.code).first() {
            panic!("{}: {} | {} ({a}, {b})", program.machine, program.code[*a], program.code[*b]);
        }
    }
}

/// The test above finds what it looks for: without any one of its tokens, each program has a race.
#[test]
fn every_token_is_needed() {
    for program in programs().into_iter().take(2) {
        for token in check::tokens(&program.code).into_iter().step_by(23) {
            let mut code = program.code.clone();
            token.remove(&mut code);
            assert!(!races(&code).is_empty(), "{token:?} is redundant");
        }
    }
}
