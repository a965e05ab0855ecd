//! Recognises softmax written as elementary operations.

use super::pattern::{binary, nodes_between, unary};
use crate::ir::{BinaryFn, Graph, OpKind, UnaryFn, Value};

/// Replaces every quotient of an exponential and its sum along one axis by a `softmax`. What is
/// taken from the exponent before, its maximum, changes nothing.
pub(super) fn run(graph: &Graph) -> Graph {
    let mut result = graph.clone();
    for id in &graph.order {
        let op = graph.op(*id);
        let Some((x, axis)) = op.results.first().and_then(|root| softmax(graph, *root)) else {
            continue;
        };
        let nodes = nodes_between(graph, x, op.results[0]);
        let op = result.op_mut(*id);
        op.kind = OpKind::Softmax { axis };
        op.operands = vec![x];
        op.nodes = nodes;
    }
    result.compacted()
}

/// Matches a softmax whose result is `root`: its operand and axis.
fn softmax(graph: &Graph, root: Value) -> Option<(Value, usize)> {
    let (exponential, sum) = match binary(graph, root)? {
        (BinaryFn::Div, exponential, sum) => (exponential, sum),
        (BinaryFn::Mul, a, b) => match (unary(graph, a), unary(graph, b)) {
            (_, Some((UnaryFn::Reciprocal, sum))) => (a, sum),
            (Some((UnaryFn::Reciprocal, sum)), _) => (b, sum),
            _ => return None,
        },
        _ => return None,
    };
    let (UnaryFn::Exp, x) = unary(graph, exponential)? else { return None };
    let axis = summed_axis(graph, sum, exponential)?;
    let stable = match binary(graph, x) {
        Some((BinaryFn::Sub, y, max)) if is_max(graph, max, y, axis) => y,
        _ => x,
    };
    Some((stable, axis))
}

/// The axis over which `sum` is the sum of `x`: its mean times the extent.
fn summed_axis(graph: &Graph, sum: Value, x: Value) -> Option<usize> {
    let (BinaryFn::Mul, a, b) = binary(graph, sum)? else { return None };
    let (mean, count) = match graph.const_scalar(b) {
        Some(count) => (a, count),
        None => (b, graph.const_scalar(a)?),
    };
    let (_, op) = graph.producer(mean)?;
    match &op.kind {
        OpKind::ReduceMean { axes, keep: true } if op.operands[0] == x => {
            let [axis] = axes[..] else { return None };
            (graph.ty(x).shape[axis] as f32 == count).then_some(axis)
        }
        _ => None,
    }
}

/// Whether `max` is the maximum of `x` over an axis.
fn is_max(graph: &Graph, max: Value, x: Value, axis: usize) -> bool {
    graph.producer(max).is_some_and(|(_, op)| {
        op.kind == OpKind::ReduceMax { axes: vec![axis], keep: true } && op.operands[0] == x
    })
}
