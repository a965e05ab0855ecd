//! Pooling of maps. Windows of one element select elements.

use super::layers::extents;
use super::{Call, Translated};
use crate::ir::{BinaryFn, OpKind, Value};

/// Windows on a map `[n, c, h, w]`, or on a sequence as a map of height 1.
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Top, left, bottom and right.
    pad: [usize; 4],
}

impl Windows {
    /// The windows of the node, whose attributes have `N` dimensions.
    fn of<const N: usize>(call: &Call<'_>, map: [usize; 2]) -> Translated<Windows> {
        let along = |extents: [usize; N]| [if N == 1 { 1 } else { extents[0] }, extents[N - 1]];
        let kernel = along(extents(call, "kernel_shape", [0; N])?);
        let stride = along(extents(call, "strides", [1; N])?);
        let dilation = along(extents(call, "dilations", [1; N])?);
        let own = match N {
            1 => extents(call, "pads", [0; 2]).map(|[left, right]| [0, left, 0, right])?,
            _ => extents(call, "pads", [0; 4])?,
        };
        let reach = |i: usize| (kernel[i].saturating_sub(1)).saturating_mul(dilation[i]);
        let fits = |i: usize| {
            let padded = map[i].saturating_add(own[i]).saturating_add(own[i + 2]);
            kernel[i] > 0 && stride[i] > 0 && dilation[i] > 0 && reach(i) < padded
        };
        let is_padded = call.node.string("auto_pad")?.is_some_and(|pad| pad != "NOTSET");
        let is_small = own.iter().all(|pad| *pad <= kernel[0].max(kernel[1]));
        if is_padded || !fits(0) || !fits(1) || !is_small {
            let expected = "windows that fit the padded map, with pads up to the kernel's extents";
            return Err(call.mismatch(expected, format!("windows of {kernel:?} on {map:?}")));
        }
        if call.int("ceil_mode", 0)? != 0 {
            let left = |i: usize| (map[i] + own[i] + own[i + 2] - reach(i) - 1) % stride[i];
            if left(0) != 0 || left(1) != 0 {
                let expected = "0, or windows that cover the map without a rest";
                return Err(call.attribute("ceil_mode", expected, "1"));
            }
        }
        Ok(Windows { kernel, stride, dilation, pad: own })
    }

    fn is_selection(&self) -> bool {
        self.kernel == [1, 1] && self.pad == [0; 4]
    }

    /// The elements of the map at which windows begin, if they have one element.
    fn selected(&self, call: &mut Call<'_>, mut x: Value) -> Translated<Value> {
        for (axis, stride) in [2, 3].into_iter().zip(self.stride) {
            let len = call.shape(x)[axis].div_ceil(stride);
            x = call.slice(x, axis, 0, len, stride)?;
        }
        Ok(x)
    }
}

/// A pooling by a function on maps.
fn pooled(
    call: &mut Call<'_>,
    of_map: fn(&mut Call<'_>, Value, &Windows) -> Translated<Value>,
) -> Translated {
    let x = call.operand(0)?;
    match call.shape(x).to_vec()[..] {
        [_, _, h, w] => {
            let windows = Windows::of::<2>(call, [h, w])?;
            Ok(vec![of_map(call, x, &windows)?])
        }
        [n, c, length] => {
            let windows = Windows::of::<1>(call, [1, length])?;
            let map = call.reshape(x, &[n, c, 1, length])?;
            let result = of_map(call, map, &windows)?;
            let length = call.shape(result)[3];
            Ok(vec![call.reshape(result, &[n, c, length])?])
        }
        _ => Err(call.mismatch("a map of 4 dimensions or a sequence of 3", call.describe(x))),
    }
}

pub(super) fn max_pool(call: &mut Call<'_>) -> Translated {
    pooled(call, |call, x, windows| {
        if windows.is_selection() {
            return windows.selected(call, x);
        }
        let x = surrounded(call, x, windows.pad)?;
        // The maximum over the places of the kernel, each for all windows; one axis after the
        // other.
        let mut x = x;
        for (i, axis) in [2, 3].into_iter().enumerate() {
            let reach = (windows.kernel[i] - 1) * windows.dilation[i];
            let len = (call.shape(x)[axis] - reach - 1) / windows.stride[i] + 1;
            let mut largest = None;
            for place in 0..windows.kernel[i] {
                let start = place * windows.dilation[i];
                let part = call.slice(x, axis, start, len, windows.stride[i])?;
                largest = Some(match largest {
                    None => part,
                    Some(largest) => call.binary(BinaryFn::Max, largest, part)?,
                });
            }
            x = largest.unwrap_or(x);
        }
        Ok(x)
    })
}

/// A map with a border of the smallest float.
fn surrounded(call: &mut Call<'_>, mut x: Value, pad: [usize; 4]) -> Translated<Value> {
    for (i, axis) in [2, 3].into_iter().enumerate() {
        let mut parts = Vec::new();
        for (width, is_before) in [(pad[i], true), (pad[i + 2], false)] {
            if width > 0 {
                let mut shape = call.shape(x).to_vec();
                shape[axis] = width;
                let lowest = call.float_constant(&[], vec![f32::MIN])?;
                parts.push((call.expand(lowest, &shape)?, is_before));
            }
        }
        if parts.is_empty() {
            continue;
        }
        let before = parts.iter().filter(|(_, is_before)| *is_before).map(|(part, _)| *part);
        let after = parts.iter().filter(|(_, is_before)| !*is_before).map(|(part, _)| *part);
        let all: Vec<Value> = before.chain([x]).chain(after).collect();
        x = call.emit(OpKind::Concat { axis }, &all)?;
    }
    Ok(x)
}

pub(super) fn average_pool(call: &mut Call<'_>) -> Translated {
    pooled(call, |call, x, windows| {
        if windows.is_selection() {
            return windows.selected(call, x);
        }
        let Windows { kernel, stride, dilation, pad } = *windows;
        let (channels, map) = (call.shape(x)[1], call.shape(x)[2..].to_vec());
        let cells = kernel[0].saturating_mul(kernel[1]);
        let weight = call.float_constant(&[], vec![1.0 / cells as f32])?;
        let weights = call.expand(weight, &[channels, 1, kernel[0], kernel[1]])?;
        let kind = OpKind::Conv { stride, pad, dilation, group: channels };
        let means = call.emit(kind, &[x, weights])?;
        if pad == [0; 4] || call.int("count_include_pad", 0)? != 0 {
            return Ok(means);
        }
        // The share of each window that lies on the map.
        let result = call.shape(means).to_vec();
        let on_map = |i: usize| -> Vec<f32> {
            let counted = (0..result[2 + i]).map(|window| {
                let places = (0..kernel[i]).map(|k| window * stride[i] + k * dilation[i]);
                places.filter(|at| (pad[i]..pad[i] + map[i]).contains(at)).count() as f32
            });
            counted.collect()
        };
        let (down, across) = (on_map(0), on_map(1));
        let factors = down.iter().flat_map(|y| across.iter().map(move |x| cells as f32 / (x * y)));
        let factors =
            call.float_constant(&[result[2], result[3]], factors.collect::<Vec<f32>>())?;
        call.binary(BinaryFn::Mul, means, factors)
    })
}

pub(super) fn global_average_pool(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let axes = (2..call.ty(x).rank()).collect();
    Ok(vec![call.emit(OpKind::ReduceMean { axes, keep: true }, &[x])?])
}
