//! Activations of int8 tensors as tables of 256 entries.

use super::rounding::{Quantised, round_f64};

/// An activation as a table from int8 to int8.
///
/// Entry `x as u8` holds the result for `x`: the non-negative inputs come first. This is also the
/// table's layout in the scratchpad, one byte for each entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lut([i8; 256]);

impl Lut {
    /// Tabulates `f`, a function of real values, for an input of step `in_step` and an output of
    /// step `out_step`, both positive: entry `x` is `f(x in_step) / out_step`, rounded by the
    /// machine's rule and saturated. NaN becomes 0.
    ///
    /// The entries are the same everywhere if `f` is one of [`super::activation`]'s.
    pub fn from_fn(in_step: f64, out_step: f64, f: impl Fn(f64) -> f64) -> Lut {
        Lut(std::array::from_fn(|index| {
            let x = f64::from(index as u8 as i8) * in_step;
            i8::saturate(round_f64(f(x) / out_step))
        }))
    }

    /// Looks up one value.
    #[inline]
    pub const fn apply(&self, x: i8) -> i8 {
        self.0[x as u8 as usize]
    }

    /// The table in the layout of the scratchpad.
    pub fn to_bytes(&self) -> [u8; 256] {
        self.0.map(|entry| entry as u8)
    }

    /// Decodes a table; every content is valid.
    pub fn from_bytes(bytes: &[u8; 256]) -> Lut {
        Lut(bytes.map(|byte| byte as i8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_layout() {
        let lut = Lut::from_fn(0.1, 0.1, |x| x);
        assert!((i8::MIN..=i8::MAX).all(|x| lut.apply(x) == x));
        let bytes = lut.to_bytes();
        assert_eq!([bytes[1], bytes[127], bytes[128], bytes[255]], [1, 127, 0x80, 0xff]);
        assert_eq!(Lut::from_bytes(&bytes), lut);
    }

    #[test]
    fn saturates_and_rounds_by_the_rule_of_the_machine() {
        let lut = Lut::from_fn(1.0, 2.0, |x| x);
        assert_eq!([-3, -1, 1, 3].map(|x| lut.apply(x)), [-1, 0, 1, 2]);
        let steep = Lut::from_fn(1.0, 1.0, |x| 1e300 * x);
        assert_eq!([-1, 0, 1].map(|x| steep.apply(x)), [-128, 0, 127]);
        assert_eq!(Lut::from_fn(1.0, 1.0, |_| f64::NAN).apply(5), 0);
    }
}
