//! `vitcod ablate`: the cost of each step of the method.

mod measure;
mod table;
mod work;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use rayon::prelude::*;
use vitcod_compiler::split::GlobalTokens;
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

    /// Write the table as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    #[command(flatten)]
    import: ImportArgs,
}

/// A step of the ablation.
#[derive(Clone, Copy, Debug)]
struct Step {
    name: &'static str,
    pruned: bool,
    globals: GlobalTokens,
    autoencoder: bool,
}

const STEPS: [Step; 5] = [
    Step { name: "dense", pruned: false, globals: GlobalTokens::Auto, autoencoder: false },
    // Every key is a global token.
    Step { name: "reordered", pruned: false, globals: GlobalTokens::Above(0), autoencoder: false },
    // No key is a global token: all kept entries belong to the sparser engine.
    Step { name: "pruned", pruned: true, globals: GlobalTokens::NONE, autoencoder: false },
    Step {
        name: "pruned, reordered",
        pruned: true,
        globals: GlobalTokens::Auto,
        autoencoder: false,
    },
    Step {
        name: "pruned, reordered, auto-encoder",
        pruned: true,
        globals: GlobalTokens::Auto,
        autoencoder: true,
    },
];

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let work = Work::of(args)?;
    let steps = &STEPS[..if work.has_autoencoder() { STEPS.len() } else { STEPS.len() - 1 }];
    let progress = Progress::new();
    progress.step("compiling every step");
    // Collect all before returning the first error: it must not depend on the order of threads.
    let reports: Vec<_> =
        steps.par_iter().map(|step| report(&work, step, &machine, &progress)).collect();
    let reports = reports.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    drop(progress);
    let ablation = Ablation::new(work.name(), &machine, work.masks(), &reports);

    let mut files = Outputs::default();
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

/// The report of a step.
fn report(
    work: &Work,
    step: &Step,
    machine: &Machine,
    progress: &Progress,
) -> anyhow::Result<(&'static str, Report)> {
    let program =
        work.compile(step, machine, progress).with_context(|| format!("step {:?}", step.name))?;
    Ok((step.name, Emulator::new(program.into())?.report()))
}
