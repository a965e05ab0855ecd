use bytes::Bytes;

use super::{Constants, parse, print};
use crate::ir::{Graph, Stage, random};

fn no_files(_: &str) -> Result<Bytes, String> {
    Err("there are no files".to_owned())
}

#[track_caller]
fn parsed(text: &str) -> Graph {
    parse(text, &mut no_files).unwrap_or_else(|problems| panic!("{}", problems.render("text", text)))
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
    let again = parse(&text, &mut |name| (name == "side.bin").then(|| side.clone()).ok_or_else(|| name.to_owned()));
    let again = again.unwrap_or_else(|problems| panic!("{}", problems.render("text", &text)));
    assert_eq!(format!("{:?}", normal(&again)), format!("{:?}", normal(graph)));
    let mut copy = Vec::new();
    assert_eq!(print(&again, Constants::File { name: "side.bin", bytes: &mut copy }), text);
    assert_eq!(copy, side);
}

/// A graph without what its text leaves out: nodes that no operation names.
fn normal(graph: &Graph) -> Graph {
    let mut normal = Graph::new(graph.name.clone(), graph.stage);
    let used: std::collections::BTreeSet<_> = graph.order.iter().flat_map(|op| graph.op(*op).nodes.clone()).collect();
    let nodes: std::collections::BTreeMap<_, _> =
        used.into_iter().map(|node| (node, normal.add_node(graph.node(node)))).collect();
    for (value, data) in graph.values() {
        match (graph.constant(value), graph.producer(value)) {
            (Some(constant), _) => {
                normal.add_const(constant.name.clone(), data.ty.clone(), constant.bytes.clone());
            }
            (None, None) => {
                let name = &graph.inputs.iter().find(|(_, input)| *input == value).unwrap().0;
                normal.add_input(name.clone(), data.ty.clone());
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
