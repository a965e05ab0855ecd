//! What a pass could not do.

use std::fmt;

use vitcod_support::problems::Problems;

use super::{Level, ModuleError, Need};
use crate::ir::{Graph, OpData};

/// Why a pass gave no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// No pass has this name.
    #[error("there is no pass {name:?}; {}the passes are {known}", help.as_ref().map_or(String::new(), |help| format!("{help} ")))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
        /// The one that may have been meant.
        help: Option<String>,
    },
    /// The module is of a level that the pass does not take.
    #[error("{pass}: expected a model of stage {requires}, found stage {found}")]
    Level {
        /// Name of the pass that failed.
        pass: &'static str,
        /// The stage that the pass requires.
        requires: Level,
        /// The stage of the module.
        found: Level,
    },
    /// A graph was to come out, and the passes go further.
    #[error("expected a pipeline that ends with a graph, found a result of stage {level}")]
    NoGraph {
        /// The stage of the result.
        level: Level,
    },
    /// What the pass needs besides is not there.
    #[error("{pass}: needs {need}")]
    Needs {
        /// Name of the pass that failed.
        pass: &'static str,
        /// The missing input.
        need: Need,
    },
    /// A step of the compiler cannot be done.
    #[error("{pass}: {message}")]
    Refused {
        /// Name of the pass that failed.
        pass: &'static str,
        /// The reason that the pass reports.
        message: String,
    },
    /// Parts of the model have no form that the pass knows.
    #[error("{pass}: {}\n{}", unsupported_parts(problems.found()), problems.with_start("  "))]
    Unrecognised {
        /// Name of the pass that failed.
        pass: &'static str,
        /// Every such part that does not follow from another one.
        problems: Problems<Problem>,
    },
    /// The pass broke an invariant: a defect of the compiler, not of the model.
    #[error("{pass}: {source}")]
    Malformed {
        /// Name of the pass that failed.
        pass: &'static str,
        /// The violated invariant.
        source: ModuleError,
    },
}

fn unsupported_parts(count: usize) -> String {
    match count {
        1 => "1 part of the model is not supported".to_string(),
        _ => format!("{count} parts of the model are not supported"),
    }
}

/// A part of the model that a pass cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the ONNX nodes with the operator of the IR, or an input or output.
    pub place: String,
    /// The unsupported form in the model.
    pub found: String,
    /// The supported form.
    pub expected: String,
}

impl Problem {
    pub(super) fn at_op(graph: &Graph, op: &OpData, unsupported: Unsupported) -> Problem {
        let names: Vec<&str> = op.nodes.iter().map(|node| graph.node(*node)).collect();
        let node = if names.len() > 1 { "nodes" } else { "node" };
        let place = format!("{node} {} ({})", names.join(", "), op.kind.mnemonic());
        Problem::new(place, unsupported)
    }

    pub(super) fn new(place: impl Into<String>, unsupported: Unsupported) -> Problem {
        Problem { place: place.into(), found: unsupported.found, expected: unsupported.expected }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.place, self.found, self.expected)
    }
}

/// A [`Problem`] before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsupported {
    found: String,
    expected: String,
}

impl Unsupported {
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Unsupported {
        Unsupported { found: found.into(), expected: expected.into() }
    }
}
