//! The tensors of a run, each for as long as something is still to read it.

use cranelift_entity::SecondaryMap;

use crate::ir::{Graph, Op, Value};

/// Tensors by value.
pub(super) struct Live<T: Clone> {
    tensors: SecondaryMap<Value, Option<T>>,
    reads_left: SecondaryMap<Value, usize>,
}

impl<T: Clone> Live<T> {
    /// No tensors yet.
    pub(super) fn new(graph: &Graph) -> Live<T> {
        let mut reads_left = SecondaryMap::new();
        for op in &graph.order {
            graph.op(*op).operands.iter().for_each(|operand| reads_left[*operand] += 1);
        }
        graph.outputs.iter().for_each(|output| reads_left[output.value] += 1);
        Live { tensors: SecondaryMap::new(), reads_left }
    }

    /// Defines a value; kept only if something reads it.
    pub(super) fn define(&mut self, value: Value, tensor: T) {
        if self.reads_left[value] > 0 {
            self.tensors[value] = Some(tensor);
        }
    }

    /// The tensor of a value that is defined; `None` for constants.
    pub(super) fn get(&self, value: Value) -> Option<&T> {
        self.tensors[value].as_ref()
    }

    /// Drops the operands that nothing else reads.
    pub(super) fn release(&mut self, graph: &Graph, op: Op) {
        for operand in &graph.op(op).operands {
            self.reads_left[*operand] -= 1;
            if self.reads_left[*operand] == 0 {
                self.tensors[*operand] = None;
            }
        }
    }
}
