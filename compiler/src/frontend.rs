//! From a model's file to its canonical graph.

use std::path::Path;

use crate::calibration::Inputs;
use crate::host::{self, Division};
use crate::import::{self, Fault, ImportError, ImportOptions};
use crate::ir::{Graph, Stage, TensorType};
use crate::masks::Masks;
use crate::onnx::{self, OnnxError};
use crate::passes::{self, Context, PassError};

/// What the host may compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostUse {
    /// Nothing: a model of which any part has no canonical form is refused.
    Never,
    /// What comes before and after the machine, as long as the machine has half of the products.
    #[default]
    Ends,
}

/// A model with the part of the machine in canonical form.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The part of the machine.
    pub graph: Graph,
    /// The parts of the host, if it computes any.
    pub division: Option<Division>,
}

impl Inputs for Imported {
    fn inputs(&self) -> Vec<(&str, TensorType)> {
        match &self.division {
            Some(division) => division.host.inputs(),
            None => self.graph.inputs(),
        }
    }
}

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
    /// Parts of the model have no form that the machine supports, and the host may not compute
    /// them.
    #[error("{error}\n{}", without_host(.division.as_deref()))]
    Parts {
        /// The parts.
        error: PassError,
        /// The division that would be possible, if there is one.
        division: Option<Box<Division>>,
    },
}

impl FrontendError {
    /// What the user can do next, in one line; `None` if the message says it.
    pub fn advice(&self) -> Option<&'static str> {
        let problem = match self {
            FrontendError::Pass(PassError::Unrecognised { .. }) => return Some(CUT),
            FrontendError::Parts { division, .. } => {
                let is_worthwhile = division.as_deref().is_some_and(is_worthwhile);
                return Some(if is_worthwhile { LET_HOST } else { CUT });
            }
            FrontendError::Import(error) => error.problems.kept().first()?,
            FrontendError::Onnx(error) => {
                let is_readable =
                    |problem: &onnx::Problem| !matches!(problem.fault, onnx::Fault::Io(_));
                return error.problems.kept().iter().all(is_readable).then_some(INVALID);
            }
            FrontendError::Pass(_) => return None,
        };
        match (&problem.fault, &problem.place) {
            (Fault::Opset { .. }, _) => Some("convert the model (onnx.version_converter)"),
            // An option, which the message explains.
            (_, onnx::Place::Model) => None,
            (_, onnx::Place::Input(_)) => Some(INPUTS),
            _ => Some(CUT),
        }
    }
}

/// What the host would have to compute.
fn without_host(division: Option<&Division>) -> String {
    match division {
        Some(division) => format!(
            "without them, and what the host would compute with them ({}), the machine has {:.1} % \
             of the multiplications",
            division.counts(),
            100.0 * division.products.share()
        ),
        None => "without them, the machine has no multiplications".to_owned(),
    }
}

/// Whether the machine has enough of a model.
fn is_worthwhile(division: &Division) -> bool {
    division.products.share() >= 0.5
}

/// The advice for a model of which a part is supported.
const CUT: &str = "docs/operators.md lists the supported forms; cut the model before what is not \
                   supported (--outputs NAME), or rewrite it and export again";

/// The advice for a file that is not ONNX as it should be.
const INVALID: &str = "export the model again; onnx.checker.check_model tells whether the file is \
                       valid";

/// The advice for an input that is not supported.
const INPUTS: &str = "give the extents that it leaves open (--dim NAME=N), or start behind it \
                      (--inputs NAME)";

/// The advice for a model whose ends the host could compute.
const LET_HOST: &str = "without --host=never, the host computes them";

/// The pass that gives a graph its canonical form.
const CANONICALISE: &str = "canonicalise";

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
    let never = Options { host: HostUse::Never, ..Options::default() };
    Ok(import_model(path, options, never)?.graph)
}

/// How to convert a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Attention computes only the entries that the masks keep, if there are any. Layer `i` of the
    /// masks belongs to the i-th attention.
    pub masks: Option<&'a Masks>,
    /// Whether every layer keeps all rows, including those on which no output depends, as
    /// [`average_attention`](crate::calibration::average_attention) needs.
    pub all_rows: bool,
    /// What the host may compute.
    pub host: HostUse,
}

/// Reads an ONNX file, imports the model and canonicalises the part of the machine.
///
/// # Errors
/// As [`import_file`]; the masks do not match the model; or the machine has too little of it.
pub fn import_model(
    path: &Path,
    import: &ImportOptions,
    options: Options<'_>,
) -> Result<Imported, FrontendError> {
    let context = Context { masks: options.masks, ..Context::default() };
    let mut names = passes::pipeline(Stage::Imported, Stage::Canonical, &context);
    names.retain(|name| !(options.all_rows && *name == DROP_DEAD_ROWS));
    let at = names.iter().position(|name| *name == CANONICALISE).unwrap_or(names.len());
    let (before, from) = names.split_at(at);

    let exported =
        passes::run_on_graph(&import::import(&onnx::load(path)?, import)?, before, &context)?;
    let mut imported = match passes::run_on_graph(&exported, from, &context) {
        Ok(graph) => Imported { graph, division: None },
        Err(error @ PassError::Unrecognised { .. }) => {
            let divided = host::divide(&exported);
            match divided {
                Some((machine, division))
                    if options.host == HostUse::Ends && is_worthwhile(&division) =>
                {
                    let graph = passes::run_on_graph(&machine, from, &context)?;
                    Imported { graph, division: Some(division) }
                }
                divided => {
                    let division = divided.map(|(_, division)| division.into());
                    return Err(FrontendError::Parts { error, division });
                }
            }
        }
        Err(error) => return Err(error.into()),
    };
    drop(exported);
    imported.graph.detach();
    Ok(imported)
}
