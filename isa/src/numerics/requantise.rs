//! From accumulators to activations: `saturate(round_shift(accumulator * mantissa, shift))`.
//!
//! The product of an `i32` and a 31-bit mantissa is below `2^62`, so nothing overflows.

use super::rounding::{Quantised, round_shift};
use super::scale::Scale;
use super::softmax::PRUNED;

/// `accumulator * scale`, rounded once and not saturated; the magnitude is below `2^62`.
#[inline]
pub const fn requantise(accumulator: i32, scale: Scale) -> i64 {
    round_shift(accumulator as i64 * scale.mantissa() as i64, scale.shift())
}

/// [`requantise`], saturated to `-128..=127`.
#[inline]
pub fn requantise_i8(accumulator: i32, scale: Scale) -> i8 {
    i8::saturate(requantise(accumulator, scale))
}

/// [`requantise`], saturated to `-32768..=32767`.
#[inline]
pub fn requantise_i16(accumulator: i32, scale: Scale) -> i16 {
    i16::saturate(requantise(accumulator, scale))
}

/// [`requantise`] to an attention score, saturated to `-32767..=32767`, so that no computed score
/// is mistaken for [`PRUNED`].
#[inline]
pub fn requantise_score(accumulator: i32, scale: Scale) -> i16 {
    biased_score(accumulator, scale, 0)
}

/// An attention score with a bias in its units: what [`requantise`] has rounded plus the bias,
/// saturated as [`requantise_score`] does. Nothing saturates before the sum.
#[inline]
pub fn biased_score(accumulator: i32, scale: Scale, bias: i16) -> i16 {
    i16::saturate(requantise(accumulator, scale) + bias as i64).max(PRUNED + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EDGES: [i32; 9] =
        [i32::MIN, i32::MIN + 1, -(1 << 30), -1, 0, 1, 1 << 30, i32::MAX - 1, i32::MAX];

    /// The scale with this mantissa and shift.
    fn scale(mantissa: i32, shift: u8) -> Scale {
        let [a, b, c, d] = mantissa.to_le_bytes();
        Scale::from_bytes([a, b, c, d, shift, 0, 0, 0]).unwrap()
    }

    /// Floor of `accumulator * mantissa / 2^shift + 1/2` in integers wide enough for it.
    fn definition(accumulator: i32, s: Scale) -> i64 {
        let twice = 2 * i128::from(accumulator) * i128::from(s.mantissa());
        (twice + (1i128 << s.shift())).div_euclid(1i128 << (s.shift() + 1)) as i64
    }

    #[test]
    fn edges() {
        for mantissa in [1 << 30, (1 << 30) + 1, i32::MAX] {
            for shift in 0..=Scale::MAX_SHIFT {
                let s = scale(mantissa, shift);
                for accumulator in EDGES {
                    assert_eq!(requantise(accumulator, s), definition(accumulator, s));
                }
            }
        }
        assert_eq!(requantise_i8(i32::MIN, Scale::MAX), -128);
        assert_eq!(requantise_i8(i32::MAX, Scale::MAX), 127);
        assert_eq!(requantise_i16(i32::MIN, Scale::ONE), i16::MIN);
        assert_eq!(requantise_i16(i32::MAX, Scale::ONE), i16::MAX);
        assert_eq!(requantise_score(i32::MIN, Scale::ONE), -32_767);
        assert_eq!(requantise_score(-32_768, Scale::ONE), -32_767);
        assert_eq!(requantise_score(i32::MAX, Scale::ONE), 32_767);
        assert_eq!(biased_score(-40_000, Scale::ONE, 20_000), -20_000);
        assert_eq!(biased_score(-3, Scale::ONE, i16::MIN), -32_767);
        assert_eq!(biased_score(32_000, Scale::ONE, 1000), 32_767);
    }

    #[test]
    fn smallest_scale_just_reaches_one_half() {
        let smallest = scale(1 << 30, 62);
        assert_eq!(EDGES.map(|x| requantise(x, smallest)), [0; 9]);
        assert_eq!(EDGES.map(|x| requantise(x, Scale::ZERO)), [0; 9]);
    }

    #[test]
    fn every_byte_under_the_identity() {
        for x in i8::MIN..=i8::MAX {
            assert_eq!(requantise_i8(x.into(), Scale::ONE), x);
            let half = Scale::from_f64(0.5).unwrap();
            assert_eq!(i32::from(requantise_i8(x.into(), half)), (i32::from(x) + 1).div_euclid(2));
        }
    }

    proptest! {
        #[test]
        fn is_its_definition(
            accumulator: i32,
            mantissa in 1i32 << 30..=i32::MAX,
            shift in 0..=Scale::MAX_SHIFT,
        ) {
            let s = scale(mantissa, shift);
            let exact = definition(accumulator, s);
            prop_assert_eq!(requantise(accumulator, s), exact);
            prop_assert_eq!(i64::from(requantise_i8(accumulator, s)), exact.clamp(-128, 127));
            prop_assert_eq!(
                i64::from(requantise_i16(accumulator, s)),
                exact.clamp(-32_768, 32_767)
            );
        }

        #[test]
        fn is_close_to_the_real_product(accumulator: i32, value in 1e-9f64..1e3) {
            // Half a unit for the rounding, 2^-31 relative for the mantissa.
            let real = f64::from(accumulator) * value;
            let result = requantise(accumulator, Scale::from_f64(value).unwrap()) as f64;
            prop_assert!((result - real).abs() <= 0.5 + real.abs() * 5e-10);
        }
    }
}
