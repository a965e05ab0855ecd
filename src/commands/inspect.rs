//! `vitcod inspect`: what a file holds.

mod model;
mod program;

use std::io::Write;
use std::path::PathBuf;

use crate::files;
use crate::pipeline::Dims;

/// Print what an ONNX model or a program holds
///
/// Of a model: inputs, outputs, operators as exported and after canonicalisation, parameters, multiplications. Of a program:
/// its machine, tensors, sizes and layers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An ONNX model or a program, told apart by its first bytes
    #[arg(value_name = "MODEL.onnx|P.vitcod")]
    file: PathBuf,

    #[command(flatten)]
    dims: Dims,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    if files::starts_with(&args.file, b"\x7fELF")? {
        program::print(&files::read_program(&args.file)?, out)
    } else {
        model::print(&args.file, &args.dims, out)
    }
}
