//! Values that are views of others, and values that are computed in the storage of another one.

use cranelift_entity::SecondaryMap;

use crate::ir::{Graph, Op, OpKind, Value};

/// Whether a group computes the value. Inputs and constants exist before; slices, concats and
/// pixels are views of other values.
fn is_computed(graph: &Graph, value: Value) -> bool {
    graph.producer(value).is_some_and(|(_, data)| {
        !matches!(data.kind, OpKind::Slice { .. } | OpKind::Concat { .. } | OpKind::Pixels { .. })
    })
}

/// Whether the value is computed in the storage of output `index`. Values that no group computes,
/// and second outputs of one value, are copied.
pub(crate) fn computed_into(graph: &Graph, value: Value, index: usize) -> bool {
    is_computed(graph, value) && graph.outputs[..index].iter().all(|output| output.value != value)
}

/// Whether an operand of a concat is computed in the storage of the result, instead of being copied
/// to it.
pub(crate) fn joins_in_place(
    graph: &Graph,
    uses: &SecondaryMap<Value, Vec<Op>>,
    operand: Value,
) -> bool {
    is_computed(graph, operand)
        && uses[operand].len() == 1
        && graph.outputs.iter().all(|output| output.value != operand)
}

/// The value of which `value` is a slice, through slices of slices; `value` itself if it is none.
pub(crate) fn sliced(graph: &Graph, mut value: Value) -> Value {
    while let Some((_, data)) = graph.producer(value)
        && let OpKind::Slice { .. } = data.kind
    {
        value = data.operands[0];
    }
    value
}

/// A graph whose outputs are the pixels of images instead of the images: the same bytes, which the
/// runtime transposes.
pub(crate) fn planes_removed(graph: &Graph) -> Graph {
    let mut removed = graph.clone();
    for output in &mut removed.outputs {
        if let Some((_, data)) = graph.producer(output.value)
            && let OpKind::Planes { .. } = data.kind
        {
            output.value = data.operands[0];
        }
    }
    let uses = graph.uses();
    removed.order.retain(|op| {
        let data = graph.op(*op);
        !matches!(data.kind, OpKind::Planes { .. }) || !uses[data.results[0]].is_empty()
    });
    removed
}
