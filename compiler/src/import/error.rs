//! What of a model cannot be imported, and where.

use vitcod_support::problems::Problems;

use crate::ir::infer::InferError;
use crate::onnx::{self, Place};

/// Everything of a model that cannot be imported; there is at least one problem.
///
/// Displayed as one line per problem.
#[derive(Debug, thiserror::Error)]
#[error("{problems}")]
pub struct ImportError {
    /// The problems: those of options and inputs, then those of nodes in the order of the file,
    /// then those of outputs.
    pub problems: Problems<Problem>,
}

/// One fault with its place.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Problem {
    /// The node, input or output at fault.
    pub place: Place,
    /// The reason why it cannot be imported.
    pub fault: Fault,
}

/// What cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An operator that is not supported, or not in the model's opset.
    #[error("unsupported operator of {} opset {opset}: {advice}", if .domain.is_empty() { "ai.onnx" } else { .domain })]
    Operator {
        /// The operator's domain; empty for ONNX's own.
        domain: String,
        /// The model's opset of that domain.
        opset: i64,
        /// Why, and what would be supported.
        advice: String,
    },
    /// An operator of a domain of which the model names no opset.
    #[error("unsupported operator of a domain without opset, {domain:?}: {advice}")]
    Domain {
        /// The operator's domain; empty for ONNX's own.
        domain: String,
        /// Why, and what would be supported.
        advice: String,
    },
    /// A node that calls a function of the model.
    #[error(
        "a call of the model's own function {domain:?}::{name:?}: only operators are supported; inline it first (onnx.inliner)"
    )]
    Function {
        /// The function's domain.
        domain: String,
        /// The function's name.
        name: String,
    },
    /// An opset that is not supported.
    #[error("expected an opset of ai.onnx from {oldest} to {newest}, found {found}")]
    Opset {
        /// The oldest supported.
        oldest: i64,
        /// The newest supported.
        newest: i64,
        /// The model's.
        found: i64,
    },
    /// An operand, result, attribute or option that does not fit.
    #[error("expected {expected}, found {found}")]
    Mismatch {
        /// The supported operand or attribute.
        expected: String,
        /// The operand or attribute in the model.
        found: String,
    },
    /// Operands that do not fit the operation that a node becomes.
    #[error(transparent)]
    Operands(#[from] InferError),
    /// An attribute of the wrong kind, or a constant that cannot be read.
    #[error(transparent)]
    Model(#[from] onnx::Fault),
}

impl Fault {
    pub(super) fn mismatch(expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault::Mismatch { expected: expected.into(), found: found.into() }
    }

    pub(super) fn at(self, place: Place) -> Box<Problem> {
        Box::new(Problem { place, fault: self })
    }
}

impl From<Box<onnx::Problem>> for Box<Problem> {
    fn from(problem: Box<onnx::Problem>) -> Box<Problem> {
        Fault::Model(problem.fault).at(problem.place)
    }
}
