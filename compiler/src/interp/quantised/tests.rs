//! Every operation on numbers worked out by hand, and whole graphs with what must be rejected.

use vitcod_isa::numerics::{
    LayerNormParams, Lut, PRUNED, ProbabilityFormat, SCORE_UNITS_PER_NAT, Scale,
};
use vitcod_isa::operands::Channel;

use super::{QuantisedInterpreter, Tensor, kernels};
use crate::interp::InterpError;
use crate::ir::{Elem, Graph, OpKind, Stage, TensorType, UnaryFn};

fn scale(value: f64) -> Scale {
    Scale::from_f64(value).unwrap()
}

#[test]
fn linear_by_hand() {
    let channels =
        [Channel { bias: 10, scale: scale(0.5) }, Channel { bias: -3, scale: scale(100.0) }];
    // Rows: [1,2,3] . [1,1,1] + 10 = 16, . [-1,0,2] - 3 = 2; [-4,5,-6] . = -5 + 10 = 5, 4 - 12 - 3
    // = -11.
    let (x, w) = ([1, 2, 3, -4, 5, -6], [1, 1, 1, -1, 0, 2]);
    assert_eq!(kernels::linear::<i8>(&x, &w, &channels, [2, 3]), [8, 127, 3, -128]);
    assert_eq!(kernels::linear::<i16>(&x, &w, &channels, [2, 3]), [8, 200, 3, -1100]);
    assert_eq!(kernels::linear::<i8>(&[], &[], &channels, [1, 0]), [5, -128]);
}

#[test]
fn heads_mixed_by_hand() {
    let channels =
        [Channel { bias: 10, scale: scale(0.5) }, Channel { bias: -3, scale: scale(100.0) }];
    // Two tokens of three heads of two features. First head: 1 * 1 + 3 * 2 - 5 + 10 = 12, 2 + 8 - 6
    // + 10 = 14; second: -1 + 2 * 5 - 3 = 6 and -2 + 12 - 3 = 7, saturated.
    let (x, w) = ([1, 2, 3, 4, 5, 6, -128, 127, 0, 1, 127, -128], [1, 2, -1, -1, 0, 2]);
    let expected = [6, 7, 127, 127, /* -245 / 2, 267 / 2 */ -122, 127, 127, -128];
    assert_eq!(kernels::mix_heads(&x, &w, &channels, [2, 3, 2]), expected);

    let mut graph = Graph::new("coder", Stage::Quantised);
    let x_in = graph.add_input("x", TensorType::quantised(Elem::I8, [2, 6], 0.1));
    let mut params = bytes(&w);
    params.extend([0x55; 2]);
    channels.iter().for_each(|channel| params.extend(channel.to_bytes()));
    let params = graph.add_const("", TensorType::new(Elem::Byte, [32]), params);
    let ty = TensorType::quantised(Elem::I8, [2, 4], 0.1);
    let kind = OpKind::Encode { heads_in: 3, heads_out: 2 };
    let y = graph.push_typed(kind, &[x_in, params], vec![ty], &[])[0];
    graph.add_output("y", y, [2, 4]);
    graph.verify().unwrap();
    let outputs =
        QuantisedInterpreter::new(&graph).unwrap().run(&[Tensor::I8(x.to_vec())]).unwrap();
    assert_eq!(outputs, [Tensor::I8(expected.to_vec())]);

    for (heads_in, heads_out) in [(0, 2), (4, 2), (3, 3), (3, usize::MAX), (usize::MAX, usize::MAX)]
    {
        let op = graph.order[0];
        graph.op_mut(op).kind = OpKind::Decode { heads_in, heads_out };
        assert!(graph.verify().is_err(), "{heads_in} to {heads_out}");
    }
}

#[test]
fn add_by_hand() {
    // (3 * 2 + 5 * -1) / 2 = 0.5, (-32768 * 2 + 1 * -1) / 2 = -32768.5, (32767 * 2 + 32768) / 2
    // saturates.
    let (a, b) = ([3, i16::MIN, i16::MAX], [5, 1, i16::MIN]);
    assert_eq!(kernels::add::<i16>(&a, &b, 2, -1, 1), [1, -32768, 32767]);
    assert_eq!(kernels::add::<i8>(&a, &b, 2, -1, 1), [1, -128, 127]);
    assert_eq!(kernels::add::<i16>(&a, &b, i32::MAX, i32::MIN, 255), [0; 3]);
}

#[test]
fn scores_by_hand() {
    // Two heads of two features. Saturation stays off the mark of pruned entries.
    let (q, k) = ([1, 2, -128, -128], [3, 4, 127, 127, -1, 0, 0, 1]);
    let scores = kernels::sddmm(&q, &k, None, None, [1, 2, 4], 2, Scale::ONE);
    assert_eq!(scores, [11, -1, -32512, -128]);
    assert_eq!(
        kernels::sddmm(&q, &k, None, None, [1, 2, 4], 2, scale(1000.0)),
        [11000, -1000, -32767, -32767]
    );
    let bias: Vec<i16> = scores.iter().map(|score| 1 - score).collect();
    assert_eq!(kernels::sddmm(&q, &k, None, Some(&bias), [1, 2, 4], 2, Scale::ONE), [1; 4]);
}

/// Scores, probabilities, and products with the queries of a masked attention of 2 heads; the bytes
/// of its mask are `mask`.
fn masked(mask: Option<Vec<u8>>) -> Graph {
    let mut graph = Graph::new("masked", Stage::Quantised);
    let i8s = TensorType::quantised(Elem::I8, [3, 4], 0.5);
    let x = graph.add_input("x", i8s.clone());
    let mut operands = vec![x, x];
    operands.extend(
        mask.map(|mask| graph.add_const("mask", TensorType::new(Elem::Byte, [2, 3, 1]), mask)),
    );
    let kind = OpKind::Sddmm { heads: 2, scale: scale(20.0), windows: 1 };
    let scores =
        graph.push_typed(kind, &operands, vec![TensorType::new(Elem::I16, [2, 3, 3])], &[])[0];
    let types = vec![TensorType::new(Elem::I8, [2, 3, 3]), TensorType::new(Elem::U32, [2, 3])];
    let soft = graph.push_typed(OpKind::QSoftmax { shift: 0 }, &[scores], types, &[]);
    let kind = OpKind::Spmm { scale: Scale::ONE, windows: 1 };
    let y = graph.push_typed(kind, &[soft[0], soft[1], x], vec![i8s], &[])[0];
    for (name, value) in [("scores", scores), ("probs", soft[0]), ("sums", soft[1]), ("y", y)] {
        graph.add_output(name, value, graph.ty(value).shape.clone());
    }
    graph
}

#[test]
fn pruned_scores() {
    let x = Tensor::I8(vec![1, 2, 3, 4, -5, 6, 7, -8, 9, 10, -11, 12]);
    let run = |mask: Option<Vec<u8>>| {
        let graph = masked(mask);
        graph.verify().unwrap();
        QuantisedInterpreter::new(&graph).unwrap().run(std::slice::from_ref(&x)).unwrap()
    };
    let dense = run(None);
    assert_eq!(run(Some(vec![0b111; 6])), dense);
    let [Tensor::I16(scores), ..] = &dense[..] else { panic!() };
    // Of head 0 the diagonal is kept, of head 1 all but it; both keep everything in their last row.
    let kept = [0b001, 0b010, 0b111, 0b110, 0b101, 0b111];
    let expected = scores
        .iter()
        .enumerate()
        .map(|(i, score)| if kept[i / 3] >> (i % 3) & 1 == 1 { *score } else { PRUNED });
    let sparse = run(Some(kept.to_vec()));
    assert_eq!(sparse[0], Tensor::I16(expected.collect()));
    let [_, Tensor::I8(probs), Tensor::U32(sums), Tensor::I8(y)] = &sparse[..] else { panic!() };
    // A pruned score is no maximum: the only one of a row has the largest probability.
    assert_eq!((&probs[..6], &sums[..2]), (&[127, 0, 0, 0, 127, 0][..], &[127, 127][..]));
    assert_eq!((probs[9], probs[13]), (0, 0));
    assert_eq!((&y[..2], &y[4..6]), (&[1, 2][..], &[-5, 6][..]));
}

#[test]
fn masks_are_checked() {
    let message = |graph: &Graph| QuantisedInterpreter::new(graph).unwrap_err().to_string();
    let past = masked(Some(vec![0b1111; 6]));
    past.verify().unwrap();
    assert_eq!(
        message(&past),
        "op0 (sddmm): the mask has bits past the last key, or too many tokens"
    );
    let mut graph = masked(None);
    let sddmm = graph.order[0];
    let mask = graph.add_input("mask", TensorType::new(Elem::Byte, [2, 3, 1]));
    graph.op_mut(sddmm).operands.push(mask);
    graph.verify().unwrap();
    assert_eq!(message(&graph), "op0 (sddmm): the parameters are not constant");
    for ty in [TensorType::new(Elem::Byte, [2, 3, 3]), TensorType::new(Elem::I8, [2, 3, 1])] {
        let mut graph = masked(None);
        let mask = graph.add_const("mask", ty.clone(), vec![0; ty.elements()]);
        graph.op_mut(sddmm).operands.push(mask);
        let error = graph.verify().unwrap_err().to_string();
        assert!(error.contains("op0 (sddmm): invalid "), "{error}");
    }
}

#[test]
fn softmax_by_hand() {
    // One octave is 256 units: half of 127 rounds up.
    let scores = [0, -256, PRUNED, 512, 0, 0];
    let int8 = |scores, extents| kernels::softmax(scores, extents, 0, ProbabilityFormat::Int8);
    assert_eq!(int8(&scores, [2, 3]), (vec![127, 64, 0, 127, 32, 32], vec![191, 191]));
    assert_eq!(int8(&[PRUNED; 2], [1, 2]), (vec![0; 2], vec![0]));
    // The octaves above the maxima are 1 and 3; a minifloat of exponent 7 is at least 2048. With a
    // shift of 1, an octave is 128 units.
    let float = |shift| kernels::softmax(&scores, [2, 3], shift, ProbabilityFormat::Minifloat);
    let [half, eighth] = [7 << 5, 5 << 5];
    assert_eq!(float(0), (vec![half, 6 << 5, 0, half, eighth, eighth], vec![3072, 3072]));
    let sums = vec![2048 + 512, 2048 + 256];
    assert_eq!(float(1), (vec![half, eighth, 0, half, 3 << 5, 3 << 5], sums));
}

#[test]
fn spmm_by_hand() {
    // Two heads, one query, two keys, one feature each: (127 * 10 + 64 * -20) / 191 = -0.05, (0 +
    // 127 * 3) / 127 = 3.
    let (p, sums, v) = ([127, 64, 0, 127], [191, 127], [10, 9, -20, 3]);
    assert_eq!(kernels::spmm(&p, &sums, &v, [2, 1, 2], 2, Scale::ONE), [0, 3]);
    assert_eq!(kernels::spmm(&p, &sums, &v, [2, 1, 2], 2, scale(100.0)), [-5, 127]);
    assert_eq!(kernels::spmm(&p, &[0, 0], &v, [2, 1, 2], 2, Scale::ONE), [0, 0]);
}

fn bytes(elements: &[i8]) -> Vec<u8> {
    elements.iter().map(|x| *x as u8).collect()
}

fn channels(channels: &[(i32, f64)]) -> Vec<u8> {
    channels
        .iter()
        .flat_map(|(bias, value)| Channel { bias: *bias, scale: scale(*value) }.to_bytes())
        .collect()
}

/// A graph with every operation: an image of 2 x 4 to patches, a token in front, position,
/// LayerNorm, activation, attention.
fn every_operation() -> Graph {
    let mut graph = Graph::new("all", Stage::Quantised);
    let i8s = |shape: &[usize]| TensorType::quantised(Elem::I8, shape, 0.5);
    let i16s = |shape: &[usize]| TensorType::quantised(Elem::I16, shape, 0.25);
    let image = graph.add_input("image", i8s(&[1, 1, 2, 4]));
    let pixels =
        graph.push_typed(OpKind::Pixels { last: false }, &[image], vec![i8s(&[8, 1])], &[])[0];
    let kind = OpKind::Patches { map: [2, 4], kernel: [2, 2], stride: [2, 2], pad: [0; 4] };
    let rows = graph.push_typed(kind, &[pixels], vec![i8s(&[2, 4])], &[])[0];
    let w =
        graph.add_const("w", TensorType::new(Elem::I8, [2, 4]), bytes(&[1, 0, 0, 0, 0, 0, 0, 1]));
    let b =
        graph.add_const("b", TensorType::new(Elem::Channel, [2]), channels(&[(0, 2.0), (1, 1.0)]));
    let tokens = graph.push_typed(OpKind::QLinear {}, &[rows, w, b], vec![i16s(&[2, 2])], &[])[0];
    let class =
        graph.add_const("class", i16s(&[1, 2]), [7i16, -300].map(i16::to_le_bytes).concat());
    let all =
        graph.push_typed(OpKind::Concat { axis: 0 }, &[class, tokens], vec![i16s(&[3, 2])], &[])[0];
    let add = OpKind::QAdd { a_scale: 1, b_scale: 1, shift: 0 };
    let twice = graph.push_typed(add, &[all, all], vec![i16s(&[3, 2])], &[])[0];
    let params = LayerNormParams::new(&[1.0, 1.0], &[0.0, 0.5], 0.0, 0.25, 0.5).unwrap().to_bytes();
    let params = graph.add_const("norm", TensorType::new(Elem::Byte, [params.len()]), params);
    let norm =
        graph.push_typed(OpKind::QLayerNorm {}, &[twice, params], vec![i8s(&[3, 2])], &[])[0];
    let table = Lut::from_fn(0.5, 0.5, |x| x * x).to_bytes();
    let table = graph.add_const("square", TensorType::new(Elem::Byte, [256]), table.to_vec());
    let square = graph.push_typed(
        OpKind::Lut { channels: Vec::new() },
        &[norm, table],
        vec![i8s(&[3, 2])],
        &[],
    )[0];
    let kind = OpKind::Sddmm { heads: 2, scale: scale(0.25 * SCORE_UNITS_PER_NAT), windows: 1 };
    let scores =
        graph.push_typed(kind, &[norm, norm], vec![TensorType::new(Elem::I16, [2, 3, 3])], &[])[0];
    let types = vec![TensorType::new(Elem::I8, [2, 3, 3]), TensorType::new(Elem::U32, [2, 3])];
    let soft = graph.push_typed(OpKind::QSoftmax { shift: 0 }, &[scores], types, &[]);
    let kind = OpKind::Spmm { scale: Scale::ONE, windows: 1 };
    let mixed = graph.push_typed(kind, &[soft[0], soft[1], square], vec![i8s(&[3, 2])], &[])[0];
    let kind = OpKind::Slice { axis: 0, start: 0, len: 2, stride: 2 };
    let ends = graph.push_typed(kind, &[mixed], vec![i8s(&[2, 2])], &[])[0];
    for (name, value) in
        [("all", all), ("twice", twice), ("norm", norm), ("square", square), ("ends", ends)]
    {
        graph.add_output(name, value, graph.ty(value).shape.clone());
    }
    graph.add_output("sums", soft[1], [6]);
    graph
}

#[test]
fn a_graph_with_every_operation() {
    let graph = every_operation();
    graph.verify().unwrap();
    let interpreter = QuantisedInterpreter::new(&graph).unwrap();
    let image = Tensor::I8(vec![1, 2, 3, 4, 5, 6, 7, 8]);
    let mut seen = 0;
    let outputs = interpreter.observe(std::slice::from_ref(&image), &mut |_, _| seen += 1).unwrap();
    assert_eq!(seen, 13);
    // Patches [1,2,5,6] and [3,4,7,8]; tokens [1 * 2, 6 + 1] and [3 * 2, 8 + 1].
    assert_eq!(outputs[0], Tensor::I16(vec![7, -300, 2, 7, 6, 9]));
    assert_eq!(outputs[1], Tensor::I16(vec![14, -600, 4, 14, 12, 18]));
    // Rows of two normalise to 1 and -1, which are 2 and -2 steps; the second channel adds one
    // step.
    assert_eq!(outputs[2], Tensor::I8(vec![2, -1, -2, 3, -2, 3]));
    // 1, 0.25, 1, 2.25 in steps of 0.5, halves up.
    assert_eq!(outputs[3], Tensor::I8(vec![2, 1, 2, 5, 2, 5]));
    // Scores in nats, head 0: [1, -1, -1], [-1, 1, 1] twice; head 1: [1, -3, -3], [-3, 9, 9] over
    // 4. Probabilities: 127 e^-2 = 17.2; 127 e^-1 = 46.7, 127 e^-3 = 6.3.
    assert_eq!(
        outputs[5],
        Tensor::U32(vec![127 + 17 + 17, 17 + 254, 17 + 254, 127 + 47 + 47, 6 + 254, 6 + 254])
    );
    // Head 0 averages equal values. Head 1: (127 + 2 * 47 * 5) / 221 = 2.7, (6 + 254 * 5) / 260 =
    // 4.9.
    assert_eq!(outputs[4], Tensor::I8(vec![2, 3, 2, 5]));

    let image = image.dequantise(0.5, &[1, 1, 2, 4]).unwrap();
    let mut graph = graph.clone();
    let error = QuantisedInterpreter::new(&graph).unwrap().run_f32(&[image.view()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "output \"sums\" is u32[2,3], expected a type that represents real numbers"
    );
    graph.outputs.pop();
    let floats = QuantisedInterpreter::new(&graph).unwrap().run_f32(&[image.view()]).unwrap();
    assert_eq!(floats[4].as_slice().unwrap(), [1.0, 1.5, 1.0, 2.5]);
    assert_eq!(floats[4].shape(), [2, 2]);
}

#[test]
fn concat_and_slice_along_columns() {
    let mut graph = Graph::new("moves", Stage::Quantised);
    let ty = |shape: [usize; 2]| TensorType::quantised(Elem::I8, shape, 1.0);
    let (a, b) = (graph.add_input("a", ty([2, 2])), graph.add_input("b", ty([2, 1])));
    let joined = graph.push_typed(OpKind::Concat { axis: 1 }, &[a, b, a], vec![ty([2, 5])], &[])[0];
    let kind = OpKind::Slice { axis: 1, start: 0, len: 3, stride: 2 };
    let sliced = graph.push_typed(kind, &[joined], vec![ty([2, 3])], &[])[0];
    graph.add_output("joined", joined, [10]);
    graph.add_output("sliced", sliced, [2, 3]);
    graph.verify().unwrap();
    let inputs = [Tensor::I8(vec![1, 2, 3, 4]), Tensor::I8(vec![5, 6])];
    let outputs = QuantisedInterpreter::new(&graph).unwrap().run(&inputs).unwrap();
    assert_eq!(outputs[0], Tensor::I8(vec![1, 2, 5, 1, 2, 3, 4, 6, 3, 4]));
    assert_eq!(outputs[1], Tensor::I8(vec![1, 5, 2, 3, 6, 4]));
}

#[test]
fn inputs_must_fit() {
    let graph = every_operation();
    let interpreter = QuantisedInterpreter::new(&graph).unwrap();
    for input in [Tensor::I16(vec![0; 8]), Tensor::I8(vec![0; 7])] {
        assert!(matches!(interpreter.run(&[input]), Err(InterpError::Input { .. })));
    }
    assert!(matches!(
        interpreter.run(&[]),
        Err(InterpError::InputCount { expected: 1, found: 0, .. })
    ));
    let canonical = Graph::new("x", Stage::Canonical);
    assert_eq!(
        QuantisedInterpreter::new(&canonical).unwrap_err(),
        InterpError::Stage(Stage::Canonical)
    );
}

#[test]
fn malformed_parameters_are_located() {
    let rejected =
        |kind: OpKind, operand: TensorType, parameter: TensorType, result: TensorType| {
            let mut graph = Graph::new("bad", Stage::Quantised);
            let node = graph.add_node("/blocks.0/op");
            let mut operands = vec![graph.add_input("x", operand)];
            if let OpKind::QLinear {} = kind {
                operands.push(graph.add_const("w", TensorType::new(Elem::I8, [2, 3]), vec![0; 6]));
            }
            operands.push(graph.add_const("p", parameter.clone(), vec![0xff; parameter.bytes()]));
            let y = graph.push_typed(kind, &operands, vec![result], &[node])[0];
            graph.add_output("y", y, graph.ty(y).shape.clone());
            graph.verify().unwrap();
            let message = QuantisedInterpreter::new(&graph).unwrap_err().to_string();
            assert!(message.starts_with("/blocks.0/op (op0 q"), "{message}");
        };
    let (i8s, i16s) = (TensorType::new(Elem::I8, [1, 3]), TensorType::new(Elem::I16, [1, 3]));
    rejected(
        OpKind::QLinear {},
        i8s.clone(),
        TensorType::new(Elem::Channel, [2]),
        TensorType::new(Elem::I8, [1, 2]),
    );
    rejected(OpKind::QLayerNorm {}, i16s, TensorType::new(Elem::Byte, [40]), i8s);

    // Parameters of another width, and parameters that are no constant.
    let mut graph = every_operation();
    let narrow = LayerNormParams::new(&[1.0], &[0.0], 0.0, 1.0, 1.0).unwrap().to_bytes();
    let narrow = graph.add_const("", TensorType::new(Elem::Byte, [narrow.len()]), narrow);
    let norm =
        graph.order.iter().copied().find(|op| graph.op(*op).kind == OpKind::QLayerNorm {}).unwrap();
    graph.op_mut(norm).operands[1] = narrow;
    assert!(QuantisedInterpreter::new(&graph).unwrap_err().to_string().contains("1 channels"));
    let variable = graph.add_input("table", TensorType::new(Elem::Byte, [256]));
    graph.op_mut(norm).operands[1] = variable;
    assert!(QuantisedInterpreter::new(&graph).unwrap_err().to_string().contains("not constant"));
}

#[test]
fn float_operations_are_rejected() {
    // The verifier would not let it through.
    let mut graph = Graph::new("x", Stage::Quantised);
    let x = graph.add_input("x", TensorType::quantised(Elem::I8, [1], 1.0));
    let y = graph.push(OpKind::Unary { f: UnaryFn::Exp }, &[x], &[]).unwrap();
    graph.add_output("y", y, [1]);
    let run = QuantisedInterpreter::new(&graph).unwrap().run(&[Tensor::I8(vec![0])]);
    assert!(run.unwrap_err().to_string().contains("not an operation of the quantised stage"));
}

#[test]
fn groups_of_channels_have_tables_of_their_own() {
    let mut graph = Graph::new("groups", Stage::Quantised);
    let i8s = |shape: &[usize]| TensorType::quantised(Elem::I8, shape, 0.5);
    let x = graph.add_input("x", i8s(&[2, 3]));
    let square = Lut::from_fn(0.5, 0.5, |x| x * x).to_bytes();
    let negative = Lut::from_fn(0.5, 0.5, |x| -x).to_bytes();
    let tables = [square, negative].concat();
    let tables = graph.add_const("tables", TensorType::new(Elem::Byte, [512]), tables);
    let kind = OpKind::Lut { channels: vec![1, 2] };
    let y = graph.push_typed(kind, &[x, tables], vec![i8s(&[2, 3])], &[])[0];
    graph.add_output("y", y, [2, 3]);
    graph.verify().unwrap();
    let x = Tensor::I8(vec![3, 3, -4, -5, 7, 9]);
    let outputs = QuantisedInterpreter::new(&graph).unwrap().run(&[x]).unwrap();
    let Tensor::I8(y) = &outputs[0] else { panic!("{:?}", outputs[0]) };
    assert_eq!([&y[1..3], &y[4..]], [[-3, 4], [-7, -9]]);
    assert_eq!([y[0], y[3]], [square[3] as i8, square[(-5i8) as u8 as usize] as i8]);
}
