//! Values that are views of others, and values that are computed where another one is stored.

use cranelift_entity::SecondaryMap;

use crate::ir::{Graph, Op, OpKind, Value};

/// Whether a group makes the value, which an output or a concat reads: inputs and constants are
/// there, and slices, concats and pixels are views of other values.
fn is_made(graph: &Graph, value: Value) -> bool {
    graph.producer(value).is_some_and(|(_, data)| {
        !matches!(data.kind, OpKind::Slice { .. } | OpKind::Concat { .. } | OpKind::Pixels {})
    })
}

/// Whether output `index` is where the value is computed: values that no group makes, and second
/// outputs of one value, are copied.
pub(crate) fn computed_into(graph: &Graph, value: Value, index: usize) -> bool {
    is_made(graph, value) && graph.outputs[..index].iter().all(|output| output.value != value)
}

/// Whether an operand of a concat is computed where the concat's result is stored, instead of being
/// copied there.
pub(crate) fn joins_in_place(
    graph: &Graph,
    uses: &SecondaryMap<Value, Vec<Op>>,
    operand: Value,
) -> bool {
    is_made(graph, operand)
        && uses[operand].len() == 1
        && graph.outputs.iter().all(|output| output.value != operand)
}
/// What a value is a slice of, through slices of slices; the value itself where it is none.
pub(crate) fn sliced(graph: &Graph, mut value: Value) -> Value {
    while let Some((_, data)) = graph.producer(value)
        && let OpKind::Slice { .. } = data.kind
    {
        value = data.operands[0];
    }
    value
}
