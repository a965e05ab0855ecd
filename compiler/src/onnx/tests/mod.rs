//! Models are built from the protobuf types in code and encoded by prost.

mod external;
mod hostile;
mod structure;
mod tensors;

use prost::Message as _;

use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataType as Onnx;
use super::proto::tensor_shape_proto::Dimension;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use super::{Fault, Model, OnnxError, Place, Problem, parse};

/// `y = x W + b`, with `W` as raw bytes, `b` as typed floats, and an unnamed MatMul.
fn linear() -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".into()),
        opset_import: vec![opset("", 17)],
        graph: Some(GraphProto {
            name: Some("linear".into()),
            node: vec![
                NodeProto { name: None, ..node("MatMul", "", &["x", "W"], &["xw"]) },
                node("Add", "add", &["b", "xw"], &["y"]),
            ],
            initializer: vec![
                raw(
                    "W",
                    Onnx::Float,
                    &[3, 2],
                    &[1f32, 2., 3., 4., 5., 6.].map(f32::to_le_bytes).concat(),
                ),
                TensorProto { float_data: vec![0.5, -0.5], ..raw("b", Onnx::Float, &[2], &[]) },
            ],
            input: vec![value("x", Onnx::Float, vec![symbol("batch"), extent(3)])],
            output: vec![value("y", Onnx::Float, vec![Dimension::default(), extent(2)])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The graph of [`linear`] after a change.
fn changed(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    let mut model = linear();
    change(model.graph.as_mut().expect("linear has a graph"));
    model
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
}

fn node(op_type: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        name: Some(name.into()),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: outputs.iter().map(|&name| name.into()).collect(),
        ..Default::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind.into()), ..Default::default() }
}

fn raw(name: &str, data_type: Onnx, dims: &[i64], bytes: &[u8]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(data_type.into()),
        dims: dims.to_vec(),
        raw_data: (!bytes.is_empty()).then(|| bytes.to_vec().into()),
        ..Default::default()
    }
}

fn value(name: &str, data_type: Onnx, dim: Vec<Dimension>) -> ValueInfoProto {
    let tensor = type_proto::Tensor {
        elem_type: Some(data_type.into()),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor) }),
    }
}

fn extent(extent: i64) -> Dimension {
    Dimension { dim_value: Some(extent), dim_param: None }
}

fn symbol(name: &str) -> Dimension {
    Dimension { dim_value: None, dim_param: Some(name.into()) }
}

fn read(model: &ModelProto) -> Result<Model, OnnxError> {
    parse(model.encode_to_vec().into(), None)
}

/// The problems of a model that must be refused, one per line.
fn refusal(model: &ModelProto) -> String {
    read(model).expect_err("the model must be refused").to_string()
}

/// The only problem of a refusal.
fn only(error: OnnxError) -> (Place, Fault) {
    assert_eq!(error.problems.found(), 1, "{error}");
    let Problem { place, fault } = error.problems.into_iter().next().expect("one problem");
    (place, fault)
}
