//! The ways in which a file stores constants.

use std::borrow::Cow;

use half::{bf16, f16};

use super::*;
use crate::onnx::{DataType, Tensor, TensorFault, load};

fn constant(tensor: TensorProto) -> Result<Tensor, Fault> {
    let name = tensor.name().to_owned();
    let model = changed(|graph| {
        graph.node.push(node("Identity", "used", &[&name], &["copy"]));
        graph.initializer.push(tensor);
    });
    match read(&model) {
        Ok(mut model) => Ok(model.graph.initializers.remove(&name).expect("it was put in")),
        Err(error) => Err(only(error).1),
    }
}

#[test]
fn floats_of_every_width() {
    let expected = [1.5f32, -0.25, f32::INFINITY, 0.0];
    let bits16 = expected.map(|value| f16::from_f32(value).to_bits());
    let brain = expected.map(|value| bf16::from_f32(value).to_bits());
    let double = expected.map(f64::from);
    let forms = [
        raw("c", Onnx::Float, &[4], &expected.map(f32::to_le_bytes).concat()),
        raw("c", Onnx::Double, &[4], &double.map(f64::to_le_bytes).concat()),
        raw("c", Onnx::Float16, &[4], &bits16.map(u16::to_le_bytes).concat()),
        raw("c", Onnx::Bfloat16, &[4], &brain.map(u16::to_le_bytes).concat()),
        TensorProto { float_data: expected.to_vec(), ..raw("c", Onnx::Float, &[4], &[]) },
        TensorProto { double_data: double.to_vec(), ..raw("c", Onnx::Double, &[4], &[]) },
        TensorProto {
            int32_data: bits16.map(i32::from).to_vec(),
            ..raw("c", Onnx::Float16, &[4], &[])
        },
        TensorProto {
            int32_data: brain.map(i32::from).to_vec(),
            ..raw("c", Onnx::Bfloat16, &[4], &[])
        },
    ];
    for form in forms {
        let tensor = constant(form).unwrap();
        assert_eq!(*tensor.to_f32().unwrap(), expected, "{tensor:?}");
        assert_eq!(tensor.elements(), 4);
        assert!(matches!(tensor.to_i64(), Err(TensorFault::Elements { .. })));
    }
}

#[test]
fn integers_of_every_width() {
    let int32 = |data_type, values: &[i32]| TensorProto {
        int32_data: values.to_vec(),
        ..raw("c", data_type, &[values.len() as i64], &[])
    };
    let uint64 = |data_type, values: &[u64]| TensorProto {
        uint64_data: values.to_vec(),
        ..raw("c", data_type, &[values.len() as i64], &[])
    };
    let int64 = TensorProto { int64_data: vec![i64::MIN, 5], ..raw("c", Onnx::Int64, &[2], &[]) };
    let forms = [
        (raw("c", Onnx::Int8, &[2], &[0x80, 1]), vec![-128, 1]),
        (raw("c", Onnx::Uint8, &[2], &[0x80, 1]), vec![128, 1]),
        (raw("c", Onnx::Int16, &[1], &[0xfe, 0xff]), vec![-2]),
        (raw("c", Onnx::Uint16, &[1], &[0xfe, 0xff]), vec![65534]),
        (raw("c", Onnx::Int32, &[], &[0xff; 4]), vec![-1]),
        (raw("c", Onnx::Uint32, &[], &[0xff; 4]), vec![u32::MAX.into()]),
        (raw("c", Onnx::Int64, &[1, 1], &[0xff; 8]), vec![-1]),
        (raw("c", Onnx::Uint64, &[], &7u64.to_le_bytes()), vec![7]),
        (raw("c", Onnx::Bool, &[3], &[0, 1, 2]), vec![0, 1, 1]),
        (int32(Onnx::Int8, &[-128, 127]), vec![-128, 127]),
        (int32(Onnx::Uint8, &[0, 255]), vec![0, 255]),
        (int32(Onnx::Int16, &[-32768]), vec![-32768]),
        (int32(Onnx::Uint16, &[65535]), vec![65535]),
        (int32(Onnx::Int32, &[i32::MIN]), vec![i32::MIN.into()]),
        (int32(Onnx::Bool, &[0, 1]), vec![0, 1]),
        (uint64(Onnx::Uint32, &[9]), vec![9]),
        (uint64(Onnx::Uint64, &[9]), vec![9]),
        (int64, vec![i64::MIN, 5]),
        (raw("c", Onnx::Int64, &[0], &[]), vec![]),
        (raw("c", Onnx::Int64, &[i64::MAX, i64::MAX, 0], &[]), vec![]),
    ];
    for (form, expected) in forms {
        let tensor = constant(form).unwrap();
        assert_eq!(tensor.to_i64().unwrap(), expected, "{tensor:?}");
        assert!(matches!(tensor.to_f32(), Err(TensorFault::Elements { .. })));
    }
    let huge = constant(raw("c", Onnx::Uint64, &[], &[0xff; 8])).unwrap();
    assert_eq!(
        huge.to_i64().unwrap_err().to_string(),
        "expected values of i64, found 18446744073709551615 as element 0",
    );
}

#[test]
fn what_is_no_tensor_is_refused() {
    let cases = [
        (raw("c", Onnx::Float, &[3], &[0; 8]), "expected 12 bytes for shape [3] of f32, found 8"),
        // A weight that was stripped from the file.
        (raw("c", Onnx::Float, &[3], &[]), "expected 12 bytes for shape [3] of f32, found 0"),
        (raw("c", Onnx::Float, &[0], &[1]), "expected 0 bytes for shape [0] of f32, found 1"),
        (
            TensorProto { float_data: vec![1.], ..raw("c", Onnx::Float, &[2], &[]) },
            "expected 8 bytes for shape [2] of f32, found 4",
        ),
        (
            raw("c", Onnx::Float, &[2, -1], &[]),
            "expected no negative dimension, found -1 as dimension 1",
        ),
        (
            raw("c", Onnx::Float, &[i64::MAX, 2], &[]),
            "a tensor of shape [9223372036854775807, 2] is too large",
        ),
        (
            raw("c", Onnx::Uint8, &[1 << 62, 2], &[]),
            "a tensor of shape [4611686018427387904, 2] is too large",
        ),
        (raw("c", Onnx::Float, &[1; 65], &[0; 4]), "expected at most 64 dimensions, found 65"),
        (
            raw("c", Onnx::Int4, &[2], &[0]),
            "expected elements of a float type of 16 to 64 bits, an integer type of 8 to 64 bits or BOOL, found INT4",
        ),
        (
            TensorProto { data_type: Some(99), ..raw("c", Onnx::Float, &[], &[]) },
            "expected elements of a float type of 16 to 64 bits, an integer type of 8 to 64 bits or BOOL, found number 99",
        ),
        (
            TensorProto { int64_data: vec![1], ..raw("c", Onnx::Float, &[1], &[]) },
            "expected data of f32 in raw_data or float_data, found int64_data",
        ),
        (
            TensorProto { float_data: vec![1.], ..raw("c", Onnx::Float, &[1], &[0; 4]) },
            "expected data of f32 in raw_data or float_data, found raw_data, float_data",
        ),
        (
            TensorProto { int32_data: vec![0, 300], ..raw("c", Onnx::Uint8, &[2], &[]) },
            "expected values of u8, found 300 as element 1",
        ),
    ];
    for (tensor, expected) in cases {
        assert_eq!(constant(tensor).unwrap_err().to_string(), expected);
    }
    let unnamed = raw("", Onnx::Float, &[], &[0; 4]);
    let model = changed(|graph| graph.initializer.push(unnamed));
    assert_eq!(refusal(&model), "initializer `#2`: expected a name, found none");
}

#[test]
fn a_tensor_that_cannot_be_read_does_not_make_its_name_unknown() {
    let model = changed(|graph| graph.initializer[0].raw_data = None);
    assert_eq!(
        refusal(&model),
        "initializer `W`: expected 24 bytes for shape [3, 2] of f32, found 0",
    );
}

#[test]
fn raw_data_is_shared_with_the_file() {
    let bytes = bytes::Bytes::from(linear().encode_to_vec());
    let file = bytes.as_ptr_range();
    let model = parse(bytes.clone(), None).unwrap();
    let data = model.graph.initializers["W"].data();
    assert!(file.contains(&data.as_ptr()) && data.as_ptr_range().end <= file.end);
}

#[test]
fn large_files_are_mapped() {
    let elements = 1 << 19;
    let weights = vec![0x3f; elements * 4];
    let model = changed(|graph| {
        graph.initializer.push(raw("large", Onnx::Float, &[elements as i64], &weights));
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let model = load(&path).unwrap();
    let tensor = &model.graph.initializers["large"];
    assert_eq!(tensor.data(), weights.as_slice());
    assert_eq!(tensor.to_f32().unwrap()[elements - 1].to_bits(), 0x3f3f_3f3f);
}

#[test]
fn aligned_floats_are_borrowed() {
    // Of four neighbouring starts in a buffer one is aligned.
    let buffer = bytes::Bytes::from(vec![0x3f; 16]);
    let borrowed = (0..4).filter(|&start| {
        let tensor = Tensor::new(DataType::F32, vec![2], buffer.slice(start..start + 8)).unwrap();
        let floats = tensor.to_f32().unwrap();
        assert_eq!(floats.as_ref(), [f32::from_bits(0x3f3f_3f3f); 2]);
        matches!(floats, Cow::Borrowed(_))
    });
    assert_eq!(borrowed.count(), usize::from(cfg!(target_endian = "little")));
}
