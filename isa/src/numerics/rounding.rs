//! The machine's one rounding rule, and the narrowing that ends every integer formula.

/// Divides by a power of two and rounds to nearest, halves towards plus infinity:
/// `floor((x + 2^(shift-1)) / 2^shift)`, and `x` itself for `shift = 0`.
///
/// Total: no `x` overflows, because the sum is taken after all but one of the bits are shifted
/// out: `floor((floor(x / 2^(shift-1)) + 1) / 2)` is the same number. Every shift is allowed;
/// from 64 upwards the result is 0 (the limit of the formula, as `|x| <= 2^63`).
#[inline]
pub const fn round_shift(x: i64, shift: u8) -> i64 {
    match shift {
        0 => x,
        1..=63 => {
            let half_units = x >> (shift - 1);
            (half_units >> 1) + (half_units & 1)
        }
        64.. => 0,
    }
}

/// [`round_shift`]'s rule for real numbers: the nearest integer, halves towards plus infinity.
///
/// Beyond the range of `i64` the result saturates; NaN gives 0. `x - floor(x)` is exact wherever
/// it decides anything, unlike `floor(x + 0.5)`, which takes the number just below one half to 1.
pub(super) fn round_f64(x: f64) -> i64 {
    let floor = x.floor();
    let up = x - floor >= 0.5;
    (floor as i64).saturating_add(i64::from(up))
}

/// The largest shift up to `max_shift` at which `round(value * 2^shift)` fits in an `i32`,
/// or `None` where not even shift 0 does. `value` is not negative.
pub(super) fn widest_shift(value: f64, max_shift: u8) -> Option<u8> {
    (0..=max_shift).rev().find(|&shift| round_f64(value * pow2(shift)) <= i64::from(i32::MAX))
}

/// `2^exponent`, exactly; `exponent` is at most 63.
pub(super) fn pow2(exponent: u8) -> f64 {
    (1u64 << exponent) as f64
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for i16 {}
}

/// An integer type in which the machine stores activations: `i8` or `i16`.
pub trait Quantised: Copy + Into<i64> + sealed::Sealed {
    /// Narrows to the full range of the type; the only place where the machine saturates.
    fn saturate(x: i64) -> Self;
}

impl Quantised for i8 {
    #[inline]
    fn saturate(x: i64) -> Self {
        x.clamp(i8::MIN.into(), i8::MAX.into()) as i8
    }
}

impl Quantised for i16 {
    #[inline]
    fn saturate(x: i64) -> Self {
        x.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The defining formula, in integers wide enough for it.
    fn definition(x: i64, shift: u8) -> i64 {
        if shift == 0 {
            return x;
        }
        (i128::from(x) + (1i128 << (shift - 1))).div_euclid(1i128 << shift).try_into().unwrap()
    }

    #[test]
    fn halves_go_up() {
        assert_eq!([-3, -1, 1, 3].map(|x| round_shift(x, 1)), [-1, 0, 1, 2]);
        assert_eq!([-6, -5, 5, 6].map(|x| round_shift(x, 2)), [-1, -1, 1, 2]);
    }

    #[test]
    fn extremes_of_every_shift() {
        for x in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
            for shift in 0..=100 {
                assert_eq!(round_shift(x, shift), definition(x, shift), "{x} >> {shift}");
            }
        }
        assert_eq!(round_shift(i64::MIN, u8::MAX), 0);
    }

    #[test]
    fn real_halves_go_up_too() {
        for (x, expected) in [
            (0.5, 1),
            (-0.5, 0),
            (-1.5, -1),
            (-0.500_000_000_000_000_1, -1),
            (0.499_999_999_999_999_94, 0),
            (-1e-300, 0),
            (4_503_599_627_370_497.5, 4_503_599_627_370_498),
            (f64::INFINITY, i64::MAX),
            (f64::NEG_INFINITY, i64::MIN),
            (f64::NAN, 0),
        ] {
            assert_eq!(round_f64(x), expected, "{x}");
        }
    }

    #[test]
    fn saturation() {
        assert_eq!([-129, -128, 127, 128].map(i8::saturate), [-128, -128, 127, 127]);
        assert_eq!(
            [i64::MIN, -32_768, 32_767, i64::MAX].map(i16::saturate),
            [i16::MIN, i16::MIN, i16::MAX, i16::MAX]
        );
    }

    proptest! {
        #[test]
        fn round_shift_is_its_definition(x: i64, shift in 0u8..=100) {
            prop_assert_eq!(round_shift(x, shift), definition(x, shift));
        }

        #[test]
        fn real_rule_is_integer_rule(x in -1i64 << 52..1i64 << 52, shift in 0u8..=60) {
            prop_assert_eq!(round_f64(x as f64 / pow2(shift)), round_shift(x, shift));
        }

        #[test]
        fn widest_shift_is_widest(value in 0.0f64..3e9, max_shift in 0u8..=62) {
            let limit = f64::from(i32::MAX) + 0.5;
            match widest_shift(value, max_shift) {
                None => prop_assert!(value >= limit),
                Some(shift) => {
                    prop_assert!(value * pow2(shift) < limit);
                    prop_assert!(shift == max_shift || value * pow2(shift + 1) >= limit);
                }
            }
        }
    }
}
