//! The host's side of a quantised tensor: a real value is `q * step`.

use super::rounding::{Quantised, round_f64};

/// `x / step`, rounded by the machine's rule (halves up) and saturated to the type's full range.
///
/// NaN becomes 0 and infinities saturate. The quotient is one f64 division. `step` is positive.
pub fn quantise<T: Quantised>(x: f32, step: f64) -> T {
    T::saturate(round_f64(f64::from(x) / step))
}

/// Normalises the channels of an image in row-major order, `(x - offset) / factor` in single
/// precision, before it is quantised. Without offsets these are 0, without factors 1. The channels
/// are its first dimension, or its last one.
pub fn normalise_channels(
    image: &mut [f32],
    offsets: &[f32],
    factors: &[f32],
    channels_last: bool,
) {
    let channels = offsets.len().max(factors.len());
    let plane = if channels_last { 1 } else { (image.len() / channels.max(1)).max(1) };
    if !offsets.is_empty() {
        for (part, offset) in image.chunks_mut(plane).zip(offsets.iter().cycle()) {
            part.iter_mut().for_each(|x| *x -= offset);
        }
    }
    if !factors.is_empty() {
        for (part, factor) in image.chunks_mut(plane).zip(factors.iter().cycle()) {
            part.iter_mut().for_each(|x| *x /= factor);
        }
    }
}

/// [`quantise`] to int8.
pub fn quantise_i8(x: f32, step: f64) -> i8 {
    quantise(x, step)
}

/// [`quantise`] to int16.
pub fn quantise_i16(x: f32, step: f64) -> i16 {
    quantise(x, step)
}

/// `q * step`, one f64 product rounded to f32.
pub fn dequantise(q: impl Into<i32>, step: f64) -> f32 {
    (f64::from(q.into()) * step) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_round_trips() {
        for step in [1.0, 0.1, 0.0375, 1e-6, 1e6] {
            for q in i8::MIN..=i8::MAX {
                assert_eq!(quantise_i8(dequantise(q, step), step), q);
            }
        }
    }

    #[test]
    fn every_int16_round_trips() {
        for step in [1.0, 0.001, 3.7] {
            for q in i16::MIN..=i16::MAX {
                assert_eq!(quantise_i16(dequantise(q, step), step), q);
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(quantise_i8(f32::NAN, 1.0), 0);
        assert_eq!(quantise_i8(f32::INFINITY, 1.0), 127);
        assert_eq!(quantise_i8(f32::NEG_INFINITY, 1.0), -128);
        assert_eq!([0.5, -0.5, 1.5, -1.5].map(|x| quantise_i8(x, 1.0)), [1, 0, 2, -1]);
        assert_eq!(quantise_i16(40_000.0, 1.0), i16::MAX);
        assert_eq!(quantise_i16(f32::MAX, f64::MIN_POSITIVE), i16::MAX);
    }

    proptest! {
        #[test]
        fn off_by_at_most_half_a_step(x in -1e3f32..1e3, step in 0.1f64..10.0) {
            let real = f64::from(x);
            let back = f64::from(quantise_i16(x, step)) * step;
            prop_assert!((back - real).abs() <= 0.5 * step * (1.0 + 1e-12));
        }
    }
}
