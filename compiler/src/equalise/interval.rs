//! Intervals of numbers before and behind a function, and the offsets in their middle.

use crate::calibration::I8_MAX;

/// An interval around an offset.
pub(super) struct Centred {
    pub(super) offset: f64,
    /// The distance of the further end.
    pub(super) limit: f64,
}

impl Centred {
    pub(super) fn new([least, most]: [f64; 2]) -> Centred {
        let offset = zero_point([least, most]);
        Centred { offset, limit: f64::max(most - offset, offset - least) }
    }
}

/// The offset near the middle of a range that is a multiple of the step of int8 behind it, so that
/// 0 stays an integer: most results of GELU and ReLU are near 0, and an error that they share would
/// add up in the layer behind them.
///
/// With `k` steps of offset and `most > -least`, the step is `most / (127 + k)`, and `k` is the
/// largest integer with which the other end is at most 127 steps away. It is bounded, so that the
/// integers always cover an eighth of `most` to both sides of the offset: a range may be a point.
fn zero_point([least, most]: [f64; 2]) -> f64 {
    const MOST_STEPS: f64 = 7.0 * I8_MAX;
    if most < -least {
        return -zero_point([-most, -least]);
    }
    let steps = (I8_MAX * (most + least) / (most - least)).floor().min(MOST_STEPS);
    if steps > 0.0 { most * steps / (I8_MAX + steps) } else { 0.0 }
}

/// Points of an interval, both ends among them.
fn points([least, most]: [f64; 2], number: usize) -> impl DoubleEndedIterator<Item = f64> + Clone {
    let step = (most - least) / number as f64;
    (0..=number).map(move |i| if i == number { most } else { least + i as f64 * step })
}

/// Intervals in which a function is looked at.
const RESOLUTION: usize = 512;

/// The smallest interval around two.
pub(super) fn union([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a.min(c), b.max(d)]
}

/// A function by its values on a grid, between which it is a line: much faster than the function
/// itself, and as good for a look at where it changes.
pub(super) struct Sampled {
    least: f64,
    per_unit: f64,
    values: Vec<f64>,
}

impl Sampled {
    /// Samples a function in an interval, beyond which it is not needed.
    pub(super) fn new(f: fn(f64) -> f64, [least, most]: [f64; 2]) -> Sampled {
        const INTERVALS: usize = 1 << 13;
        let values = points([least, most], INTERVALS).map(f).collect();
        let per_unit = if most > least { INTERVALS as f64 / (most - least) } else { 0.0 };
        Sampled { least, per_unit, values }
    }

    /// The value at a number.
    pub(super) fn at(&self, x: f64) -> f64 {
        let last = (self.values.len() - 1) as f64;
        let place = ((x - self.least) * self.per_unit).clamp(0.0, last);
        let left = place.floor().min(last - 1.0);
        let [a, b] = [left as usize, left as usize + 1].map(|i| self.values[i]);
        if place == left { a } else { a + (place - left) * (b - a) }
    }
}

/// The smallest and the largest result in an interval, and 0.
pub(super) fn image(f: &impl Fn(f64) -> f64, interval: [f64; 2]) -> [f64; 2] {
    let results = points(interval, RESOLUTION).map(f).filter(|y| y.is_finite());
    results.fold([0.0; 2], |range, y| union(range, [y; 2]))
}

/// The part of an interval that contains the inputs at which the result changes: at an input beyond
/// it, the result is that at its end, within a sixteenth of a step. Saturation there costs nothing.
pub(super) fn steep(f: &impl Fn(f64) -> f64, interval: [f64; 2]) -> [f64; 2] {
    steep_in(f, interval, RESOLUTION)
}

fn steep_in(f: &impl Fn(f64) -> f64, interval: [f64; 2], resolution: usize) -> [f64; 2] {
    let [least, most] = image(f, interval);
    let tolerance = (most - least) / I8_MAX / 16.0;
    // The first point from an end at which the results so far spread by more than the tolerance;
    // the one before it is the end of the part.
    let first = |points: &mut dyn Iterator<Item = f64>, end: f64| {
        let (mut last, mut spread) = (end, [f64::INFINITY, f64::NEG_INFINITY]);
        for x in points {
            let y = f(x);
            spread = [spread[0].min(y), spread[1].max(y)];
            let width = spread[1] - spread[0];
            if width.is_nan() || width > tolerance {
                return last;
            }
            last = x;
        }
        end
    };
    [
        first(&mut points(interval, resolution), interval[0]),
        first(&mut points(interval, resolution).rev(), interval[1]),
    ]
}

/// How far the steep part of a channel's inputs reaches.
pub(super) fn reach(f: &impl Fn(f64) -> f64, input: [f64; 2]) -> f64 {
    let [least, most] = union(steep_in(f, input, 64), [0.0; 2]);
    most - least
}

#[cfg(test)]
mod tests {
    use vitcod_isa::numerics::activation;

    use super::*;

    #[test]
    fn offsets_keep_0_an_integer_and_both_ends_in_range() {
        for [least, most] in [[0.0, 4.0], [-0.17, 9.0], [-1.0, 1.5], [-3.0, 0.25], [-7.0, 0.0]] {
            let offset = zero_point([least, most]);
            let step = (most - offset).max(offset - least) / I8_MAX;
            let steps = offset / step;
            assert!((steps - steps.round()).abs() < 1e-9, "{least} to {most}: {steps} steps");
            // As fine as a range without an offset could be, but for one step.
            assert!(step <= (most - least) / (2.0 * I8_MAX - 1.0) + 1e-12, "{least} to {most}");
        }
        // A range that is a point, or nearly: an eighth of it is covered to both sides.
        for range in [[5.0, 5.0], [4.999, 5.0], [-5.0, -5.0]] {
            let Centred { offset, limit } = Centred::new(range);
            assert!(
                (offset.abs() - 4.375).abs() < 1e-9 && (limit - 0.625).abs() < 1e-9,
                "{range:?}"
            );
        }
        // Both ends are as far away, or there is no range.
        assert_eq!([[-2.0, 2.0], [0.0, 0.0]].map(zero_point), [0.0; 2]);
    }

    #[test]
    fn samples_are_close_to_the_function() {
        let sampled = Sampled::new(activation::gelu, [-20.0, 30.0]);
        for x in points([-20.0, 30.0], 999) {
            assert!((sampled.at(x) - activation::gelu(x)).abs() < 1e-5, "{x}");
        }
        assert_eq!(Sampled::new(|x| x + 1.0, [2.0, 2.0]).at(2.0), 3.0);
    }

    #[test]
    fn flat_ends_are_cut() {
        assert_eq!(steep(&|x| x, [-2.0, 3.0]), [-2.0, 3.0]);
        let [low, high] = steep(&|x| x.max(0.0), [-50.0, 3.0]);
        assert!((-0.2..=0.0).contains(&low), "{low}");
        assert_eq!(high, 3.0);
        let [low, high] = steep(&activation::gelu, [-20.0, 4.0]);
        assert!((-4.0..-2.0).contains(&low), "{low}");
        assert_eq!(high, 4.0);
        assert_eq!(steep(&|_| 7.0, [-1.0, 1.0]), [-1.0, 1.0]);
        assert_eq!(steep(&|x| x, [0.0, 0.0]), [0.0, 0.0]);
    }
}
