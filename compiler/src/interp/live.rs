//! The live tensors of a run: each is dropped after its last read.

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

    /// Defines a value; dropped at once if nothing reads it.
    pub(super) fn define(&mut self, value: Value, tensor: T) {
        if self.reads_left[value] > 0 {
            self.tensors[value] = Some(tensor);
        }
    }

    /// The tensor of a live value; `None` for constants.
    pub(super) fn get(&self, value: Value) -> Option<&T> {
        self.tensors[value].as_ref()
    }

    /// Drops operands after their last read.
    pub(super) fn release(&mut self, graph: &Graph, op: Op) {
        for operand in &graph.op(op).operands {
            self.reads_left[*operand] -= 1;
            if self.reads_left[*operand] == 0 {
                self.tensors[*operand] = None;
            }
        }
    }
}
