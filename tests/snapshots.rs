//! What the compiler makes of a small exported model, stage by stage: snapshots to be read and compared.

use std::path::Path;

use ndarray::ArrayD;
use vitcod_compiler::codegen;
use vitcod_compiler::frontend;
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::quantise::{self, Calibration};
use vitcod_isa::machine::Machine;

fn canonical() -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/vit.legacy.unfused.op17.onnx");
    frontend::import_file(&path, &ImportOptions::default()).unwrap()
}

/// The model, with its own input as calibration.
fn quantised() -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/vit.legacy.unfused.op17.in.npy");
    let input: ArrayD<f32> = ndarray_npy::read_npy(path).unwrap();
    let graph = canonical();
    let calibration = Calibration::run(&graph, &[input.view()]).unwrap();
    quantise::quantise(&graph, &calibration).unwrap()
}

#[test]
fn canonical_graph() {
    insta::assert_snapshot!(canonical());
}

#[test]
fn quantised_graph() {
    insta::assert_snapshot!(quantised());
}

#[test]
fn listing() {
    let program =
        codegen::compile(&quantised(), &Machine::preset("vitcod").unwrap(), codegen::Options::default()).unwrap();
    insta::assert_snapshot!(program.listing().with_constants_in("vit.vitcod"));
}
