//! Operations that move elements. They are absorbed by views, except for joining tokens, which
//! remains an operation.

use super::constants::{data, floats};
use super::view::{Axis, View, Walk, places, walks};
use super::{Canonicaliser, Meaning, unexpected};
use crate::ir::{Graph, OpData, OpKind, Value};
use crate::passes::error::Unsupported;

/// `concat`s of up to this many operands are flattened into one. The limit keeps a long chain of
/// joins from taking quadratic space.
const JOINED: usize = 64;

impl Canonicaliser<'_> {
    pub(super) fn movement(&mut self, op: &OpData, x: &Meaning) -> Result<Meaning, Unsupported> {
        let to = &self.source.ty(op.results[0]).shape;
        match x {
            Meaning::View(view) => {
                let direct = moved(self.source, op, view, to);
                if direct.is_ok() && !cuts(op, view) {
                    return direct.map(Meaning::View);
                }
                // A cut that is irregular in the matrix may be regular once the tokens are in the
                // tensor's order. All parts then share that matrix, so that they can be joined
                // again.
                let whole = self.builder.whole(view)?;
                let ordered = self.builder.in_order(&whole)?;
                let moved =
                    if ordered == whole { direct } else { moved(self.source, op, &ordered, to) };
                match (&op.kind, moved) {
                    (OpKind::Gather { axis }, Err(_)) => self.gather(op, view, *axis),
                    (OpKind::Expand { shape }, Err(_)) => {
                        self.builder.expanded(view, shape).map(Meaning::View)
                    }
                    (_, moved) => moved.map(Meaning::View),
                }
            }
            Meaning::Flags(flags) => match &op.kind {
                OpKind::Expand { shape } => Ok(Meaning::Flags(flags.repeated(shape)?)),
                _ => Ok(Meaning::Flags(flags.at(moved(self.source, op, &flags.view, to)?))),
            },
            Meaning::Scores(scores) if swaps_last(op) => {
                Ok(Meaning::Scores(self.builder.transposed_scores(scores)?))
            }
            Meaning::Scores(scores) if keeps_order(op) => Ok(Meaning::Scores(scores.reshaped(to)?)),
            Meaning::Probabilities(scores) if swaps_last(op) => {
                Ok(Meaning::Transposed(scores.clone()))
            }
            Meaning::Transposed(scores) if swaps_last(op) => {
                Ok(Meaning::Probabilities(scores.clone()))
            }
            Meaning::Probabilities(scores) if keeps_order(op) => {
                Ok(Meaning::Probabilities(scores.reshaped(to)?))
            }
            _ => Err(unexpected(x, "tokens")),
        }
    }

    pub(super) fn concat(
        &mut self,
        op: &OpData,
        operands: &[Meaning],
        axis: usize,
    ) -> Result<Meaning, Unsupported> {
        let shape = &self.source.ty(op.results[0]).shape;
        if let [x] = operands {
            return Ok(x.clone());
        }
        if let Some(view) = self.rejoined(operands, axis)? {
            return Ok(Meaning::View(view));
        }
        let views = operands.iter().map(|operand| match operand {
            Meaning::View(view) => Some(view),
            _ => None,
        });
        if let Some(views) = views.collect::<Option<Vec<&View>>>()
            && let Some(view) = self.builder.joined_columns(&views, axis)?
        {
            return Ok(Meaning::View(view));
        }
        if shape[..axis].iter().any(|extent| *extent != 1) {
            return Err(Unsupported::new(
                format!("tensors joined along axis {axis} to {shape:?}"),
                "tokens joined",
            ));
        }
        // Dimensions after the axis that are tokens in every part remain tokens.
        let tokens = operands.iter().filter_map(|operand| match operand {
            Meaning::View(view) => Some(
                view.dims[axis + 1..].iter().take_while(|dim| is_along(dim, Axis::Row)).count(),
            ),
            _ => None,
        });
        let split = axis + 1 + tokens.min().unwrap_or(0);
        let columns: usize = shape[split..].iter().product();
        let mut parts = Vec::new();
        for (value, meaning) in op.operands.iter().zip(operands) {
            let part = match meaning {
                Meaning::View(view) => self.builder.matrix(view, split)?,
                Meaning::Constant => {
                    let rows = self.source.ty(*value).shape[axis..split].iter().product();
                    self.builder.adopt(*value, &[rows, columns])?
                }
                other => return Err(unexpected(other, "tokens or a constant")),
            };
            match self.builder.producer(part) {
                Some(inner)
                    if inner.kind == (OpKind::Concat { axis: 0 })
                        && inner.operands.len() <= JOINED =>
                {
                    parts.extend(inner.operands);
                }
                _ => parts.push(part),
            }
        }
        let parts = self.join_constants(&parts)?;
        let matrix = self.builder.push(OpKind::Concat { axis: 0 }, &parts)?;
        Ok(Meaning::View(View::row_major(matrix, shape, split)))
    }

    /// Joins parts of one matrix along an axis: as a view if they follow each other at regular
    /// distances, or as tokens in another order. `None` if the parts are not of one matrix.
    fn rejoined(&mut self, operands: &[Meaning], axis: usize) -> Result<Option<View>, Unsupported> {
        let views: Option<Vec<&View>> = operands
            .iter()
            .map(|operand| if let Meaning::View(view) = operand { Some(view) } else { None })
            .collect();
        let Some([first, others @ ..]) = views.as_deref() else { return Ok(None) };
        let place = |view: &View| (view.matrix, view.column, view.factor);
        if others.iter().any(|view| place(view) != place(first)) {
            return Ok(None);
        }
        let parts: Vec<usize> = [*first].iter().chain(others).map(|view| view.row).collect();
        if others.iter().all(|view| view.dims == first.dims)
            && let Some(outer) = walks_of(&parts)
        {
            let mut view = (*first).clone();
            view.dims[axis] = walks(outer.into_iter().chain(first.dims[axis].iter().copied()));
            return Ok(Some(view));
        }
        let split = axis
            + 1
            + first.dims[axis + 1..].iter().take_while(|dim| is_along(dim, Axis::Row)).count();
        let [tokens, channels] = [0..split, split..first.dims.len()];
        let fits = |view: &&View| {
            view.dims[tokens.clone()].iter().all(|dim| is_along(dim, Axis::Row))
                && view.dims[channels.clone()].iter().all(|dim| is_along(dim, Axis::Column))
                && view.dims[channels.clone()] == first.dims[channels.clone()]
        };
        if ![first].into_iter().chain(others).all(fits) {
            return Ok(None);
        }
        let mut shape = first.shape();
        shape[axis] += others.iter().map(|view| view.shape()[axis]).sum::<usize>();
        let count = self.builder.check_size(&shape[tokens.clone()])?;
        self.builder.charge(2 * count)?;
        // Each part contributes one block for each index of the dimensions before the axis.
        let blocks: usize = shape[..axis].iter().product();
        let rows: Vec<Vec<usize>> = [*first]
            .iter()
            .chain(others)
            .map(|view| places(view.row, &view.dims[tokens.clone()].concat()))
            .collect();
        let part = |block: usize, rows: &[usize]| {
            let each = rows.len() / blocks;
            rows[block * each..(block + 1) * each].to_vec()
        };
        let rows = (0..blocks)
            .flat_map(|block| rows.iter().flat_map(move |rows| part(block, rows)))
            .collect();
        let matrix = self.builder.pick_rows(first.matrix, rows, 1)?;
        let mut view = View { matrix, row: 0, ..(*first).clone() };
        view.dims[tokens.clone()]
            .clone_from_slice(&View::row_major(matrix, &shape[tokens], split).dims);
        Ok(Some(view))
    }

    /// Joins adjacent constants.
    fn join_constants(&mut self, parts: &[Value]) -> Result<Vec<Value>, Unsupported> {
        let mut joined: Vec<Value> = Vec::new();
        for part in parts {
            let constant = |value: &Value| self.builder.graph.constant(*value).cloned();
            match joined.last().and_then(constant).zip(constant(part)) {
                Some((before, after)) => {
                    joined.pop();
                    let columns = self.builder.extents(*part).1;
                    let elements: Vec<f32> =
                        floats(&before.bytes).chain(floats(&after.bytes)).collect();
                    let name = format!("{}, {}", before.name, after.name);
                    joined.push(self.builder.make(
                        &name,
                        &[elements.len() / columns, columns],
                        data(elements),
                    )?);
                }
                None => joined.push(*part),
            }
        }
        Ok(joined)
    }
}

/// Whether an operation takes a part of a dimension along which tokens are not equidistant.
fn cuts(op: &OpData, view: &View) -> bool {
    match &op.kind {
        OpKind::Slice { axis, .. } => {
            view.dims[*axis].len() > 1 && is_along(&view.dims[*axis], Axis::Row)
        }
        _ => false,
    }
}

pub(super) fn is_along(dim: &[Walk], axis: Axis) -> bool {
    dim.iter().all(|walk| walk.axis == axis)
}

/// The walks along rows that visit these rows in this order, starting from the first; `None` if
/// they are not nested regular walks.
fn walks_of(rows: &[usize]) -> Option<Vec<Walk>> {
    let Some(distance) = rows.get(1).map(|second| second.checked_sub(rows[0])) else {
        return Some(Vec::new());
    };
    let stride = distance.filter(|stride| *stride > 0)?;
    let extent =
        rows.windows(2).take_while(|pair| pair[1].checked_sub(pair[0]) == Some(stride)).count() + 1;
    let inner = Walk { axis: Axis::Row, extent, stride };
    let starts: Vec<usize> = rows.iter().copied().step_by(extent).collect();
    let mut list = walks_of(&starts)?;
    list.push(inner);
    (places(rows[0], &list) == rows).then_some(list)
}

/// Whether an operation transposes matrices.
fn swaps_last(op: &OpData) -> bool {
    match &op.kind {
        OpKind::Transpose { perm } => {
            let Some((last, others)) = perm.split_last() else { return false };
            let Some((other, leading)) = others.split_last() else { return false };
            leading.is_sorted() && (*other, *last) == (perm.len() - 1, perm.len() - 2)
        }
        _ => false,
    }
}

/// Whether the elements keep their row-major order.
fn keeps_order(op: &OpData) -> bool {
    match &op.kind {
        OpKind::Reshape { .. } | OpKind::Expand { .. } => true,
        OpKind::Transpose { perm } => perm.is_sorted(),
        _ => false,
    }
}

fn moved(graph: &Graph, op: &OpData, view: &View, to: &[usize]) -> Result<View, Unsupported> {
    let uneven = || {
        let from = graph.ty(op.operands[0]);
        Unsupported::new(
            format!("{from} made {to:?}"),
            "dimensions that keep tokens and channels apart",
        )
    };
    match &op.kind {
        OpKind::Transpose { perm } => Ok(view.transposed(perm)),
        OpKind::Slice { axis, start, len, stride } => {
            view.sliced(*axis, *start, *len, *stride).ok_or_else(uneven)
        }
        OpKind::Gather { axis } => {
            let (start, len, stride) = progression(graph, op.operands[1], view.shape()[*axis])?;
            let view = view.sliced(*axis, start, len, stride).ok_or_else(uneven)?;
            view.reshaped(to).ok_or_else(uneven)
        }
        OpKind::Expand { .. }
            if graph.ty(op.operands[0]).elements() != graph.ty(op.results[0]).elements() =>
        {
            Err(Unsupported::new(
                format!("{} repeated to {to:?}", graph.ty(op.operands[0])),
                "only constants repeated",
            ))
        }
        _ => view.reshaped(to).ok_or_else(uneven),
    }
}

/// The first index, the count and the stride of constant indices into an extent.
fn progression(
    graph: &Graph,
    indices: Value,
    extent: usize,
) -> Result<(usize, usize, usize), Unsupported> {
    let expected = || format!("constant indices below {extent} at rising, regular distances");
    let Some(indices) = graph.const_i64(indices) else {
        return Err(Unsupported::new("computed indices", expected()));
    };
    let regular = || -> Option<(usize, usize, usize)> {
        let first = *indices.first()?;
        let step = indices.get(1).map_or(Some(1), |second| second.checked_sub(first))?;
        let regular = indices.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(step));
        // Negative indices count from the end.
        let wrapped = if first < 0 { first.checked_add_unsigned(extent as u64)? } else { first };
        let last = step.checked_mul(indices.len() as i64 - 1)?.checked_add(wrapped)?;
        (regular && step > 0 && wrapped >= 0 && last < extent as i64).then_some((
            wrapped as usize,
            indices.len(),
            step as usize,
        ))
    };
    regular().ok_or_else(|| Unsupported::new("other indices", expected()))
}
