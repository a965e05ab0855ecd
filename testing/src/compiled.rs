//! Programs as the command line makes them.

use ndarray::ArrayD;
use vitcod_compiler::calibration::hold_back;
use vitcod_compiler::ir::{Graph, Stage};
use vitcod_compiler::passes::{Context, Level, Module, PassError, pipeline, run};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Program;

/// Compiles a canonical graph with the passes of `vitcod compile`, `explain` with its option
/// `--explain`. Without samples, noise calibrates it.
///
/// # Errors
/// A pass fails.
pub fn compiled(
    graph: &Graph,
    machine: &Machine,
    samples: Option<&[ArrayD<f32>]>,
    explain: bool,
) -> Result<Program, PassError> {
    let divided =
        samples.and_then(|samples| hold_back(graph, samples).expect("items of the inputs"));
    let context = Context {
        machine: Some(machine),
        samples,
        divided: divided.as_ref(),
        explain,
        ..Context::default()
    };
    let names = pipeline(Stage::Canonical, Level::Program, &context);
    match run(graph.clone().into(), &names, &context, |_, _| {})? {
        Module::Program(program) => Ok(program),
        other => panic!("the pipeline ends with {}", other.level()),
    }
}
