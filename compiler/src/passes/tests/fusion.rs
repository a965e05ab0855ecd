//! LayerNorm and GELU written out, and merging.

use super::{Builder, counts, floats, only, run};
use crate::ir::{BinaryFn, Graph, OpKind, UnaryFn, Value};

const SQRT_2: f32 = std::f32::consts::SQRT_2;

fn gelu(build: impl Fn(&mut Builder, Value) -> Value) -> Graph {
    let mut b = Builder::new();
    let x = b.input(&[1, 3, 4]);
    let y = build(&mut b, x);
    run(&b.finish(&[y]), &["cse", "gelu"])
}

fn erf_plus_1(b: &mut Builder, u: Value) -> Value {
    let e = b.unary(UnaryFn::Erf, u);
    let one = b.scalar(1.0);
    b.add(e, one)
}

#[test]
fn gelu_in_the_arrangements_of_exporters() {
    let arrangements: [fn(&mut Builder, Value) -> Value; 5] = [
        // torch.onnx: x / sqrt(2), erf, + 1, x *, * 0.5.
        |b, x| {
            let root = b.scalar(SQRT_2);
            let u = b.binary(BinaryFn::Div, x, root);
            let gate = erf_plus_1(b, u);
            let y = b.mul(x, gate);
            b.times(y, 0.5)
        },
        // The dynamo exporter: (0.5 x) * (1 + erf(x * 0.7071)).
        |b, x| {
            let u = b.times(x, 1.0 / SQRT_2);
            let half = b.times(x, 0.5);
            let gate = erf_plus_1(b, u);
            b.mul(half, gate)
        },
        // The gate halved, operands swapped.
        |b, x| {
            let root = b.scalar(SQRT_2);
            let u = b.binary(BinaryFn::Div, x, root);
            let gate = erf_plus_1(b, u);
            let half = b.scalar(0.5);
            let gate = b.mul(half, gate);
            b.mul(gate, x)
        },
        // erf * 0.5 + 0.5.
        |b, x| {
            let u = b.times(x, 1.0 / SQRT_2);
            let e = b.unary(UnaryFn::Erf, u);
            let e = b.times(e, 0.5);
            let half = b.scalar(0.5);
            let gate = b.add(half, e);
            b.mul(x, gate)
        },
        // Constants that were in half precision.
        |b, x| {
            let root = b.scalar(1.4140625);
            let u = b.binary(BinaryFn::Div, x, root);
            let gate = erf_plus_1(b, u);
            let y = b.mul(x, gate);
            let two = b.scalar(2.0);
            b.binary(BinaryFn::Div, y, two)
        },
    ];
    for build in arrangements {
        let graph = gelu(build);
        assert_eq!(graph.order.len(), 1, "{graph}");
        assert_eq!(only(&graph, "unary").kind, OpKind::Unary { f: UnaryFn::Gelu });
    }
}

#[test]
fn gelu_by_tanh() {
    let arrangements: [fn(&mut Builder, Value) -> Value; 2] = [
        |b, x| {
            let three = b.scalar(3.0);
            let cube = b.binary(BinaryFn::Pow, x, three);
            let cube = b.times(cube, 0.044715);
            let sum = b.add(x, cube);
            b.times(sum, 0.797_884_6)
        },
        // x (1 + 0.044715 x x) sqrt(2 / pi).
        |b, x| {
            let square = b.mul(x, x);
            let square = b.times(square, 0.044715);
            let one = b.scalar(1.0);
            let sum = b.add(square, one);
            let x = b.times(x, 0.797_884_6);
            b.mul(x, sum)
        },
    ];
    for inner in arrangements {
        let graph = gelu(|b, x| {
            let u = inner(b, x);
            let t = b.unary(UnaryFn::Tanh, u);
            let one = b.scalar(1.0);
            let gate = b.add(t, one);
            let y = b.mul(x, gate);
            b.times(y, 0.5)
        });
        assert_eq!(graph.order.len(), 1, "{graph}");
        assert_eq!(only(&graph, "unary").kind, OpKind::Unary { f: UnaryFn::GeluTanh });
    }
}

#[test]
fn what_is_only_like_gelu_stays() {
    let wrong: [(f32, f32); 2] = [(1.5, 0.5), (SQRT_2, 0.6)];
    for (root, half) in wrong {
        let graph = gelu(|b, x| {
            let root = b.scalar(root);
            let u = b.binary(BinaryFn::Div, x, root);
            let gate = erf_plus_1(b, u);
            let y = b.mul(x, gate);
            b.times(y, half)
        });
        assert_eq!(counts(&graph), "binary 4, unary 1");
    }
}

#[test]
fn gelu_remembers_its_nodes() {
    let graph = gelu(|b, x| {
        let root = b.scalar(SQRT_2);
        let u = b.binary(BinaryFn::Div, x, root);
        let gate = erf_plus_1(b, u);
        let y = b.mul(x, gate);
        b.times(y, 0.5)
    });
    let names: Vec<&str> =
        only(&graph, "unary").nodes.iter().map(|node| graph.node(*node)).collect();
    assert_eq!(names, ["/binary_0", "/unary_1", "/binary_2", "/binary_3", "/binary_4"]);
}

fn mean(b: &mut Builder, x: Value) -> Value {
    b.op(OpKind::ReduceMean { axes: vec![2], keep: true }, &[x])
}

/// `x - mean(x)`, and the mean of its square by `square`, plus eps.
fn moments(
    b: &mut Builder,
    x: Value,
    square: impl Fn(&mut Builder, Value) -> Value,
) -> (Value, Value) {
    let m = mean(b, x);
    let centred = b.binary(BinaryFn::Sub, x, m);
    let squared = square(b, centred);
    let variance = mean(b, squared);
    let eps = b.scalar(1e-6);
    (centred, b.add(variance, eps))
}

fn by_power(b: &mut Builder, x: Value) -> Value {
    let two = b.scalar(2.0);
    b.binary(BinaryFn::Pow, x, two)
}

#[test]
fn layer_norm_in_several_operators() {
    let forms: [fn(&mut Builder, Value) -> Value; 5] = [
        |b, x| {
            let (centred, variance) = moments(b, x, by_power);
            let deviation = b.unary(UnaryFn::Sqrt, variance);
            b.binary(BinaryFn::Div, centred, deviation)
        },
        |b, x| {
            let (centred, variance) = moments(b, x, |b, x| b.mul(x, x));
            let deviation = b.unary(UnaryFn::Sqrt, variance);
            let inverse = b.unary(UnaryFn::Reciprocal, deviation);
            b.mul(inverse, centred)
        },
        |b, x| {
            let (centred, variance) = moments(b, x, by_power);
            let exponent = b.scalar(-0.5);
            let inverse = b.binary(BinaryFn::Pow, variance, exponent);
            b.mul(centred, inverse)
        },
        |b, x| {
            let (centred, variance) = moments(b, x, by_power);
            let exponent = b.scalar(0.5);
            let deviation = b.binary(BinaryFn::Pow, variance, exponent);
            let one = b.scalar(1.0);
            let inverse = b.binary(BinaryFn::Div, one, deviation);
            b.mul(centred, inverse)
        },
        // The difference computed twice.
        |b, x| {
            let (_, variance) = moments(b, x, by_power);
            let m = mean(b, x);
            let centred = b.binary(BinaryFn::Sub, x, m);
            let deviation = b.unary(UnaryFn::Sqrt, variance);
            b.binary(BinaryFn::Div, centred, deviation)
        },
    ];
    for build in forms {
        let mut b = Builder::new();
        let x = b.input(&[1, 3, 4]);
        let y = build(&mut b, x);
        let graph = run(&b.finish(&[y]), &["cse", "layer-norm"]);
        assert_eq!(graph.order.len(), 1, "{graph}");
        let op = only(&graph, "layer_norm");
        assert_eq!(op.kind, OpKind::LayerNorm { eps: f64::from(1e-6_f32) });
        assert_eq!(floats(&graph, op.operands[1]), [1.0; 4]);
        assert_eq!(floats(&graph, op.operands[2]), [0.0; 4]);
    }
}

/// Of 4 channels: the mean of squares as sum over one less, as `torch.std` has it.
fn unbiased(b: &mut Builder, x: Value, reshaped: bool) -> (Value, Value) {
    let m = mean(b, x);
    let centred = b.binary(BinaryFn::Sub, x, m);
    let squared = b.mul(centred, centred);
    let spread = b.op(OpKind::ReduceMean { axes: vec![2], keep: !reshaped }, &[squared]);
    let sum = b.times(spread, 4.0);
    let three = b.scalar(3.0);
    let variance = b.binary(BinaryFn::Div, sum, three);
    let variance = if reshaped { b.reshape(variance, &[1, 3, 1]) } else { variance };
    let deviation = b.unary(UnaryFn::Sqrt, variance);
    let eps = b.scalar(1e-3);
    (centred, b.add(deviation, eps))
}

#[test]
fn layer_norm_with_the_epsilon_outside_of_the_root() {
    for reshaped in [false, true] {
        let mut b = Builder::new();
        let x = b.input(&[1, 3, 4]);
        let gamma = b.graph.add_f32("a_2", [4], &[1.0, 2.0, 3.0, 4.0]);
        let (centred, deviation) = unbiased(&mut b, x, reshaped);
        let scaled = b.mul(gamma, centred);
        let y = b.binary(BinaryFn::Div, scaled, deviation);
        let graph = run(&b.finish(&[y]), &["cse", "layer-norm"]);
        assert_eq!(graph.order.len(), 1, "{graph}");
        let op = only(&graph, "layer_norm");
        // sqrt(4/3 v) + e is the root of 4/3 times sqrt(v) + e', e' = e / sqrt(4/3).
        let OpKind::LayerNorm { eps } = op.kind else { panic!("{graph}") };
        assert!((eps - 1e-6 * 0.75).abs() < 1e-12, "{eps}");
        let factor = 0.75f32.sqrt();
        assert_eq!(
            floats(&graph, op.operands[1]),
            [1.0, 2.0, 3.0, 4.0].map(|gamma| gamma * factor)
        );
    }
}

#[test]
fn a_normalisation_over_tokens_is_no_layer_norm() {
    let mut b = Builder::new();
    let x = b.input(&[1, 3, 4]);
    let over_tokens = OpKind::ReduceMean { axes: vec![1], keep: true };
    let m = b.op(over_tokens.clone(), &[x]);
    let centred = b.binary(BinaryFn::Sub, x, m);
    let squared = by_power(&mut b, centred);
    let variance = b.op(over_tokens, &[squared]);
    let eps = b.scalar(1e-6);
    let variance = b.add(variance, eps);
    let deviation = b.unary(UnaryFn::Sqrt, variance);
    let y = b.binary(BinaryFn::Div, centred, deviation);
    let graph = b.finish(&[y]);
    assert_eq!(counts(&run(&graph, &["cse", "layer-norm"])), counts(&graph));
}

#[test]
fn equal_operations_on_equal_constants_are_one() {
    let mut b = Builder::new();
    let x = b.input(&[1, 3, 4]);
    let parts: Vec<Value> = (0..3).map(|i| b.times(x, if i < 2 { 0.5 } else { 0.25 })).collect();
    let sum = b.add(parts[0], parts[1]);
    let sum = b.add(sum, parts[2]);
    let graph = run(&b.finish(&[sum]), &["cse"]);
    insta::assert_snapshot!(graph);
}
