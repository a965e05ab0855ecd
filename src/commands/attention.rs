//! `vitcod attention`: the attention core of each layer.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use ndarray::ArrayViewD;
use vitcod_compiler::calibration;
use vitcod_compiler::codegen;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::synthetic::{self, AttentionCore};
use vitcod_report::RunText;
use vitcod_report::table::{self, grouped};
use vitcod_runtime::{EmulatorDevice, Model, Report};

use crate::check::{self, Agreement};
use crate::files::Outputs;
use crate::machines::MachineArg;
use crate::paper_results::{SIMULATIONS, Simulation, is_simulated};
use crate::progress::Progress;
use crate::reporting::ReportArgs;
use crate::sparsity_args::{GlobalTokensArg, PolarityArg};

/// Compile and run only the attention core of each layer
///
/// Loads queries, keys and values from DRAM, computes attention and stores the results to DRAM: the
/// workload of the authors' simulator. Inputs are random. Prints the report of `run`, and for the
/// authors' DeiT-Tiny mask with --head-dim 64 --compressed-heads 2 a comparison with their
/// simulator.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Attention mask, [layers, heads, queries, keys], bool or 0 and 1, in the format of `vitcod
    /// prune` and of the authors: only kept entries are computed
    #[arg(long, value_name = "M.npy")]
    masks: PathBuf,

    #[command(flatten)]
    polarity: PolarityArg,

    /// Features per head
    #[arg(long, value_name = "D")]
    head_dim: usize,

    /// Compressed heads of queries and keys in DRAM, decoded to the heads of the masks [default: no
    /// auto-encoder]
    #[arg(long, value_name = "E")]
    compressed_heads: Option<usize>,

    #[command(flatten)]
    globals: GlobalTokensArg,

    #[command(flatten)]
    machine: MachineArg,

    /// Output file of the program
    #[arg(short, long, value_name = "P.vitcod")]
    output: Option<PathBuf>,

    /// Compare every output with the quantised reference interpreter bit for bit; a difference is
    /// an error
    #[arg(long)]
    check: bool,

    /// Seed of the inputs and of the decoders' weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Simulate timing only, without data
    #[arg(long, conflicts_with = "check")]
    timing_only: bool,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let masks = args.polarity.read(&args.masks)?;
    let &Args { head_dim, compressed_heads, seed, .. } = args;
    let core =
        AttentionCore { head_dim, compressed_heads, minifloat: machine.softmax.minifloat, seed };
    let graph = synthetic::attention_core(&masks, core)
        .with_context(|| args.masks.display().to_string())?;

    let progress = Progress::new();
    progress.step("generating code");
    let options = codegen::Options { globals: args.globals.theta_d, ..codegen::Options::default() };
    let program = codegen::compile(&graph, &machine, options)
        .with_context(|| args.masks.display().to_string())?;
    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    files.keep(&args.masks);
    if let Some(path) = &args.output {
        let bytes = program.to_bytes()?;
        files.stage(path, |file| Ok(file.write_all(&bytes)?))?;
    }
    let model = Model::new(program).context("the program fails its checks")?;
    progress.step("running the program");
    let agreement = if args.timing_only { None } else { execute(&graph, &model, args)? };
    let report = args.report.stage(&model, &[], None, &mut files)?;
    drop(progress);

    files.commit()?;
    write!(out, "{}", RunText(&report))?;
    if is_simulated(&masks, &core) {
        compare(&report, machine.macs_per_cycle(), out)?;
    }
    if let Some(agreement) = agreement {
        writeln!(out, "check: {agreement}")?;
    }
    Ok(())
}

/// Runs random inputs, and compares the outputs if requested.
fn execute(graph: &Graph, model: &Model, args: &Args) -> anyhow::Result<Option<Agreement>> {
    // The decoders use the seed itself.
    let arrays = calibration::seeded_noise(graph, 1, args.seed.wrapping_add(1));
    let inputs: Vec<(&str, ArrayViewD<'_, f32>)> = graph
        .inputs
        .iter()
        .zip(&arrays)
        .map(|(input, array)| (input.name.as_str(), array.view()))
        .collect();
    let outputs = model.open(&EmulatorDevice)?.run(&inputs)?;
    args.check.then(|| check::compare(model.program(), &inputs, &outputs)).transpose()
}

/// The run beside the authors' simulator; a factor only where both have as many MACs.
fn compare(report: &Report, macs: u64, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut rows = table::plain(&["compared with", "MACs", "cycles", "factor"]);
    let mut row = |name: &str, macs: u64, cycles: u64, factor: Option<f64>| {
        let factor = factor.map_or_else(String::new, |factor| format!("{factor:.2}"));
        rows.add_row([name.to_owned(), grouped(macs), grouped(cycles), factor]);
    };
    let cycles = report.cycles.total;
    row("this run", macs, cycles, None);
    for simulation in SIMULATIONS {
        let Simulation { version, macs: theirs, cycles: their_cycles } = simulation;
        let factor = (macs == theirs).then(|| their_cycles as f64 / cycles as f64);
        row(&format!("the authors' simulator ({version})"), theirs, their_cycles, factor);
    }
    writeln!(out, "{}\n", rows.trim_fmt())?;
    writeln!(
        out,
        " The factor is how many times as long the simulator takes on as many MACs. It takes head 0 for every head and"
    )?;
    writeln!(out, " charges no softmax, no indices and no outputs.\n")?;
    Ok(())
}
