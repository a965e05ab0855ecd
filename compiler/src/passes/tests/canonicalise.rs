//! Everything but attention.

use super::{Builder, canonical, counts, error, floats, only};
use crate::ir::{BinaryFn, Elem, Graph, OpKind, TensorType, UnaryFn, Value};

fn convolution(b: &mut Builder, group: usize) -> Value {
    let image = b.input(&[1, 3, 4, 6]);
    let weight = b.constant("proj.weight", &[4, 3 / group, 2, 3]);
    let bias = b.constant("proj.bias", &[4]);
    let kind = OpKind::Conv { stride: [2, 3], pad: [0; 4], dilation: [1, 1], group };
    b.op(kind, &[image, weight, bias])
}

/// The image's patches, `[1, 4, 4]`.
fn tokens(b: &mut Builder) -> Value {
    let patches = convolution(b, 1);
    let patches = b.reshape(patches, &[1, 4, 4]);
    b.transpose(patches, &[0, 2, 1])
}

#[test]
fn a_convolution_is_patches_and_a_linear_layer() {
    let mut b = Builder::new();
    let y = tokens(&mut b);
    insta::assert_snapshot!(canonical(&b.finish(&[y])));
}

#[test]
fn positions_are_added_before_tokens_are_joined() {
    let mut b = Builder::new();
    let patches = tokens(&mut b);
    let class = b.constant("cls_token", &[1, 1, 4]);
    let distillation = b.constant("dist_token", &[1, 1, 4]);
    let joined = b.concat(1, &[class, distillation, patches]);
    let positions = b.constant("pos_embed", &[1, 6, 4]);
    let y = b.add(joined, positions);
    let constants = [class, distillation, positions].map(|value| floats(&b.graph, value));
    let graph = canonical(&b.finish(&[y]));
    insta::assert_snapshot!(graph);

    let [class, distillation, positions] = constants;
    let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f32>>();
    let first = sum(&[class, distillation].concat(), &positions[..8]);
    assert_eq!(floats(&graph, only(&graph, "concat").operands[0]), first);
    assert_eq!(floats(&graph, only(&graph, "binary").operands[1]), positions[8..]);
}

#[test]
fn scales_and_offsets_of_channels_are_folded() {
    let mut b = Builder::new();
    let x = b.input(&[1, 2, 3]);
    let x = b.linear(x, 4, "fc");
    let gamma = b.constant("ls.gamma", &[1, 1, 4]);
    let x = b.mul(x, gamma);
    let x = b.layer_norm(x, "norm");
    let offset = b.constant("offset", &[4]);
    let x = b.binary(BinaryFn::Sub, x, offset);
    let two = b.scalar(2.0);
    let y = b.binary(BinaryFn::Div, x, two);
    let graph = canonical(&b.finish(&[y]));
    assert_eq!(counts(&graph), "layer_norm 1, linear 1");

    let mut b = Builder::new();
    let mut constant = |name, shape: &[usize]| {
        let value = b.constant(name, shape);
        floats(&b.graph, value)
    };
    let (bias, gamma) = (constant("fc.bias", &[4]), constant("ls.gamma", &[4]));
    let (beta, offset) = (constant("norm.bias", &[4]), constant("offset", &[4]));
    let pairs = |a: &[f32], b: &[f32], f: fn(f32, f32) -> f32| {
        a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>()
    };
    assert_eq!(
        floats(&graph, only(&graph, "linear").operands[2]),
        pairs(&bias, &gamma, |a, b| a * b)
    );
    assert_eq!(
        floats(&graph, only(&graph, "layer_norm").operands[2]),
        pairs(&beta, &offset, |a, b| (a - b) / 2.0)
    );
}

#[test]
fn the_mean_of_two_heads_is_a_sum_of_halved_ones() {
    let mut b = Builder::new();
    let x = b.input(&[1, 5, 4]);
    let x = b.layer_norm(x, "norm");
    let class = b.gather(x, 1, &[], &[0]);
    let distillation = b.slice(x, 1, 1, 1);
    let distillation = b.reshape(distillation, &[1, 4]);
    let (a, c) = (b.linear(class, 3, "head"), b.linear(distillation, 3, "head_dist"));
    let sum = b.add(a, c);
    let two = b.scalar(2.0);
    let y = b.binary(BinaryFn::Div, sum, two);
    let graph = canonical(&b.finish(&[y]));
    insta::assert_snapshot!(graph);

    let mut b = Builder::new();
    let bias = b.constant("head.bias", &[3]);
    let halved: Vec<f32> = floats(&b.graph, bias).iter().map(|x| x / 2.0).collect();
    let first =
        graph.order.iter().map(|op| graph.op(*op)).find(|op| op.kind == OpKind::Linear {}).unwrap();
    assert_eq!(floats(&graph, first.operands[2]), halved);
}

#[test]
fn identities_vanish() {
    let mut b = Builder::new();
    let x = b.input(&[1, 5, 4]);
    let x = b.unary(UnaryFn::Relu, x);
    let x = b.times(x, 1.0);
    let zeros = b.graph.add_f32("", [4], &[0.0; 4]);
    let x = b.add(zeros, x);
    let x = b.transpose(x, &[0, 1, 2]);
    let x = b.reshape(x, &[5, 4]);
    let x = b.slice(x, 0, 0, 5);
    let x = b.op(OpKind::Expand { shape: vec![1, 5, 4] }, &[x]);
    let x = b.concat(1, &[x]);
    let x = b.unary(UnaryFn::Neg, x);
    let x = b.unary(UnaryFn::Neg, x);
    assert_eq!(counts(&canonical(&b.finish(&[x]))), "unary 1");
}

#[test]
fn a_difference_is_a_sum() {
    let mut b = Builder::new();
    let x = b.input(&[1, 5, 4]);
    let y = b.linear(x, 4, "fc");
    let y = b.binary(BinaryFn::Sub, x, y);
    let graph = canonical(&b.finish(&[y]));
    assert_eq!(counts(&graph), "binary 1, linear 1");
    let mut b = Builder::new();
    let bias = b.constant("fc.bias", &[4]);
    let negated: Vec<f32> = floats(&b.graph, bias).iter().map(|x| -x).collect();
    assert_eq!(floats(&graph, only(&graph, "linear").operands[2]), negated);
}

#[test]
fn every_problem_is_told_once() {
    let mut b = Builder::new();
    let x = convolution(&mut b, 1);
    let image_sum = b.add(x, x);
    let mean = b.op(OpKind::ReduceMean { axes: vec![1, 2], keep: false }, &[image_sum]);
    let follows = b.linear(mean, 3, "head");
    let tokens = b.reshape(x, &[1, 4, 4]);
    let product = b.mul(tokens, tokens);
    let mixed = b.transpose(tokens, &[0, 2, 1]);
    let mixed = b.reshape(mixed, &[1, 2, 8]);
    let normed = b.layer_norm(mixed, "norm");
    let softmax = b.softmax(tokens);
    // Nobody needs it, so it is no problem.
    b.op(OpKind::ReduceMean { axes: vec![1], keep: false }, &[tokens]);
    let graph = b.finish(&[follows, product, normed, softmax, tokens]);
    insta::assert_snapshot!(error(&graph));
}

#[test]
fn convolutions_that_are_no_patches_are_reported() {
    let mut b = Builder::new();
    let image = b.input(&[1, 4, 8, 8]);
    let weight = b.constant("w", &[4, 2, 1, 1]);
    let kind = |group, dilation| OpKind::Conv { stride: [1, 1], pad: [0; 4], dilation, group };
    let grouped = b.op(kind(2, [1, 1]), &[image, weight]);
    let weight = b.constant("v", &[4, 4, 2, 2]);
    let dilated = b.op(kind(1, [2, 2]), &[image, weight]);
    let relu = b.unary(UnaryFn::Relu, image);
    let graph = b.finish(&[grouped, dilated, relu]);
    insta::assert_snapshot!(error(&graph), @r"
    canonicalise: 2 parts of the model are not supported
      node /conv_0 (conv): found 2 groups, dilation [1, 1], expected 1 group, dilation 1
      node /conv_1 (conv): found 1 groups, dilation [2, 2], expected 1 group, dilation 1
    ");
}

#[test]
fn inputs_and_outputs_that_do_not_fit_are_reported() {
    let mut graph = Graph::new("test", crate::ir::Stage::Imported);
    let ids = graph.add_input("ids", TensorType::new(Elem::I64, [1, 5]));
    let batch = graph.add_input("batch", TensorType::f32([2, 5, 4]));
    let x = graph.add_input("x", TensorType::f32([5, 4]));
    let constant = graph.add_f32("c", [2], &[0.0; 2]);
    let turned = graph.push(OpKind::Transpose { perm: vec![1, 0] }, &[x], &[]).unwrap();
    for (name, value) in
        [("ids", ids), ("batch", batch), ("constant", constant), ("turned", turned)]
    {
        let shape = graph.ty(value).shape.clone();
        graph.add_output(name, value, shape);
    }
    insta::assert_snapshot!(error(&graph), @r#"
    canonicalise: 3 parts of the model are not supported
      input "batch": found f32[2,5,4], expected an image f32[1,c,h,w], tokens f32[1,n,c] or f32[n,c], or integers i64[1,n] or i64[n]
      output "ids": found integers of an input, expected tokens
      output "constant": found a constant, expected tokens
    "#);
}

#[test]
fn large_shapes_do_not_take_memory() {
    // An input of a terabyte costs nothing; constants of its size are refused.
    let mut b = Builder::new();
    let x = b.input(&[1, 1 << 19, 1 << 19]);
    let column = b.graph.add_f32("c", [1, 1 << 19, 1], &vec![1.0; 1 << 19]);
    let y = b.add(x, column);
    insta::assert_snapshot!(error(&b.finish(&[y])), @r"
    canonicalise: 1 part of the model is not supported
      node /binary_0 (binary): found a constant of [524288, 524288] elements, expected at most 5767168, the remaining budget of this model
    ");

    // So are many that are each small enough.
    let mut b = Builder::new();
    let x = b.input(&[1, 1 << 10, 1 << 10]);
    let mut y = x;
    for i in 0..6 {
        let column: Vec<f32> = (0..1 << 10).map(|row| (row + i) as f32).collect();
        let column = b.graph.add_f32("", [1, 1 << 10, 1], &column);
        y = b.add(y, column);
    }
    let error = error(&b.finish(&[y])).to_string();
    assert!(error.contains("the remaining budget of this model"), "{error}");
}

#[test]
fn long_chains_do_not_take_memory() {
    let mut b = Builder::new();
    let x = b.input(&[1, 2, 3]);
    let mut x = b.linear(x, 3, "fc");
    let one = b.graph.add_f32("one", [3], &[1.0; 3]);
    // Every sum is folded into the linear layer, which remembers all its nodes.
    for _ in 0..30_000 {
        x = b.add(x, one);
    }
    let error = error(&b.finish(&[x])).to_string();
    assert!(error.contains("the remaining budget of this model"), "{error}");
}

#[test]
fn chains_of_sums_and_factors_take_linear_time() {
    let mut b = Builder::new();
    let x = b.input(&[1, 2, 3]);
    let mut x = b.linear(x, 3, "fc");
    for _ in 0..200 {
        let double = b.add(x, x);
        let scaled = b.times(double, 0.5);
        let other = b.unary(UnaryFn::Relu, scaled);
        x = b.add(scaled, other);
    }
    // Factors are not moved through long chains, where they become layers of their own.
    let graph = canonical(&b.finish(&[x]));
    assert!(graph.order.len() < 200 * 5, "{}", graph.order.len());
}
