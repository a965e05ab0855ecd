//! Errors of reading an ONNX file, with their places.

use std::fmt;
use std::path::PathBuf;

use vitcod_support::problems::Problems;

use super::external::ExternalFault;
use super::quoted::{Quoted, Shown};
use super::tensor::{DataType, TensorFault};
use super::wire::WireFault;

/// The problems of an ONNX file; at least one.
///
/// Displayed as one line per problem, each beginning with the file.
#[derive(Debug, thiserror::Error)]
pub struct OnnxError {
    /// The file; `None` if the model was given as bytes.
    pub file: Option<PathBuf>,
    /// The problems in the order of the file.
    pub problems: Problems<Problem>,
}

impl OnnxError {
    pub(super) fn single(problem: Problem) -> Self {
        Self { file: None, problems: problem.into() }
    }
}

impl fmt::Display for OnnxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => self.problems.with_start(format_args!("{}: ", file.display())).fmt(f),
            None => self.problems.fmt(f),
        }
    }
}

/// One fault with its place.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Problem {
    /// The part of the file at fault.
    pub place: Place,
    /// The violated rule.
    pub fault: Fault,
}

/// A place in an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The model as a whole.
    Model,
    /// A byte of the file.
    Byte {
        /// Bytes from the start of the file.
        offset: usize,
        /// The protobuf field, such as `graph.node[3].attribute[0].name`.
        path: String,
    },
    /// An input of the graph.
    Input(String),
    /// An output of the graph.
    Output(String),
    /// An initialiser; `#3` for the fourth if it has no name.
    Initializer(String),
    /// A node.
    Node {
        /// The name of [`Node`](super::Node).
        name: String,
        /// `op_type` of the node.
        op_type: String,
    },
    /// An attribute of a node.
    Attribute {
        /// The name of [`Node`](super::Node).
        node: String,
        /// `op_type` of the node.
        op_type: String,
        /// The attribute's name.
        attribute: String,
    },
}

impl Place {
    /// Combines the place with a fault.
    pub fn has(self, fault: Fault) -> Problem {
        Problem { place: self, fault }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model => f.write_str("model"),
            Self::Byte { offset, path } if path.is_empty() => write!(f, "byte {offset}"),
            Self::Byte { offset, path } => write!(f, "byte {offset}, {path}"),
            Self::Input(name) => write!(f, "input {}", Quoted(name)),
            Self::Output(name) => write!(f, "output {}", Quoted(name)),
            Self::Initializer(name) => write!(f, "initializer {}", Quoted(name)),
            Self::Node { name, op_type } => write!(f, "node {} ({})", Quoted(name), Shown(op_type)),
            Self::Attribute { node, op_type, attribute } => {
                let (node, op_type) = (Quoted(node), Shown(op_type));
                write!(f, "node {node} ({op_type}), attribute {}", Quoted(attribute))
            }
        }
    }
}

/// The violated rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Io(#[source] std::io::Error),
    /// The bytes are not a protobuf message of ONNX's schema.
    #[error(transparent)]
    Wire(#[from] WireFault),
    /// The bytes passed the scan and changed before they were decoded.
    #[error("the file changed while it was read: {0}")]
    Changed(#[source] prost::DecodeError),
    /// The model has no graph.
    #[error("expected a model with a graph, found none; the file is not an ONNX model")]
    NoGraph,
    /// The version of the file format is unknown.
    #[error("expected an IR version from 3 to {newest}, found {found}")]
    IrVersion {
        /// The newest supported version.
        newest: i64,
        /// The file's version; 0 if absent.
        found: i64,
    },
    /// The model states no opset of the standard operators.
    #[error("expected an opset of the default domain, found none")]
    NoOpset,
    /// The opset of a domain is below 1 or stated twice.
    #[error("expected one opset version of at least 1 for domain {}, found {found}", Quoted(.domain))]
    Opset {
        /// Operator set domain; empty for the default one.
        domain: String,
        /// The invalid version.
        found: i64,
    },
    /// The model has sparse initialisers.
    #[error("expected dense initializers only, found {found} sparse ones")]
    Sparse {
        /// Their number.
        found: usize,
    },
    /// An entity lacks its required name.
    #[error("expected a name, found none")]
    NoName,
    /// A node has no operator.
    #[error("expected an operator, found none")]
    NoOperator,
    /// A value or attribute is defined twice.
    #[error("{} is defined a second time", Quoted(.name))]
    Duplicate {
        /// Name of the value or attribute.
        name: String,
    },
    /// A value is not defined.
    #[error("expected a value that an input, an initializer or a node defines, found {}", Quoted(.name))]
    Undefined {
        /// Name of the value or attribute.
        name: String,
    },
    /// A value depends on itself.
    #[error("expected values that do not depend on themselves, found {}, which {} defines", Quoted(.name), Quoted(.by))]
    Cycle {
        /// Name of the value.
        name: String,
        /// The node that defines it.
        by: String,
    },
    /// Graphs inside attributes, or calls of functions, are nested too deeply.
    #[error("expected graphs and calls of functions at most {limit} deep inside each other")]
    Nesting {
        /// The limit.
        limit: usize,
    },
    /// Functions of the model make too many nodes.
    #[error("expected at most {limit} nodes after functions of the model are inlined")]
    Nodes {
        /// The limit.
        limit: usize,
    },
    /// A function of the model has another opset than the model.
    #[error("expected the model's opset {expected} of domain {}, found {found} in its function {}", Quoted(.domain), Quoted(.function))]
    FunctionOpset {
        /// The domain; empty for the default one.
        domain: String,
        /// The model's opset.
        expected: i64,
        /// The function's opset.
        found: i64,
        /// The function's name.
        function: String,
    },
    /// A call of a function of the model has more operands or results than the function.
    #[error("expected at most {expected} {what}, as the function has, found {found}")]
    Call {
        /// Operands or results.
        what: &'static str,
        /// The function's number of them.
        expected: usize,
        /// The call's.
        found: usize,
    },
    /// An input or output of the graph is not a tensor, or its element type is missing.
    #[error("expected a tensor with element type and shape, found {found}")]
    NoTensorType {
        /// The kind found.
        found: &'static str,
    },
    /// An attribute has an unsupported kind, or its kind does not match its value.
    #[error("expected a value of kind {expected}, found {found}")]
    Attribute {
        /// The expected kind.
        expected: &'static str,
        /// Kind of the attribute in the file.
        found: &'static str,
    },
    /// A tensor is invalid, or has an unsupported element type.
    #[error(transparent)]
    Tensor(#[from] TensorFault),
    /// External data is not available.
    #[error(transparent)]
    External(#[from] ExternalFault),
    /// A tensor has both external data and data inside the model.
    #[error("expected either external data or data of {data_type} inside the model, found both")]
    TwoPlaces {
        /// The element type.
        data_type: DataType,
    },
}
