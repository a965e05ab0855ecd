//! The `vitcod` command line: what the libraries offer, one subcommand per file of [`commands`].

mod calibration;
mod check;
mod commands;
mod files;
mod graphs;
mod machines;
mod named;
mod npy;
mod pipeline;
mod progress;
mod published;
mod reporting;
mod sparse;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Compiler and emulator for the ViTCoD vision-transformer accelerator
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = cli.command.run(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // What was printed before the error comes before it on a terminal too.
            let _ = out.flush();
            // Nobody is left to tell that standard error is closed.
            let _ = writeln!(io::stderr(), "error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of standard output has seen enough, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes, less those whose text it states itself.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}
