//! Files of at most one megabyte that are made to hurt: each is an error or something read, and
//! none takes more than [`MEMORY`]. Most are ONNX; [`texts`] and [`binaries`] are what else is
//! read.
//!
//! One test, in a process of its own, since it is the process whose memory is measured.
//! `cargo test -p vitcod-compiler --test hostile -- --nocapture` shows what each case takes.

mod binaries;
mod bombs;
mod crowds;
mod texts;
mod writer;

use std::fs;
use std::time::Instant;

use vitcod_compiler::import::{ImportOptions, import};
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, CANONICALISE, Context};

/// Bytes of a file.
const FILE: usize = 1 << 20;

/// Bytes that the process may hold in memory at any time.
const MEMORY: usize = 200 << 20;

/// What has to become of a case.
enum Expected {
    /// An error with this in it.
    Error(&'static str),
    /// A canonical graph, or whatever it is that the file holds.
    Read,
}

/// What reads a file: the number of things that it found.
type Reader = fn(Vec<u8>) -> Result<usize, String>;

struct Case {
    name: &'static str,
    read: Reader,
    bytes: Vec<u8>,
    expected: Expected,
}

impl Case {
    /// An ONNX file that is an error.
    fn refused(name: &'static str, bytes: Vec<u8>, message: &'static str) -> Case {
        Case { name, read: onnx, bytes, expected: Expected::Error(message) }
    }

    /// An ONNX file that is a graph.
    fn accepted(name: &'static str, bytes: Vec<u8>) -> Case {
        Case { name, read: onnx, bytes, expected: Expected::Read }
    }

    /// The same for a file of another kind.
    fn by(self, read: Reader) -> Case {
        Case { read, ..self }
    }
}

/// From an ONNX file to a canonical graph; the number of its operations.
fn onnx(bytes: Vec<u8>) -> Result<usize, String> {
    let model = onnx::parse(bytes.into(), None).map_err(|error| error.to_string())?;
    let graph = import(&model, &ImportOptions::default()).map_err(|error| error.to_string())?;
    drop(model);
    graph.verify().map_err(|error| error.to_string())?;
    let graph = passes::run_on_graph(&graph, CANONICALISE, &Context::default())
        .map_err(|error| error.to_string())?;
    Ok(graph.order.len())
}

/// The most bytes that the process has held since the last call, where the system tells.
fn peak() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kilobytes << 10)
}

#[test]
fn no_small_file_takes_much_memory() {
    let mut failures = Vec::new();
    // One group after the other, as the files take memory too.
    let groups = [texts::cases, binaries::cases, bombs::cases, crowds::cases];
    for Case { name, read, bytes, expected } in groups.into_iter().flat_map(|cases| cases()) {
        let (size, start) = (bytes.len(), Instant::now());
        assert!(size <= FILE + 1024, "{name}: {size} bytes");
        peak();
        let result = read(bytes);
        let (took, peak) = (start.elapsed(), peak().unwrap_or(0));
        let told: String = match &result {
            Ok(count) => format!("{count} read"),
            Err(error) => error.chars().take(150).collect::<String>().replace('\n', " | "),
        };
        println!("{name}: {size} bytes, {} ms, {} MiB: {told}", took.as_millis(), peak >> 20);
        let as_expected = match (expected, &result) {
            (Expected::Read, Ok(_)) => true,
            (Expected::Error(part), Err(error)) => error.contains(part),
            (Expected::Read, Err(_)) | (Expected::Error(_), Ok(_)) => false,
        };
        if peak > MEMORY || !as_expected {
            failures.push(name);
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
