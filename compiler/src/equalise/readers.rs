//! Who makes and who reads a tensor.

use cranelift_entity::SecondaryMap;

use crate::ir::{BinaryFn, Graph, Op, OpKind, Value};
use crate::quantise::{selects_rows, weight_grid};

/// The readers of a tensor.
#[derive(Default)]
pub(super) struct Readers {
    /// Linear layers, perhaps of selected rows.
    pub(super) linear: Vec<Op>,
    /// Linear layers and selections of rows that read the tensor itself.
    pub(super) direct: Vec<Op>,
    /// All others; `None` is an output of the graph.
    pub(super) others: Vec<Option<Op>>,
    /// Whether the model states the step of the tensor or of a selection.
    pub(super) own_step: bool,
}

pub(super) const OTHER_READERS: &str = "have readers that are not linear layers";
pub(super) const QUANTISED_WEIGHTS: &str = "are read by weights that the model has quantised";
pub(super) const OWN_STEP: &str = "have a step that the model states";

/// The uses of the values of a graph.
pub(super) struct Uses<'g> {
    pub(super) graph: &'g Graph,
    uses: SecondaryMap<Value, Vec<Op>>,
}

impl Uses<'_> {
    pub(super) fn new(graph: &Graph) -> Uses<'_> {
        Uses { graph, uses: graph.uses() }
    }

    /// The linear layer that makes a tensor, if its parameters are constants.
    pub(super) fn linear(&self, value: Value) -> Option<Op> {
        let (op, data) = self.graph.producer(value)?;
        (matches!(data.kind, OpKind::Linear {}) && self.parameters(op).is_ok()).then_some(op)
    }

    /// Checks that one operation reads a tensor, and that the model does not state its step.
    pub(super) fn single_reader(&self, value: Value) -> Result<(), &'static str> {
        if self.uses[value].len() != 1 || self.is_output(value) {
            return Err("have other readers");
        }
        self.without_own_step(value)
    }

    /// The sum, if adding it to another tensor is the only use of a tensor.
    pub(super) fn sole_sum(&self, value: Value) -> Option<Value> {
        let [reader] = self.uses[value][..] else { return None };
        let data = self.graph.op(reader);
        (matches!(data.kind, OpKind::Binary { f: BinaryFn::Add }) && !self.is_output(value))
            .then(|| data.results[0])
    }

    fn is_output(&self, value: Value) -> bool {
        self.graph.outputs.iter().any(|output| output.value == value)
    }

    fn without_own_step(&self, value: Value) -> Result<(), &'static str> {
        match self.graph.ty(value).step {
            Some(_) => Err(OWN_STEP),
            None => Ok(()),
        }
    }

    /// Checks that weights and bias, or scale and bias, are constants.
    pub(super) fn parameters(&self, op: Op) -> Result<(), &'static str> {
        let mut parameters = self.graph.op(op).operands[1..].iter();
        match parameters.all(|parameter| self.graph.const_f32(*parameter).is_some()) {
            true => Ok(()),
            false => Err("are made with parameters that are not constant"),
        }
    }

    /// Whether the model has quantised the weights of a linear layer.
    pub(super) fn has_quantised(&self, linear: Op) -> bool {
        let weights = self.graph.op(linear).operands[1];
        let (_, depth) = self.graph.ty(weights).matrix();
        let is_quantised =
            |weights: Vec<f32>| weights.chunks(depth.max(1)).all(|row| weight_grid(row).is_some());
        self.graph.const_f32(weights).is_some_and(is_quantised)
    }

    /// The linear layers that read the windows of a map, if nothing else reads map or windows.
    pub(super) fn window_readers(&self, map: Value) -> Result<Vec<Op>, &'static str> {
        self.without_own_step(map)?;
        let mut readers = Vec::new();
        for op in &self.uses[map] {
            let data = self.graph.op(*op);
            let OpKind::Patches { .. } = data.kind else { return Err(OTHER_READERS) };
            let Readers { linear, others, own_step, .. } = self.readers(data.results[0]);
            if own_step {
                return Err(OWN_STEP);
            }
            if !others.is_empty() || linear.is_empty() {
                return Err(OTHER_READERS);
            }
            readers.extend(linear);
        }
        match self.is_output(map) || readers.is_empty() {
            true => Err(OTHER_READERS),
            false => Ok(readers),
        }
    }

    /// The readers of a tensor.
    pub(super) fn readers(&self, value: Value) -> Readers {
        let mut readers = Readers::default();
        let mut pending = vec![value];
        while let Some(read) = pending.pop() {
            readers.own_step |= self.graph.ty(read).step.is_some();
            readers.others.extend(self.is_output(read).then_some(None));
            for op in &self.uses[read] {
                let data = self.graph.op(*op);
                if matches!(data.kind, OpKind::Linear {}) && data.operands[0] == read {
                    readers.linear.push(*op);
                } else if selects_rows(self.graph, data) {
                    pending.push(data.results[0]);
                } else {
                    readers.others.push(Some(*op));
                    continue;
                }
                if read == value {
                    readers.direct.push(*op);
                }
            }
        }
        readers
    }
}
