//! The fuzz targets: readers of untrusted bytes or text, and computations that must agree on any
//! input.
//!
//! A target is a function of bytes, so that the fuzzer, a test with drawn inputs and a case of
//! `cargo test` call the same code. Structured inputs are decoded from bytes as libFuzzer's targets
//! do, by [`Arbitrary`].

pub mod asm;
pub mod attention;
pub mod graph;
pub mod instr;
pub mod ir_text;
pub mod machine;
pub mod npy;
pub mod onnx;
pub mod program;
pub mod races;
pub mod sound;
pub mod tasks;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::asm::Assembly;
use vitcod_support::random::SplitMix64;

use crate::files::files;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the target.
    pub name: &'static str,
    /// Panics if an input reveals a fault.
    pub check: fn(&[u8]),
    /// Inputs to start from; a target without seeds accepts all bytes.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Number of inputs that `cargo test` draws.
    pub rounds: u64,
}

/// All targets.
pub const TARGETS: [Target; 11] = [
    Target { name: "asm", check: |bytes| decoded(bytes, asm::check), seeds: assembly, rounds: 300 },
    Target {
        name: "attention",
        check: |bytes| decoded(bytes, attention::check),
        seeds: || attention::TOUCHED_EARLY.map(attention::encoded).to_vec(),
        rounds: 100,
    },
    Target {
        name: "graph",
        check: |bytes| decoded(bytes, graph::check),
        seeds: Vec::new,
        rounds: 100,
    },
    Target { name: "instr", check: instr::check, seeds: programs, rounds: 300 },
    Target {
        name: "ir_text",
        check: |bytes| decoded(bytes, ir_text::check),
        seeds: || read(&IR_TEXTS),
        rounds: 300,
    },
    Target {
        name: "machine",
        check: |bytes| decoded(bytes, machine::check),
        seeds: || read(&[("isa/machines", ".toml"), ("tests/toml", ".toml")]),
        rounds: 300,
    },
    Target { name: "npy", check: npy::check, seeds: || read(&ARRAYS), rounds: 300 },
    Target {
        name: "onnx",
        check: onnx::check,
        seeds: || read(&[("tests/models", ".onnx"), ("tests/idioms", ".onnx")]),
        rounds: 200,
    },
    Target { name: "program", check: program::check, seeds: programs, rounds: 300 },
    Target {
        name: "races",
        check: |bytes| decoded(bytes, races::check),
        seeds: Vec::new,
        rounds: 300,
    },
    Target {
        name: "tasks",
        check: |bytes| decoded(bytes, tasks::check),
        seeds: || read(&TASKS),
        rounds: 300,
    },
];

/// Folders with texts of graphs.
const IR_TEXTS: [(&str, &str); 4] = [
    ("tests/ir/parse", ".vir"),
    ("tests/ir/pass", ".vir"),
    ("tests/ir/print", ".vir"),
    ("tests/ir/verify", ".vir"),
];

/// Folders with texts of tasks.
const TASKS: [(&str, &str); 3] =
    [("tests/ir/tiled", ".vir"), ("tests/ir/scheduled", ".vir"), ("tests/ir/pass", "schedule.vir")];

/// Folders with arrays, masks and invalid files.
const ARRAYS: [(&str, &str); 3] = [
    ("examples/digits", "masks90.npy"),
    ("examples/digits", "test_labels.npy"),
    ("tests/models", ".in.npy"),
];

/// Folders with assembly.
const ASSEMBLY: [(&str, &str); 3] =
    [("tests/asm", ".s"), ("tests/run", ".s"), ("examples/kernel", ".s")];

/// The most bytes of an input that `cargo test` draws.
const DRAWN: u64 = 64;

impl Target {
    /// The target with this name.
    pub fn named(name: &str) -> Option<Target> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Runs the target on its seeds and on `rounds` inputs drawn from them, deterministically.
    /// Prints an input that fails.
    pub fn exercise(&self) {
        let seeds = (self.seeds)();
        for seed in &seeds {
            self.check_or_print(seed);
        }
        for round in 0..self.rounds {
            self.check_or_print(&drawn(&seeds, &mut SplitMix64::new(round)));
        }
    }

    fn check_or_print(&self, input: &[u8]) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.check)(input))) {
            eprintln!("{} fails on {}", self.name, input.escape_ascii());
            resume_unwind(panic);
        }
    }

    /// Writes the seeds into a folder, one file each.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn write_seeds(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        for (number, seed) in (self.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed{number}")), seed)?;
        }
        Ok(())
    }
}

/// A seed with a few changes, or random bytes.
fn drawn(seeds: &[Vec<u8>], random: &mut SplitMix64) -> Vec<u8> {
    let mut below = |limit: usize| (random.bits() % limit.max(1) as u64) as usize;
    let Some(seed) = seeds.get(below(seeds.len())) else {
        return (0..below(DRAWN as usize)).map(|_| below(256) as u8).collect();
    };
    let mut bytes = seed.clone();
    for _ in 0..1 + below(4) {
        let at = below(bytes.len() + 1);
        let end = at + below(16).min(bytes.len() - at);
        match below(5) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << below(8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = below(256) as u8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = below(bytes.len() + 1);
                drop(bytes.splice(to..to, part));
            }
            _ => {
                let other = &seeds[below(seeds.len())];
                let from = below(other.len() + 1);
                let part = other[from..].iter().take(16).copied();
                drop(bytes.splice(at..end, part));
            }
        }
    }
    bytes
}

/// Decodes bytes to the input of a check, as `fuzz_target!` does: text must be UTF-8.
fn decoded<'a, T: Arbitrary<'a>>(bytes: &'a [u8], check: fn(T)) {
    if let Ok(input) = T::arbitrary_take_rest(Unstructured::new(bytes)) {
        check(input);
    }
}

/// A threshold of global tokens.
fn globals(byte: u8) -> GlobalTokens {
    match byte.checked_sub(128) {
        None => GlobalTokens::Auto,
        Some(above) => GlobalTokens::Above(usize::from(above)),
    }
}

fn read(folders: &[(&str, &str)]) -> Vec<Vec<u8>> {
    let paths = folders.iter().flat_map(|(folder, suffix)| files(folder, suffix));
    paths.map(|path: PathBuf| fs::read(&path).expect("a file that was listed")).collect()
}

fn assembly() -> Vec<Vec<u8>> {
    read(&ASSEMBLY)
}

/// The files of assembled programs, whose words are instructions.
fn programs() -> Vec<Vec<u8>> {
    let assembled = assembly().into_iter().filter_map(|text| {
        let text = String::from_utf8(text).ok()?;
        let assembly = Assembly::parse(&text, &|name| Err(format!("there is no {name}"))).ok()?;
        assembly.program.to_bytes().ok()
    });
    assembled.collect()
}
