//! LayerNorm over rows, in integers.
//!
//! For a row `x` of width `C` with step `a`, all sums exact:
//!
//! ```text
//! S   = sum x_i                          |S|   <= 2^28
//! d_i = C x_i - S                        |d_i| <  2^29     C/a times the centred value
//! V   = C sum x_i^2 - S^2                0 <= V <= 2^56    (C/a)^2 times the variance
//! W   = V + E,  E = eps (C/a)^2          0 <= W <  2^63    E rounded by the compiler, <= 2^62
//! W'  = W 2^(2k)  in [2^62, 2^64)        0 <= k <= 31
//! R   = floor(2^62 / sqrt(W'))           2^30 <= R <= 2^31
//! y_i = round_shift(d_i R, 62-k-20)      |d_i R| <= 2^60,  |y_i| < 2^27
//! out = saturate(round_shift(y_i g_i + b_i 2^20, shift + 20))
//!                                        |y_i g_i| <= 2^58, |b_i 2^20| <= 2^51
//! ```
//!
//! `y_i` is the normalised value with 20 fraction bits. It is bounded because the `d_i` sum to
//! zero and their squares to `C V`, so `d_i^2 <= (C-1) V` and `|d_i| / sqrt(W) < sqrt(2^13)`.
//! `g_i` and `b_i` are gamma and beta in output steps with `shift` fraction bits. `W = 0` (a
//! constant row and no epsilon) makes every `d_i` zero: the output is beta.
//!
//! The error before the last rounding, in output steps, with `G` the largest gamma in output
//! steps: `G (2^-21 + |y| 2^-30) + (|y| + 1) 2^-(shift+1)`, and what the rounding of `E` does: a
//! relative change of `y` of about `1 / (4 W)`, where `V` is 0 or at least `C - 1`.

use super::error::{NumericsError, check_not_negative, check_step};
use super::rounding::{Quantised, pow2, round_f64, round_shift, widest_shift};

/// The widest row of LayerNorm. The bounds above are for this width.
pub const MAX_LAYER_NORM_WIDTH: usize = 1 << 13;

/// Fraction bits of the normalised value `y`.
const FRACTION_BITS: u8 = 20;

/// Largest `shift`, so that `shift + FRACTION_BITS` is below the width of the sum it divides.
const MAX_SHIFT: u8 = 42;

/// Largest epsilon term; keeps `W` below `2^63`.
const MAX_EPSILON_TERM: u64 = 1 << 62;

/// Gamma and beta of one channel in output steps, with the tensor's fraction bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Channel {
    gamma: i32,
    beta: i32,
}

/// The constants of a LayerNorm in the layout of the scratchpad, with 1 to [`MAX_LAYER_NORM_WIDTH`]
/// channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerNormParams {
    epsilon_term: u64,
    shift: u8,
    channels: Vec<Channel>,
}

impl LayerNormParams {
    /// Length of the encoding's header in bytes.
    pub const HEADER_BYTES: usize = 16;
    /// Length of the encoding of a channel in bytes.
    pub const CHANNEL_BYTES: usize = 8;

    /// Quantises a LayerNorm, for an input of step `in_step` and an output of step `out_step`.
    ///
    /// `shift` is the largest at which every `gamma / out_step` and `beta / out_step` fits in an
    /// `i32`: the largest of them has 31 significant bits.
    ///
    /// # Errors
    /// `gamma` and `beta` differ in length or have an unsupported length; a parameter is not
    /// finite, `epsilon` is negative, or a step is not positive; or a channel or the epsilon term
    /// exceeds its field.
    pub fn new(
        gamma: &[f64],
        beta: &[f64],
        epsilon: f64,
        in_step: f64,
        out_step: f64,
    ) -> Result<Self, NumericsError> {
        check_width("gamma", gamma.len())?;
        if beta.len() != gamma.len() {
            return Err(NumericsError::Length {
                what: "beta",
                found: beta.len(),
                expected: gamma.len().to_string(),
            });
        }
        check_not_negative("epsilon", epsilon)?;
        check_step("input step", in_step)?;
        check_step("output step", out_step)?;

        let width_in_steps = gamma.len() as f64 / in_step;
        let epsilon_term = epsilon * width_in_steps * width_in_steps;
        if epsilon_term.is_nan() || epsilon_term > MAX_EPSILON_TERM as f64 {
            return Err(NumericsError::TooLarge { what: "epsilon term", value: epsilon_term });
        }

        let mut largest = 0.0f64;
        for (what, values) in [("gamma", gamma), ("beta", beta)] {
            for &value in values {
                check_not_negative(what, value.abs())?;
                largest = largest.max(value.abs() / out_step);
            }
        }
        let shift = widest_shift(largest, MAX_SHIFT).ok_or(NumericsError::TooLarge {
            what: "gamma or beta in output steps",
            value: largest,
        })?;
        let fixed = |value: f64| round_f64(value / out_step * pow2(shift)) as i32;
        Ok(LayerNormParams {
            epsilon_term: round_f64(epsilon_term).unsigned_abs(),
            shift,
            channels: gamma
                .iter()
                .zip(beta)
                .map(|(&gamma, &beta)| Channel { gamma: fixed(gamma), beta: fixed(beta) })
                .collect(),
        })
    }

    /// The number of channels `C`.
    pub fn width(&self) -> usize {
        self.channels.len()
    }

    /// Length in bytes of the encoding of `width` channels.
    pub const fn encoded_len(width: usize) -> usize {
        Self::HEADER_BYTES + width * Self::CHANNEL_BYTES
    }

    /// Encodes the parameters, little-endian: epsilon term `u64`, shift `u8`, seven zero bytes;
    /// then gamma `i32` and beta `i32` of each channel.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::encoded_len(self.width()));
        bytes.extend(self.epsilon_term.to_le_bytes());
        bytes.push(self.shift);
        bytes.resize(Self::HEADER_BYTES, 0);
        for channel in &self.channels {
            bytes.extend(channel.gamma.to_le_bytes());
            bytes.extend(channel.beta.to_le_bytes());
        }
        bytes
    }

    /// Decodes [`LayerNormParams::to_bytes`]; the number of channels follows from the length.
    ///
    /// # Errors
    /// The bytes are not an encoding of parameters within the documented ranges.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NumericsError> {
        let malformed = |reason| NumericsError::Malformed { what: "LayerNorm parameters", reason };
        let (epsilon_term, rest) = bytes.split_first_chunk().ok_or(malformed("no header"))?;
        let epsilon_term = u64::from_le_bytes(*epsilon_term);
        let (&[shift, reserved @ ..], rest) =
            rest.split_first_chunk::<8>().ok_or(malformed("no header"))?;
        let (channels, []) = rest.as_chunks::<{ Self::CHANNEL_BYTES }>() else {
            return Err(malformed("the last channel is incomplete"));
        };
        check_width("LayerNorm parameters", channels.len())?;
        if reserved != [0; 7] {
            return Err(malformed("reserved bytes are not zero"));
        }
        if shift > MAX_SHIFT {
            return Err(malformed("the shift is above 42"));
        }
        if epsilon_term > MAX_EPSILON_TERM {
            return Err(malformed("the epsilon term is above 2^62"));
        }
        let channels = channels
            .iter()
            .map(|&[g0, g1, g2, g3, b0, b1, b2, b3]| Channel {
                gamma: i32::from_le_bytes([g0, g1, g2, g3]),
                beta: i32::from_le_bytes([b0, b1, b2, b3]),
            })
            .collect();
        Ok(LayerNormParams { epsilon_term, shift, channels })
    }
}

fn check_width(what: &'static str, width: usize) -> Result<(), NumericsError> {
    if (1..=MAX_LAYER_NORM_WIDTH).contains(&width) {
        Ok(())
    } else {
        Err(NumericsError::Length {
            what,
            found: width,
            expected: format!("1 to {MAX_LAYER_NORM_WIDTH}"),
        })
    }
}

/// Normalises a row of int8 or int16 values to int8 or int16; the module documents the formula.
///
/// # Panics
/// `x` or `out` is not as long as the parameters are wide.
pub fn layer_norm_row<I: Quantised, O: Quantised>(
    x: &[I],
    params: &LayerNormParams,
    out: &mut [O],
) {
    let width = params.width();
    assert_eq!((x.len(), out.len()), (width, width), "row and parameters differ in width");

    let (mut sum, mut squares) = (0i64, 0i64);
    for &x in x {
        let x: i64 = x.into();
        sum += x;
        squares += x * x;
    }
    let width = width as i64;
    let variance = (width * squares - sum * sum).unsigned_abs();
    let (root, shift) = reciprocal_root(variance + params.epsilon_term);
    for ((&x, channel), out) in x.iter().zip(&params.channels).zip(out) {
        let x: i64 = x.into();
        let centred = width * x - sum;
        let y = round_shift(centred * root, shift - FRACTION_BITS);
        let affine = y * i64::from(channel.gamma) + (i64::from(channel.beta) << FRACTION_BITS);
        *out = O::saturate(round_shift(affine, params.shift + FRACTION_BITS));
    }
}

/// `(R, 62 - k)` with `1 / sqrt(w) ~ R 2^-(62-k)`, from below, and a relative error under `2^-30`;
/// for 0, any value will do, as every centred value is 0 then.
///
/// `floor(2^62 / sqrt(W'))` is computed as `isqrt(floor(2^124 / W'))`: a root of a floored number
/// has the same floor.
fn reciprocal_root(w: u64) -> (i64, u8) {
    if w == 0 {
        return (0, 62);
    }
    let k = w.leading_zeros() / 2;
    let normalised = w << (2 * k);
    let root = ((1u128 << 124) / u128::from(normalised)).isqrt();
    (root as i64, 62 - k as u8)
}

#[cfg(test)]
mod tests;
