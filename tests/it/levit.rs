//! LeViT from file to bits: convolutions with padding on maps, attention with biases, subsampling,
//! a mean over tokens.

use ndarray::ArrayD;
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::{Graph, OpKind, Stage};
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context};
use vitcod_isa::machine::{Machine, PRESETS};
use vitcod_testing::equal::assert_bit_equal;
use vitcod_testing::files;
use vitcod_testing::machine::preset;

/// A small export, with its own input as calibration.
fn quantised(model: &str, masks: Option<&Masks>) -> Graph {
    let file = |suffix: &str| files::model(&format!("levit.{model}.{suffix}"));
    let imported =
        import::import(&onnx::load(&file("onnx")).unwrap(), &ImportOptions::default()).unwrap();
    let samples: [ArrayD<f32>; 1] = [ndarray_npy::read_npy(file("in.npy")).unwrap()];
    let context = Context { masks, samples: Some(&samples), ..Context::default() };
    let names = passes::pipeline(Stage::Imported, Stage::Quantised, &context);
    passes::run_on_graph(&imported, &names, &context).unwrap()
}

fn machine(lines: u32, macs: u32, sram: u32) -> Machine {
    let mut machine = preset("vitcod");
    (machine.lines.count, machine.lines.macs, machine.sram.bytes) = (lines, macs, sram);
    machine
}

#[test]
fn levit_is_bit_equal_on_presets_and_on_small_and_odd_machines() {
    let graph = quantised("legacy.unfused.op17", None);
    let presets = PRESETS.iter().map(|(name, _)| preset(name));
    let others = [machine(1, 1, 32 << 10), machine(5, 3, 12 << 10), machine(64, 8, 4 << 10)];
    for machine in presets.chain(others) {
        assert_bit_equal(&graph, &machine).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn levit_from_other_exporters_is_bit_equal() {
    for model in ["dynamo.unfused.op20", "legacy.unfused.op17.sim"] {
        assert_bit_equal(&quantised(model, None), &preset("vitcod")).unwrap();
    }
}

/// Masks and biases meet in one instruction.
#[test]
fn pruned_levit_with_biases_is_bit_equal() {
    // Queries, keys and heads of a layer, of the subsampling and of a layer.
    let layers = [(6, 6, 2), (2, 6, 4), (2, 2, 3)].map(|(queries, keys, heads)| {
        (0..heads)
            .map(|head| Mask::from_fn(queries, keys, |i, j| j == 0 || (i + j + head) % 3 == 0))
            .collect()
    });
    let graph = quantised("legacy.unfused.op17", Some(&Masks::new(layers.to_vec()).unwrap()));
    let both = |op: &_| {
        matches!(graph.op(*op).kind, OpKind::Sddmm { .. }) && graph.op(*op).operands.len() == 4
    };
    assert_eq!(graph.order.iter().filter(|op| both(op)).count(), 3);
    for machine in [preset("vitcod"), machine(3, 8, 6 << 10)] {
        assert_bit_equal(&graph, &machine).unwrap();
    }
}
