//! `vitcod asm`: assembles a program.

use std::io::Write;
use std::path::PathBuf;

use crate::files::Outputs;
use crate::ir_files;

/// Assemble a program
///
/// The syntax is that of `vitcod disasm`, described in docs/assembly.md. Reports all syntax errors,
/// or if there are none all errors of the program verifier, each at its line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The assembly text
    #[arg(value_name = "P.s")]
    text: PathBuf,

    /// Output file of the program
    #[arg(short, long, value_name = "P.vitcod")]
    output: PathBuf,
}

pub(super) fn run(args: &Args, _out: &mut dyn Write) -> anyhow::Result<()> {
    let program = ir_files::read_assembly(&args.text)?;
    let mut outputs = Outputs::default();
    outputs.keep(&args.text);
    let bytes = program.to_bytes()?;
    outputs.stage(&args.output, |file| Ok(file.write_all(&bytes)?))?;
    outputs.commit()
}
