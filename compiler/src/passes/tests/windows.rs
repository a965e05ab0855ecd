//! Tokens in another order: windows of a map, shifted ones, neighbours merged.

use ndarray::ArrayD;

use super::{Builder, canonical, counts, error, only};
use crate::calibration::noise;
use crate::interp::FloatInterpreter;
use crate::ir::{BinaryFn, Graph, OpKind, Value};

const SIDE: usize = 6;
const WINDOW: usize = 3;
const WINDOWS: usize = (SIDE / WINDOW) * (SIDE / WINDOW);
const TOKENS: usize = WINDOW * WINDOW;
const HEADS: usize = 2;
const FEATURES: usize = 2;
const CHANNELS: usize = HEADS * FEATURES;

fn output(graph: &Graph) -> ArrayD<f32> {
    let inputs = noise(graph, 1);
    let inputs: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    FloatInterpreter::new(graph).unwrap().run(&inputs).unwrap().remove(0)
}

/// The canonical graph, which computes what the imported one does.
fn equal(graph: &Graph) -> Graph {
    let canonical = canonical(graph);
    let (found, expected) = (output(&canonical), output(graph));
    assert!((&found - &expected).iter().all(|x| x.abs() < 1e-4), "{graph}\n{canonical}");
    canonical
}

/// `torch.roll` of a map along height and width.
fn roll(b: &mut Builder, mut x: Value, by: usize) -> Value {
    for axis in [1, 2] {
        let parts = [b.slice(x, axis, by, SIDE - by), b.slice(x, axis, 0, by)];
        x = b.concat(axis, &parts);
    }
    x
}

fn partition(b: &mut Builder, x: Value) -> Value {
    let channels = b.graph.ty(x).shape[3];
    let x = b.reshape(x, &[1, SIDE / WINDOW, WINDOW, SIDE / WINDOW, WINDOW, channels]);
    let x = b.transpose(x, &[0, 1, 3, 2, 4, 5]);
    b.reshape(x, &[WINDOWS, TOKENS, channels])
}

fn reverse(b: &mut Builder, x: Value) -> Value {
    let x = b.reshape(x, &[1, SIDE / WINDOW, SIDE / WINDOW, WINDOW, WINDOW, CHANNELS]);
    let x = b.transpose(x, &[0, 1, 3, 2, 4, 5]);
    b.reshape(x, &[1, SIDE, SIDE, CHANNELS])
}

/// Attention within windows of a map `[1, side, side, channels]`, with what `bias` makes of the
/// scores.
fn attention(
    b: &mut Builder,
    x: Value,
    shift: usize,
    bias: impl Fn(&mut Builder, Value) -> Value,
) -> Value {
    let rolled = if shift > 0 { roll(b, x, shift) } else { x };
    let rows = partition(b, rolled);
    let qkv = b.linear(rows, 3 * CHANNELS, "qkv");
    let qkv = b.reshape(qkv, &[WINDOWS, TOKENS, 3, HEADS, FEATURES]);
    let qkv = b.transpose(qkv, &[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|i| {
        let part = b.slice(qkv, 0, i, 1);
        b.reshape(part, &[WINDOWS, HEADS, TOKENS, FEATURES])
    });
    let q = b.times(q, 0.7);
    let k = b.transpose(k, &[0, 1, 3, 2]);
    let scores = b.matmul(q, k);
    let scores = bias(b, scores);
    let probabilities = b.softmax(scores);
    let y = b.matmul(probabilities, v);
    let y = b.transpose(y, &[0, 2, 1, 3]);
    let y = b.reshape(y, &[WINDOWS, TOKENS, CHANNELS]);
    let y = b.linear(y, CHANNELS, "proj");
    let y = reverse(b, y);
    let y = if shift > 0 { roll(b, y, SIDE - shift) } else { y };
    b.add(x, y)
}

fn map(b: &mut Builder) -> Value {
    let x = b.input(&[1, SIDE * SIDE, CHANNELS]);
    b.reshape(x, &[1, SIDE, SIDE, CHANNELS])
}

#[test]
fn windows_are_rows_in_another_order() {
    let mut b = Builder::new();
    let x = map(&mut b);
    let y = attention(&mut b, x, 0, |_, scores| scores);
    let graph = equal(&b.finish(&[y]));
    // The order is changed before the products, so that the sum finds its tokens.
    insta::assert_snapshot!(graph);
}

#[test]
fn shifted_windows_are_windows_of_another_order() {
    let mut b = Builder::new();
    let x = map(&mut b);
    let y = attention(&mut b, x, 1, |b, scores| {
        let shared = b.constant("relative", &[1, HEADS, TOKENS, TOKENS]);
        let scores = b.add(scores, shared);
        let mask = b.constant("mask", &[1, WINDOWS, 1, TOKENS, TOKENS]);
        let scores = b.reshape(scores, &[1, WINDOWS, HEADS, TOKENS, TOKENS]);
        let scores = b.add(scores, mask);
        b.reshape(scores, &[WINDOWS, HEADS, TOKENS, TOKENS])
    });
    let graph = equal(&b.finish(&[y]));
    assert_eq!(counts(&graph), "attention 1, binary 1, linear 4, pick_rows 2");
    let op = only(&graph, "attention");
    let OpKind::Attention { windows: WINDOWS, heads: HEADS, .. } = op.kind else {
        panic!("{graph}")
    };
    assert_eq!(graph.ty(op.operands[3]).shape, [WINDOWS * HEADS, TOKENS, TOKENS]);
}

#[test]
fn a_bias_that_windows_share_is_kept_once() {
    let mut b = Builder::new();
    let x = map(&mut b);
    let y = attention(&mut b, x, 0, |b, scores| {
        let shared = b.constant("relative", &[1, HEADS, TOKENS, TOKENS]);
        b.add(scores, shared)
    });
    let graph = equal(&b.finish(&[y]));
    assert_eq!(graph.ty(only(&graph, "attention").operands[3]).shape, [HEADS, TOKENS, TOKENS]);
}

#[test]
fn neighbours_are_merged() {
    let half = SIDE / 2;
    let merged = |b: &mut Builder, x: Value| {
        let x = b.layer_norm(x, "norm");
        b.linear(x, 5, "reduction")
    };
    // As timm has it.
    let mut b = Builder::new();
    let x = map(&mut b);
    let y = b.reshape(x, &[1, half, 2, half, 2, CHANNELS]);
    let y = b.transpose(y, &[0, 1, 3, 4, 2, 5]);
    let y = b.reshape(y, &[1, half, half, 4 * CHANNELS]);
    let y = merged(&mut b, y);
    let reshaped = equal(&b.finish(&[y]));
    assert_eq!(counts(&reshaped), "layer_norm 1, linear 1, pick_rows 1");
    // As torchvision has it.
    let mut b = Builder::new();
    let x = map(&mut b);
    let parts = [[0, 0], [1, 0], [0, 1], [1, 1]].map(|[down, across]| {
        let pick = |axis, start| OpKind::Slice { axis, start, len: half, stride: 2 };
        let rows = b.op(pick(1, down), &[x]);
        b.op(pick(2, across), &[rows])
    });
    let y = b.concat(3, &parts);
    let y = merged(&mut b, y);
    let joined = equal(&b.finish(&[y]));
    let rows = |graph: &Graph| graph.const_i64(only(graph, "pick_rows").operands[1]);
    assert_eq!(rows(&reshaped), rows(&joined));
}

#[test]
fn a_factor_per_channel_goes_into_the_layer_that_follows() {
    let mut b = Builder::new();
    let x = b.input(&[1, 5, CHANNELS]);
    let sum = b.add(x, x);
    let factors = b.constant("bn.weight", &[CHANNELS]);
    let scaled = b.mul(sum, factors);
    let offsets = b.constant("bn.bias", &[CHANNELS]);
    let shifted = b.add(scaled, offsets);
    let y = b.linear(shifted, 3, "head");
    let graph = equal(&b.finish(&[y]));
    assert_eq!(counts(&graph), "binary 1, linear 1");

    // Where none follows, it is one.
    let mut b = Builder::new();
    let x = b.input(&[1, 5, CHANNELS]);
    let factors = b.constant("bn.weight", &[CHANNELS]);
    let y = b.mul(x, factors);
    assert_eq!(counts(&equal(&b.finish(&[y]))), "linear 1");
}

#[test]
fn images_that_no_convolution_reads_are_tokens() {
    let mut b = Builder::new();
    let x = b.input(&[1, 7, 3, 2]);
    let x = b.transpose(x, &[0, 2, 3, 1]);
    let x = b.reshape(x, &[1, 6, 1, 7]);
    let weight = b.constant("w", &[4, 6, 1, 3]);
    let kind = OpKind::Conv { stride: [1, 3], pad: [0, 1, 0, 1], dilation: [1, 1], group: 1 };
    let y = b.op(kind, &[x, weight]);
    let y = b.reshape(y, &[1, 4, 3]);
    let y = b.transpose(y, &[0, 2, 1]);
    let graph = canonical(&b.finish(&[y]));
    assert_eq!(counts(&graph), "linear 1, patches 1");
    assert_eq!(graph.ty(graph.inputs[0].value).shape, [7, 6]);
}

#[test]
fn windows_that_do_not_fit_are_reported() {
    // Heads outside of windows.
    let mut b = Builder::new();
    let x = b.input(&[1, 6, CHANNELS]);
    let x = b.linear(x, CHANNELS, "x");
    let q = b.reshape(x, &[2, 3, HEADS, FEATURES]);
    let q = b.transpose(q, &[2, 0, 1, 3]);
    let k = b.transpose(q, &[0, 1, 3, 2]);
    let scores = b.matmul(q, k);
    let probabilities = b.softmax(scores);
    let y = b.matmul(probabilities, q);
    let message = error(&b.finish(&[y])).to_string();
    assert!(message.contains("tokens along rows and channels along columns"), "{message}");

    // Sums of tokens with different layouts for good.
    let mut b = Builder::new();
    let x = b.input(&[1, 4, 4]);
    let turned = b.transpose(x, &[0, 2, 1]);
    let y = b.binary(BinaryFn::Add, x, turned);
    let message = error(&b.finish(&[y])).to_string();
    assert!(message.contains("with different layouts"), "{message}");
}
