//! The front door: from a model's file to its canonical graph.

use std::path::Path;

use crate::import::{self, ImportError, ImportOptions};
use crate::ir::Graph;
use crate::masks::{self, ApplyError, Masks};
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
    /// The masks are not of the model.
    #[error(transparent)]
    Masks(#[from] ApplyError),
}

/// The pass that removes rows.
const DEMAND: &str = "demand";

/// Reads an ONNX file, imports its model, and canonicalises it ([`passes::CANONICALISE`]).
///
/// Constants share the memory of the mapped file: see [`onnx::load`] for what that asks of the
/// file.
///
/// # Errors
/// Those of [`onnx::load`], [`import::import`] and [`passes::run_on_graph`].
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Graph, FrontendError> {
    import_by(path, options, passes::CANONICALISE)
}

/// [`import_file`] without the pass `demand`: every layer keeps all rows, whether an output depends
/// on them or not.
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
        passes::CANONICALISE.iter().copied().filter(|name| *name != DEMAND).collect();
    import_by(path, options, &names)
}

/// [`import_file`] of a model that computes only what masks keep, one layer of them for each
/// attention: see [`masks::apply`].
///
/// # Errors
/// As [`import_file`], or those of [`masks::apply`].
pub fn import_file_with_masks(
    path: &Path,
    options: &ImportOptions,
    masks: &Masks,
) -> Result<Graph, FrontendError> {
    let masked = masks::apply(&import_file_with_all_rows(path, options)?, masks)?;
    Ok(passes::run_on_graph(&masked, &[DEMAND], &Context::default())?)
}

fn import_by(path: &Path, options: &ImportOptions, names: &[&str]) -> Result<Graph, FrontendError> {
    let imported = import::import(&onnx::load(path)?, options)?;
    Ok(passes::run_on_graph(&imported, names, &Context::default())?)
}
