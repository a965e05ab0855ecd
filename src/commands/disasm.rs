//! `vitcod disasm`: a program as text.

use std::io::Write;
use std::path::PathBuf;

use crate::files;

/// Print the instructions of a program as assembly
///
/// Comments name the model, the machine, inputs, outputs and layers. A program that is malformed in its instructions
/// is refused; one that only fails the checks before a run is printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "P.vitcod")]
    program: PathBuf,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let program = files::read_program(&args.program)?;
    write!(out, "{}", program.listing())?;
    Ok(())
}
