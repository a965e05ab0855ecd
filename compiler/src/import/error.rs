//! Errors of importing, with their places in the model.

use vitcod_support::problems::Problems;

use crate::ir::infer::InferError;
use crate::onnx::{self, Place};

/// The problems of a model; at least one.
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
    /// The operator is not supported, or not in the model's opset.
    #[error("unsupported operator of {} opset {opset}{}", if .domain.is_empty() { "ai.onnx" } else { .domain }, told(.advice))]
    Operator {
        /// The operator's domain; empty for ONNX's own.
        domain: String,
        /// The model's opset of that domain.
        opset: i64,
        /// The reason, and what is supported instead; may be empty.
        advice: String,
    },
    /// The model states no opset for the operator's domain.
    #[error("unsupported operator of a domain without opset, {domain:?}: {advice}")]
    Domain {
        /// The operator's domain; empty for ONNX's own.
        domain: String,
        /// The reason, and what is supported instead.
        advice: String,
    },
    /// The model's opset is not supported.
    #[error("expected an opset of ai.onnx from {oldest} to {newest}, found {found}")]
    Opset {
        /// The oldest supported.
        oldest: i64,
        /// The newest supported.
        newest: i64,
        /// The model's.
        found: i64,
    },
    /// An operand, result, attribute or option is not supported.
    #[error("expected {expected}, found {found}")]
    Mismatch {
        /// The supported operand or attribute.
        expected: String,
        /// The operand or attribute in the model.
        found: String,
    },
    /// The operands are invalid for the operation that the node becomes.
    #[error(transparent)]
    Operands(#[from] InferError),
    /// An attribute has the wrong kind, or a constant cannot be read.
    #[error(transparent)]
    Model(#[from] onnx::Fault),
}

/// Advice as the end of a message.
fn told(advice: &str) -> String {
    if advice.is_empty() { String::new() } else { format!(": {advice}") }
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
