//! Weights in integers.

use vitcod_isa::numerics::{BIAS_LIMIT, Scale, quantise_bias, quantise_i8};
use vitcod_isa::operands::Channel;

/// Largest magnitude of an int8 that has its negative.
pub(super) const I8_MAX: f64 = 127.0;

/// A linear layer in integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QuantisedLinear {
    /// `[n,k]`, as bytes.
    pub(super) weights: Vec<u8>,
    /// One for each row of the weights.
    pub(super) channels: Vec<Channel>,
}

impl QuantisedLinear {
    /// Quantises `w[n,k]` and `b[n]`, symmetrically per output channel, for activations of step `x_step` and results of step `out_step`.
    ///
    /// # Errors
    /// A weight or bias is not finite.
    pub(super) fn new(w: &[f32], b: &[f32], x_step: f64, out_step: f64) -> Result<QuantisedLinear, String> {
        let depth = w.len().checked_div(b.len()).unwrap_or(0);
        let mut linear =
            QuantisedLinear { weights: Vec::with_capacity(w.len()), channels: Vec::with_capacity(b.len()) };
        for (i, bias) in b.iter().enumerate() {
            let row = &w[i * depth..][..depth];
            if let Some(number) = row.iter().chain([bias]).find(|number| !number.is_finite()) {
                return Err(format!("a weight or bias is {number}"));
            }
            let bias = f64::from(*bias);
            let step = weight_step(row, bias, x_step);
            linear.weights.extend(row.iter().map(|weight| quantise_i8(*weight, step) as u8));
            let bias = quantise_bias(bias, x_step * step).map_err(|error| error.to_string())?;
            linear.channels.push(Channel { bias, scale: multiplier(x_step * step / out_step) });
        }
        Ok(linear)
    }
}

/// The finest step at which the weights fit an int8 and the bias the accumulator; 1 for a channel of zeros.
fn weight_step(weights: &[f32], bias: f64, x_step: f64) -> f64 {
    let largest = weights.iter().fold(0f32, |max, weight| max.max(weight.abs()));
    // A bias far above all that the weights add leaves them fewer levels. One less than the limit absorbs the division's rounding.
    let step = (f64::from(largest) / I8_MAX).max(bias.abs() / x_step / f64::from(BIAS_LIMIT - 1));
    if step > 0.0 { step } else { 1.0 }
}

/// The fixed-point multiplier nearest to a ratio of steps. One beyond the largest takes every accumulator but 0 to the end of the
/// range either way.
pub(super) fn multiplier(ratio: f64) -> Scale {
    Scale::from_f64(ratio).unwrap_or(Scale::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantise(w: &[f32], b: &[f32]) -> QuantisedLinear {
        QuantisedLinear::new(w, b, 0.5, 0.25).unwrap()
    }

    #[test]
    fn a_step_for_each_channel() {
        // Steps 1/127 and 2/127.
        let linear = quantise(&[1.0, -0.5, 2.0, -2.0], &[1.0, -1.0]);
        assert_eq!(linear.weights, [127, -63i8 as u8, 127, -127i8 as u8]);
        let biases: Vec<i32> = linear.channels.iter().map(|channel| channel.bias).collect();
        assert_eq!(biases, [254, -127]);
        let scales: Vec<f64> = linear.channels.iter().map(|channel| channel.scale.to_f64()).collect();
        assert!((scales[0] - 2.0 / 127.0).abs() < 1e-10 && (scales[1] - 4.0 / 127.0).abs() < 1e-10);
    }

    #[test]
    fn channels_of_zeros_and_huge_biases() {
        let linear = quantise(&[0.0, 0.0, 1e-20, 0.0], &[3.0, -1000.0]);
        assert_eq!(linear.weights, [0; 4]);
        for (channel, bias) in linear.channels.iter().zip([3.0, -1000.0]) {
            let found = f64::from(channel.bias) * channel.scale.to_f64() * 0.25;
            assert!((found - bias).abs() < 1e-5, "{found}");
        }
        assert_eq!(quantise(&[0.0; 2], &[0.0]).channels, [Channel { bias: 0, scale: multiplier(2.0) }]);
        assert!(quantise(&[], &[1.0]).weights.is_empty());
        assert!(quantise(&[], &[]).channels.is_empty());
        for value in [f32::NAN, f32::INFINITY] {
            assert!(QuantisedLinear::new(&[value], &[0.0], 1.0, 1.0).is_err());
            assert!(QuantisedLinear::new(&[0.0], &[value], 1.0, 1.0).is_err());
        }
    }

    #[test]
    fn multipliers_saturate() {
        assert_eq!(multiplier(1.0), Scale::ONE);
        assert_eq!(multiplier(1e30), Scale::MAX);
        assert_eq!(multiplier(f64::INFINITY), Scale::MAX);
        assert_eq!(multiplier(1e-30), Scale::ZERO);
    }
}
