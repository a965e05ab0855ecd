//! Checks that every value is defined once, and sorts nodes so that it is defined before it is
//! used.

use std::collections::{BTreeMap, BTreeSet};

use vitcod_support::problems::Collector;

use super::error::{Fault, Place, Problem};
use super::model::{Graph, Node, ValueInfo};

/// Brings nodes into an order of execution: of those whose operands are defined, the first of the
/// file is next. Reports values that depend on themselves.
pub(super) fn order(graph: &mut Graph, problems: &mut Collector<Problem>) {
    let mut definers: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in node.outputs.iter().flatten() {
            definers.entry(name).or_insert(index);
        }
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    let mut missing: Vec<usize> = vec![0; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        let by: BTreeSet<usize> =
            node.used().iter().filter_map(|name| definers.get(name)).copied().collect();
        missing[index] = by.len();
        by.into_iter().for_each(|by| readers[by].push(index));
    }
    let mut ready: BTreeSet<usize> =
        (0..graph.nodes.len()).filter(|index| missing[*index] == 0).collect();
    let mut order = Vec::with_capacity(graph.nodes.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for reader in &readers[index] {
            missing[*reader] -= 1;
            if missing[*reader] == 0 {
                ready.insert(*reader);
            }
        }
    }
    if order.len() < graph.nodes.len() {
        // Each node that is left waits for another one that is left, so that going from one to the
        // next comes to a cycle.
        let waits_for = |index: usize| {
            let used = graph.nodes[index].used().into_iter();
            let mut by = used.filter_map(|name| Some((name, *definers.get(name)?)));
            by.find(|(_, by)| missing[*by] > 0)
        };
        let mut seen = BTreeSet::new();
        let mut at = (0..graph.nodes.len()).find(|index| missing[*index] > 0);
        while let Some((name, by)) = at.and_then(waits_for) {
            if !seen.insert(by) {
                let (name, by) = (name.to_owned(), graph.nodes[by].name.clone());
                let place = graph.nodes[at.unwrap_or_default()].place();
                problems.push(|| place.has(Fault::Cycle { name, by }));
                break;
            }
            at = Some(by);
        }
        return;
    }
    if !order.is_sorted() {
        let mut nodes: Vec<Option<Node>> =
            std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
        graph.nodes = order.into_iter().filter_map(|index| nodes[index].take()).collect();
    }
}

/// Reports values that are defined twice or not at all.
pub(super) fn check(graph: &Graph, problems: &mut Collector<Problem>) {
    let definitions = definitions(graph, problems);
    check_uses(graph, &[&definitions], problems);
    let mut outputs = BTreeSet::new();
    for ValueInfo { name, .. } in &graph.outputs {
        let place = || Place::Output(name.clone());
        if !definitions.contains(name.as_str()) {
            problems.push(|| place().has(Fault::Undefined { name: name.clone() }));
        }
        if !outputs.insert(name) {
            problems.push(|| place().has(Fault::Duplicate { name: name.clone() }));
        }
    }
}

/// Reports uses of values that neither this graph nor one around it defines. `scopes` are the
/// definitions of these graphs.
fn check_uses(graph: &Graph, scopes: &[&BTreeSet<&str>], problems: &mut Collector<Problem>) {
    for node in &graph.nodes {
        for name in node.inputs.iter().flatten() {
            if !scopes.iter().any(|scope| scope.contains(name.as_str())) {
                problems.push(|| node.place().has(Fault::Undefined { name: name.clone() }));
            }
        }
        for attribute in node.attributes.values() {
            if let super::Attribute::Graph(nested) = attribute {
                let inner = definitions(nested, problems);
                let scopes: Vec<&BTreeSet<&str>> = scopes.iter().copied().chain([&inner]).collect();
                check_uses(nested, &scopes, problems);
                for ValueInfo { name, .. } in &nested.outputs {
                    if !scopes.iter().any(|scope| scope.contains(name.as_str())) {
                        problems.push(|| node.place().has(Fault::Undefined { name: name.clone() }));
                    }
                }
            }
        }
    }
}

/// The names that a graph defines.
fn definitions<'a>(graph: &'a Graph, problems: &mut Collector<Problem>) -> BTreeSet<&'a str> {
    let mut definitions: BTreeSet<&str> = graph.initializers.keys().map(String::as_str).collect();
    for ValueInfo { name, .. } in &graph.inputs {
        if !definitions.insert(name) {
            let place = || Place::Input(name.clone());
            problems.push(|| place().has(Fault::Duplicate { name: name.clone() }));
        }
    }
    for node in &graph.nodes {
        for name in node.outputs.iter().flatten() {
            if !definitions.insert(name) {
                problems.push(|| node.place().has(Fault::Duplicate { name: name.clone() }));
            }
        }
    }
    definitions
}
