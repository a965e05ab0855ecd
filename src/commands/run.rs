//! `vitcod run`: a program on the emulated machine.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use ndarray::ArrayD;
use vitcod_report::RunText;
use vitcod_runtime::{BeyondRange, Integers, Model};

use crate::check::{self, Agreement};
use crate::files::{self, Outputs};
use crate::hosted::{self, HostOutput, HostWork, Run};
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
    let executed =
        if args.timing_only { Executed::default() } else { execute(args, &model, &mut files)? };
    let Executed { agreement, beyond, work } = executed;
    let report = args.report.stage(&model, &beyond, work.as_ref(), &mut files)?;
    files.commit()?;
    beyond.iter().for_each(|beyond| warning::warn(&beyond.to_string()));
    write!(out, "{}", RunText(&report))?;
    if let Some(work) = &work {
        writeln!(out, "{work}")?;
    }
    if let Some(agreement) = agreement {
        let of = if work.is_some() { " of the machine" } else { "" };
        writeln!(out, "check{of}: {agreement}")?;
    }
    Ok(())
}

/// What a run showed besides outputs.
#[derive(Default)]
struct Executed {
    agreement: Option<Agreement>,
    beyond: Vec<BeyondRange>,
    work: Option<HostWork>,
}

/// Runs the inputs, compares the outputs if requested, and stages them.
fn execute(args: &Args, model: &Model, files: &mut Outputs) -> anyhow::Result<Executed> {
    let host = hosted::host(model.program())
        .with_context(|| format!("{} fails its checks", args.program.display()))?;
    let (of_inputs, of_outputs) = match &host {
        Some(host) => (names(&host.inputs, |x| &x.name), names(&host.outputs, |x| &x.name)),
        None => (names(model.inputs(), |x| &x.name), names(model.outputs(), |x| &x.name)),
    };
    let inputs = tensor_args::bind("input", &args.input, &of_inputs)?;
    let paths = tensor_args::bind("output", &args.output, &of_outputs)?;
    inputs.iter().for_each(|(_, path)| files.keep(path));
    let inputs: Vec<(&str, ArrayD<f32>)> = inputs
        .into_iter()
        .map(|(name, path)| Ok((*name, npy::read(&path)?)))
        .collect::<anyhow::Result<_>>()?;

    let run = hosted::run(model, host.as_ref(), inputs)?;
    let compare = || check::compare(model.program(), &hosted::views(&run.inputs), &run.outputs);
    let agreement = args.check.then(compare).transpose()?;
    for (name, path) in paths {
        files.stage(&path, |file| write_output(&run, name, args.raw, file))?;
    }
    Ok(Executed { agreement, beyond: run.beyond_range, work: run.work })
}

fn names<T>(tensors: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    tensors.iter().map(|tensor| name(tensor).as_str()).collect()
}

fn write_output(run: &Run<'_>, name: &str, raw: bool, file: &mut dyn Write) -> anyhow::Result<()> {
    let output = run.outputs.iter().find(|output| output.name == name);
    let hosted = run.hosted.iter().find(|output| output.name == name);
    let written = match (output.map(|output| &output.values), hosted) {
        (Some(Integers::I8(values)), _) if raw => npy::write(values, file),
        (Some(Integers::I16(values)), _) if raw => npy::write(values, file),
        (None, _) if raw => {
            bail!("--raw: the host computes output {name:?} in float, so it has no integers")
        }
        (_, Some(HostOutput { array, is_integer: true, .. })) => {
            npy::write(&array.mapv(|x| x as i64), file)
        }
        (_, Some(HostOutput { array, .. })) => npy::write(array, file),
        (_, None) => npy::write(&output.context("a run gives all outputs")?.to_f32(), file),
    };
    Ok(written?)
}
