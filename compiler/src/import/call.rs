//! The translation of a node: its operands and attributes, and the operations that replace it.

use std::collections::BTreeSet;
use std::fmt;

use crate::ir::{BinaryFn, Elem, Graph, Node, OpKind, TensorType, UnaryFn, Value};
use crate::onnx::{self, DataType};

use super::error::{Fault, Problem};
use super::fold::{self, Budget};
use super::{DataTypes, MAX_RANK, constant};

/// The result of a translation: the node's results, or the problem.
pub(super) type Translated<T = Vec<Value>> = Result<T, Box<Problem>>;

/// A node, and the graph that it is translated to.
pub(super) struct Call<'a> {
    pub(super) node: &'a onnx::Node,
    /// The model's opset.
    pub(super) opset: i64,
    graph: &'a mut Graph,
    budget: &'a mut Budget,
    /// The element types of constants in the model.
    data_types: &'a mut DataTypes,
    operands: Vec<Option<Value>>,
    /// Results that the translation does not produce.
    omitted: BTreeSet<usize>,
    /// The node's entity, once an operation has been emitted for it.
    entity: Option<Node>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        node: &'a onnx::Node,
        opset: i64,
        graph: &'a mut Graph,
        budget: &'a mut Budget,
        data_types: &'a mut DataTypes,
        operands: Vec<Option<Value>>,
    ) -> Call<'a> {
        let omitted = BTreeSet::new();
        Call { node, opset, graph, budget, data_types, operands, omitted, entity: None }
    }

    /// States that some results are not produced, whatever the translation returns for them.
    pub(super) fn omit(&mut self, results: &[usize]) {
        self.omitted.extend(results);
    }

    /// The results, without the omitted ones.
    pub(super) fn results(&self, results: Vec<Value>) -> Vec<Option<Value>> {
        let produced = |(i, value)| (!self.omitted.contains(&i)).then_some(value);
        results.into_iter().enumerate().map(produced).collect()
    }

    /// The problem that an operand or attribute is not the expected one.
    pub(super) fn mismatch(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Box<Problem> {
        Fault::mismatch(expected, found).at(self.node.place())
    }

    /// The problem that an attribute has an unsupported value.
    pub(super) fn attribute(
        &self,
        name: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Box<Problem> {
        Fault::mismatch(expected, found).at(self.node.attribute_place(name))
    }

    fn located<T>(&self, result: Result<T, Fault>) -> Translated<T> {
        result.map_err(|fault| fault.at(self.node.place()))
    }

    /// The operand at an index.
    pub(super) fn operand(&self, index: usize) -> Translated<Value> {
        self.optional(index).ok_or_else(|| self.mismatch(format!("an operand {index}"), "none"))
    }

    /// The operand at an index, if present.
    pub(super) fn optional(&self, index: usize) -> Option<Value> {
        self.operands.get(index).copied().flatten()
    }

    /// All operands; at least one, none omitted.
    pub(super) fn operands(&self) -> Translated<Vec<Value>> {
        match self.operands.iter().copied().collect::<Option<Vec<Value>>>() {
            Some(operands) if !operands.is_empty() => Ok(operands),
            _ => Err(self.mismatch("operands", "one left out, or none")),
        }
    }

    /// A value's type.
    pub(super) fn ty(&self, value: Value) -> &TensorType {
        self.graph.ty(value)
    }

    /// A value's shape.
    pub(super) fn shape(&self, value: Value) -> &[usize] {
        &self.ty(value).shape
    }

    /// Whether a value is known at compile time.
    pub(super) fn is_constant(&self, value: Value) -> bool {
        self.graph.constant(value).is_some()
    }

    /// The only element of a float constant.
    pub(super) fn number(&self, value: Value) -> Option<f32> {
        self.graph.const_scalar(value)
    }

    /// The name of a constant; empty for computed values.
    pub(super) fn name(&self, value: Value) -> &str {
        self.graph.constant(value).map_or("", |constant| &constant.name)
    }

    /// The element type of a constant in the model; `None` for computed values, even if computed at
    /// compile time.
    pub(super) fn data_type(&self, value: Value) -> Option<DataType> {
        self.data_types[value]
    }

    /// The operation that computed a value, and its operands.
    pub(super) fn producer(&self, value: Value) -> Option<(&OpKind, &[Value])> {
        self.graph.producer(value).map(|(_, data)| (&data.kind, &data.operands[..]))
    }

    /// The operation that computed the elements of a value, skipping operations that only move
    /// elements.
    pub(super) fn producer_behind_moves(&self, mut value: Value) -> Option<&OpKind> {
        loop {
            let (_, data) = self.graph.producer(value)?;
            match data.kind {
                OpKind::Reshape { .. }
                | OpKind::Transpose { .. }
                | OpKind::Slice { .. }
                | OpKind::Gather { .. }
                | OpKind::Expand { .. } => value = data.operands[0],
                _ => return Some(&data.kind),
            }
        }
    }

    /// The elements of a constant integer operand.
    pub(super) fn integers(&mut self, value: Value, what: &str) -> Translated<Vec<i64>> {
        self.charge(self.ty(value).elements())?;
        self.graph.const_i64(value).ok_or_else(|| {
            self.mismatch(format!("{what} as integers known at compile time"), self.describe(value))
        })
    }

    /// The only element of a constant integer operand.
    pub(super) fn integer(&mut self, value: Value, what: &str) -> Translated<i64> {
        match self.integers(value, what)?[..] {
            [element] => Ok(element),
            _ => Err(self.mismatch(format!("{what} as a single integer"), self.describe(value))),
        }
    }

    /// The elements of a constant float operand.
    pub(super) fn floats(&mut self, value: Value, what: &str) -> Translated<Vec<f32>> {
        self.charge(self.ty(value).elements())?;
        self.graph.const_f32(value).ok_or_else(|| {
            self.mismatch(format!("{what} as floats known at compile time"), self.describe(value))
        })
    }

    /// Type and origin of a value, for messages.
    pub(super) fn describe(&self, value: Value) -> String {
        let origin = if self.is_constant(value) { "a constant" } else { "a computed tensor" };
        format!("{origin} {}", self.ty(value))
    }

    /// An INT attribute.
    pub(super) fn int(&self, name: &str, default: i64) -> Translated<i64> {
        Ok(self.node.int(name)?.unwrap_or(default))
    }

    /// A FLOAT attribute.
    pub(super) fn float(&self, name: &str, default: f32) -> Translated<f32> {
        Ok(self.node.float(name)?.unwrap_or(default))
    }

    /// An axis of a tensor with `rank` dimensions; negative ones count from the end.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Translated<usize> {
        let from_start = if axis < 0 { axis.checked_add_unsigned(rank as u64) } else { Some(axis) };
        from_start
            .and_then(|axis| usize::try_from(axis).ok())
            .filter(|axis| *axis < rank)
            .ok_or_else(|| {
                self.mismatch(
                    format!("an axis of a tensor with {rank} dimensions"),
                    axis.to_string(),
                )
            })
    }

    /// Axes, normalised and ascending.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Translated<Vec<usize>> {
        let mut normal =
            axes.iter().map(|axis| self.axis(*axis, rank)).collect::<Translated<Vec<usize>>>()?;
        normal.sort_unstable();
        match normal.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(self.mismatch("distinct axes", shown(axes))),
            false => Ok(normal),
        }
    }

    /// A list that is an operand as of some opset and an attribute before; `None` if absent.
    pub(super) fn list(
        &mut self,
        name: &str,
        index: usize,
        operand_since: i64,
    ) -> Translated<Option<Vec<i64>>> {
        match self.optional(index) {
            Some(value) if self.opset >= operand_since => self.integers(value, name).map(Some),
            _ if self.opset < operand_since => Ok(self.node.ints(name)?.map(<[i64]>::to_vec)),
            _ => Ok(None),
        }
    }

    /// Appends an operation, or evaluates it if all operands are constants.
    pub(super) fn emit(&mut self, kind: OpKind, operands: &[Value]) -> Translated<Value> {
        let result = self.try_emit(kind, operands);
        self.located(result)
    }

    fn try_emit(&mut self, kind: OpKind, operands: &[Value]) -> Result<Value, Fault> {
        let ty = fold::result_type(self.graph, &kind, operands)?;
        if operands.iter().all(|operand| self.graph.constant(*operand).is_some()) {
            let bytes = fold::evaluate(self.graph, self.budget, &kind, operands, &ty)?;
            // A parameter keeps its name if its elements only move.
            let name = match operands {
                [x] => self.graph.constant(*x).map_or("", |constant| &constant.name).to_owned(),
                _ => String::new(),
            };
            return Ok(self.graph.add_const(name, ty, bytes));
        }
        fold::check_activation(&ty.shape)?;
        self.budget.charge_operation(operands.len())?;
        self.check_elements(&kind, operands)?;
        let node = *self.entity.get_or_insert_with(|| self.graph.add_node(name(self.node)));
        Ok(self.graph.push(kind, operands, &[node])?)
    }

    /// Checks the element types of operands: integers can be moved, selected, converted, and
    /// combined with each other.
    fn check_elements(&self, kind: &OpKind, operands: &[Value]) -> Result<(), Fault> {
        let other = match kind {
            OpKind::Reshape { .. }
            | OpKind::Transpose { .. }
            | OpKind::Slice { .. }
            | OpKind::Expand { .. }
            | OpKind::Gather { .. }
            | OpKind::GatherElements { .. }
            | OpKind::Select {}
            | OpKind::Convert { .. }
            | OpKind::Binary { .. } => return Ok(()),
            _ => operands.iter().find(|operand| self.graph.ty(**operand).elem != Elem::F32),
        };
        match other {
            Some(other) => Err(Fault::mismatch("float operands", self.describe(*other))),
            None => Ok(()),
        }
    }

    /// Appends or evaluates an elementwise function.
    pub(super) fn unary(&mut self, f: UnaryFn, x: Value) -> Translated<Value> {
        self.emit(OpKind::Unary { f }, &[x])
    }

    /// Appends or evaluates an elementwise function of two operands.
    pub(super) fn binary(&mut self, f: BinaryFn, a: Value, b: Value) -> Translated<Value> {
        self.emit(OpKind::Binary { f }, &[a, b])
    }

    /// Multiplies a tensor by a number.
    pub(super) fn scaled(&mut self, x: Value, factor: f32) -> Translated<Value> {
        if factor == 1.0 {
            return Ok(x);
        }
        let factor = self.float_constant(&[], vec![factor])?;
        self.binary(BinaryFn::Mul, x, factor)
    }

    /// Adds a number to a tensor.
    pub(super) fn plus(&mut self, x: Value, addend: f32) -> Translated<Value> {
        if addend == 0.0 {
            return Ok(x);
        }
        // x + 3 - 3 is x, for passes that compare values.
        if let Some((OpKind::Binary { f: BinaryFn::Add }, &[y, known])) = self.producer(x)
            && self.number(known) == Some(-addend)
            && self.shape(y) == self.shape(x)
        {
            return Ok(y);
        }
        let addend = self.float_constant(&[], vec![addend])?;
        self.binary(BinaryFn::Add, x, addend)
    }

    /// Reshapes a tensor.
    pub(super) fn reshape(&mut self, x: Value, shape: &[usize]) -> Translated<Value> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.emit(OpKind::Reshape { shape: shape.to_vec() }, &[x])
    }

    /// Broadcasts a tensor to a shape.
    pub(super) fn expand(&mut self, x: Value, shape: &[usize]) -> Translated<Value> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.emit(OpKind::Expand { shape: shape.to_vec() }, &[x])
    }

    /// Slices a tensor along an axis.
    pub(super) fn slice(
        &mut self,
        x: Value,
        axis: usize,
        start: usize,
        len: usize,
        stride: usize,
    ) -> Translated<Value> {
        let ty = self.ty(x);
        if (start, len, stride) == (0, ty.shape[axis], 1) {
            return Ok(x);
        }
        if len == 0 && self.is_constant(x) {
            let mut ty = ty.clone();
            ty.shape[axis] = 0;
            return Ok(self.graph.add_const("", ty, Vec::new()));
        }
        self.emit(OpKind::Slice { axis, start, len, stride }, &[x])
    }

    /// Checks the shape of a computed result against the limits.
    pub(super) fn check_activation(&self, shape: &[usize]) -> Translated<()> {
        self.located(fold::check_activation(shape))
    }

    /// A float constant; the iterator is only evaluated if the budget allows it.
    pub(super) fn float_constant<I>(&mut self, shape: &[usize], elements: I) -> Translated<Value>
    where
        I: IntoIterator<Item = f32, IntoIter: ExactSizeIterator>,
    {
        self.named_float_constant("", shape, elements)
    }

    /// A float constant that keeps the name of a parameter.
    pub(super) fn named_float_constant<I>(
        &mut self,
        name: &str,
        shape: &[usize],
        elements: I,
    ) -> Translated<Value>
    where
        I: IntoIterator<Item = f32, IntoIter: ExactSizeIterator>,
    {
        let (ty, elements) = (TensorType::f32(shape), elements.into_iter());
        self.check_constant(&ty, elements.len())?;
        Ok(self.graph.add_const(name, ty, fold::f32_bytes(elements)))
    }

    /// An integer constant; the iterator is only evaluated if the budget allows it.
    pub(super) fn integer_constant<I>(&mut self, shape: &[usize], elements: I) -> Translated<Value>
    where
        I: IntoIterator<Item = i64, IntoIter: ExactSizeIterator>,
    {
        let (ty, elements) = (TensorType::new(Elem::I64, shape), elements.into_iter());
        self.check_constant(&ty, elements.len())?;
        Ok(self.graph.add_const("", ty, fold::i64_bytes(elements)))
    }

    /// Checks a new constant of this many elements and charges it to the budget.
    fn check_constant(&mut self, ty: &TensorType, elements: usize) -> Translated<()> {
        let checked =
            fold::check_count(&ty.shape, elements).and_then(|()| self.budget.charge_constant(ty));
        self.located(checked)
    }

    /// Charges a constant of this shape to the budget before it is computed.
    pub(super) fn reserve(&mut self, shape: &[usize]) -> Translated<()> {
        let reserved =
            fold::count(shape).and_then(|_| self.budget.charge_constant(&TensorType::f32(shape)));
        self.located(reserved)
    }

    /// Charges steps of work to the budget.
    pub(super) fn charge(&mut self, elements: usize) -> Translated<()> {
        let charged = self.budget.charge(elements);
        self.located(charged)
    }

    /// A constant with the tensor of an attribute.
    pub(super) fn tensor_constant(&mut self, tensor: &onnx::Tensor) -> Translated<Value> {
        // The model names the constant by the node's result.
        let name = self.node.outputs.first().and_then(Option::as_deref).unwrap_or_default();
        let value = constant(self.graph, self.budget, name, tensor);
        let value = self.located(value)?;
        self.data_types[value] = Some(tensor.data_type());
        Ok(value)
    }
}

/// A list of numbers for messages, truncated if it is long.
pub(super) fn shown<T: fmt::Debug>(list: &[T]) -> String {
    match list.get(..MAX_RANK) {
        Some(first) if list.len() > MAX_RANK => {
            format!("{first:?} and {} more", list.len() - MAX_RANK)
        }
        _ => format!("{list:?}"),
    }
}

/// The name of a node's operations: the node's name, prefixed by its module if the exporter states
/// it.
/// which.
fn name(node: &onnx::Node) -> String {
    if node.scope.is_empty() { node.name.clone() } else { format!("{}/{}", node.scope, node.name) }
}
