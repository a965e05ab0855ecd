//! Reading of ONNX models, and its options.

use std::collections::BTreeSet;
use std::path::Path;

use clap::ValueEnum;
use vitcod_compiler::frontend::{self, FrontendError, HostUse, Imported};
use vitcod_compiler::import::{self, ImportOptions};
use vitcod_compiler::ir::Graph;
use vitcod_compiler::onnx;

/// Which part of a model is read, with which extents.
#[derive(clap::Args, Default)]
pub(crate) struct ImportArgs {
    /// Extent of a named dynamic dimension of the model
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dim)]
    dims: Vec<(String, usize)>,

    /// Tensors of the model to compute instead of its outputs, by their names in the file; what
    /// only the others need is left out
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    outputs: Vec<String>,

    /// Tensors of the model to start from, by their names in the file; what computes them is left
    /// out
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    inputs: Vec<String>,
}

/// What the host may compute.
#[derive(clap::Args)]
pub(crate) struct HostArg {
    /// What the host computes in float: ends (what the machine cannot, before and after it) or
    /// never (nothing: a model with such parts is refused)
    #[arg(long, value_enum, value_name = "never|ends", default_value_t = Host::Ends)]
    host: Host,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Host {
    Never,
    Ends,
}

impl HostArg {
    pub(crate) fn host(&self) -> HostUse {
        match self.host {
            Host::Never => HostUse::Never,
            Host::Ends => HostUse::Ends,
        }
    }
}

impl ImportArgs {
    /// The same without dimensions other than those that a model leaves open.
    pub(crate) fn among(&self, open: &BTreeSet<String>) -> ImportArgs {
        let dims = self.dims.iter().filter(|(name, _)| open.contains(name)).cloned();
        ImportArgs {
            dims: dims.collect(),
            outputs: self.outputs.clone(),
            inputs: self.inputs.clone(),
        }
    }

    /// The names of the dimensions.
    pub(crate) fn dims(&self) -> impl Iterator<Item = &str> {
        self.dims.iter().map(|(name, _)| name.as_str())
    }

    fn options(&self) -> ImportOptions {
        ImportOptions {
            dims: self.dims.iter().cloned().collect(),
            outputs: self.outputs.clone(),
            inputs: self.inputs.clone(),
        }
    }
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, extent) = text.rsplit_once('=').ok_or("expected NAME=N")?;
    let extent = extent.parse().ok().filter(|extent| *extent > 0);
    Ok((name.to_owned(), extent.ok_or("expected a number of at least 1 after the =")?))
}

/// Imports a model and canonicalises the part of the machine.
pub(crate) fn import(
    path: &Path,
    args: &ImportArgs,
    options: frontend::Options<'_>,
) -> anyhow::Result<Imported> {
    located(path, frontend::import_model(path, &args.options(), options))
}

/// Imports a model without further passes.
pub(crate) fn import_as_exported(path: &Path, args: &ImportArgs) -> anyhow::Result<Graph> {
    let load = || Ok(import::import(&onnx::load(path)?, &args.options())?);
    located(path, load())
}

/// An error with what the user can do next.
fn advised(error: FrontendError) -> anyhow::Error {
    match error.advice() {
        Some(advice) => anyhow::anyhow!("{error}\n{advice}"),
        None => error.into(),
    }
}

/// Adds the file and advice to an error.
fn located<T>(path: &Path, result: Result<T, FrontendError>) -> anyhow::Result<T> {
    result.map_err(|error| match error {
        // The error names the file itself, which may also be one of external data.
        error @ FrontendError::Onnx(_) => advised(error),
        error => advised(error).context(path.display().to_string()),
    })
}
