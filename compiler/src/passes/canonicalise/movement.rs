//! Operations that move elements: they become part of views. Joining tokens is the only one that remains an operation.

use super::constants::{data, floats};
use super::view::View;
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::{Graph, OpData, OpKind, Value};
use crate::passes::error::Misfit;

/// More operands than this are not gathered into one `concat`: joining in a long chain must not take quadratic space.
const JOINED: usize = 64;

impl Canonicaliser<'_> {
    pub(super) fn movement(&mut self, op: &OpData, x: &Meaning) -> Result<Meaning, Misfit> {
        let from = &self.source.ty(op.operands[0]).shape;
        let to = &self.source.ty(op.results[0]).shape;
        match x {
            Meaning::View(view) => moved(self.source, op, view, to).map(Meaning::View),
            Meaning::Flags(flags) => match &op.kind {
                OpKind::Expand { shape } => Ok(Meaning::Flags(flags.repeated(shape)?)),
                _ => Ok(Meaning::Flags(flags.at(moved(self.source, op, &flags.view, to)?))),
            },
            Meaning::Image(_) if from == to && keeps_order(op) => Ok(x.clone()),
            Meaning::Scores(scores) if keeps_order(op) => Ok(Meaning::Scores(scores.reshaped(to)?)),
            Meaning::Probabilities(scores) if keeps_order(op) => Ok(Meaning::Probabilities(scores.reshaped(to)?)),
            _ => Err(unexpected(x, "tokens")),
        }
    }

    pub(super) fn concat(&mut self, op: &OpData, operands: &[Meaning], axis: usize) -> Result<Meaning, Misfit> {
        let shape = &self.source.ty(op.results[0]).shape;
        if let [x] = operands {
            return Ok(x.clone());
        }
        if shape[..axis].iter().any(|extent| *extent != 1) {
            return Err(Misfit::new(format!("tensors joined along axis {axis} to {shape:?}"), "tokens joined"));
        }
        let columns: usize = shape[axis + 1..].iter().product();
        let mut parts = Vec::new();
        for (value, meaning) in op.operands.iter().zip(operands) {
            let part = match meaning {
                Meaning::View(view) => self.builder.matrix(view, axis + 1)?,
                Meaning::Constant => {
                    let rows = self.source.ty(*value).shape[axis];
                    self.builder.adopt(*value, &[rows, columns])?
                }
                other => return Err(unexpected(other, "tokens or a constant")),
            };
            match self.builder.producer(part) {
                Some(inner) if inner.kind == (OpKind::Concat { axis: 0 }) && inner.operands.len() <= JOINED => {
                    parts.extend(inner.operands);
                }
                _ => parts.push(part),
            }
        }
        let parts = self.join_constants(&parts)?;
        let matrix = self.builder.push(OpKind::Concat { axis: 0 }, &parts)?;
        Ok(Meaning::View(View::row_major(matrix, shape, axis + 1)))
    }

    /// The same parts with neighbouring constants joined.
    fn join_constants(&mut self, parts: &[Value]) -> Result<Vec<Value>, Misfit> {
        let mut joined: Vec<Value> = Vec::new();
        for part in parts {
            let constant = |value: &Value| self.builder.graph.constant(*value).cloned();
            match joined.last().and_then(constant).zip(constant(part)) {
                Some((before, after)) => {
                    joined.pop();
                    let columns = self.builder.extents(*part).1;
                    let elements: Vec<f32> = floats(&before.bytes).chain(floats(&after.bytes)).collect();
                    let name = format!("{}, {}", before.name, after.name);
                    joined.push(self.builder.make(&name, &[elements.len() / columns, columns], data(elements))?);
                }
                None => joined.push(*part),
            }
        }
        Ok(joined)
    }
}

/// Whether the elements stay in their row-major order.
fn keeps_order(op: &OpData) -> bool {
    match &op.kind {
        OpKind::Reshape { .. } | OpKind::Expand { .. } => true,
        OpKind::Transpose { perm } => perm.is_sorted(),
        _ => false,
    }
}

fn moved(graph: &Graph, op: &OpData, view: &View, to: &[usize]) -> Result<View, Misfit> {
    let uneven = || {
        let from = graph.ty(op.operands[0]);
        Misfit::new(format!("{from} made {to:?}"), "dimensions that keep tokens and channels apart")
    };
    match &op.kind {
        OpKind::Transpose { perm } => Ok(view.transposed(perm)),
        OpKind::Slice { axis, start, len, stride } => view.sliced(*axis, *start, *len, *stride).ok_or_else(uneven),
        OpKind::Gather { axis } => {
            let (start, len, stride) = progression(graph, op.operands[1], view.shape()[*axis])?;
            let view = view.sliced(*axis, start, len, stride).ok_or_else(uneven)?;
            view.reshaped(to).ok_or_else(uneven)
        }
        OpKind::Expand { .. } if graph.ty(op.operands[0]).elements() != graph.ty(op.results[0]).elements() => {
            Err(Misfit::new(format!("{} repeated to {to:?}", graph.ty(op.operands[0])), "only constants repeated"))
        }
        _ => view.reshaped(to).ok_or_else(uneven),
    }
}

/// First index, number and distance of constant indices into an extent.
fn progression(graph: &Graph, indices: Value, extent: usize) -> Result<(usize, usize, usize), Misfit> {
    let expected = || format!("constant indices below {extent} at rising, regular distances");
    let Some(indices) = graph.const_i64(indices) else {
        return Err(Misfit::new("computed indices", expected()));
    };
    let regular = || -> Option<(usize, usize, usize)> {
        let first = *indices.first()?;
        let step = indices.get(1).map_or(Some(1), |second| second.checked_sub(first))?;
        let regular = indices.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(step));
        // Exporters count from the end, too.
        let wrapped = if first < 0 { first.checked_add_unsigned(extent as u64)? } else { first };
        let last = step.checked_mul(indices.len() as i64 - 1)?.checked_add(wrapped)?;
        (regular && step > 0 && wrapped >= 0 && last < extent as i64).then_some((
            wrapped as usize,
            indices.len(),
            step as usize,
        ))
    };
    regular().ok_or_else(|| Misfit::new("other indices", expected()))
}
