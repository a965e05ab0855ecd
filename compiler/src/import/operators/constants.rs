//! Constants, shape arithmetic, and conversions between kinds of numbers.

use super::{Call, Translated, shown};
use crate::ir::{BinaryFn, Conversion, Elem, OpKind, Value};
use crate::onnx::Attribute;

pub(super) fn constant(call: &mut Call<'_>) -> Translated {
    let node = call.node;
    let value = match node.attributes.iter().next() {
        Some((name, Attribute::Tensor(tensor))) if name == "value" => {
            call.tensor_constant(tensor)?
        }
        Some((name, Attribute::Float(x))) if name == "value_float" => {
            call.float_constant(&[], vec![*x])?
        }
        Some((name, Attribute::Floats(x))) if name == "value_floats" => {
            call.float_constant(&[x.len()], x.clone())?
        }
        Some((name, Attribute::Int(x))) if name == "value_int" => {
            call.integer_constant(&[], vec![*x])?
        }
        Some((name, Attribute::Ints(x))) if name == "value_ints" => {
            call.integer_constant(&[x.len()], x.clone())?
        }
        Some((name, other)) => {
            return Err(call.mismatch(
                "dense numbers",
                format!("an attribute {name:?} of kind {}", other.kind()),
            ));
        }
        None => return Err(call.mismatch("an attribute value", "none")),
    };
    Ok(vec![value])
}

pub(super) fn constant_of_shape(call: &mut Call<'_>) -> Translated {
    let found = call.integers(call.operand(0)?, "a shape")?;
    let shape: Option<Vec<usize>> =
        found.iter().map(|extent| usize::try_from(*extent).ok()).collect();
    let shape =
        shape.ok_or_else(|| call.mismatch("a shape without negative numbers", shown(&found)))?;
    let element = match call.node.tensor("value")? {
        Some(tensor) => call.tensor_constant(tensor)?,
        None => call.float_constant(&[], vec![0.0])?,
    };
    let element = call.reshape(element, &[])?;
    Ok(vec![call.expand(element, &shape)?])
}

pub(super) fn shape(call: &mut Call<'_>) -> Translated {
    let shape = call.shape(call.operand(0)?);
    let bound = |bound: i64| {
        let from_start =
            if bound < 0 { bound.saturating_add_unsigned(shape.len() as u64) } else { bound };
        from_start.clamp(0, shape.len() as i64) as usize
    };
    let (start, end) = (bound(call.int("start", 0)?), bound(call.int("end", i64::MAX)?));
    let extents: Vec<i64> =
        shape[start..end.max(start)].iter().map(|extent| *extent as i64).collect();
    Ok(vec![call.integer_constant(&[extents.len()], extents)?])
}

pub(super) fn size(call: &mut Call<'_>) -> Translated {
    let elements = call.ty(call.operand(0)?).elements();
    Ok(vec![call.integer_constant(&[], vec![elements as i64])?])
}

/// ONNX's numbers of the float types.
const FLOATS: &[i64] = &[1, 10, 11, 16];
const BOOL: i64 = 9;

pub(super) fn cast(call: &mut Call<'_>) -> Translated {
    let to = call.node.int("to")?.ok_or_else(|| call.mismatch("an attribute to", "none"))?;
    let x = call.operand(0)?;
    let shape = call.shape(x).to_vec();
    let is_float = call.ty(x).elem == Elem::F32;
    if FLOATS.contains(&to) {
        return to_float(call, x);
    }
    if !call.is_constant(x) {
        return match (to, is_float) {
            (BOOL, _) => Ok(vec![call.emit(OpKind::Convert { to: Conversion::Truth }, &[x])?]),
            (2..=7 | 12 | 13, true) => {
                Ok(vec![call.emit(OpKind::Convert { to: Conversion::Integer }, &[x])?])
            }
            // Integers of all widths have the same type in the IR.
            (2..=7 | 12 | 13, false) => Ok(vec![x]),
            _ => Err(call.attribute("to", "a float or integer type or BOOL", to.to_string())),
        };
    }
    let wrap: fn(i64) -> i64 = match to {
        2 => |x| (x as u8).into(),
        3 => |x| (x as i8).into(),
        4 => |x| (x as u16).into(),
        5 => |x| (x as i16).into(),
        6 => |x| (x as i32).into(),
        7 | 13 => |x| x,
        12 => |x| (x as u32).into(),
        BOOL => |x| (x != 0).into(),
        other => {
            return Err(call.attribute("to", "a float or integer type or BOOL", other.to_string()));
        }
    };
    let elements: Vec<i64> = match is_float {
        true if to == BOOL => {
            call.floats(x, "an operand")?.into_iter().map(|x| (x != 0.0).into()).collect()
        }
        true => call.floats(x, "an operand")?.into_iter().map(|x| wrap(x as i64)).collect(),
        false => call.integers(x, "an operand")?.into_iter().map(wrap).collect(),
    };
    Ok(vec![call.integer_constant(&shape, elements)?])
}

pub(super) fn cast_like(call: &mut Call<'_>) -> Translated {
    let (x, like) = (call.operand(0)?, call.operand(1)?);
    match (call.ty(x).elem, call.ty(like).elem) {
        (_, Elem::F32) => to_float(call, x),
        (Elem::I64, _) => Ok(vec![x]),
        _ => Err(call.mismatch("a cast to a float type", call.describe(like))),
    }
}

fn to_float(call: &mut Call<'_>, x: Value) -> Translated {
    if call.ty(x).elem == Elem::F32 {
        return Ok(vec![x]);
    }
    if !call.is_constant(x) {
        return Ok(vec![call.emit(OpKind::Convert { to: Conversion::Float }, &[x])?]);
    }
    let elements = call.integers(x, "an operand")?;
    let shape = call.shape(x).to_vec();
    Ok(vec![call.float_constant(&shape, elements.into_iter().map(|x| x as f32))?])
}

pub(super) fn is_nan(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    if !call.is_constant(x) {
        return Ok(vec![call.emit(OpKind::Convert { to: Conversion::IsNan }, &[x])?]);
    }
    let shape = call.shape(x).to_vec();
    let elements = call.floats(x, "an operand")?;
    Ok(vec![call.integer_constant(&shape, elements.into_iter().map(|x| x.is_nan().into()))?])
}

pub(super) fn range(call: &mut Call<'_>) -> Translated {
    let [start, limit, delta] = [call.operand(0)?, call.operand(1)?, call.operand(2)?];
    if call.ty(start).elem == Elem::F32 {
        let mut bounds = [0.0; 3];
        for (bound, (operand, what)) in
            bounds.iter_mut().zip([(start, "a start"), (limit, "a limit"), (delta, "a step")])
        {
            let [element] = call.floats(operand, what)?[..] else {
                return Err(
                    call.mismatch(format!("{what} as a single number"), call.describe(operand))
                );
            };
            *bound = f64::from(element);
        }
        let [start, limit, delta] = bounds;
        let count = ((limit - start) / delta).ceil();
        if !count.is_finite() || count > (1u64 << 40) as f64 {
            return Err(call.mismatch("bounds and a step of a finite range", format!("{bounds:?}")));
        }
        // Negative numbers saturate to 0.
        let count = count as usize;
        let elements = (0..count).map(|i| (start + i as f64 * delta) as f32);
        return Ok(vec![call.float_constant(&[count], elements)?]);
    }
    let (start, limit, delta) = (
        call.integer(start, "a start")?,
        call.integer(limit, "a limit")?,
        call.integer(delta, "a step")?,
    );
    let (from, to, by) = (i128::from(start), i128::from(limit), i128::from(delta));
    let count = match by {
        0 => return Err(call.mismatch("a step other than 0", "0")),
        by if by > 0 => (to - from + by - 1) / by,
        by => (from - to - by - 1) / -by,
    };
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    let elements = (0..count).map(|i| start.wrapping_add((i as i64).wrapping_mul(delta)));
    Ok(vec![call.integer_constant(&[count], elements)?])
}

/// An elementwise function of two constants, broadcast.
fn pairs(
    call: &mut Call<'_>,
    integer: fn(i64, i64) -> Option<i64>,
    float: Option<fn(f32, f32) -> bool>,
) -> Translated {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    for x in [a, b] {
        if !call.is_constant(x) {
            return Err(call.mismatch("operands known at compile time", call.describe(x)));
        }
    }
    let shape = broadcast(call, &[a, b])?;
    let (a, b) = (call.expand(a, &shape)?, call.expand(b, &shape)?);
    let results: Vec<i64> = match float {
        Some(float) if call.ty(a).elem == Elem::F32 => {
            let (a, b) = (call.floats(a, "an operand")?, call.floats(b, "an operand")?);
            a.into_iter().zip(b).map(|(a, b)| float(a, b).into()).collect()
        }
        _ => {
            let (a, b) = (call.integers(a, "an operand")?, call.integers(b, "an operand")?);
            let results: Option<Vec<i64>> =
                a.into_iter().zip(b).map(|(a, b)| integer(a, b)).collect();
            results.ok_or_else(|| call.mismatch("divisors other than 0", "0"))?
        }
    };
    Ok(vec![call.integer_constant(&shape, results)?])
}

/// The shape to which constants broadcast.
fn broadcast(call: &Call<'_>, operands: &[Value]) -> Translated<Vec<usize>> {
    let rank = operands.iter().map(|x| call.ty(*x).rank()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for operand in operands {
        let shape = call.shape(*operand);
        for (extent, other) in result[rank - shape.len()..].iter_mut().zip(shape) {
            match (*extent, *other) {
                (_, 1) => {}
                (1, other) => *extent = other,
                (extent, other) if extent == other => {}
                _ => {
                    return Err(call.mismatch(
                        "shapes that broadcast",
                        format!("{shape:?} beside {result:?}"),
                    ));
                }
            }
        }
    }
    Ok(result)
}

pub(super) fn equal(call: &mut Call<'_>) -> Translated {
    pairs(call, |a, b| Some((a == b).into()), Some(|a, b| a == b))
}

pub(super) fn greater(call: &mut Call<'_>) -> Translated {
    pairs(call, |a, b| Some((a > b).into()), Some(|a, b| a > b))
}

pub(super) fn greater_or_equal(call: &mut Call<'_>) -> Translated {
    pairs(call, |a, b| Some((a >= b).into()), Some(|a, b| a >= b))
}

pub(super) fn less(call: &mut Call<'_>) -> Translated {
    pairs(call, |a, b| Some((a < b).into()), Some(|a, b| a < b))
}

pub(super) fn less_or_equal(call: &mut Call<'_>) -> Translated {
    pairs(call, |a, b| Some((a <= b).into()), Some(|a, b| a <= b))
}

pub(super) fn and(call: &mut Call<'_>) -> Translated {
    logical(call, BinaryFn::Mul, |a, b| Some((a != 0 && b != 0).into()))
}

pub(super) fn or(call: &mut Call<'_>) -> Translated {
    logical(call, BinaryFn::Max, |a, b| Some((a != 0 || b != 0).into()))
}

/// A function of booleans: evaluated at compile time, or as a function of integers.
fn logical(call: &mut Call<'_>, f: BinaryFn, folded: fn(i64, i64) -> Option<i64>) -> Translated {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    match call.is_constant(a) && call.is_constant(b) {
        true => pairs(call, folded, None),
        false => Ok(vec![call.binary(f, a, b)?]),
    }
}

pub(super) fn modulo(call: &mut Call<'_>) -> Translated {
    if call.int("fmod", 0)? != 0 {
        return pairs(call, |a, b| (b != 0).then(|| a.wrapping_rem(b)), None);
    }
    // The result has the sign of the divisor, as in Python.
    pairs(
        call,
        |a, b| {
            (b != 0)
                .then(|| a.wrapping_rem(b))
                .map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        },
        None,
    )
}

pub(super) fn not(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let shape = call.shape(x).to_vec();
    if !call.is_constant(x) {
        let one = call.integer_constant(&[], vec![1])?;
        return Ok(vec![call.binary(BinaryFn::Sub, one, x)?]);
    }
    let elements = call.integers(x, "an operand")?;
    Ok(vec![call.integer_constant(&shape, elements.into_iter().map(|x| (x == 0).into()))?])
}

pub(super) fn where_(call: &mut Call<'_>) -> Translated {
    let [condition, x, y] = [call.operand(0)?, call.operand(1)?, call.operand(2)?];
    Ok(vec![choose(call, condition, x, y)?])
}

/// `x` where a condition is true, else `y`.
pub(super) fn choose(
    call: &mut Call<'_>,
    condition: Value,
    x: Value,
    y: Value,
) -> Translated<Value> {
    if !call.is_constant(condition) {
        return call.emit(OpKind::Select {}, &[condition, x, y]);
    }
    let shape = broadcast(call, &[condition, x, y])?;
    let conditions = call.integers(condition, "a condition")?;
    let all = |truth: bool| conditions.iter().all(|condition| (*condition != 0) == truth);
    if all(true) || all(false) {
        let chosen = if all(true) { x } else { y };
        return call.expand(chosen, &shape);
    }
    if !(call.is_constant(x) && call.is_constant(y)) {
        return call.emit(OpKind::Select {}, &[condition, x, y]);
    }
    let condition = call.expand(condition, &shape)?;
    let (x, y) = (call.expand(x, &shape)?, call.expand(y, &shape)?);
    let conditions = call.integers(condition, "a condition")?;
    if call.ty(x).elem == Elem::F32 {
        let (x, y) = (call.floats(x, "an operand")?, call.floats(y, "an operand")?);
        let chosen = conditions
            .iter()
            .zip(x.into_iter().zip(y))
            .map(|(c, (x, y))| if *c != 0 { x } else { y });
        call.float_constant(&shape, chosen)
    } else {
        let (x, y) = (call.integers(x, "an operand")?, call.integers(y, "an operand")?);
        let chosen = conditions
            .iter()
            .zip(x.into_iter().zip(y))
            .map(|(c, (x, y))| if *c != 0 { x } else { y });
        call.integer_constant(&shape, chosen)
    }
}

/// The upper or lower triangle of matrices: other elements are 0.
pub(super) fn trilu(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let shape = call.shape(x).to_vec();
    let &[.., rows, columns] = &shape[..] else {
        return Err(call.mismatch("matrices", call.describe(x)));
    };
    let diagonal = match call.optional(1) {
        Some(k) => call.integer(k, "a diagonal")?,
        None => 0,
    };
    let upper = call.int("upper", 1)? != 0;
    let keeps = |i: usize| {
        let (row, column) = (i / columns % rows, i % columns);
        let above = (column as i64).saturating_sub(row as i64);
        if upper { above >= diagonal } else { above <= diagonal }
    };
    let result = if call.ty(x).elem == Elem::I64 {
        let elements = call.integers(x, "an operand")?.into_iter().enumerate();
        call.integer_constant(&shape, elements.map(|(i, x)| if keeps(i) { x } else { 0 }))
    } else {
        let elements = call.floats(x, "an operand")?.into_iter().enumerate();
        call.float_constant(&shape, elements.map(|(i, x)| if keeps(i) { x } else { 0.0 }))
    };
    Ok(vec![result?])
}

/// A matrix of the operand's shape with ones on a diagonal.
pub(super) fn eye_like(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let &[rows, columns] = call.shape(x) else {
        return Err(call.mismatch("a matrix", call.describe(x)));
    };
    let diagonal = call.int("k", 0)?;
    let float = match call.node.int("dtype")? {
        Some(data_type) => FLOATS.contains(&data_type),
        None => call.ty(x).elem == Elem::F32,
    };
    call.reserve(&[rows, columns])?;
    let on = |i: usize| ((i % columns) as i64).checked_sub((i / columns) as i64) == Some(diagonal);
    let elements = 0..rows * columns;
    let result = if float {
        call.float_constant(&[rows, columns], elements.map(|i| f32::from(on(i))))
    } else {
        call.integer_constant(&[rows, columns], elements.map(|i| on(i).into()))
    };
    Ok(vec![result?])
}

pub(super) fn xor(call: &mut Call<'_>) -> Translated {
    pairs(call, |a, b| Some(((a != 0) != (b != 0)).into()), None)
}

/// Sums of all elements up to each one along an axis.
pub(super) fn cum_sum(call: &mut Call<'_>) -> Translated {
    let (x, axis) = (call.operand(0)?, call.operand(1)?);
    let shape = call.shape(x).to_vec();
    let axis = call.integer(axis, "an axis")?;
    let axis = call.axis(axis, shape.len())?;
    if call.int("exclusive", 0)? != 0 || call.int("reverse", 0)? != 0 {
        return Err(call.mismatch("inclusive sums from the start", "others"));
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let is_first = |i: usize| (i / inner).is_multiple_of(shape[axis]);
    let result = if call.ty(x).elem == Elem::I64 {
        let mut sums = call.integers(x, "an operand")?;
        for i in (0..sums.len()).filter(|i| !is_first(*i)) {
            sums[i] = sums[i].wrapping_add(sums[i - inner]);
        }
        call.integer_constant(&shape, sums)
    } else {
        let mut sums = call.floats(x, "an operand")?;
        for i in (0..sums.len()).filter(|i| !is_first(*i)) {
            sums[i] += sums[i - inner];
        }
        call.float_constant(&shape, sums)
    };
    Ok(vec![result?])
}

/// The places of elements other than 0, `[rank, count]`.
pub(super) fn non_zero(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let shape = call.shape(x).to_vec();
    let set: Vec<usize> = if call.ty(x).elem == Elem::I64 {
        let elements = call.integers(x, "an operand")?.into_iter().enumerate();
        elements.filter(|(_, x)| *x != 0).map(|(i, _)| i).collect()
    } else {
        let elements = call.floats(x, "an operand")?.into_iter().enumerate();
        elements.filter(|(_, x)| *x != 0.0).map(|(i, _)| i).collect()
    };
    let mut places = Vec::with_capacity(shape.len() * set.len());
    for axis in 0..shape.len() {
        let inner: usize = shape[axis + 1..].iter().product();
        places.extend(set.iter().map(|i| (i / inner % shape[axis]) as i64));
    }
    Ok(vec![call.integer_constant(&[shape.len(), set.len()], places)?])
}
