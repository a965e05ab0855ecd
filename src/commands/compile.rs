//! `vitcod compile`: from an ONNX model to a program.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::files::Outputs;
use crate::machines::MachineArg;
use crate::npy;
use crate::pipeline::{self, Dims};
use crate::progress::Progress;

/// Compile an ONNX vision transformer
///
/// The model becomes integers (int8, the residual stream int16) whose ranges come from running it on the calibration
/// samples. Two compilations of the same files give the same bytes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is looked for beside it
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,

    /// Where to write the program
    #[arg(short, long, value_name = "P.vitcod")]
    output: PathBuf,

    #[command(flatten)]
    machine: MachineArg,

    /// Inputs that are typical of the model, joined along the first axis; without them noise of mean 0 and standard deviation 1 is used
    #[arg(long, value_name = "X.npy")]
    calibration: Option<PathBuf>,

    /// Leave out the quantised IR, which `run --check` compares with
    #[arg(long)]
    strip: bool,

    #[command(flatten)]
    dims: Dims,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let samples = args.calibration.as_deref().map(npy::read).transpose()?;
    let program = {
        let progress = Progress::new();
        progress.step("reading the model");
        let graph = pipeline::import(&args.model, &args.dims)?;
        pipeline::compile(&graph, samples.as_ref(), &machine, &progress)?
    };
    let program = if args.strip { vitcod_isa::program::Program { ir: None, ..program } } else { program };
    let bytes = program.to_bytes()?;
    let mut files = Outputs::default();
    [Some(&args.model), args.calibration.as_ref()].into_iter().flatten().for_each(|input| files.keep(input));
    files.stage(&args.output, |file| Ok(file.write_all(&bytes)?))?;
    files.commit()?;

    if samples.is_none() {
        // A warning that cannot be shown is no reason to fail.
        let _ = writeln!(
            io::stderr(),
            "warning: no --calibration: the ranges of activations come from seeded noise, which costs accuracy"
        );
    }
    let (layers, instructions) = (program.header.layers.len(), program.code.len());
    let (name, machine, file) = (&program.header.name, &machine.name, args.output.display());
    writeln!(
        out,
        "{name:?} for {machine}: {layers} layers, {instructions} instructions, {} bytes in {file}",
        bytes.len()
    )?;
    Ok(())
}
