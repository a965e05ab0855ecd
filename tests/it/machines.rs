//! Every machine compiles, computes the same bits, and is no slower for being better.

use vitcod_compiler::codegen::{self, Options};
use vitcod_compiler::ir::Graph;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Decision;
use vitcod_isa::timing::simulate;
use vitcod_testing::equal::assert_bit_equal;
use vitcod_testing::vit::{SMALL, Vit, quantised, vit};

/// Cycles by which a better machine may be slower: the schedule is a heuristic's.
const TOLERANCE: f64 = 0.02;

/// A layer of the size of DeiT-Tiny's.
const DEIT_TINY: Vit = Vit {
    image: 224,
    patch: 16,
    channels: 3,
    heads: 3,
    head_dim: 64,
    hidden: 768,
    depth: 1,
    classes: 1000,
    all_tokens: false,
};

const WIDE: Vit =
    Vit { image: 20, heads: 2, head_dim: 32, hidden: 256, depth: 1, classes: 33, ..SMALL };

fn machine(lines: u32, macs: u32, sram_kb: u32, bytes_per_cycle: f64) -> Machine {
    machine_like("vitcod", (lines, macs), sram_kb, bytes_per_cycle)
}

fn machine_like(
    preset: &str,
    (lines, macs): (u32, u32),
    sram_kb: u32,
    bytes_per_cycle: f64,
) -> Machine {
    let mut machine = Machine::preset(preset).unwrap();
    (machine.lines.count, machine.lines.macs, machine.lines.port_bytes) = (lines, macs, macs);
    machine.sram.bytes = sram_kb * 1024;
    machine.dram.bytes_per_cycle = bytes_per_cycle;
    machine
}

#[test]
fn the_smallest_and_the_largest_machines_compile_and_stay_bit_equal() {
    let graph = quantised(&vit(DEIT_TINY, 1));
    for (lines, macs) in [(1, 1), (256, 16)] {
        for sram_kb in [32, 4096] {
            let machine = machine(lines, macs, sram_kb, 153.6);
            assert_bit_equal(&graph, &machine).unwrap_or_else(|error| panic!("{machine}: {error}"));
        }
    }
}

/// Machines in whose scratchpads two layers of an MLP are made together, and smaller and larger
/// ones where they are not.
#[test]
fn interleaved_layers_compute_the_same() {
    let graph = quantised(&vit(
        Vit { image: 28, patch: 4, heads: 2, head_dim: 48, hidden: 320, depth: 1, ..SMALL },
        4,
    ));
    let options = Options { explain: true, ..Options::default() };
    let interleaved = [16, 20, 22, 24, 26, 36].map(|sram_kb| {
        let machine = machine(64, 8, sram_kb, 153.6);
        assert_bit_equal(&graph, &machine).unwrap_or_else(|error| panic!("{machine}: {error}"));
        let program = codegen::compile(&graph, &machine, options).unwrap();
        program
            .header
            .decisions
            .iter()
            .any(|decision: &Decision| decision.chosen.contains("; remaining channels: "))
    });
    assert!(interleaved.contains(&true) && interleaved.contains(&false), "{interleaved:?}");
}

/// Steps by which machines get better.
const LINES: [u32; 4] = [1, 8, 64, 256];
const SRAM_KB: [u32; 3] = [32, 64, 4096];
const BYTES_PER_CYCLE: [f64; 3] = [8.0, 153.6, 512.0];

#[test]
fn a_better_machine_is_no_slower() {
    let mut slower = Vec::new();
    for shape in [SMALL, WIDE] {
        let graph = quantised(&vit(shape, 2));
        compare(&graph, &mut slower);
    }
    assert!(slower.is_empty(), "{}", slower.join("\n"));
}

/// Compiles for a grid of machines and notes those that are slower than a neighbour with less.
fn compare(graph: &Graph, slower: &mut Vec<String>) {
    let cycles = |at: [usize; 3]| {
        // Slots of the banks fit a number of lines, so more lines alone make no better machine.
        let machine =
            machine_like("vitcod-ideal", (LINES[at[0]], 8), SRAM_KB[at[1]], BYTES_PER_CYCLE[at[2]]);
        let program = codegen::compile(graph, &machine, Options::default());
        let program = program.unwrap_or_else(|error| panic!("{machine}: {error}"));
        simulate(&program.code, &machine).unwrap().total()
    };
    let places = (0..LINES.len()).flat_map(|lines| {
        (0..SRAM_KB.len())
            .flat_map(move |sram| (0..BYTES_PER_CYCLE.len()).map(move |dram| [lines, sram, dram]))
    });
    let grid: Vec<([usize; 3], u64)> = places.map(|at| (at, cycles(at))).collect();
    let of =
        |at: [usize; 3]| grid.iter().find(|(other, _)| *other == at).map(|(_, cycles)| *cycles);
    for (at, cycles) in &grid {
        for axis in 0..at.len() {
            let mut lesser = *at;
            let Some(less) = at[axis].checked_sub(1) else { continue };
            lesser[axis] = less;
            let before = of(lesser).unwrap();
            if *cycles as f64 > before as f64 * (1.0 + TOLERANCE) {
                let [lines, sram, dram] = [
                    LINES[at[0]].to_string(),
                    SRAM_KB[at[1]].to_string(),
                    BYTES_PER_CYCLE[at[2]].to_string(),
                ];
                slower.push(format!(
                    "{lines} lines, {sram} KB, {dram} B/cycle: {cycles} cycles, {:.1} % more than {before} with {}",
                    (*cycles as f64 / before as f64 - 1.0) * 100.0,
                    ["fewer lines", "less scratchpad", "less bandwidth"][axis],
                ));
            }
        }
    }
}
