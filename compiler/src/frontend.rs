//! The front door: from a model's file to its canonical graph.

use std::path::Path;

use crate::import::{self, ImportError, ImportOptions};
use crate::ir::{Graph, Stage};
use crate::masks::Masks;
use crate::onnx::{self, OnnxError};
use crate::passes::{self, Context, PassError};

/// Why a file gives no canonical graph.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The file cannot be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model holds what is not supported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The model is not of a form that is recognised.
    #[error(transparent)]
    Pass(#[from] PassError),
}

/// The pass that removes rows.
const DROP_DEAD_ROWS: &str = "drop-dead-rows";

/// Reads an ONNX file, imports its model, and canonicalises it ([`passes::CANONICALISE`]).
///
/// Constants share the memory of the mapped file: see [`onnx::load`] for what that asks of the
/// file.
///
/// # Errors
/// Those of [`onnx::load`], [`import::import`] and [`passes::run_on_graph`].
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Graph, FrontendError> {
    import_by(path, options, passes::CANONICALISE, &Context::default())
}

/// [`import_file`] without the pass `drop-dead-rows`: every layer keeps all rows, whether an output
/// depends on them or not.
///
/// [`average_attention`](crate::calibration::average_attention) needs such a graph.
///
/// # Errors
/// As [`import_file`].
pub fn import_file_with_all_rows(
    path: &Path,
    options: &ImportOptions,
) -> Result<Graph, FrontendError> {
    let names: Vec<&str> =
        passes::CANONICALISE.iter().copied().filter(|name| *name != DROP_DEAD_ROWS).collect();
    import_by(path, options, &names, &Context::default())
}

/// [`import_file`] of a model that computes only what masks keep, one layer of them for each
/// attention: see the pass `masks`.
///
/// # Errors
/// As [`import_file`], or the masks are not of the model.
pub fn import_file_with_masks(
    path: &Path,
    options: &ImportOptions,
    masks: &Masks,
) -> Result<Graph, FrontendError> {
    let context = Context { masks: Some(masks), ..Context::default() };
    let names = passes::pipeline(Stage::Imported, Stage::Canonical, &context);
    import_by(path, options, &names, &context)
}

fn import_by(
    path: &Path,
    options: &ImportOptions,
    names: &[&str],
    context: &Context<'_>,
) -> Result<Graph, FrontendError> {
    let imported = import::import(&onnx::load(path)?, options)?;
    Ok(passes::run_on_graph(&imported, names, context)?)
}
