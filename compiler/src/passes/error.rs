//! Errors of passes.

use std::fmt;

use vitcod_support::problems::Problems;

use super::{Level, ModuleError, Need};
use crate::ir::{Graph, OpData};

/// Why a pass returned no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// No pass has this name.
    #[error("unknown pass {name:?}; {}the passes are {known}", help.as_ref().map_or(String::new(), |help| format!("{help} ")))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
        /// A similar name that exists, if there is one.
        help: Option<String>,
    },
    /// The module is at another level than the pass requires.
    #[error("{pass}: expected a model of stage {requires}, found stage {found}")]
    Level {
        /// Name of the pass that failed.
        pass: &'static str,
        /// The stage that the pass requires.
        requires: Level,
        /// The stage of the module.
        found: Level,
    },
    /// The result is not a graph: the passes continue to tasks or a program.
    #[error("expected a pipeline that ends with a graph, found a result of stage {level}")]
    NoGraph {
        /// The stage of the result.
        level: Level,
    },
    /// The context lacks an input of the pass.
    #[error("{pass}: needs {need}")]
    Needs {
        /// Name of the pass that failed.
        pass: &'static str,
        /// The missing input.
        need: Need,
    },
    /// A step of the compiler failed.
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
    /// The pass violated an invariant: a defect of the compiler, not of the model.
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

/// A part of the model that a pass does not support.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place in the model: the ONNX nodes with the operator of the IR, or an input or output.
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
