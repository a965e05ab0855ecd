//! Elementwise functions.

use ndarray::{IxDyn, Zip};
use rayon::prelude::*;

use super::{Shared, functions};
use crate::ir::{BinaryFn, Conversion, UnaryFn};

/// The function on f32.
fn function(f: UnaryFn) -> fn(f32) -> f32 {
    use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
    fn hard_sigmoid(x: f32) -> f32 {
        (x / 6.0 + 0.5).clamp(0.0, 1.0)
    }
    fn softplus(x: f32) -> f32 {
        x.max(0.0) + libm::log1pf(functions::exp(-x.abs()))
    }
    match f {
        UnaryFn::Erf => functions::erf,
        UnaryFn::Exp => functions::exp,
        UnaryFn::Neg => |x| -x,
        UnaryFn::Sqrt => f32::sqrt,
        UnaryFn::Reciprocal => f32::recip,
        UnaryFn::Tanh => libm::tanhf,
        UnaryFn::Sigmoid => |x| 1.0 / (1.0 + functions::exp(-x)),
        UnaryFn::Relu => |x| x.max(0.0),
        UnaryFn::HardSwish => |x| x * hard_sigmoid(x),
        UnaryFn::HardSigmoid => hard_sigmoid,
        UnaryFn::Gelu => gelu,
        UnaryFn::GeluTanh => |x| {
            let inner = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + libm::tanhf(inner))
        },
        UnaryFn::Silu => |x| x / (1.0 + functions::exp(-x)),
        UnaryFn::Softplus => softplus,
        UnaryFn::Mish => |x| x * libm::tanhf(softplus(x)),
        UnaryFn::Abs => f32::abs,
        UnaryFn::Log => libm::logf,
        UnaryFn::Sin => libm::sinf,
        UnaryFn::Cos => libm::cosf,
        UnaryFn::Floor => f32::floor,
        UnaryFn::Ceil => f32::ceil,
        UnaryFn::Round => f32::round_ties_even,
        UnaryFn::Sign => |x| if x == 0.0 { 0.0 } else { x.signum() },
    }
}

/// Elements that one thread computes at a time.
const PART: usize = 1 << 15;

/// A function of every element.
pub(super) fn unary(f: UnaryFn, mut x: Shared) -> Shared {
    let part: fn(&mut [f32]) = match f {
        // The frequent one, as a loop that is vectorised.
        UnaryFn::Gelu => |part| part.iter_mut().for_each(|x| *x = gelu(*x)),
        _ => {
            x.mapv_inplace(function(f));
            return x;
        }
    };
    if let Some(elements) = x.as_slice_mut() {
        elements.par_chunks_mut(PART).for_each(part);
    }
    x
}

#[inline]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + functions::erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// A function of every element, between the factors and offsets of each group of channels.
pub(super) fn table(f: UnaryFn, channels: &[usize], groups: &Shared, mut x: Shared) -> Shared {
    let function = function(f);
    let groups: Vec<[f32; 4]> =
        groups.rows().into_iter().map(|group| [0, 1, 2, 3].map(|i| group[i])).collect();
    let width = channels.iter().sum::<usize>().max(1);
    let row = |row: &mut [f32]| {
        let mut rest = row;
        for (channels, [factor, offset, result_factor, result_offset]) in
            channels.iter().zip(&groups)
        {
            let (part, after) = rest.split_at_mut(*channels);
            rest = after;
            let scaled = |y: f32| (y - result_offset) / result_factor;
            match f {
                UnaryFn::Gelu => {
                    part.iter_mut().for_each(|x| *x = scaled(gelu(*x * factor + offset)));
                }
                _ => part.iter_mut().for_each(|x| *x = scaled(function(*x * factor + offset))),
            }
        }
    };
    if let Some(elements) = x.as_slice_mut() {
        let rows = PART.div_ceil(width) * width;
        elements.par_chunks_mut(rows).for_each(|rows| rows.chunks_mut(width).for_each(row));
    }
    x
}

/// Quantises to integers from `min` to `max` and dequantises, in the float32 arithmetic of ONNX.
pub(super) fn fake_quantise(
    mut x: Shared,
    scale: f64,
    zero_point: i32,
    [min, max]: [i32; 2],
) -> Shared {
    let [scale, zero_point, min, max] =
        [scale, zero_point.into(), min.into(), max.into()].map(|x| x as f32);
    x.mapv_inplace(|x| {
        (((x / scale).round_ties_even() + zero_point).clamp(min, max) - zero_point) * scale
    });
    x
}

/// Converts every element to another kind of number.
pub(super) fn convert(to: Conversion, mut x: Shared) -> Shared {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match to {
        Conversion::Float => {}
        Conversion::Integer => x.mapv_inplace(f32::trunc),
        Conversion::Truth => x.mapv_inplace(|x| truth(x != 0.0)),
        Conversion::IsNan => x.mapv_inplace(|x| truth(x.is_nan())),
    }
    x
}

/// The elements of `x` where the condition is not 0, else those of `y`; all broadcast to `shape`.
pub(super) fn select(condition: &Shared, x: &Shared, y: &Shared, shape: &[usize]) -> Shared {
    let [condition, x, y] =
        [condition, x, y].map(|x| x.broadcast(IxDyn(shape)).expect("verified shapes"));
    Zip::from(condition)
        .and(x)
        .and(y)
        .map_collect(|c, x, y| if *c != 0.0 { *x } else { *y })
        .into_shared()
}

/// An elementwise function of two tensors, which broadcast.
pub(super) fn binary(f: BinaryFn, a: &Shared, b: &Shared) -> Shared {
    match f {
        BinaryFn::Add => zip(a, b, |a, b| a + b),
        BinaryFn::Sub => zip(a, b, |a, b| a - b),
        BinaryFn::Mul => zip(a, b, |a, b| a * b),
        BinaryFn::Div => zip(a, b, |a, b| a / b),
        // Squares are exact; they are the only powers in the supported models.
        BinaryFn::Pow => zip(a, b, |a, b| if b == 2.0 { a * a } else { libm::powf(a, b) }),
        BinaryFn::Max => zip(a, b, f32::max),
        BinaryFn::Min => zip(a, b, f32::min),
    }
}

fn zip(a: &Shared, b: &Shared, f: impl Fn(f32, f32) -> f32) -> Shared {
    if let (true, Some(left), Some(right)) = (a.shape() == b.shape(), a.as_slice(), b.as_slice()) {
        let results = left.iter().zip(right).map(|(a, b)| f(*a, *b)).collect();
        return Shared::from_shape_vec(IxDyn(a.shape()), results).expect("as many elements");
    }
    let rank = a.ndim().max(b.ndim());
    let extent = |x: &Shared, axis: usize| {
        let missing = rank - x.ndim();
        if axis < missing { 1 } else { x.shape()[axis - missing] }
    };
    let shape: Vec<usize> = (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (1, other) | (other, _) => other,
        })
        .collect();
    let shape = IxDyn(&shape);
    let [a, b] = [a, b].map(|x| x.broadcast(shape.clone()).expect("verified shapes"));
    super::standard(Zip::from(a).and(b).map_collect(|a, b| f(*a, *b)).into_shared())
}
