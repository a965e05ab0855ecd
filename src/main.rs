//! The `vitcod` command line: one subcommand per file of [`commands`].

mod calibration;
mod check;
mod commands;
mod files;
mod hosted;
mod import;
mod ir_files;
mod machines;
mod npy;
mod paper_results;
mod pipeline;
mod progress;
mod reporting;
mod sparsity_args;
mod tensor_args;
mod warning;

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
            // Flush first, so that output before the error is displayed first.
            let _ = out.flush();
            // If standard error is closed, there is no way to report that.
            let _ = writeln!(io::stderr(), "error: {}", shortened(&chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of standard output closed it early, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes, without causes whose text it repeats.
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

/// Shortens very long lines in the middle: names in a file may have any length.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 2000;
    const END: usize = 400;
    let line = |line: &str| match line.len() {
        ..=LONGEST => line.to_owned(),
        length => {
            let (start, end) =
                (line.floor_char_boundary(LONGEST - END), line.ceil_char_boundary(length - END));
            format!("{} ... ({} bytes) ... {}", &line[..start], end - start, &line[end..])
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_lose_their_middle() {
        assert_eq!(shortened("a\n\nb"), "a\n\nb");
        assert_eq!(shortened(&"x".repeat(2000)), "x".repeat(2000));
        let text = shortened(&format!("a\n{}\nb", "é".repeat(1 << 20)));
        assert!(
            text.starts_with("a\né") && text.ends_with("é\nb") && text.len() < 2100,
            "{}",
            text.len()
        );
        assert!(text.contains(" ... (2095152 bytes) ... "), "{}", &text[1590..1650]);
    }
}
