//! The QDQ form.

use super::{Builder, mnemonics, run};
use crate::onnx::{Attribute, DataType, Tensor};

impl Builder {
    /// A tensor of integers of 8 bits, or of 32.
    fn quantised(
        mut self,
        name: &str,
        data_type: DataType,
        shape: &[usize],
        elements: &[i32],
    ) -> Builder {
        let width = data_type.width();
        let data: Vec<u8> =
            elements.iter().flat_map(|x| x.to_le_bytes()[..width].to_vec()).collect();
        let tensor = Tensor::new(data_type, shape.to_vec(), data.into()).unwrap();
        self.model.graph.initializers.insert(name.into(), tensor);
        self
    }

    /// An input `x` of 6 elements and what quantises it, `q`.
    fn activations(data_type: DataType, zero_point: i32) -> Builder {
        Builder::new(17)
            .input("x", &[2, 3])
            .floats("s", &[], &[0.5])
            .quantised("z", data_type, &[], &[zero_point])
            .node("QuantizeLinear", "x s z", "q", &[])
    }
}

#[test]
fn activations_are_rounded_and_saturate() {
    for (data_type, zero_point, expected) in [
        (DataType::I8, 0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (DataType::I8, 123, [0.0, 1.0, 2.0, 2.0, 2.0, 2.0]),
        (DataType::U8, 252, [0.0, 1.0, 1.5, 1.5, 1.5, 1.5]),
    ] {
        let builder = Builder::activations(data_type, zero_point);
        let graph =
            builder.node("DequantizeLinear", "q s z", "y", &[]).output("y", &[2, 3]).import();
        assert_eq!(mnemonics(&graph), ["fake_quantise"]);
        assert_eq!(run(&graph), [(vec![2, 3], expected.to_vec())]);
    }
}

#[test]
fn moves_between_the_two_are_allowed() {
    let graph = Builder::activations(DataType::U8, 0)
        .node("Transpose", "q", "t", &[])
        .node("DequantizeLinear", "t s z", "y", &[])
        .output("y", &[3, 2])
        .import();
    assert_eq!(mnemonics(&graph), ["fake_quantise", "transpose"]);
}

#[test]
fn constants_become_what_their_integers_stand_for() {
    let axis = |axis| [("axis", Attribute::Int(axis))];
    let graph = Builder::new(17)
        .input("x", &[2, 3])
        .floats("s", &[2], &[0.5, 0.25])
        .floats("one", &[1], &[0.125])
        .quantised("z", DataType::U8, &[2], &[128, 1])
        .quantised("none", DataType::U8, &[], &[0])
        .quantised("w_quantized", DataType::U8, &[2, 3], &[127, 128, 255, 0, 1, 2])
        .quantised("b", DataType::I32, &[3], &[-8, 0, 100_000])
        .node("DequantizeLinear", "w_quantized s z", "w", &axis(-2))
        .node("DequantizeLinear", "b one", "c", &axis(0))
        .node("Add", "x w", "y", &[])
        .node("Add", "y c", "u", &[])
        .floats("numbers", &[3], &[0.3, -7.0, 100.0])
        .node("QuantizeLinear", "numbers one none", "q", &[])
        .node("DequantizeLinear", "q one none", "r", &[])
        .node("Add", "u r", "v", &[])
        .output("y", &[2, 3])
        .output("u", &[2, 3])
        .output("v", &[2, 3])
        .import();
    assert!(graph.to_string().contains("const \"w\""), "{graph}");
    let outputs = run(&graph);
    assert_eq!(outputs[0].1, [-0.5, 1.0, 65.5, 2.75, 4.0, 5.25]);
    assert_eq!(outputs[1].1, [-1.5, 1.0, 12565.5, 1.75, 4.0, 12505.25]);
    // 0.3 is 2 steps of 0.125; nothing is below 0 or above 255.
    let added: Vec<f32> = outputs[2].1.iter().zip(&outputs[1].1).map(|(v, u)| v - u).collect();
    assert_eq!(added, [0.25, 0.0, 31.875, 0.25, 0.0, 31.875]);
}

#[test]
fn what_is_no_qdq_form_is_told() {
    let mut builder = Builder::activations(DataType::U8, 3)
        .floats("t", &[], &[0.25])
        .floats("zero", &[], &[0.0])
        .floats("three", &[3], &[0.5, 1.0, 2.0])
        .quantised("i", DataType::I32, &[], &[0])
        .quantised("w", DataType::I8, &[2, 3], &[0; 6])
        .node("DequantizeLinear", "q t z", "a", &[])
        .node("DequantizeLinear", "x s z", "b", &[])
        .node("QuantizeLinear", "x zero z", "c", &[])
        .node("QuantizeLinear", "x three", "d", &[])
        .node("QuantizeLinear", "x s i", "e", &[])
        .node("DequantizeLinear", "w three", "f", &[("axis", Attribute::Int(0))])
        .node("DequantizeLinear", "w s", "g", &[("block_size", Attribute::Int(2))])
        .node("QLinearMatMul", "q s z w s z s z", "h", &[])
        .node("MatMulInteger", "q w", "k", &[])
        .node("ConvInteger", "q w", "l", &[])
        .node("QLinearAdd", "q q", "m", &[])
        .output("q", &[2, 3]);
    builder.model.graph.nodes.last_mut().unwrap().domain = "com.microsoft".into();
    builder.model.opset.insert("com.microsoft".into(), 1);
    builder.model.graph.outputs[0].data_type = DataType::U8;
    insta::assert_snapshot!(builder.refusal(), @r"
    node `/DequantizeLinear_1` (DequantizeLinear): expected scale and zero point of the QuantizeLinear before it, 0.5 and 3, found [0.25] and [3]
    node `/DequantizeLinear_2` (DequantizeLinear): expected an integer constant, or the result of a QuantizeLinear, found a computed tensor f32[2,3]
    node `/QuantizeLinear_3` (QuantizeLinear): expected positive, finite scales, found 0
    node `/QuantizeLinear_4` (QuantizeLinear): expected one scale for a computed tensor, found [0.5, 1.0, 2.0]
    node `/QuantizeLinear_5` (QuantizeLinear): expected zero points of type i8, u8, i16 or u16, found i32
    node `/DequantizeLinear_6` (DequantizeLinear): expected one scale, or one for each index of the axis, found 3 scales along axis 0 of [2, 3]
    node `/DequantizeLinear_7` (DequantizeLinear), attribute `block_size`: expected 0: one scale for each index of an axis, found another value
    node `/QLinearMatMul_8` (QLinearMatMul): matmul: invalid operands f32[2,3], f32[2,3]
    node `/MatMulInteger_9` (MatMulInteger): matmul: invalid operands f32[2,3], f32[2,3]
    node `/ConvInteger_10` (ConvInteger): expected a sequence and weights of 3 dimensions, or an image and weights of 4, found a computed tensor f32[2,3]
    node `/QLinearAdd_11` (QLinearAdd): expected scales as floats known at compile time, found a computed tensor f32[2,3]
    output `q`: expected elements of a float type, i32, i64 or bool, found u8
    ");
}

#[test]
fn hostile_parameters_are_refused_or_imported() {
    for data_type in [DataType::I8, DataType::U8, DataType::I32] {
        for zero_point in [i32::MIN, -129, 0, 127, 255, i32::MAX] {
            for scale in [f32::MIN_POSITIVE, 1e38, f32::INFINITY, f32::NAN, -1.0] {
                let builder = Builder::new(17)
                    .input("x", &[2])
                    .floats("s", &[], &[scale])
                    .quantised("z", data_type, &[], &[zero_point])
                    .node("QuantizeLinear", "x s z", "q", &[])
                    .node("DequantizeLinear", "q s z", "y", &[])
                    .quantised("w", data_type, &[2], &[i32::MAX, i32::MIN])
                    .node("DequantizeLinear", "w s z", "v", &[])
                    .node("Add", "y v", "u", &[])
                    .output("u", &[2]);
                if let Ok(graph) = super::import(&builder.model, &super::ImportOptions::default()) {
                    graph.verify().unwrap();
                    run(&graph);
                }
            }
        }
    }
}
