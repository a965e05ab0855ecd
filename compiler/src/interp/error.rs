use crate::ir::{Graph, Op, Stage, TensorType};

/// Why a graph cannot be interpreted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The graph is of a stage that the interpreter does not run.
    #[error("a graph of the {0} stage cannot be run here")]
    Stage(Stage),
    /// Too many inputs, or too few.
    #[error("{found} inputs were given, and the model has {expected}: {names}")]
    InputCount {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        found: usize,
        /// Their names in the graph.
        names: String,
    },
    /// An input of another type than the graph's.
    #[error("input {name:?}: found {found}, and the model takes {expected}")]
    Input {
        /// Name of the input.
        name: String,
        /// The graph's type.
        expected: TensorType,
        /// What was given.
        found: String,
    },
    /// Samples of which the first axis is no multiple of the graph's, or differs between inputs.
    #[error(
        "samples of input {name:?}: found {found}, and the model takes items of {expected} along the first axis{hint}"
    )]
    Samples {
        /// Name of the input.
        name: String,
        /// The graph's type.
        expected: TensorType,
        /// What was given.
        found: String,
        /// What else was expected.
        hint: String,
    },
    /// An output that is no tensor of real numbers.
    #[error("output {name:?} is {found}, which stands for no real numbers")]
    Output {
        /// Name of the output.
        name: String,
        /// Its type.
        found: TensorType,
    },
    /// A constant or operand that the operation cannot take.
    #[error("{at}: {message}")]
    Operation {
        /// The operation, by the name of its ONNX node where it has one.
        at: String,
        /// What is wrong.
        message: String,
    },
}

impl InterpError {
    /// An error at an operation.
    pub(super) fn at(graph: &Graph, op: Op, message: impl Into<String>) -> InterpError {
        let data = graph.op(op);
        let at = match data.nodes.first() {
            Some(node) => format!("{} ({op} {})", graph.node(*node), data.kind.mnemonic()),
            None => format!("{op} ({})", data.kind.mnemonic()),
        };
        InterpError::Operation { at, message: message.into() }
    }

    pub(super) fn input_count(graph: &Graph, found: usize) -> InterpError {
        let names: Vec<&str> = graph.inputs.iter().map(|(name, _)| name.as_str()).collect();
        InterpError::InputCount { expected: names.len(), found, names: names.join(", ") }
    }
}
