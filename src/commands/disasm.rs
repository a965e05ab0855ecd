//! `vitcod disasm`: prints a program as assembly.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::files;

/// Disassemble a program
///
/// `vitcod asm` assembles the same program from the text. Large constants stay in the program file:
/// the text refers to it by name, so keep both in one folder. Malformed instructions are an error;
/// a program that fails only the verifier is printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "P.vitcod")]
    program: PathBuf,

    /// Annotate each instruction with its index, ONNX node, operand bytes and cycles
    #[arg(long)]
    annotate: bool,

    /// Print all constants, so that the text is self-contained
    #[arg(long)]
    inline: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let program = files::read_program(&args.program)?;
    let mut listing = program.listing();
    if !args.inline {
        let name = args.program.file_name().unwrap_or(args.program.as_os_str());
        listing = listing.with_constants_in(&name.to_string_lossy());
    }
    if args.annotate {
        listing = listing
            .annotated()
            .with_context(|| format!("{} fails its checks", args.program.display()))?;
    }
    write!(out, "{listing}")?;
    Ok(())
}
