//! Resize and Upsample: separable interpolation. That of constants, such as position embeddings, is
//! evaluated; that of a computed map becomes a product with a matrix along each axis.

use super::{Call, Translated, shown};
use crate::ir::{OpKind, Value};

/// How the elements of an axis are interpolated.
struct Method {
    mode: Mode,
    transformation: Transformation,
    /// The rounding of nearest neighbours.
    round: fn(f64) -> f64,
    /// The parameter of the cubic kernel.
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// From positions of the result to positions of the operand.
#[derive(Clone, Copy, PartialEq)]
enum Transformation {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

pub(super) fn resize(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let method = Method::of(call)?;
    let shape = call.shape(x).to_vec();
    if shape.contains(&0) {
        return Err(call.mismatch("a tensor with elements", call.describe(x)));
    }
    let axes = match call.node.ints("axes")? {
        Some(axes) => {
            axes.iter().map(|axis| call.axis(*axis, shape.len())).collect::<Translated<_>>()?
        }
        None => (0..shape.len()).collect::<Vec<_>>(),
    };
    // Opset 10 has no region of interest.
    let (scales, sizes) = if call.opset < 11 { (1, usize::MAX) } else { (2, 3) };
    let scales = match call.optional(scales) {
        Some(scales) => call.floats(scales, "scales")?,
        None => Vec::new(),
    };
    let sizes = match call.optional(sizes) {
        Some(sizes) => call.integers(sizes, "sizes")?,
        None => Vec::new(),
    };
    if sizes.is_empty() == scales.is_empty()
        || axes.len() != sizes.len().max(scales.len())
        || call.node.string("keep_aspect_ratio_policy")?.is_some_and(|policy| policy != "stretch")
    {
        return Err(call.mismatch(
            "either scales or sizes for each of the axes, which are independent",
            format!("{} scales, {} sizes, {} axes", scales.len(), sizes.len(), axes.len()),
        ));
    }
    let mut targets = Vec::with_capacity(axes.len());
    for (i, axis) in axes.into_iter().enumerate() {
        let from = shape[axis];
        let (to, scale) = match sizes.get(i) {
            Some(size) => {
                let size = usize::try_from(*size).ok().filter(|size| *size > 0);
                let size = size.ok_or_else(|| call.mismatch("positive sizes", shown(&sizes)))?;
                (size, size as f64 / from as f64)
            }
            None => {
                let scale = f64::from(scales[i]);
                let size = (from as f64 * scale).floor();
                if !(size >= 1.0 && size <= (1u64 << 32) as f64) {
                    return Err(call.mismatch("scales of a result with elements", shown(&scales)));
                }
                (size as usize, scale)
            }
        };
        if to != from || scale != 1.0 {
            targets.push(Target { axis, to, scale });
        }
    }
    interpolated(call, x, &method, &targets)
}

pub(super) fn upsample(call: &mut Call<'_>) -> Translated {
    let x = call.operand(0)?;
    let shape = call.shape(x).to_vec();
    let scales = match call.optional(1) {
        Some(scales) => call.floats(scales, "scales")?,
        None => call.node.floats("scales")?.unwrap_or_default().to_vec(),
    };
    if shape.contains(&0)
        || scales.len() != shape.len()
        || scales.iter().any(|scale| !(1.0..1e6).contains(scale))
    {
        return Err(call.mismatch("a scale of at least 1 for each dimension", shown(&scales)));
    }
    let method = Method { transformation: Transformation::Asymmetric, ..Method::of(call)? };
    let target = |(axis, scale): (usize, &f32)| {
        let scale = f64::from(*scale);
        Target { axis, to: (shape[axis] as f64 * scale).floor() as usize, scale }
    };
    let targets: Vec<Target> = scales.iter().enumerate().map(target).collect();
    let changed = |target: &Target| target.to != shape[target.axis];
    interpolated(call, x, &method, &targets.into_iter().filter(changed).collect::<Vec<_>>())
}

/// The new extent of an axis.
struct Target {
    axis: usize,
    to: usize,
    scale: f64,
}

fn interpolated(call: &mut Call<'_>, x: Value, method: &Method, targets: &[Target]) -> Translated {
    if targets.is_empty() {
        return Ok(vec![x]);
    }
    if !call.is_constant(x) {
        let mut x = x;
        for target in targets {
            x = multiplied(call, x, method, target)?;
        }
        return Ok(vec![x]);
    }
    let mut shape = call.shape(x).to_vec();
    let mut elements: Vec<f64> = call.floats(x, "an operand")?.into_iter().map(f64::from).collect();
    for target in targets {
        let from = shape[target.axis];
        let outer: usize = shape[..target.axis].iter().product();
        let inner: usize = shape[target.axis + 1..].iter().product();
        shape[target.axis] = target.to;
        call.reserve(&shape)?;
        let weights: Vec<Vec<(usize, f64)>> =
            (0..target.to).map(|i| method.weights(i, from, target)).collect();
        call.charge(weights.iter().map(Vec::len).sum::<usize>().saturating_mul(outer * inner))?;
        let at = |block: usize, weights: &[(usize, f64)], i: usize| -> f64 {
            let element = |place: usize| elements[(block * from + place) * inner + i];
            weights.iter().map(|(place, weight)| weight * element(*place)).sum()
        };
        let at = &at;
        elements = (0..outer)
            .flat_map(|block| {
                weights
                    .iter()
                    .flat_map(move |weights| (0..inner).map(move |i| at(block, weights, i)))
            })
            .collect();
    }
    Ok(vec![call.float_constant(&shape, elements.into_iter().map(|x| x as f32))?])
}

/// The product of a tensor with the matrix of an interpolation along an axis.
fn multiplied(
    call: &mut Call<'_>,
    x: Value,
    method: &Method,
    target: &Target,
) -> Translated<Value> {
    let Target { axis, to, .. } = *target;
    let rank = call.ty(x).rank();
    let from = call.shape(x)[axis];
    call.reserve(&[to, from])?;
    let mut matrix = vec![0.0; to * from];
    for i in 0..to {
        for (place, weight) in method.weights(i, from, target) {
            matrix[i * from + place] += weight as f32;
        }
    }
    let matrix = call.float_constant(&[to, from], matrix)?;
    if axis + 2 == rank {
        return call.emit(OpKind::MatMul {}, &[matrix, x]);
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let swap = OpKind::Transpose { perm };
    let matrix = call.emit(OpKind::Transpose { perm: vec![1, 0] }, &[matrix])?;
    let is_last = axis + 1 == rank;
    let x = if is_last { x } else { call.emit(swap.clone(), &[x])? };
    let result = call.emit(OpKind::MatMul {}, &[x, matrix])?;
    if is_last { Ok(result) } else { call.emit(swap, &[result]) }
}

impl Method {
    fn of(call: &Call<'_>) -> Translated<Method> {
        let text = |name: &str, default: &'static str| -> Translated<String> {
            Ok(call.node.string(name)?.unwrap_or(default).to_owned())
        };
        let mode = match &text("mode", "nearest")?[..] {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            other => return Err(call.attribute("mode", "nearest, linear or cubic", other)),
        };
        let default = if call.opset < 11 { "asymmetric" } else { "half_pixel" };
        let transformation = match &text("coordinate_transformation_mode", default)?[..] {
            "half_pixel" => Transformation::HalfPixel,
            "half_pixel_symmetric" => Transformation::HalfPixelSymmetric,
            "pytorch_half_pixel" => Transformation::PytorchHalfPixel,
            "align_corners" => Transformation::AlignCorners,
            "asymmetric" => Transformation::Asymmetric,
            other => {
                return Err(call.attribute(
                    "coordinate_transformation_mode",
                    "half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners or asymmetric",
                    other,
                ));
            }
        };
        let default = if call.opset < 11 { "floor" } else { "round_prefer_floor" };
        let round: fn(f64) -> f64 = match &text("nearest_mode", default)?[..] {
            "round_prefer_floor" => |x| (x - 0.5).ceil(),
            "round_prefer_ceil" => |x| (x + 0.5).floor(),
            "floor" => f64::floor,
            "ceil" => f64::ceil,
            other => return Err(call.attribute("nearest_mode", "a rounding of ONNX", other)),
        };
        Ok(Method {
            mode,
            transformation,
            round,
            cubic: call.float("cubic_coeff_a", -0.75)?.into(),
            exclude_outside: call.int("exclude_outside", 0)? != 0,
            antialias: call.int("antialias", 0)? != 0,
        })
    }

    /// The elements of an axis of extent `from`, with their weights, that make element `i` of the
    /// result.
    fn weights(
        &self,
        i: usize,
        from: usize,
        Target { to, scale, .. }: &Target,
    ) -> Vec<(usize, f64)> {
        let (i, extent, to) = (i as f64, from as f64, *to as f64);
        let half_pixel = (i + 0.5) / scale - 0.5;
        let at = match self.transformation {
            Transformation::HalfPixel => half_pixel,
            Transformation::HalfPixelSymmetric => {
                // The middle of the result is the middle of the operand, whatever was rounded.
                half_pixel + extent / 2.0 * (1.0 - to / (extent * scale))
            }
            Transformation::PytorchHalfPixel if to > 1.0 => half_pixel,
            Transformation::AlignCorners if to > 1.0 => i * (extent - 1.0) / (to - 1.0),
            Transformation::PytorchHalfPixel | Transformation::AlignCorners => 0.0,
            Transformation::Asymmetric => i / scale,
        };
        let inside = |place: f64| place.clamp(0.0, extent - 1.0) as usize;
        if self.mode == Mode::Nearest {
            return vec![(inside((self.round)(at)), 1.0)];
        }
        // A kernel that averages when it shrinks is wider.
        let stretch = if self.antialias && *scale < 1.0 { *scale } else { 1.0 };
        let reach = if self.mode == Mode::Linear { 1.0 } else { 2.0 } / stretch;
        let (first, last) = ((at - reach).floor() as i64 + 1, (at + reach).ceil() as i64 - 1);
        let mut weights: Vec<(f64, f64)> = (first..=last)
            .map(|place| (place as f64, self.kernel((place as f64 - at).abs() * stretch)))
            .collect();
        if weights.is_empty() {
            weights.push((at.round(), 1.0));
        }
        if self.exclude_outside || self.antialias {
            let sum_before: f64 = weights.iter().map(|(_, weight)| weight).sum();
            let within = |place: f64| (0.0..extent).contains(&place);
            if self.exclude_outside {
                weights.retain(|(place, _)| within(*place));
            }
            let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
            let sum = if sum == 0.0 { sum_before } else { sum };
            weights.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        weights.into_iter().map(|(place, weight)| (inside(place), weight)).collect()
    }

    /// The weight at a distance of the interpolated position (R. Keys, 1981, for the cubic one).
    fn kernel(&self, x: f64) -> f64 {
        let a = self.cubic;
        match self.mode {
            Mode::Linear => (1.0 - x).max(0.0),
            _ if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            _ if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            _ => 0.0,
        }
    }
}
