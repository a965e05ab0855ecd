//! Control flow that is known at compile time: the branch that an If takes, and the iterations of a
//! Loop.

use super::error::{Fault, Problem};
use super::{Importer, Slot};
use crate::ir::{Elem, OpKind, Value};
use crate::onnx;

/// Iterations of loops, each of which is a copy of the body.
const MOST_ITERATIONS: i64 = 4096;

impl<'m> Importer<'m> {
    /// The results of the branch that an If takes; `None` if one has failed.
    pub(super) fn branch(
        &mut self,
        node: &'m onnx::Node,
    ) -> Result<Option<Vec<Value>>, Box<Problem>> {
        let Some(operands) = self.operands(node)? else { return Ok(None) };
        let condition = operands.first().copied().flatten();
        let known = condition.and_then(|condition| self.graph.const_i64(condition));
        let Some([condition]) = known.as_deref() else {
            let found = condition.map_or_else(
                || "none".to_owned(),
                |condition| format!("a computed tensor {}", self.graph.ty(condition)),
            );
            return Err(
                Fault::mismatch("a condition known at compile time", found).at(node.place())
            );
        };
        let name = if *condition != 0 { "then_branch" } else { "else_branch" };
        self.body(node, name, &[])
    }

    /// The results of a Loop whose number of iterations is known; `None` if one has failed.
    pub(super) fn unroll(
        &mut self,
        node: &'m onnx::Node,
    ) -> Result<Option<Vec<Value>>, Box<Problem>> {
        let Some(operands) = self.operands(node)? else { return Ok(None) };
        let [count, condition, carried @ ..] = &operands[..] else {
            return Err(Fault::mismatch("a number of iterations", "none").at(node.place()));
        };
        let unknown = |what: &str| {
            let expected = format!("{what} known at compile time");
            Fault::mismatch(expected, "a computed tensor, or none").at(node.place())
        };
        let integer = |graph: &crate::ir::Graph, value: Value| match graph.const_i64(value)?[..] {
            [number] => Some(number),
            _ => None,
        };
        let count = match count {
            Some(count) => {
                integer(&self.graph, *count).ok_or_else(|| unknown("a number of iterations"))?
            }
            None => i64::MAX,
        };
        let carried: Option<Vec<Value>> = carried.iter().copied().collect();
        let mut carried = carried.ok_or_else(|| {
            Fault::mismatch("a start of each carried value", "none").at(node.place())
        })?;
        let mut goes_on = match condition {
            Some(condition) => {
                integer(&self.graph, *condition).ok_or_else(|| unknown("a condition"))? != 0
            }
            None => true,
        };
        let mut scanned: Vec<Vec<Value>> = Vec::new();
        let mut iteration = 0;
        while goes_on && iteration < count {
            if iteration == MOST_ITERATIONS {
                let expected = format!("at most {MOST_ITERATIONS} iterations");
                return Err(Fault::mismatch(expected, "more").at(node.place()));
            }
            let arguments = [self.integer(iteration), self.integer(1)];
            let arguments: Vec<Value> = arguments.into_iter().chain(carried.clone()).collect();
            let Some(results) = self.body(node, "body", &arguments)? else { return Ok(None) };
            let (Some(condition), Some(next)) = (results.first(), results.get(1..=carried.len()))
            else {
                let found = format!("{} results", results.len());
                let expected = format!("a condition and {} carried values", carried.len());
                return Err(Fault::mismatch(expected, found).at(node.place()));
            };
            let scans = &results[1 + carried.len()..];
            goes_on = integer(&self.graph, *condition).ok_or_else(|| unknown("a condition"))? != 0;
            carried = next.to_vec();
            scanned.resize(scans.len(), Vec::new());
            scanned.iter_mut().zip(scans).for_each(|(list, scan)| list.push(*scan));
            iteration += 1;
        }
        if iteration == 0 && node.outputs.len() > carried.len() {
            let found = "no iteration, and so no slices of the results";
            return Err(Fault::mismatch("an iteration at least", found).at(node.place()));
        }
        let mut results = carried;
        for parts in scanned {
            results.push(self.stacked(node, &parts)?);
        }
        Ok(Some(results))
    }

    /// A constant integer.
    fn integer(&mut self, number: i64) -> Value {
        let ty = crate::ir::TensorType::new(Elem::I64, []);
        self.graph.add_const("", ty, number.to_le_bytes().to_vec())
    }

    /// Tensors along a new first axis.
    fn stacked(&mut self, node: &'m onnx::Node, parts: &[Value]) -> Result<Value, Box<Problem>> {
        let mut call = self.call(node, Vec::new());
        let mut rows = Vec::with_capacity(parts.len());
        for part in parts {
            let shape = [&[1][..], call.shape(*part)].concat();
            rows.push(call.reshape(*part, &shape)?);
        }
        match rows[..] {
            [row] => Ok(row),
            _ => call.emit(OpKind::Concat { axis: 0 }, &rows),
        }
    }

    /// Walks the graph of an attribute with arguments for its inputs, and returns its results;
    /// `None` if one has failed.
    fn body(
        &mut self,
        node: &'m onnx::Node,
        attribute: &str,
        arguments: &[Value],
    ) -> Result<Option<Vec<Value>>, Box<Problem>> {
        let place = || node.attribute_place(attribute);
        let graph = node.graph(attribute)?;
        let graph = graph.ok_or_else(|| Fault::mismatch("a graph", "none").at(place()))?;
        if graph.inputs.len() != arguments.len() {
            let expected = format!("{} inputs", arguments.len());
            return Err(Fault::mismatch(expected, graph.inputs.len().to_string()).at(place()));
        }
        let charged = self.budget.charge_operation(graph.nodes.len());
        charged.map_err(|fault| fault.at(place()))?;
        self.scopes.push(graph);
        for (input, argument) in graph.inputs.iter().zip(arguments) {
            self.values.insert(&input.name, Slot::Known(*argument));
        }
        // A constant of an earlier walk of this graph is read again.
        for name in graph.initializers.keys() {
            self.values.remove(name.as_str());
        }
        for node in &graph.nodes {
            self.node(node);
        }
        let outputs = graph.outputs.iter().map(|output| self.value(&output.name, &place()));
        let outputs: Result<Vec<Option<Value>>, Box<Problem>> = outputs.collect();
        self.scopes.pop();
        Ok(outputs?.into_iter().collect())
    }
}
