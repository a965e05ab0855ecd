//! The command line as users call it: a process, files, standard output and error, exit status.

mod ablate;
mod accuracy;
mod asm;
mod attention;
mod bound;
mod demo;
mod errors;
mod explain;
mod flows;
mod host;
mod inspect;
mod interrupted;
mod ir;
mod plan;
mod prune;
mod reference;
mod sensitivity;
mod sparse;
mod survey;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use vitcod_isa::program::Program;
use vitcod_testing::files;

/// A folder of its own for a test, in which `vitcod` runs.
struct Sandbox(TempDir);

impl Sandbox {
    fn new() -> Sandbox {
        Sandbox(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vitcod"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    /// Runs and returns standard output; it must succeed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs and returns standard error; it must fail with status 1, an error and no panic, and
    /// leave no new file.
    fn fails(&self, arguments: &[&str]) -> String {
        let before = self.files();
        let output = self.command(arguments).output().unwrap();
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: "), "{arguments:?}: {stderr}");
        assert_eq!(self.files(), before, "{arguments:?}");
        stderr
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A text whose figures are all 0: how it is laid out.
fn layout(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

/// A small export of `tests/models`.
fn model(name: &str) -> String {
    file(&format!("tests/models/{name}"))
}

/// A file of the repository.
fn file(path: &str) -> String {
    files::file(path).to_str().unwrap().to_owned()
}

/// The small export that most tests use, and its input.
const VIT: &str = "vit.legacy.unfused.op17";

/// Compiles [`VIT`] into `p.vitcod` of a sandbox.
fn compile(sandbox: &Sandbox, options: &[&str]) {
    let arguments = ["compile", &model(&format!("{VIT}.onnx")), "-o", "p.vitcod"];
    sandbox.ok(&[&arguments, options].concat());
}

/// The input of [`VIT`].
fn input() -> String {
    model(&format!("{VIT}.in.npy"))
}

/// A program without what only `compile` measures.
fn unmeasured(bytes: &[u8]) -> Program {
    let mut program = Program::from_bytes(bytes.to_vec().into()).unwrap();
    program.header.outputs.iter_mut().for_each(|output| output.expected_sqnr_db = None);
    program.header.decisions.retain(|decision| decision.subject != "warning");
    program
}
