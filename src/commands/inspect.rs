//! `vitcod inspect`: what a file holds.

mod program;

use std::io::Write;
use std::path::PathBuf;

use crate::files;

/// Print what an ONNX model or a program holds
///
/// Of a model: inputs, outputs, operators as exported and after canonicalisation, parameters, multiplications. Of a program:
/// its machine, tensors, layers and sizes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An ONNX model or a program, told apart by its first bytes
    #[arg(value_name = "MODEL.onnx|P.vitcod")]
    file: PathBuf,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    program::print(&files::read_program(&args.file)?, out)
}
