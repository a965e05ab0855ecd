//! Int32 accumulators that are provably wide enough.
//!
//! A sum of `n` products of signed `a`-bit and `b`-bit integers has a magnitude of at most
//! `n 2^(a-1) 2^(b-1)`. Half of the accumulator is set aside for the bias: with
//! `|bias| <= BIAS_LIMIT = 2^30` and `n <= max_accumulation_depth(a, b)`, no partial sum, in any
//! order and with the bias added at any point, leaves `i32`. Int8 by int8 sums may be 65,535
//! products deep. The auto-encoder's products over heads are the same sums, only short.

use super::error::{NumericsError, check_step};
use super::rounding::round_f64;

/// Largest magnitude of a bias that is added to an accumulator.
pub const BIAS_LIMIT: i32 = 1 << 30;

/// The largest number of products of signed `bits_a`-bit and `bits_b`-bit integers whose sum, with
/// a bias of magnitude up to [`BIAS_LIMIT`], stays within `i32` in any order of summation.
///
/// # Panics
/// Unless both widths are in `1..=32`.
pub const fn max_accumulation_depth(bits_a: u32, bits_b: u32) -> u32 {
    assert!(matches!((bits_a, bits_b), (1..=32, 1..=32)));
    (((i32::MAX - BIAS_LIMIT) as u64) >> (bits_a + bits_b - 2)) as u32
}

/// Adds a bias to an accumulator.
///
/// The adder wraps. Biases from [`quantise_bias`] and sums within [`max_accumulation_depth`] never
/// overflow; constants that violate the limits still give the same result on every platform.
#[inline]
pub const fn add_bias(accumulator: i32, bias: i32) -> i32 {
    accumulator.wrapping_add(bias)
}

/// Quantises a bias to the accumulator's step (the product of the operands' steps).
///
/// # Errors
/// `step` is not positive and finite, or `bias / step` is NaN or beyond [`BIAS_LIMIT`].
pub fn quantise_bias(bias: f64, step: f64) -> Result<i32, NumericsError> {
    check_step("accumulator step", step)?;
    let value = bias / step;
    if value.is_nan() {
        return Err(NumericsError::Invalid { what: "bias", value });
    }
    i32::try_from(round_f64(value))
        .ok()
        .filter(|q| q.unsigned_abs() <= BIAS_LIMIT.unsigned_abs())
        .ok_or(NumericsError::TooLarge { what: "bias in accumulator steps", value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deepest_sum_fits_and_one_more_might_not() {
        for a in 1..=16 {
            for b in 1..=16 {
                let depth = i64::from(max_accumulation_depth(a, b));
                let product = 1i64 << (a + b - 2);
                let limit = i64::from(BIAS_LIMIT);
                assert!(depth * product + limit <= i64::from(i32::MAX));
                assert!((depth + 1) * product + limit > i64::from(i32::MAX));
            }
        }
        assert_eq!(max_accumulation_depth(8, 8), 65_535);
        assert_eq!(max_accumulation_depth(32, 32), 0);
    }

    #[test]
    fn biases() {
        assert_eq!(quantise_bias(0.375, 0.25), Ok(2));
        assert_eq!(quantise_bias(-0.375, 0.25), Ok(-1));
        assert_eq!(quantise_bias(f64::from(BIAS_LIMIT), 1.0), Ok(BIAS_LIMIT));
        assert_eq!(quantise_bias(-f64::from(BIAS_LIMIT), 1.0), Ok(-BIAS_LIMIT));
        for (bias, step) in [
            (1_073_741_825.0, 1.0),
            (-1_073_741_825.0, 1.0),
            (f64::INFINITY, 1.0),
            (f64::NAN, 1.0),
            (1.0, 0.0),
            (1.0, -1.0),
            (1.0, f64::NAN),
        ] {
            assert!(quantise_bias(bias, step).is_err(), "{bias} / {step}");
        }
        assert_eq!(add_bias(i32::MAX, 1), i32::MIN);
    }
}
