//! Products, convolutions, normalisations and softmax.

use super::{Call, Translated, shown};
use crate::ir::{BinaryFn, OpKind, UnaryFn, Value};

pub(super) fn mat_mul(call: &mut Call<'_>) -> Translated {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    let (a_shape, b_shape) = (call.shape(a).to_vec(), call.shape(b).to_vec());
    if a_shape.is_empty() || b_shape.is_empty() {
        return Err(call.mismatch("operands with dimensions", "a scalar"));
    }
    // A vector operand is a matrix of one row or column, and the result lacks that dimension.
    let row = if let [n] = a_shape[..] { call.reshape(a, &[1, n])? } else { a };
    let column = if let [n] = b_shape[..] { call.reshape(b, &[n, 1])? } else { b };
    let product = call.emit(OpKind::MatMul {}, &[row, column])?;
    let mut shape = call.shape(product).to_vec();
    if b_shape.len() == 1 {
        shape.pop();
    }
    if a_shape.len() == 1 {
        shape.remove(shape.len() - if b_shape.len() == 1 { 1 } else { 2 });
    }
    Ok(vec![call.reshape(product, &shape)?])
}

pub(super) fn gemm(call: &mut Call<'_>) -> Translated {
    let (mut a, mut b) = (call.operand(0)?, call.operand(1)?);
    for x in [a, b] {
        if call.ty(x).rank() != 2 {
            return Err(call.mismatch("matrices", call.describe(x)));
        }
    }
    let swap = OpKind::Transpose { perm: vec![1, 0] };
    if call.int("transA", 0)? != 0 {
        a = call.emit(swap.clone(), &[a])?;
    }
    if call.int("transB", 0)? != 0 {
        b = call.emit(swap, &[b])?;
    }
    let product = call.emit(OpKind::MatMul {}, &[a, b])?;
    let alpha = call.float("alpha", 1.0)?;
    let result = call.scaled(product, alpha)?;
    let Some(c) = call.optional(2) else { return Ok(vec![result]) };
    let beta = call.float("beta", 1.0)?;
    let c = call.scaled(c, beta)?;
    let shape = call.shape(result).to_vec();
    let sum = call.binary(BinaryFn::Add, result, c)?;
    match call.shape(sum) == shape {
        true => Ok(vec![sum]),
        false => {
            Err(call.mismatch(format!("an addend that broadcasts to {shape:?}"), call.describe(c)))
        }
    }
}

pub(super) fn conv(call: &mut Call<'_>) -> Translated {
    let (x, w, bias) = (call.operand(0)?, call.operand(1)?, call.optional(2));
    Ok(vec![convolved(call, x, w, bias)?])
}

/// A convolution with the node's attributes.
pub(super) fn convolved(
    call: &mut Call<'_>,
    x: Value,
    w: Value,
    bias: Option<Value>,
) -> Translated<Value> {
    match (call.shape(x), call.shape(w)) {
        (&[_, _, _, _], &[_, _, kh, kw]) => convolution(call, [x, w], bias, [kh, kw]),
        (&[n, channels, length], &[outputs, inputs, taps]) => {
            // A sequence is an image of height 1.
            let image = call.reshape(x, &[n, channels, 1, length])?;
            let kernel = call.reshape(w, &[outputs, inputs, 1, taps])?;
            let result = convolution(call, [image, kernel], bias, [taps])?;
            let length = call.shape(result)[3];
            call.reshape(result, &[n, outputs, length])
        }
        _ => Err(call.mismatch(
            "a sequence and weights of 3 dimensions, or an image and weights of 4",
            call.describe(x),
        )),
    }
}

/// A convolution of an image with a kernel. The node's attributes have `N` dimensions, which are
/// the last ones of the image.
fn convolution<const N: usize>(
    call: &mut Call<'_>,
    [x, w]: [Value; 2],
    bias: Option<Value>,
    weights: [usize; N],
) -> Translated<Value> {
    let kernel = extents(call, "kernel_shape", weights)?;
    if kernel != weights {
        return Err(call.attribute(
            "kernel_shape",
            format!("that of the weights, {weights:?}"),
            format!("{kernel:?}"),
        ));
    }
    let [stride, dilation] =
        [extents(call, "strides", [1; N])?, extents(call, "dilations", [1; N])?];
    let along = |extents: [usize; N]| [if N == 1 { 1 } else { extents[0] }, extents[N - 1]];
    let (stride, dilation) = (along(stride), along(dilation));
    let own = pads::<N>(call, [x, w], stride, dilation)?;
    let (x, mut pad) = absorbed_pads(call, x);
    pad.iter_mut().zip(own).for_each(|(pad, own)| *pad = pad.saturating_add(own));
    let kind = OpKind::Conv {
        stride,
        pad,
        dilation,
        group: call.int("group", 1)?.try_into().unwrap_or(0),
    };
    let operands: Vec<Value> = [Some(x), Some(w), bias].into_iter().flatten().collect();
    let result = call.emit(kind, &operands)?;
    // The check is for the product with the patches of the image, which is computed.
    if let (&[n, _, down, across], &[_, channels, kh, kw]) = (call.shape(result), call.shape(w)) {
        call.check_activation(&[n, down, across, channels, kh, kw])?;
    }
    Ok(result)
}

/// The tensor behind pads of its last two dimensions with zeros, and these pads: top, left, bottom
/// and right.
fn absorbed_pads(call: &Call<'_>, mut x: Value) -> (Value, [usize; 4]) {
    let mut pads = [0; 4];
    while let Some((OpKind::Pad { axis: axis @ 2..=3, before, after }, [padded])) = call.producer(x)
    {
        pads[axis - 2] += before;
        pads[*axis] += after;
        x = *padded;
    }
    (x, pads)
}

/// Padding at top, left, bottom and right of an image `x`, whose last `N` dimensions are the
/// node's.
fn pads<const N: usize>(
    call: &Call<'_>,
    [x, w]: [Value; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Translated<[usize; 4]> {
    let upper = match call.node.string("auto_pad")? {
        None | Some("NOTSET") if N == 1 => {
            let [left, right] = extents(call, "pads", [0; 2])?;
            return Ok([0, left, 0, right]);
        }
        None | Some("NOTSET") => return extents(call, "pads", [0; 4]),
        Some("VALID") => return Ok([0; 4]),
        Some("SAME_UPPER") => true,
        Some("SAME_LOWER") => false,
        Some(other) => {
            let expected = "NOTSET, VALID, SAME_UPPER or SAME_LOWER";
            return Err(call.attribute("auto_pad", expected, format!("{other:?}")));
        }
    };
    // As many windows as steps fit the image.
    let mut pads = [0; 4];
    for axis in 0..2 {
        let (extent, kernel) = (call.shape(x)[2 + axis], call.shape(w)[2 + axis]);
        let reach = kernel.saturating_sub(1).saturating_mul(dilation[axis]).saturating_add(1);
        let steps = extent.div_ceil(stride[axis].max(1)).saturating_sub(1);
        let all = steps.saturating_mul(stride[axis]).saturating_add(reach).saturating_sub(extent);
        let (less, more) = (all / 2, all - all / 2);
        (pads[axis], pads[axis + 2]) = if upper { (less, more) } else { (more, less) };
    }
    Ok(pads)
}

/// An INTS attribute of `N` extents.
pub(super) fn extents<const N: usize>(
    call: &Call<'_>,
    name: &str,
    default: [usize; N],
) -> Translated<[usize; N]> {
    let Some(found) = call.node.ints(name)? else { return Ok(default) };
    let extents: Option<Vec<usize>> =
        found.iter().map(|extent| usize::try_from(*extent).ok()).collect();
    extents.and_then(|extents| extents.try_into().ok()).ok_or_else(|| {
        call.attribute(name, format!("{N} integers that are not negative"), shown(found))
    })
}

pub(super) fn softmax(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let rank = call.ty(x).rank();
    let axis = call.axis(call.int("axis", if call.opset < 13 { 1 } else { -1 })?, rank)?;
    // Before opset 13, softmax was over all dimensions from the axis on.
    if call.opset < 13 && call.shape(x)[axis + 1..].iter().any(|extent| *extent != 1) {
        return Err(call.attribute("axis", format!("the last of {rank}"), axis.to_string()));
    }
    Ok(vec![call.emit(OpKind::Softmax { axis }, &[x])?])
}

pub(super) fn log_softmax(call: &mut Call<'_>) -> Translated {
    let probabilities = softmax(call)?[0];
    Ok(vec![call.unary(UnaryFn::Log, probabilities)?])
}
