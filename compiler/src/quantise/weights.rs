//! Weights in integers.

use vitcod_isa::numerics::{BIAS_LIMIT, Scale, quantise_bias, quantise_i8};
use vitcod_isa::operands::Channel;

use crate::calibration::I8_MAX;

/// A linear layer in integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QuantisedLinear {
    /// `[n,k]`, as bytes.
    pub(super) weights: Vec<u8>,
    /// One for each row of the weights.
    pub(super) channels: Vec<Channel>,
}

impl QuantisedLinear {
    /// Quantises `w[n,k]` and `b[n]`, symmetrically per output channel, for activations of step
    /// `x_step` and results of step `out_step`. Given the means of the `k` activations, biases
    /// compensate the change of a mean result that rounding the weights causes.
    ///
    /// # Errors
    /// A weight or bias is not finite.
    pub(super) fn new(
        w: &[f32],
        b: &[f32],
        x_step: f64,
        out_step: f64,
        means: Option<&[f64]>,
    ) -> Result<QuantisedLinear, String> {
        let depth = w.len().checked_div(b.len()).unwrap_or(0);
        let mut linear = QuantisedLinear {
            weights: Vec::with_capacity(w.len()),
            channels: Vec::with_capacity(b.len()),
        };
        for (i, bias) in b.iter().enumerate() {
            let row = &w[i * depth..][..depth];
            if let Some(number) = row.iter().chain([bias]).find(|number| !number.is_finite()) {
                return Err(format!("a weight or bias is {number}"));
            }
            let bias = f64::from(*bias);
            let step = weight_step(row, bias, x_step);
            let weights: Vec<i8> = row.iter().map(|weight| quantise_i8(*weight, step)).collect();
            let lost = row
                .iter()
                .zip(&weights)
                .map(|(weight, q)| f64::from(*weight) - f64::from(*q) * step);
            let shift: f64 =
                means.into_iter().flatten().zip(lost).map(|(mean, lost)| mean * lost).sum();
            linear.weights.extend(weights.into_iter().map(|weight| weight as u8));
            let bias = quantise_bias(bias + shift, x_step * step)
                .or_else(|_| quantise_bias(bias, x_step * step));
            let bias = bias.map_err(|error| error.to_string())?;
            linear.channels.push(Channel { bias, scale: multiplier(x_step * step / out_step) });
        }
        Ok(linear)
    }
}

/// The finest step at which the weights fit an int8 and the bias the accumulator; 1 for a channel
/// of zeros.
fn weight_step(weights: &[f32], bias: f64, x_step: f64) -> f64 {
    let largest = weights.iter().fold(0f32, |max, weight| max.max(weight.abs()));
    let finest = grid(weights).unwrap_or(f64::from(largest) / I8_MAX);
    // A bias far above the products forces a coarser step. One less than the limit absorbs the
    // rounding of the division.
    let step = finest.max(bias.abs() / x_step / f64::from(BIAS_LIMIT - 1));
    if step > 0.0 { step } else { 1.0 }
}

/// The finest step of which all weights are integer multiples of at most 127: the model quantised
/// them before, and they are represented exactly. `None` if there is no such step, or all weights
/// are 0.
pub(crate) fn grid(weights: &[f32]) -> Option<f64> {
    /// The tolerance, in steps, for the rounding of a few float32 products.
    const TOLERANCE: f64 = 1e-3;
    let magnitudes =
        || weights.iter().map(|weight| f64::from(weight.abs())).filter(|weight| *weight > 0.0);
    let (smallest, largest) =
        magnitudes().fold((f64::INFINITY, 0f64), |(min, max), x| (min.min(x), max.max(x)));
    if largest == 0.0 {
        return None;
    }
    // The largest weight is `levels` steps and the smallest at least one, so most candidates are
    // skipped.
    let mut levels = (1..=I8_MAX as u32)
        .rev()
        .map(f64::from)
        .take_while(|levels| smallest * levels > largest * 0.99);
    levels.find_map(|levels| {
        let step = largest / levels;
        let fits =
            magnitudes().all(|weight| (weight / step - (weight / step).round()).abs() < TOLERANCE);
        fits.then_some(step)
    })
}

/// The fixed-point multiplier nearest to a ratio of steps. A ratio above the largest multiplier
/// saturates every accumulator except 0 in either case.
pub(super) fn multiplier(ratio: f64) -> Scale {
    Scale::from_f64(ratio).unwrap_or(Scale::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantise(w: &[f32], b: &[f32]) -> QuantisedLinear {
        QuantisedLinear::new(w, b, 0.5, 0.25, None).unwrap()
    }

    #[test]
    fn a_step_for_each_channel() {
        // Both weights are multiples of 1/126, and of 2/127.
        let linear = quantise(&[1.0, -0.5, 2.0, -2.0], &[1.0, -1.0]);
        assert_eq!(linear.weights, [126, -63i8 as u8, 127, -127i8 as u8]);
        let biases: Vec<i32> = linear.channels.iter().map(|channel| channel.bias).collect();
        assert_eq!(biases, [252, -127]);
        let scales: Vec<f64> =
            linear.channels.iter().map(|channel| channel.scale.to_f64()).collect();
        assert!((scales[0] - 2.0 / 126.0).abs() < 1e-10 && (scales[1] - 4.0 / 127.0).abs() < 1e-10);
    }

    #[test]
    fn channels_of_zeros_and_huge_biases() {
        let linear = quantise(&[0.0, 0.0, 1e-20, 0.0], &[3.0, -1000.0]);
        assert_eq!(linear.weights, [0; 4]);
        for (channel, bias) in linear.channels.iter().zip([3.0, -1000.0]) {
            let found = f64::from(channel.bias) * channel.scale.to_f64() * 0.25;
            assert!((found - bias).abs() < 1e-5, "{found}");
        }
        assert_eq!(
            quantise(&[0.0; 2], &[0.0]).channels,
            [Channel { bias: 0, scale: multiplier(2.0) }]
        );
        assert!(quantise(&[], &[1.0]).weights.is_empty());
        assert!(quantise(&[], &[]).channels.is_empty());
        for value in [f32::NAN, f32::INFINITY] {
            assert!(QuantisedLinear::new(&[value], &[0.0], 1.0, 1.0, None).is_err());
            assert!(QuantisedLinear::new(&[0.0], &[value], 1.0, 1.0, None).is_err());
        }
    }

    #[test]
    fn quantised_weights_keep_their_integers() {
        let step = 0.013_7_f32;
        let integers: Vec<i8> = (0..40i16).map(|i| (i * 37 % 255 - 127) as i8).collect();
        let weights: Vec<f32> = integers.iter().map(|q| f32::from(*q) * step).collect();
        let linear = quantise(&weights, &[0.0]);
        assert_eq!(linear.weights, integers.iter().map(|q| *q as u8).collect::<Vec<_>>());
        // Where a channel leaves room, multiples of the integers: the same weights, and a finer
        // bias.
        let small: Vec<f32> = [-30i8, 7, 0, 41].map(|q| f32::from(q) * step).to_vec();
        assert_eq!(quantise(&small, &[0.0]).weights, [-90i8, 21, 0, 123].map(|q| q as u8));
        // 0 to 254 steps of a zero point at one end are too many.
        let wide: Vec<f32> = [-130i16, 7, 1, 3].map(|q| f32::from(q) * step).to_vec();
        assert_eq!(grid(&wide), None);
        assert_eq!(grid(&[0.0; 3]), None);
        assert_eq!(grid(&[]), None);
    }

    #[test]
    fn multipliers_saturate() {
        assert_eq!(multiplier(1.0), Scale::ONE);
        assert_eq!(multiplier(1e30), Scale::MAX);
        assert_eq!(multiplier(f64::INFINITY), Scale::MAX);
        assert_eq!(multiplier(1e-30), Scale::ZERO);
    }
}
