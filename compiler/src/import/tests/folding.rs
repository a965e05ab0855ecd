//! What is computed at compile time.

use std::collections::BTreeMap;

use super::{Builder, ints, mnemonics, run};
use crate::import::{ImportOptions, import};
use crate::onnx::Attribute;

/// The shape that integers computed at compile time make of an input with 24 elements: `extents` is
/// their name.
fn reshaped(builder: Builder) -> Vec<usize> {
    let graph = builder.node("Reshape", "x extents", "y", &[]).output("y", &[-1, -1]).import();
    assert!(mnemonics(&graph).iter().all(|mnemonic| *mnemonic == "reshape"), "{graph}");
    graph.outputs[0].shape.clone()
}

fn x() -> Builder {
    Builder::new(17).input("x", &[1, 4, 6])
}

#[test]
fn the_batch_in_a_shape_chain() {
    let chain = || {
        x().batch(0, 0)
            .node("Shape", "x", "shape", &[])
            .scalar("zero", 0)
            .node("Gather", "shape zero", "batch", &[])
            .integers("front", &[0])
            .node("Unsqueeze", "batch front", "batches", &[])
            .integers("rest", &[24])
            .node("Concat", "batches rest", "extents", &[("axis", Attribute::Int(0))])
            .node("Reshape", "x extents", "y", &[])
            .output("y", &[-1, 24])
    };
    assert_eq!(chain().import().outputs[0].shape, [1, 24]);
    let options = ImportOptions {
        dims: BTreeMap::from([("batch".to_owned(), 3)]),
        ..ImportOptions::default()
    };
    let graph = import(&chain().model, &options).unwrap();
    assert_eq!(graph.outputs[0].shape, [3, 24]);
    assert_eq!(graph.ty(graph.inputs[0].value).shape, [3, 4, 6]);
    let unknown = ImportOptions {
        dims: BTreeMap::from([("bach".to_owned(), 3)]),
        ..ImportOptions::default()
    };
    let error = import(&chain().model, &unknown).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model: expected names of dynamic dimensions (batch), found \"bach\""
    );
}

#[test]
fn slices_of_shapes() {
    let slice = |start, end, step| {
        x().node("Shape", "x", "s", &[])
            .integers("start", &[start])
            .integers("end", &[end])
            .integers("axis", &[0])
            .integers("step", &[step])
            .node("Slice", "s start end axis step", "part", &[])
            .integers("rest", &[-1])
            .node("Concat", "part rest", "extents", &[("axis", Attribute::Int(0))])
    };
    assert_eq!(reshaped(slice(-1, i64::MAX, 1)), [6, 4]);
    assert_eq!(reshaped(slice(-2, -1, 1)), [4, 6]);
    assert_eq!(reshaped(slice(1, 3, 2)), [4, 6]);
    assert_eq!(reshaped(slice(i64::MIN, 1, 7)), [1, 24]);
    let empty =
        slice(3, i64::MAX, 1).node("Reshape", "x extents", "y", &[]).output("y", &[24]).import();
    assert_eq!(empty.outputs[0].shape, [24]);
}

#[test]
fn integer_arithmetic() {
    let check = |op: &str, a: i64, b: i64, expected: usize| {
        let two = x().integers("a", &[a]).integers("b", &[b]).node(op, "a b", "c", &[]);
        // Booleans become integers.
        let two = two.node("Cast", "c", "d", &[("to", Attribute::Int(7))]);
        let two = two.integers("rest", &[-1]).node(
            "Concat",
            "d rest",
            "extents",
            &[("axis", Attribute::Int(0))],
        );
        assert_eq!(reshaped(two)[0], expected, "{op} {a} {b}");
    };
    check("Add", 5, 3, 8);
    check("Sub", 5, 3, 2);
    check("Mul", 2, 3, 6);
    check("Div", 13, 3, 4);
    check("Div", -13, -3, 4);
    check("Pow", 2, 3, 8);
    check("Mod", -4, 3, 2);
    check("Max", -4, 3, 3);
    check("Min", 4, 3, 3);
    check("Equal", 4, 4, 1);
    check("Less", 3, 4, 1);
    check("GreaterOrEqual", 4, 4, 1);
    check("Or", 0, 7, 1);
    check("And", 2, 7, 1);
}

#[test]
fn the_scale_of_fused_attention() {
    // sqrt(1 / sqrt(d)) for d = 16, from the shape.
    let graph = Builder::new(17)
        .input("x", &[1, 2, 16])
        .node("Shape", "x", "s", &[("start", Attribute::Int(-1))])
        .node("Cast", "s", "d", &[("to", Attribute::Int(1))])
        .node("Sqrt", "d", "root", &[])
        .floats("one", &[1], &[1.0])
        .node("Div", "one root", "scale", &[])
        .node("Sqrt", "scale", "half", &[])
        .node("Mul", "x half", "y", &[])
        .output("y", &[1, 2, 16])
        .import();
    assert_eq!(mnemonics(&graph), ["binary"]);
    let factor = graph.op(graph.order[0]).operands[1];
    assert_eq!(graph.const_f32(factor), Some(vec![0.5]));
}

#[test]
fn an_expanded_class_token() {
    let graph = Builder::new(17)
        .input("x", &[1, 2, 2])
        .batch(0, 0)
        .floats("token", &[1, 1, 2], &[5.0, 6.0])
        .node("Shape", "x", "s", &[("end", Attribute::Int(1))])
        .integers("kept", &[-1, -1])
        .node("Concat", "s kept", "wanted", &[("axis", Attribute::Int(0))])
        .node("ConstantOfShape", "three", "ones", &[("value", Attribute::Tensor(one()))])
        .integers("three", &[3])
        .scalar("minus", -1)
        .node("Equal", "wanted minus", "same", &[])
        .node("Where", "same ones wanted", "extents", &[])
        .node("Expand", "token extents", "tokens", &[])
        .node("Concat", "tokens x", "y", &[("axis", Attribute::Int(1))])
        .output("y", &[-1, 3, 2])
        .import();
    assert_eq!(mnemonics(&graph), ["concat"]);
    assert_eq!(run(&graph), [(vec![1, 3, 2], vec![5.0, 6.0, 0.0, 1.0, 2.0, 3.0])]);
}

fn one() -> crate::onnx::Tensor {
    crate::onnx::Tensor::new(
        crate::onnx::DataType::I64,
        vec![1],
        1i64.to_le_bytes().to_vec().into(),
    )
    .unwrap()
}

#[test]
fn constants_move_as_computed_tensors_do() {
    let elements: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let chain = |builder: Builder| {
        builder
            .node("Transpose", "c", "t", &[("perm", ints(&[2, 0, 1]))])
            .integers("starts", &[1, -3])
            .integers("ends", &[i64::MAX, -1])
            .integers("axes", &[2, 0])
            .integers("steps", &[2, 1])
            .node("Slice", "t starts ends axes steps", "p", &[])
            .integers_of("indices", &[2, 1], &[-1, 0])
            .node("Gather", "p indices", "g", &[("axis", Attribute::Int(1))])
            .integers("extents", &[2, 2, 2, 1, 2])
            .node("Expand", "g extents", "e", &[])
            .node("Concat", "e e", "j", &[("axis", Attribute::Int(-1))])
            .integers("repeats", &[1, 2, 1, 1, 1])
            .node("Tile", "j repeats", "y", &[])
            .output("y", &[-1, -1, -1, -1, -1])
    };
    let computed = chain(Builder::new(17).input("c", &[2, 3, 4])).import();
    assert!(!computed.order.is_empty());
    let folded = chain(Builder::new(17).floats("c", &[2, 3, 4], &elements)).import();
    assert!(folded.order.is_empty());
    assert_eq!(run(&computed), run(&folded));
}

#[test]
fn parameters_are_shared_with_the_file() {
    let builder = Builder::new(17)
        .input("x", &[1, 2])
        .floats("w", &[2, 1, 2], &[1.0, 2.0, 3.0, 4.0])
        .integers("axes", &[1])
        .node("Squeeze", "w axes", "w2", &[])
        .node("Identity", "w2", "w3", &[])
        .node("MatMul", "x w3", "y", &[])
        .output("y", &[1, 2]);
    let graph = builder.import();
    let weight = graph.constant(graph.op(graph.order[0]).operands[1]).unwrap();
    assert_eq!(weight.name, "w");
    assert_eq!(weight.bytes.as_ptr(), builder.model.graph.initializers["w"].data().as_ptr());
}

#[test]
fn ranges() {
    let range = |start, limit, delta| {
        x().scalar("start", start).scalar("limit", limit).scalar("delta", delta).node(
            "Range",
            "start limit delta",
            "r",
            &[],
        )
    };
    let count = |builder: Builder| {
        reshaped(builder.node("Shape", "r", "n", &[]).integers("rest", &[-1]).node(
            "Concat",
            "n rest",
            "extents",
            &[("axis", Attribute::Int(0))],
        ))[0]
    };
    assert_eq!(count(range(0, 7, 3)), 3);
    assert_eq!(count(range(0, 6, 3)), 2);
    assert_eq!(count(range(5, 0, -2)), 3);
    let refusal = |builder: Builder| {
        builder.node("Add", "x r", "y", &[]).output("y", &[1]).refusal().to_string()
    };
    assert!(
        refusal(range(i64::MIN, i64::MAX, 1)).contains("at most 16 dimensions and 2^40 elements")
    );
    assert!(refusal(range(0, 1 << 30, 1)).contains("less to compute at compile time"));
    assert!(refusal(range(0, 1, 0)).contains("expected a step other than 0, found 0"));
}
