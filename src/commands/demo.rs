//! `vitcod demo`: the example models of the repository, from ONNX to accuracy and cycles.

use std::io::Write;

use anyhow::{Context as _, bail};
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use rayon::prelude::*;
use vitcod_compiler::frontend;
use vitcod_compiler::interp::FloatInterpreter;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::masks::Masks;
use vitcod_isa::machine::Machine;
use vitcod_report::RunOverview;
use vitcod_report::table::{self, grouped, percent};
use vitcod_runtime::{EmulatorDevice, Model, Report, npy};

use crate::check::{self, Agreement};
use crate::import::{self, ImportArgs};
use crate::machines::MachineArg;
use crate::pipeline::{Options, Session};
use crate::progress::Progress;

/// Compile and run the example models
///
/// Compiles a small vision transformer that reads handwritten digits, dense and with 90 % of its
/// attention pruned and auto-encoders for queries and keys, and runs both on 500 test images.
/// Prints accuracy in float and on the emulated machine, and the cost of one image. Models and
/// images are built into the command.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    machine: MachineArg,
}

const DENSE: Example = Example {
    name: "digits",
    onnx: include_bytes!("../../examples/digits/digits.onnx"),
    masks: None,
};
const SPARSE: Example = Example {
    name: "digits_sparse90_ae",
    onnx: include_bytes!("../../examples/digits/digits_sparse90_ae.onnx"),
    masks: Some(include_bytes!("../../examples/digits/masks90.npy")),
};
const CALIBRATION: &[u8] = include_bytes!("../../examples/digits/calibration.npy");
const IMAGES: &[u8] = include_bytes!("../../examples/digits/test_images.npy");
const LABELS: &[u8] = include_bytes!("../../examples/digits/test_labels.npy");

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let data = Data {
        samples: npy::decode(CALIBRATION)?,
        images: npy::decode(IMAGES)?,
        labels: npy::decode(LABELS)?.iter().map(|label| *label as usize).collect(),
    };
    let progress = Progress::new();
    let dense = DENSE.run(&data, &machine, &progress)?;
    let sparse = SPARSE.run(&data, &machine, &progress)?;
    drop(progress);
    compare(&dense, &sparse, out)?;
    write!(
        out,
        "An image on the sparse model; `vitcod run` shows every layer:\n\n{}",
        RunOverview(&sparse.report)
    )?;
    Ok(())
}

/// Calibration samples, test images and their labels.
struct Data {
    samples: ArrayD<f32>,
    images: ArrayD<f32>,
    labels: Vec<usize>,
}

/// An example model.
struct Example {
    name: &'static str,
    onnx: &'static [u8],
    masks: Option<&'static [u8]>,
}

/// The results of an example.
struct Outcome {
    /// Images whose digit the float model recognised.
    float: usize,
    /// Images whose digit the program recognised.
    emulated: usize,
    /// Images with equal predictions.
    equal: usize,
    images: usize,
    agreement: Agreement,
    report: Report,
}

impl Example {
    fn run(&self, data: &Data, machine: &Machine, progress: &Progress) -> anyhow::Result<Outcome> {
        progress.step("reading the model");
        let graph = self.graph()?;
        let samples = Some(std::slice::from_ref(&data.samples));
        let session = Session { samples, machine, options: Options::default(), progress };
        let model = Model::new(session.compile(graph.clone())?)?;

        progress.step("running the model in float");
        let float = float_predictions(&graph, &data.images)?;
        progress.step("running the program");
        let mut session = model.open(&EmulatorDevice)?;
        let [input] = model.inputs() else { bail!("the example model has one input") };
        let inputs = [(input.name.as_str(), data.images.view())];
        let outputs = session.run(&inputs)?;
        let emulated = predictions(&outputs[0].to_f32());
        progress.step("running the reference interpreter");
        let agreement = check::compare(model.program(), &inputs, &outputs)?;
        Ok(Outcome {
            float: same(&float, &data.labels),
            emulated: same(&emulated, &data.labels),
            equal: same(&float, &emulated),
            images: data.labels.len(),
            agreement,
            report: session.report(),
        })
    }

    fn graph(&self) -> anyhow::Result<Graph> {
        let file = tempfile::Builder::new().suffix(".onnx").tempfile()?;
        file.as_file().write_all(self.onnx)?;
        let masks = self.masks.map(|masks| Masks::from_npy(masks, None)).transpose()?;
        let options = frontend::Options { masks: masks.as_ref(), ..frontend::Options::default() };
        let mut graph = import::import(file.path(), &ImportArgs::default(), options)?.graph;
        graph.name = self.name.to_owned();
        Ok(graph)
    }
}

/// The two models side by side.
fn compare(dense: &Outcome, sparse: &Outcome, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut models = table::plain(&["", "dense", "90 % sparse", "dense / sparse"]);
    let mut share = |name: &str, count: fn(&Outcome) -> usize| {
        let text = |outcome: &Outcome| {
            let (count, images) = (count(outcome), outcome.images);
            format!("{count} of {images} ({})", percent(count as f64 / images as f64))
        };
        models.add_row([name.to_owned(), text(dense), text(sparse)]);
    };
    share("accuracy, float", |outcome| outcome.float);
    share("accuracy, emulated", |outcome| outcome.emulated);
    share("equal predictions", |outcome| outcome.equal);
    let mut cost = |name: &str, cost: fn(&Report) -> u64| {
        let (dense, sparse) = (cost(&dense.report), cost(&sparse.report));
        let ratio = format!("{:.2}", dense as f64 / sparse.max(1) as f64);
        models.add_row([name.to_owned(), grouped(dense), grouped(sparse), ratio]);
    };
    cost("cycles per image", |report| report.cycles.total);
    cost("  in attention", |report| report.cycles.attention);
    cost("multiplications needed", |report| report.macs.needed);
    cost("  in attention", |report| {
        report.layers.iter().filter(|layer| layer.attention).map(|layer| layer.macs_needed).sum()
    });
    cost("DRAM bytes", |report| report.dram.read_bytes + report.dram.write_bytes);
    cost("scratchpad bytes used", |report| report.sram.touched_bytes);
    writeln!(out, "{}\n", models.trim_fmt())?;
    for (name, outcome) in [("dense ", dense), ("sparse", sparse)] {
        writeln!(out, " {name}  {}", outcome.agreement)?;
    }
    writeln!(out)?;
    Ok(())
}

/// The float model's prediction for each image.
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
        scores
            .fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best })
            .0
    };
    scores.axis_iter(Axis(0)).map(best).collect()
}

/// The number of positions at which two lists are equal.
fn same(a: &[usize], b: &[usize]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}
