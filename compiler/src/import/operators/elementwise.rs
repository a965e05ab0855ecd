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
    neg = Neg,
    reciprocal = Reciprocal,
    relu = Relu,
    sigmoid = Sigmoid,
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
    reduce(call, BinaryFn::Max)
}

pub(super) fn min(call: &mut Call<'_>) -> Translated {
    reduce(call, BinaryFn::Min)
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

pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Translated {
    let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    if (alpha - 1.0 / 6.0).abs() > 1e-6 || beta != 0.5 {
        return Err(
            call.mismatch("alpha 1/6 and beta 1/2", format!("alpha {alpha} and beta {beta}"))
        );
    }
    let x = call.operand(0)?;
    Ok(vec![call.unary(UnaryFn::HardSigmoid, x)?])
}

pub(super) fn abs(call: &mut Call<'_>) -> Translated {
    constant(call, i64::wrapping_abs, f32::abs)
}

pub(super) fn ceil(call: &mut Call<'_>) -> Translated {
    constant(call, |x| x, f32::ceil)
}

pub(super) fn floor(call: &mut Call<'_>) -> Translated {
    constant(call, |x| x, f32::floor)
}

/// An elementwise function of a constant.
fn constant(call: &mut Call<'_>, integer: fn(i64) -> i64, float: fn(f32) -> f32) -> Translated {
    let x: Value = call.operand(0)?;
    let shape = call.shape(x).to_vec();
    let result = if call.ty(x).elem == Elem::I64 {
        let elements = call.integers(x, "an operand")?;
        call.integer_constant(&shape, elements.into_iter().map(integer))
    } else {
        let elements = call.floats(x, "an operand")?;
        call.float_constant(&shape, elements.into_iter().map(float))
    };
    Ok(vec![result?])
}
