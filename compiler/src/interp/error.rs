use crate::ir::{Graph, Op, Stage, TensorType};

/// Why a graph cannot be interpreted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The interpreter does not support the graph's stage.
    #[error("cannot execute a graph of stage {0} here")]
    Stage(Stage),
    /// The number of inputs is wrong.
    #[error("{found} inputs were given, and the model has {expected}: {names}")]
    InputCount {
        /// Number of inputs of the graph.
        expected: usize,
        /// Number of tensors that the caller passed.
        found: usize,
        /// Names of the graph's inputs.
        names: String,
    },
    /// An input has the wrong type.
    #[error("input {name:?}: found {found}, expected {expected}")]
    Input {
        /// Name of the input.
        name: String,
        /// The graph's type.
        expected: TensorType,
        /// Type of the tensor that the caller passed.
        found: String,
    },
    /// Samples are not items of an input, or their number differs from that of the inputs before.
    #[error("samples of input {name:?}: found {found}, expected {}items of {expected} along the first axis",
        .items.map_or(String::new(), |items| format!("{items} ")))]
    Samples {
        /// Name of the input.
        name: String,
        /// The graph's type: one item.
        expected: TensorType,
        /// Type of the tensor that the caller passed.
        found: String,
        /// The expected number of items, once an earlier input has determined it.
        items: Option<usize>,
    },
    /// The number of labels differs from the number of items.
    #[error("found {found} labels for {items} items")]
    Labels {
        /// Number of items of the samples.
        items: usize,
        /// Number of labels that the caller passed.
        found: usize,
    },
    /// An output does not represent real numbers.
    #[error("output {name:?} is {found}, expected a type that represents real numbers")]
    Output {
        /// Name of the output.
        name: String,
        /// Element type and shape of the output.
        found: TensorType,
    },
    /// A constant or operand is invalid for the operation.
    #[error("{at}: {message}")]
    Operation {
        /// The operation, by the name of its ONNX node if it has one.
        at: String,
        /// The reason why the operation cannot be executed.
        message: String,
    },
}

impl InterpError {
    /// An error at an operation.
    pub(crate) fn at(graph: &Graph, op: Op, message: impl Into<String>) -> InterpError {
        InterpError::Operation { at: graph.describe(op), message: message.into() }
    }

    /// An error about the number of inputs.
    pub(crate) fn input_count(graph: &Graph, found: usize) -> InterpError {
        let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
        InterpError::InputCount { expected: names.len(), found, names: names.join(", ") }
    }
}
