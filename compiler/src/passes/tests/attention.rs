//! Attention around layouts of every kind.

use super::{Builder, canonical, counts, error, floats, only};
use crate::ir::{BinaryFn, Graph, OpKind, Value};

const TOKENS: usize = 5;
const HEADS: usize = 2;
const FEATURES: usize = 3;
const CHANNELS: usize = HEADS * FEATURES;

/// Queries, keys and values from one linear layer, whose channels lie as `[3, heads, features]`;
/// each `[1, heads, tokens, features]`.
fn split(b: &mut Builder, x: Value) -> [Value; 3] {
    let qkv = b.linear(x, 3 * CHANNELS, "qkv");
    let qkv = b.reshape(qkv, &[1, TOKENS, 3, HEADS, FEATURES]);
    let qkv = b.transpose(qkv, &[2, 0, 3, 1, 4]);
    [0, 1, 2].map(|i| {
        let part = b.slice(qkv, 0, i, 1);
        b.reshape(part, &[1, HEADS, TOKENS, FEATURES])
    })
}

fn merge(b: &mut Builder, x: Value) -> Value {
    let x = b.transpose(x, &[0, 2, 1, 3]);
    b.reshape(x, &[1, TOKENS, CHANNELS])
}

/// Attention of what `split` gives, with `scores` of queries and keys.
fn attention(scores: impl Fn(&mut Builder, Value, Value) -> Value) -> Graph {
    let mut b = Builder::new();
    let x = b.input(&[1, TOKENS, CHANNELS]);
    let [q, k, v] = split(&mut b, x);
    let scores = scores(&mut b, q, k);
    let probabilities = b.softmax(scores);
    let y = b.matmul(probabilities, v);
    let y = merge(&mut b, y);
    b.finish(&[y])
}

fn product(b: &mut Builder, q: Value, k: Value) -> Value {
    let k = b.transpose(k, &[0, 1, 3, 2]);
    b.matmul(q, k)
}

#[test]
fn one_linear_layer_becomes_three() {
    let graph = canonical(&attention(product));
    insta::assert_snapshot!(graph);

    // Weights are [inputs, outputs] in the model, and [outputs, inputs] here.
    let mut b = Builder::new();
    let weight = b.constant("qkv.weight", &[CHANNELS, 3 * CHANNELS]);
    let weight = floats(&b.graph, weight);
    for (part, op) in graph.order[..3].iter().enumerate() {
        let found = floats(&graph, graph.op(*op).operands[1]);
        let expected: Vec<f32> = (0..CHANNELS)
            .flat_map(|output| (0..CHANNELS).map(move |input| (input, part * CHANNELS + output)))
            .map(|(input, output)| weight[input * 3 * CHANNELS + output])
            .collect();
        assert_eq!(found, expected);
    }
}

/// The scale of attention whose scores are made so.
fn scale(scores: impl Fn(&mut Builder, Value, Value) -> Value) -> f64 {
    let graph = canonical(&attention(scores));
    assert_eq!(counts(&graph), "attention 1, linear 3");
    let OpKind::Attention { heads: HEADS, scale, windows: 1 } = only(&graph, "attention").kind
    else {
        panic!("{graph}")
    };
    scale
}

#[test]
fn factors_anywhere_are_the_scale() {
    assert_eq!(scale(product), 1.0);
    let on_q = scale(|b, q, k| {
        let q = b.times(q, 0.5);
        product(b, q, k)
    });
    let on_both = scale(|b, q, k| {
        let (q, k) = (b.times(q, 0.5), b.times(k, 0.25));
        product(b, q, k)
    });
    let on_transposed = scale(|b, q, k| {
        let k = b.transpose(k, &[0, 1, 3, 2]);
        let k = b.times(k, 0.125);
        b.matmul(q, k)
    });
    let on_scores = scale(|b, q, k| {
        let scores = product(b, q, k);
        let divisor = b.scalar(4.0);
        b.binary(BinaryFn::Div, scores, divisor)
    });
    assert_eq!([on_q, on_both, on_transposed, on_scores], [0.5, 0.125, 0.125, 0.25]);
}

#[test]
fn reshapes_around_the_heads_vanish() {
    // The dynamo exporter's fused form.
    let detour = scale(|b, q, k| {
        let k = b.reshape(k, &[HEADS, TOKENS, FEATURES]);
        let k = b.transpose(k, &[0, 2, 1]);
        let k = b.reshape(k, &[1, HEADS, FEATURES, TOKENS]);
        b.matmul(q, k)
    });
    assert_eq!(detour, 1.0);
    // Products of rank 3, the softmax at rank 4.
    let batched = scale(|b, q, k| {
        let [q, k] = [q, k].map(|x| b.reshape(x, &[HEADS, TOKENS, FEATURES]));
        let k = b.transpose(k, &[0, 2, 1]);
        let scores = b.matmul(q, k);
        b.reshape(scores, &[1, HEADS, TOKENS, TOKENS])
    });
    assert_eq!(batched, 1.0);
}

#[test]
fn constants_added_to_scores_are_the_bias() {
    let graph = canonical(&attention(|b, q, k| {
        let scores = product(b, q, k);
        let bias = b.constant("bias", &[HEADS, TOKENS, TOKENS]);
        let scores = b.add(bias, scores);
        let row =
            b.graph.add_f32("row", [1, 1, 1, TOKENS], &[0.0, 0.0, f32::NEG_INFINITY, 0.0, 1.0]);
        let scores = b.add(scores, row);
        b.times(scores, 2.0)
    }));
    let op = only(&graph, "attention");
    assert_eq!(op.kind, OpKind::Attention { heads: HEADS, scale: 2.0, windows: 1 });
    assert_eq!(graph.ty(op.operands[3]).shape, [HEADS, TOKENS, TOKENS]);
    let mut b = Builder::new();
    let bias = b.constant("bias", &[HEADS, TOKENS, TOKENS]);
    let row = [0.0, 0.0, f32::NEG_INFINITY, 0.0, 1.0];
    let expected: Vec<f32> = floats(&b.graph, bias)
        .iter()
        .enumerate()
        .map(|(i, x)| (x + row[i % TOKENS]) * 2.0)
        .collect();
    assert_eq!(floats(&graph, op.operands[3]), expected);
}

#[test]
fn heads_apart_in_the_weights_are_brought_together() {
    // Channels lie as [heads, 3 parts, features], so that each part has a piece in every head.
    let mut b = Builder::new();
    let x = b.input(&[1, TOKENS, CHANNELS]);
    let qkv = b.linear(x, 3 * CHANNELS, "qkv");
    let qkv = b.reshape(qkv, &[1, TOKENS, HEADS, 3 * FEATURES]);
    let [q, k, v] = [0, 1, 2].map(|i| {
        let part = b.slice(qkv, 3, i * FEATURES, FEATURES);
        b.transpose(part, &[0, 2, 1, 3])
    });
    let scores = product(&mut b, q, k);
    let probabilities = b.softmax(scores);
    let y = b.matmul(probabilities, v);
    let y = merge(&mut b, y);
    let graph = canonical(&b.finish(&[y]));
    assert_eq!(counts(&graph), "attention 1, linear 3");

    let mut b = Builder::new();
    let bias = b.constant("qkv.bias", &[3 * CHANNELS]);
    let bias = floats(&b.graph, bias);
    for (part, op) in graph.order[..3].iter().enumerate() {
        let expected: Vec<f32> = (0..CHANNELS)
            .map(|c| bias[c / FEATURES * 3 * FEATURES + part * FEATURES + c % FEATURES])
            .collect();
        assert_eq!(floats(&graph, graph.op(*op).operands[2]), expected);
    }
}

#[test]
fn tokens_first_as_torchvision_has_them() {
    let mut b = Builder::new();
    let x = b.input(&[1, TOKENS, CHANNELS]);
    let x = b.transpose(x, &[1, 0, 2]);
    let qkv = b.linear(x, 3 * CHANNELS, "in_proj");
    let qkv = b.reshape(qkv, &[TOKENS, 1, 3, CHANNELS]);
    let qkv = b.reshape(qkv, &[1, TOKENS, 1, 3, CHANNELS]);
    let qkv = b.transpose(qkv, &[3, 1, 2, 0, 4]);
    let qkv = b.reshape(qkv, &[3, TOKENS, 1, CHANNELS]);
    let [q, k, v] = [0, 1, 2].map(|i| {
        let part = b.gather(qkv, 0, &[], &[i]);
        let part = b.reshape(part, &[TOKENS, HEADS, FEATURES]);
        let part = b.transpose(part, &[1, 0, 2]);
        b.reshape(part, &[1, HEADS, TOKENS, FEATURES])
    });
    let scores = product(&mut b, q, k);
    let probabilities = b.softmax(scores);
    let y = b.matmul(probabilities, v);
    let y = b.transpose(y, &[2, 0, 1, 3]);
    let y = b.reshape(y, &[TOKENS, CHANNELS]);
    let y = b.linear(y, CHANNELS, "out_proj");
    let y = b.reshape(y, &[TOKENS, 1, CHANNELS]);
    let y = b.transpose(y, &[1, 0, 2]);
    let graph = canonical(&b.finish(&[y]));
    assert_eq!(counts(&graph), "attention 1, linear 4");
}

#[test]
fn a_factor_of_values_goes_to_their_weights() {
    let mut b = Builder::new();
    let x = b.input(&[1, TOKENS, CHANNELS]);
    let [q, k, v] = split(&mut b, x);
    let scores = product(&mut b, q, k);
    let probabilities = b.softmax(scores);
    let v = b.times(v, 0.5);
    let y = b.matmul(probabilities, v);
    let y = merge(&mut b, y);
    let graph = canonical(&b.finish(&[y]));
    assert_eq!(counts(&graph), "attention 1, linear 3");
    let plain = canonical(&attention(product));
    let weights = |graph: &Graph| floats(graph, graph.op(graph.order[2]).operands[1]);
    let halved: Vec<f32> = weights(&plain).iter().map(|x| x / 2.0).collect();
    assert_eq!(weights(&graph), halved);
}

#[test]
fn other_uses_of_scores_are_reported() {
    let graph = attention(|b, q, k| {
        let scores = product(b, q, k);
        b.unary(crate::ir::UnaryFn::Tanh, scores)
    });
    insta::assert_snapshot!(error(&graph), @r"
    canonicalise: 1 part of the model is not supported
      node /unary_12 (unary): found attention scores, expected tokens
    ");
}
