//! LayerNorm written out, as exporters do below opset 17.

use super::cone::{binary, nodes_between, unary};
use crate::ir::{BinaryFn, Graph, OpKind, UnaryFn, Value};

/// The same graph in which every normalisation over the last dimension that is written out is one `layer_norm`.
pub(super) fn run(graph: &Graph) -> Graph {
    let mut result = graph.clone();
    for id in &graph.order {
        let op = graph.op(*id);
        let Some((x, eps)) = op.results.first().and_then(|root| normalisation(graph, *root)) else { continue };
        let Some(channels) = graph.ty(x).shape.last().copied() else { continue };
        let gamma = result.add_f32("", [channels], &vec![1.0; channels]);
        let beta = result.add_f32("", [channels], &vec![0.0; channels]);
        let nodes = nodes_between(graph, x, op.results[0]);
        let op = result.op_mut(*id);
        op.kind = OpKind::LayerNorm { eps };
        op.operands = vec![x, gamma, beta];
        op.nodes = nodes;
    }
    result.compacted()
}

/// `x` and `eps` where `root` is `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)`.
fn normalisation(graph: &Graph, root: Value) -> Option<(Value, f64)> {
    let (centred, variance) = match binary(graph, root)? {
        (BinaryFn::Div, centred, deviation) => (centred, square_root(graph, deviation)?),
        (BinaryFn::Mul, a, b) => match inverse_square_root(graph, b) {
            Some(variance) => (a, variance),
            None => (b, inverse_square_root(graph, a)?),
        },
        _ => return None,
    };
    let (BinaryFn::Sub, x, mean) = binary(graph, centred)? else { return None };
    if mean_over_channels(graph, mean)? != x {
        return None;
    }
    let (BinaryFn::Add, a, b) = binary(graph, variance)? else { return None };
    let (variance, eps) = match graph.const_scalar(b) {
        Some(eps) => (a, eps),
        None => (b, graph.const_scalar(a)?),
    };
    (square_of(graph, mean_over_channels(graph, variance)?)? == centred).then_some((x, f64::from(eps)))
}

/// `x` where `value` is its mean over the last dimension, which stays.
fn mean_over_channels(graph: &Graph, value: Value) -> Option<Value> {
    let (_, op) = graph.producer(value)?;
    let x = *op.operands.first()?;
    match &op.kind {
        OpKind::ReduceMean { axes, keep: true } => (*axes == [graph.ty(x).rank().checked_sub(1)?]).then_some(x),
        _ => None,
    }
}

/// `x` where `value` is its square.
fn square_of(graph: &Graph, value: Value) -> Option<Value> {
    match binary(graph, value)? {
        (BinaryFn::Pow, x, exponent) if graph.const_scalar(exponent) == Some(2.0) => Some(x),
        (BinaryFn::Mul, a, b) if a == b => Some(a),
        _ => None,
    }
}

/// `x` where `value` is its square root.
fn square_root(graph: &Graph, value: Value) -> Option<Value> {
    match unary(graph, value) {
        Some((UnaryFn::Sqrt, x)) => Some(x),
        Some(_) => None,
        None => power(graph, value, 0.5),
    }
}

/// `x` where `value` is one over its square root.
fn inverse_square_root(graph: &Graph, value: Value) -> Option<Value> {
    if let Some((UnaryFn::Reciprocal, root)) = unary(graph, value) {
        return square_root(graph, root);
    }
    match binary(graph, value)? {
        (BinaryFn::Div, one, root) if graph.const_scalar(one) == Some(1.0) => square_root(graph, root),
        _ => power(graph, value, -0.5),
    }
}

/// `x` where `value` is it to a power.
fn power(graph: &Graph, value: Value, exponent: f32) -> Option<Value> {
    match binary(graph, value)? {
        (BinaryFn::Pow, x, e) if graph.const_scalar(e) == Some(exponent) => Some(x),
        _ => None,
    }
}
