//! Bytes that are no model, or one made to hurt.

use proptest::prelude::*;
use proptest::sample::Index;
use vitcod_support::problems::KEPT;

use super::*;
use crate::onnx::{Limits, TensorFault, WireFault, WireType, parse_within};

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encode_length_delimiter(content.len(), &mut bytes).unwrap();
    bytes.extend_from_slice(content);
    bytes
}

const GRAPH: u8 = 7;
const NODE: u8 = 1;
const ATTRIBUTE: u8 = 5;

fn wire_fault(bytes: Vec<u8>) -> (usize, String, WireFault) {
    match only(parse(bytes.into(), None).unwrap_err()) {
        (Place::Byte { offset, path }, Fault::Wire(fault)) => (offset, path, fault),
        other => panic!("{other:?}"),
    }
}

/// Every field that the reader knows, in one model.
fn rich() -> ModelProto {
    changed(|graph| {
        graph.node[0].attribute = vec![
            AttributeProto { f: Some(0.5), ..attribute("alpha", AttributeType::Float) },
            AttributeProto { ints: vec![0, -1], ..attribute("perm", AttributeType::Ints) },
            AttributeProto { floats: vec![0., 1.], ..attribute("scales", AttributeType::Floats) },
            AttributeProto { s: Some("tanh".into()), ..attribute("kind", AttributeType::String) },
            AttributeProto {
                t: Some(TensorProto { int64_data: vec![1, -1], ..raw("", Onnx::Int64, &[2], &[]) }),
                ..attribute("value", AttributeType::Tensor)
            },
        ];
        let halves = TensorProto { int32_data: vec![0x3c00], ..raw("h", Onnx::Float16, &[1], &[]) };
        graph.initializer.push(halves);
    })
}

#[test]
fn every_truncation_is_refused() {
    let bytes = rich().encode_to_vec();
    parse(bytes.clone().into(), None).unwrap();
    for end in 0..bytes.len() {
        let error = parse(bytes[..end].to_vec().into(), None).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn wire_errors_name_byte_and_field() {
    // graph { node { } node { op_type: <0xff> } }
    let bytes = field(GRAPH, &[field(NODE, &[]), field(NODE, &field(4, &[0xff]))].concat());
    assert_eq!(wire_fault(bytes.clone()), (7, "graph.node[1].op_type".into(), WireFault::Utf8));
    assert_eq!(
        parse(bytes.into(), None).unwrap_err().to_string(),
        "byte 7, graph.node[1].op_type: expected UTF-8 text",
    );

    let expected = WireFault::WireType { expected: WireType::Length, found: WireType::Varint };
    assert_eq!(wire_fault(vec![GRAPH << 3, 0]), (1, "graph".into(), expected));

    // A string is no packed list.
    let expected = WireFault::WireType { expected: WireType::Length, found: WireType::Fixed32 };
    let inputs = field(GRAPH, &field(NODE, &[1 << 3 | 5, 0, 0, 0, 0]));
    assert_eq!(wire_fault(inputs), (5, "graph.node[0].input[0]".into(), expected));

    let expected = WireFault::Truncated { needed: 2, left: 1 };
    assert_eq!(wire_fault(vec![GRAPH << 3 | 2, 3, NODE << 3 | 2, 2, 0]).2, expected);
    let unknown = WireFault::Truncated { needed: u64::MAX, left: 0 };
    let mut longest = vec![15 << 3 | 2];
    longest.extend([0xff; 9]);
    longest.push(1);
    assert_eq!(wire_fault(longest), (0, String::new(), unknown));

    assert_eq!(wire_fault(vec![0xff; 11]).2, WireFault::Varint);
    assert_eq!(wire_fault([vec![8], vec![0xff; 9], vec![2]].concat()).2, WireFault::Varint);
    assert_eq!(wire_fault(vec![0x02, 0]).2, WireFault::Key { key: 2 });
    assert_eq!(wire_fault(vec![0x0b]).2, WireFault::Key { key: 11 });
    let beyond = [0x82, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(wire_fault(beyond.to_vec()).2, WireFault::Key { key: 1 << 32 | 2 });

    let floats = field(GRAPH, &field(NODE, &field(ATTRIBUTE, &field(7, &[0; 6]))));
    assert_eq!(wire_fault(floats).2, WireFault::Packed { width: 4, found: 6 });
}

#[test]
fn lists_may_be_packed_or_not() {
    // dims: 2 (unpacked), dims: [3, 1] (packed), then float_data 1.0 unpacked and five packed.
    let mut tensor = vec![1 << 3, 2, 1 << 3 | 2, 2, 3, 1, 2 << 3, 1];
    tensor.extend([4 << 3 | 5, 0, 0, 0x80, 0x3f]);
    tensor.extend(field(4, &[0; 20]));
    tensor.extend(field(8, b"c"));
    let mut bytes = linear().encode_to_vec();
    // Fields of a message given twice are merged.
    bytes.extend(field(GRAPH, &field(5, &tensor)));
    let model = parse(bytes.into(), None).unwrap();
    let tensor = &model.graph.initializers["c"];
    assert_eq!(tensor.dims(), [2, 3, 1]);
    assert_eq!(*tensor.to_f32().unwrap(), [1., 0., 0., 0., 0., 0.]);
}

#[test]
fn files_that_unfold_in_memory_are_refused() {
    let cases = [
        ("graph.node", field(GRAPH, &field(NODE, &[]).repeat(32 << 20))),
        ("graph.node[0].attribute", {
            let attributes = field(ATTRIBUTE, &[]).repeat(1 << 20);
            field(GRAPH, &field(NODE, &attributes))
        }),
        ("graph.node[0].input", field(GRAPH, &field(NODE, &field(1, &[]).repeat(1 << 20)))),
        ("graph.initializer", field(GRAPH, &field(5, &[]).repeat(1 << 19))),
        ("graph.initializer[0].dims", field(GRAPH, &field(5, &field(1, &vec![0; 8 << 20])))),
        ("opset_import", field(8, &[]).repeat(1 << 20)),
    ];
    for (list, bytes) in cases {
        let length = bytes.len();
        let (offset, path, fault) = wire_fault(bytes);
        assert!(path.starts_with(list), "{path}");
        assert_eq!(fault, WireFault::Budget { budget: (64 << 20) + 4 * length as u64 });
        assert!(offset <= length);
    }
}

#[test]
fn the_budget_is_a_limit() {
    let bytes = linear().encode_to_vec();
    let limits = |memory_base| Limits { memory_base, memory_per_byte: 0, ..Limits::default() };
    parse_within(bytes.clone().into(), None, &limits(16 << 10)).unwrap();
    parse_within(bytes.into(), None, &limits(1 << 10)).unwrap_err();
}

#[test]
fn nesting_is_limited() {
    // graph { node { attribute { type: GRAPH, g { node { ... } } } } }, 3,000 messages deep.
    let mut graph = Vec::new();
    for _ in 0..1000 {
        let mut attribute = field(1, b"g");
        attribute.extend([0xa0, 0x01, 5]);
        attribute.extend(field(6, &graph));
        graph = field(NODE, &[field(4, b"If"), field(ATTRIBUTE, &attribute)].concat());
    }
    let mut bytes = field(GRAPH, &graph);
    bytes.extend(ModelProto { graph: None, ..linear() }.encode_to_vec());
    let (place, fault) = only(parse(bytes.into(), None).unwrap_err());
    assert!(matches!(place, Place::Attribute { attribute, .. } if attribute == "g"));
    assert!(matches!(fault, Fault::Nesting { limit: 16 }), "{fault}");
}

#[test]
fn problems_do_not_multiply_long_names() {
    // 10,000 problems of a node whose name takes a megabyte.
    let long = "n".repeat(1 << 20);
    let mut bad = node("Relu", &long, &[], &[]);
    bad.attribute = vec![attribute("", AttributeType::Int); 10_000];
    let model = changed(|graph| {
        graph.node.push(bad);
        let uses = vec!["nowhere"; 10_000];
        graph.node.insert(0, node("Relu", "", &uses, &[]));
    });
    let error = read(&model).unwrap_err();
    assert_eq!(error.problems.kept().len(), KEPT);
    assert!(error.to_string().ends_with("\nand 19900 more"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Damage never panics, and what the scan lets through decodes.
    #[test]
    fn damage_is_survived(edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3), 1..6)) {
        let mut bytes = rich().encode_to_vec();
        for (place, value, kind) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                _ => drop(bytes.remove(at)),
            }
        }
        match parse(bytes.into(), None) {
            Ok(model) => {
                for tensor in model.graph.initializers.values() {
                    let elements: usize = tensor.dims().iter().product();
                    prop_assert_eq!(tensor.elements(), elements);
                    let no_integers = matches!(tensor.to_i64(), Err(TensorFault::Elements { .. }));
                    prop_assert_eq!(tensor.to_f32().is_ok(), no_integers);
                }
            }
            Err(error) => {
                let changed = error.problems.kept().iter().any(|problem| matches!(problem.fault, Fault::Changed(_)));
                prop_assert!(!changed, "the scan let through what prost refuses: {error}");
            }
        }
    }
}
