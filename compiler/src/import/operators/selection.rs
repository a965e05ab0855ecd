//! Slices, gathers and concatenations.

use super::{Call, Translated, shown};
use crate::ir::{Elem, OpKind, Value};

pub(super) fn concat(call: &mut Call<'_>) -> Translated {
    let operands = call.operands()?;
    let axis = call.node.int("axis")?.ok_or_else(|| call.mismatch("an attribute axis", "none"))?;
    let axis = call.axis(axis, call.ty(operands[0]).rank())?;
    // Empty constants contribute nothing.
    let empty = |x: &Value| call.is_constant(*x) && call.shape(*x).get(axis) == Some(&0);
    let parts: Vec<Value> = operands.iter().copied().filter(|x| !empty(x)).collect();
    match parts[..] {
        [] => Ok(vec![operands[0]]),
        [x] => Ok(vec![x]),
        _ => Ok(vec![call.emit(OpKind::Concat { axis }, &parts)?]),
    }
}

pub(super) fn split(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let axis = call.axis(call.int("axis", 0)?, call.ty(x).rank())?;
    let extent = call.shape(x)[axis];
    let sizes: Vec<usize> = match call.list("split", 1, 13)? {
        Some(sizes) => {
            let sizes: Option<Vec<usize>> =
                sizes.iter().map(|size| usize::try_from(*size).ok()).collect();
            sizes.ok_or_else(|| call.mismatch("sizes that are not negative", "a negative one"))?
        }
        None => {
            let parts = call.node.outputs.len();
            let named = call.int("num_outputs", parts as i64)?;
            if parts == 0 || named != parts as i64 {
                return Err(call.mismatch(format!("{named} results"), parts.to_string()));
            }
            // The last part is smaller if the size does not divide the extent.
            let size = extent.div_ceil(parts);
            (0..parts).map(|part| size.min(extent.saturating_sub(part * size))).collect()
        }
    };
    let sum = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size));
    if sum != Some(extent) || sizes.len() != call.node.outputs.len() {
        let expected = format!("{} sizes that add up to {extent}", call.node.outputs.len());
        return Err(call.mismatch(expected, shown(&sizes)));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(call.slice(x, axis, start, size, 1)?);
        start += size;
    }
    Ok(parts)
}

pub(super) fn slice(call: &mut Call<'_>) -> Translated {
    let mut x = call.operand(0)?;
    let rank = call.ty(x).rank();
    // Bounds are attributes below opset 10.
    let missing = |call: &Call<'_>, what: &str| call.mismatch(what, "none");
    let starts = call.list("starts", 1, 10)?.ok_or_else(|| missing(call, "starts"))?;
    let ends = call.list("ends", 2, 10)?.ok_or_else(|| missing(call, "ends"))?;
    let axes = call.list("axes", 3, 10)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match call.optional(4) {
        Some(steps) => call.integers(steps, "steps")?,
        None => vec![1; starts.len()],
    };
    if [&ends, &axes, &steps].iter().any(|list| list.len() != starts.len()) {
        let lengths = [&starts, &ends, &axes, &steps].map(Vec::len);
        return Err(call.mismatch("as many starts as ends, axes and steps", format!("{lengths:?}")));
    }
    call.axes(&axes, rank)?;
    for (((start, end), axis), step) in starts.iter().zip(ends).zip(axes).zip(steps) {
        let axis = call.axis(axis, rank)?;
        let extent = call.shape(x)[axis];
        if step < 0 {
            x = backwards(call, x, axis, [*start, end, step])?;
            continue;
        }
        let Some(step) = usize::try_from(step).ok().filter(|step| *step > 0) else {
            return Err(call.mismatch("steps that are not 0", step.to_string()));
        };
        let (start, end) = (clamped(*start, extent), clamped(end, extent));
        let len = end.saturating_sub(start).div_ceil(step);
        x = call.slice(x, axis, start, len, if len > 1 { step } else { 1 })?;
    }
    Ok(vec![x])
}

/// A slice with a negative step along an axis.
fn backwards(
    call: &mut Call<'_>,
    x: Value,
    axis: usize,
    [start, end, step]: [i64; 3],
) -> Translated<Value> {
    let extent = call.shape(x)[axis];
    let last = extent as i64 - 1;
    let from_start =
        |index: i64| if index < 0 { index.saturating_add_unsigned(extent as u64) } else { index };
    let (first, end) = (from_start(start).min(last), from_start(end).max(-1));
    let count = (first.saturating_sub(end).max(0) as u64).div_ceil(step.unsigned_abs()) as usize;
    let indices =
        call.integer_constant(&[count], (0..count).map(|place| first + place as i64 * step))?;
    call.emit(OpKind::Gather { axis }, &[x, indices])
}

/// Clamps a slice bound to an extent. Negative bounds count from the end.
fn clamped(bound: i64, extent: usize) -> usize {
    let from_start = if bound < 0 { bound.saturating_add_unsigned(extent as u64) } else { bound };
    usize::try_from(from_start.max(0)).map_or(extent, |bound| bound.min(extent))
}

pub(super) fn gather(call: &mut Call<'_>) -> Translated {
    let (x, indices) = (call.operand(0)?, call.operand(1)?);
    let axis = call.axis(call.int("axis", 0)?, call.ty(x).rank())?;
    Ok(vec![gathered(call, x, indices, axis)?])
}

/// Slices of a tensor along an axis, by indices that may be computed.
pub(super) fn gathered(
    call: &mut Call<'_>,
    x: Value,
    indices: Value,
    axis: usize,
) -> Translated<Value> {
    let Some(extent) = call.shape(x).get(axis).copied() else {
        return Err(call.mismatch("a table of rows", call.describe(x)));
    };
    if !call.is_constant(indices) && call.ty(indices).elem == Elem::I64 {
        return call.emit(OpKind::Gather { axis }, &[x, indices]);
    }
    let elements = call.integers(indices, "indices")?;
    let normalised = elements
        .iter()
        .map(|index| normal(call, *index, extent))
        .collect::<Translated<Vec<i64>>>()?;
    let shape = call.shape(indices).to_vec();
    let indices =
        if normalised == elements { indices } else { call.integer_constant(&shape, normalised)? };
    call.emit(OpKind::Gather { axis }, &[x, indices])
}

/// Normalises an index into an extent. Negative indices count from the end.
fn normal(call: &Call<'_>, index: i64, extent: usize) -> Translated<i64> {
    let from_start =
        if index < 0 { index.checked_add_unsigned(extent as u64) } else { Some(index) };
    let within = from_start.filter(|index| (0..extent as i64).contains(index));
    within.ok_or_else(|| {
        call.mismatch(format!("indices into an extent of {extent}"), index.to_string())
    })
}

/// The elements or slices that constant index tuples select (as in GatherND and ScatterND).
pub(super) struct Places {
    /// The shape of the list of tuples.
    pub(super) outer: Vec<usize>,
    /// The dimensions that the tuples do not index.
    pub(super) rest: Vec<usize>,
    /// Each tuple as one index into the flattened indexed dimensions.
    pub(super) places: Vec<i64>,
}

impl Places {
    /// Evaluates `indices`, whose last dimension holds the tuples, as positions in `x`.
    pub(super) fn of(call: &mut Call<'_>, x: Value, indices: Value) -> Translated<Places> {
        let (from, tuples) = (call.shape(x).to_vec(), call.shape(indices).to_vec());
        let Some((length, outer)) =
            tuples.split_last().filter(|(length, _)| (1..=from.len()).contains(*length))
        else {
            return Err(call.mismatch(
                format!("tuples of 1 to {} indices", from.len()),
                call.describe(indices),
            ));
        };
        let (leading, rest) = from.split_at(*length);
        let mut places = Vec::new();
        for tuple in call.integers(indices, "indices")?.chunks(*length) {
            let mut place = 0;
            for (index, extent) in tuple.iter().zip(leading) {
                place = place * *extent as i64 + normal(call, *index, *extent)?;
            }
            places.push(place);
        }
        Ok(Places { outer: outer.to_vec(), rest: rest.to_vec(), places })
    }
}

/// Flattens the dimensions that the index tuples cover and gathers along them.
pub(super) fn gather_nd(call: &mut Call<'_>) -> Translated {
    let (x, indices) = (call.operand(0)?, call.operand(1)?);
    if call.int("batch_dims", 0)? != 0 {
        return Err(call.attribute("batch_dims", "0", "another number"));
    }
    let Places { outer, rest, places } = Places::of(call, x, indices)?;
    let leading = call.shape(x)[..call.ty(x).rank() - rest.len()].iter().product();
    let x = call.reshape(x, &[&[leading][..], &rest].concat())?;
    let indices = call.integer_constant(&outer, places)?;
    Ok(vec![call.emit(OpKind::Gather { axis: 0 }, &[x, indices])?])
}

/// Elements picked along an axis, each by its own index.
pub(super) fn gather_elements(call: &mut Call<'_>) -> Translated {
    let (x, indices) = (call.operand(0)?, call.operand(1)?);
    let (from, shape) = (call.shape(x).to_vec(), call.shape(indices).to_vec());
    let axis = call.axis(call.int("axis", 0)?, from.len())?;
    let fits = |i: usize| i == axis || shape[i] <= from[i];
    if shape.len() != from.len() || !(0..shape.len()).all(fits) {
        return Err(call.mismatch(format!("indices into {from:?}"), call.describe(indices)));
    }
    if !call.is_constant(indices) {
        return Ok(vec![call.emit(OpKind::GatherElements { axis }, &[x, indices])?]);
    }
    let picked = call.integers(indices, "indices")?;
    // The same indices at all places beside the axis pick slices.
    let inner: usize = shape[axis + 1..].iter().product();
    let first = |i: usize| picked[i / inner % shape[axis] * inner];
    if (0..picked.len()).all(|i| picked[i] == first(i)) && !picked.is_empty() {
        let list = (0..shape[axis]).map(|i| normal(call, picked[i * inner], from[axis]));
        let list = list.collect::<Translated<Vec<i64>>>()?;
        let mut x = x;
        for i in (0..shape.len()).filter(|i| *i != axis) {
            x = call.slice(x, i, 0, shape[i], 1)?;
        }
        let list = call.integer_constant(&[list.len()], list)?;
        return Ok(vec![call.emit(OpKind::Gather { axis }, &[x, list])?]);
    }
    let mut strides = vec![1; from.len()];
    for i in (1..from.len()).rev() {
        strides[i - 1] = strides[i] * from[i];
    }
    let mut places = Vec::with_capacity(picked.len());
    for (i, index) in picked.iter().enumerate() {
        let (mut rest, mut place) = (i, 0);
        for dim in (0..shape.len()).rev() {
            let at = if dim == axis {
                normal(call, *index, from[axis])? as usize
            } else {
                rest % shape[dim]
            };
            place += at * strides[dim];
            rest /= shape[dim];
        }
        places.push(place as i64);
    }
    let flat = call.reshape(x, &[from.iter().product()])?;
    let places = call.integer_constant(&shape, places)?;
    Ok(vec![call.emit(OpKind::Gather { axis: 0 }, &[flat, places])?])
}

/// A tensor with slices at constant places replaced: a concatenation of what is kept and what is
/// new.
pub(super) fn scatter_nd(call: &mut Call<'_>) -> Translated {
    let [x, indices, updates] = [call.operand(0)?, call.operand(1)?, call.operand(2)?];
    if let Some(reduction) = call.node.string("reduction")?.filter(|reduction| *reduction != "none")
    {
        return Err(call.attribute("reduction", "none", format!("{reduction:?}")));
    }
    let shape = call.shape(x).to_vec();
    let Places { outer, mut rest, mut places } = Places::of(call, x, indices)?;
    let expected = [&outer[..], &rest].concat();
    if call.shape(updates) != expected {
        return Err(call.mismatch(format!("updates of shape {expected:?}"), call.describe(updates)));
    }
    // Exporters list every element of a slice. Whole runs of the innermost listed dimension are
    // slices of it.
    let mut leading = shape[..shape.len() - rest.len()].to_vec();
    while let Some(extent) = leading.last().copied().filter(|extent| *extent > 0) {
        let run = |list: &[i64]| {
            list[0] % extent as i64 == 0 && list.iter().zip(list[0]..).all(|(a, b)| *a == b)
        };
        if places.is_empty()
            || !places.len().is_multiple_of(extent)
            || !places.chunks(extent).all(run)
        {
            break;
        }
        places = places.chunks(extent).map(|list| list[0] / extent as i64).collect();
        rest.insert(0, extent);
        leading.pop();
    }
    let rows: usize = leading.iter().product();
    let old = call.reshape(x, &[&[rows][..], &rest].concat())?;
    let new = call.reshape(updates, &[&[places.len()][..], &rest].concat())?;
    call.charge(rows + places.len())?;
    // Where each row of the result comes from; the last update counts.
    let mut sources: Vec<(Value, usize)> = (0..rows).map(|row| (old, row)).collect();
    for (i, place) in places.iter().enumerate() {
        sources[*place as usize] = (new, i);
    }
    let mut parts = Vec::new();
    let mut start = 0;
    while start < rows {
        let (source, first) = sources[start];
        let follows = |(i, next): &(usize, &(Value, usize))| **next == (source, first + i);
        let len = sources[start..].iter().enumerate().take_while(follows).count();
        parts.push(call.slice(source, 0, first, len, 1)?);
        start += len;
    }
    let result = match parts[..] {
        [] => old,
        [part] => part,
        _ => call.emit(OpKind::Concat { axis: 0 }, &parts)?,
    };
    Ok(vec![call.reshape(result, &shape)?])
}
