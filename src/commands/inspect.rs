//! `vitcod inspect`: the contents of a file.

mod machine;
mod model;
mod program;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use vitcod_emulator::Emulator;
use vitcod_emulator::scratchpad::MemoryPlan;
use vitcod_isa::program::Program;
use vitcod_report::ScratchpadText;
use vitcod_runtime::Model;

use crate::files::{self, Outputs};
use crate::import::ImportArgs;
use crate::reporting::PictureArgs;

/// Print the contents of an ONNX model or a program, or a machine
///
/// For a model: inputs, outputs, operators as exported and after canonicalisation, parameters,
/// MACs. For a program: machine, tensors, sizes and layers, or with --memory the buffers in the
/// scratchpad and their live ranges. For a machine: its configuration, and its area by component.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An ONNX model or a program, distinguished by its first bytes
    #[arg(value_name = "MODEL.onnx|P.vitcod", required_unless_present = "machine")]
    file: Option<PathBuf>,

    /// Print a machine instead: a preset or a TOML file (its name ends in .toml)
    #[arg(
        long,
        value_name = "NAME|FILE.toml",
        conflicts_with_all = [
            "file", "dims", "outputs", "inputs", "memory", "memory_json", "timeline",
            "memory_image", "cycles",
        ]
    )]
    machine: Option<String>,

    /// Write the machine and its area as JSON
    #[arg(long, value_name = "M.json", requires = "machine", conflicts_with = "file")]
    machine_json: Option<PathBuf>,

    #[command(flatten)]
    import: ImportArgs,

    /// Print the memory plan of a program instead
    #[arg(long)]
    memory: bool,

    /// Write the memory plan of a program as JSON
    #[arg(long, value_name = "M.json")]
    memory_json: Option<PathBuf>,

    #[command(flatten)]
    pictures: PictureArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(name) = &args.machine {
        return machine::print(name, args.machine_json.as_deref(), out);
    }
    let file = args.file.as_deref().context("no file")?;
    let is_timed = args.memory || args.memory_json.is_some() || args.pictures.any();
    if files::starts_with(file, b"\x7fELF")? {
        let program = files::read_program(file)?;
        if is_timed { timed(args, file, program, out) } else { program::print(&program, out) }
    } else {
        ensure!(
            !is_timed,
            "{} is not a program: only programs have a memory plan and a timeline",
            file.display()
        );
        model::print(file, &args.import, out)
    }
}

/// The memory plan, pictures and contents of a program.
fn timed(args: &Args, file: &Path, program: Program, out: &mut dyn Write) -> anyhow::Result<()> {
    // Timing is defined for programs that pass their checks.
    let model =
        Model::new(program).with_context(|| format!("{} fails its checks", file.display()))?;
    let emulator = Emulator::new(Arc::clone(model.program()))?;
    let mut files = Outputs::default();
    files.keep(file);
    args.pictures.stage(&emulator, &mut files)?;
    let plan = MemoryPlan::new(emulator.program(), emulator.timing());
    if let Some(path) = &args.memory_json {
        files.stage(path, |file| Ok(writeln!(file, "{}", plan.to_json())?))?;
    }
    files.commit()?;
    if args.memory {
        Ok(write!(out, "{}", ScratchpadText(&plan))?)
    } else {
        program::print(model.program(), out)
    }
}
