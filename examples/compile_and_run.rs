//! From an ONNX file to the output tensor and the cycles of the machine.
//!
//! ```sh
//! cargo run --release --example compile_and_run
//! ```

use std::path::Path;

use anyhow::Context as _;
use ndarray::{ArrayD, Axis, Slice};
use vitcod_compiler::calibration::Calibration;
use vitcod_compiler::codegen;
use vitcod_compiler::frontend::import_file;
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::quantise::quantise;
use vitcod_isa::machine::Machine;
use vitcod_runtime::{EmulatorDevice, Model};

fn main() -> anyhow::Result<()> {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    let samples: ArrayD<f32> = ndarray_npy::read_npy(digits.join("calibration.npy"))?;
    let images: ArrayD<f32> = ndarray_npy::read_npy(digits.join("test_images.npy"))?;
    let labels: ArrayD<i64> = ndarray_npy::read_npy(digits.join("test_labels.npy"))?;

    // Compile: import, quantise with the ranges of the samples, generate code.
    let graph = import_file(&digits.join("digits.onnx"), &ImportOptions::default())?;
    let quantised = quantise(&graph, &Calibration::run(&graph, &[samples.view()])?)?;
    let machine = Machine::preset("vitcod").context("a preset")?;
    let program = codegen::compile(&quantised, &machine, codegen::Options::default())?;
    let bytes = program.to_bytes()?; // what `vitcod compile` writes
    println!("{} instructions, {} bytes", program.code.len(), bytes.len());

    // Run: the items of a batch run one after the other.
    let model = Model::from_bytes(bytes)?;
    let mut session = model.open(&EmulatorDevice)?;
    let batch = images.slice_axis(Axis(0), Slice::from(..8));
    let outputs = session.run(&[(&model.inputs()[0].name, batch)])?;
    for (logits, label) in outputs[0].to_f32().outer_iter().zip(&labels) {
        let (digit, _) = logits
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .context("a model has outputs")?;
        println!("label {label}, recognised as {digit}");
    }

    // Report: the cost of one item.
    let report = session.report();
    println!("{} cycles, {:.3} ms", report.cycles.total, report.time_ms);
    println!("{:.1} % of the MACs' cycles used", 100.0 * report.macs.utilisation);
    for layer in report.layers.iter().filter(|layer| layer.attention) {
        println!("{:>6} cycles in {} ({})", layer.cycles, layer.name, layer.operation);
    }
    Ok(())
}
