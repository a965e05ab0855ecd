//! From a model to a program: the compiler's steps in their order.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use ndarray::{ArrayD, ArrayViewD};
use vitcod_compiler::autoencoder::{self, Choice, PcaError};
use vitcod_compiler::calibration::{self, Calibration};
use vitcod_compiler::codegen;
use vitcod_compiler::frontend::{self, FrontendError};
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::Graph;
use vitcod_compiler::masks::Masks;
use vitcod_compiler::onnx;
use vitcod_compiler::quantise::{self, Quantised};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Decision, Program};

use crate::progress::Progress;
use crate::sparsity_args::Autoencoder;

/// Items of noise used without samples.
pub(crate) const NOISE_ITEMS: usize = 4;

/// Extents for the named dimensions of a model.
#[derive(clap::Args, Default)]
pub(crate) struct Dims {
    /// Extent of a named dynamic dimension of the model
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dim)]
    dims: Vec<(String, usize)>,
}

impl Dims {
    /// Those that a model leaves open, of these names.
    pub(crate) fn among(&self, open: &BTreeSet<String>) -> Dims {
        Dims { dims: self.dims.iter().filter(|(name, _)| open.contains(name)).cloned().collect() }
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.dims.iter().map(|(name, _)| name.as_str())
    }
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

/// Reads a model as its exporter wrote it.
pub(crate) fn import_as_exported(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(|path, options| Ok(import::import(&onnx::load(path)?, options)?), path, dims)
}

/// [`import()`], with all rows of every layer.
pub(crate) fn import_with_all_rows(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(frontend::import_file_with_all_rows, path, dims)
}

/// [`import()`], computing only what masks keep.
pub(crate) fn import_with_masks(path: &Path, dims: &Dims, masks: &Masks) -> anyhow::Result<Graph> {
    import_by(|path, options| frontend::import_file_with_masks(path, options, masks), path, dims)
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

/// How a canonical graph is compiled.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) autoencoder: Autoencoder,
    pub(crate) globals: GlobalTokens,
    pub(crate) quantise: quantise::Options,
    /// Whether the program records the alternatives that were costed.
    pub(crate) explain: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            autoencoder: Autoencoder::AUTO,
            globals: GlobalTokens::Auto,
            quantise: quantise::Options::default(),
            explain: false,
        }
    }
}

/// A program, and the errors of the auto-encoders that were added.
pub(crate) struct Compiled {
    pub(crate) program: Program,
    /// Reconstruction errors of added auto-encoders.
    pub(crate) losses: Vec<PcaError>,
    /// Whether it was calibrated on noise.
    pub(crate) noise: bool,
}

/// A canonical graph and its quantised form.
pub(crate) struct Prepared {
    pub(crate) graph: Graph,
    pub(crate) quantised: Quantised,
    losses: Vec<PcaError>,
    decisions: Vec<Decision>,
    pub(crate) noise: bool,
}

/// Compiles a canonical graph; `samples` are items of its inputs, and without them noise
/// calibrates.
pub(crate) fn compile(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    machine: &Machine,
    options: Options,
    progress: &Progress,
) -> anyhow::Result<Compiled> {
    let prepared = prepare(graph, samples, machine, options, progress)?;
    let program = generate(&prepared, machine, options, progress)?;
    let Prepared { losses, noise, .. } = prepared;
    Ok(Compiled { program, losses, noise })
}

/// The last step of [`compile`].
pub(crate) fn generate(
    prepared: &Prepared,
    machine: &Machine,
    Options { globals, explain, .. }: Options,
    progress: &Progress,
) -> anyhow::Result<Program> {
    progress.step("generating code");
    let mut program = codegen::compile(
        &prepared.quantised.graph,
        machine,
        codegen::Options { globals, explain },
    )?;
    program.header.decisions.splice(0..0, prepared.decisions.iter().cloned());
    Ok(program)
}

/// The steps of [`compile`] before code generation.
pub(crate) fn prepare(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    machine: &Machine,
    options: Options,
    progress: &Progress,
) -> anyhow::Result<Prepared> {
    let (graph, losses, decisions) =
        place_autoencoders(graph, samples, machine, options.autoencoder, progress)?;
    progress.step("calibrating");
    let noise = samples.is_none() && quantise::needs_samples(&graph);
    let stand_in = if noise { calibration::noise(&graph, NOISE_ITEMS) } else { Vec::new() };
    let samples: Vec<ArrayViewD<'_, f32>> =
        samples.unwrap_or(&stand_in).iter().map(|array| array.view()).collect();
    // A model that brings all its scales is not run.
    let calibration = match samples[..] {
        [] => Calibration::default(),
        _ => Calibration::run(&graph, &samples).context("the model cannot be calibrated")?,
    };
    progress.step("quantising");
    let quantised = quantise::quantise_with(&graph, &calibration, options.quantise)?;
    Ok(Prepared { graph, quantised, losses, decisions, noise })
}

/// Adds PCA auto-encoders if asked for, and folds encoders and decoders by cost. Returns the graph,
/// the reconstruction errors and the decisions.
fn place_autoencoders(
    graph: &Graph,
    samples: Option<&[ArrayD<f32>]>,
    machine: &Machine,
    Autoencoder { principal, form }: Autoencoder,
    progress: &Progress,
) -> anyhow::Result<(Graph, Vec<PcaError>, Vec<Decision>)> {
    let (graph, losses) = match principal {
        None => (Cow::Borrowed(graph), Vec::new()),
        Some(heads) => {
            progress.step("finding principal components");
            let samples = samples
                .context("auto-encoders are made from samples: pca:E needs --calibration")?;
            let samples: Vec<ArrayViewD<'_, f32>> =
                samples.iter().map(|array| array.view()).collect();
            let (graph, losses) = autoencoder::pca(graph, &samples, heads)?;
            ensure!(
                !losses.is_empty(),
                "there is no attention without auto-encoders to make some for"
            );
            (Cow::Owned(graph), losses)
        }
    };
    progress.step("placing auto-encoders");
    let (placed, decisions) = autoencoder::place(&graph, machine, form)?;
    if let (Choice::Always(form), []) = (form, decisions.as_slice()) {
        bail!(
            "there is no auto-encoder of Q and K that could be computed in the form {form}; pca:E makes some"
        );
    }
    Ok((placed, losses, decisions.iter().map(decision).collect()))
}

/// The decision for a layer's auto-encoders, in the form that a program stores.
fn decision(decision: &autoencoder::Decision) -> Decision {
    let autoencoder::Decision { layer, form, cycles, reason } = decision;
    let cycles = cycles.map(|(form, cycles)| format!("{form} {cycles}")).join(", ");
    Decision {
        layer: layer.clone(),
        subject: "auto-encoder".to_owned(),
        chosen: form.to_string(),
        reason: format!("{reason}; cycles: {cycles}"),
        alternatives: Vec::new(),
    }
}
