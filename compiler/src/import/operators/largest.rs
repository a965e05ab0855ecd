//! The largest elements along an axis, and where they are.

use super::{Call, Translated};
use crate::ir::{Elem, OpKind, Value};

fn indices(
    call: &mut Call<'_>,
    x: Value,
    [axis, count]: [usize; 2],
    largest: bool,
) -> Translated<Value> {
    if call.is_constant(x) || call.ty(x).elem != Elem::F32 {
        return Err(call.mismatch("a computed float tensor", call.describe(x)));
    }
    call.emit(OpKind::TopIndices { axis, count, largest }, &[x])
}

/// The values of the largest or smallest elements, and their indices.
pub(super) fn top_k(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let axis = call.axis(call.int("axis", -1)?, call.ty(x).rank())?;
    // The number is an attribute below opset 10.
    let count = match call.optional(1) {
        Some(count) => call.integer(count, "a number of elements")?,
        None => call.int("k", 0)?,
    };
    let extent = call.shape(x)[axis];
    let count = usize::try_from(count).ok().filter(|count| (1..=extent).contains(count));
    let count = count.ok_or_else(|| {
        call.mismatch(format!("a number of elements from 1 to {extent}"), "another")
    })?;
    let largest = call.int("largest", 1)? != 0;
    let indices = indices(call, x, [axis, count], largest)?;
    let values = call.emit(OpKind::GatherElements { axis }, &[x, indices])?;
    Ok(vec![values, indices])
}

/// The index of the largest or smallest element.
fn index(call: &mut Call<'_>, largest: bool) -> Translated {
    let x = call.operand(0)?;
    let axis = call.axis(call.int("axis", 0)?, call.ty(x).rank())?;
    if call.int("select_last_index", 0)? != 0 {
        return Err(call.attribute("select_last_index", "0", "another value"));
    }
    let index = indices(call, x, [axis, 1], largest)?;
    if call.int("keepdims", 1)? != 0 {
        return Ok(vec![index]);
    }
    let mut shape = call.shape(index).to_vec();
    shape.remove(axis);
    Ok(vec![call.reshape(index, &shape)?])
}

pub(super) fn arg_max(call: &mut Call<'_>) -> Translated {
    index(call, true)
}

pub(super) fn arg_min(call: &mut Call<'_>) -> Translated {
    index(call, false)
}
