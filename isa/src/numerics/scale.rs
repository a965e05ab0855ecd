//! Positive fixed-point multipliers.

use super::error::{NumericsError, check_not_negative};
use super::rounding::round_shift;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The real multiplier `mantissa * 2^-shift`: zero, or a number in `[2^-32, 2^31)` with 31
/// significant bits.
///
/// Each value has one representation: `mantissa` is in `[2^30, 2^31)` and `shift` in `0..=62`,
/// and zero is mantissa 0 with shift 0. `Display` prints the exact value as a decimal that
/// [`Scale::from_f64`] reads back to the same scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; Scale::BYTES]", into = "[u8; Scale::BYTES]")]
pub struct Scale {
    mantissa: i32,
    shift: u8,
}

impl Scale {
    /// The multiplier 0.
    pub const ZERO: Scale = Scale { mantissa: 0, shift: 0 };
    /// The multiplier 1.
    pub const ONE: Scale = Scale { mantissa: 1 << 30, shift: 30 };
    /// The largest multiplier, `2^31 - 1`.
    pub const MAX: Scale = Scale { mantissa: i32::MAX, shift: 0 };
    /// The largest shift.
    pub const MAX_SHIFT: u8 = 62;
    /// Length of the encoding in bytes.
    pub const BYTES: usize = 8;

    /// The integer factor.
    #[inline]
    pub const fn mantissa(self) -> i32 {
        self.mantissa
    }

    /// The number of fraction bits of the mantissa.
    #[inline]
    pub const fn shift(self) -> u8 {
        self.shift
    }

    /// The nearest scale to `value`, halves up. For the compiler, not for the device.
    ///
    /// Values that round to less than `2^-32` become zero, which changes no result: they take
    /// every `i32` to less than one half.
    ///
    /// # Errors
    /// `value` is negative, infinite or NaN, or `2^31 - 1/2` and larger.
    pub fn from_f64(value: f64) -> Result<Scale, NumericsError> {
        const FRACTION_BITS: u32 = 52;
        const EXPONENT_BIAS: i32 = 1023;
        check_not_negative("scale", value)?;
        let bits = value.to_bits();
        let exponent = ((bits >> FRACTION_BITS) & 0x7ff) as i32;
        if exponent == 0 {
            // Zero, or a subnormal number: far below 2^-32.
            return Ok(Scale::ZERO);
        }
        let significand = (bits & ((1 << FRACTION_BITS) - 1)) | (1 << FRACTION_BITS);
        let shift = EXPONENT_BIAS + 30 - exponent;
        Self::normalised(round_shift(significand as i64, 22), shift)
            .ok_or(NumericsError::TooLarge { what: "scale", value })
    }

    /// The exact value.
    pub fn to_f64(self) -> f64 {
        f64::from(self.mantissa) / super::rounding::pow2(self.shift)
    }

    /// The product of two scales, rounded once to 31 significant bits.
    ///
    /// Below `2^-32` the product is zero and from `2^31` upwards it is [`Scale::MAX`]. Neither
    /// changes a saturated result: the first takes every accumulator to 0, the second takes every
    /// accumulator but 0 to the end of the range.
    pub const fn combine(self, other: Scale) -> Scale {
        if self.mantissa == 0 || other.mantissa == 0 {
            return Scale::ZERO;
        }
        // Both mantissas are in [2^30, 2^31), so the product is in [2^60, 2^62).
        let product = self.mantissa as i64 * other.mantissa as i64;
        let drop = if product >= 1 << 61 { 31 } else { 30 };
        let shift = self.shift as i32 + other.shift as i32 - drop as i32;
        match Self::normalised(round_shift(product, drop), shift) {
            Some(scale) => scale,
            None => Scale::MAX,
        }
    }

    /// `1 / divisor`, correctly rounded to 31 significant bits; zero for divisor 0, so that a row
    /// without probabilities normalises to zeros.
    pub const fn reciprocal(divisor: u32) -> Scale {
        if divisor == 0 {
            return Scale::ZERO;
        }
        let divisor = divisor as u64;
        if divisor.is_power_of_two() {
            return Scale { mantissa: 1 << 30, shift: 30 + divisor.trailing_zeros() as u8 };
        }
        // 2^(bits-1) < divisor < 2^bits puts the quotient strictly between 2^30 and 2^31, and
        // even 2^62 / (2^31 + 1), the largest, rounds to less than 2^31.
        let bits = u64::BITS - divisor.leading_zeros();
        let mantissa = ((1 << (30 + bits)) + divisor / 2) / divisor;
        Scale { mantissa: mantissa as i32, shift: 30 + bits as u8 }
    }

    /// The encoding: mantissa as little-endian `i32`, shift as `u8`, three zero bytes.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.mantissa.to_le_bytes();
        [a, b, c, d, self.shift, 0, 0, 0]
    }

    /// Decodes [`Scale::to_bytes`].
    ///
    /// # Errors
    /// The bytes are not the one encoding of a scale.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Scale, NumericsError> {
        let [a, b, c, d, shift, reserved @ ..] = bytes;
        let mantissa = i32::from_le_bytes([a, b, c, d]);
        let reason = if reserved != [0; 3] {
            "reserved bytes are not zero"
        } else if shift > Self::MAX_SHIFT {
            "the shift is above 62"
        } else if mantissa < 1 << 30 && !(mantissa == 0 && shift == 0) {
            "the mantissa is not normalised"
        } else {
            return Ok(Scale { mantissa, shift });
        };
        Err(NumericsError::Malformed { what: "scale", reason })
    }

    /// The scale of a rounded mantissa in `[2^30, 2^31]`, where the upper end is a carry:
    /// zero below the range of scales, `None` above it.
    const fn normalised(mantissa: i64, shift: i32) -> Option<Scale> {
        let (mantissa, shift) =
            if mantissa == 1 << 31 { (1 << 30, shift - 1) } else { (mantissa, shift) };
        if shift < 0 {
            None
        } else if shift > Self::MAX_SHIFT as i32 {
            Some(Scale::ZERO)
        } else {
            Some(Scale { mantissa: mantissa as i32, shift: shift as u8 })
        }
    }
}

impl From<Scale> for [u8; Scale::BYTES] {
    fn from(scale: Scale) -> Self {
        scale.to_bytes()
    }
}

impl TryFrom<[u8; Scale::BYTES]> for Scale {
    type Error = NumericsError;

    fn try_from(bytes: [u8; Scale::BYTES]) -> Result<Scale, NumericsError> {
        Scale::from_bytes(bytes)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_f64().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scales() -> impl Strategy<Value = Scale> {
        (1i32 << 30..=i32::MAX, 0..=Scale::MAX_SHIFT)
            .prop_map(|(mantissa, shift)| Scale { mantissa, shift })
    }

    fn scale(value: f64) -> Scale {
        Scale::from_f64(value).unwrap()
    }

    #[test]
    fn known_values() {
        assert_eq!(scale(1.0), Scale::ONE);
        assert_eq!(scale(0.0), Scale::ZERO);
        assert_eq!(scale(-0.0), Scale::ZERO);
        assert_eq!(scale(f64::MIN_POSITIVE / 2.0), Scale::ZERO);
        assert_eq!(scale(2_147_483_647.0), Scale::MAX);
        assert_eq!(scale(0.75), Scale { mantissa: 3 << 29, shift: 31 });
        // 2^-32 is the smallest scale; half a unit below it still rounds to it.
        let smallest = 1.0 / 4_294_967_296.0;
        assert_eq!(scale(smallest), Scale { mantissa: 1 << 30, shift: 62 });
        assert_eq!(scale(smallest.next_down()), Scale { mantissa: 1 << 30, shift: 62 });
        assert_eq!(scale(smallest * 0.999), Scale::ZERO);
        // Rounding carries into the next power of two.
        assert_eq!(scale(1.0f64.next_down()), Scale::ONE);
    }

    #[test]
    fn rejects_what_is_no_scale() {
        for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(Scale::from_f64(value), Err(NumericsError::Invalid { .. })));
        }
        for value in [2_147_483_647.5, 2_147_483_648.0, f64::MAX] {
            assert!(matches!(Scale::from_f64(value), Err(NumericsError::TooLarge { .. })));
        }
    }

    #[test]
    fn every_malformed_byte_is_rejected() {
        let good = scale(0.3).to_bytes();
        assert_eq!(Scale::from_bytes(good), Ok(scale(0.3)));
        assert_eq!(Scale::from_bytes([0; 8]), Ok(Scale::ZERO));
        for (at, value) in [(3, 0x3f), (3, 0xff), (3, 0), (4, 63), (5, 1), (6, 1), (7, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert!(Scale::from_bytes(bad).is_err(), "{bad:?}");
        }
        assert!(Scale::from_bytes([0, 0, 0, 0, 1, 0, 0, 0]).is_err());
    }

    #[test]
    fn products_out_of_range() {
        assert_eq!(Scale::MAX.combine(Scale::MAX), Scale::MAX);
        let smallest = Scale { mantissa: 1 << 30, shift: 62 };
        assert_eq!(smallest.combine(smallest), Scale::ZERO);
        assert_eq!(Scale::ZERO.combine(Scale::MAX), Scale::ZERO);
        assert_eq!(smallest.combine(Scale::ONE), smallest);
    }

    #[test]
    fn reciprocal_edges() {
        assert_eq!(Scale::reciprocal(0), Scale::ZERO);
        assert_eq!(Scale::reciprocal(1), Scale::ONE);
        for bit in 0..32 {
            assert_eq!(Scale::reciprocal(1 << bit), Scale { mantissa: 1 << 30, shift: 30 + bit });
        }
        assert_eq!(Scale::reciprocal((1 << 31) + 1), Scale { mantissa: i32::MAX, shift: 62 });
        assert_eq!(Scale::reciprocal(u32::MAX), Scale { mantissa: 1 << 30, shift: 62 });
    }

    /// `2 |mantissa * divisor - 2^shift| <= divisor`: no other mantissa is nearer.
    fn is_nearest_reciprocal(divisor: u32) -> bool {
        let s = Scale::reciprocal(divisor);
        let error = i128::from(s.mantissa) * i128::from(divisor) - (1i128 << s.shift);
        s.mantissa >= 1 << 30 && 2 * error.abs() <= i128::from(divisor)
    }

    #[test]
    fn reciprocal_of_every_small_sum() {
        assert!((1..=127 * 4096).all(is_nearest_reciprocal));
    }

    proptest! {
        #[test]
        fn reciprocal_is_nearest(divisor in 1u32..) {
            prop_assert!(is_nearest_reciprocal(divisor));
        }

        #[test]
        fn real_values_round_trip(s in scales()) {
            prop_assert_eq!(scale(s.to_f64()), s);
            prop_assert_eq!(scale(s.to_string().parse().unwrap()), s);
            prop_assert_eq!(Scale::from_bytes(s.to_bytes()), Ok(s));
        }

        #[test]
        fn from_f64_is_nearest(value in 1e-9f64..2e9) {
            let s = scale(value);
            prop_assert!((s.to_f64() - value).abs() * 2.0 <= 1.0 / super::super::rounding::pow2(s.shift));
        }

        #[test]
        fn combine_rounds_once(a in scales(), b in scales()) {
            let exact = i128::from(a.mantissa) * i128::from(b.mantissa);
            let exact_shift = u32::from(a.shift) + u32::from(b.shift);
            let c = a.combine(b);
            if c == Scale::ZERO {
                // Half a unit below 2^-32 still rounds up to it.
                prop_assert!(exact < 1i128 << (exact_shift - 32));
            } else if c == Scale::MAX {
                prop_assert!(2 * exact >= ((1i128 << 32) - 3) << exact_shift);
            } else {
                // The exact product has 29 to 31 more fraction bits than c.
                let extra = exact_shift - u32::from(c.shift);
                let error = (i128::from(c.mantissa) << extra) - exact;
                prop_assert!(2 * error.abs() <= 1i128 << extra);
            }
            prop_assert_eq!(c, b.combine(a));
        }

        #[test]
        fn decoding_accepts_only_encodings(bytes: [u8; 8]) {
            if let Ok(s) = Scale::from_bytes(bytes) {
                prop_assert_eq!(s.to_bytes(), bytes);
            }
        }
    }
}
