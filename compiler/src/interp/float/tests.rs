//! Every operation against values worked out by hand or loops over the definition.

use ndarray::{ArrayD, Dimension as _, IxDyn};

use super::FloatInterpreter;
use crate::interp::InterpError;
use crate::ir::{BinaryFn, Elem, Graph, OpKind, Stage, TensorType, UnaryFn, Value};

fn array(shape: &[usize], elements: impl IntoIterator<Item = f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(shape), elements.into_iter().collect()).unwrap()
}

/// Elements without structure, of magnitude up to 1.
fn wild(shape: &[usize], seed: usize) -> ArrayD<f32> {
    let count: usize = shape.iter().product();
    array(shape, (0..count).map(|i| (((i + 1) * (7919 + 2 * seed)) % 199) as f32 / 99.5 - 1.0))
}

/// Runs one operation on inputs.
fn run(stage: Stage, kind: OpKind, inputs: &[&ArrayD<f32>]) -> ArrayD<f32> {
    let mut graph = Graph::new("test", stage);
    let values: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(i, x)| graph.add_input(i.to_string(), TensorType::f32(x.shape())))
        .collect();
    let result = graph.push(kind, &values, &[]).unwrap();
    graph.add_output("y", result, graph.ty(result).shape.clone());
    graph.verify().unwrap();
    let inputs: Vec<_> = inputs.iter().map(|x| x.view()).collect();
    FloatInterpreter::new(&graph).unwrap().run(&inputs).unwrap().remove(0)
}

fn close(found: &ArrayD<f32>, expected: &ArrayD<f32>) {
    assert_eq!(found.shape(), expected.shape());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 2e-6 * expected.abs().max(1.0),
            "{found} is not {expected}"
        );
    }
}

#[test]
fn functions_of_one_number() {
    use UnaryFn::*;
    for (f, x, y) in [
        (Erf, 0.5, 0.520_499_9),
        (Exp, 1.0, std::f32::consts::E),
        (Neg, 2.0, -2.0),
        (Sqrt, 2.25, 1.5),
        (Reciprocal, 4.0, 0.25),
        (Tanh, 0.5, 0.462_117_16),
        (Sigmoid, 1.0, 0.731_058_6),
        (Relu, -3.0, 0.0),
        (HardSwish, 1.0, 2.0 / 3.0),
        (HardSwish, -4.0, 0.0),
        (HardSigmoid, 1.0, 2.0 / 3.0),
        (Gelu, 1.0, 0.841_344_7),
        (Gelu, -1.0, -0.158_655_3),
        (GeluTanh, 1.0, 0.841_191_9),
    ] {
        close(&run(Stage::Imported, OpKind::Unary { f }, &[&array(&[1], [x])]), &array(&[1], [y]));
    }
}

#[test]
fn functions_of_two_numbers_broadcast() {
    use BinaryFn::*;
    let (a, b) = (array(&[2, 1], [1.0, 4.0]), array(&[3], [2.0, 0.5, -1.0]));
    for (f, expected) in [
        (Add, [3.0, 1.5, 0.0, 6.0, 4.5, 3.0]),
        (Sub, [-1.0, 0.5, 2.0, 2.0, 3.5, 5.0]),
        (Mul, [2.0, 0.5, -1.0, 8.0, 2.0, -4.0]),
        (Div, [0.5, 2.0, -1.0, 2.0, 8.0, -4.0]),
        (Pow, [1.0, 1.0, 1.0, 16.0, 2.0, 0.25]),
        (Max, [2.0, 1.0, 1.0, 4.0, 4.0, 4.0]),
        (Min, [1.0, 0.5, -1.0, 2.0, 0.5, -1.0]),
    ] {
        close(&run(Stage::Imported, OpKind::Binary { f }, &[&a, &b]), &array(&[2, 3], expected));
    }
}

#[test]
fn matrix_products_with_leading_dimensions() {
    for (a_lead, b_lead) in
        [(&[][..], &[][..]), (&[2, 3], &[]), (&[2, 1], &[3]), (&[], &[2]), (&[2, 3], &[2, 3])]
    {
        let (a, b) = (wild(&[a_lead, &[4, 5]].concat(), 1), wild(&[b_lead, &[5, 6]].concat(), 2));
        let rank = a.ndim().max(b.ndim());
        let found = run(Stage::Imported, OpKind::MatMul {}, &[&a, &b]);
        let lead = |x: &ArrayD<f32>, index: &[usize]| {
            let own = &index[rank - x.ndim()..rank - 2];
            own.iter()
                .zip(x.shape())
                .map(|(i, extent)| if *extent == 1 { 0 } else { *i })
                .collect::<Vec<_>>()
        };
        for (index, value) in found.indexed_iter() {
            let index: Vec<usize> = index.as_array_view().to_vec();
            let (i, j) = (index[rank - 2], index[rank - 1]);
            let at = |lead: Vec<usize>, i: usize, j: usize| IxDyn(&[&lead[..], &[i, j]].concat());
            let sum: f32 =
                (0..5).map(|l| a[at(lead(&a, &index), i, l)] * b[at(lead(&b, &index), l, j)]).sum();
            assert!((value - sum).abs() < 1e-5);
        }
    }
}

#[test]
fn convolution_by_its_definition() {
    let (x, w, b) = (wild(&[2, 4, 6, 5], 1), wild(&[6, 2, 3, 2], 2), wild(&[6], 3));
    let (stride, pad, dilation, group) = ([2, 1], [1, 2, 0, 1], [2, 3], 2);
    let kind = OpKind::Conv { stride, pad, dilation, group };
    let found = run(Stage::Imported, kind, &[&x, &w, &b]);
    for (index, value) in found.indexed_iter() {
        let [n, o, y, z] = [index[0], index[1], index[2], index[3]];
        let mut sum = b[[o]];
        for (tap, weight) in w.indexed_iter().filter(|(tap, _)| tap[0] == o) {
            let row = (y * stride[0] + tap[2] * dilation[0]).checked_sub(pad[0]);
            let column = (z * stride[1] + tap[3] * dilation[1]).checked_sub(pad[1]);
            if let (Some(row @ ..6), Some(column @ ..5)) = (row, column) {
                sum += weight * x[[n, o / 3 * 2 + tap[1], row, column]];
            }
        }
        assert!((value - sum).abs() < 1e-5);
    }
}

#[test]
fn moves() {
    let x = array(&[2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let moved = |kind| run(Stage::Imported, kind, &[&x]);
    assert_eq!(
        moved(OpKind::Reshape { shape: vec![3, 2] }),
        array(&[3, 2], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    );
    assert_eq!(
        moved(OpKind::Transpose { perm: vec![1, 0] }),
        array(&[3, 2], [0.0, 3.0, 1.0, 4.0, 2.0, 5.0])
    );
    let slice = OpKind::Slice { axis: 1, start: 0, len: 2, stride: 2 };
    assert_eq!(moved(slice), array(&[2, 2], [0.0, 2.0, 3.0, 5.0]));
    let expanded = moved(OpKind::Expand { shape: vec![2, 2, 3] });
    assert_eq!(expanded, array(&[2, 2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].repeat(2)));
    let joined =
        run(Stage::Imported, OpKind::Concat { axis: 1 }, &[&x, &array(&[2, 1], [8.0, 9.0])]);
    assert_eq!(joined, array(&[2, 4], [0.0, 1.0, 2.0, 8.0, 3.0, 4.0, 5.0, 9.0]));
}

/// `gather` of `x[2,3]` along axis 1.
fn gather(indices: &[i64]) -> Result<ArrayD<f32>, InterpError> {
    let mut graph = Graph::new("test", Stage::Imported);
    let x = graph.add_input("x", TensorType::f32([2, 3]));
    let node = graph.add_node("pick");
    let bytes: Vec<u8> = indices.iter().flat_map(|i| i.to_le_bytes()).collect();
    let indices = graph.add_const("", TensorType::new(Elem::I64, [indices.len(), 1]), bytes);
    let y = graph.push(OpKind::Gather { axis: 1 }, &[x, indices], &[node]).unwrap();
    graph.add_output("y", y, graph.ty(y).shape.clone());
    let x = array(&[2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    Ok(FloatInterpreter::new(&graph)?.run(&[x.view()])?.remove(0))
}

#[test]
fn gathers_slices() {
    assert_eq!(gather(&[2, -3]).unwrap(), array(&[2, 2, 1], [2.0, 0.0, 5.0, 3.0]));
    for index in [3, -4, i64::MIN, i64::MAX] {
        let message = gather(&[index]).unwrap_err().to_string();
        assert!(message.starts_with(&format!("pick (op0 gather): index {index} ")), "{message}");
    }
}

#[test]
fn means_softmax_and_layer_norm() {
    let x = array(&[2, 2, 2], [1.0, 3.0, 5.0, 7.0, 0.0, 0.0, 2.0, 6.0]);
    let mean = |axes: &[usize], keep| {
        run(Stage::Imported, OpKind::ReduceMean { axes: axes.to_vec(), keep }, &[&x])
    };
    assert_eq!(mean(&[1], false), array(&[2, 2], [3.0, 5.0, 1.0, 3.0]));
    assert_eq!(mean(&[0, 2], true), array(&[1, 2, 1], [1.0, 5.0]));

    let ln = f32::ln;
    let x = array(&[1, 2, 2], [ln(1.0), ln(2.0), ln(3.0), ln(2.0)]);
    let softmax = |axis| run(Stage::Imported, OpKind::Softmax { axis }, &[&x]);
    close(&softmax(2), &array(&[1, 2, 2], [1.0 / 3.0, 2.0 / 3.0, 0.6, 0.4]));
    close(&softmax(1), &array(&[1, 2, 2], [0.25, 0.5, 0.75, 0.5]));
    let masked = array(&[1, 3], [0.0, f32::NEG_INFINITY, 0.0]);
    close(
        &run(Stage::Imported, OpKind::Softmax { axis: 1 }, &[&masked]),
        &array(&[1, 3], [0.5, 0.0, 0.5]),
    );

    // Mean 2, variance 1.
    let x = array(&[1, 2], [1.0, 3.0]);
    let (gamma, beta) = (array(&[2], [2.0, 10.0]), array(&[2], [0.5, -1.0]));
    let found = run(Stage::Canonical, OpKind::LayerNorm { eps: 3.0 }, &[&x, &gamma, &beta]);
    close(&found, &array(&[1, 2], [-0.5, 4.0]));
}

#[test]
fn patches_and_linear_are_a_convolution() {
    let (x, w, b) = (wild(&[1, 3, 6, 4], 1), wild(&[5, 3, 2, 2], 2), wild(&[5], 3));
    let (kernel, stride, pad) = ([2, 2], [2, 2], [0, 1, 0, 1]);
    let conv = run(
        Stage::Imported,
        OpKind::Conv { stride, pad, dilation: [1, 1], group: 1 },
        &[&x, &w, &b],
    );
    let pixels = run(Stage::Canonical, OpKind::Pixels { last: false }, &[&x]);
    let rows =
        run(Stage::Canonical, OpKind::Patches { map: [6, 4], kernel, stride, pad }, &[&pixels]);
    let w = w.permuted_axes(IxDyn(&[0, 2, 3, 1])).as_standard_layout().into_owned();
    let w = w.into_shape_with_order(IxDyn(&[5, 12])).unwrap();
    let tokens = run(Stage::Canonical, OpKind::Linear {}, &[&rows, &w, &b]);
    assert_eq!(tokens.shape(), [9, 5]);
    for (index, value) in conv.indexed_iter() {
        assert!((value - tokens[[index[2] * 3 + index[3], index[1]]]).abs() < 1e-5);
    }
}

#[test]
fn attention_head_by_head() {
    let (heads, scale) = (2, 0.7f32);
    let (q, k, v) = (wild(&[3, 4], 1), wild(&[5, 4], 2), wild(&[5, 6], 3));
    let mut bias = wild(&[2, 3, 5], 4);
    bias[[1, 2, 0]] = f32::NEG_INFINITY;
    for bias in [None, Some(&bias)] {
        let inputs = [&q, &k, &v].into_iter().chain(bias).collect::<Vec<_>>();
        let found = run(
            Stage::Canonical,
            OpKind::Attention { heads, scale: scale.into(), windows: 1 },
            &inputs,
        );
        for (index, value) in found.indexed_iter() {
            let (row, column) = (index[0], index[1]);
            let head = column / 3;
            let weight = |key: usize| {
                let dot: f32 =
                    (0..2).map(|f| q[[row, head * 2 + f]] * k[[key, head * 2 + f]]).sum();
                (dot * scale + bias.map_or(0.0, |bias| bias[[head, row, key]])).exp()
            };
            let sum: f32 = (0..5).map(weight).sum();
            let mean: f32 = (0..5).map(|key| weight(key) / sum * v[[key, column]]).sum();
            assert!((value - mean).abs() < 1e-5);
        }
    }
}

#[test]
fn outputs_take_the_shapes_of_the_model_and_the_observer_sees_everything_once() {
    let mut graph = Graph::new("test", Stage::Canonical);
    let x = graph.add_input("x", TensorType::f32([2, 2]));
    let y = graph.push(OpKind::Unary { f: UnaryFn::Neg }, &[x], &[]).unwrap();
    let unused = graph.push(OpKind::Unary { f: UnaryFn::Exp }, &[x], &[]).unwrap();
    let z = graph.push(OpKind::Binary { f: BinaryFn::Add }, &[y, y], &[]).unwrap();
    graph.add_output("z", z, [1, 4]);
    graph.add_output("x", x, [2, 2]);
    let input = array(&[2, 2], [1.0, 2.0, 3.0, 4.0]);
    let mut seen = Vec::new();
    let interpreter = FloatInterpreter::new(&graph).unwrap();
    let outputs = interpreter.observe(&[input.view()], &mut |value, _| seen.push(value)).unwrap();
    assert_eq!(seen, [x, y, unused, z]);
    assert_eq!(outputs, [array(&[1, 4], [-2.0, -4.0, -6.0, -8.0]), input.clone()]);
    // A view in another order holds the same tensor.
    let transposed = input.t();
    assert_eq!(interpreter.run(&[transposed.t()]).unwrap(), outputs);
}

#[test]
fn inputs_must_fit() {
    let mut graph = Graph::new("test", Stage::Canonical);
    let x = graph.add_input("pixels", TensorType::f32([2, 2]));
    graph.add_output("y", x, [2, 2]);
    let interpreter = FloatInterpreter::new(&graph).unwrap();
    let error = interpreter.run(&[array(&[4], [0.0; 4]).view()]).unwrap_err();
    assert_eq!(error.to_string(), "input \"pixels\": found f32[4], expected f32[2,2]");
    let error = interpreter.run(&[]).unwrap_err();
    assert_eq!(error.to_string(), "0 inputs were given, and the model has 1: pixels");
    let quantised = Graph::new("test", Stage::Quantised);
    assert_eq!(
        FloatInterpreter::new(&quantised).unwrap_err(),
        InterpError::Stage(Stage::Quantised)
    );
}

#[test]
fn integers_do_not_mix_with_floats() {
    let mut graph = Graph::new("test", Stage::Imported);
    let x = graph.add_input("x", TensorType::f32([1]));
    let ids = graph.add_input("ids", TensorType::new(Elem::I64, [1]));
    let error = graph.push(OpKind::Binary { f: BinaryFn::Add }, &[x, ids], &[]).unwrap_err();
    assert_eq!(error.to_string(), "binary: invalid operands f32[1], i64[1]");
    graph.add_output("y", ids, [1]);
    let inputs = [array(&[1], [0.0]), array(&[1], [3.0])];
    let outputs = FloatInterpreter::new(&graph).unwrap().run(&inputs.each_ref().map(|x| x.view()));
    assert_eq!(outputs.unwrap(), [array(&[1], [3.0])]);
}

#[test]
fn the_largest_and_their_places() {
    let x = array(&[2, 4], [1.0, 5.0, 5.0, -2.0, 0.5, -1.0, 3.0, 0.25]);
    let top = |axis, count, largest| {
        run(Stage::Imported, OpKind::TopIndices { axis, count, largest }, &[&x])
    };
    assert_eq!(top(1, 3, true), array(&[2, 3], [1.0, 2.0, 0.0, 2.0, 0.0, 3.0]));
    assert_eq!(top(1, 1, false), array(&[2, 1], [3.0, 1.0]));
    assert_eq!(top(0, 1, true), array(&[1, 4], [0.0, 0.0, 0.0, 1.0]));

    let mut graph = Graph::new("test", Stage::Imported);
    let value = graph.add_input("x", TensorType::f32([2, 4]));
    let places = graph.add_input("i", TensorType::new(Elem::I64, [2, 2]));
    let y = graph.push(OpKind::GatherElements { axis: 1 }, &[value, places], &[]).unwrap();
    graph.add_output("y", y, [2, 2]);
    let picked = |places: [f32; 4]| {
        let places = array(&[2, 2], places);
        FloatInterpreter::new(&graph).unwrap().run(&[x.view(), places.view()])
    };
    assert_eq!(picked([3.0, 0.0, -1.0, 2.0]).unwrap(), [array(&[2, 2], [-2.0, 1.0, 0.25, 3.0])]);
    let error = picked([4.0, 0.0, 0.0, 0.0]).unwrap_err().to_string();
    assert!(error.contains("gather_elements"), "{error}");
}
