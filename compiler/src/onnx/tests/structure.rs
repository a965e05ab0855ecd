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
            attribute("bodies", AttributeType::Graphs),
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
node `add` (Add), attribute `body`: expected a value of kind GRAPH, found no value
node `add` (Add), attribute `bodies`: expected a value of kind FLOAT, INT, STRING, TENSOR, GRAPH, FLOATS, INTS or STRINGS, found GRAPHS
node `add` (Add), attribute `value`: expected a value of kind TENSOR, found no value
node `add` (Add), attribute `epsilon`: expected a value of kind FLOAT, found INT
node `add` (Add), attribute `axis`: `axis` is defined a second time
node `add` (Add), attribute ``: expected a name, found none",
    );
}

#[test]
fn values_must_be_defined_once() {
    let model = changed(|graph| {
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
node `relu` (Relu): expected a value that an input, an initializer or a node defines, found `nowhere`
output `z`: expected a value that an input, an initializer or a node defines, found `z`
output `y`: `y` is defined a second time",
    );
}

#[test]
fn nodes_are_sorted() {
    let model = changed(|graph| {
        graph.node.push(node("Relu", "relu", &["y"], &["z"]));
        graph.node.push(node("Neg", "neg", &["x"], &["n"]));
        graph.node.reverse();
    });
    let graph = read(&model).unwrap().graph;
    let types: Vec<&str> = graph.nodes.iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(types, ["Neg", "MatMul", "Add", "Relu"]);

    let cycle = changed(|graph| {
        graph.node[0].input[0] = "z".into();
        graph.node.push(node("Relu", "relu", &["y"], &["z"]));
    });
    assert_eq!(
        refusal(&cycle),
        "node `#0 MatMul` (MatMul): expected values that do not depend on themselves, found `z`, which `relu` defines"
    );
    let itself = changed(|graph| graph.node[0].input[0] = "xw".into());
    assert!(refusal(&itself).contains("found `xw`, which `#0 MatMul` defines"));
}

/// A graph for an attribute: the sum of two values.
fn branch(name: &str, inputs: &[&str], output: &str) -> AttributeProto {
    let graph = GraphProto {
        node: vec![node("Add", "sum", inputs, &[output])],
        output: vec![value(output, Onnx::Float, vec![])],
        ..Default::default()
    };
    let g = Some(graph.encode_to_vec().into());
    AttributeProto { g, ..attribute(name, AttributeType::Graph) }
}

#[test]
fn graphs_inside_attributes_use_values_around_them() {
    let if_ = |inputs: &[&str]| NodeProto {
        attribute: vec![branch("then_branch", inputs, "then")],
        ..node("If", "if", &["b"], &["z"])
    };
    // The node waits for what its graph uses.
    let model = changed(|graph| graph.node.insert(0, if_(&["x", "y"])));
    let graph = read(&model).unwrap().graph;
    assert_eq!(graph.nodes[2].name, "if");
    let nested = graph.nodes[2].graph("then_branch").unwrap().unwrap();
    assert_eq!(nested.nodes[0].name, "if/sum");

    let model = changed(|graph| graph.node.push(if_(&["x", "nowhere"])));
    assert_eq!(
        refusal(&model),
        "node `if/sum` (Add): expected a value that an input, an initializer or a node defines, found `nowhere`"
    );
}

#[test]
fn unused_initializers_may_have_any_type() {
    let names = TensorProto { raw_data: None, ..raw("names", Onnx::String, &[3], &[]) };
    let model = changed(|graph| graph.initializer.push(names.clone()));
    assert!(read(&model).is_ok());
    let model = changed(|graph| {
        graph.initializer.push(names);
        graph.node.push(node("Identity", "", &["names"], &["z"]));
    });
    assert!(refusal(&model).starts_with("initializer `names`: expected elements of"));
}

/// A function `F(a, b; axis = 1) = (Concat(a, b; axis), G(a))`, and `G(a) = Neg(a)`.
fn functions() -> Vec<FunctionProto> {
    let reference = AttributeProto {
        ref_attr_name: Some("axis".into()),
        ..attribute("axis", AttributeType::Int)
    };
    let call = NodeProto { domain: Some("mine".into()), ..node("G", "g", &["a"], &["negative"]) };
    let f = FunctionProto {
        name: Some("F".into()),
        domain: Some("mine".into()),
        input: vec!["a".into(), "b".into()],
        output: vec!["joined".into(), "negative".into()],
        node: vec![
            NodeProto {
                attribute: vec![reference],
                ..node("Concat", "concat", &["a", "b"], &["joined"])
            },
            call,
        ],
        attribute_proto: vec![AttributeProto {
            i: Some(1),
            ..attribute("axis", AttributeType::Int)
        }],
        opset_import: vec![opset("", 17)],
        ..Default::default()
    };
    let g = FunctionProto {
        name: Some("G".into()),
        domain: Some("mine".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![
            node("Neg", "neg", &["a"], &["inner"]),
            node("Neg", "again", &["inner"], &["b"]),
        ],
        opset_import: vec![opset("", 17)],
        ..Default::default()
    };
    vec![f, g]
}

/// A model with a call of the functions.
fn calling(attributes: Vec<AttributeProto>, outputs: &[&str]) -> ModelProto {
    let mut model = changed(|graph| {
        graph.node.push(NodeProto {
            domain: Some("mine".into()),
            attribute: attributes,
            ..node("F", "call", &["x", "y"], outputs)
        });
    });
    model.functions = functions();
    model
}

#[test]
fn functions_of_the_model_are_inlined() {
    let told = |model: &ModelProto| -> Vec<String> {
        let shown = |node: &crate::onnx::Node| {
            let names = |list: &[Option<String>]| {
                list.iter().map(|name| name.as_deref().unwrap_or("_")).collect::<Vec<_>>().join(" ")
            };
            let axis = node.int("axis").unwrap().map_or(String::new(), |axis| format!(" {axis}"));
            format!(
                "{}: {}{axis} ({}) {}",
                node.name,
                node.op_type,
                names(&node.inputs),
                names(&node.outputs)
            )
        };
        read(model).unwrap().graph.nodes[2..].iter().map(shown).collect()
    };
    assert_eq!(
        told(&calling(vec![], &["p", "q"])),
        [
            "call/concat: Concat 1 (x y) p",
            "call/g/neg: Neg (x) call/g/inner",
            "call/g/again: Neg (call/g/inner) q",
        ]
    );
    let axis = AttributeProto { i: Some(0), ..attribute("axis", AttributeType::Int) };
    assert_eq!(told(&calling(vec![axis], &["p"]))[0], "call/concat: Concat 0 (x y) p");
    assert_eq!(told(&calling(vec![], &["p"]))[2], "call/g/again: Neg (call/g/inner) call/negative");
}

#[test]
fn calls_must_fit_the_functions() {
    let mut model = calling(vec![], &["p", "q", "r"]);
    assert_eq!(
        refusal(&model),
        "node `call` (F): expected at most 2 results, as the function has, found 3"
    );
    model.functions[0].opset_import = vec![opset("", 18)];
    assert!(
        refusal(&model)
            .contains("expected the model's opset 17 of domain ``, found 18 in its function `F`")
    );
    // A function that calls itself.
    let mut model = calling(vec![], &["p", "q"]);
    model.functions[0].node[1].op_type = Some("F".into());
    assert!(refusal(&model).contains("at most 16 deep inside each other"));
}

#[test]
fn functions_may_not_explode() {
    // Each function calls the next one 100 times.
    let mut model = calling(vec![], &["p", "q"]);
    model.functions = (0..8)
        .map(|i| FunctionProto {
            name: Some(if i == 0 { "F".into() } else { format!("F{i}") }),
            domain: Some("mine".into()),
            input: vec!["a".into(), "b".into()],
            output: vec!["c".into(), "d".into()],
            node: (0..100)
                .map(|_| NodeProto {
                    domain: Some("mine".into()),
                    ..node(&format!("F{}", i + 1), "", &["a"], &[])
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    assert!(refusal(&model).contains("expected at most 262144 nodes"));
}

#[test]
fn nodes_need_an_operator() {
    let model = changed(|graph| graph.node.push(node("", "nothing", &[], &[])));
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
