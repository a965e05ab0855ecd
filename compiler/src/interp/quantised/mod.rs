//! The quantised interpreter.

mod kernels;
mod products;
mod run;
mod sparse_attention;
mod tensor;

use std::borrow::Cow;

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayD, ArrayViewD};
use vitcod_isa::numerics::{Interpolation, LayerNormParams, Lut};
use vitcod_isa::operands::{Channel, autoencoder_channels_at};

use super::InterpError;
use super::live::Live;
use super::patches::Windows;
use crate::ir::layout::{Mask, Patterns, ProductParts, sddmm_masks, sddmm_terms};
use crate::ir::{Elem, Graph, GraphInput, Op, OpKind, Stage, TensorType, Value};
pub(crate) use run::Run;
pub use tensor::Tensor;

/// Runs quantised and split graphs: the reference for the machine.
#[derive(Clone, Debug)]
pub struct QuantisedInterpreter<'g> {
    graph: &'g Graph,
    /// The constants that are tensors, but for those of bytes, which are decoded for each operation
    /// on them: all weights together would take the memory of another copy of the model.
    constants: SecondaryMap<Value, Option<Tensor>>,
    params: SecondaryMap<Op, Option<Params>>,
}

/// A constant, if it is a tensor.
fn constant(graph: &Graph, value: Value) -> Option<Tensor> {
    Tensor::from_le_bytes(graph.ty(value).elem, &graph.constant(value)?.bytes)
}

/// The structured parameters of an operation.
#[derive(Clone, Debug)]
enum Params {
    Channels(Vec<Channel>),
    Coder(Coder),
    LayerNorm(LayerNormParams),
    /// The columns and the table of each group of channels.
    Luts(Vec<(usize, Lut)>),
    Interpolations(Vec<(usize, Interpolation)>),
    /// One mask per head.
    Masks(Vec<Mask>),
    Patterns(Patterns),
}

/// The parameters of `encode` and `decode`.
#[derive(Clone, Debug)]
struct Coder {
    /// `[heads_out, heads_in]`.
    weights: Vec<i8>,
    /// One channel per result head.
    channels: Vec<Channel>,
}

impl<'g> QuantisedInterpreter<'g> {
    /// An interpreter of a verified graph; decodes its constants.
    ///
    /// # Errors
    /// The graph is neither quantised nor split, or a constant is invalid for its operation.
    pub fn new(graph: &'g Graph) -> Result<QuantisedInterpreter<'g>, InterpError> {
        if !matches!(graph.stage, Stage::Quantised | Stage::Split) {
            return Err(InterpError::Stage(graph.stage));
        }
        let mut interpreter = QuantisedInterpreter {
            graph,
            constants: SecondaryMap::new(),
            params: SecondaryMap::new(),
        };
        for (value, data) in graph.values() {
            if data.ty.elem != Elem::I8 {
                interpreter.constants[value] = constant(graph, value);
            }
        }
        for op in &graph.order {
            interpreter.params[*op] =
                interpreter.params(*op).map_err(|message| InterpError::at(graph, *op, message))?;
        }
        Ok(interpreter)
    }

    /// The parameters of an operation, from its last operand.
    fn params(&self, op: Op) -> Result<Option<Params>, String> {
        let data = self.graph.op(op);
        let constant = || {
            let last = data.operands.last().and_then(|operand| self.graph.constant(*operand));
            last.ok_or_else(|| "the parameters are not constant".to_owned())
        };
        Ok(match &data.kind {
            OpKind::QLinear {} => Some(Params::Channels(
                Channel::read_all(&constant()?.bytes).map_err(|e| e.to_string())?,
            )),
            OpKind::Encode { heads_in, heads_out } | OpKind::Decode { heads_in, heads_out } => {
                let (weights, channels) = constant()?
                    .bytes
                    .split_at_checked(autoencoder_channels_at(*heads_in, *heads_out))
                    .ok_or_else(|| "the parameters are too short".to_owned())?;
                let weights =
                    weights[..heads_in * heads_out].iter().map(|weight| *weight as i8).collect();
                let channels = Channel::read_all(channels).map_err(|e| e.to_string())?;
                Some(Params::Coder(Coder { weights, channels }))
            }
            OpKind::QLayerNorm {} => {
                let params =
                    LayerNormParams::from_bytes(&constant()?.bytes).map_err(|e| e.to_string())?;
                let x = self.graph.ty(data.operands[0]);
                if x.shape[1] != params.width() {
                    return Err(format!("{} channels of parameters for {x}", params.width()));
                }
                Some(Params::LayerNorm(params))
            }
            OpKind::Lut { channels } => {
                let (_, columns) = self.graph.ty(data.results[0]).matrix();
                let channels = if channels.is_empty() { &[columns][..] } else { channels };
                let (channels, bytes) = (channels.iter().copied(), &constant()?.bytes);
                Some(match self.graph.ty(data.operands[0]).elem {
                    Elem::I16 => {
                        let tables = bytes.chunks(Interpolation::BYTES);
                        let tables =
                            tables.map(Interpolation::from_bytes).collect::<Result<Vec<_>, _>>();
                        let tables = tables.map_err(|e| e.to_string())?;
                        Params::Interpolations(channels.zip(tables).collect())
                    }
                    _ => {
                        let tables = bytes.as_chunks().0.iter().map(Lut::from_bytes);
                        Params::Luts(channels.zip(tables).collect())
                    }
                })
            }
            OpKind::Sddmm { .. } => sddmm_masks(self.graph, data)?.map(Params::Masks),
            OpKind::BlockSddmm { .. }
            | OpKind::CscSddmm { .. }
            | OpKind::BlockSoftmax { .. }
            | OpKind::CscSoftmax { .. }
            | OpKind::SplitSpmm { .. } => Some(Params::Patterns(Patterns::read(self.graph, data)?)),
            _ => None,
        })
    }

    /// Evaluates the graph on inputs of its types. Inputs and outputs are in the graph's order.
    ///
    /// # Errors
    /// The inputs do not match the graph, or an operation moves elements that are not integers.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpError> {
        self.observe(inputs, &mut |_, _| {})
    }

    /// As [`QuantisedInterpreter::run`], and passes every input and result to `observer` once, in
    /// execution order.
    ///
    /// # Errors
    /// As [`QuantisedInterpreter::run`].
    pub(crate) fn observe(
        &self,
        inputs: &[Tensor],
        observer: &mut dyn FnMut(Value, &Tensor),
    ) -> Result<Vec<Tensor>, InterpError> {
        self.run_replacing(inputs, &mut |value, tensor| {
            observer(value, &tensor);
            tensor
        })
    }

    /// As [`QuantisedInterpreter::run`], and passes every input and result to `replace` once, in
    /// execution order. Later operations read the returned tensor, which must have the same type.
    ///
    /// # Errors
    /// As [`QuantisedInterpreter::run`].
    pub(crate) fn run_replacing(
        &self,
        inputs: &[Tensor],
        replace: &mut dyn FnMut(Value, Tensor) -> Tensor,
    ) -> Result<Vec<Tensor>, InterpError> {
        let mut run = self.start(inputs)?;
        while !run.upcoming().is_empty() {
            run.step(replace)?;
        }
        run.outputs()
    }

    /// A run before its first step.
    ///
    /// # Errors
    /// The inputs do not match the graph.
    pub(crate) fn start<'r>(&'r self, inputs: &'r [Tensor]) -> Result<Run<'r>, InterpError> {
        Run::new(self, inputs)
    }

    /// Quantises the inputs, evaluates the graph, and returns the outputs as real numbers in their
    /// shapes in the model.
    ///
    /// # Errors
    /// As [`QuantisedInterpreter::run`], or an input or output has no step.
    pub fn run_f32(&self, inputs: &[ArrayViewD<'_, f32>]) -> Result<Vec<ArrayD<f32>>, InterpError> {
        let graph = self.graph;
        if inputs.len() != graph.inputs.len() {
            return Err(InterpError::input_count(graph, inputs.len()));
        }
        let quantised = graph.inputs.iter().zip(inputs).map(
            |(GraphInput { name, value, shape, .. }, input)| {
                let ty = graph.ty(*value);
                let tensor = Tensor::of_input(graph, *value, input);
                tensor.filter(|_| input.shape() == shape).ok_or_else(|| {
                    let found = TensorType::f32(input.shape()).to_string();
                    let expected = TensorType { shape: shape.clone(), ..ty.clone() };
                    InterpError::Input { name: name.clone(), expected, found }
                })
            },
        );
        let outputs = self.run(&quantised.collect::<Result<Vec<_>, _>>()?)?;
        let outputs = graph.outputs.iter().zip(outputs).map(|(output, tensor)| {
            let ty = graph.ty(output.value);
            ty.step
                .and_then(|step| tensor.dequantise(step, &output.shape))
                .ok_or_else(|| InterpError::Output { name: output.name.clone(), found: ty.clone() })
        });
        outputs.collect()
    }

    fn evaluate(&self, op: Op, live: &Live<Tensor>) -> Result<Vec<Tensor>, String> {
        let data = self.graph.op(op);
        let ty = |i: usize| self.graph.ty(data.operands[i]);
        let weights = data.operands.iter().map(|value| match self.graph.ty(*value).elem {
            Elem::I8 => constant(self.graph, *value),
            _ => None,
        });
        let weights: Vec<Option<Tensor>> = weights.collect();
        let tensor = |i: usize| {
            let kept = live.get(data.operands[i]).or(self.constants[data.operands[i]].as_ref());
            kept.or(weights[i].as_ref())
                .ok_or_else(|| format!("{} is not a tensor of integers", ty(i)))
        };
        let i8s = |i: usize| match tensor(i)? {
            Tensor::I8(x) => Ok(x.as_slice()),
            _ => Err(format!("found {}, expected i8", ty(i))),
        };
        let i16s = |i: usize| match tensor(i)? {
            Tensor::I16(x) => Ok(x.as_slice()),
            _ => Err(format!("found {}, expected i16", ty(i))),
        };
        let u32s = |i: usize| match tensor(i)? {
            Tensor::U32(x) => Ok(x.as_slice()),
            _ => Err(format!("found {}, expected u32", ty(i))),
        };
        let probabilities = |i: usize| {
            let found = || format!("found {}, expected probabilities", ty(i));
            tensor(i)?.decoded().ok_or_else(found)
        };
        let format = || {
            let ty = self.graph.ty(data.results[0]);
            ty.probabilities().ok_or_else(|| format!("{ty} are no probabilities"))
        };
        let result = match (&data.kind, &self.params[op]) {
            (OpKind::QLinear {}, Some(Params::Channels(channels))) => {
                let (m, k) = ty(0).matrix();
                match self.graph.ty(data.results[0]).elem {
                    Elem::I16 => Tensor::I16(kernels::linear(i8s(0)?, i8s(1)?, channels, [m, k])),
                    _ => Tensor::I8(kernels::linear(i8s(0)?, i8s(1)?, channels, [m, k])),
                }
            }
            (
                OpKind::Encode { heads_in, .. } | OpKind::Decode { heads_in, .. },
                Some(Params::Coder(Coder { weights, channels })),
            ) => {
                let (m, columns) = ty(0).matrix();
                Tensor::I8(kernels::mix_heads(
                    i8s(0)?,
                    weights,
                    channels,
                    [m, *heads_in, columns / heads_in],
                ))
            }
            (OpKind::QEmbed {}, _) => {
                let Tensor::U16(rows) = tensor(1)? else {
                    return Err(format!("found {}, expected u16", ty(1)));
                };
                Tensor::I16(kernels::embed(i16s(0)?, rows, ty(0).matrix())?)
            }
            (OpKind::QLayerNorm {}, Some(Params::LayerNorm(params))) => {
                let m = ty(0).matrix().0;
                match self.graph.ty(data.results[0]).elem {
                    Elem::I16 => Tensor::I16(kernels::layer_norm(i16s(0)?, params, m)),
                    _ => Tensor::I8(kernels::layer_norm(i16s(0)?, params, m)),
                }
            }
            (OpKind::Lut { .. }, Some(Params::Luts(tables))) => {
                Tensor::I8(kernels::lut(i8s(0)?, tables, Lut::apply))
            }
            (OpKind::Lut { .. }, Some(Params::Interpolations(tables))) => {
                Tensor::I8(kernels::lut(i16s(0)?, tables, Interpolation::apply))
            }
            (OpKind::QAdd { a_scale, b_scale, shift }, _) => {
                match self.graph.ty(data.results[0]).elem {
                    Elem::I8 => {
                        Tensor::I8(kernels::add(i16s(0)?, i16s(1)?, *a_scale, *b_scale, *shift))
                    }
                    _ => Tensor::I16(kernels::add(i16s(0)?, i16s(1)?, *a_scale, *b_scale, *shift)),
                }
            }
            (OpKind::Sddmm { heads, scale, windows }, params) => {
                let ((rows, c), (keys, _)) = (ty(0).matrix(), ty(1).matrix());
                let (m, n) = (rows / windows, keys / windows);
                let terms = sddmm_terms(self.graph, data);
                let masks = match params {
                    Some(Params::Masks(masks)) => Some(Cow::Borrowed(&masks[..])),
                    _ if terms.shared_mask.is_some() => {
                        let Tensor::Byte(kept) = tensor(2)? else {
                            return Err(format!("found {}, expected a mask", ty(2)));
                        };
                        let mask = Mask::from_bytes(m, n, kept.clone().into())
                            .ok_or("the mask has bits past the last key")?;
                        Some(Cow::Owned(vec![mask; *heads]))
                    }
                    _ => None,
                };
                let bias = match terms.bias {
                    Some(_) => Some(i16s(data.operands.len() - 1)?),
                    None => None,
                };
                let (q, k) = (i8s(0)?, i8s(1)?);
                let mut scores = Vec::with_capacity(windows * heads * m * n);
                for window in 0..*windows {
                    let masks =
                        masks.as_deref().map(|masks| &masks[window * heads..(window + 1) * heads]);
                    // All windows may share the bias.
                    let bias = bias.map(|bias| {
                        &bias[window * heads * m * n % bias.len().max(1)..][..heads * m * n]
                    });
                    let (q, k) = (
                        &q[window * m * c..(window + 1) * m * c],
                        &k[window * n * c..(window + 1) * n * c],
                    );
                    scores.extend(kernels::sddmm(q, k, masks, bias, [m, n, c], *heads, *scale));
                }
                Tensor::I16(scores)
            }
            (OpKind::QSoftmax { shift }, _) => {
                let shape = &ty(0).shape;
                let (extents, format) = ([shape[0] * shape[1], shape[2]], format()?);
                let (probs, sums) = kernels::softmax(i16s(0)?, extents, *shift, format);
                return Ok(vec![Tensor::probabilities(format, probs), Tensor::U32(sums)]);
            }
            (OpKind::Spmm { scale, windows }, _) => {
                let ([heads, m, n], c) =
                    ([ty(0).shape[0] / windows, ty(0).shape[1], ty(0).shape[2]], ty(2).matrix().1);
                let (p, sums, v) = (probabilities(0)?, u32s(1)?, i8s(2)?);
                let mut product = Vec::with_capacity(windows * m * c);
                for window in 0..*windows {
                    let part = |each: usize| window * each..(window + 1) * each;
                    let (p, sums, v) =
                        (&p[part(heads * m * n)], &sums[part(heads * m)], &v[part(n * c)]);
                    product.extend(kernels::spmm(p, sums, v, [heads, m, n], c, *scale));
                }
                Tensor::I8(product)
            }
            (
                OpKind::BlockSddmm { heads, scale } | OpKind::CscSddmm { heads, scale },
                Some(Params::Patterns(patterns)),
            ) => {
                let (m, c) = ty(0).matrix();
                let rows = sparse_attention::Rows { heads: *heads, m };
                let scores =
                    sparse_attention::Scores { q: i8s(0)?, k: i8s(1)?, c, rows, scale: *scale };
                let (scores, maxima) = match patterns {
                    Patterns { keys: Some(keys), mask: Some(mask), .. } => scores.block(keys, mask),
                    Patterns { csc: Some(csc), .. } => scores.csc(csc),
                    _ => return Err("no pattern".to_owned()),
                };
                return Ok(vec![Tensor::I16(scores), Tensor::I16(maxima)]);
            }
            (
                OpKind::BlockSoftmax { shift } | OpKind::CscSoftmax { shift },
                Some(Params::Patterns(patterns)),
            ) => {
                let format = format()?;
                let form = (*shift, format);
                let (heads, m) = ty(2).matrix();
                let rows = sparse_attention::Rows { heads, m };
                let mut maxima = i16s(2)?.to_vec();
                if data.operands.len() > 3 {
                    maxima
                        .iter_mut()
                        .zip(i16s(3)?)
                        .for_each(|(max, other)| *max = (*max).max(*other));
                }
                let (probs, sums) = match patterns {
                    Patterns { keys: Some(keys), .. } => {
                        sparse_attention::block_softmax(i16s(0)?, keys, &maxima, rows, form)
                    }
                    Patterns { csc: Some(csc), .. } => {
                        sparse_attention::csc_softmax(i16s(0)?, csc, &maxima, rows, form)
                    }
                    _ => return Err("no pattern".to_owned()),
                };
                return Ok(vec![Tensor::probabilities(format, probs), Tensor::U32(sums)]);
            }
            (OpKind::SplitSpmm { heads, scale, block, csc }, Some(Params::Patterns(patterns))) => {
                let ((m, c), parts) =
                    (self.graph.ty(data.results[0]).matrix(), ProductParts::of(*block, *csc));
                let mut product = sparse_attention::Product::new(
                    i8s(0)?,
                    c,
                    sparse_attention::Rows { heads: *heads, m },
                );
                if let (Some(at), Some(keys)) = (parts.block, &patterns.keys) {
                    product.block(&probabilities(at.probs)?, u32s(at.sums)?, keys);
                }
                if let (Some(at), Some(csc)) = (parts.csc, &patterns.csc) {
                    product.csc(&probabilities(at.probs)?, u32s(at.sums)?, csc);
                }
                Tensor::I8(product.requantised(*scale))
            }
            (OpKind::Pixels { last: true }, _) => tensor(0)?.clone(),
            // Pixels are columns of the planes.
            (OpKind::Pixels { last: false }, _) => tensor(0)?.columns(ty(0).shape[1]),
            (OpKind::Planes { .. }, _) => tensor(0)?.columns(ty(0).shape[0]),
            (OpKind::Patches { map, kernel, stride, pad }, _) => {
                let windows =
                    Windows { kernel: *kernel, stride: *stride, pad: *pad, dilation: [1, 1] };
                let map = [map[0], map[1], ty(0).shape[1]];
                match tensor(0)? {
                    Tensor::I8(x) => Tensor::I8(windows.rows(x, map)),
                    Tensor::E3m5(x) => Tensor::E3m5(windows.rows(x, map)),
                    Tensor::I16(x) => Tensor::I16(windows.rows(x, map)),
                    Tensor::U16(x) => Tensor::U16(windows.rows(x, map)),
                    Tensor::U32(x) => Tensor::U32(windows.rows(x, map)),
                    Tensor::Byte(x) => Tensor::Byte(windows.rows(x, map)),
                }
            }
            (OpKind::Concat { axis }, _) => {
                let parts = (0..data.operands.len()).map(|i| (i, 0, ty(i).shape[*axis]));
                self.join(op, *axis, parts, tensor)?
            }
            (OpKind::PickRows {}, _) => {
                let result = self.graph.ty(data.results[0]);
                let unsupported = || format!("{result} is not of the operand's element type");
                let mut out = Tensor::from_le_bytes(result.elem, &[]).ok_or_else(unsupported)?;
                let (rows, columns) = ty(0).matrix();
                for row in self.graph.indices(data.operands[1], rows)? {
                    out.append(tensor(0)?, row * columns..(row + 1) * columns)
                        .ok_or_else(unsupported)?;
                }
                out
            }
            (OpKind::Slice { axis, start, len, stride }, _) => {
                let steps = (0..*len).map(|i| (0, start + i * stride, 1));
                self.join(op, *axis, steps, tensor)?
            }
            _ => return Err("not an operation of the quantised stage".to_owned()),
        };
        Ok(vec![result])
    }

    /// Concatenates parts of operands along an axis. A part is an operand with its first index
    /// along the axis and a count.
    fn join<'a>(
        &'a self,
        op: Op,
        axis: usize,
        parts: impl Iterator<Item = (usize, usize, usize)> + Clone,
        tensor: impl Fn(usize) -> Result<&'a Tensor, String>,
    ) -> Result<Tensor, String> {
        let data = self.graph.op(op);
        let result = self.graph.ty(data.results[0]);
        let unsupported = || format!("{result} is not of the operands' element type");
        let mut out = Tensor::from_le_bytes(result.elem, &[]).ok_or_else(unsupported)?;
        let (blocks, inner): (usize, usize) =
            (result.shape[..axis].iter().product(), result.shape[axis + 1..].iter().product());
        for block in 0..blocks {
            for (operand, start, steps) in parts.clone() {
                let first = block * self.graph.ty(data.operands[operand]).shape[axis] + start;
                out.append(tensor(operand)?, first * inner..(first + steps) * inner)
                    .ok_or_else(unsupported)?;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
