//! Normalisations: by mean and deviation, and by length.

use super::{Call, Translated};
use crate::ir::{BinaryFn, OpKind, UnaryFn, Value};

pub(super) fn layer_normalization(call: &mut Call<'_>) -> Translated {
    let (x, gamma) = (call.operand(0)?, call.operand(1)?);
    let rank = call.ty(x).rank();
    let axis = call.axis(call.int("axis", -1)?, rank)?;
    if axis + 1 != rank {
        return Err(call.attribute("axis", format!("the last of {rank}"), axis.to_string()));
    }
    let channels = [call.shape(x)[axis]];
    let eps = f64::from(call.float("epsilon", 1e-5)?);
    let gamma = call.expand(gamma, &channels)?;
    let beta = match call.optional(2) {
        Some(beta) => call.expand(beta, &channels)?,
        None => call.float_constant(&channels, vec![0.0; channels[0]])?,
    };
    Ok(vec![call.emit(OpKind::LayerNorm { eps }, &[x, gamma, beta])?])
}

pub(super) fn batch_normalization(call: &mut Call<'_>) -> Translated {
    if call.int("training_mode", 0)? != 0 {
        return Err(call.attribute("training_mode", "0", "another value"));
    }
    let x = call.operand(0)?;
    let rank = call.ty(x).rank();
    if rank < 2 {
        return Err(call.mismatch("a tensor with channels along axis 1", call.describe(x)));
    }
    let [gamma, beta, mean, variance] =
        [call.operand(1)?, call.operand(2)?, call.operand(3)?, call.operand(4)?];
    // `gamma (x - mean) / sqrt(variance + eps) + beta` as a factor and an offset per channel.
    let eps = call.float("epsilon", 1e-5)?;
    let eps = call.float_constant(&[], vec![eps])?;
    let variance = call.binary(BinaryFn::Add, variance, eps)?;
    let deviation = call.unary(UnaryFn::Sqrt, variance)?;
    let factor = call.binary(BinaryFn::Div, gamma, deviation)?;
    let shift = call.binary(BinaryFn::Mul, mean, factor)?;
    let offset = call.binary(BinaryFn::Sub, beta, shift)?;
    let mut shape = vec![1; rank - 1];
    shape[0] = call.shape(x)[1];
    let (factor, offset) = (call.reshape(factor, &shape)?, call.reshape(offset, &shape)?);
    let scaled = call.binary(BinaryFn::Mul, x, factor)?;
    Ok(vec![call.binary(BinaryFn::Add, scaled, offset)?])
}

/// `(x - mean) / sqrt(variance + eps)` over axes.
fn standardised(call: &mut Call<'_>, x: Value, axes: Vec<usize>, eps: f32) -> Translated<Value> {
    let mean = call.emit(OpKind::ReduceMean { axes: axes.clone(), keep: true }, &[x])?;
    let centred = call.binary(BinaryFn::Sub, x, mean)?;
    let squares = call.binary(BinaryFn::Mul, centred, centred)?;
    let variance = call.emit(OpKind::ReduceMean { axes, keep: true }, &[squares])?;
    let variance = call.plus(variance, eps)?;
    let deviation = call.unary(UnaryFn::Sqrt, variance)?;
    call.binary(BinaryFn::Div, centred, deviation)
}

/// Normalisation of groups of channels, each with its positions.
fn of_groups(call: &mut Call<'_>, groups: usize, default_eps: f32) -> Translated {
    let (x, scale, bias) = (call.operand(0)?, call.operand(1)?, call.operand(2)?);
    let eps = call.float("epsilon", default_eps)?;
    let shape = call.shape(x).to_vec();
    let (&[n, channels], [_, _, positions @ ..]) = (&shape[..shape.len().min(2)], &shape[..])
    else {
        return Err(call.mismatch("a tensor with channels along axis 1", call.describe(x)));
    };
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(call.mismatch(format!("groups of {channels} channels"), groups.to_string()));
    }
    let each = channels / groups * positions.iter().product::<usize>();
    let grouped = call.reshape(x, &[n, groups, each])?;
    let normal = standardised(call, grouped, vec![2], eps)?;
    let normal = call.reshape(normal, &shape)?;
    let mut of_channels = vec![1; shape.len() - 1];
    of_channels[0] = channels;
    let per_channel = |call: &mut Call<'_>, x: Value| match call.shape(x).to_vec()[..] {
        // Before opset 21, GroupNormalization had a number for each group.
        [found] if found == groups && groups != channels => {
            let x = call.reshape(x, &[groups, 1])?;
            let x = call.expand(x, &[groups, channels / groups])?;
            call.reshape(x, &of_channels)
        }
        _ => call.reshape(x, &of_channels),
    };
    let (scale, bias) = (per_channel(call, scale)?, per_channel(call, bias)?);
    let scaled = call.binary(BinaryFn::Mul, normal, scale)?;
    Ok(vec![call.binary(BinaryFn::Add, scaled, bias)?])
}

pub(super) fn group_normalization(call: &mut Call<'_>) -> Translated {
    let groups = usize::try_from(call.int("num_groups", 0)?).unwrap_or(0);
    of_groups(call, groups, 1e-5)
}

pub(super) fn instance_normalization(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let channels = call.shape(x).get(1).copied().unwrap_or(0);
    of_groups(call, channels, 1e-5)
}

/// `x / |x|` along an axis, by the sum of magnitudes or the root of the sum of squares.
pub(super) fn lp_normalization(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let axis = call.axis(call.int("axis", -1)?, call.ty(x).rank())?;
    let extent = call.shape(x)[axis] as f32;
    let order = call.int("p", 2)?;
    let terms = match order {
        1 => call.unary(UnaryFn::Abs, x)?,
        2 => call.binary(BinaryFn::Mul, x, x)?,
        other => return Err(call.attribute("p", "1 or 2", other.to_string())),
    };
    let mean = call.emit(OpKind::ReduceMean { axes: vec![axis], keep: true }, &[terms])?;
    let sum = call.scaled(mean, extent)?;
    let length = if order == 2 { call.unary(UnaryFn::Sqrt, sum)? } else { sum };
    Ok(vec![call.binary(BinaryFn::Div, x, length)?])
}
