//! `vitcod ablate`: the cost of each step of the method.

mod measure;
mod organisations;
mod parts;
mod table;
mod work;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use rayon::prelude::*;
use vitcod_compiler::split::{GlobalTokens, Packing};
use vitcod_emulator::{Emulator, Report};
use vitcod_isa::machine::Machine;

use crate::files::Outputs;
use crate::import::ImportArgs;
use crate::machines::MachineArg;
use crate::progress::Progress;
use crate::sparsity_args::PolarityArg;
use measure::Ablation;
use work::Work;

/// Compare dense, pruned, reordered and auto-encoded attention
///
/// Compiles the same workload once for each step of the method: dense; reordered; pruned; pruned
/// and reordered, that is divided between the two engines; and also with the auto-encoder. The
/// workload is a model, or without one the attention core of the masks as in `vitcod attention`.
/// Prints the cost of each step beside the factors in the paper.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is read from its folder [default: the attention core of the masks]
    #[arg(value_name = "MODEL.onnx")]
    model: Option<PathBuf>,

    /// Calibration samples, stacked along the first axis [default: normal noise]
    #[arg(long, value_name = "X.npy", conflicts_with = "head_dim")]
    calibration: Option<PathBuf>,

    /// Attention mask, [layers, heads, queries, keys], bool or 0 and 1, in the format of `vitcod
    /// prune` and of the authors: only kept entries are computed
    #[arg(long, value_name = "M.npy")]
    masks: PathBuf,

    #[command(flatten)]
    polarity: PolarityArg,

    /// Features per head of the attention core
    #[arg(long, value_name = "D", required_unless_present = "model", conflicts_with = "model")]
    head_dim: Option<usize>,

    /// Compressed heads of queries and keys in the last step; omit it for a model with
    /// auto-encoders [default: no such step]
    #[arg(long, value_name = "E")]
    compressed_heads: Option<usize>,

    #[command(flatten)]
    machine: MachineArg,

    /// Also add each part of the method to none of the others, and to all others: pruning,
    /// polarising, ordered lists, shared rows, the auto-encoder
    #[arg(long)]
    parts: bool,

    /// Also state what polarising and packing are worth on machines with so many irregular row
    /// ports, all else equal; with --banks for every combination
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    row_ports: Vec<u32>,

    /// The same for so many banks, which share the bytes of the scratchpad
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    banks: Vec<u32>,

    /// Write the table as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    #[command(flatten)]
    import: ImportArgs,
}

/// What a program uses of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Configuration {
    pruned: bool,
    globals: GlobalTokens,
    packing: Packing,
    autoencoder: bool,
}

/// A step of the ablation.
#[derive(Clone, Copy, Debug)]
struct Step {
    name: &'static str,
    configuration: Configuration,
}

impl Step {
    const fn new(
        name: &'static str,
        pruned: bool,
        globals: GlobalTokens,
        autoencoder: bool,
    ) -> Step {
        let packing = Packing { ordered: true, shared: true };
        Step { name, configuration: Configuration { pruned, globals, packing, autoencoder } }
    }
}

const STEPS: [Step; 5] = [
    Step::new("dense", false, GlobalTokens::Auto, false),
    // Every key is a global token.
    Step::new("reordered", false, GlobalTokens::Above(0), false),
    // No key is a global token: all kept entries belong to the sparser engine.
    Step::new("pruned", true, GlobalTokens::NONE, false),
    Step::new("pruned, reordered", true, GlobalTokens::Auto, false),
    Step::new("pruned, reordered, auto-encoder", true, GlobalTokens::Auto, true),
];

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let work = Work::of(args)?;
    let steps = &STEPS[..if work.has_autoencoder() { STEPS.len() } else { STEPS.len() - 1 }];
    let progress = Progress::new();
    let compiled: Vec<Compiled<'_>> = steps
        .iter()
        .map(|step| Compiled {
            name: format!("step {:?}", step.name),
            configuration: step.configuration,
            machine: &machine,
        })
        .collect();
    progress.step("compiling every step");
    let reports = reports(&work, &compiled, &progress)?;
    let named = steps.iter().map(|step| step.name).zip(reports).collect::<Vec<_>>();
    let mut ablation = Ablation::new(work.name(), &machine, work.masks(), &named);
    if args.parts {
        progress.step("compiling with and without each part");
        ablation.parts = parts::measure(&work, &machine, &progress)?;
    }
    if !args.row_ports.is_empty() || !args.banks.is_empty() {
        progress.step("compiling for machines with other banks");
        ablation.organisations = organisations::measure(&work, &machine, args, &progress)?;
    }
    drop(progress);

    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    let inputs = [Some(&args.masks), args.model.as_ref(), args.calibration.as_ref()];
    inputs.into_iter().flatten().for_each(|input| files.keep(input));
    if let Some(path) = &args.report {
        files.stage(path, |file| {
            Ok(writeln!(file, "{}", serde_json::to_string_pretty(&ablation)?)?)
        })?;
    }
    files.commit()?;
    table::print(&ablation, out)
}

/// A program that is compiled.
struct Compiled<'m> {
    /// Its name in messages.
    name: String,
    configuration: Configuration,
    machine: &'m Machine,
}

/// The reports of programs.
fn reports(
    work: &Work,
    programs: &[Compiled<'_>],
    progress: &Progress,
) -> anyhow::Result<Vec<Report>> {
    let report = |Compiled { name, configuration, machine }: &Compiled<'_>| {
        let program =
            work.compile(configuration, machine, progress).with_context(|| name.clone())?;
        Ok(Emulator::new(program.into())?.report())
    };
    // Collect all before returning the first error: it must not depend on the order of threads.
    let reports: Vec<anyhow::Result<Report>> = programs.par_iter().map(report).collect();
    reports.into_iter().collect()
}
