//! The example models of `examples/digits`, calibrated on their samples, read handwritten digits in
//! integers as well as in float.

use std::fs;

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use rayon::prelude::*;
use vitcod_compiler::autoencoder::{self, Choice};
use vitcod_compiler::calibration::Calibration;
use vitcod_compiler::codegen::{self, Options};
use vitcod_compiler::frontend::{import_file, import_file_with_masks};
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::masks::Masks;
use vitcod_compiler::quantise;
use vitcod_runtime::{EmulatorDevice, Model, Report, npy};
use vitcod_testing::files::file;
use vitcod_testing::machine::preset;

/// Images on which a model is judged.
const IMAGES: usize = 500;

fn array(name: &str) -> ArrayD<f32> {
    npy::decode(&fs::read(file("examples/digits").join(name)).unwrap()).unwrap()
}

/// Digits that a model predicts: in each row of logits the place of the largest.
fn predictions(logits: &ArrayD<f32>) -> Vec<usize> {
    let largest = |row: ArrayViewD<'_, f32>| {
        let order = |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1);
        row.iter().enumerate().max_by(order).unwrap().0
    };
    logits.axis_iter(Axis(0)).map(largest).collect()
}

/// Items of equal value.
fn equal(a: &[usize], b: &[usize]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}

/// Runs a model in float and in integers, asserts that both read digits, and says what an image
/// costs.
fn assert_reads_digits(graph: &Graph) -> Report {
    let machine = preset("vitcod");
    let (graph, _) = autoencoder::place(graph, &machine, Choice::Auto).unwrap();
    let calibration = Calibration::run(&graph, &[array("calibration.npy").view()]).unwrap();
    let quantised = quantise::quantise(&graph, &calibration).unwrap();
    let program = codegen::compile(&quantised, &machine, Options::default()).unwrap();
    let model = Model::new(program).unwrap();

    let images = array("test_images.npy");
    let labels: Vec<usize> = array("test_labels.npy").iter().map(|label| *label as usize).collect();
    assert_eq!(labels.len(), IMAGES);
    let mut session = model.open(&EmulatorDevice).unwrap();
    let outputs = session.run(&[(&graph.inputs[0].name, images.view())]).unwrap();
    let emulated = predictions(&outputs[0].to_f32());
    let interpreter = FloatInterpreter::new(&graph).unwrap();
    let float = (0..IMAGES).into_par_iter().map(|image| {
        let image = images.slice_axis(Axis(0), Slice::from(image..image + 1));
        predictions(&interpreter.run(&[image]).unwrap()[0])[0]
    });
    let float: Vec<usize> = float.collect();

    // Within half a point of its own float, and nearly all predictions equal.
    let [right, right_emulated] = [&float, &emulated].map(|digits| equal(digits, &labels));
    assert!(right >= 490, "{right} of {IMAGES} in float");
    assert!(right_emulated + 2 >= right, "{right_emulated} of {IMAGES}, {right} in float");
    assert!(equal(&float, &emulated) >= 485, "{} are equal", equal(&float, &emulated));
    session.report()
}

#[test]
fn both_models_read_digits_and_the_sparse_one_is_faster() {
    let options = ImportOptions::default();
    let masks = Masks::read_npy(file("examples/digits/masks90.npy"), None).unwrap();
    let dense = import_file(&file("examples/digits/digits.onnx"), &options).unwrap();
    let sparse = file("examples/digits/digits_sparse90_ae.onnx");
    let sparse = import_file_with_masks(&sparse, &options, &masks).unwrap();
    let [dense, sparse] = [&dense, &sparse].map(assert_reads_digits);
    for cost in [
        |report: &Report| report.cycles.total,
        |report: &Report| report.cycles.attention,
        |report: &Report| report.macs.needed,
    ] {
        let (dense, sparse) = (cost(&dense), cost(&sparse));
        assert!(dense * 10 > sparse * 12, "{dense} and {sparse}");
    }
}
