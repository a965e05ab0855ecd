//! Quantised models: QuantizeLinear and DequantizeLinear around float operators (QDQ form), and
//! operators on integers (QOperator form), which mean the same. Where scales are computed
//! (DynamicQuantizeLinear), the product of integers is that of the real numbers.
//!
//! A tensor between the two is represented by the real numbers of its integers: QuantizeLinear
//! becomes `fake_quantise`, and DequantizeLinear vanishes. Constants become floats.

use super::{Call, Translated, shown};
use crate::ir::{BinaryFn, Elem, OpKind, UnaryFn, Value};
use crate::onnx::DataType;

/// The range of an integer type; `None` if it is not a quantised type.
fn integers_of(data_type: DataType) -> Option<[i32; 2]> {
    match data_type {
        DataType::I8 => Some([i8::MIN.into(), i8::MAX.into()]),
        DataType::U8 => Some([u8::MIN.into(), u8::MAX.into()]),
        DataType::I16 => Some([i16::MIN.into(), i16::MAX.into()]),
        DataType::U16 => Some([u16::MIN.into(), u16::MAX.into()]),
        _ => None,
    }
}

/// Scales and zero points along an axis, or one of each for the whole tensor.
struct Parameters {
    scales: Vec<f32>,
    zero_points: Vec<i64>,
    /// Number of consecutive elements with the same scale.
    inner: usize,
}

impl Parameters {
    /// The parameters of an operand `x`, given the places of its scales and zero points.
    fn of(call: &mut Call<'_>, x: Value, places: [usize; 2]) -> Translated<Parameters> {
        Parameters::along(call, x, places, None)
    }

    /// The parameters along an axis, which otherwise the node states.
    fn along(
        call: &mut Call<'_>,
        x: Value,
        [scales, zero_points]: [usize; 2],
        axis: Option<i64>,
    ) -> Translated<Parameters> {
        if call.int("block_size", 0)? != 0 {
            return Err(call.attribute(
                "block_size",
                "0: one scale for each index of an axis",
                "another value",
            ));
        }
        let scales = call.floats(call.operand(scales)?, "scales")?;
        if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(call.mismatch("positive, finite scales", scale.to_string()));
        }
        let zero_points = match call.optional(zero_points) {
            Some(zero_points) => call.integers(zero_points, "zero points")?,
            None => vec![0; scales.len()],
        };
        // One zero point may apply to all channels.
        let zero_points =
            if let [one] = zero_points[..] { vec![one; scales.len()] } else { zero_points };
        let shape = call.shape(x).to_vec();
        let inner = if scales.len() == 1 {
            shape.iter().product()
        } else {
            let axis = axis.map_or_else(|| call.int("axis", 1), Ok)?;
            let axis = call.axis(axis, shape.len())?;
            if shape[axis] != scales.len() {
                let found = format!("{} scales along axis {axis} of {shape:?}", scales.len());
                return Err(call.mismatch("one scale, or one for each index of the axis", found));
            }
            shape[axis + 1..].iter().product()
        };
        if zero_points.len() != scales.len() {
            let found = format!("{} zero points for {} scales", zero_points.len(), scales.len());
            return Err(call.mismatch("as many zero points as scales", found));
        }
        Ok(Parameters { scales, zero_points, inner })
    }

    /// Scale and zero point of an element by its index in row-major order.
    fn at(&self, index: usize) -> (f32, i64) {
        let channel = index / self.inner.max(1) % self.scales.len();
        (self.scales[channel], self.zero_points[channel])
    }
}

pub(super) fn quantize_linear(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let parameters = Parameters::of(call, x, [1, 2])?;
    let data_type = match (call.optional(2), call.int("output_dtype", 0)?) {
        (Some(zero_point), 0) => call.data_type(zero_point),
        (_, 0 | 2) => Some(DataType::U8),
        (_, 3) => Some(DataType::I8),
        (_, 4) => Some(DataType::U16),
        (_, 5) => Some(DataType::I16),
        _ => None,
    };
    let [min, max] = data_type.and_then(integers_of).ok_or_else(|| {
        let found =
            data_type.map_or_else(|| "another type".to_owned(), |data_type| data_type.to_string());
        call.mismatch("zero points of type i8, u8, i16 or u16", found)
    })?;
    if let Some(zero_point) =
        parameters.zero_points.iter().find(|x| !(min.into()..=max.into()).contains(*x))
    {
        return Err(
            call.mismatch(format!("zero points from {min} to {max}"), zero_point.to_string())
        );
    }
    if call.is_constant(x) {
        let shape = call.shape(x).to_vec();
        let elements = call.floats(x, "an operand")?;
        let integers = elements.into_iter().enumerate().map(|(index, x)| {
            let (scale, zero_point) = parameters.at(index);
            // The cast saturates and converts NaN to 0.
            ((x / scale).round_ties_even() as i64)
                .saturating_add(zero_point)
                .clamp(min.into(), max.into())
        });
        return Ok(vec![call.integer_constant(&shape, integers)?]);
    }
    match (&parameters.scales[..], &parameters.zero_points[..]) {
        ([scale], [zero_point]) => {
            let (scale, zero_point) = (f64::from(*scale), *zero_point as i32);
            Ok(vec![call.emit(OpKind::FakeQuantise { scale, zero_point, min, max }, &[x])?])
        }
        (scales, _) => Err(call.mismatch("one scale for a computed tensor", shown(scales))),
    }
}

pub(super) fn dequantize_linear(call: &mut Call<'_>) -> Translated {
    Ok(vec![dequantised(call, [0, 1, 2])?])
}

/// The real numbers of a quantised operand, given the places of the operand, its scales and its
/// zero points.
fn dequantised(call: &mut Call<'_>, [x, scales, zero_points]: [usize; 3]) -> Translated<Value> {
    let x = call.operand(x)?;
    let parameters = Parameters::of(call, x, [scales, zero_points])?;
    if !call.is_constant(x) {
        let found = call.producer_behind_moves(x);
        let fits = |kind: &OpKind| {
            matches!(kind, OpKind::FakeQuantise { scale, zero_point, .. } if parameters.scales.iter().all(|x| f64::from(*x) == *scale)
                && parameters.zero_points.iter().all(|x| *x == i64::from(*zero_point)))
        };
        return match found {
            Some(kind) if fits(kind) => Ok(x),
            Some(OpKind::FakeQuantise { scale, zero_point, .. }) => Err(call.mismatch(
                format!(
                    "scale and zero point of the QuantizeLinear before it, {scale} and {zero_point}"
                ),
                format!("{} and {}", shown(&parameters.scales), shown(&parameters.zero_points)),
            )),
            _ => Err(call.mismatch(
                "an integer constant, or the result of a QuantizeLinear",
                call.describe(x),
            )),
        };
    }
    constant(call, x, &parameters)
}

/// The real numbers of a constant.
fn constant(call: &mut Call<'_>, x: Value, parameters: &Parameters) -> Translated<Value> {
    if call.ty(x).elem != Elem::I64 {
        return Err(call.mismatch("integers", call.describe(x)));
    }
    let shape = call.shape(x).to_vec();
    let elements = call.integers(x, "an operand")?;
    let reals = elements.into_iter().enumerate().map(|(index, x)| {
        let (scale, zero_point) = parameters.at(index);
        x.saturating_sub(zero_point) as f32 * scale
    });
    let name = call.name(x).trim_end_matches("_quantized").to_owned();
    call.named_float_constant(&name, &shape, reals)
}

/// Quantises a real result, given the places of its scale and zero point: its integers are
/// represented by their real numbers.
fn requantised(call: &mut Call<'_>, x: Value, [scale, zero_point]: [usize; 2]) -> Translated {
    let scales = call.floats(call.operand(scale)?, "a scale")?;
    let (zero_points, data_type) = match call.optional(zero_point) {
        Some(zero_point) => {
            (call.integers(zero_point, "a zero point")?, call.data_type(zero_point))
        }
        None => (vec![0], Some(DataType::U8)),
    };
    let range = data_type.and_then(integers_of);
    match (&scales[..], &zero_points[..], range) {
        ([scale], [zero_point], Some([min, max]))
            if scale.is_finite()
                && *scale > 0.0
                && (min.into()..=max.into()).contains(zero_point) =>
        {
            let (scale, zero_point) = (f64::from(*scale), *zero_point as i32);
            Ok(vec![call.emit(OpKind::FakeQuantise { scale, zero_point, min, max }, &[x])?])
        }
        _ => Err(call.mismatch(
            "one positive scale and one zero point of the result",
            format!("{} and {}", shown(&scales), shown(&zero_points)),
        )),
    }
}

/// The real numbers of an integer bias in steps of the product of the scales of the operand, given
/// their place, and of the weights.
fn real_bias(
    call: &mut Call<'_>,
    bias: Value,
    scale: usize,
    of_weights: &[f32],
) -> Translated<Value> {
    let steps = call.integers(bias, "a bias")?;
    let scale = call.operand(scale)?;
    let Some(scale) = call.number(scale) else {
        return Err(call.mismatch("one scale of the operand", call.describe(scale)));
    };
    let scales = of_weights.iter().cycle().take(steps.len());
    let reals: Vec<f32> = steps.iter().zip(scales).map(|(b, w)| *b as f32 * (w * scale)).collect();
    call.float_constant(&[steps.len()], reals)
}

pub(super) fn qlinear_mat_mul(call: &mut Call<'_>) -> Translated {
    let (a, b) = (dequantised(call, [0, 1, 2])?, dequantised(call, [3, 4, 5])?);
    let product = call.emit(OpKind::MatMul {}, &[a, b])?;
    requantised(call, product, [6, 7])
}

/// A convolution of integers: image, weights, scales and zero points of both, those of the result,
/// and a bias in steps of the product of the scales.
pub(super) fn qlinear_conv(call: &mut Call<'_>) -> Translated {
    let x = dequantised(call, [0, 1, 2])?;
    let w = call.operand(3)?;
    let parameters = Parameters::along(call, w, [4, 5], Some(0))?;
    let weights = constant(call, w, &parameters)?;
    let bias = match call.optional(8) {
        Some(bias) => Some(real_bias(call, bias, 1, &parameters.scales)?),
        None => None,
    };
    let result = super::layers::convolved(call, x, weights, bias)?;
    requantised(call, result, [6, 7])
}

/// A function of two quantised operands: each with its scale and zero point.
fn qlinear_binary(call: &mut Call<'_>, f: BinaryFn) -> Translated {
    let (a, b) = (dequantised(call, [0, 1, 2])?, dequantised(call, [3, 4, 5])?);
    let result = call.binary(f, a, b)?;
    requantised(call, result, [6, 7])
}

pub(super) fn qlinear_add(call: &mut Call<'_>) -> Translated {
    qlinear_binary(call, BinaryFn::Add)
}

pub(super) fn qlinear_mul(call: &mut Call<'_>) -> Translated {
    qlinear_binary(call, BinaryFn::Mul)
}

/// A function of one quantised operand.
pub(super) fn qlinear_sigmoid(call: &mut Call<'_>) -> Translated {
    let x = dequantised(call, [0, 1, 2])?;
    let y = call.unary(UnaryFn::Sigmoid, x)?;
    requantised(call, y, [3, 4])
}

pub(super) fn qlinear_softmax(call: &mut Call<'_>) -> Translated {
    let x = dequantised(call, [0, 1, 2])?;
    let axis = call.axis(call.int("axis", -1)?, call.ty(x).rank())?;
    let y = call.emit(OpKind::Softmax { axis }, &[x])?;
    requantised(call, y, [3, 4])
}

/// Joined parts, each with scale and zero point; those of the result come first.
pub(super) fn qlinear_concat(call: &mut Call<'_>) -> Translated {
    let mut parts = Vec::new();
    while call.optional(3 * parts.len() + 2).is_some() {
        let first = 3 * parts.len() + 2;
        parts.push(dequantised(call, [first, first + 1, first + 2])?);
    }
    let Some(first) = parts.first() else { return Err(call.mismatch("operands", "none")) };
    let axis = call.axis(call.int("axis", 0)?, call.ty(*first).rank())?;
    let joined = call.emit(OpKind::Concat { axis }, &parts)?;
    requantised(call, joined, [0, 1])
}

pub(super) fn qgemm(call: &mut Call<'_>) -> Translated {
    let a = dequantised(call, [0, 1, 2])?;
    let b = dequantised(call, [3, 4, 5])?;
    let swap = OpKind::Transpose { perm: vec![1, 0] };
    let a = if call.int("transA", 0)? != 0 { call.emit(swap.clone(), &[a])? } else { a };
    let b = if call.int("transB", 0)? != 0 { call.emit(swap, &[b])? } else { b };
    let product = call.emit(OpKind::MatMul {}, &[a, b])?;
    let alpha = call.float("alpha", 1.0)?;
    let mut sum = call.scaled(product, alpha)?;
    if let Some(bias) = call.optional(6) {
        let scales = call.floats(call.operand(4)?, "scales")?;
        let bias = real_bias(call, bias, 1, &scales)?;
        sum = call.binary(BinaryFn::Add, sum, bias)?;
    }
    if call.optional(7).is_none() {
        return Ok(vec![sum]);
    }
    requantised(call, sum, [7, 8])
}

/// Quantises with a scale that is computed from the tensor. Such a tensor stands for the real
/// numbers themselves, in steps of 1: the compiler quantises it.
pub(super) fn dynamic_quantize_linear(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let scale = call.float_constant(&[], vec![1.0])?;
    let zero_point = call.integer_constant(&[], vec![0])?;
    Ok(vec![x, scale, zero_point])
}

/// The weights of a product of integers, without their zero points.
fn integer_weights(
    call: &mut Call<'_>,
    w: usize,
    zero_point: usize,
    axis: usize,
) -> Translated<Value> {
    let w = call.operand(w)?;
    let zero_points = match call.optional(zero_point) {
        Some(zero_points) => call.integers(zero_points, "zero points")?,
        None => vec![0],
    };
    let scales = vec![1.0; zero_points.len()];
    let shape = call.shape(w).to_vec();
    let inner = match zero_points.len() {
        1 => shape.iter().product(),
        count if shape.get(axis) == Some(&count) => shape[axis + 1..].iter().product(),
        count => {
            let found = format!("{count} zero points for {shape:?}");
            return Err(call.mismatch("one zero point, or one for each channel", found));
        }
    };
    constant(call, w, &Parameters { scales, zero_points, inner })
}

/// A product of a tensor that is quantised dynamically and integer weights: the real product, since
/// the tensor stands for its real numbers.
pub(super) fn mat_mul_integer(call: &mut Call<'_>) -> Translated {
    let x = dynamic(call, 0, 2)?;
    let axis = call.ty(call.operand(1)?).rank().saturating_sub(1);
    let w = integer_weights(call, 1, 3, axis)?;
    Ok(vec![call.emit(OpKind::MatMul {}, &[x, w])?])
}

pub(super) fn conv_integer(call: &mut Call<'_>) -> Translated {
    let x = dynamic(call, 0, 2)?;
    let w = integer_weights(call, 1, 3, 0)?;
    Ok(vec![super::layers::convolved(call, x, w, None)?])
}

/// A computed operand that is quantised dynamically, with its zero point.
fn dynamic(call: &mut Call<'_>, x: usize, zero_point: usize) -> Translated<Value> {
    let x = call.operand(x)?;
    let zero_points = match call.optional(zero_point) {
        Some(zero_point) => call.integers(zero_point, "a zero point")?,
        None => vec![0],
    };
    if call.ty(x).elem != Elem::F32 || zero_points != [0] {
        let expected = "the result of a DynamicQuantizeLinear, with its zero point";
        return Err(call.mismatch(expected, call.describe(x)));
    }
    Ok(x)
}

/// The scaled product of integers with a bias: a tensor, weights, places of the scales, of the
/// weights' zero points and of the bias.
pub(super) fn mat_mul_integer_to_float(call: &mut Call<'_>) -> Translated {
    let x = dynamic(call, 0, 4)?;
    scaled_product(call, x, [3, 5, 6])
}

pub(super) fn dynamic_quantize_mat_mul(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    scaled_product(call, x, [2, 3, 4])
}

fn scaled_product(
    call: &mut Call<'_>,
    x: Value,
    [scales, zero_points, bias]: [usize; 3],
) -> Translated {
    let axis = call.ty(call.operand(1)?).rank().saturating_sub(1);
    let w = integer_weights(call, 1, zero_points, axis)?;
    let scales = call.operand(scales)?;
    let w = call.binary(BinaryFn::Mul, w, scales)?;
    let mut y = call.emit(OpKind::MatMul {}, &[x, w])?;
    if let Some(bias) = call.optional(bias) {
        y = call.binary(BinaryFn::Add, y, bias)?;
    }
    Ok(vec![y])
}
