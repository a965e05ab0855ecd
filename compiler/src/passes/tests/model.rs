//! A whole vision transformer in the forms of several exporters: one result.

use super::{Builder, canonical, counts};
use crate::ir::{BinaryFn, Graph, OpKind, UnaryFn, Value};

/// How an exporter writes things.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// TorchScript exporter, opset 13: LayerNorm and GELU written out, plain attention.
    Legacy,
    /// Dynamo exporter, opset 20: operators for both, fused attention with the scale on queries and
    /// keys.
    Dynamo,
    /// Simplified: rank 2 between Reshapes.
    Simplified,
}

const TOKENS: usize = 5;
const CHANNELS: usize = 4;
const HEADS: usize = 2;
const FEATURES: usize = CHANNELS / HEADS;

fn vit(form: Form) -> Graph {
    let mut b = Builder::new();
    let image = b.input(&[1, 3, 4, 4]);
    let weight = b.constant("patch_embed.weight", &[CHANNELS, 3, 2, 2]);
    let bias = b.constant("patch_embed.bias", &[CHANNELS]);
    let kind = OpKind::Conv { stride: [2, 2], pad: [0; 4], dilation: [1, 1], group: 1 };
    let x = b.op(kind, &[image, weight, bias]);
    let x = b.reshape(x, &[1, CHANNELS, TOKENS - 1]);
    let x = b.transpose(x, &[0, 2, 1]);
    let class = b.constant("cls_token", &[1, 1, CHANNELS]);
    let x = b.concat(1, &[class, x]);
    let positions = b.constant("pos_embed", &[1, TOKENS, CHANNELS]);
    let mut x = b.add(x, positions);
    for block in ["0", "1"] {
        let y = norm(&mut b, form, x, &format!("{block}.norm1"));
        let y = attention(&mut b, form, y, block);
        x = b.add(x, y);
        let y = norm(&mut b, form, x, &format!("{block}.norm2"));
        let y = mlp(&mut b, form, y, block);
        x = b.add(x, y);
    }
    let x = norm(&mut b, form, x, "norm");
    let x = b.gather(x, 1, &[], &[0]);
    let y = b.linear(x, 3, "head");
    b.finish(&[y])
}

fn norm(b: &mut Builder, form: Form, x: Value, name: &str) -> Value {
    if form != Form::Legacy {
        return b.layer_norm(x, name);
    }
    let mean = |b: &mut Builder, x| b.op(OpKind::ReduceMean { axes: vec![2], keep: true }, &[x]);
    let m = mean(b, x);
    let centred = b.binary(BinaryFn::Sub, x, m);
    let two = b.scalar(2.0);
    let square = b.binary(BinaryFn::Pow, centred, two);
    let variance = mean(b, square);
    let eps = b.scalar(1e-6);
    let variance = b.add(variance, eps);
    let deviation = b.unary(UnaryFn::Sqrt, variance);
    let x = b.binary(BinaryFn::Div, centred, deviation);
    let gamma = b.constant(&format!("{name}.weight"), &[CHANNELS]);
    let beta = b.constant(&format!("{name}.bias"), &[CHANNELS]);
    let x = b.mul(x, gamma);
    b.add(x, beta)
}

/// A linear layer, its result of rank 3, or of rank 2 where simplified.
fn linear(b: &mut Builder, form: Form, x: Value, outputs: usize, name: &str) -> Value {
    let columns = b.graph.ty(x).shape[b.graph.ty(x).rank() - 1];
    let x = if form == Form::Simplified { b.reshape(x, &[TOKENS, columns]) } else { x };
    b.linear(x, outputs, name)
}

fn attention(b: &mut Builder, form: Form, x: Value, block: &str) -> Value {
    let qkv = linear(b, form, x, 3 * CHANNELS, &format!("{block}.qkv"));
    let qkv = b.reshape(qkv, &[1, TOKENS, 3, HEADS, FEATURES]);
    let qkv = b.transpose(qkv, &[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|i| {
        let part = b.slice(qkv, 0, i, 1);
        b.reshape(part, &[1, HEADS, TOKENS, FEATURES])
    });
    let scores = if form == Form::Dynamo {
        let k = b.reshape(k, &[HEADS, TOKENS, FEATURES]);
        let k = b.transpose(k, &[0, 2, 1]);
        let k = b.reshape(k, &[1, HEADS, FEATURES, TOKENS]);
        let (q, k) = (b.times(q, 0.5), b.times(k, 0.5));
        b.matmul(q, k)
    } else {
        let q = b.times(q, 0.25);
        let k = b.transpose(k, &[0, 1, 3, 2]);
        b.matmul(q, k)
    };
    let probabilities = b.softmax(scores);
    let y = b.matmul(probabilities, v);
    let y = b.transpose(y, &[0, 2, 1, 3]);
    let y = b.reshape(y, &[1, TOKENS, CHANNELS]);
    let y = linear(b, form, y, CHANNELS, &format!("{block}.proj"));
    b.reshape(y, &[1, TOKENS, CHANNELS])
}

fn mlp(b: &mut Builder, form: Form, x: Value, block: &str) -> Value {
    let x = linear(b, form, x, 2 * CHANNELS, &format!("{block}.fc1"));
    let x = if form == Form::Dynamo {
        b.unary(UnaryFn::Gelu, x)
    } else {
        let root = b.scalar(std::f32::consts::SQRT_2);
        let u = b.binary(BinaryFn::Div, x, root);
        let e = b.unary(UnaryFn::Erf, u);
        let one = b.scalar(1.0);
        let gate = b.add(e, one);
        let x = b.mul(x, gate);
        b.times(x, 0.5)
    };
    let x = linear(b, form, x, CHANNELS, &format!("{block}.fc2"));
    b.reshape(x, &[1, TOKENS, CHANNELS])
}

/// The text without the names of ONNX nodes, in which forms differ, and with eps as it is in 32
/// bits.
fn without_nodes(graph: &Graph) -> String {
    let text = graph.to_string().replace("1e-6", "9.999999974752427e-7");
    let lines = text
        .lines()
        .filter(|line| !line.contains(" = node "))
        .map(|line| line.split(" @ n").next());
    lines.map(Option::unwrap_or_default).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_form_has_one_result() {
    let legacy = canonical(&vit(Form::Legacy));
    insta::assert_snapshot!(legacy);
    assert_eq!(
        counts(&legacy),
        "attention 2, binary 5, concat 1, layer_norm 5, linear 14, patches 1, pixels 1, slice 2, unary 2"
    );
    for form in [Form::Dynamo, Form::Simplified] {
        let other = canonical(&vit(form));
        assert_eq!(without_nodes(&other), without_nodes(&legacy));
        for (a, b) in legacy.values().zip(other.values()) {
            assert_eq!(legacy.const_f32(a.0), other.const_f32(b.0), "{}", a.0);
        }
    }
}
