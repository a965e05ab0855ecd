//! Matchers of operations that several fusion passes share.

use std::collections::BTreeSet;

use crate::ir::{BinaryFn, Graph, Node, OpKind, UnaryFn, Value};

/// If `value` is the result of a binary operation, returns its function and operands.
pub(super) fn binary(graph: &Graph, value: Value) -> Option<(BinaryFn, Value, Value)> {
    let (_, op) = graph.producer(value)?;
    match op.kind {
        OpKind::Binary { f } => Some((f, op.operands[0], op.operands[1])),
        _ => None,
    }
}

/// If `value` is the result of a unary operation, returns its function and operand.
pub(super) fn unary(graph: &Graph, value: Value) -> Option<(UnaryFn, Value)> {
    let (_, op) = graph.producer(value)?;
    match op.kind {
        OpKind::Unary { f } => Some((f, op.operands[0])),
        _ => None,
    }
}

/// The ONNX nodes of all operations from `leaf` (exclusive) to `root` (inclusive), in the model's
/// order.
pub(super) fn nodes_between(graph: &Graph, leaf: Value, root: Value) -> Vec<Node> {
    let mut seen = BTreeSet::from([leaf]);
    let mut nodes = BTreeSet::new();
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        if let Some((_, op)) = graph.producer(value) {
            nodes.extend(&op.nodes);
            open.extend(&op.operands);
        }
    }
    nodes.into_iter().collect()
}
