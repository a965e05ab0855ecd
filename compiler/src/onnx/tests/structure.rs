//! What a model reads as, and the problems of models that are well-formed protobuf.

use super::*;
use crate::onnx::proto::{FunctionProto, SparseTensorProto, StringStringEntryProto};
use crate::onnx::{Attribute, DataType, Dim, load};

#[test]
fn a_model_reads_as_it_was_written() {
    let model = read(&linear()).unwrap();
    assert_eq!((model.ir_version, model.producer_name.as_str()), (8, "test"));
    assert_eq!(model.opset.into_iter().collect::<Vec<_>>(), [(String::new(), 17)]);

    let graph = model.graph;
    assert_eq!(graph.name, "linear");
    assert_eq!(graph.inputs[0].shape, [Dim::Symbol("batch".into()), Dim::Known(3)]);
    assert_eq!(graph.outputs[0].shape, [Dim::Unknown, Dim::Known(2)]);
    assert_eq!(graph.outputs[0].data_type, DataType::F32);
    let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["#0 MatMul", "add"]);
    assert_eq!(graph.nodes[1].inputs, [Some("b".into()), Some("xw".into())]);
    assert_eq!(graph.initializers["W"].dims(), [3, 2]);
    assert_eq!(*graph.initializers["b"].to_f32().unwrap(), [0.5, -0.5]);
}

/// What PyTorch's exporters and onnxsim wrote, with weights inside and beside the model.
#[test]
fn exported_models_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models = 0;
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")) {
        let model = load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            !model.graph.inputs.is_empty() && !model.graph.outputs.is_empty(),
            "{}",
            path.display()
        );
        models += 1;
    }
    assert!(models > 0);
}

#[test]
fn operands_left_out_have_no_name() {
    let model = changed(|graph| {
        graph.node[1].input.extend(["".into(), "b".into()]);
        graph.node[1].output.push("".into());
    });
    let node = &read(&model).unwrap().graph.nodes[1];
    assert_eq!(node.inputs[2..], [None, Some("b".into())]);
    assert_eq!(node.outputs, [Some("y".into()), None]);
}

#[test]
fn node_names_are_made_unique_and_given_ones_kept() {
    let model = changed(|graph| {
        for (index, name) in ["add", "#2 Neg", "", "add #1"].into_iter().enumerate() {
            graph.node.push(node("Neg", name, &["x"], &[&format!("v{index}")]));
        }
        graph.node.push(node("Neg", "add", &["x"], &["v"]));
    });
    let graph = read(&model).unwrap().graph;
    let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["#0 MatMul", "add", "add #2", "#2 Neg", "#4 Neg", "add #1", "add #6"]);

    let model = changed(|graph| graph.node[1].name = Some("#0 MatMul".into()));
    assert_eq!(read(&model).unwrap().graph.nodes[0].name, "#0 MatMul'");
}

#[test]
fn the_module_path_of_the_dynamo_exporter_is_read() {
    let namespace = ": timm.VisionTransformer/blocks: torch.Sequential/blocks.1: timm.Block/\
                     blocks.1.attn: timm.Attention/permute_1: aten.permute.default";
    let model = changed(|graph| {
        graph.node[0].metadata_props = vec![StringStringEntryProto {
            key: Some("namespace".into()),
            value: Some(namespace.into()),
        }];
    });
    let graph = read(&model).unwrap().graph;
    assert_eq!(graph.nodes[0].scope, "blocks.1.attn");
    assert_eq!(graph.nodes[1].scope, "");
}

#[test]
fn inputs_with_an_initializer_are_constants() {
    let model = changed(|graph| graph.input.push(value("b", Onnx::Float, vec![extent(2)])));
    assert_eq!(read(&model).unwrap().graph.inputs.len(), 1);
}

#[test]
fn initializers_may_be_aliased_through_identity() {
    let model = changed(|graph| {
        graph.node.insert(0, node("Identity", "alias", &["b"], &["b2"]));
        graph.node[2].input[0] = "b2".into();
    });
    assert_eq!(read(&model).unwrap().graph.nodes.len(), 3);
}

#[test]
fn attributes_are_read_by_kind() {
    let all = vec![
        AttributeProto { f: Some(0.5), ..attribute("float", AttributeType::Float) },
        AttributeProto { i: Some(-1), ..attribute("int", AttributeType::Int) },
        attribute("zero", AttributeType::Int),
        AttributeProto { s: Some("NOTSET".into()), ..attribute("text", AttributeType::String) },
        AttributeProto { floats: vec![1., 2.], ..attribute("floats", AttributeType::Floats) },
        AttributeProto { ints: vec![3, 4], ..attribute("ints", AttributeType::Ints) },
        AttributeProto { strings: vec!["a".into()], ..attribute("texts", AttributeType::Strings) },
        AttributeProto {
            t: Some(raw("", Onnx::Int8, &[], &[7])),
            ..attribute("tensor", AttributeType::Tensor)
        },
    ];
    let model = changed(|graph| graph.node[0].attribute = all);
    let model = read(&model).unwrap();
    let node = &model.graph.nodes[0];
    assert_eq!(node.float("float").unwrap(), Some(0.5));
    assert_eq!(node.int("int").unwrap(), Some(-1));
    assert_eq!(node.int("zero").unwrap(), Some(0));
    assert_eq!(node.string("text").unwrap(), Some("NOTSET"));
    assert_eq!(node.floats("floats").unwrap(), Some([1., 2.].as_slice()));
    assert_eq!(node.ints("ints").unwrap(), Some([3, 4].as_slice()));
    assert_eq!(node.attributes["texts"], Attribute::Strings(vec!["a".into()]));
    assert_eq!(node.tensor("tensor").unwrap().unwrap().to_i64().unwrap(), [7]);
    assert_eq!(node.int("absent").unwrap(), None);
    assert_eq!(
        node.int("float").unwrap_err().to_string(),
        "node `#0 MatMul` (MatMul), attribute `float`: expected a value of kind INT, found FLOAT",
    );
}

#[test]
fn bad_attributes_are_refused() {
    let model = changed(|graph| {
        graph.node[1].attribute = vec![
            attribute("body", AttributeType::Graph),
            attribute("value", AttributeType::Tensor),
            AttributeProto { i: Some(1), ..attribute("epsilon", AttributeType::Float) },
            attribute("axis", AttributeType::Int),
            attribute("axis", AttributeType::Int),
            attribute("", AttributeType::Int),
        ];
    });
    assert_eq!(
        refusal(&model),
        "\
node `add` (Add), attribute `body`: expected a value of kind FLOAT, INT, STRING, TENSOR, FLOATS, INTS or STRINGS, found GRAPH
node `add` (Add), attribute `value`: expected a value of kind TENSOR, found no value
node `add` (Add), attribute `epsilon`: expected a value of kind FLOAT, found INT
node `add` (Add), attribute `axis`: `axis` is defined a second time
node `add` (Add), attribute ``: expected a name, found none",
    );
}

#[test]
fn values_must_be_defined_once_and_before_use() {
    let model = changed(|graph| {
        graph.node.swap(0, 1);
        graph.node[1].name = Some("mm".into());
        graph.node.push(node("Relu", "relu", &["nowhere"], &["y"]));
        graph.output.push(value("z", Onnx::Float, vec![]));
        graph.output.push(graph.output[0].clone());
        graph.input.push(graph.input[0].clone());
        graph.initializer.push(graph.initializer[0].clone());
    });
    assert_eq!(
        refusal(&model),
        "\
initializer `W`: `W` is defined a second time
input `x`: `x` is defined a second time
node `relu` (Relu): `y` is defined a second time
node `add` (Add): expected nodes in the order of their values, found `xw`, which `mm` defines later
node `relu` (Relu): expected a value that an input, an initializer or an earlier node defines, found `nowhere`
output `z`: expected a value that an input, an initializer or an earlier node defines, found `z`
output `y`: `y` is defined a second time",
    );
    let model = changed(|graph| graph.node[0].input[0] = "xw".into());
    assert!(refusal(&model).contains("`xw`, which `#0 MatMul` defines later"));
}

#[test]
fn nodes_need_an_operator() {
    let mut model = changed(|graph| {
        graph.node.push(node("", "nothing", &[], &[]));
        graph.node.push(NodeProto { domain: Some("mine".into()), ..node("F", "call", &[], &[]) });
    });
    model.functions = vec![FunctionProto { name: Some("F".into()), domain: Some("mine".into()) }];
    assert_eq!(refusal(&model), "node `nothing` (): expected an operator, found none");
}

#[test]
fn versions_are_checked() {
    let mut model = linear();
    model.ir_version = Some(99);
    model.opset_import = vec![opset("x", 1), opset("x", 2), opset("y", 0)];
    assert_eq!(
        refusal(&model),
        "\
model: expected an IR version from 3 to 14, found 99
model: expected one opset version of at least 1 for domain `x`, found 2
model: expected one opset version of at least 1 for domain `y`, found 0
model: expected an opset of the default domain, found none",
    );
    model = linear();
    model.opset_import = vec![opset("ai.onnx", 17), opset("", 17)];
    assert_eq!(read(&model).unwrap().opset[""], 17);
    assert_eq!(
        refusal(&ModelProto::default()),
        "model: expected a model with a graph, found none; the file is not an ONNX model"
    );
}

#[test]
fn inputs_and_outputs_need_a_tensor_type() {
    let bare = |name: &str, tensor_type| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { tensor_type }),
    };
    let no_shape = type_proto::Tensor { elem_type: Some(Onnx::Float.into()), shape: None };
    let model = changed(|graph| {
        graph.input.push(ValueInfoProto { name: Some("untyped".into()), r#type: None });
        graph.input.push(bare("sequence", None));
        graph.input.push(bare("shapeless", Some(no_shape)));
        graph.input.push(value("text", Onnx::String, vec![]));
        graph.input.push(value("negative", Onnx::Float, vec![extent(-1)]));
        graph.input.push(value("deep", Onnx::Float, vec![extent(1); 65]));
        graph.input.push(value("", Onnx::Float, vec![]));
        graph.sparse_initializer = vec![SparseTensorProto {}; 2];
    });
    assert_eq!(
        refusal(&model),
        "\
model: expected dense initializers only, found 2 sparse ones
input `untyped`: expected a tensor with element type and shape, found no type
input `sequence`: expected a tensor with element type and shape, found another kind of type
input `shapeless`: expected a tensor with element type and shape, found no shape
input `text`: expected elements of a float type of 16 to 64 bits, an integer type of 8 to 64 bits or BOOL, found STRING
input `negative`: expected no negative dimension, found -1 as dimension 0
input `deep`: expected at most 64 dimensions, found 65
input `#7`: expected a name, found none",
    );
}

#[test]
fn names_in_messages_are_escaped_and_cut_short() {
    let name = format!("\x1b[2J\n{}", "ä".repeat(1000));
    let model = changed(|graph| graph.node[1].input[0] = name);
    let message = refusal(&model);
    assert!(message.contains("`\\u{1b}[2J\\n"), "{message}");
    assert!(message.len() < 600 && message.ends_with("...`"), "{message}");
}
