//! Recognises SiLU and Mish written as products.

use super::pattern::{binary, nodes_between, unary};
use crate::ir::{BinaryFn, Graph, OpKind, UnaryFn, Value};

/// Replaces `x sigmoid(a x)` by `silu(a x) / a`, and `x tanh(softplus(x))` by `mish`.
pub(super) fn run(graph: &Graph) -> Graph {
    let uses = graph.uses();
    let is_output = |value| graph.outputs.iter().any(|output| output.value == value);
    let mut result = graph.clone();
    for id in &graph.order {
        let op = graph.op(*id);
        let Some((BinaryFn::Mul, a, b)) = op.results.first().and_then(|root| binary(graph, *root))
        else {
            continue;
        };
        let Some((f, x, gate, factor)) = gated(graph, a, b).or_else(|| gated(graph, b, a)) else {
            continue;
        };
        let nodes = nodes_between(graph, x, op.results[0]);
        if factor == 1.0 {
            let op = result.op_mut(*id);
            (op.kind, op.operands, op.nodes) = (OpKind::Unary { f }, vec![x], nodes);
            continue;
        }
        // The gate becomes the function of the scaled operand, unless something else reads it.
        if uses[gate].len() != 1 || is_output(gate) {
            continue;
        }
        let Some((sigmoid, data)) = graph.producer(gate) else { continue };
        let scaled = data.operands[0];
        let inverse = result.add_f32("", [], &[(1.0 / factor) as f32]);
        result.op_mut(sigmoid).kind = OpKind::Unary { f };
        let op = result.op_mut(*id);
        op.operands = vec![gate, inverse];
        op.nodes = nodes_between(graph, scaled, op.results[0]);
    }
    result.compacted()
}

/// If `x gate` is a gated function: the function, its operand, the gate, and the factor of the
/// operand inside the gate.
fn gated(graph: &Graph, x: Value, gate: Value) -> Option<(UnaryFn, Value, Value, f64)> {
    match unary(graph, gate)? {
        (UnaryFn::Sigmoid, inner) => {
            let factor = factor_of(graph, inner, x)?;
            Some((UnaryFn::Silu, x, gate, factor))
        }
        (UnaryFn::Tanh, inner) => match unary(graph, inner)? {
            (UnaryFn::Softplus, y) if y == x => Some((UnaryFn::Mish, x, gate, 1.0)),
            _ => None,
        },
        _ => None,
    }
}

/// The factor by which `value` is a multiple of `x`.
fn factor_of(graph: &Graph, value: Value, x: Value) -> Option<f64> {
    if value == x {
        return Some(1.0);
    }
    let number = |value| graph.const_scalar(value).map(f64::from).filter(|x| *x != 0.0);
    let factor = match binary(graph, value)? {
        (BinaryFn::Mul, a, b) if a == x => number(b)?,
        (BinaryFn::Mul, a, b) if b == x => number(a)?,
        (BinaryFn::Div, a, b) if a == x => 1.0 / number(b)?,
        _ => return None,
    };
    factor.is_finite().then_some(factor)
}
