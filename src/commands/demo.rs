//! `vitcod demo`: the example model of the repository, from ONNX to accuracy and cycles.

use std::io::Write;

use anyhow::{Context as _, bail};
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use rayon::prelude::*;
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::ir::Graph;
use vitcod_runtime::{EmulatorDevice, Model};

use crate::check;
use crate::machines::MachineArg;
use crate::npy;
use crate::pipeline::{self, Dims};
use crate::progress::Progress;

/// Compile and run the example model
///
/// A small vision transformer that reads handwritten digits is compiled and runs on its 500 test images. Prints its accuracy in
/// float and on the emulated machine, and what an image costs. Everything it needs is part of this command.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    machine: MachineArg,
}

const MODEL: &[u8] = include_bytes!("../../examples/digits/digits.onnx");
const CALIBRATION: &[u8] = include_bytes!("../../examples/digits/calibration.npy");
const IMAGES: &[u8] = include_bytes!("../../examples/digits/test_images.npy");
const LABELS: &[u8] = include_bytes!("../../examples/digits/test_labels.npy");

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let (samples, images, labels) = (npy::decode(CALIBRATION)?, npy::decode(IMAGES)?, npy::decode(LABELS)?);

    let progress = Progress::new();
    progress.step("reading the model");
    let file = tempfile::Builder::new().suffix(".onnx").tempfile()?;
    file.as_file().write_all(MODEL)?;
    let mut graph = pipeline::import(file.path(), &Dims::default())?;
    graph.name = "digits".to_owned();
    let model = Model::new(
        pipeline::compile(&graph, Some(&samples), &machine, pipeline::Options::default(), &progress)?.program,
    )?;

    progress.step("running the model in float");
    let float = float_predictions(&graph, &images)?;
    progress.step("running the program");
    let mut session = model.open(&EmulatorDevice)?;
    let [input] = model.inputs() else { bail!("the example model has one input") };
    let inputs = [(input.name.as_str(), images.view())];
    let outputs = session.run(&inputs)?;
    let emulated = predictions(&outputs[0].to_f32());
    progress.step("running the reference interpreter");
    let agreement = check::compare(model.program(), &inputs, &outputs)?;
    drop(progress);

    let labels: Vec<usize> = labels.iter().map(|label| *label as usize).collect();
    let share = |name: &str, a: &[usize], b: &[usize], out: &mut dyn Write| {
        let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
        let percent = 100.0 * equal as f64 / a.len() as f64;
        writeln!(out, " {name:<20}{equal} of {} ({percent:.1} %)", a.len())
    };
    share("accuracy, float", &float, &labels, out)?;
    share("accuracy, emulated", &emulated, &labels, out)?;
    share("equal predictions", &emulated, &float, out)?;
    writeln!(out, " bit for bit         {agreement}\n")?;
    write!(out, "One image:\n\n{}", session.report())?;
    Ok(())
}

/// What the float model predicts for each image.
fn float_predictions(graph: &Graph, images: &ArrayD<f32>) -> anyhow::Result<Vec<usize>> {
    let interpreter = FloatInterpreter::new(graph)?;
    let predictions = (0..images.len_of(Axis(0))).into_par_iter().map(|image| {
        let image = images.slice_axis(Axis(0), Slice::from(image..image + 1));
        let outputs = interpreter.run(&[image])?;
        Ok(predictions(outputs.first().context("the example model has an output")?)[0])
    });
    predictions.collect()
}

/// The first class with the highest score, for each row of scores.
fn predictions(scores: &ArrayD<f32>) -> Vec<usize> {
    let best = |row: ArrayViewD<'_, f32>| {
        let scores = row.iter().enumerate();
        scores.fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best }).0
    };
    scores.axis_iter(Axis(0)).map(best).collect()
}
