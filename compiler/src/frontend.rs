//! From a model's file to its canonical graph.

use std::path::Path;

use crate::import::{self, Fault, ImportError, ImportOptions};
use crate::ir::{Graph, Stage};
use crate::masks::Masks;
use crate::onnx::{self, OnnxError};
use crate::passes::{self, Context, PassError};

/// Why a file cannot be converted to a canonical graph.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The file cannot be read as ONNX.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The model uses unsupported operators.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The model has a form that no pass supports.
    #[error(transparent)]
    Pass(#[from] PassError),
}

impl FrontendError {
    /// What the user can do next, in one line; `None` if the message says it.
    pub fn advice(&self) -> Option<&'static str> {
        let fault = match self {
            FrontendError::Pass(PassError::Unrecognised { .. }) => return Some(CUT),
            FrontendError::Import(error) => &error.problems.kept().first()?.fault,
            FrontendError::Onnx(_) | FrontendError::Pass(_) => return None,
        };
        match fault {
            Fault::Operator { .. } | Fault::Domain { .. } => Some(CUT),
            Fault::Opset { .. } => Some("convert the model (onnx.version_converter)"),
            _ => None,
        }
    }
}

/// The advice for a model of which a part is supported.
const CUT: &str = "docs/operators.md lists the supported forms; cut the model before what is not \
                   supported (onnx.utils.extract_model), or rewrite it and export again";

/// The pass that removes rows.
const DROP_DEAD_ROWS: &str = "drop-dead-rows";

/// Reads an ONNX file, imports the model and canonicalises it ([`passes::CANONICALISE`]).
///
/// Constants share the memory of the mapped file, which must not change while the graph is alive:
/// see [`onnx::load`].
///
/// ```
/// use std::path::Path;
/// use vitcod_compiler::frontend::import_file;
/// use vitcod_compiler::import::ImportOptions;
/// use vitcod_compiler::ir::Stage;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models");
/// let file = models.join("vit.legacy.unfused.op17.onnx");
/// let graph = import_file(&file, &ImportOptions::default())?;
/// assert_eq!(graph.stage, Stage::Canonical);
/// assert_eq!(graph.operator_counts()["attention"], 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`onnx::load`], [`import::import`] and [`passes::run_on_graph`].
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Graph, FrontendError> {
    import_by(path, options, passes::CANONICALISE, &Context::default())
}

/// [`import_file`] without the pass `drop-dead-rows`: every layer keeps all rows, including those
/// on which no output depends.
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

/// [`import_file`] with the pass `masks`: attention computes only the entries that the masks keep.
/// Layer `i` of the masks belongs to the i-th attention.
///
/// # Errors
/// As [`import_file`], or the masks do not match the model.
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
    let mut canonical = passes::run_on_graph(&imported, names, context)?;
    drop(imported);
    canonical.detach();
    Ok(canonical)
}
