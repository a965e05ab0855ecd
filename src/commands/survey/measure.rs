//! The cost of a model's program, and the error of quantisation at its outputs.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ndarray::{ArrayD, ArrayViewD};
use serde::Serialize;
use vitcod_compiler::calibration;
use vitcod_compiler::frontend;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::quantise::accuracy::{self, Accuracy};
use vitcod_emulator::Emulator;
use vitcod_isa::machine::Machine;
use vitcod_runtime::{EmulatorDevice, Model};

use super::Args;
use super::exported::Exported;
use crate::check::{self, Agreement};
use crate::import;
use crate::pipeline::{Options, Session};
use crate::progress::Progress;

/// Seed of the noise for execution without samples; calibration uses other noise.
const SEED: u64 = 1;

/// The measurements of a model.
#[derive(Serialize)]
pub(super) struct Measured {
    /// Elements of the constants of the canonical graph.
    pub(super) parameters: usize,
    /// Multiplications that the model needs, without padding.
    pub(super) macs_needed: u64,
    pub(super) cycles: u64,
    /// Cycles divided by the larger of the bounds of MACs and DRAM; absent if both are zero.
    pub(super) bound_ratio: Option<f64>,
    /// Bytes read and written.
    pub(super) dram_bytes: u64,
    /// DRAM bytes that no schedule can avoid.
    pub(super) compulsory_dram_bytes: u64,
    /// The outputs in the model's order.
    pub(super) outputs: Vec<OutputNoise>,
    /// The number of output integers that equal the reference interpreter's; absent without
    /// comparison.
    pub(super) equal_integers: Option<usize>,
}

/// The error of quantisation at an output.
#[derive(Serialize)]
pub(super) struct OutputNoise {
    pub(super) name: String,
    /// Null in JSON if nothing differs, or if a number is NaN.
    pub(super) sqnr_db: f64,
}

/// Compiles a model, times its program, and runs the model in float and in integers.
pub(super) fn measure(
    args: &Args,
    path: &Path,
    exported: &Exported,
    machine: &Machine,
    progress: &Progress,
) -> anyhow::Result<Measured> {
    progress.step("reading the model");
    let import = args.import.among(&exported.open_dimensions);
    let imported = import::import(path, &import, frontend::Options::default())?;
    let samples = args.calibration.read(&imported)?;
    let graph = imported.graph;
    let parameters = graph.constant_elements();
    let options = Options { quantise: args.calibration.options(), ..Options::default() };
    let session = Session { samples: samples.machine(), machine, options, progress };
    let prepared = session.prepare(graph.clone())?;
    let program = session.generate(prepared.quantised.graph.clone())?;
    let compulsory_dram_bytes =
        program.header.layers.iter().map(|layer| layer.compulsory_bytes).sum();
    let model = Model::new(program).context("the program fails its checks")?;
    progress.step("timing");
    let report = Emulator::new(Arc::clone(model.program()))?.report();

    progress.step("running in float and in integers");
    let inputs_of = |items| match samples.machine() {
        Some(samples) => Cow::Borrowed(samples),
        None => Cow::Owned(calibration::seeded_noise(&graph, items, SEED)),
    };
    let inputs = inputs_of(calibration::stand_in_items(&graph));
    let inputs: Vec<ArrayViewD<'_, f32>> = inputs.iter().map(|input| input.view()).collect();
    let options = accuracy::Options::default();
    let Accuracy { outputs, .. } =
        accuracy::measure(&prepared.graph, &prepared.quantised, &inputs, options)?;
    let outputs = outputs
        .into_iter()
        .map(|output| OutputNoise { sqnr_db: output.noise.sqnr_db(), name: output.name });
    let agreement = if args.check {
        progress.step("running the program");
        Some(run(&model, &graph, &inputs_of(1))?)
    } else {
        None
    };
    Ok(Measured {
        parameters,
        macs_needed: report.macs.needed,
        cycles: report.cycles.total,
        bound_ratio: report.bound.ratio,
        dram_bytes: report.dram.read_bytes + report.dram.write_bytes,
        compulsory_dram_bytes,
        outputs: outputs.collect(),
        equal_integers: agreement.map(|agreement| agreement.integers),
    })
}

/// Runs a program on the emulated machine and compares its outputs with the reference
/// interpreter's.
fn run(model: &Model, graph: &Graph, inputs: &[ArrayD<f32>]) -> anyhow::Result<Agreement> {
    let named =
        graph.inputs.iter().zip(inputs).map(|(input, array)| (input.name.as_str(), array.view()));
    let inputs: Vec<(&str, ArrayViewD<'_, f32>)> = named.collect();
    let outputs = model.open(&EmulatorDevice)?.run(&inputs)?;
    check::compare(model.program(), &inputs, &outputs)
}
