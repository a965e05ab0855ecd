//! Sums of two tensors with different steps: `saturate(round_shift(x mx + y my, shift))`.
//!
//! With `|x|, |y| <= 2^15` and mantissas below `2^31` the sum is at most `2^47`. The mantissas
//! share one shift, so the sum is exact and rounded once. The larger of the two has 31 significant
//! bits; before that rounding the result is off by at most `2^15 2^-shift` output steps, which
//! is `2^-15` of the larger ratio of steps.

use super::error::{NumericsError, check_step};
use super::rounding::{Quantised, pow2, round_f64, round_shift, widest_shift};

/// The constants of a rescaled add: two multipliers that share a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RescaleAdd {
    mx: i32,
    my: i32,
    shift: u8,
}

impl RescaleAdd {
    /// The largest shift.
    pub const MAX_SHIFT: u8 = 62;
    /// Length of the encoding in bytes.
    pub const BYTES: usize = 12;

    /// The constants for operands of steps `step_x` and `step_y` and a result of step `step_out`;
    /// the shift is the largest at which both multipliers fit.
    ///
    /// # Errors
    /// A step is not positive and finite, or an operand's step is `2^31` or more times the
    /// result's.
    pub fn new(step_x: f64, step_y: f64, step_out: f64) -> Result<Self, NumericsError> {
        check_step("step of the first operand", step_x)?;
        check_step("step of the second operand", step_y)?;
        check_step("step of the sum", step_out)?;
        let (x, y) = (step_x / step_out, step_y / step_out);
        let shift = widest_shift(x.max(y), Self::MAX_SHIFT)
            .ok_or(NumericsError::TooLarge { what: "ratio of steps", value: x.max(y) })?;
        let fixed = |ratio: f64| round_f64(ratio * pow2(shift)) as i32;
        Ok(RescaleAdd { mx: fixed(x), my: fixed(y), shift })
    }

    /// The sum of two values, narrowed to int8 or int16.
    #[inline]
    pub fn apply<O: Quantised>(self, x: impl Quantised, y: impl Quantised) -> O {
        let sum = x.into() * i64::from(self.mx) + y.into() * i64::from(self.my);
        O::saturate(round_shift(sum, self.shift))
    }

    /// The encoding, little-endian: both multipliers as `i32`, shift as `u8`, three zero bytes.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let [x0, x1, x2, x3] = self.mx.to_le_bytes();
        let [y0, y1, y2, y3] = self.my.to_le_bytes();
        [x0, x1, x2, x3, y0, y1, y2, y3, self.shift, 0, 0, 0]
    }

    /// Decodes [`RescaleAdd::to_bytes`].
    ///
    /// # Errors
    /// A multiplier is negative, the shift is above 62 or a reserved byte is not zero.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, NumericsError> {
        let [x0, x1, x2, x3, y0, y1, y2, y3, shift, reserved @ ..] = bytes;
        let mx = i32::from_le_bytes([x0, x1, x2, x3]);
        let my = i32::from_le_bytes([y0, y1, y2, y3]);
        let reason = if reserved != [0; 3] {
            "reserved bytes are not zero"
        } else if shift > Self::MAX_SHIFT {
            "the shift is above 62"
        } else if mx < 0 || my < 0 {
            "a multiplier is negative"
        } else {
            return Ok(RescaleAdd { mx, my, shift });
        };
        Err(NumericsError::Malformed { what: "rescaled add", reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps() -> impl Strategy<Value = (f64, f64, f64)> {
        (1e-6f64..1.0, 1e-6f64..1.0, 1e-4f64..1.0)
    }

    #[test]
    fn every_pair_of_bytes_with_equal_steps() {
        let add = RescaleAdd::new(0.1, 0.1, 0.1).unwrap();
        let halved = RescaleAdd::new(0.1, 0.1, 0.2).unwrap();
        for x in i8::MIN..=i8::MAX {
            for y in i8::MIN..=i8::MAX {
                assert_eq!(add.apply::<i8>(x, y), x.saturating_add(y));
                assert_eq!(add.apply::<i16>(x, y), i16::from(x) + i16::from(y));
                let sum = i32::from(x) + i32::from(y);
                assert_eq!(i32::from(halved.apply::<i8>(x, y)), (sum + 1).div_euclid(2));
            }
        }
    }

    #[test]
    fn extremes() {
        let widest = RescaleAdd { mx: i32::MAX, my: i32::MAX, shift: 0 };
        assert_eq!(widest.apply::<i16>(i16::MIN, i16::MIN), i16::MIN);
        assert_eq!(widest.apply::<i8>(i16::MAX, i16::MAX), i8::MAX);
        let narrowest = RescaleAdd { shift: 62, ..widest };
        assert_eq!(narrowest.apply::<i16>(i16::MIN, i16::MIN), 0);
    }

    #[test]
    fn rejects_bad_steps() {
        for (x, y, out) in [
            (0.0, 1.0, 1.0),
            (1.0, -1.0, 1.0),
            (1.0, 1.0, f64::NAN),
            (f64::INFINITY, 1.0, 1.0),
            (1.0, 1.0, 1e-10),
            (1.0, 1.0, f64::MIN_POSITIVE / 4.0),
        ] {
            assert!(RescaleAdd::new(x, y, out).is_err(), "{x} {y} {out}");
        }
        let good = RescaleAdd::new(0.3, 0.2, 0.1).unwrap().to_bytes();
        for (at, value) in [(3, 0x80), (7, 0xff), (8, 63), (9, 1), (10, 1), (11, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert!(RescaleAdd::from_bytes(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn close_to_the_real_sum(x: i16, y: i16, (sx, sy, so) in steps()) {
            let add = RescaleAdd::new(sx, sy, so).unwrap();
            let real = (f64::from(x) * sx + f64::from(y) * sy) / so;
            let slack = 1e-9 + sx.max(sy) / so / 32_768.0;
            let clamped = real.clamp(-32_768.0, 32_767.0);
            prop_assert!((f64::from(add.apply::<i16>(x, y)) - clamped).abs() <= 0.5 + slack);
            let clamped = real.clamp(-128.0, 127.0);
            prop_assert!((f64::from(add.apply::<i8>(x, y)) - clamped).abs() <= 0.5 + slack);
        }

        #[test]
        fn exact_in_wide_integers(x: i16, y: i16, mx in 0.., my in 0.., shift in 0u8..=62) {
            let add = RescaleAdd { mx, my, shift };
            let sum = i128::from(x) * i128::from(mx) + i128::from(y) * i128::from(my);
            let rounded = (2 * sum + (1i128 << shift)).div_euclid(2i128 << shift);
            prop_assert_eq!(i128::from(add.apply::<i16>(x, y)), rounded.clamp(-32_768, 32_767));
        }

        #[test]
        fn bytes_round_trip((sx, sy, so) in steps()) {
            let add = RescaleAdd::new(sx, sy, so).unwrap();
            prop_assert_eq!(RescaleAdd::from_bytes(add.to_bytes()), Ok(add));
            prop_assert!(add.mx.max(add.my) >= 1 << 30 || add.shift == RescaleAdd::MAX_SHIFT);
        }
    }
}
