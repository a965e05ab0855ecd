//! `vitcod ablate`: what each step of the method is worth.

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
use crate::machines::MachineArg;
use crate::pipeline::Dims;
use crate::progress::Progress;
use crate::sparsity_args::PolarityArg;
use measure::Ablation;
use work::Work;

/// Compare dense, pruned, reordered and auto-encoded attention
///
/// The same work runs as often as the method has steps: dense; with keys reordered; pruned; pruned
/// and reordered, that is divided between the two engines; with the auto-encoder, too. The work is
/// that of a model, or without one the attention of masks alone, as in `vitcod attention`. Prints
/// what each step costs, beside the factors that the paper gives.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is looked for beside it [default: the attention core of the masks
    /// alone]
    #[arg(value_name = "MODEL.onnx")]
    model: Option<PathBuf>,

    /// Inputs that are typical of the model, joined along the first axis; without them noise of
    /// mean 0 and standard deviation 1 is used
    #[arg(long, value_name = "X.npy", conflicts_with = "head_dim")]
    calibration: Option<PathBuf>,

    /// Which attention entries are computed: [layers, heads, queries, keys], bool or 0 and 1, as
    /// `vitcod prune` and the authors write it
    #[arg(long, value_name = "M.npy")]
    masks: PathBuf,

    #[command(flatten)]
    polarity: PolarityArg,

    /// Features of a head of the attention core
    #[arg(long, value_name = "D", required_unless_present = "model", conflicts_with = "model")]
    head_dim: Option<usize>,

    /// Heads of queries and keys in the last step; for a model that has an auto-encoder, leave it
    /// out [default: no such step]
    #[arg(long, value_name = "E")]
    compressed_heads: Option<usize>,

    #[command(flatten)]
    machine: MachineArg,

    /// Write the table as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    #[command(flatten)]
    dims: Dims,
}

/// A step of the method: what of it is used.
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
    // No key is one: all that is kept is the sparser engine's.
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
    // All of them before the first error is looked for: which one is first must not depend on the
    // threads.
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

/// What a step costs.
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
