//! A part of a model: from any of its tensors to any.

use std::collections::BTreeSet;

use super::{Fault, Importer, Problem, Slot};
use crate::ir::{Graph, GraphInput, GraphOutput, Value};
use crate::onnx::{self, Place};
use vitcod_support::diagnostics::did_you_mean;

/// For each node of a graph whether tensors with these names depend on it.
pub(super) fn needed(graph: &onnx::Graph, names: &[String]) -> Vec<bool> {
    let mut used: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut needed: Vec<bool> = graph
        .nodes
        .iter()
        .rev()
        .map(|node| {
            let is_needed =
                node.outputs.iter().flatten().any(|output| used.contains(output.as_str()));
            if is_needed {
                used.extend(node.used());
            }
            is_needed
        })
        .collect();
    needed.reverse();
    needed
}

impl<'m> Importer<'m> {
    /// Makes the tensors with these names the outputs.
    pub(super) fn cut_outputs(&mut self, names: &'m [String]) {
        for name in names {
            let value = self.tensor(name, "--outputs");
            if let Slot::Known(value) = self.noted(value) {
                let shape = self.graph.ty(value).shape.clone();
                self.graph.add_output(name.clone(), value, shape);
            }
        }
    }

    /// The graph from the tensors with these names, and from the other inputs that it needs.
    pub(super) fn cut_inputs(&mut self, names: &'m [String]) -> Graph {
        let mut inputs: Vec<GraphInput> = Vec::new();
        for name in names {
            let value = self.tensor(name, "--inputs").and_then(|slot| match slot {
                Slot::Known(value) if self.graph.constant(value).is_some() => {
                    let found = format!("{name:?}, which is a constant");
                    Err(Fault::mismatch("a tensor that depends on inputs", found).at(Place::Model))
                }
                slot => Ok(slot),
            });
            if let Slot::Known(value) = self.noted(value) {
                let shape = self.graph.ty(value).shape.clone();
                inputs.push(GraphInput { name: name.clone(), value, shape, inverted: false });
            }
        }
        let given: BTreeSet<Value> = inputs.iter().map(|input| input.value).collect();
        let others = self.graph.inputs.iter().filter(|input| !given.contains(&input.value));
        inputs.extend(others.cloned());
        let (mut graph, _) = self.graph.part(&inputs, &self.graph.outputs);
        let uses = graph.uses();
        let is_used = |input: &GraphInput| {
            let is_output = |output: &GraphOutput| output.value == input.value;
            !uses[input.value].is_empty() || graph.outputs.iter().any(is_output)
        };
        let (used, unused): (Vec<GraphInput>, Vec<GraphInput>) =
            graph.inputs.iter().cloned().partition(is_used);
        for GraphInput { name, .. } in unused.iter().filter(|input| names.contains(&input.name)) {
            let found = format!("{name:?}, of which they are independent");
            let expected = "tensors on which the outputs depend (--inputs)";
            self.report(*Fault::mismatch(expected, found).at(Place::Model));
        }
        graph = graph.part(&used, &graph.outputs).0;
        graph
    }

    /// The tensor that an option names.
    fn tensor(&mut self, name: &'m str, option: &str) -> Result<Slot, Box<Problem>> {
        let graph = &self.model.graph;
        let results = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
        let inputs = graph.inputs.iter().map(|input| &input.name);
        let names: Vec<&str> = inputs.chain(results).map(String::as_str).collect();
        if !names.contains(&name) {
            let help = did_you_mean(name, names);
            let help = help.map_or_else(String::new, |help| format!("; {help}"));
            let found = format!("{name:?}{help}");
            let expected = format!("names of tensors of the model ({option})");
            return Err(Fault::mismatch(expected, found).at(Place::Model));
        }
        Ok(self.value(name, &Place::Model)?.map_or(Slot::Failed, Slot::Known))
    }
}
