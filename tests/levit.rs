//! LeViT from file to bits: convolutions with padding on maps, attention with biases, subsampling,
//! a mean over tokens.

#[allow(dead_code, reason = "each test takes a part of it")]
mod common;

use std::path::Path;

use common::assert_bit_equal;
use ndarray::ArrayD;
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::{Graph, OpKind, Stage};
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context};
use vitcod_isa::machine::{Machine, PRESETS};

/// A small export, with its own input as calibration.
fn quantised(model: &str, masks: Option<&Masks>) -> Graph {
    let file = |suffix: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/models")
            .join(format!("levit.{model}.{suffix}"))
    };
    let imported =
        import::import(&onnx::load(&file("onnx")).unwrap(), &ImportOptions::default()).unwrap();
    let samples: [ArrayD<f32>; 1] = [ndarray_npy::read_npy(file("in.npy")).unwrap()];
    let context = Context { masks, samples: Some(&samples), ..Context::default() };
    let names = passes::pipeline(Stage::Imported, Stage::Quantised, &context);
    passes::run_on_graph(&imported, &names, &context).unwrap()
}

fn machine(lines: u32, macs: u32, sram: u32) -> Machine {
    let mut machine = Machine::preset("vitcod").unwrap();
    (machine.lines.count, machine.lines.macs, machine.sram.bytes) = (lines, macs, sram);
    machine
}

#[test]
fn on_presets_and_small_and_odd_machines() {
    let graph = quantised("legacy.unfused.op17", None);
    let presets = PRESETS.iter().map(|(name, _)| Machine::preset(name).unwrap());
    let others = [machine(1, 1, 32 << 10), machine(5, 3, 12 << 10), machine(64, 8, 4 << 10)];
    for machine in presets.chain(others) {
        let report = assert_bit_equal(&graph, &machine).unwrap_or_else(|error| panic!("{error}"));
        assert!(report.sram.peak_bytes <= u64::from(machine.sram.bytes));
    }
}

#[test]
fn from_another_exporter() {
    for model in ["dynamo.unfused.op20", "legacy.unfused.op17.sim"] {
        assert_bit_equal(&quantised(model, None), &Machine::preset("vitcod").unwrap()).unwrap();
    }
}

/// Masks and biases meet in one instruction.
#[test]
fn pruned() {
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
    for machine in [Machine::preset("vitcod").unwrap(), machine(3, 8, 6 << 10)] {
        assert_bit_equal(&graph, &machine).unwrap();
    }
}
