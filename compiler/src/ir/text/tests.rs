use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use vitcod_isa::machine::Machine;

use super::{Constants, parse, print};
use crate::calibration::noise;
use crate::interp::{FloatInterpreter, QuantisedInterpreter, Tensor};
use crate::ir::{Graph, Stage};
use crate::passes::{Context, PASSES};
use crate::synthetic::random;

#[test]
fn the_parser_belongs_to_its_grammar() {
    let digest = format!("{:x}", Sha256::digest(include_str!("grammar.lalrpop")));
    let header = include_str!("grammar.rs").lines().nth(1).unwrap();
    assert!(header.ends_with(&digest), "cargo run --manifest-path parsergen/Cargo.toml");
}

fn no_files(_: &str) -> Result<Bytes, String> {
    Err("there are no files".to_owned())
}

#[track_caller]
fn parsed(text: &str) -> Graph {
    parse(text, &mut no_files)
        .unwrap_or_else(|problems| panic!("{}", problems.render("text", text)))
}

/// Text and graph are the same after the way through each other.
#[track_caller]
fn assert_round_trip(graph: &Graph) {
    let text = print(graph, Constants::Inline);
    let again = parsed(&text);
    assert_eq!(print(&again, Constants::Inline), text);
    assert_eq!(format!("{:?}", normal(&again)), format!("{:?}", normal(graph)));

    let mut side = Vec::new();
    let text = print(graph, Constants::File { name: "side.bin", bytes: &mut side });
    let side = Bytes::from(side);
    let again = parse(&text, &mut |name| {
        (name == "side.bin").then(|| side.clone()).ok_or_else(|| name.to_owned())
    });
    let again = again.unwrap_or_else(|problems| panic!("{}", problems.render("text", &text)));
    assert_eq!(format!("{:?}", normal(&again)), format!("{:?}", normal(graph)));
    let mut copy = Vec::new();
    assert_eq!(print(&again, Constants::File { name: "side.bin", bytes: &mut copy }), text);
    assert_eq!(copy, side);
}

/// A graph without what its text leaves out: nodes that no operation names.
fn normal(graph: &Graph) -> Graph {
    let mut normal = Graph::new(graph.name.clone(), graph.stage);
    let used: std::collections::BTreeSet<_> =
        graph.order.iter().flat_map(|op| graph.op(*op).nodes.clone()).collect();
    let nodes: std::collections::BTreeMap<_, _> =
        used.into_iter().map(|node| (node, normal.add_node(graph.node(node)))).collect();
    for (value, data) in graph.values() {
        match (graph.constant(value), graph.producer(value)) {
            (Some(constant), _) => {
                normal.add_const(constant.name.clone(), data.ty.clone(), constant.bytes.clone());
            }
            (None, None) => {
                let input = graph.inputs.iter().find(|input| input.value == value).unwrap();
                normal.add_input_like(input, data.ty.clone());
            }
            (None, Some((_, op))) if op.results[0] == value => {
                let types = op.results.iter().map(|result| graph.ty(*result).clone()).collect();
                let of: Vec<_> = op.nodes.iter().map(|node| nodes[node]).collect();
                normal.push_typed(op.kind.clone(), &op.operands, types, &of);
            }
            (None, Some(_)) => {}
        }
    }
    normal.outputs = graph.outputs.clone();
    normal
}

#[test]
fn ten_thousand_random_graphs_are_the_same_after_text() {
    for seed in 0..2_500 {
        for stage in Stage::ALL {
            assert_round_trip(&random::graph(stage, seed));
        }
    }
}

/// What survives parsing is well-formed, and its text is stable.
fn assert_survives(text: &str) {
    match parse(text, &mut no_files) {
        Ok(graph) => {
            let printed = print(&graph.compacted(), Constants::Inline);
            assert_eq!(print(&parsed(&printed), Constants::Inline), printed);
            run_everything(&graph);
        }
        Err(problems) => assert!(!problems.render("text", text).is_empty()),
    }
}

/// Runs a graph that is small, and every pass that takes it; what they say does not matter.
fn run_everything(graph: &Graph) {
    if graph.values().any(|(_, data)| data.ty.elements() > 100_000) {
        return;
    }
    let machine = Machine::preset("vitcod").unwrap();
    let samples = noise(graph, 1);
    let context =
        Context { machine: Some(&machine), samples: Some(&samples), ..Context::default() };
    for pass in PASSES.iter().filter(|pass| pass.requires == graph.stage.into()) {
        let _ = pass.run(graph.clone().into(), &context);
    }
    if graph.stage.is_float() {
        let inputs: Vec<_> = samples.iter().map(|sample| sample.view()).collect();
        let _ = FloatInterpreter::new(graph).unwrap().run(&inputs);
    } else if let Ok(interpreter) = QuantisedInterpreter::new(graph) {
        let inputs = samples.iter().zip(&graph.inputs);
        let inputs =
            inputs.map(|(sample, input)| Tensor::quantise(&sample.view(), graph.ty(input.value)));
        let _ = inputs.collect::<Option<Vec<Tensor>>>().map(|inputs| interpreter.run(&inputs));
    }
}

#[test]
fn every_cut_text_is_a_graph_or_an_error() {
    for stage in Stage::ALL {
        let text = print(&random::graph(stage, 5), Constants::Inline);
        (0..text.len())
            .filter(|cut| text.is_char_boundary(*cut))
            .for_each(|cut| assert_survives(&text[..cut]));
    }
}

#[test]
fn long_texts_take_time_and_memory_in_proportion() {
    let header = "graph \"g\" imported {\n";
    // Wrong lines, brackets, numbers, operands, dimensions.
    assert_survives(&format!("{header}{}", "v0 = (\n".repeat(100_000)));
    assert_survives(&format!("{header}{}", "[".repeat(1_000_000)));
    assert_survives(&format!("{header}v0 = const \"\" : i8[9] = [{}", "1, ".repeat(500_000)));
    let operands = vec!["v0"; 300_000].join(", ");
    assert_survives(&format!(
        "{header}v0 = input \"\" : f32[1099511627775]\nv1 = concat({operands}) {{axis=0}}\n}}"
    ));
    let ones = vec!["1"; 300_000].join(",");
    assert_survives(&format!("{header}v0 = input \"\" : f32[{ones}]\n}}"));
    assert_survives(&format!(
        "{header}v0 = input \"\" : f32[2]\nv1 = reshape(v0) {{shape=[{ones},2]}}\n}}"
    ));
    assert_survives(&format!(
        "{header}v0 = input \"\" : f32[1048576]\nv1 = expand(v0) {{shape=[1048576,1048576,1048576]}}\n}}"
    ));
    let seeds: String =
        (0..1000).map(|i| format!("v{i} = const \"\" : f32[100000] = seed 1\n")).collect();
    assert_survives(&format!("{header}{seeds}}}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn changed_text_is_a_graph_or_an_error(
        seed in 0u64..200,
        stage in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3, 0usize..24), 1..4),
    ) {
        const WORDS: [&str; 24] = [
            "v0", "v1", "n0", "(", ")", "[", "]", "{", "}", ",", "=", "*", "@", ":", "\"", "\n", "0", "-1", "inf",
            "18446744073709551615", "i8[4294967296]", "axis=9", "const", "é",
        ];
        let mut text = print(&random::graph(Stage::ALL[stage], seed), Constants::Inline);
        for (at, kind, word) in changes {
            let at = text.floor_char_boundary(at.index(text.len().max(1)));
            let end = text.ceil_char_boundary((at + 1).min(text.len()));
            let word = WORDS[word];
            match kind {
                0 => text.insert_str(at, word),
                1 => text.replace_range(at..end, word),
                _ => text.replace_range(at..end, ""),
            }
        }
        assert_survives(&text);
    }
}
