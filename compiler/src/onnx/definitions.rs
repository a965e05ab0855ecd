//! Checks that every value is defined once, and before it is used.

use std::collections::{BTreeMap, BTreeSet};

use vitcod_support::problems::Collector;

use super::error::{Fault, Place, Problem};
use super::model::{Graph, ValueInfo};

/// The definition of a value.
#[derive(Clone, Copy)]
enum Definition {
    /// An input or initialiser.
    Given,
    /// The node of this index.
    Node(usize),
}

/// Reports values that are defined twice, not at all, or after a use.
pub(super) fn check(graph: &Graph, problems: &mut Collector<Problem>) {
    let definitions = definitions(graph, problems);
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in node.inputs.iter().flatten() {
            match definitions.get(name.as_str()) {
                Some(Definition::Given) => {}
                Some(Definition::Node(by)) if *by < index => {}
                Some(Definition::Node(by)) => problems.push(|| {
                    let by = graph.nodes[*by].name.clone();
                    node.place().has(Fault::Order { name: name.clone(), by })
                }),
                None => problems.push(|| node.place().has(Fault::Undefined { name: name.clone() })),
            }
        }
    }
    let mut outputs = BTreeSet::new();
    for ValueInfo { name, .. } in &graph.outputs {
        let place = || Place::Output(name.clone());
        if !definitions.contains_key(name.as_str()) {
            problems.push(|| place().has(Fault::Undefined { name: name.clone() }));
        }
        if !outputs.insert(name) {
            problems.push(|| place().has(Fault::Duplicate { name: name.clone() }));
        }
    }
}

fn definitions<'a>(
    graph: &'a Graph,
    problems: &mut Collector<Problem>,
) -> BTreeMap<&'a str, Definition> {
    let constants = graph.initializers.keys();
    let mut definitions: BTreeMap<_, _> =
        constants.map(|name| (name.as_str(), Definition::Given)).collect();
    for ValueInfo { name, .. } in &graph.inputs {
        if definitions.insert(name, Definition::Given).is_some() {
            let place = || Place::Input(name.clone());
            problems.push(|| place().has(Fault::Duplicate { name: name.clone() }));
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in node.outputs.iter().flatten() {
            if definitions.insert(name, Definition::Node(index)).is_some() {
                problems.push(|| node.place().has(Fault::Duplicate { name: name.clone() }));
            }
        }
    }
    definitions
}
