//! Operators that keep all elements: reshapes, transposes, copies.

use super::{Call, Translated, shown};
use crate::import::MAX_RANK;
use crate::ir::{Elem, OpKind, Value};

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
    let mut x = call.operand(0)?;
    let rank = call.ty(x).rank();
    // Widths are an attribute below opset 11.
    let widths = match call.list("pads", 1, 11)? {
        Some(widths) => widths,
        None => call.node.ints("paddings")?.unwrap_or_default().to_vec(),
    };
    let axes = match call.optional(3) {
        Some(axes) => call.integers(axes, "axes")?,
        None => (0..rank as i64).collect(),
    };
    if widths.len() != 2 * axes.len() {
        let expected = format!("two widths for each of {} axes", axes.len());
        return Err(call.mismatch(expected, shown(&widths)));
    }
    let mode = call.node.string("mode")?.unwrap_or("constant").to_owned();
    let fill = match call.optional(2) {
        Some(fill) => Some(fill),
        None => call.node.float("value")?.map(|x| call.float_constant(&[], vec![x])).transpose()?,
    };
    for (i, axis) in axes.iter().enumerate() {
        let axis = call.axis(*axis, rank)?;
        let widths = [widths[i], widths[i + axes.len()]];
        x = pad_axis(call, x, axis, widths, &mode, fill)?;
    }
    Ok(vec![x])
}

/// Pads a tensor along an axis; negative widths cut.
fn pad_axis(
    call: &mut Call<'_>,
    x: Value,
    axis: usize,
    widths: [i64; 2],
    mode: &str,
    fill: Option<Value>,
) -> Translated<Value> {
    let extent = call.shape(x)[axis];
    let cut = widths.map(|width| width.min(0).unsigned_abs() as usize);
    let kept = extent.checked_sub(cut[0]).and_then(|rest| rest.checked_sub(cut[1]));
    let kept = kept.ok_or_else(|| call.mismatch("widths that leave elements", shown(&widths)))?;
    let x = call.slice(x, axis, cut[0], kept, 1)?;
    let [before, after] = widths.map(|width| width.max(0) as usize);
    if before == 0 && after == 0 {
        return Ok(x);
    }
    if mode == "constant" {
        let fill = match fill {
            Some(fill) => call.reshape(fill, &[])?,
            None if call.ty(x).elem == Elem::F32 => call.float_constant(&[], vec![0.0])?,
            None => call.integer_constant(&[], vec![0])?,
        };
        let mut shape = call.shape(x).to_vec();
        if let (false, Some(number)) = (call.is_constant(x), call.number(fill)) {
            // Zeros around the difference to another number.
            let x = call.plus(x, -number)?;
            let x = call.emit(OpKind::Pad { axis, before, after }, &[x])?;
            return call.plus(x, number);
        }
        let mut parts = vec![x];
        for (at_start, width) in [(true, before), (false, after)] {
            if width > 0 {
                shape[axis] = width;
                let part = call.expand(fill, &shape)?;
                parts.insert(if at_start { 0 } else { parts.len() }, part);
            }
        }
        return call.emit(OpKind::Concat { axis }, &parts);
    }
    // The list of places is as long as the result.
    let total = before.checked_add(after).and_then(|sum| sum.checked_add(kept));
    call.reserve(&[total.unwrap_or(usize::MAX)])?;
    let extent = kept as i64;
    let place = |i: i64| match mode {
        "edge" if extent > 0 => Some(i.clamp(0, extent - 1)),
        "wrap" => i.checked_rem_euclid(extent),
        "reflect" if extent > 1 => {
            let i = i.rem_euclid(2 * (extent - 1));
            Some(i.min(2 * (extent - 1) - i))
        }
        _ => None,
    };
    let places = (-(before as i64)..extent + after as i64).map(place).collect::<Option<Vec<i64>>>();
    let places = places.ok_or_else(|| {
        call.attribute("mode", "constant, edge, reflect or wrap", format!("{mode:?}"))
    })?;
    let places = call.integer_constant(&[places.len()], places)?;
    call.emit(OpKind::Gather { axis }, &[x, places])
}

/// Blocks of pixels become channels, or channels blocks of pixels.
fn blocks(call: &mut Call<'_>, x: Value) -> Translated<([usize; 4], usize)> {
    /// More than the side of any image.
    const LARGEST: usize = 1 << 16;
    let size = usize::try_from(call.int("blocksize", 0)?).unwrap_or(0);
    match *call.shape(x) {
        [n, c, h, w] if (1..=LARGEST).contains(&size) => Ok(([n, c, h, w], size)),
        _ => Err(call.mismatch("an image and a block size", call.describe(x))),
    }
}

pub(super) fn depth_to_space(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let ([n, c, h, w], size) = blocks(call, x)?;
    let channels = c / (size * size).max(1);
    let (shape, perm) = match call.node.string("mode")?.unwrap_or("DCR") {
        "DCR" => ([n, size, size, channels, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, channels, size, size, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return Err(call.attribute("mode", "DCR or CRD", format!("{other:?}"))),
    };
    let x = call.reshape(x, &shape)?;
    let x = call.emit(OpKind::Transpose { perm }, &[x])?;
    Ok(vec![call.reshape(x, &[n, channels, h * size, w * size])?])
}

pub(super) fn space_to_depth(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let ([n, c, h, w], size) = blocks(call, x)?;
    let x = call.reshape(x, &[n, c, h / size, size, w / size, size])?;
    let x = call.emit(OpKind::Transpose { perm: vec![0, 3, 5, 1, 2, 4] }, &[x])?;
    Ok(vec![call.reshape(x, &[n, c * size * size, h / size, w / size])?])
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
