use crate::ir::{Graph, Op, Stage, TensorType};

/// Why a graph cannot be interpreted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The graph is of a stage that the interpreter does not run.
    #[error("cannot execute a graph of stage {0} here")]
    Stage(Stage),
    /// Too many inputs, or too few.
    #[error("{found} inputs were given, and the model has {expected}: {names}")]
    InputCount {
        /// Inputs of the graph.
        expected: usize,
        /// Number of tensors that the caller passed.
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
        /// Type of the tensor that the caller passed.
        found: String,
    },
    /// Samples that are no items of an input, or not as many as those of the inputs before it.
    #[error("samples of input {name:?}: found {found}, expected {}items of {expected} along the first axis",
        .items.map_or(String::new(), |items| format!("{items} ")))]
    Samples {
        /// Name of the input.
        name: String,
        /// The graph's type: one item.
        expected: TensorType,
        /// Type of the tensor that the caller passed.
        found: String,
        /// How many items were expected, where the inputs before have settled it.
        items: Option<usize>,
    },
    /// Not one label for each item.
    #[error("found {found} labels for {items} items")]
    Labels {
        /// Items of the samples.
        items: usize,
        /// Number of labels that the caller passed.
        found: usize,
    },
    /// An output that is no tensor of real numbers.
    #[error("output {name:?} is {found}, expected a type that represents real numbers")]
    Output {
        /// Name of the output.
        name: String,
        /// Element type and shape of the output.
        found: TensorType,
    },
    /// A constant or operand that the operation cannot take.
    #[error("{at}: {message}")]
    Operation {
        /// The operation, by the name of its ONNX node where it has one.
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
