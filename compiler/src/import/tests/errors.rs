//! What cannot be imported.

use super::{Builder, ints};
use crate::onnx::{Attribute, DataType};
use vitcod_support::problems::KEPT;

#[test]
fn all_unsupported_operators_are_told_at_once() {
    let mut builder = Builder::new(17)
        .input("x", &[1, 2])
        .node("Hardmax", "x", "a", &[])
        .node("Tanh", "a", "b", &[])
        .node("QAttention", "b", "c", &[])
        .node("GroupNormalization", "x", "d", &[])
        .node("Gelu", "x", "e", &[])
        .node("Attention", "c d e", "f", &[])
        .node("FusedMatMul", "x a", "g", &[])
        .node("Block", "x", "h", &[])
        .node("If", "x", "i", &[])
        .node("LSTM", "x", "j", &[])
        .node("GridSample", "x", "k", &[])
        .node("Col2Im", "x b", "l", &[])
        .output("f", &[1, 2]);
    builder.model.graph.nodes[2].domain = "com.microsoft".into();
    builder.model.opset.insert("com.microsoft".into(), 1);
    builder.model.graph.nodes[6].domain = "com.other".into();
    builder.model.graph.nodes[7].domain = "mine".into();
    insta::assert_snapshot!(builder.refusal(), @r#"
    node `/Hardmax_0` (Hardmax): unsupported operator of ai.onnx opset 17
    node `/QAttention_2` (QAttention): unsupported operator of com.microsoft opset 1: only some of com.microsoft and those of ONNX are supported; use the model before it was optimised for a runtime
    node `/GroupNormalization_3` (GroupNormalization): unsupported operator of ai.onnx opset 17: it came with opset 18
    node `/Gelu_4` (Gelu): unsupported operator of ai.onnx opset 17: it came with opset 20
    node `/Attention_5` (Attention): unsupported operator of ai.onnx opset 17: it came with opset 23
    node `/FusedMatMul_6` (FusedMatMul): unsupported operator of a domain without opset, "com.other": only some of com.microsoft and those of ONNX are supported; use the model before it was optimised for a runtime
    node `/Block_7` (Block): unsupported operator of a domain without opset, "mine": only some of com.microsoft and those of ONNX are supported; use the model before it was optimised for a runtime
    node `/If_8` (If): expected a condition known at compile time, found a computed tensor f32[1,2]
    node `/LSTM_9` (LSTM): unsupported operator of ai.onnx opset 17
    node `/GridSample_10` (GridSample): unsupported operator of ai.onnx opset 17
    node `/Col2Im_11` (Col2Im): unsupported operator of ai.onnx opset 17
    "#);
}

#[test]
fn misfits_are_told_with_their_place_and_only_once() {
    let builder = Builder::new(17)
        .input("x", &[2, 3])
        .input("y", &[4, 5])
        .node("MatMul", "x y", "a", &[])
        .node("Add", "a x", "b", &[])
        .node("Transpose", "x", "c", &[("perm", ints(&[0, 0]))])
        .node("Concat", "x y", "d", &[])
        .node("Softmax", "x", "e", &[("axis", Attribute::Float(1.0))])
        .node("Dropout", "x", "f mask", &[])
        .node("Neg", "mask", "g", &[])
        .node("Shape", "x", "h", &[])
        .output("f", &[3, 3])
        .output("b", &[2, 3])
        .output("h", &[2]);
    insta::assert_snapshot!(builder.refusal(), @r#"
    node `/MatMul_0` (MatMul): matmul: invalid operands f32[2,3], f32[4,5]
    node `/Transpose_2` (Transpose): transpose: invalid operands f32[2,3]
    node `/Concat_3` (Concat): expected an attribute axis, found none
    node `/Softmax_4` (Softmax), attribute `axis`: expected a value of kind INT, found FLOAT
    node `/Neg_6` (Neg): expected values that are computed, found "mask", a secondary result of its operator
    output `f`: expected the shape that the model declares, [3,3], found f32[2,3]
    output `h`: expected a tensor of f32, found i64[2]
    "#);
}

#[test]
fn opsets_and_inputs() {
    let mut builder = Builder::new(6).input("x", &[1, 2]).input("y", &[0, 2]).output("x", &[1, 2]);
    builder.model.graph.inputs[0].data_type = DataType::I8;
    insta::assert_snapshot!(builder.refusal(), @r"
    model: expected an opset of ai.onnx from 7 to 25, found 6
    input `x`: expected elements of a float type, i32, i64 or bool, found i8
    input `y`: expected computed tensors with extents of at least 1, found [0, 2]
    ");
}

#[test]
fn small_files_ask_for_little() {
    let huge = 1 << 33;
    let refused = |builder: Builder| builder.output("y", &[-1]).refusal().to_string();
    let expand =
        Builder::new(17).input("x", &[1]).integers("s", &[huge]).node("Expand", "x s", "y", &[]);
    assert!(refused(expand).contains("tensors of at most 1073741824 bytes"));
    let constant = Builder::new(17).integers("s", &[huge]).node("ConstantOfShape", "s", "y", &[]);
    assert!(refused(constant).contains("less to compute at compile time"));
    let overflow =
        Builder::new(17).integers("s", &[i64::MAX, 4]).node("ConstantOfShape", "s", "y", &[]);
    assert!(refused(overflow).contains("at most 16 dimensions and 2^40 elements"));
    let empty =
        Builder::new(17).integers("s", &[0, i64::MAX]).node("ConstantOfShape", "s", "y", &[]);
    assert!(refused(empty).contains("at most 16 dimensions and 2^40 elements"));
    let ranks = Builder::new(17).input("x", &[1]).integers("axes", &(1..40).collect::<Vec<_>>());
    assert!(refused(ranks.node("Unsqueeze", "x axes", "y", &[])).contains("at most 16 dimensions"));
    // Doubling in every node.
    let doubling = (0..60).fold(Builder::new(17).floats("c0", &[1], &[1.0]), |builder, i| {
        builder.node(
            "Concat",
            &format!("c{i} c{i}"),
            &format!("c{}", i + 1),
            &[("axis", Attribute::Int(0))],
        )
    });
    assert!(
        refused(doubling.node("Identity", "c60", "y", &[]))
            .contains("less to compute at compile time")
    );
}

#[test]
fn problems_are_counted_beyond_a_limit() {
    let many = (0..KEPT + 5).fold(Builder::new(17).input("x", &[1]), |builder, i| {
        builder.node("Hardmax", "x", &format!("y{i}"), &[])
    });
    let error = many.refusal();
    assert_eq!((error.problems.kept().len(), error.problems.omitted()), (KEPT, 5));
    assert!(error.to_string().ends_with("\nand 5 more"));
}
