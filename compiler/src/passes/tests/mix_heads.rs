//! Auto-encoders: products across heads, in whatever order tokens and features lie.

use ndarray::{ArrayD, IxDyn};

use super::{Builder, canonical, counts, floats, only, run};
use crate::interp::FloatInterpreter;
use crate::ir::{Graph, OpKind, Value};
use crate::passes;

const TOKENS: usize = 5;
const HEADS: usize = 3;
const FEATURES: usize = 4;
const CHANNELS: usize = HEADS * FEATURES;

/// Heads of a linear layer, `[1, heads, tokens, features]`.
fn heads(b: &mut Builder) -> Value {
    let x = b.input(&[1, TOKENS, 6]);
    let x = b.linear(x, CHANNELS, "projection");
    let x = b.reshape(x, &[1, TOKENS, HEADS, FEATURES]);
    b.transpose(x, &[0, 2, 1, 3])
}

/// What `coder` makes of the heads `[1, tokens, features, heads]`, as tokens x channels.
fn coded(coder: impl Fn(&mut Builder, Value) -> Value) -> Graph {
    let mut b = Builder::new();
    let x = heads(&mut b);
    let x = b.transpose(x, &[0, 2, 3, 1]);
    let y = coder(&mut b, x);
    let y = b.transpose(y, &[0, 1, 3, 2]);
    let channels = b.graph.ty(y).shape[2] * FEATURES;
    let y = b.reshape(y, &[1, TOKENS, channels]);
    b.finish(&[y])
}

/// The canonical form, which computes the same.
fn checked(graph: &Graph) -> Graph {
    let canonical = canonical(graph);
    let image: Vec<f32> = (0..TOKENS * 6).map(|i| (i * 7 % 31) as f32 / 16.0 - 1.0).collect();
    let output = |graph: &Graph| {
        let x = ArrayD::from_shape_vec(IxDyn(&graph.inputs[0].shape), image.clone()).unwrap();
        FloatInterpreter::new(graph).unwrap().run(&[x.view()]).unwrap().remove(0)
    };
    let (expected, found) = (output(graph), output(&canonical));
    assert!(
        (&expected - &found).iter().all(|x| x.abs() < 1e-4),
        "{canonical}\n{expected}\n{found}"
    );
    canonical
}

#[test]
fn encoder_and_decoder() {
    let graph = checked(&coded(|b, x| {
        let z = b.linear(x, 2, "encoder");
        b.linear(z, HEADS, "decoder")
    }));
    assert_eq!(counts(&graph), "linear 1, mix_heads 2");
    let mut b = Builder::new();
    let weight = b.constant("encoder.weight", &[HEADS, 2]);
    let weight = floats(&b.graph, weight);
    let encoder = graph
        .order
        .iter()
        .map(|op| graph.op(*op))
        .find(|op| op.kind.mnemonic() == "mix_heads")
        .unwrap();
    assert_eq!(encoder.kind, OpKind::MixHeads { heads_in: HEADS, heads_out: 2 });
    let expected: Vec<f32> =
        (0..2).flat_map(|o| (0..HEADS).map(move |h| h * 2 + o)).map(|at| weight[at]).collect();
    assert_eq!(floats(&graph, encoder.operands[1]), expected);
    assert_eq!(graph.constant(encoder.operands[2]).unwrap().name, "encoder.bias");
}

#[test]
fn without_biases() {
    let graph = checked(&coded(|b, x| {
        let weight = b.constant("encoder", &[HEADS, 2]);
        b.matmul(x, weight)
    }));
    assert_eq!(floats(&graph, only(&graph, "mix_heads").operands[2]), [0.0; 2]);
}

#[test]
fn tokens_and_features_in_one_dimension() {
    // As after onnxsim: Reshape, Gemm, Reshape.
    let graph = checked(&coded(|b, x| {
        let x = b.reshape(x, &[TOKENS * FEATURES, HEADS]);
        let z = b.linear(x, 2, "encoder");
        b.reshape(z, &[1, TOKENS, FEATURES, 2])
    }));
    assert_eq!(counts(&graph), "linear 1, mix_heads 1");
}

#[test]
fn features_outside_tokens() {
    let mut b = Builder::new();
    let x = heads(&mut b);
    let x = b.transpose(x, &[0, 3, 2, 1]);
    let z = b.linear(x, 2, "encoder");
    let z = b.transpose(z, &[0, 2, 3, 1]);
    let z = b.reshape(z, &[1, TOKENS, 2 * FEATURES]);
    let graph = checked(&b.finish(&[z]));
    assert_eq!(counts(&graph), "linear 1, mix_heads 1");
}

#[test]
fn factors_of_heads_are_part_of_them() {
    let factors = [&[1][..], &[2]].map(|shape| {
        let graph = checked(&coded(|b, x| {
            let x = b.times(x, 0.5);
            let z = b.linear(x, 2, "encoder");
            let factor = b.constant("factor", shape);
            b.mul(z, factor)
        }));
        counts(&graph)
    });
    assert_eq!(factors, ["linear 1, mix_heads 1"; 2]);
}

#[test]
fn factors_and_sums_of_features_are_not() {
    let graph = checked(&coded(|b, x| {
        let z = b.linear(x, 2, "encoder");
        let factor = b.constant("factor", &[FEATURES, 1]);
        b.mul(z, factor)
    }));
    assert_eq!(counts(&graph), "linear 2, mix_heads 1");
    let graph = checked(&coded(|b, x| {
        let z = b.linear(x, 2, "encoder");
        let addend = b.constant("addend", &[FEATURES, 1]);
        b.add(z, addend)
    }));
    assert_eq!(counts(&graph), "binary 1, linear 1, mix_heads 1");
}

#[test]
fn only_tokens_that_somebody_needs_are_coded() {
    let mut b = Builder::new();
    let x = heads(&mut b);
    let x = b.transpose(x, &[0, 2, 3, 1]);
    let z = b.linear(x, 2, "encoder");
    let z = b.slice(z, 1, 2, 1);
    let z = b.transpose(z, &[0, 1, 3, 2]);
    let graph = b.finish(&[z]);
    let graph = run(&graph, passes::CANONICALISE);
    assert_eq!(graph.ty(only(&graph, "mix_heads").results[0]).shape, [1, 2 * FEATURES]);
}
