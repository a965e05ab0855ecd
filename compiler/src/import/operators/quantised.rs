//! Quantised models in QDQ form: QuantizeLinear and DequantizeLinear around float operators.
//!
//! A tensor between the two is represented by the real numbers of its integers: QuantizeLinear
//! becomes `fake_quantise`, and DequantizeLinear vanishes. Constants become floats.

use super::{Call, Translated, shown};
use crate::ir::{Elem, OpKind, Value};
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
    /// The parameters of a node whose first operand is `x`.
    fn of(call: &mut Call<'_>, x: Value) -> Translated<Parameters> {
        if call.int("block_size", 0)? != 0 {
            return Err(call.attribute(
                "block_size",
                "0: one scale for each index of an axis",
                "another value",
            ));
        }
        let scales = call.floats(call.operand(1)?, "scales")?;
        if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            return Err(call.mismatch("positive, finite scales", scale.to_string()));
        }
        let zero_points = match call.optional(2) {
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
            let axis = call.axis(call.int("axis", 1)?, shape.len())?;
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
    let parameters = Parameters::of(call, x)?;
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
    let x = call.operand(0)?;
    let parameters = Parameters::of(call, x)?;
    if !call.is_constant(x) {
        let found = call.producer_behind_moves(x);
        let fits = |kind: &OpKind| {
            matches!(kind, OpKind::FakeQuantise { scale, zero_point, .. } if parameters.scales.iter().all(|x| f64::from(*x) == *scale)
                && parameters.zero_points.iter().all(|x| *x == i64::from(*zero_point)))
        };
        return match found {
            Some(kind) if fits(kind) => Ok(vec![x]),
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
    Ok(vec![call.named_float_constant(&name, &shape, reals)?])
}
