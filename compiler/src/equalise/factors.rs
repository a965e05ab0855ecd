//! The factors of channels.
//!
//! Let `r` be the range of a channel and `w` the largest weight that reads it. A factor `s` makes
//! them `r / s` and `w s`; their product `p = r w` stays. A rewrite is thus the choice of the new
//! range as a function of `p` alone, here a power:
//!
//! ```text
//! range   p^a         a = 0: all channels of the tensor have the same range
//! weight  p^(1 - a)   a = 1: all columns of the weights have the same range
//! ```
//!
//! So the result does not depend on how a factor was divided between tensor and weights before, to
//! the bit if the factor is a power of 2. `a` is a multiple of 1/4 and has the smallest predicted
//! noise: with an error of a uniformly distributed rounding, `step^2 / 12`, of each activation and
//! each weight, relative to the mean square of what the layer computes.

use crate::calibration::{Calibration, Column, I8_MAX};
use crate::ir::{Graph, Op, Value};

/// One positive factor for each channel.
pub(super) struct Factors(Vec<f64>);

impl Factors {
    pub(super) fn new(factors: Vec<f64>) -> Factors {
        Factors(factors)
    }

    pub(super) fn as_slice(&self) -> &[f64] {
        &self.0
    }

    pub(super) fn inverse(&self) -> Factors {
        Factors(self.0.iter().map(|factor| 1.0 / factor).collect())
    }
}

/// The channels of a tensor.
pub(super) struct Channels {
    /// The magnitudes that integers should cover.
    pub(super) ranges: Vec<f64>,
    /// The mean squares of what the linear layers read.
    pub(super) squares: Vec<f64>,
}

/// The mean square of each column of a matrix.
pub(super) fn mean_squares(calibration: &Calibration, value: Value) -> Vec<f64> {
    calibration.columns(value).unwrap_or_default().iter().map(Column::mean_square).collect()
}

/// Factors that divide `left` and multiply `right` so that both have the same range.
pub(super) fn between(left: &[f64], right: &[f64]) -> Factors {
    factors(left, right, f64::sqrt)
}

/// Factors that divide the channels of a tensor and multiply the weights of its readers.
pub(super) fn against_weights(
    graph: &Graph,
    calibration: &Calibration,
    channels: &Channels,
    readers: &[Op],
) -> Factors {
    let ranges = &channels.ranges;
    let readers = readers.iter().map(|op| Reader::new(graph, calibration, *op, ranges.len()));
    let readers: Vec<Reader> = readers.collect();
    let mut weights = vec![0f64; ranges.len()];
    for reader in &readers {
        weights.iter_mut().zip(&reader.columns).for_each(|(most, w)| *most = most.max(*w));
    }
    let candidates = candidates(ranges, &weights);
    let noise = |factors: &Factors| {
        readers.iter().map(|reader| reader.noise(channels, factors.as_slice())).sum::<f64>()
    };
    let best = candidates.into_iter().map(|factors| (noise(&factors), factors));
    best.min_by(|a, b| a.0.total_cmp(&b.0)).expect("there are candidates").1
}

/// Factors that turn ranges into each power of their product with weights.
pub(super) fn candidates(ranges: &[f64], weights: &[f64]) -> [Factors; 5] {
    POWERS.map(|power| factors(ranges, weights, power))
}

/// Powers of which a correctly rounded square root computes every one in the same way everywhere.
const POWERS: [fn(f64) -> f64; 5] =
    [|_| 1.0, |p| p.sqrt().sqrt(), f64::sqrt, |p| p.sqrt() * p.sqrt().sqrt(), |p| p];

/// Factors that turn `ranges` into a power of their product with `weights`, and weights into the
/// rest of the product.
///
/// Channels that are always 0 or never read have no product. They take the smallest range, or
/// weight, of the others, so that they do not coarsen a step.
fn factors(ranges: &[f64], weights: &[f64], power: fn(f64) -> f64) -> Factors {
    let channels = || ranges.iter().zip(weights).map(|(range, weight)| (*range, *weight));
    let products = || channels().map(|(range, weight)| range * weight).filter(|p| p.is_normal());
    let least_range = products().map(power).fold(f64::INFINITY, f64::min);
    let least_weight = products().map(|p| p / power(p)).fold(f64::INFINITY, f64::min);
    let factor = |(range, weight): (f64, f64)| {
        let product = range * weight;
        let factor = if product.is_normal() {
            range / power(product)
        } else if range > 0.0 {
            range / least_range
        } else {
            least_weight / weight
        };
        // Without any product, or if it leaves the range of f64, the channel stays as it is.
        if factor.is_normal() { clamped(factor) } else { 1.0 }
    };
    Factors(channels().map(factor).collect())
}

/// The variance of rounding to int8 that cover a magnitude: uniformly distributed over a step.
pub(super) fn variance(limit: f64) -> f64 {
    (limit / I8_MAX).powi(2) / 12.0
}

/// A factor that parameters in single precision can take.
pub(super) fn clamped(factor: f64) -> f64 {
    factor.clamp(2f64.powi(-60), 2f64.powi(60))
}

/// A linear layer that reads the channels.
struct Reader {
    /// Columns of the weights: those of the channels, or of several pixels side by side.
    width: usize,
    /// `[n,k]`
    weights: Vec<f32>,
    /// The largest magnitude of each column of the weights.
    columns: Vec<f64>,
    /// The mean square of all that it computes.
    signal: f64,
}

impl Reader {
    fn new(graph: &Graph, calibration: &Calibration, op: Op, depth: usize) -> Reader {
        let data = graph.op(op);
        let weights = graph.const_f32(data.operands[1]).unwrap_or_default();
        let mut columns = vec![0f64; depth];
        for row in weights.chunks(depth.max(1)) {
            columns.iter_mut().zip(row).for_each(|(most, w)| *most = most.max(w.abs().into()));
        }
        let signal = mean_squares(calibration, data.results[0]).iter().sum();
        let (_, width) = graph.ty(data.operands[1]).matrix();
        Reader { width, weights, columns, signal }
    }

    /// The predicted noise of the result, relative to its mean square, with activations and weights
    /// in int8.
    fn noise(&self, channels: &Channels, factors: &[f64]) -> f64 {
        let scaled = channels.ranges.iter().zip(factors).map(|(range, factor)| range / factor);
        let activation = variance(scaled.fold(0.0, f64::max));
        let squares = channels.squares.iter().zip(factors);
        let squares: f64 = squares.map(|(square, factor)| square / (factor * factor)).sum();
        let pixels = (self.width / factors.len().max(1)) as f64;
        let rows = self.weights.chunks(self.width.max(1)).map(|row| {
            let scaled = row.iter().zip(factors.iter().cycle());
            let scaled = scaled.map(|(w, factor)| f64::from(*w) * factor);
            let (most, sum) =
                scaled.fold((0f64, 0.0), |(most, sum), w| (most.max(w.abs()), sum + w * w));
            sum * activation + pixels * squares * variance(most)
        });
        let noise: f64 = rows.sum();
        if self.signal > 0.0 { noise / self.signal } else { 0.0 }
    }
}
