//! `vitcod accuracy`: the error of quantisation, layer by layer.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use ndarray::{ArrayD, ArrayViewD};
use serde::Serialize;
use vitcod_compiler::calibration::Inputs;
use vitcod_compiler::frontend::{self, Imported};
use vitcod_compiler::quantise::accuracy::{self, Accuracy, Layer, Output};
use vitcod_report::table::{self, percent};

use crate::calibration::{self, CalibrationArgs};
use crate::files::Outputs;
use crate::import::{self, ImportArgs};
use crate::machines::MachineArg;
use crate::pipeline::{Options, Prepared, Session};
use crate::progress::Progress;
use crate::sparsity_args::{AutoencoderArg, MaskArgs};
use crate::{npy, tensor_args, warning};

/// Compare float and quantised execution of an ONNX model, layer by layer
///
/// Prints the signal-to-quantisation-noise ratio (SQNR) of each tensor that the machine computes:
/// alone (on float operands) and accumulated (with all earlier errors). Sorted worst first: by the
/// effect on the outputs with --impact, otherwise by SQNR alone. If a layer saturates, its range is
/// too small; if its SQNR is low without saturation, outliers leave too few steps for the other
/// values. Of a model of which the host computes parts, the outputs of the machine are compared.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is read from its folder
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,

    /// Inputs to compare on, stacked along the first axis; omit NAME if the model has one input
    #[arg(long, value_name = "[NAME=]X.npy", required = true)]
    input: Vec<String>,

    /// Class label of each input: also prints the accuracy of float and quantised predictions
    #[arg(long, value_name = "L.npy")]
    labels: Option<PathBuf>,

    #[command(flatten)]
    calibration: CalibrationArgs,

    /// Measure the effect of each layer alone on the outputs; costs about half a float run per
    /// layer and input
    #[arg(long)]
    impact: bool,

    /// Number of layers to print
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,

    /// Write all layers as JSON, in execution order
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    #[command(flatten)]
    machine: MachineArg,

    #[command(flatten)]
    masks: MaskArgs,

    #[command(flatten)]
    autoencoder: AutoencoderArg,

    #[command(flatten)]
    import: ImportArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let labels = args.labels.as_deref().map(npy::read_indices).transpose()?;
    let masks = args.masks.read()?;
    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    let read = [Some(&args.model), args.labels.as_ref(), args.masks.masks.as_ref()];
    read.into_iter().flatten().for_each(|path| files.keep(path));
    args.calibration.files().for_each(|path| files.keep(&path));

    let progress = Progress::new();
    progress.step("reading the model");
    let options = frontend::Options { masks: masks.as_ref(), ..frontend::Options::default() };
    let imported = import::import(&args.model, &args.import, options)?;
    let samples = args.calibration.read(&imported)?;
    let inputs = inputs(args, &imported, &mut files)?;
    let options = Options {
        autoencoder: args.autoencoder.autoencoder,
        quantise: args.calibration.options(),
        ..Options::default()
    };
    let name = || args.model.display().to_string();
    let session =
        Session { samples: samples.machine(), machine: &machine, options, progress: &progress };
    let Prepared { graph, quantised, noise, .. } =
        session.prepare(imported.graph).with_context(name)?;
    progress.step("running in float and in integers");
    let inputs: Vec<ArrayViewD<'_, f32>> = inputs.iter().map(|input| input.view()).collect();
    let options = accuracy::Options { impact: args.impact, labels: labels.as_deref() };
    let accuracy = accuracy::measure(&graph, &quantised, &inputs, options).with_context(name)?;
    drop(progress);

    if let Some(path) = &args.report {
        let report = Report::new(&accuracy, labels.is_some());
        files.stage(path, |file| {
            Ok(writeln!(file, "{}", serde_json::to_string_pretty(&report)?)?)
        })?;
    }
    files.commit()?;
    if noise {
        calibration::warn_of_noise();
    }
    warning::warn_of_decisions(&quantised.warnings);
    print(&accuracy, args.top, labels.is_some(), out)
}

/// The samples of every input of the machine.
fn inputs(
    args: &Args,
    imported: &Imported,
    files: &mut Outputs,
) -> anyhow::Result<Vec<ArrayD<f32>>> {
    let names: Vec<&str> = imported.inputs().into_iter().map(|(name, _)| name).collect();
    let bound = tensor_args::bind("input", &args.input, &names)?;
    bound.iter().for_each(|(_, path)| files.keep(path));
    let samples = names.iter().map(|name| {
        let found = bound.iter().find(|(other, _)| *other == name);
        let (_, path) = found.with_context(|| format!("no --input is given for {name:?}"))?;
        npy::read(path)
    });
    let samples: Vec<ArrayD<f32>> = samples.collect::<anyhow::Result<_>>()?;
    Ok(match &imported.division {
        Some(division) => division.host.before_machine(&imported.graph, &samples)?,
        None => samples,
    })
}

/// The JSON report. A ratio is null if nothing differs, or if a number is NaN.
#[derive(Serialize)]
struct Report<'a> {
    items: usize,
    outputs: Vec<OutputReport<'a>>,
    layers: Vec<LayerReport<'a>>,
}

#[derive(Serialize)]
struct OutputReport<'a> {
    name: &'a str,
    sqnr_db: f64,
    largest_error: f64,
    /// Shares of the items, if the output has the shape of logits.
    equal_predictions: Option<f64>,
    float_accuracy: Option<f64>,
    quantised_accuracy: Option<f64>,
}

#[derive(Serialize)]
struct LayerReport<'a> {
    node: &'a str,
    operation: &'a str,
    element: &'a str,
    step: Option<f64>,
    alone_sqnr_db: f64,
    accumulated_sqnr_db: f64,
    /// SQNR of all outputs together if only this layer is quantised.
    impact_sqnr_db: Option<f64>,
    saturated_elements: u64,
    elements: u64,
}

impl<'a> Report<'a> {
    fn new(accuracy: &'a Accuracy, labelled: bool) -> Report<'a> {
        let share = |count: usize| count as f64 / accuracy.items as f64;
        let outputs = accuracy.outputs.iter().map(|output| OutputReport {
            name: &output.name,
            sqnr_db: output.noise.sqnr_db(),
            largest_error: output.largest_error,
            equal_predictions: output.predictions.map(|predictions| share(predictions.equal)),
            float_accuracy: output.predictions.filter(|_| labelled).map(|x| share(x.float_right)),
            quantised_accuracy: output
                .predictions
                .filter(|_| labelled)
                .map(|x| share(x.integers_right)),
        });
        let layers = accuracy.layers.iter().map(|layer| LayerReport {
            node: &layer.node,
            operation: layer.operation,
            element: layer.ty.elem.name(),
            step: layer.ty.step,
            alone_sqnr_db: layer.local.sqnr_db(),
            accumulated_sqnr_db: layer.accumulated.sqnr_db(),
            impact_sqnr_db: layer.impact.map(|impact| impact.sqnr_db()),
            saturated_elements: layer.saturated,
            elements: layer.elements,
        });
        Report { items: accuracy.items, outputs: outputs.collect(), layers: layers.collect() }
    }
}

fn print(
    accuracy: &Accuracy,
    top: usize,
    labelled: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Accuracy { items, layers, outputs } = accuracy;
    for Output { name, noise, largest_error, predictions } in outputs {
        writeln!(
            out,
            "output {name:?}: {}, largest error {largest_error:.3e}, {items} items",
            decibels(noise.sqnr_db())
        )?;
        if let Some(predictions) = predictions {
            writeln!(out, "  largest element in the same place: {} of {items}", predictions.equal)?;
            if labelled {
                let (float, integers) = (predictions.float_right, predictions.integers_right);
                writeln!(
                    out,
                    "  right: {float} of {items} in float, {integers} of {items} quantised"
                )?;
            }
        }
    }
    let with_impact = layers.iter().any(|layer| layer.impact.is_some());
    let badness = |layer: &Layer| layer.impact.unwrap_or(layer.local).sqnr_db();
    let mut worst: Vec<&Layer> = layers.iter().collect();
    worst.sort_by(|a, b| badness(a).total_cmp(&badness(b)));

    let mut header = vec!["layer", "operation", "type", "alone", "accumulated", "saturated"];
    if with_impact {
        header.insert(3, "impact");
    }
    let mut rows = table::plain(&header);
    [1, 2].into_iter().for_each(|column| table::left(&mut rows, column));
    for layer in worst.iter().take(top) {
        let saturated = match layer.saturated {
            0 => "-".to_owned(),
            count => percent(count as f64 / layer.elements as f64),
        };
        let (alone, accumulated) =
            (decibels(layer.local.sqnr_db()), decibels(layer.accumulated.sqnr_db()));
        let mut row = vec![
            layer.node.clone(),
            layer.operation.to_owned(),
            layer.ty.elem.name().to_owned(),
            alone,
            accumulated,
            saturated,
        ];
        if with_impact {
            row.insert(3, layer.impact.map_or(String::new(), |impact| decibels(impact.sqnr_db())));
        }
        rows.add_row(row);
    }
    writeln!(
        out,
        "\nWorst first, {} of {} layers; signal to quantisation noise\n",
        worst.len().min(top),
        layers.len()
    )?;
    writeln!(out, "{}", rows.trim_fmt())?;
    Ok(())
}

fn decibels(ratio: f64) -> String {
    if ratio == f64::INFINITY { "exact".to_owned() } else { format!("{ratio:.1} dB") }
}
