//! Transposed convolutions.

use super::layers::extents;
use super::{Call, Translated};
use crate::ir::{OpKind, Value};

/// A transposed convolution of a map `[n, c, h, w]` with weights `[c, o / group, kh, kw]`.
pub(super) fn conv_transpose(call: &mut Call<'_>) -> Translated {
    let (x, w, bias) = (call.operand(0)?, call.operand(1)?, call.optional(2));
    let (&[_, channels, _, _], &[inputs, each, kh, kw]) = (call.shape(x), call.shape(w)) else {
        return Err(call.mismatch("a map and weights of 4 dimensions", call.describe(x)));
    };
    let group = usize::try_from(call.int("group", 1)?).unwrap_or(0);
    let kernel = extents(call, "kernel_shape", [kh, kw])?;
    let [stride, dilation, more] = [
        extents(call, "strides", [1; 2])?,
        extents(call, "dilations", [1; 2])?,
        extents(call, "output_padding", [0; 2])?,
    ];
    let pad = extents(call, "pads", [0; 4])?;
    let is_padded = call.node.string("auto_pad")?.is_some_and(|pad| pad != "NOTSET");
    let sizes = [&kernel[..], &stride, &dilation].concat();
    let is_small = [&sizes[..], &more, &pad].concat().iter().all(|size| *size <= 1 << 16);
    if is_padded
        || call.node.ints("output_shape")?.is_some()
        || group == 0
        || inputs != channels
        || !channels.is_multiple_of(group)
        || kernel != [kh, kw]
        || sizes.contains(&0)
        || !is_small
    {
        let expected = "weights [channels, ...] of the stated kernel, and pads as numbers";
        return Err(call.mismatch(expected, call.describe(w)));
    }
    let outputs = each * group;
    let bias = match bias {
        Some(bias) => bias,
        None => call.float_constant(&[outputs], vec![0.0; outputs])?,
    };
    if group == 1 && kernel == stride && pad == [0; 4] && more == [0; 2] && dilation == [1; 2] {
        return Ok(vec![blocks(call, [x, w, bias])?]);
    }
    let x = spread(call, x, stride)?;
    let w = call.reshape(w, &[group, inputs / group, each, kh, kw])?;
    let w = call.emit(OpKind::Transpose { perm: vec![0, 2, 1, 3, 4] }, &[w])?;
    let mut w = call.reshape(w, &[outputs, inputs / group, kh, kw])?;
    for (axis, extent) in [(2, kh), (3, kw)] {
        let backwards = call.integer_constant(&[extent], (0..extent).rev().map(|i| i as i64))?;
        w = call.emit(OpKind::Gather { axis }, &[w, backwards])?;
    }
    // The pads of the transposed convolution are cut off the full one.
    let full = [0, 1, 2, 3].map(|i| (kernel[i % 2] - 1) * dilation[i % 2]);
    let missing = [0, 1, 2, 3].map(|i| pad[i].saturating_sub(full[i]));
    let mut own = [0, 1, 2, 3].map(|i| full[i].saturating_sub(pad[i]));
    own[2] += more[0];
    own[3] += more[1];
    let kind = OpKind::Conv { stride: [1, 1], pad: own, dilation, group };
    let mut result = call.emit(kind, &[x, w, bias])?;
    for i in 0..2 {
        let extent = call.shape(result)[2 + i];
        let len = extent.saturating_sub(missing[i] + missing[i + 2]);
        result = call.slice(result, 2 + i, missing[i], len, 1)?;
    }
    Ok(vec![result])
}

/// A transposed convolution whose windows do not overlap: each pixel becomes a block.
fn blocks(call: &mut Call<'_>, [x, w, bias]: [Value; 3]) -> Translated<Value> {
    let (&[n, _, h, width], &[inputs, outputs, kh, kw]) = (call.shape(x), call.shape(w)) else {
        return Err(call.mismatch("a map", call.describe(x)));
    };
    let w = call.emit(OpKind::Transpose { perm: vec![1, 2, 3, 0] }, &[w])?;
    let w = call.reshape(w, &[outputs * kh * kw, inputs, 1, 1])?;
    let bias = call.reshape(bias, &[outputs, 1])?;
    let bias = call.expand(bias, &[outputs, kh * kw])?;
    let bias = call.reshape(bias, &[outputs * kh * kw])?;
    let kind = OpKind::Conv { stride: [1, 1], pad: [0; 4], dilation: [1, 1], group: 1 };
    let blocks = call.emit(kind, &[x, w, bias])?;
    let blocks = call.reshape(blocks, &[n, outputs, kh, kw, h, width])?;
    let blocks = call.emit(OpKind::Transpose { perm: vec![0, 1, 4, 2, 5, 3] }, &[blocks])?;
    call.reshape(blocks, &[n, outputs, h * kh, width * kw])
}

/// A map with zeros between its elements.
fn spread(call: &mut Call<'_>, x: Value, stride: [usize; 2]) -> Translated<Value> {
    let &[n, c, h, w] = call.shape(x) else {
        return Err(call.mismatch("a map", call.describe(x)));
    };
    let mut x = call.reshape(x, &[n, c, h, 1, w, 1])?;
    for (axis, stride) in [3, 5].into_iter().zip(stride) {
        if stride > 1 {
            x = call.emit(OpKind::Pad { axis, before: 0, after: stride - 1 }, &[x])?;
        }
    }
    let mut x = call.reshape(x, &[n, c, h * stride[0], w * stride[1]])?;
    for (axis, (extent, stride)) in [2, 3].into_iter().zip([(h, stride[0]), (w, stride[1])]) {
        x = call.slice(x, axis, 0, (extent - 1) * stride + 1, 1)?;
    }
    Ok(x)
}
