//! Banks serve every word of whole programs, but of instructions on lists, access by access, in the
//! cycles that the cost model says.

use vitcod_compiler::codegen::{self, Options};
use vitcod_compiler::ir::Graph;
use vitcod_isa::machine::Machine;
use vitcod_support::random::SplitMix64;
use vitcod_testing::banks::assert_banks_serve;
use vitcod_testing::machine;
use vitcod_testing::vit::{SMALL, Vit, quantised, vit};

fn check(graph: &Graph, machine: &Machine) {
    match codegen::compile(graph, machine, Options::default()) {
        Ok(program) => assert_banks_serve(&program.code, machine),
        Err(error) => assert!(machine.sram.bytes < 64 * 1024, "{machine}: {error}"),
    }
}

#[test]
fn on_the_presets() {
    for name in ["vitcod", "vitcod-wide"] {
        let machine = machine::preset(name);
        check(&quantised(&vit(SMALL, 1)), &machine);
        let wide =
            Vit { image: 32, heads: 4, head_dim: 48, hidden: 300, depth: 1, classes: 10, ..SMALL };
        check(&quantised(&vit(wide, 2)), &machine);
    }
}

#[test]
fn on_machines_of_all_kinds() {
    let graph = quantised(&vit(SMALL, 3));
    for seed in 0..30 {
        let mut random = SplitMix64::new(seed);
        let mut machine = machine::random(&mut random);
        machine::organise(&mut machine, &mut random);
        check(&graph, &machine);
    }
}
