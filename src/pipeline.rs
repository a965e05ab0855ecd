//! From a model to a program, by the compiler's passes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use ndarray::{ArrayD, ArrayViewD};
use vitcod_compiler::autoencoder::PcaError;
use vitcod_compiler::calibration;
use vitcod_compiler::frontend::{self, FrontendError};
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::{Graph, SavedGraph, Stage};
use vitcod_compiler::masks::Masks;
use vitcod_compiler::onnx;
use vitcod_compiler::passes::{self, Context, Level, Module, Notes};
use vitcod_compiler::quantise::accuracy::{self, Outputs};
use vitcod_compiler::quantise::{self, Quantised};
use vitcod_compiler::split::GlobalTokens;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Program;

use crate::progress::Progress;
use crate::sparsity_args::Autoencoder;

/// Extents of the named dimensions of a model.
#[derive(clap::Args, Default)]
pub(crate) struct Dims {
    /// Extent of a named dynamic dimension of the model
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dim)]
    dims: Vec<(String, usize)>,
}

impl Dims {
    /// The extents of dimensions that a model leaves open.
    pub(crate) fn among(&self, open: &BTreeSet<String>) -> Dims {
        Dims { dims: self.dims.iter().filter(|(name, _)| open.contains(name)).cloned().collect() }
    }

    /// The names of the dimensions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.dims.iter().map(|(name, _)| name.as_str())
    }
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, extent) = text.rsplit_once('=').ok_or("expected NAME=N")?;
    let extent = extent.parse().ok().filter(|extent| *extent > 0);
    Ok((name.to_owned(), extent.ok_or("expected a number of at least 1 after the =")?))
}

/// Imports a model and canonicalises it.
pub(crate) fn import(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(frontend::import_file, path, dims)
}

/// Imports a model without further passes.
pub(crate) fn import_as_exported(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(|path, options| Ok(import::import(&onnx::load(path)?, options)?), path, dims)
}

/// [`import()`] without dropping dead rows.
pub(crate) fn import_with_all_rows(path: &Path, dims: &Dims) -> anyhow::Result<Graph> {
    import_by(frontend::import_file_with_all_rows, path, dims)
}

/// [`import()`] with attention restricted to the entries that masks keep.
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
        // The error names the file itself, which may also be one of external data.
        FrontendError::Onnx(error) => error.into(),
        error => anyhow::Error::new(error).context(path.display().to_string()),
    })
}

/// The pass that quantises a graph.
const QUANTISE: &str = "quantise";

/// Options of compilation from a canonical graph.
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
    /// What calibration shows to be beyond the machine's integers: a sentence for each layer.
    pub(crate) warnings: Vec<String>,
}

/// A canonical graph and its quantised form.
pub(crate) struct Prepared {
    pub(crate) graph: Graph,
    pub(crate) quantised: Quantised,
    /// Whether noise was used for lack of samples.
    pub(crate) noise: bool,
}

/// The inputs of the passes from a canonical graph to its program.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    /// Calibration samples.
    pub(crate) samples: Option<&'a [ArrayD<f32>]>,
    pub(crate) machine: &'a Machine,
    pub(crate) options: Options,
    pub(crate) progress: &'a Progress,
}

impl Session<'_> {
    /// Compiles a canonical graph.
    pub(crate) fn compile(&self, graph: &Graph) -> anyhow::Result<Compiled> {
        let notes = RefCell::default();
        let module = self.run(graph, Level::Program, None, &notes)?;
        let Module::Program(program) = module else { bail!("the result is {}", module.level()) };
        let Notes { losses, is_noise, warnings } = notes.into_inner();
        Ok(Compiled { program, losses, noise: is_noise, warnings })
    }

    /// Compares the integers of a program with the float outputs of its canonical graph, on some
    /// calibration samples or, without any, on noise that did not calibrate it.
    pub(crate) fn expected(&self, graph: &Graph, program: &Program) -> anyhow::Result<Outputs> {
        /// Fewer items than these are measured if a model is large.
        const MOST_ITEMS: usize = 8;
        let most = calibration::stand_in_items(graph).min(MOST_ITEMS);
        let ir = program.ir.as_ref().context("a compiled program has a saved graph")?;
        let integers = SavedGraph::load(ir, &program.image)?;
        let some = calibration::some_items(graph, self.samples, most)?;
        let views: Vec<ArrayViewD<'_, f32>> = some.iter().map(|array| array.view()).collect();
        Ok(accuracy::outputs(graph, &integers, &views)?)
    }

    /// The steps of [`Session::compile`] before code generation.
    pub(crate) fn prepare(&self, graph: &Graph) -> anyhow::Result<Prepared> {
        let module =
            self.run(graph, Stage::Quantised.into(), Some(QUANTISE), &RefCell::default())?;
        let Module::Graph(graph) = module else { bail!("the result is {}", module.level()) };
        self.progress.step(QUANTISE);
        let (quantised, noise) = quantise::calibrated(&graph, self.samples, self.options.quantise)?;
        Ok(Prepared { graph, quantised, noise })
    }

    /// Code generation: the steps of [`Session::compile`] after [`Session::prepare`].
    pub(crate) fn generate(&self, prepared: &Prepared) -> anyhow::Result<Program> {
        Ok(self.compile(&prepared.quantised.graph)?.program)
    }

    /// Runs the passes from a graph to a level, up to but without the pass `before`.
    fn run(
        &self,
        graph: &Graph,
        to: Level,
        before: Option<&str>,
        notes: &RefCell<Notes>,
    ) -> anyhow::Result<Module> {
        let Options { autoencoder: Autoencoder { principal, form }, globals, quantise, explain } =
            self.options;
        ensure!(
            principal.is_none() || self.samples.is_some(),
            "pca:E computes auto-encoders from samples: it needs --calibration"
        );
        let context = Context {
            masks: None,
            machine: Some(self.machine),
            samples: self.samples,
            quantise,
            compressed_heads: principal,
            form,
            globals,
            explain,
            notes: Some(notes),
        };
        let mut module = Module::Graph(graph.clone());
        let names = passes::pipeline(module.level(), to, &context);
        for name in names.into_iter().take_while(|name| Some(*name) != before) {
            self.progress.step(name);
            module = passes::find(name)?.run(&module, &context)?;
        }
        Ok(module)
    }
}
