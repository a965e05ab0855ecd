//! Operators that keep all elements: reshapes, transposes, copies.

use super::{Call, Translated, shown};
use crate::import::MAX_RANK;
use crate::ir::{OpKind, Value};

pub(super) fn identity(call: &mut Call<'_>) -> Translated {
    Ok(vec![call.operand(0)?])
}

pub(super) fn dropout(call: &mut Call<'_>) -> Translated {
    if let Some(training) = call.optional(2)
        && call.integer(training, "training_mode")? != 0
    {
        return Err(call.mismatch("training_mode false", "true"));
    }
    identity(call)
}

pub(super) fn pad(call: &mut Call<'_>) -> Translated {
    let pads = call.integers(call.operand(1)?, "pads")?;
    if pads.iter().any(|width| *width != 0) {
        return Err(call.mismatch("widths of 0", shown(&pads)));
    }
    identity(call)
}

pub(super) fn reshape(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let requested = call.integers(call.operand(1)?, "a shape")?;
    let allow_zero = call.int("allowzero", 0)? != 0;
    let from = call.shape(x).to_vec();
    let unsupported = |call: &Call<'_>| {
        call.mismatch(format!("a shape for the elements of {from:?}"), shown(&requested))
    };
    let mut shape = Vec::with_capacity(requested.len());
    let mut inferred = None;
    for (axis, extent) in requested.iter().enumerate() {
        shape.push(match extent {
            0 if !allow_zero => *from.get(axis).ok_or_else(|| unsupported(call))?,
            -1 if inferred.replace(axis).is_none() => 1,
            extent => usize::try_from(*extent).map_err(|_| unsupported(call))?,
        });
    }
    if let Some(axis) = inferred {
        let others = crate::ir::infer::count(&shape)
            .filter(|others| *others > 0)
            .ok_or_else(|| unsupported(call))?;
        shape[axis] = call.ty(x).elements() / others;
    }
    Ok(vec![call.reshape(x, &shape)?])
}

pub(super) fn flatten(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let shape = call.shape(x);
    // The axis may be one after the last.
    let axis = call.int("axis", 1)?;
    let axis = if axis == shape.len() as i64 { shape.len() } else { call.axis(axis, shape.len())? };
    let shape = [shape[..axis].iter().product(), shape[axis..].iter().product()];
    Ok(vec![call.reshape(x, &shape)?])
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let from = call.shape(x).to_vec();
    let axes = match call.list("axes", 1, 13)? {
        Some(axes) => call.axes(&axes, from.len())?,
        None => (0..from.len()).filter(|axis| from[*axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|axis| from[**axis] != 1) {
        return Err(call.mismatch(format!("an extent of 1 along axis {axis}"), format!("{from:?}")));
    }
    let shape: Vec<usize> =
        (0..from.len()).filter(|axis| !axes.contains(axis)).map(|axis| from[axis]).collect();
    Ok(vec![call.reshape(x, &shape)?])
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let axes = call.list("axes", 1, 13)?.ok_or_else(|| call.mismatch("axes", "none"))?;
    let mut shape = call.shape(x).to_vec();
    if shape.len() + axes.len() > MAX_RANK {
        return Err(call.mismatch(
            format!("at most {MAX_RANK} dimensions"),
            (shape.len() + axes.len()).to_string(),
        ));
    }
    for axis in call.axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, 1);
    }
    Ok(vec![call.reshape(x, &shape)?])
}

pub(super) fn transpose(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let rank = call.ty(x).rank();
    let perm: Vec<usize> = match call.node.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|axis| call.axis(*axis, rank)).collect::<Translated<_>>()?,
    };
    Ok(vec![call.emit(OpKind::Transpose { perm }, &[x])?])
}

pub(super) fn expand(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let requested = extents(call, 1, "a shape")?;
    let from = call.shape(x);
    // Both broadcast: a requested extent of 1, or a missing one, keeps the operand's.
    let rank = from.len().max(requested.len());
    let extent =
        |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let shape: Vec<usize> = (0..rank)
        .map(|i| match (extent(from, i), extent(&requested, i)) {
            (kept, 1) => kept,
            (_, other) => other,
        })
        .collect();
    Ok(vec![call.expand(x, &shape)?])
}

pub(super) fn tile(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let repeats = extents(call, 1, "repeats")?;
    let from = call.shape(x).to_vec();
    if repeats.len() != from.len() {
        return Err(
            call.mismatch(format!("repeats for {} dimensions", from.len()), shown(&repeats))
        );
    }
    let overflow = |call: &Call<'_>| {
        call.mismatch("a smaller result", format!("{from:?} repeated {repeats:?} times"))
    };
    let mut shape = Vec::with_capacity(from.len());
    for (extent, repeat) in from.iter().zip(&repeats) {
        shape.push(extent.checked_mul(*repeat).ok_or_else(|| overflow(call))?);
    }
    if shape == from {
        return Ok(vec![x]);
    }
    // Each repeated axis gets a new axis before it, which is broadcast. Other axes get none, which
    // keeps the rank low.
    let (mut single, mut repeated) = (Vec::new(), Vec::new());
    for (extent, repeat) in from.iter().zip(&repeats) {
        if *repeat != 1 {
            single.push(1);
            repeated.push(*repeat);
        }
        single.push(*extent);
        repeated.push(*extent);
    }
    let x = call.reshape(x, &single)?;
    let x = call.expand(x, &repeated)?;
    Ok(vec![call.reshape(x, &shape)?])
}

/// A constant operand that holds extents.
fn extents(call: &mut Call<'_>, index: usize, what: &str) -> Translated<Vec<usize>> {
    let operand: Value = call.operand(index)?;
    let found = call.integers(operand, what)?;
    let extents: Option<Vec<usize>> =
        found.iter().map(|extent| usize::try_from(*extent).ok()).collect();
    extents.ok_or_else(|| call.mismatch(format!("{what} without negative numbers"), shown(&found)))
}
