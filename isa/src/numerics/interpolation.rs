//! Functions of int16 tensors as tables of 257 values, linearly interpolated.

use super::error::NumericsError;
use super::rounding::{Quantised, round_f64, round_shift};

/// Inputs between two values of the table.
const INTERVAL: i32 = 256;

/// Fraction bits of the values.
const FRACTION_BITS: u8 = 8;

/// A function from int16 to int8 by its values at the multiples of 256.
///
/// Value `s` is that at `256 (s - 128)`, in output steps with 8 fraction bits. Little-endian int16
/// in this order are also the table's layout in the scratchpad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpolation([i16; Interpolation::VALUES]);

impl Interpolation {
    /// Number of values: one more than there are intervals.
    pub const VALUES: usize = 257;

    /// Bytes of the encoded table.
    pub const BYTES: usize = 2 * Interpolation::VALUES;

    /// Tabulates `f`, a function of real values, for an input of step `in_step` and an output of
    /// step `out_step`, both positive: value `s` is `256 f(256 (s - 128) in_step) / out_step`,
    /// rounded by the machine's rule and saturated to int16. NaN becomes 0.
    ///
    /// The values are the same everywhere if `f` is one of [`super::activation`]'s.
    pub fn from_fn(in_step: f64, out_step: f64, f: impl Fn(f64) -> f64) -> Interpolation {
        Interpolation(std::array::from_fn(|s| {
            let x = f64::from((s as i32 - 128) * INTERVAL) * in_step;
            i16::saturate(round_f64(f(x) / out_step * f64::from(INTERVAL)))
        }))
    }

    /// The function of one input.
    #[inline]
    pub fn apply(&self, x: i16) -> i8 {
        let from_zero = i32::from(x) - i32::from(i16::MIN);
        let (s, rest) = ((from_zero / INTERVAL) as usize, from_zero % INTERVAL);
        let (left, right) = (i32::from(self.0[s]), i32::from(self.0[s + 1]));
        let sum = left * (INTERVAL - rest) + right * rest;
        i8::saturate(round_shift(sum.into(), 2 * FRACTION_BITS))
    }

    /// The table in the layout of the scratchpad.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Decodes a table; every content is valid.
    ///
    /// # Errors
    /// There are not [`Interpolation::BYTES`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Interpolation, NumericsError> {
        let (values, rest) = bytes.as_chunks();
        let values: Vec<i16> = values.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
        let length = || NumericsError::Invalid {
            what: "length of an interpolation table",
            value: bytes.len() as f64,
        };
        let values: [i16; Interpolation::VALUES] = values.try_into().map_err(|_| length())?;
        if rest.is_empty() { Ok(Interpolation(values)) } else { Err(length()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_exact_and_saturate() {
        let halves = Interpolation::from_fn(1.0, 512.0, |x| x);
        for x in i16::MIN..=i16::MAX {
            let rounded = (f64::from(x) / 512.0 + 0.5).floor();
            assert_eq!(f64::from(halves.apply(x)), rounded, "{x}");
        }
        let steep = Interpolation::from_fn(1.0, 1.0, |x| x);
        assert_eq!(
            [-32_768, -200, -64, 0, 64, 200, 32_767].map(|x| steep.apply(x)),
            [-128, -100, -32, 0, 32, 100, 127]
        );
        assert_eq!(Interpolation::from_fn(1.0, 1.0, |_| f64::NAN).apply(5), 0);
    }

    #[test]
    fn layout() {
        let table = Interpolation::from_fn(1.0, 1.0, |x| x / 256.0 + 1.0);
        let bytes = table.to_bytes();
        assert_eq!(bytes.len(), Interpolation::BYTES);
        // -127, 1 and 129 with 8 fraction bits; the last saturates.
        assert_eq!(
            [&bytes[..2], &bytes[256..258], &bytes[512..]],
            [&[0x00, 0x81][..], &[0x00, 0x01], &[0xff, 0x7f]]
        );
        assert_eq!(Interpolation::from_bytes(&bytes), Ok(table));
        assert!(Interpolation::from_bytes(&bytes[..513]).is_err());
        assert!(Interpolation::from_bytes(&[0; 516]).is_err());
    }

    /// docs/numerics.md states the bound: half a step; a curvature of `c` bends a line by `c h^2 /
    /// 8` over an interval `h`; and the two values are rounded to 1/512.
    #[test]
    fn activations_are_within_the_stated_error_everywhere() {
        // The largest second derivatives, measured on a fine grid and rounded up.
        type Function = fn(f64) -> f64;
        let functions: [(&str, Function, f64); 4] = [
            ("gelu", activation::gelu, 0.80),
            ("gelu_tanh", activation::gelu_tanh, 0.80),
            ("tanh", activation::tanh, 0.77),
            ("sigmoid", activation::sigmoid, 0.10),
        ];
        for (name, f, curvature) in functions {
            for reach in [3.0, 6.0, 20.0] {
                let out_step = f(reach) / 127.0;
                let in_step = reach / 16_383.0;
                let table = Interpolation::from_fn(in_step, out_step, f);
                let interval = 256.0 * in_step;
                let bound = 0.5 + curvature * interval * interval / 8.0 / out_step + 1.0 / 512.0;
                for x in -16_383..=16_383 {
                    let real = f(f64::from(x) * in_step) / out_step;
                    let error = (f64::from(table.apply(x)) - real.clamp(-128.0, 127.0)).abs();
                    assert!(error <= bound, "{name} {reach} {x}: {error} of {bound}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn values_are_met_and_what_lies_between_them_is_between(
            bytes in prop::collection::vec(any::<u8>(), Interpolation::BYTES),
            x: i16,
        ) {
            let table = Interpolation::from_bytes(&bytes).unwrap();
            let s = ((i32::from(x) + 32_768) / 256) as usize;
            let value = |s: usize| {
                i8::saturate(round_shift(i64::from(table.0[s]), FRACTION_BITS))
            };
            let (left, right) = (value(s), value(s + 1));
            prop_assert_eq!(table.apply((x >> 8) << 8), left);
            let found = table.apply(x);
            prop_assert!(left.min(right) <= found && found <= left.max(right));
        }
    }
}
