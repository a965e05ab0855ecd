use std::fmt::Write as _;

use vitcod_isa::instr::Width;
use vitcod_isa::machine::Machine;

use super::*;
use crate::codegen::group::Group;
use crate::codegen::group::form::form;
use crate::codegen::group::fuse::with_mlps;
use crate::codegen::group::tests::parsed;
use crate::codegen::lower::linear::form::Form;
use crate::codegen::residence::storage::Residence;
use crate::codegen::strategy::TileGrain;

/// A layer of `m` rows and `n` channels over a depth of `k` that stores its result.
fn extents([m, n, k]: [usize; 3], on_chip: bool) -> Extents {
    Extents {
        m,
        n,
        k,
        spread: Machine::preset("vitcod").unwrap().spread(),
        out: Width::I8,
        operand: Form { columns: k, windows: None, on_chip },
        product_is_scratch: false,
        stored: true,
        addend_loaded: false,
        narrow_stored_apart: false,
        narrow_stored: false,
        table_bytes: 0,
        vector_passes: 0,
    }
}

/// What is chosen on `vitcod` for given bytes: the best tiling of each kind, and the buffers of the
/// best of them.
fn chosen(extents: &Extents, available: &[u64]) -> String {
    let graph = Graph::new("empty", crate::ir::Stage::Quantised);
    let machine = Machine::preset("vitcod").unwrap();
    let residence = Residence::plan(&graph, &[], 0);
    let planner = Planner::new(&graph, &machine, &residence, TileGrain::Coarse, 0);
    let mut text = String::new();
    for available in available {
        let mut memo = Memo::new();
        let considered = tiling::of_each_kind(&planner, &mut memo, extents, *available);
        writeln!(text, "{available} bytes:").unwrap();
        for Costed { tiling, estimate } in considered {
            let (cycles, bytes) = (estimate.cycles, estimate.dram_bytes);
            writeln!(text, "  {}: {cycles} cycles, {bytes} bytes", extents.describe(*tiling))
                .unwrap();
        }
        match tiling::best(considered) {
            Some(best) => writeln!(text, "  buffers {}", extents.buffers(best.tiling)).unwrap(),
            None => writeln!(text, "  nothing fits").unwrap(),
        }
    }
    text
}

#[test]
fn weights_are_stationary_where_they_fit_and_the_depth_is_divided_where_they_do_not() {
    let deit = extents([197, 192, 768], false);
    insta::assert_snapshot!(chosen(&deit, &[320 << 10, 128 << 10, 32 << 10, 4 << 10, 64]));
}

#[test]
fn resident_activations_take_no_buffer() {
    let deit = extents([197, 768, 192], true);
    insta::assert_snapshot!(chosen(&deit, &[256 << 10, 16 << 10]));
}

#[test]
fn the_smallest_tiling_takes_no_more_than_any_other() {
    let extents = extents([197, 192, 768], false);
    let smallest = extents.buffers(tiling::smallest(&extents)).bytes();
    assert!(chosen(&extents, &[smallest - 1]).contains("nothing fits"));
    assert!(!chosen(&extents, &[smallest]).contains("nothing fits"));
}

/// A LayerNorm and the MLP of a DeiT-Tiny.
const MLP: &str = r#"
graph "mlp" quantised {
    v0 = input "x" : i16[197,192]*0.001
    v1 = const "norm" : byte[1552] = seed 1
    v2 = qlayer_norm(v0, v1) : i8[197,192]*0.02 @ n0
    v3 = const "w1" : i8[768,192] = seed 2
    v4 = const "b1" : channel[768] = seed 3
    v5 = qlinear(v2, v3, v4) : i8[197,768]*0.02 @ n1
    v6 = const "gelu" : byte[256] = seed 4
    v7 = lut(v5, v6) : i8[197,768]*0.02 @ n2
    v8 = const "w2" : i8[192,768] = seed 5
    v9 = const "b2" : channel[192] = seed 6
    v10 = qlinear(v7, v8, v9) : i16[197,192]*0.001 @ n3
    output "y" [197,192] = v10
    n0 = node "norm"
    n1 = node "fc1"
    n2 = node "gelu"
    n3 = node "fc2"
}
"#;

/// The decisions about the MLP with a scratchpad of some bytes, of which residence may take some.
fn mlp(sram: u32, budget: u64) -> String {
    let graph = parsed(MLP);
    let mut machine = Machine::preset("vitcod-ideal").unwrap();
    machine.sram.bytes = sram;
    let groups = with_mlps(&form(&graph).unwrap(), &graph).unwrap();
    let residence = Residence::plan(&graph, &groups, budget);
    let mut planner = Planner::new(&graph, &machine, &residence, TileGrain::Coarse, 0);
    let index = groups.iter().position(|group| matches!(group, Group::Mlp(_))).unwrap();
    planner.enter(index);
    let plan =
        mlp::choose(&planner, &mut mlp::Memo::default(), groups[index].mlp().unwrap()).unwrap();
    let mut text = format!("{sram} bytes, {budget} for residence:\n");
    for decision in plan.decisions(&graph) {
        writeln!(text, "  {} {}: {}", decision.layer, decision.subject, decision.chosen).unwrap();
        for other in &decision.alternatives {
            let (name, cycles, bytes) = (&other.name, other.cycles, other.dram_bytes);
            writeln!(text, "    {name}: {cycles} cycles, {bytes} bytes").unwrap();
        }
    }
    text
}

#[test]
fn layers_are_interleaved_where_hidden_activations_are_spilled_and_loaded_repeatedly() {
    // The norm takes 37824 bytes, the hidden activations 151296: with this budget they are spilled.
    let spilled = 48 << 10;
    let interleaved = mlp(128 << 10, spilled);
    assert!(interleaved.contains("in slices of"), "{interleaved}");
    // Resident hidden activations, and ones that are loaded only once, gain nothing.
    let unfused = [mlp(320 << 10, 320 << 10), mlp(256 << 10, spilled)].concat();
    assert!(!unfused.contains("in slices of"), "{unfused}");
    insta::assert_snapshot!([interleaved, unfused].concat());
}
