use proptest::prelude::*;
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::Channel;

use super::*;
use crate::interp::{QuantisedInterpreter, Tensor};
use crate::ir::{Elem, OPERATIONS};

/// Attention and a linear layer on 2 tokens of 4 features.
fn graph() -> Graph {
    let mut graph = Graph::new("tiny \"model\"", Stage::Quantised);
    let node = graph.add_node("/blocks.0/attn");
    let i8s = TensorType::quantised(Elem::I8, [2, 4], 0.1);
    let x = graph.add_input("x", i8s.clone());
    let scale = Scale::from_f64(0.3).unwrap();
    let scores = graph.push_typed(
        OpKind::Sddmm { heads: 2, scale, windows: 1 },
        &[x, x],
        vec![TensorType::new(Elem::I16, [2, 2, 2])],
        &[node],
    )[0];
    let types = vec![TensorType::new(Elem::I8, [2, 2, 2]), TensorType::new(Elem::U32, [2, 2])];
    let soft = graph.push_typed(OpKind::QSoftmax { shift: 0 }, &[scores], types, &[node]);
    let mixed = graph.push_typed(
        OpKind::Spmm { scale, windows: 1 },
        &[soft[0], soft[1], x],
        vec![i8s],
        &[node],
    )[0];
    let w = graph.add_const("w", TensorType::new(Elem::I8, [3, 4]), (0..12).collect::<Vec<u8>>());
    let channel = Channel { bias: 5, scale: Scale::from_f64(2.5).unwrap() };
    let b = graph.add_const(
        "own",
        TensorType::new(Elem::Channel, [3]),
        [channel.to_bytes(); 3].concat(),
    );
    let ty = TensorType::quantised(Elem::I16, [2, 3], 0.1 / 3.0);
    let y = graph.push_typed(OpKind::QLinear {}, &[mixed, w, b], vec![ty.clone()], &[node])[0];
    let add = OpKind::QAdd { a_scale: -7, b_scale: 1 << 30, shift: 30 };
    let sum = graph.push_typed(add, &[y, y], vec![ty], &[])[0];
    graph.add_output("y", sum, [1, 2, 3]);
    graph.verify().unwrap();
    graph
}

/// What is saved of a graph, and an image of its constants, which start at byte 3; those of
/// attention's patterns are the graph's own.
fn save(graph: &Graph) -> (SavedIr, Bytes) {
    let mut image = vec![0; 3];
    let ir = SavedGraph::save(graph, |value| {
        let constant = graph.constant(value).unwrap();
        (constant.name != "own").then(|| {
            let offset = image.len() as u64;
            image.extend_from_slice(&constant.bytes);
            offset
        })
    });
    (ir, image.into())
}

/// JSON with constants of its own.
fn of_json(json: impl Into<Bytes>, constants: &Bytes) -> SavedIr {
    SavedIr { graph: json.into(), constants: constants.clone() }
}

#[test]
fn a_graph_survives() {
    let graph = graph().compacted();
    let (ir, image) = save(&graph);
    assert_eq!(ir.constants.len(), 3 * Channel::BYTES);
    let loaded = SavedGraph::load(&ir, &image).unwrap();
    assert_eq!(loaded.to_string(), graph.to_string());
    assert_eq!(save(&loaded).0, ir);
    let run = |graph: &Graph| {
        let x = Tensor::I8(vec![1, -20, 30, 4, -50, 60, 7, 80]);
        QuantisedInterpreter::new(graph).unwrap().run(&[x]).unwrap()
    };
    assert_eq!(run(&loaded), run(&graph));
    // No copy of a constant was made.
    let mut constants = loaded.values().filter_map(|(value, _)| loaded.constant(value));
    for whole in [&image, &ir.constants] {
        let constant = constants.next().unwrap();
        assert!(whole.as_ptr_range().contains(&constant.bytes.as_ptr()));
    }
}

#[test]
fn values_are_numbered_as_compacted() {
    let mut graph = graph();
    let unused = graph.add_const("unused", TensorType::new(Elem::I8, [1]), vec![0]);
    let late = graph.add_input("late", TensorType::quantised(Elem::I8, [1], 1.0));
    graph.add_output("late", late, [1]);
    assert!(unused < late);
    let (ir, image) = save(&graph);
    assert_eq!(SavedGraph::load(&ir, &image).unwrap().to_string(), graph.compacted().to_string());
}

#[test]
fn what_is_wrong_is_said() {
    let (SavedIr { graph: json, constants }, image) = save(&graph());
    let text = String::from_utf8(json.to_vec()).unwrap();
    let load = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        let ir = of_json(text.replacen(from, to, 1), &constants);
        SavedGraph::load(&ir, &image).unwrap_err().to_string()
    };
    assert!(
        load("\"offset\":0,\"own\":true", "\"offset\":1,\"own\":true")
            .contains("\"own\" exceeds the constants of the graph")
    );
    assert!(load("\"offset\":3", "\"offset\":40").contains("\"w\" exceeds the image"));
    assert!(
        load("\"offset\":3", "\"offset\":18446744073709551615").contains("\"w\" exceeds the image")
    );
    assert!(
        load("\"operands\":[0,0]", "\"operands\":[0,1]")
            .contains("v1 is used before it is defined")
    );
    assert!(load("\"operands\":[0,0]", "\"operands\":[0]").contains("op0 (sddmm): 1 operands"));
    assert!(load("\"operands\":[0,0]", "\"operands\":[]").contains("op0 (sddmm): 0 operands"));
    assert!(load("\"nodes\":[0]", "\"nodes\":[1]").contains("no ONNX node 1"));
    assert!(load("\"shape\":[2,4]", "\"shape\":[2,5]").contains("invalid operands"));
    assert!(load("\"shape\":[2,4]", "\"shape\":[2,0]").contains("has no elements or too many"));
    assert!(
        load("\"shape\":[2,4]", "\"shape\":[4294967296,4294967296]")
            .contains("has no elements or too many")
    );
    assert!(
        load("\"shape\":[2,4]", "\"shape\":[65536,65536]")
            .contains("take more than 1073741824 bytes")
    );
    assert!(load("\"heads\":2", "\"heads\":0").contains("op0 (sddmm): invalid operands"));
    assert!(load("\"step\":0.1", "\"step\":-0.1").contains("no usable step"));
    assert!(load("\"value\":8", "\"value\":9").contains("v9 is used before it is defined"));
    assert!(load("\"shape\":[1,2,3]", "\"shape\":[7]").contains("output \"y\""));
    assert!(load("sddmm", "matmul").contains("unknown variant"));
    assert!(SavedGraph::load(&of_json(vec![b'['; 100_000], &constants), &image).is_err());
}

#[test]
fn windows_beyond_every_image() {
    let patches = |kernel, stride, pad| {
        let mut graph = Graph::new("x", Stage::Quantised);
        let x = graph.add_input("x", TensorType::quantised(Elem::I8, [4, 1], 1.0));
        let ty = TensorType::quantised(Elem::I8, [4, 1], 1.0);
        let y = graph.push_typed(
            OpKind::Patches { map: [2, 2], kernel, stride, pad },
            &[x],
            vec![ty],
            &[],
        )[0];
        graph.add_output("y", y, [4, 1]);
        let (ir, image) = save(&graph);
        SavedGraph::load(&ir, &image)
    };
    assert!(patches([1, 1], [1, 1], [0; 4]).is_ok());
    const MAX: usize = usize::MAX;
    for (kernel, stride, pad) in [
        ([1, 1], [1, 1], [MAX, 0, MAX, 0]),
        ([1, 1], [1, 1], [MAX / 2, MAX / 2, 0, 0]),
        ([MAX, MAX], [1, 1], [MAX - 2, MAX - 2, 0, 0]),
        ([0, 1], [1, 1], [0; 4]),
        ([1, 1], [1, 0], [0; 4]),
    ] {
        assert!(patches(kernel, stride, pad).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever bytes are changed, loading returns, and what it accepts can be run.
    #[test]
    fn changed_bytes_do_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), b'0'..=b'9']), 1..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let (ir, image) = save(&graph());
        let mut json = ir.graph.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut json) = byte;
        }
        if let Some(cut) = cut {
            json.truncate(cut.index(json.len()));
        }
        if let Ok(graph) = SavedGraph::load(&of_json(json, &ir.constants), &image)
            && let Ok(interpreter) = QuantisedInterpreter::new(&graph)
        {
            let inputs = graph.inputs.iter().map(|input| {
                let ty = graph.ty(input.value);
                Tensor::from_le_bytes(ty.elem, &vec![0x5a; ty.bytes()])
            });
            if let Some(inputs) = inputs.collect::<Option<Vec<_>>>() {
                let _ = interpreter.run(&inputs);
            }
        }
    }
}

#[test]
fn another_version_is_refused() {
    let (SavedIr { graph: json, constants }, image) = save(&graph());
    let text = String::from_utf8(json.to_vec()).unwrap();
    let version = format!("{{\"version\":{SAVED_VERSION},");
    let other = text.replacen(&version, "{\"version\":7,\"more\":true,", 1);
    assert_eq!(
        SavedGraph::load(&of_json(other, &constants), &image).unwrap_err().to_string(),
        "the graph was saved in version 7 of its form, this version reads 4: compile the model again"
    );
    let none = text.replacen(&version, "{", 1);
    let error = SavedGraph::load(&of_json(none, &constants), &image).unwrap_err().to_string();
    assert!(error.contains("missing field `version`"), "{error}");
}

/// Programs hold instructions and a saved graph. Where what these are made of changes, older
/// programs cannot be read: `FORMAT` in `isa/src/program/container.rs` or `SAVED_VERSION` is
/// raised, and the reader says so.
#[test]
fn what_is_saved_belongs_to_a_format() {
    let mut text = format!("format {}\n", vitcod_isa::program::FORMAT);
    text += &format!("saved graph {SAVED_VERSION}\n");
    for op in OPERATIONS.iter().filter(|op| op.stages.iter().any(|stage| !stage.is_float())) {
        let attrs = op.attrs.iter().map(|attr| format!(" {}:{}", attr.name, (attr.expected)()));
        text += &format!("{}{}\n", op.mnemonic, attrs.collect::<String>());
    }
    for spec in vitcod_isa::instr::TABLE {
        // The layout of a word follows from the order of its fields and their forms.
        let fields = spec.fields.iter().map(|field| format!(" {}:{:?}", field.name, field.forms));
        text += &format!("{:#04x} {}{}\n", spec.opcode, spec.mnemonic, fields.collect::<String>());
    }
    insta::assert_snapshot!(text);
}
