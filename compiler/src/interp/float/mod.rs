//! The float interpreter.
//!
//! Tensors are f32, including those of integers (exact up to 2^24); sums of softmax, LayerNorm and
//! means are f64. Every sum has a fixed order ([`products`]), and functions are computed from
//! additions and multiplications ([`functions`]) or by the portable `libm` crate: the bits are the
//! same on every processor, whatever the number of threads.

mod elementwise;
mod functions;
mod linear;
mod products;
mod rows;

use cranelift_entity::SecondaryMap;
use ndarray::{ArcArray, ArrayD, ArrayView2, ArrayViewD, Axis, IxDyn, Slice};

use vitcod_isa::numerics::normalise_channels;

use super::InterpError;
use super::live::Live;
use super::patches::{Windows, pixels};
use crate::ir::{Elem, Graph, GraphInput, Op, OpKind, Stage, TensorType, Value};

/// A tensor; clones share the elements.
type Shared = ArcArray<f32, IxDyn>;

/// Runs imported and canonical graphs.
#[derive(Clone, Debug)]
pub struct FloatInterpreter<'g> {
    graph: &'g Graph,
    /// The small constants that are float or integer, read once for all runs. A large one is read
    /// for each operation on it: all of them together would take the memory of another copy of the
    /// model.
    constants: SecondaryMap<Value, Option<Shared>>,
}

/// The bytes of a small constant.
const SMALL: usize = 1 << 16;

/// A constant, if it is float or integer.
fn constant(graph: &Graph, value: Value) -> Option<Shared> {
    let integers = || Some(graph.const_i64(value)?.into_iter().map(|x| x as f32).collect());
    let elements = graph.const_f32(value).or_else(integers)?;
    let shape = IxDyn(&graph.ty(value).shape);
    Some(Shared::from_shape_vec(shape, elements).expect("verified constant"))
}

/// What is shown of an operation.
pub(crate) enum Observed<'a> {
    /// Its result.
    Tensor(ArrayViewD<'a, f32>),
    /// The scores of a head of attention, scaled and with bias and masks, before softmax.
    Scores(ArrayView2<'a, f32>),
}

impl<'g> FloatInterpreter<'g> {
    /// An interpreter of a verified graph.
    ///
    /// # Errors
    /// The graph's stage is quantised or split.
    pub fn new(graph: &'g Graph) -> Result<FloatInterpreter<'g>, InterpError> {
        match graph.stage {
            Stage::Imported | Stage::Canonical => {
                let mut constants = SecondaryMap::new();
                for (value, _) in graph.values() {
                    if graph.constant(value).is_some_and(|data| data.bytes.len() <= SMALL) {
                        constants[value] = constant(graph, value);
                    }
                }
                Ok(FloatInterpreter { graph, constants })
            }
            Stage::Quantised | Stage::Split => Err(InterpError::Stage(graph.stage)),
        }
    }

    /// Evaluates the graph on inputs of its shapes. Inputs and outputs are in the graph's order;
    /// outputs have their shapes in the model.
    ///
    /// # Errors
    /// The inputs do not match the graph, or an index of a `gather` is out of range.
    pub fn run(&self, inputs: &[ArrayViewD<'_, f32>]) -> Result<Vec<ArrayD<f32>>, InterpError> {
        self.observe(inputs, &mut |_, _| {})
    }

    /// As [`FloatInterpreter::run`], and passes every input and every result to `observer` once, in
    /// execution order.
    ///
    /// # Errors
    /// As [`FloatInterpreter::run`].
    pub(crate) fn observe(
        &self,
        inputs: &[ArrayViewD<'_, f32>],
        observer: &mut dyn FnMut(Value, ArrayViewD<'_, f32>),
    ) -> Result<Vec<ArrayD<f32>>, InterpError> {
        let observer = &mut |value, observed: Observed<'_>| match observed {
            Observed::Tensor(tensor) => observer(value, tensor),
            Observed::Scores(_) => {}
        };
        self.observe_all(inputs, observer)
    }

    /// [`FloatInterpreter::observe`] that also shows the scores of attention.
    ///
    /// # Errors
    /// As [`FloatInterpreter::run`].
    pub(crate) fn observe_all(
        &self,
        inputs: &[ArrayViewD<'_, f32>],
        observer: &mut dyn FnMut(Value, Observed<'_>),
    ) -> Result<Vec<ArrayD<f32>>, InterpError> {
        let graph = self.graph;
        if inputs.len() != graph.inputs.len() {
            return Err(InterpError::input_count(graph, inputs.len()));
        }
        let mut live = Live::new(graph);
        for (GraphInput { name, value, shape, inverted }, input) in graph.inputs.iter().zip(inputs)
        {
            let ty = graph.ty(*value);
            if !matches!(ty.elem, Elem::F32 | Elem::I64) || shape != input.shape() {
                let (name, found) = (name.clone(), format!("f32{:?}", input.shape()));
                return Err(InterpError::Input {
                    name,
                    expected: TensorType::new(ty.elem, &shape[..]),
                    found,
                });
            }
            // Reshapes rely on the standard layout. From here on the input has its shape in the
            // graph.
            let input = input.as_standard_layout().into_owned().into_shared();
            let input = input
                .into_shape_with_order(IxDyn(&ty.shape))
                .expect("the verifier compares element counts");
            let input =
                if *inverted { input.mapv(GraphInput::invert).into_shared() } else { input };
            observer(*value, Observed::Tensor(input.view()));
            live.define(*value, input);
        }
        for op in &graph.order {
            let value = graph.op(*op).results[0];
            let scores =
                &mut |scores: ArrayView2<'_, f32>| observer(value, Observed::Scores(scores));
            let result = self.evaluate(*op, &live, scores)?;
            debug_assert_eq!(result.shape(), graph.ty(value).shape, "{op}");
            observer(value, Observed::Tensor(result.view()));
            live.define(value, result);
            live.release(graph, *op);
        }
        self.outputs(&live)
    }

    fn outputs(&self, live: &Live<Shared>) -> Result<Vec<ArrayD<f32>>, InterpError> {
        let graph = self.graph;
        let outputs = graph.outputs.iter().map(|output| {
            let ty = graph.ty(output.value);
            let not_float = || InterpError::Output { name: output.name.clone(), found: ty.clone() };
            let tensor = self
                .read(live, output.value)
                .filter(|_| matches!(ty.elem, Elem::F32 | Elem::I64))
                .ok_or_else(not_float)?
                .into_owned();
            Ok(tensor
                .into_shape_with_order(IxDyn(&output.shape))
                .expect("the verifier compares element counts"))
        });
        outputs.collect()
    }

    /// The outputs of a run in which `value` is replaced by `tensor`. `known` holds all inputs and
    /// results of the original run, for the values that do not depend on `value`.
    ///
    /// # Errors
    /// As [`FloatInterpreter::run`].
    pub(crate) fn rerun(
        &self,
        known: &SecondaryMap<Value, Option<Shared>>,
        value: Value,
        tensor: &Shared,
    ) -> Result<Vec<ArrayD<f32>>, InterpError> {
        let graph = self.graph;
        let mut live = Live::new(graph);
        let mut changed: SecondaryMap<Value, bool> = SecondaryMap::new();
        for (value, tensor) in known.iter() {
            tensor.iter().for_each(|tensor| live.define(value, tensor.clone()));
        }
        live.define(value, tensor.clone());
        changed[value] = true;
        for op in &graph.order {
            let data = graph.op(*op);
            if data.operands.iter().any(|operand| changed[*operand]) {
                let result = self.evaluate(*op, &live, &mut |_| {})?;
                live.define(data.results[0], result);
                changed[data.results[0]] = true;
            }
        }
        self.outputs(&live)
    }

    /// A value's tensor in standard layout: a live tensor or a constant. `None` if it is neither
    /// float nor integer.
    fn read(&self, live: &Live<Shared>, value: Value) -> Option<Shared> {
        let kept = live.get(value).or(self.constants[value].as_ref());
        kept.cloned().or_else(|| constant(self.graph, value))
    }

    /// The result of an operation, in standard layout. `scores` sees those of attention.
    fn evaluate(
        &self,
        op: Op,
        live: &Live<Shared>,
        scores: &mut dyn FnMut(ArrayView2<'_, f32>),
    ) -> Result<Shared, InterpError> {
        let data = self.graph.op(op);
        // The indices of a gather are read by the operation itself.
        let indexed =
            matches!(data.kind, OpKind::Gather { .. } | OpKind::PickRows {} | OpKind::Embed {});
        let float = if indexed { &data.operands[..1] } else { &data.operands[..] };
        let operands = float
            .iter()
            .map(|value| {
                let not_float = || {
                    InterpError::at(
                        self.graph,
                        op,
                        format!("{} is not float", self.graph.ty(*value)),
                    )
                };
                self.read(live, *value).ok_or_else(not_float)
            })
            .collect::<Result<Vec<Shared>, _>>()?;
        let x = &operands[0];
        let result = match &data.kind {
            OpKind::Unary { f } => elementwise::unary(*f, x.clone()),
            OpKind::Table { f, channels, .. } => {
                elementwise::table(*f, channels, &operands[1], x.clone())
            }
            OpKind::Binary { f } => elementwise::binary(*f, x, &operands[1]),
            OpKind::FakeQuantise { scale, zero_point, min, max } => {
                elementwise::fake_quantise(x.clone(), *scale, *zero_point, [*min, *max])
            }
            OpKind::Convert { to } => elementwise::convert(*to, x.clone()),
            OpKind::Select {} => {
                let shape = &self.graph.ty(data.results[0]).shape;
                standard(elementwise::select(x, &operands[1], &operands[2], shape))
            }
            OpKind::MatMul {} => linear::matmul(x, &operands[1]).into_shared(),
            OpKind::Conv { stride, pad, dilation, group } => {
                let w = &operands[1];
                let kernel = [w.shape()[2], w.shape()[3]];
                let windows = Windows { kernel, stride: *stride, pad: *pad, dilation: *dilation };
                linear::conv(x, w, operands.get(2), &windows, *group).into_shared()
            }
            OpKind::Reshape { shape } => x
                .clone()
                .into_shape_with_order(IxDyn(shape))
                .expect("the verifier compares element counts"),
            OpKind::Transpose { perm } => standard(x.clone().permuted_axes(IxDyn(perm))),
            OpKind::Concat { axis } => {
                let views: Vec<_> = operands.iter().map(|part| part.view()).collect();
                standard(
                    ndarray::concatenate(Axis(*axis), &views)
                        .expect("verified shapes")
                        .into_shared(),
                )
            }
            OpKind::Slice { axis, start, len, stride } => {
                let last = start + (len - 1) * stride;
                let range = Slice::new(*start as isize, Some(last as isize + 1), *stride as isize);
                standard(x.slice_axis(Axis(*axis), range).to_shared())
            }
            OpKind::Gather { axis } => self.gather(op, x, *axis, live)?,
            OpKind::GatherElements { axis } => {
                let places = rows::picked(x, &operands[1], *axis);
                places.map_err(|problem| InterpError::at(self.graph, op, problem))?
            }
            OpKind::TopIndices { axis, count, largest } => {
                rows::top_indices(x, *axis, *count, *largest)
            }
            OpKind::PickRows {} => self.gather(op, x, 0, live)?,
            OpKind::Expand { shape } => {
                standard(x.broadcast(IxDyn(shape)).expect("verified shapes").to_shared())
            }
            OpKind::Pad { axis, before, after } => {
                let zeros = |width: usize| {
                    let mut shape = x.shape().to_vec();
                    shape[*axis] = width;
                    Shared::zeros(IxDyn(&shape))
                };
                let (before, after) = (zeros(*before), zeros(*after));
                let parts = [before.view(), x.view(), after.view()];
                let joined = ndarray::concatenate(Axis(*axis), &parts).expect("verified shapes");
                standard(joined.into_shared())
            }
            OpKind::ReduceMean { axes, keep } => rows::mean(x, axes, *keep),
            OpKind::ReduceMax { axes, keep } => rows::max(x, axes, *keep),
            OpKind::Softmax { axis } => {
                let mut x = x.clone();
                x.lanes_mut(Axis(*axis)).into_iter().for_each(rows::softmax);
                x
            }
            OpKind::LayerNorm { eps } => {
                rows::layer_norm(x.clone(), &operands[1], &operands[2], *eps)
            }
            OpKind::Pixels { last } => {
                let channels = x.shape()[if *last { 3 } else { 1 }];
                let elements = x.as_slice().expect("standard layout");
                let mut rows = if *last { elements.to_vec() } else { pixels(elements, channels) };
                let numbers = |i: usize| {
                    operands.get(i).map_or(&[][..], |x| x.as_slice().expect("standard layout"))
                };
                normalise_channels(&mut rows, numbers(2), numbers(1), true);
                let shape = IxDyn(&[rows.len().checked_div(channels).unwrap_or(0), channels]);
                Shared::from_shape_vec(shape, rows).expect("as many elements")
            }
            OpKind::Planes { .. } => {
                let planes = pixels(x.as_slice().expect("standard layout"), x.shape()[0]);
                let shape = IxDyn(&self.graph.ty(data.results[0]).shape);
                Shared::from_shape_vec(shape, planes).expect("as many elements")
            }
            OpKind::Patches { map, kernel, stride, pad } => {
                let windows =
                    Windows { kernel: *kernel, stride: *stride, pad: *pad, dilation: [1, 1] };
                linear::patches(x, *map, &windows).into_dyn().into_shared()
            }
            OpKind::Embed {} => self.gather(op, x, 0, live)?,
            OpKind::Linear {} => linear::linear(x, &operands[1], &operands[2]).into_shared(),
            OpKind::Attention { heads, scale, windows } => {
                let operand = |value: Option<Value>| {
                    let index = data.operands.iter().position(|operand| Some(*operand) == value)?;
                    operands.get(index)
                };
                let (bias, keys) =
                    (self.graph.attention_bias(data), self.graph.attention_keys(data));
                let (bias, keys) = (operand(bias), operand(keys));
                linear::attention(
                    [x, &operands[1], &operands[2]],
                    bias,
                    keys,
                    *windows,
                    *heads,
                    *scale,
                    scores,
                )
                .into_shared()
            }
            OpKind::MixHeads { heads_in, .. } => {
                linear::mix_heads(x, &operands[1], &operands[2], *heads_in).into_shared()
            }
            OpKind::QEmbed {}
            | OpKind::QLinear {}
            | OpKind::Encode { .. }
            | OpKind::Decode { .. }
            | OpKind::QLayerNorm {}
            | OpKind::Lut { .. }
            | OpKind::QAdd { .. }
            | OpKind::Sddmm { .. }
            | OpKind::QSoftmax { .. }
            | OpKind::Spmm { .. }
            | OpKind::BlockSddmm { .. }
            | OpKind::CscSddmm { .. }
            | OpKind::BlockSoftmax { .. }
            | OpKind::CscSoftmax { .. }
            | OpKind::SplitSpmm { .. } => {
                return Err(InterpError::at(
                    self.graph,
                    op,
                    "quantised operations have no float form",
                ));
            }
        };
        Ok(result)
    }

    fn gather(
        &self,
        op: Op,
        x: &Shared,
        axis: usize,
        live: &Live<Shared>,
    ) -> Result<Shared, InterpError> {
        let operand = self.graph.op(op).operands[1];
        let extent = x.shape()[axis];
        let indices = match live.get(operand) {
            Some(computed) => {
                crate::ir::indices(computed.iter().map(|index| *index as i64), extent)
            }
            None => self.graph.indices(operand, extent),
        };
        let indices = indices.map_err(|problem| InterpError::at(self.graph, op, problem))?;
        let rows = x.select(Axis(axis), &indices);
        let shape = &self.graph.ty(self.graph.op(op).results[0]).shape;
        Ok(standard(rows.into_shared())
            .into_shape_with_order(IxDyn(shape))
            .expect("one slice per index"))
    }
}

/// Converts a tensor to row-major layout.
fn standard(x: Shared) -> Shared {
    if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned().into_shared() }
}

#[cfg(test)]
mod tests;
