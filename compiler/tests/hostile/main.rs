//! ONNX files of at most one megabyte that are made to hurt: each is an error or a graph, and none takes more than [`MEMORY`].
//!
//! One test, in a process of its own, since it is the process whose memory is measured. `cargo test -p vitcod-compiler --test hostile --
//! --nocapture` shows what each case takes.

mod bombs;
mod crowds;
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
    /// A canonical graph.
    Graph,
}

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    expected: Expected,
}

impl Case {
    fn refused(name: &'static str, bytes: Vec<u8>, message: &'static str) -> Case {
        Case { name, bytes, expected: Expected::Error(message) }
    }

    fn accepted(name: &'static str, bytes: Vec<u8>) -> Case {
        Case { name, bytes, expected: Expected::Graph }
    }
}

/// From a file to a canonical graph; the number of its operations.
fn read(bytes: Vec<u8>) -> Result<usize, String> {
    let model = onnx::parse(bytes.into(), None).map_err(|error| error.to_string())?;
    let graph = import(&model, &ImportOptions::default()).map_err(|error| error.to_string())?;
    drop(model);
    graph.verify().map_err(|error| error.to_string())?;
    let graph = passes::run_on_graph(&graph, CANONICALISE, &Context::default()).map_err(|error| error.to_string())?;
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
    for Case { name, bytes, expected } in bombs::cases().into_iter().chain(crowds::cases()) {
        let (size, start) = (bytes.len(), Instant::now());
        assert!(size <= FILE + 1024, "{name}: {size} bytes");
        peak();
        let result = read(bytes);
        let (took, peak) = (start.elapsed(), peak().unwrap_or(0));
        let told: String = match &result {
            Ok(operations) => format!("{operations} operations"),
            Err(error) => error.chars().take(150).collect::<String>().replace('\n', " | "),
        };
        println!("{name}: {size} bytes, {} ms, {} MiB: {told}", took.as_millis(), peak >> 20);
        let as_expected = match (expected, &result) {
            (Expected::Graph, Ok(_)) => true,
            (Expected::Error(part), Err(error)) => error.contains(part),
            (Expected::Graph, Err(_)) | (Expected::Error(_), Ok(_)) => false,
        };
        if peak > MEMORY || !as_expected {
            failures.push(name);
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
