//! Operators of ONNX Runtime (`com.microsoft`), which its optimiser writes: translated to the
//! operators of ONNX that they fuse.

use super::attention::{Heads, Visible, attend, split_heads};
use super::selection::gathered;
use super::{Call, Translated};
use crate::ir::{BinaryFn, Conversion, Elem, OpKind, UnaryFn, Value};

pub(super) fn gelu(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    Ok(vec![call.unary(UnaryFn::Gelu, x)?])
}

pub(super) fn bias_gelu(call: &mut Call<'_>) -> Translated {
    let (x, bias) = (call.operand(0)?, call.operand(1)?);
    let x = call.binary(BinaryFn::Add, x, bias)?;
    Ok(vec![call.unary(UnaryFn::Gelu, x)?])
}

pub(super) fn fast_gelu(call: &mut Call<'_>) -> Translated {
    let mut x = call.operand(0)?;
    if let Some(bias) = call.optional(1) {
        x = call.binary(BinaryFn::Add, x, bias)?;
    }
    Ok(vec![call.unary(UnaryFn::GeluTanh, x)?])
}

pub(super) fn quick_gelu(call: &mut Call<'_>) -> Translated {
    let (x, alpha) = (call.operand(0)?, call.float("alpha", 1.702)?);
    Ok(vec![super::elementwise::swish_of(call, x, alpha)?])
}

/// LayerNorm over the last dimension.
fn layer_norm(call: &mut Call<'_>, x: Value, gamma: usize, beta: usize) -> Translated<Value> {
    let channels = [call.shape(x).last().copied().unwrap_or(1)];
    let gamma = call.operand(gamma)?;
    let beta = match call.optional(beta) {
        Some(beta) => beta,
        None => call.float_constant(&channels, vec![0.0; channels[0]])?,
    };
    let eps = f64::from(call.float("epsilon", 1e-12)?);
    call.emit(OpKind::LayerNorm { eps }, &[x, gamma, beta])
}

pub(super) fn skip_layer_normalization(call: &mut Call<'_>) -> Translated {
    let (x, skip) = (call.operand(0)?, call.operand(1)?);
    let mut sum = call.binary(BinaryFn::Add, x, skip)?;
    if let Some(bias) = call.optional(4) {
        sum = call.binary(BinaryFn::Add, sum, bias)?;
    }
    let normal = layer_norm(call, sum, 2, 3)?;
    // Mean and deviation are for training.
    call.omit(&[1, 2]);
    Ok(vec![normal, normal, normal, sum])
}

pub(super) fn embed_layer_normalization(call: &mut Call<'_>) -> Translated {
    let ids = call.operand(0)?;
    let tokens = call.shape(ids).last().copied().unwrap_or(1);
    let [words, positions] = [call.operand(2)?, call.operand(3)?];
    let mut sum = gathered(call, words, ids, 0)?;
    let positions = match call.optional(8) {
        Some(ids) => gathered(call, positions, ids, 0)?,
        None => call.slice(positions, 0, 0, tokens, 1)?,
    };
    sum = call.binary(BinaryFn::Add, sum, positions)?;
    if let (Some(ids), Some(segments)) = (call.optional(1), call.optional(4)) {
        let segments = gathered(call, segments, ids, 0)?;
        sum = call.binary(BinaryFn::Add, sum, segments)?;
    }
    let normal = layer_norm(call, sum, 5, 6)?;
    // The number of kept tokens.
    call.omit(&[1]);
    Ok(vec![normal, normal, sum])
}

/// `alpha A B`, with the last two dimensions of either transposed.
pub(super) fn fused_mat_mul(call: &mut Call<'_>) -> Translated {
    for name in ["transBatchA", "transBatchB"] {
        if call.int(name, 0)? != 0 {
            return Err(call.attribute(name, "0", "another value"));
        }
    }
    let mut operands = [call.operand(0)?, call.operand(1)?];
    for (operand, name) in operands.iter_mut().zip(["transA", "transB"]) {
        let rank = call.ty(*operand).rank();
        if call.int(name, 0)? != 0 && rank >= 2 {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            *operand = call.emit(OpKind::Transpose { perm }, &[*operand])?;
        }
    }
    let product = call.emit(OpKind::MatMul {}, &operands)?;
    let alpha = call.float("alpha", 1.0)?;
    Ok(vec![call.scaled(product, alpha)?])
}

/// The attributes that the operators of attention share.
fn scale(call: &Call<'_>, features: usize) -> Translated<f32> {
    let scale = call.float("scale", 0.0)?;
    Ok(if scale == 0.0 { (features as f32).sqrt().recip() } else { scale })
}

fn head_count(call: &Call<'_>, channels: usize) -> Translated<usize> {
    let count = usize::try_from(call.int("num_heads", 0)?).unwrap_or(0);
    match count > 0 && channels.is_multiple_of(count) {
        true => Ok(count),
        false => {
            let expected = format!("a divisor of {channels}");
            Err(call.attribute("num_heads", expected, count.to_string()))
        }
    }
}

/// The addend of scores for a mask of keys, `[batch, keys]` of 1 and 0.
fn key_mask(call: &mut Call<'_>, mask: Value) -> Translated<Value> {
    let &[batch, keys] = call.shape(mask) else {
        return Err(call.mismatch("a mask [batch, keys]", call.describe(mask)));
    };
    if call.ty(mask).elem != Elem::I64 {
        return Err(call.mismatch("a mask of integers", call.describe(mask)));
    }
    let mask = call.reshape(mask, &[batch, 1, 1, keys])?;
    let kept = call.float_constant(&[], vec![0.0])?;
    let pruned = call.float_constant(&[], vec![f32::NEG_INFINITY])?;
    let mask = match call.is_constant(mask) {
        true => mask,
        false => call.emit(OpKind::Convert { to: Conversion::Truth }, &[mask])?,
    };
    super::constants::choose(call, mask, kept, pruned)
}

/// Attention with its input projection: operands `x`, weights, bias, mask, past, addend.
pub(super) fn attention(call: &mut Call<'_>) -> Translated {
    if call.optional(4).is_some() || call.int("do_rotary", 0)? != 0 {
        return Err(call.mismatch("no past keys and no rotary embedding", "one of them"));
    }
    let (x, weights) = (call.operand(0)?, call.operand(1)?);
    let &[_, outputs] = call.shape(weights) else {
        return Err(call.mismatch("a matrix of weights", call.describe(weights)));
    };
    let mut projected = call.emit(OpKind::MatMul {}, &[x, weights])?;
    if let Some(bias) = call.optional(2) {
        projected = call.binary(BinaryFn::Add, projected, bias)?;
    }
    let sizes: Vec<usize> = match call.node.ints("qkv_hidden_sizes")? {
        Some(sizes) => sizes.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect(),
        None => vec![outputs / 3; 3],
    };
    let &[q_size, k_size, v_size] = &sizes[..] else {
        return Err(call.attribute("qkv_hidden_sizes", "3 sizes", format!("{sizes:?}")));
    };
    let sum = q_size.checked_add(k_size).and_then(|sum| sum.checked_add(v_size));
    if sum != Some(outputs) || q_size != k_size || sizes.contains(&0) {
        let expected = format!("sizes of queries, keys and values that add up to {outputs}");
        return Err(call.mismatch(expected, format!("{sizes:?}")));
    }
    let axis = call.ty(projected).rank() - 1;
    let q = call.slice(projected, axis, 0, q_size, 1)?;
    let k = call.slice(projected, axis, q_size, k_size, 1)?;
    let v = call.slice(projected, axis, q_size + k_size, v_size, 1)?;
    let causal = call.int("unidirectional", 0)? != 0;
    of_heads(call, [q, k, v], [3, 5], causal)
}

/// Attention of projected queries, keys and values, which get a bias: operands query, key, value,
/// bias, mask of keys, addend.
pub(super) fn multi_head_attention(call: &mut Call<'_>) -> Translated {
    if (6..10).any(|operand| call.optional(operand).is_some()) {
        return Err(call.mismatch("no past keys", "some"));
    }
    let mut parts = [call.operand(0)?, call.operand(1)?, call.operand(2)?];
    if let Some(bias) = call.optional(3) {
        let mut start = 0;
        for part in &mut parts {
            let channels = call.shape(*part).last().copied().unwrap_or(1);
            let all = if let [all] = *call.shape(bias) { all } else { 0 };
            if call.ty(*part).rank() != 3 || start + channels > all {
                return Err(call.mismatch("a bias of each channel", call.describe(bias)));
            }
            let of_part = call.slice(bias, 0, start, channels, 1)?;
            *part = call.binary(BinaryFn::Add, *part, of_part)?;
            start += channels;
        }
    }
    let causal = call.int("unidirectional", 0)? != 0;
    of_heads(call, parts, [4, 5], causal)
}

fn of_heads(
    call: &mut Call<'_>,
    parts: [Value; 3],
    [mask, addend]: [usize; 2],
    causal: bool,
) -> Translated {
    let mut heads = Vec::with_capacity(3);
    for part in parts {
        heads.push(match *call.shape(part) {
            [_, _, channels] => {
                let count = head_count(call, channels)?;
                split_heads(call, part, count)?
            }
            [_, _, _, _] => part,
            _ => return Err(call.mismatch("tokens [batch, n, channels]", call.describe(part))),
        });
    }
    let features = call.shape(heads[0])[3];
    let scale = scale(call, features)?;
    let mut addends = Vec::new();
    if let Some(mask) = call.optional(mask) {
        addends.push(key_mask(call, mask)?);
    }
    addends.extend(call.optional(addend));
    let visible = Visible::of_causal(causal);
    let heads = Heads { q: heads[0], k: heads[1], v: heads[2], scale, addends, visible };
    Ok(vec![attend(call, heads, true)?])
}
