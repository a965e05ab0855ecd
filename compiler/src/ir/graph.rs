//! The graph and its entities.

use std::collections::BTreeMap;

use bytes::Bytes;
use cranelift_entity::{EntityRef as _, PrimaryMap, SecondaryMap};
use vitcod_isa::numerics::normalise_channels;
use vitcod_isa::program::Decision;

use super::infer::{self, InferError};
use super::{Const, Elem, Node, Op, OpKind, Stage, TensorType, Value};
use crate::mapped;

/// A graph of operations on tensors. [`crate::ir`] states its invariants.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Name of the model.
    pub name: String,
    /// The stage, which determines the legal operations.
    pub stage: Stage,
    /// The inputs, in the model's order.
    pub inputs: Vec<GraphInput>,
    /// The outputs, in the model's order.
    pub outputs: Vec<GraphOutput>,
    /// The operations in execution order.
    pub order: Vec<Op>,
    /// Decisions of passes; the program records them.
    pub decisions: Vec<Decision>,
    values: PrimaryMap<Value, ValueData>,
    ops: PrimaryMap<Op, OpData>,
    consts: PrimaryMap<Const, Constant>,
    nodes: PrimaryMap<Node, String>,
}

/// An input of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphInput {
    /// Name in the model.
    pub name: String,
    /// The value that holds the input.
    pub value: Value,
    /// Shape in the model. It has as many elements as the value or, for a mask, as many as there
    /// are mask bits.
    pub shape: Vec<usize>,
    /// Whether the model's input is 1 for the keys that a mask prunes: the value is 1 where the
    /// input is 0, and 0 elsewhere.
    pub inverted: bool,
}

impl GraphInput {
    /// The element of the value of an inverted input, where the model's input is `x`.
    pub fn invert(x: f32) -> f32 {
        f32::from(x == 0.0)
    }
}

/// An output of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphOutput {
    /// Name in the model.
    pub name: String,
    /// The value that is returned.
    pub value: Value,
    /// Shape in the model, with as many elements as the value.
    pub shape: Vec<usize>,
}

/// How the runtime converts an image to pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Whether the channels are the last dimension.
    pub last: bool,
    /// The factors by which it divides the channels; none if all are 1.
    pub factors: Vec<f32>,
    /// The offsets that it subtracts before; none if all are 0.
    pub offsets: Vec<f32>,
}

impl Image {
    /// Whether the channels have factors or offsets.
    pub fn is_normalised(&self) -> bool {
        !(self.factors.is_empty() && self.offsets.is_empty())
    }

    /// Normalises the channels of an item.
    pub fn normalise(&self, image: &mut [f32]) {
        normalise_channels(image, &self.offsets, &self.factors, self.last);
    }
}

/// The type and the definition of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueData {
    /// Element type, shape, step.
    pub ty: TensorType,
    /// The entity that defines it.
    pub def: ValueDef,
}

/// The definition of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueDef {
    /// The i-th input of the graph.
    Input(usize),
    /// A constant.
    Const(Const),
    /// The i-th result of an operation.
    Result(Op, usize),
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OpData {
    /// The operator with its attributes.
    pub kind: OpKind,
    /// Operand values, in the order that the operator documents.
    pub operands: Vec<Value>,
    /// Result values, in the order that the operator documents.
    pub results: Vec<Value>,
    /// The ONNX nodes that it came from; the first one names it.
    pub nodes: Vec<Node>,
}

/// A constant's data: row-major and little-endian, possibly a slice of the model's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Name in the model; empty for constants of the compiler.
    pub name: String,
    /// The elements.
    pub bytes: Bytes,
}

/// Resolves indices into an extent. As in ONNX, negative ones count from the end.
///
/// # Errors
/// An index is out of range.
pub(crate) fn indices(
    indices: impl IntoIterator<Item = i64>,
    extent: usize,
) -> Result<Vec<usize>, String> {
    let from_start = |index: i64| {
        let index = if index < 0 { index.checked_add_unsigned(extent as u64) } else { Some(index) };
        index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index < extent)
    };
    let within = |index: i64| {
        from_start(index)
            .ok_or_else(|| format!("index {index} is not within an extent of {extent}"))
    };
    indices.into_iter().map(within).collect()
}

impl Graph {
    /// A graph without operations.
    pub fn new(name: impl Into<String>, stage: Stage) -> Graph {
        Graph {
            name: name.into(),
            stage,
            inputs: Vec::new(),
            outputs: Vec::new(),
            order: Vec::new(),
            decisions: Vec::new(),
            values: PrimaryMap::new(),
            ops: PrimaryMap::new(),
            consts: PrimaryMap::new(),
            nodes: PrimaryMap::new(),
        }
    }

    /// An empty graph of another stage with the same ONNX nodes, for a rewriting pass to fill.
    pub fn successor(&self, stage: Stage) -> Graph {
        Graph {
            nodes: self.nodes.clone(),
            decisions: self.decisions.clone(),
            ..Graph::new(self.name.clone(), stage)
        }
    }

    /// Adds an input whose shape in the model is that of its type.
    pub fn add_input(&mut self, name: impl Into<String>, ty: TensorType) -> Value {
        let shape = ty.shape.clone();
        self.add_input_of(name, ty, shape)
    }

    /// Adds an input whose shape in the model may differ.
    pub(crate) fn add_input_of(
        &mut self,
        name: impl Into<String>,
        ty: TensorType,
        shape: impl Into<Vec<usize>>,
    ) -> Value {
        let value = self.values.push(ValueData { ty, def: ValueDef::Input(self.inputs.len()) });
        let (name, shape) = (name.into(), shape.into());
        self.inputs.push(GraphInput { name, value, shape, inverted: false });
        value
    }

    /// Adds an input that stands for one of another graph, with a type of its own.
    pub(crate) fn add_input_like(&mut self, input: &GraphInput, ty: TensorType) -> Value {
        let value = self.add_input_of(&input.name, ty, input.shape.clone());
        self.set_inverted(value, input.inverted);
        value
    }

    /// States whether an input is inverted ([`GraphInput::inverted`]).
    pub(crate) fn set_inverted(&mut self, input: Value, inverted: bool) {
        if let ValueDef::Input(i) = self.def(input) {
            self.inputs[i].inverted = inverted;
        }
    }

    /// Whether a value is an inverted input ([`GraphInput::inverted`]).
    pub(crate) fn is_inverted(&self, value: Value) -> bool {
        matches!(self.def(value), ValueDef::Input(i) if self.inputs[i].inverted)
    }

    /// Adds an output.
    pub fn add_output(
        &mut self,
        name: impl Into<String>,
        value: Value,
        shape: impl Into<Vec<usize>>,
    ) {
        self.outputs.push(GraphOutput { name: name.into(), value, shape: shape.into() });
    }

    /// Adds a constant whose elements are `bytes`.
    pub fn add_const(
        &mut self,
        name: impl Into<String>,
        ty: TensorType,
        bytes: impl Into<Bytes>,
    ) -> Value {
        let constant = self.consts.push(Constant { name: name.into(), bytes: bytes.into() });
        self.values.push(ValueData { ty, def: ValueDef::Const(constant) })
    }

    /// Adds a float constant.
    pub fn add_f32(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        elements: &[f32],
    ) -> Value {
        self.add_const(name, TensorType::f32(shape), le_bytes(elements))
    }

    /// Replaces the shape and the elements of a float constant.
    pub(crate) fn set_f32(&mut self, value: Value, shape: impl Into<Vec<usize>>, elements: &[f32]) {
        let data = &mut self.values[value];
        if let ValueDef::Const(constant) = data.def {
            data.ty = TensorType::f32(shape);
            let old = std::mem::replace(&mut self.consts[constant].bytes, le_bytes(elements));
            mapped::release(&old);
        }
    }

    /// Adds the name of an ONNX node.
    pub fn add_node(&mut self, name: impl Into<String>) -> Node {
        self.nodes.push(name.into())
    }

    /// Appends an operation with one result whose type is inferred from the operands.
    ///
    /// # Errors
    /// The operands are invalid for the operation.
    pub fn push(
        &mut self,
        kind: OpKind,
        operands: &[Value],
        nodes: &[Node],
    ) -> Result<Value, InferError> {
        let types: Vec<&TensorType> = operands.iter().map(|v| self.ty(*v)).collect();
        let ty = infer::infer(&kind, &types)?;
        Ok(self.push_typed(kind, operands, vec![ty], nodes)[0])
    }

    /// Appends an operation with explicit result types, which [`Graph::verify`] checks.
    pub fn push_typed(
        &mut self,
        kind: OpKind,
        operands: &[Value],
        types: Vec<TensorType>,
        nodes: &[Node],
    ) -> Vec<Value> {
        let op = self.ops.next_key();
        let results: Vec<Value> = types
            .into_iter()
            .enumerate()
            .map(|(i, ty)| self.values.push(ValueData { ty, def: ValueDef::Result(op, i) }))
            .collect();
        self.ops.push(OpData {
            kind,
            operands: operands.to_vec(),
            results: results.clone(),
            nodes: nodes.to_vec(),
        });
        self.order.push(op);
        results
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.values[value].ty
    }

    /// Records that the model itself quantises a float tensor to int8 with this step. Of several
    /// steps the coarsest is kept, whose range covers the others. Invalid steps and constants are
    /// ignored.
    pub(crate) fn note_step(&mut self, value: Value, step: f64) {
        let data = &mut self.values[value];
        let usable = step.is_finite() && step > 0.0 && data.ty.elem == Elem::F32;
        if usable && !matches!(data.def, ValueDef::Const(_)) {
            data.ty.step = Some(data.ty.step.map_or(step, |known| known.max(step)));
        }
    }

    /// The definition of a value.
    pub fn def(&self, value: Value) -> ValueDef {
        self.values[value].def
    }

    /// An operation.
    pub fn op(&self, op: Op) -> &OpData {
        &self.ops[op]
    }

    /// Mutable access to an operation, for changing its operands; its results stay.
    pub fn op_mut(&mut self, op: Op) -> &mut OpData {
        &mut self.ops[op]
    }

    /// Replaces the shape of a value. [`Graph::verify`] checks that it fits its operation.
    pub(crate) fn set_shape(&mut self, value: Value, shape: impl Into<Vec<usize>>) {
        self.values[value].ty.shape = shape.into();
    }

    /// The name of an operation in messages: its first ONNX node, if it has one, and its index in
    /// the graph.
    pub fn describe(&self, op: Op) -> String {
        let data = self.op(op);
        match data.nodes.first() {
            Some(node) => format!("{} ({op} {})", self.node(*node), data.kind.mnemonic()),
            None => format!("{op} ({})", data.kind.mnemonic()),
        }
    }

    /// The name of the operation's layer in reports: its first ONNX node.
    pub(crate) fn layer_name(&self, op: Op) -> String {
        self.op(op).nodes.first().map_or_else(|| op.to_string(), |node| self.node(*node).to_owned())
    }

    /// The operation that defines a value, if one does.
    pub fn producer(&self, value: Value) -> Option<(Op, &OpData)> {
        match self.def(value) {
            ValueDef::Result(op, _) => Some((op, self.op(op))),
            ValueDef::Input(_) | ValueDef::Const(_) => None,
        }
    }

    /// The data of a value, if it is a constant.
    pub fn constant(&self, value: Value) -> Option<&Constant> {
        match self.def(value) {
            ValueDef::Const(constant) => Some(&self.consts[constant]),
            ValueDef::Input(_) | ValueDef::Result(..) => None,
        }
    }

    /// Copies the constants that share memory, as slices of the model's file do, if they are few
    /// among all: the file then need not stay in memory beside the others.
    pub(crate) fn detach(&mut self) {
        let bytes = |are_shared: bool| -> usize {
            let all = self.consts.values().map(|constant| &constant.bytes);
            all.filter(|bytes| bytes.is_unique() != are_shared).map(Bytes::len).sum()
        };
        if bytes(true) < bytes(false) / 8 {
            for constant in self.consts.values_mut() {
                if !constant.bytes.is_unique() {
                    constant.bytes = Bytes::copy_from_slice(&constant.bytes);
                }
            }
        }
    }

    /// The elements of a float constant; `None` for any other value.
    pub fn const_f32(&self, value: Value) -> Option<Vec<f32>> {
        let constant = self.constant(value)?;
        (self.ty(value).elem == Elem::F32)
            .then(|| constant.bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect())
    }

    /// [`Graph::const_f32`] in double precision.
    pub(crate) fn const_f64(&self, value: Value) -> Option<Vec<f64>> {
        Some(self.const_f32(value)?.into_iter().map(f64::from).collect())
    }

    /// The products of a linear layer or an attention of the canonical stage; 0 of other
    /// operations.
    pub(crate) fn products(&self, op: Op) -> usize {
        let data = self.op(op);
        let (of, each) = match data.kind {
            OpKind::Linear {} => (data.results[0], self.ty(data.operands[1]).matrix().1),
            // Each query meets the keys of its window twice: in the scores and in the product.
            OpKind::Attention { windows, .. } => {
                let keys = self.ty(data.operands[1]).shape[0] / windows.max(1);
                (data.operands[0], keys.saturating_mul(2))
            }
            _ => return 0,
        };
        let (rows, columns) = self.ty(of).matrix();
        rows.saturating_mul(columns).saturating_mul(each)
    }

    /// How `pixels` reads an image; `None` if it does not.
    pub fn image(&self, image: Value) -> Option<Image> {
        self.order.iter().map(|op| self.op(*op)).find_map(|data| match data.kind {
            OpKind::Pixels { last } if data.operands.first() == Some(&image) => {
                let numbers = |i: usize| {
                    data.operands.get(i).and_then(|x| self.const_f32(*x)).unwrap_or_default()
                };
                Some(Image { last, factors: numbers(1), offsets: numbers(2) })
            }
            _ => None,
        })
    }

    /// The elements of an integer constant; `None` for any other value.
    pub fn const_i64(&self, value: Value) -> Option<Vec<i64>> {
        let constant = self.constant(value)?;
        (self.ty(value).elem == Elem::I64)
            .then(|| constant.bytes.as_chunks().0.iter().map(|x| i64::from_le_bytes(*x)).collect())
    }

    /// The elements of a constant as indices into an extent. Negative ones count from the end.
    ///
    /// # Errors
    /// The value is not a constant, or an index is out of range.
    pub fn indices(&self, value: Value, extent: usize) -> Result<Vec<usize>, String> {
        indices(self.const_i64(value).ok_or("the indices are not constant")?, extent)
    }

    /// The single element of a float constant with one element.
    pub fn const_scalar(&self, value: Value) -> Option<f32> {
        if self.ty(value).elements() != 1 {
            return None;
        }
        self.const_f32(value)?.first().copied()
    }

    /// The value that attention adds to its scores, if there is one.
    pub fn attention_bias(&self, attention: &OpData) -> Option<Value> {
        attention.operands[3..].iter().copied().find(|operand| self.ty(*operand).elem == Elem::F32)
    }

    /// The integer input that prunes keys of attention, if there is one.
    pub(crate) fn attention_keys(&self, attention: &OpData) -> Option<Value> {
        attention.operands[3..].iter().copied().find(|operand| self.ty(*operand).elem == Elem::I64)
    }

    /// If the elements of a value are row numbers of tables, the number of rows of the smallest
    /// table.
    pub(crate) fn table_rows(&self, value: Value) -> Option<usize> {
        let rows = self
            .order
            .iter()
            .map(|op| self.op(*op))
            .filter(|data| data.operands.get(1) == Some(&value))
            .filter_map(|data| {
                let axis = match data.kind {
                    OpKind::Embed {} | OpKind::QEmbed {} => 0,
                    OpKind::Gather { axis } => axis,
                    _ => return None,
                };
                self.ty(data.operands[0]).shape.get(axis).copied()
            });
        rows.min()
    }

    /// The name of an ONNX node.
    pub fn node(&self, node: Node) -> &str {
        &self.nodes[node]
    }

    /// Every ONNX node known to the graph, with its name.
    pub fn nodes(&self) -> impl Iterator<Item = (Node, &str)> {
        self.nodes.iter().map(|(node, name)| (node, name.as_str()))
    }

    /// Every value, used or not.
    pub fn values(&self) -> impl Iterator<Item = (Value, &ValueData)> {
        self.values.iter()
    }

    /// Number of values, which is one more than the largest index.
    pub(crate) fn value_count(&self) -> usize {
        self.values.len()
    }

    pub(super) fn has_value(&self, value: Value) -> bool {
        value.index() < self.values.len()
    }

    pub(super) fn has_op(&self, op: Op) -> bool {
        op.index() < self.ops.len()
    }

    /// The number of operations of each kind, by mnemonic.
    pub fn operator_counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for op in &self.order {
            *counts.entry(self.op(*op).kind.mnemonic()).or_default() += 1;
        }
        counts
    }

    /// Number of elements of all constants; in a canonical graph, of the model's remaining
    /// parameters.
    pub fn constant_elements(&self) -> usize {
        let constants = self.values.values().filter(|data| matches!(data.def, ValueDef::Const(_)));
        constants.map(|data| data.ty.elements()).sum()
    }

    /// Per value, the operations that read it, in order. An operation that reads it twice is listed
    /// twice.
    pub fn uses(&self) -> SecondaryMap<Value, Vec<Op>> {
        let mut uses: SecondaryMap<Value, Vec<Op>> = SecondaryMap::new();
        for op in &self.order {
            for operand in &self.op(*op).operands {
                uses[*operand].push(*op);
            }
        }
        uses
    }

    /// Replaces `old` by `new` in all operands and outputs.
    pub fn replace_uses(&mut self, old: Value, new: Value) {
        for data in self.ops.values_mut() {
            data.operands
                .iter_mut()
                .filter(|operand| **operand == old)
                .for_each(|operand| *operand = new);
        }
        self.outputs
            .iter_mut()
            .filter(|output| output.value == old)
            .for_each(|output| output.value = new);
    }

    /// The graph without operations and constants that no output depends on. Entities are
    /// renumbered in order of appearance. All inputs are kept.
    pub fn compacted(&self) -> Graph {
        self.compacted_and_renamed().0
    }

    /// [`Graph::compacted`], with the new value of each old one.
    pub(crate) fn compacted_and_renamed(&self) -> (Graph, SecondaryMap<Value, Option<Value>>) {
        self.part(&self.inputs, &self.outputs)
    }

    /// The graph that computes `outputs` from `inputs`, with the new value of each old one. Inputs
    /// may be results of operations, and are defined before all that depends on them.
    pub(crate) fn part(
        &self,
        inputs: &[GraphInput],
        outputs: &[GraphOutput],
    ) -> (Graph, SecondaryMap<Value, Option<Value>>) {
        let mut needed: SecondaryMap<Value, bool> = SecondaryMap::new();
        let mut given: SecondaryMap<Value, bool> = SecondaryMap::new();
        inputs.iter().for_each(|input| given[input.value] = true);
        outputs.iter().for_each(|output| needed[output.value] = true);
        let is_needed = |needed: &SecondaryMap<Value, bool>, data: &OpData| {
            data.results.iter().any(|result| needed[*result] && !given[*result])
        };
        for op in self.order.iter().rev() {
            let data = self.op(*op);
            if is_needed(&needed, data) {
                data.operands.iter().for_each(|operand| needed[*operand] = true);
            }
        }

        let mut graph = self.successor(self.stage);
        let mut renamed: SecondaryMap<Value, Option<Value>> = SecondaryMap::new();
        for input in inputs {
            let ty = self.ty(input.value).clone();
            renamed[input.value] = Some(graph.add_input_like(input, ty));
        }
        for op in &self.order {
            let data = self.op(*op);
            if !is_needed(&needed, data) {
                continue;
            }
            let operands: Vec<Value> = data
                .operands
                .iter()
                .map(|operand| self.rename(&mut graph, &mut renamed, *operand))
                .collect();
            let types = data.results.iter().map(|result| self.ty(*result).clone()).collect();
            let results = graph.push_typed(data.kind.clone(), &operands, types, &data.nodes);
            data.results.iter().zip(results).for_each(|(old, new)| {
                renamed[*old].get_or_insert(new);
            });
        }
        for output in outputs {
            let value = self.rename(&mut graph, &mut renamed, output.value);
            graph.outputs.push(GraphOutput { value, ..output.clone() });
        }
        (graph, renamed)
    }

    fn rename(
        &self,
        graph: &mut Graph,
        renamed: &mut SecondaryMap<Value, Option<Value>>,
        value: Value,
    ) -> Value {
        if let Some(new) = renamed[value] {
            return new;
        }
        // Inputs and results are renamed before their uses, so this is the first use of a constant.
        let constant = self.constant(value).expect("operands precede their uses");
        let new =
            graph.add_const(constant.name.clone(), self.ty(value).clone(), constant.bytes.clone());
        renamed[value] = Some(new);
        new
    }
}

fn le_bytes(elements: &[f32]) -> Bytes {
    // As many as elements: an iterator of single bytes would have to guess, and copy.
    elements.iter().map(|x| x.to_le_bytes()).collect::<Vec<[u8; 4]>>().into_flattened().into()
}
