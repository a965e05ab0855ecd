//! Elementwise functions of one and two operands.

use super::{Call, Translated};
use crate::ir::{BinaryFn, Elem, UnaryFn, Value};

/// Translations to a unary function.
macro_rules! unary {
    ($($name:ident = $f:ident),+ $(,)?) => {
        $(pub(super) fn $name(call: &mut Call<'_>) -> Translated {
            let x = call.operand(0)?;
            Ok(vec![call.unary(UnaryFn::$f, x)?])
        })+
    };
}

unary! {
    erf = Erf,
    exp = Exp,
    hard_swish = HardSwish,
    mish = Mish,
    neg = Neg,
    reciprocal = Reciprocal,
    relu = Relu,
    sigmoid = Sigmoid,
    softplus = Softplus,
    sqrt = Sqrt,
    tanh = Tanh,
}

/// Translations to a binary function.
macro_rules! binary {
    ($($name:ident = $f:ident),+ $(,)?) => {
        $(pub(super) fn $name(call: &mut Call<'_>) -> Translated {
            let (a, b) = (call.operand(0)?, call.operand(1)?);
            Ok(vec![call.binary(BinaryFn::$f, a, b)?])
        })+
    };
}

binary! {
    add = Add,
    div = Div,
    mul = Mul,
    sub = Sub,
}

pub(super) fn pow(call: &mut Call<'_>) -> Translated {
    let (x, mut exponent) = (call.operand(0)?, call.operand(1)?);
    // In ONNX the result has the type of the base.
    if call.ty(x).elem == Elem::F32 && call.ty(exponent).elem == Elem::I64 {
        let elements = call.integers(exponent, "exponents")?;
        let shape = call.shape(exponent).to_vec();
        exponent = call.float_constant(&shape, elements.into_iter().map(|x| x as f32))?;
    }
    Ok(vec![call.binary(BinaryFn::Pow, x, exponent)?])
}

pub(super) fn max(call: &mut Call<'_>) -> Translated {
    if let Some((x, bound)) = bounded(call) {
        return Ok(vec![clipped(call, x, [bound, f32::INFINITY])?]);
    }
    reduce(call, BinaryFn::Max)
}

pub(super) fn min(call: &mut Call<'_>) -> Translated {
    if let Some((x, bound)) = bounded(call) {
        return Ok(vec![clipped(call, x, [f32::NEG_INFINITY, bound])?]);
    }
    reduce(call, BinaryFn::Min)
}

/// The operands of a node with a computed float tensor and a number.
fn bounded(call: &Call<'_>) -> Option<(Value, f32)> {
    let (a, b) = (call.optional(0)?, call.optional(1)?);
    let of = |x: Value, bound: Value| {
        let computed = !call.is_constant(x) && call.ty(x).elem == Elem::F32;
        Some((x, call.number(bound).filter(|_| computed && call.optional(2).is_none())?))
    };
    of(a, b).or_else(|| of(b, a))
}

/// The mean of any number of operands.
pub(super) fn mean(call: &mut Call<'_>) -> Translated {
    let count = call.operands()?.len();
    let sum = reduce(call, BinaryFn::Add)?[0];
    Ok(vec![call.scaled(sum, 1.0 / count as f32)?])
}

pub(super) fn sum(call: &mut Call<'_>) -> Translated {
    reduce(call, BinaryFn::Add)
}

/// Folds a binary function over any number of operands, from left to right.
fn reduce(call: &mut Call<'_>, f: BinaryFn) -> Translated {
    let operands = call.operands()?;
    let result =
        operands[1..].iter().try_fold(operands[0], |so_far, x| call.binary(f, so_far, *x))?;
    Ok(vec![result])
}

pub(super) fn gelu(call: &mut Call<'_>) -> Translated {
    let f = match call.node.string("approximate")? {
        None | Some("none") => UnaryFn::Gelu,
        Some("tanh") => UnaryFn::GeluTanh,
        Some(other) => {
            return Err(call.attribute("approximate", "none or tanh", format!("{other:?}")));
        }
    };
    let x = call.operand(0)?;
    Ok(vec![call.unary(f, x)?])
}

/// `max(0, min(1, alpha x + beta))`, by the function with alpha 1/6 and beta 1/2.
pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Translated {
    let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    let x = call.operand(0)?;
    // Exporters write 1/6 with few digits.
    let factor = if (alpha - 1.0 / 6.0).abs() < 1e-6 { 1.0 } else { 6.0 * alpha };
    let x = call.scaled(x, factor)?;
    let x = call.plus(x, 6.0 * (beta - 0.5))?;
    Ok(vec![call.unary(UnaryFn::HardSigmoid, x)?])
}

/// `x sigmoid(alpha x)`.
pub(super) fn swish_of(call: &mut Call<'_>, x: Value, alpha: f32) -> Translated<Value> {
    if !(alpha.is_finite() && alpha != 0.0) {
        return Err(call.attribute("alpha", "a number other than 0", alpha.to_string()));
    }
    let x = call.scaled(x, alpha)?;
    let y = call.unary(UnaryFn::Silu, x)?;
    call.scaled(y, alpha.recip())
}

pub(super) fn swish(call: &mut Call<'_>) -> Translated {
    let (x, alpha) = (call.operand(0)?, call.float("alpha", 1.0)?);
    Ok(vec![swish_of(call, x, alpha)?])
}

pub(super) fn clip(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    // The bounds are attributes below opset 11.
    let mut bounds = [f32::NEG_INFINITY, f32::INFINITY];
    for ((bound, name), operand) in bounds.iter_mut().zip(["min", "max"]).zip([1, 2]) {
        let given = match call.optional(operand) {
            Some(bound) if call.ty(x).elem == Elem::F32 => match call.floats(bound, name)?[..] {
                [number] => Some(number),
                _ => return Err(call.mismatch("one number", call.describe(bound))),
            },
            Some(bound) => Some(call.integer(bound, name)? as f32),
            None => call.node.float(name)?,
        };
        *bound = given.unwrap_or(*bound);
    }
    Ok(vec![clipped(call, x, bounds)?])
}

/// `min(max(x, low), high)`; a bound may be infinite.
fn clipped(call: &mut Call<'_>, x: Value, [low, high]: [f32; 2]) -> Translated<Value> {
    let shape = call.shape(x).to_vec();
    if call.is_constant(x) && call.ty(x).elem == Elem::I64 {
        let elements = call.integers(x, "an operand")?;
        let (low, high) = (low as i64, high as i64);
        return call.integer_constant(&shape, elements.into_iter().map(|x| x.min(high).max(low)));
    }
    if call.is_constant(x) {
        let elements = call.floats(x, "an operand")?;
        return call.float_constant(&shape, elements.into_iter().map(|x| x.max(low).min(high)));
    }
    // In terms of functions that are tables of their own: max(x, 0), and from 0 to 1.
    match (low.is_finite(), high.is_finite()) {
        (false, false) => Ok(x),
        (true, false) => {
            let x = call.plus(x, -low)?;
            let x = call.unary(UnaryFn::Relu, x)?;
            call.plus(x, low)
        }
        (false, true) => {
            let x = call.scaled(x, -1.0)?;
            let x = call.plus(x, high)?;
            let x = call.unary(UnaryFn::Relu, x)?;
            let x = call.scaled(x, -1.0)?;
            call.plus(x, high)
        }
        (true, true) if low < high => {
            let width = high - low;
            let x = call.scaled(x, 6.0 / width)?;
            let x = call.plus(x, -6.0 * low / width - 3.0)?;
            let x = call.unary(UnaryFn::HardSigmoid, x)?;
            let x = call.scaled(x, width)?;
            call.plus(x, low)
        }
        _ => Err(call.mismatch("a lower bound below the upper one", format!("{low} and {high}"))),
    }
}

pub(super) fn abs(call: &mut Call<'_>) -> Translated {
    of_any(call, i64::wrapping_abs, UnaryFn::Abs)
}

pub(super) fn ceil(call: &mut Call<'_>) -> Translated {
    of_any(call, |x| x, UnaryFn::Ceil)
}

pub(super) fn floor(call: &mut Call<'_>) -> Translated {
    of_any(call, |x| x, UnaryFn::Floor)
}

pub(super) fn round(call: &mut Call<'_>) -> Translated {
    of_any(call, |x| x, UnaryFn::Round)
}

pub(super) fn sign(call: &mut Call<'_>) -> Translated {
    of_any(call, i64::signum, UnaryFn::Sign)
}

pub(super) fn sin(call: &mut Call<'_>) -> Translated {
    of_any(call, |x| x, UnaryFn::Sin)
}

pub(super) fn cos(call: &mut Call<'_>) -> Translated {
    of_any(call, |x| x, UnaryFn::Cos)
}

pub(super) fn log(call: &mut Call<'_>) -> Translated {
    of_any(call, |x| x, UnaryFn::Log)
}

/// An elementwise function of floats, or of integers known at compile time.
fn of_any(call: &mut Call<'_>, integer: fn(i64) -> i64, float: UnaryFn) -> Translated {
    let x: Value = call.operand(0)?;
    if call.ty(x).elem == Elem::F32 {
        return Ok(vec![call.unary(float, x)?]);
    }
    let shape = call.shape(x).to_vec();
    let elements = call.integers(x, "an operand")?;
    Ok(vec![call.integer_constant(&shape, elements.into_iter().map(integer))?])
}

/// `max(x, 0) - slope max(-x, 0)`, for a slope that is a number or one per channel.
fn with_slope(call: &mut Call<'_>, x: Value, slope: Value) -> Translated<Value> {
    // As a factor of x and one of max(x, 0), which needs one table.
    let own = call.binary(BinaryFn::Mul, x, slope)?;
    let one = call.float_constant(&[], vec![1.0])?;
    let rest = call.binary(BinaryFn::Sub, one, slope)?;
    let positive = call.unary(UnaryFn::Relu, x)?;
    let positive = call.binary(BinaryFn::Mul, positive, rest)?;
    call.binary(BinaryFn::Add, own, positive)
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Translated {
    let (x, alpha) = (call.operand(0)?, call.float("alpha", 0.01)?);
    let alpha = call.float_constant(&[], vec![alpha])?;
    Ok(vec![with_slope(call, x, alpha)?])
}

pub(super) fn p_relu(call: &mut Call<'_>) -> Translated {
    let (x, slope) = (call.operand(0)?, call.operand(1)?);
    Ok(vec![with_slope(call, x, slope)?])
}

/// `max(x, 0) + alpha (exp(min(x, 0)) - 1)`.
fn elu_of(call: &mut Call<'_>, x: Value, alpha: f32) -> Translated<Value> {
    let positive = call.unary(UnaryFn::Relu, x)?;
    let below = clipped(call, x, [f32::NEG_INFINITY, 0.0])?;
    let power = call.unary(UnaryFn::Exp, below)?;
    let power = call.plus(power, -1.0)?;
    let power = call.scaled(power, alpha)?;
    call.binary(BinaryFn::Add, positive, power)
}

pub(super) fn elu(call: &mut Call<'_>) -> Translated {
    let (x, alpha) = (call.operand(0)?, call.float("alpha", 1.0)?);
    Ok(vec![elu_of(call, x, alpha)?])
}

pub(super) fn selu(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let (alpha, gamma) = (call.float("alpha", 1.673_263_2)?, call.float("gamma", 1.050_701)?);
    let y = elu_of(call, x, alpha)?;
    Ok(vec![call.scaled(y, gamma)?])
}

/// `x / (1 + |x|)`.
pub(super) fn softsign(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let magnitude = call.unary(UnaryFn::Abs, x)?;
    let divisor = call.plus(magnitude, 1.0)?;
    Ok(vec![call.binary(BinaryFn::Div, x, divisor)?])
}
