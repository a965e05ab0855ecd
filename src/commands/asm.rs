//! `vitcod asm`: text as a program.

use std::io::Write;
use std::path::PathBuf;

use crate::files::Outputs;
use crate::ir_files;

/// Make a program of assembly
///
/// The language is that of `vitcod disasm`; docs/assembly.md describes it. All mistakes of the text
/// are reported, and then everything that the checks before a run find, at the line that it is
/// about.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The text
    #[arg(value_name = "P.s")]
    text: PathBuf,

    /// Where to write the program
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
