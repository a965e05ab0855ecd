//! The example models of `examples/digits`, calibrated on their samples, read handwritten digits in
//! integers as well as in float.

use std::fs;

use ndarray::{ArrayD, ArrayViewD, Axis, Slice, concatenate};
use rayon::prelude::*;
use vitcod_compiler::frontend::{Options as Frontend, import_file, import_model};
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::masks::Masks;
use vitcod_isa::program::Program;
use vitcod_runtime::{EmulatorDevice, Model, Report, npy};
use vitcod_testing::compiled::compiled;
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

/// The program of a model, calibrated on some samples.
fn program(graph: &Graph, samples: ArrayD<f32>) -> Program {
    // On `vitcod` the latencies of so small a model outweigh what its masks save.
    compiled(graph, &preset("vitcod-ideal"), Some(&[samples]), false).unwrap()
}

/// The logits of images in integers and in float, and what the images cost.
fn logits(
    graph: &Graph,
    program: Program,
    images: &ArrayViewD<'_, f32>,
) -> (ArrayD<f32>, ArrayD<f32>, Report) {
    let model = Model::new(program).unwrap();
    let mut session = model.open(&EmulatorDevice).unwrap();
    let outputs = session.run(&[(&graph.inputs[0].name, images.view())]).unwrap();
    let emulated = outputs[0].to_f32();
    let interpreter = FloatInterpreter::new(graph).unwrap();
    let rows = (0..images.len_of(Axis(0))).into_par_iter().map(|image| {
        let image = images.slice_axis(Axis(0), Slice::from(image..image + 1));
        interpreter.run(&[image]).unwrap().remove(0)
    });
    let rows: Vec<ArrayD<f32>> = rows.collect();
    let rows: Vec<_> = rows.iter().map(|row| row.view()).collect();
    (emulated, concatenate(Axis(0), &rows).unwrap(), session.report())
}

/// Runs a model in float and in integers, asserts that both read digits, and says what an image
/// costs.
fn assert_reads_digits(graph: &Graph) -> Report {
    let images = array("test_images.npy");
    let labels: Vec<usize> = array("test_labels.npy").iter().map(|label| *label as usize).collect();
    assert_eq!(labels.len(), IMAGES);
    let program = program(graph, array("calibration.npy"));
    let (emulated, float, report) = logits(graph, program, &images.view());
    let [emulated, float] = [&emulated, &float].map(predictions);

    // Within half a point of its own float, and nearly all predictions equal.
    let [right, right_emulated] = [&float, &emulated].map(|digits| equal(digits, &labels));
    assert!(right >= 490, "{right} of {IMAGES} in float");
    assert!(right_emulated + 2 >= right, "{right_emulated} of {IMAGES}, {right} in float");
    assert!(equal(&float, &emulated) >= 495, "{} are equal", equal(&float, &emulated));
    report
}

/// The dense model, and the sparse model with its masks.
fn models() -> [Graph; 2] {
    let options = ImportOptions::default();
    let masks = Masks::read_npy(file("examples/digits/masks90.npy"), None).unwrap();
    let dense = import_file(&file("examples/digits/digits.onnx"), &options).unwrap();
    let sparse = file("examples/digits/digits_sparse90_ae.onnx");
    [
        dense,
        import_model(&sparse, &options, Frontend { masks: Some(&masks), ..Frontend::default() })
            .unwrap()
            .graph,
    ]
}

#[test]
fn both_models_read_digits_and_the_sparse_one_is_faster() {
    let [dense, sparse] = models().each_ref().map(assert_reads_digits);
    for cost in [
        |report: &Report| report.cycles.total,
        |report: &Report| report.cycles.attention,
        |report: &Report| report.macs.needed,
    ] {
        let (dense, sparse) = (cost(&dense), cost(&sparse));
        assert!(dense * 10 > sparse * 12, "{dense} and {sparse}");
    }
}

/// The ranges of a few images are wide enough for others, also those of the class token, of which
/// each image has one row.
#[test]
fn a_few_images_calibrate_a_model() {
    let images = array("test_images.npy");
    let images = images.slice_axis(Axis(0), Slice::from(..64));
    let samples = array("calibration.npy").slice_axis(Axis(0), Slice::from(..4)).to_owned();
    for graph in models() {
        let program = program(&graph, samples.clone());
        let (emulated, float, _) = logits(&graph, program, &images);
        let energy = |x: &ArrayD<f32>| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let sqnr_db = 10.0 * (energy(&float) / energy(&(&emulated - &float))).log10();
        assert!(sqnr_db >= 28.0, "{sqnr_db} dB");
    }
}
