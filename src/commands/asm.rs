//! `vitcod asm`: text as a program.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use vitcod_isa::asm::Assembly;

use crate::files::{self, Outputs};

/// Make a program of assembly
///
/// The language is that of `vitcod disasm`; docs/assembly.md describes it. All mistakes of the text are reported, and then everything
/// that the checks before a run find, at the line that it is about.
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
    let path = &args.text;
    let text = String::from_utf8(files::read(path)?).with_context(|| format!("{} is no text", path.display()))?;
    let files = |name: &str| files::read_beside(path, name).map(Bytes::from).map_err(|error| format!("{error:#}"));
    let assembly = Assembly::parse(&text, &files).and_then(|assembly| assembly.check().map(|()| assembly));
    let assembly = match assembly {
        Ok(assembly) => assembly,
        Err(error) => bail!("{} is no program\n\n{}", path.display(), error.render(&path.to_string_lossy(), &text)),
    };
    let mut outputs = Outputs::default();
    outputs.keep(path);
    let bytes = assembly.program.to_bytes()?;
    outputs.stage(&args.output, |file| Ok(file.write_all(&bytes)?))?;
    outputs.commit()
}
