//! `vitcod run`: a program on the emulated machine.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use ndarray::{ArrayD, ArrayViewD};
use vitcod_report::RunText;
use vitcod_runtime::{BeyondRange, EmulatorDevice, Integers, Model, Output};

use crate::check::{self, Agreement};
use crate::files::{self, Outputs};
use crate::npy;
use crate::reporting::ReportArgs;
use crate::{tensor_args, warning};

/// Run a program on the emulated machine
///
/// Prints a report of cycles, stalls and traffic, in total and per layer. An input whose first axis
/// is a multiple of the model's runs item by item, and the outputs are stacked; the report is for
/// one item. Files are written only if the whole run succeeds.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "P.vitcod")]
    program: PathBuf,

    /// An input tensor; omit NAME if the model has one input
    #[arg(long, value_name = "[NAME=]X.npy", required_unless_present = "timing_only")]
    input: Vec<String>,

    /// Output file of an output tensor; omit NAME if the model has one output
    #[arg(long, value_name = "[NAME=]Y.npy")]
    output: Vec<String>,

    /// Write the machine's integers (int8 or int16) instead of float32
    #[arg(long, requires = "output")]
    raw: bool,

    /// Compare every output with the quantised reference interpreter bit for bit; a difference is
    /// an error
    #[arg(long)]
    check: bool,

    /// Simulate timing only, without data
    #[arg(long, conflicts_with_all = ["input", "output", "raw", "check"])]
    timing_only: bool,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let program = files::read_program(&args.program)?;
    let model = Model::new(program)
        .with_context(|| format!("{} fails its checks", args.program.display()))?;
    let mut files = Outputs::default();
    files.keep(&args.program);
    let (agreement, beyond) =
        if args.timing_only { (None, Vec::new()) } else { execute(args, &model, &mut files)? };
    let report = args.report.stage(&model, &beyond, &mut files)?;
    files.commit()?;
    beyond.iter().for_each(|beyond| warning::warn(&beyond.to_string()));
    write!(out, "{}", RunText(&report))?;
    if let Some(agreement) = agreement {
        writeln!(out, "check: {agreement}")?;
    }
    Ok(())
}

/// Runs the inputs, compares the outputs if requested, and stages them.
fn execute(
    args: &Args,
    model: &Model,
    files: &mut Outputs,
) -> anyhow::Result<(Option<Agreement>, Vec<BeyondRange>)> {
    let inputs = tensor_args::bind("input", &args.input, model.inputs())?;
    let paths = tensor_args::bind("output", &args.output, model.outputs())?;
    inputs.iter().for_each(|(_, path)| files.keep(path));
    let arrays: Vec<ArrayD<f32>> =
        inputs.iter().map(|(_, path)| npy::read(path)).collect::<anyhow::Result<_>>()?;
    let inputs: Vec<(&str, ArrayViewD<'_, f32>)> = inputs
        .iter()
        .zip(&arrays)
        .map(|((binding, _), array)| (binding.name.as_str(), array.view()))
        .collect();

    let mut session = model.open(&EmulatorDevice)?;
    let outputs = session.run(&inputs)?;
    let agreement =
        args.check.then(|| check::compare(model.program(), &inputs, &outputs)).transpose()?;
    for (binding, path) in paths {
        let output = outputs.iter().find(|output| output.name == binding.name);
        let output = output.context("a run gives all outputs")?;
        files.stage(&path, |file| write_output(output, args.raw, file))?;
    }
    Ok((agreement, session.beyond_range().to_vec()))
}

fn write_output(output: &Output, raw: bool, file: &mut dyn Write) -> anyhow::Result<()> {
    let written = match &output.values {
        Integers::I8(values) if raw => npy::write(values, file),
        Integers::I16(values) if raw => npy::write(values, file),
        Integers::I8(_) | Integers::I16(_) => npy::write(&output.to_f32(), file),
    };
    Ok(written?)
}
