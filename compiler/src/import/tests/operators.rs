//! What operators become.

use super::{Builder, ints, mnemonics, run};
use crate::import::{CONTRIBUTED, OPERATORS, OPSETS};
use crate::onnx::Attribute;

#[test]
fn the_table_is_sorted_and_within_the_opsets() {
    for table in [OPERATORS, CONTRIBUTED] {
        assert!(table.is_sorted_by(|a, b| a.name < b.name));
    }
    assert!(OPERATORS.iter().all(|operator| OPSETS.contains(&operator.since)));
}

#[test]
fn gemm() {
    let attributes = [
        ("alpha", Attribute::Float(2.0)),
        ("beta", Attribute::Float(0.5)),
        ("transA", Attribute::Int(1)),
        ("transB", Attribute::Int(1)),
    ];
    let graph = Builder::new(17)
        .input("x", &[2, 1])
        .floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .floats("b", &[3], &[2.0, 4.0, 6.0])
        .node("Gemm", "x w b", "y", &attributes)
        .output("y", &[1, 3])
        .import();
    assert_eq!(mnemonics(&graph), ["transpose", "matmul", "binary", "binary"]);
    // x is [0, 1]: twice the second column of w, and half of b.
    assert_eq!(run(&graph), [(vec![1, 3], vec![5.0, 10.0, 15.0])]);
}

#[test]
fn products_with_vectors() {
    let product = |a: &[usize], b: &[usize]| {
        let model = Builder::new(17).input("a", a).input("b", b).node("MatMul", "a b", "y", &[]);
        let rank = a.len().max(b.len()) - usize::from(a.len() == 1) - usize::from(b.len() == 1);
        run(&model.output("y", &vec![-1; rank]).import()).remove(0)
    };
    assert_eq!(product(&[2], &[2, 3]), (vec![3], vec![3.0, 4.0, 5.0]));
    assert_eq!(product(&[1, 2, 2], &[2]), (vec![1, 2], vec![1.0, 3.0]));
}

#[test]
fn splits() {
    let split = |opset: i64, attributes: &[(&str, Attribute)], operand: &str| {
        let model = Builder::new(opset).input("x", &[1, 5]).integers("sizes", &[1, 1, 3]);
        let attributes = [&[("axis", Attribute::Int(-1))], attributes].concat();
        let model = model.node("Split", operand, "a b c", &attributes);
        let graph =
            model.output("a", &[1, -1]).output("b", &[1, -1]).output("c", &[1, -1]).import();
        run(&graph).into_iter().map(|(_, elements)| elements).collect::<Vec<_>>()
    };
    let unequal = [vec![0.0], vec![1.0], vec![2.0, 3.0, 4.0]];
    assert_eq!(split(13, &[], "x sizes"), unequal);
    assert_eq!(split(11, &[("split", ints(&[1, 1, 3]))], "x"), unequal);
    assert_eq!(
        split(18, &[("num_outputs", Attribute::Int(3))], "x"),
        [vec![0.0, 1.0], vec![2.0, 3.0], vec![4.0]]
    );
}

#[test]
fn batch_normalisation() {
    let graph = Builder::new(17)
        .input("x", &[1, 2, 2])
        .floats("gamma", &[2], &[2.0, 3.0])
        .floats("beta", &[2], &[1.0, -1.0])
        .floats("mean", &[2], &[0.5, 2.0])
        .floats("var", &[2], &[0.75, 3.75])
        .node(
            "BatchNormalization",
            "x gamma beta mean var",
            "y",
            &[("epsilon", Attribute::Float(0.25))],
        )
        .output("y", &[1, 2, 2])
        .import();
    assert_eq!(mnemonics(&graph), ["binary", "binary"]);
    assert_eq!(run(&graph), [(vec![1, 2, 2], vec![0.0, 2.0, -1.0, 0.5])]);
}

#[test]
fn reshapes() {
    let reshape = |extents: &[i64], allow_zero: i64| {
        let model = Builder::new(17).input("x", &[2, 3, 4]).integers("s", extents);
        let model = model.node("Reshape", "x s", "y", &[("allowzero", Attribute::Int(allow_zero))]);
        let rank = extents.len();
        model.output("y", &vec![-1; rank])
    };
    assert_eq!(reshape(&[0, -1], 0).import().outputs[0].shape, [2, 12]);
    assert_eq!(reshape(&[4, 0, -1], 0).import().outputs[0].shape, [4, 3, 2]);
    assert!(reshape(&[2, 3, 4], 0).import().order.is_empty());
    for (extents, allow_zero) in [
        (&[-1, -1][..], 0),
        (&[5, -1], 0),
        (&[2, 3, 4, 0], 0),
        (&[0, -1], 1),
        (&[-2, 12], 0),
        (&[i64::MAX, 3, -1], 0),
    ] {
        let error = reshape(extents, allow_zero).refusal().to_string();
        assert!(error.starts_with("node `/Reshape_0` (Reshape): "), "{error}");
    }
}

#[test]
fn layer_normalisation_without_a_bias() {
    let graph = Builder::new(17)
        .input("x", &[1, 2])
        .floats("gamma", &[2], &[2.0, 4.0])
        .node("LayerNormalization", "x gamma _", "y", &[("epsilon", Attribute::Float(0.0))])
        .output("y", &[1, 2])
        .import();
    assert_eq!(run(&graph), [(vec![1, 2], vec![-2.0, 4.0])]);
}

#[test]
fn axes_from_attributes_and_operands() {
    let mean = |opset: i64, list: &str, attributes: &[(&str, Attribute)]| {
        let model = Builder::new(opset).input("x", &[1, 2, 2]).integers("axes", &[-1]);
        let graph = model.node("ReduceMean", list, "y", attributes).output("y", &[1, 2]).import();
        run(&graph).remove(0).1
    };
    let keep = ("keepdims", Attribute::Int(0));
    assert_eq!(mean(17, "x", &[("axes", ints(&[-1])), keep.clone()]), [0.5, 2.5]);
    assert_eq!(mean(18, "x axes", &[keep]), [0.5, 2.5]);
    let squeezed = |opset: i64, list: &str, attributes: &[(&str, Attribute)]| {
        let model = Builder::new(opset).input("x", &[1, 2, 1]).integers("axes", &[-1]);
        model.node("Squeeze", list, "y", attributes).output("y", &[1, 2]).import().outputs[0]
            .shape
            .clone()
    };
    assert_eq!(squeezed(11, "x", &[("axes", ints(&[-1]))]), [1, 2]);
    assert_eq!(squeezed(13, "x axes", &[]), [1, 2]);
}

#[test]
fn the_axis_of_softmax() {
    let softmax = |opset: i64, shape: &[usize]| {
        Builder::new(opset)
            .input("x", shape)
            .node("Softmax", "x", "y", &[])
            .output("y", &vec![-1; shape.len()])
    };
    assert_eq!(run(&softmax(11, &[1, 2]).import()), run(&softmax(13, &[1, 2]).import()));
    let error = softmax(11, &[1, 2, 2]).refusal().to_string();
    assert_eq!(
        error,
        "node `/Softmax_0` (Softmax), attribute `axis`: expected the last of 3, found 1"
    );
}

#[test]
fn operations_are_named_by_module_and_node() {
    let mut model =
        Builder::new(17).input("x", &[1, 2]).node("Tanh", "x", "h", &[]).node("Erf", "h", "y", &[]);
    model.model.graph.nodes[1].scope = "blocks.0.mlp".into();
    let graph = model.output("y", &[1, 2]).import();
    let names: Vec<&str> = graph.nodes().map(|(_, name)| name).collect();
    assert_eq!(names, ["/Tanh_0", "blocks.0.mlp//Erf_1"]);
}

/// Attention of `q`, `k` and `v`, each 0, 1, 2, ...
fn attention(shapes: [&[usize]; 3], operands: &str, attributes: &[(&str, Attribute)]) -> Builder {
    let model = Builder::new(23).input("q", shapes[0]).input("k", shapes[1]).input("v", shapes[2]);
    let model = model.floats("bias", &[2, 2], &[0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0]);
    model.node("Attention", operands, "y", attributes).output("y", &vec![-1; shapes[0].len()])
}

#[test]
fn attention_as_one_operator() {
    let heads = [("q_num_heads", Attribute::Int(2)), ("kv_num_heads", Attribute::Int(2))];
    let flat = attention([&[1, 2, 2]; 3], "q k v", &heads).import();
    assert_eq!(mnemonics(&flat).iter().filter(|name| **name == "matmul").count(), 2);
    // Scores are q k, as there is one feature: of the first head 0 of the first query, and 0 and 4
    // of the second.
    let (_, y) = run(&flat).remove(0);
    let weight = libm::expf(4.0) / (1.0 + libm::expf(4.0));
    assert!((y[0] - 1.0).abs() < 1e-6 && (y[2] - 2.0 * weight).abs() < 1e-6, "{y:?}");

    let causal = [&heads[..], &[("is_causal", Attribute::Int(1))]].concat();
    let (_, y) = run(&attention([&[1, 2, 2]; 3], "q k v", &causal).import()).remove(0);
    assert_eq!(y[..2], [0.0, 1.0]);
    // Each query has its own key alone.
    let (shape, y) = run(&attention([&[1, 2, 2, 1]; 3], "q k v bias", &[]).import()).remove(0);
    assert_eq!((shape, y), (vec![1, 2, 2, 1], vec![0.0, 1.0, 2.0, 3.0]));
    // Without a scale it is one over the root of the features; with one it is that.
    let scaled =
        |scale: &[(&str, Attribute)]| run(&attention([&[1, 1, 2, 4]; 3], "q k v", scale).import());
    assert_eq!(scaled(&[]), scaled(&[("scale", Attribute::Float(0.5))]));
    assert_ne!(scaled(&[]), scaled(&[("scale", Attribute::Float(0.25))]));
}

#[test]
fn attention_that_is_not_supported() {
    let tensors: [&[usize]; 3] = [&[1, 2, 2, 4]; 3];
    let refusals = [
        attention([&[1, 4, 2, 4], &[1, 2, 2, 4], &[1, 2, 2, 4]], "q k v", &[]),
        attention(tensors, "q k v _ k v", &[]),
        attention(tensors, "q k v", &[("softcap", Attribute::Float(2.0))]),
        attention([&[1, 2, 6]; 3], "q k v", &[("q_num_heads", Attribute::Int(4))]),
        attention([&[2, 2]; 3], "q k v", &[]),
    ];
    insta::assert_snapshot!(refusals.map(|model| model.refusal().to_string()).join("\n"), @r"
    node `/Attention_0` (Attention): expected as many heads of queries, of keys and of values, found 4, 2 and 2
    node `/Attention_0` (Attention): expected no past keys, but the whole sequence at once, found an operand 4
    node `/Attention_0` (Attention), attribute `softcap`: expected 0, found 2
    node `/Attention_0` (Attention), attribute `q_num_heads`: expected a divisor of 6, found 4
    node `/Attention_0` (Attention): expected queries, keys and values of 3 or 4 dimensions, found a computed tensor f32[2,2]
    ");
}

#[test]
fn integers_that_are_inputs() {
    let mut model = Builder::new(17)
        .input("rows", &[1, 3])
        .floats("table", &[4, 2], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0])
        .floats("least", &[], &[-1.0])
        .floats("zero", &[], &[0.0])
        .integers_of("pairs", &[1, 3, 2], &[0, 2, 0, 1, 0, -3])
        .node("Gather", "table rows", "y", &[])
        .node("Cast", "rows", "flags", &[("to", Attribute::Int(9))])
        .node("GatherND", "flags pairs", "reversed", &[])
        .node("Not", "reversed", "not", &[])
        .node("And", "flags reversed", "both", &[])
        .node("Where", "not zero least", "z", &[])
        .node("Cast", "both", "b", &[("to", Attribute::Int(1))])
        .output("y", &[1, 3, 2])
        .output("z", &[1, 3])
        .output("b", &[1, 3]);
    model.model.graph.inputs[0].data_type = crate::onnx::DataType::I64;
    let results: Vec<Vec<f32>> =
        run(&model.import()).into_iter().map(|(_, elements)| elements).collect();
    // The input is 0, 1, 2.
    assert_eq!(results[0], [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
    assert_eq!(results[1], [-1.0, -1.0, 0.0]);
    assert_eq!(results[2], [0.0, 1.0, 0.0]);
}

#[test]
fn sequences_are_convolved() {
    let model = Builder::new(17)
        .input("x", &[1, 2, 5])
        .floats("w", &[1, 2, 3], &[1.0, 10.0, 100.0, 0.0, 1.0, 0.0])
        .floats("b", &[1], &[0.5])
        .node(
            "Conv",
            "x w b",
            "y",
            &[("strides", Attribute::Ints(vec![2])), ("pads", Attribute::Ints(vec![1, 1]))],
        )
        .output("y", &[1, 1, 3]);
    // Channels are 0 to 4 and 5 to 9.
    let (shape, y) = run(&model.import()).remove(0);
    assert_eq!((shape, y), (vec![1, 1, 3], vec![105.5, 328.5, 52.5]));
    let model = Builder::new(17).input("x", &[1, 2, 5]).floats("w", &[1, 2, 3, 1], &[0.0; 6]).node(
        "Conv",
        "x w",
        "y",
        &[],
    );
    insta::assert_snapshot!(model.output("y", &[1, 1, 3]).refusal(), @"node `/Conv_0` (Conv): expected a sequence and weights of 3 dimensions, or an image and weights of 4, found a computed tensor f32[1,2,5]");
}

#[test]
fn pooling_of_one_element_selects() {
    let attributes = |kernel, stride| {
        [
            ("kernel_shape", Attribute::Ints(vec![kernel])),
            ("strides", Attribute::Ints(vec![stride])),
        ]
    };
    let pool = |kernel, stride| {
        let model = Builder::new(17).input("x", &[1, 2, 5]).node(
            "MaxPool",
            "x",
            "y",
            &attributes(kernel, stride),
        );
        model.output("y", &[1, 2, -1])
    };
    assert_eq!(run(&pool(1, 3).import()).remove(0), (vec![1, 2, 2], vec![0.0, 3.0, 5.0, 8.0]));
    assert_eq!(
        run(&pool(2, 2).import()).remove(0),
        (vec![1, 2, 2], vec![1.0, 3.0, 6.0, 8.0]),
        "the largest of each window"
    );
    let refusals = [pool(6, 1), pool(1, 0)].map(|model| model.refusal().to_string());
    insta::assert_snapshot!(refusals.join("\n"), @r"
    node `/MaxPool_0` (MaxPool): expected windows that fit the padded map, with pads up to the kernel's extents, found windows of [1, 6] on [1, 5]
    node `/MaxPool_0` (MaxPool): expected windows that fit the padded map, with pads up to the kernel's extents, found windows of [1, 1] on [1, 5]
    ");
}

#[test]
fn slices_from_behind() {
    let slice = |start: i64, end: i64, step: i64| {
        let model =
            Builder::new(17).input("x", &[6]).integers("start", &[start]).integers("end", &[end]);
        let model = model.integers("axis", &[0]).integers("step", &[step]);
        run(&model.node("Slice", "x start end axis step", "y", &[]).output("y", &[-1]).import())
            .remove(0)
            .1
    };
    assert_eq!(slice(-1, i64::MIN, -1), [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    assert_eq!(slice(4, 0, -2), [4.0, 2.0]);
    assert_eq!(slice(9, -4, -1), [5.0, 4.0, 3.0]);
    assert_eq!(slice(-1, i64::MIN, i64::MIN), [5.0]);
}
