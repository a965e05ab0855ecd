//! Merges equal operations and equal constants.

use std::collections::BTreeMap;

use cranelift_entity::SecondaryMap;

use crate::ir::{Elem, Graph, Value};

/// Merges equal operations on equal operands, and equal constants.
pub(super) fn run(graph: &Graph) -> Graph {
    let mut merged = graph.clone();
    let mut canonical: SecondaryMap<Value, Option<Value>> = SecondaryMap::new();

    let mut constants = BTreeMap::new();
    for (value, data) in graph.values() {
        if let Some(constant) = graph.constant(value) {
            let key: (Elem, _, _) = (data.ty.elem, &data.ty.shape, &constant.bytes);
            canonical[value] = Some(*constants.entry(key).or_insert(value));
        }
    }

    let mut steps = Vec::new();
    let mut operations: BTreeMap<(Vec<Value>, String), Vec<Value>> = BTreeMap::new();
    for id in &graph.order {
        let op = merged.op_mut(*id);
        for operand in &mut op.operands {
            *operand = canonical[*operand].unwrap_or(*operand);
        }
        // The key is the text of an operation: attributes hold real numbers, which have no total
        // order.
        let first = operations
            .entry((op.operands.clone(), format!("{:?}", op.kind)))
            .or_insert_with(|| op.results.clone());
        for (result, first) in op.results.iter().zip(first.iter()) {
            canonical[*result] = Some(*first);
            steps.extend(graph.ty(*result).step.map(|step| (*first, step)));
        }
    }
    steps.into_iter().for_each(|(value, step)| merged.note_step(value, step));
    for output in &mut merged.outputs {
        output.value = canonical[output.value].unwrap_or(output.value);
    }
    merged.compacted()
}
