//! From a model to a program: the compiler's steps in their order.

use std::path::Path;

use anyhow::Context as _;
use ndarray::{ArrayD, ArrayViewD};
use vitcod_compiler::codegen;
use vitcod_compiler::frontend::{self, FrontendError};
use vitcod_compiler::import::ImportOptions;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::quantise::{self, Calibration};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Program;

use crate::progress::Progress;

/// Items of noise that stand in for samples.
const NOISE_ITEMS: usize = 4;

/// Extents for the named dimensions of a model.
#[derive(clap::Args, Default)]
pub(crate) struct Dims {
    /// Extent of a dimension that the model leaves open, by its name
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dim)]
    dims: Vec<(String, usize)>,
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, extent) = text.rsplit_once('=').ok_or("expected NAME=N")?;
    let extent = extent.parse().ok().filter(|extent| *extent > 0);
    Ok((name.to_owned(), extent.ok_or("expected a number of at least 1 after the =")?))
}

/// Reads a model and brings it into canonical form.
pub(crate) fn import(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(frontend::import_file, path, dims)
}

/// [`import`], with all rows of every layer.
pub(crate) fn import_with_all_rows(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(frontend::import_file_with_all_rows, path, dims)
}

fn import_by(
    import_file: impl Fn(&Path, &ImportOptions) -> Result<Graph, FrontendError>,
    path: &Path,
    dims: &Dims,
) -> anyhow::Result<Graph> {
    let options = ImportOptions { dims: dims.dims.iter().cloned().collect() };
    import_file(path, &options).map_err(|error| match error {
        // It names the file itself, which can also be one of external data.
        FrontendError::Onnx(error) => error.into(),
        error => anyhow::Error::new(error).context(path.display().to_string()),
    })
}

/// Compiles a canonical graph; `samples` are items of its only input, and without them noise calibrates.
pub(crate) fn compile(
    graph: &Graph,
    samples: Option<&ArrayD<f32>>,
    machine: &Machine,
    progress: &Progress,
) -> anyhow::Result<Program> {
    progress.step("calibrating");
    let noise = if samples.is_none() { quantise::noise(graph, NOISE_ITEMS) } else { Vec::new() };
    let samples: Vec<ArrayViewD<'_, f32>> = samples.into_iter().chain(&noise).map(|array| array.view()).collect();
    let calibration = Calibration::run(graph, &samples).context("the model cannot be calibrated")?;
    progress.step("quantising");
    let quantised = quantise::quantise(graph, &calibration)?;
    progress.step("generating code");
    Ok(codegen::compile(&quantised, machine, codegen::Options::default())?)
}
