//! `vitcod disasm`: a program as text.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::files;

/// Print a program as assembly
///
/// `vitcod asm` makes the same program of the text. Large constants stay in the program: the text
/// names it, and must be put beside it. A program that is malformed in its instructions is refused;
/// one that only fails the checks before a run is printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "P.vitcod")]
    program: PathBuf,

    /// State for each instruction its index, ONNX node, bytes of operands and cycles as a comment
    #[arg(long)]
    annotate: bool,

    /// Print all constants, so that the text needs no other file
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
