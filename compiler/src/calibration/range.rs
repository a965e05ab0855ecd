//! The range of a tensor's numbers, and the part of it that integers cover.

use std::fmt;
use std::str::FromStr;

/// The largest magnitude of symmetric int8.
pub(crate) const I8_MAX: f64 = 127.0;

/// How the range of an int8 activation is derived from the observed numbers. Integers saturate at
/// its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clipping {
    /// The largest magnitude; nothing saturates.
    #[default]
    Max,
    /// The smallest magnitude that this percentage of the numbers does not exceed.
    Percentile(f64),
    /// The magnitude with the smallest mean square error of rounding and saturation together.
    Mse,
}

impl fmt::Display for Clipping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clipping::Max => f.write_str("max"),
            Clipping::Percentile(percent) => write!(f, "percentile:{percent}"),
            Clipping::Mse => f.write_str("mse"),
        }
    }
}

impl FromStr for Clipping {
    type Err = String;

    /// Parses `max`, `mse` or `percentile:P` with `P` above 0 and at most 100.
    fn from_str(text: &str) -> Result<Clipping, String> {
        let percentile = |percent: &str| {
            percent.parse().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0)
        };
        match (text, text.strip_prefix("percentile:").map(percentile)) {
            ("max", _) => Ok(Clipping::Max),
            ("mse", _) => Ok(Clipping::Mse),
            (_, Some(Some(percent))) => Ok(Clipping::Percentile(percent)),
            (_, Some(None)) => {
                Err("expected a number above 0 and at most 100 after percentile:".to_owned())
            }
            _ => Err("expected max, mse or percentile:P".to_owned()),
        }
    }
}

/// A histogram of the magnitudes of a tensor's numbers.
///
/// Ranges of parts can be merged in any order into that of the whole: all fields are counts and a
/// maximum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// The largest magnitude; infinite if a number is infinite or NaN.
    max_abs: f32,
    /// Per [`bucket`], the count of numbers with this magnitude, without zeros. Bucket `first`
    /// comes first.
    counts: Vec<u64>,
    first: usize,
    /// Count of all numbers.
    total: u64,
}

/// Significand bits of an f32 that select a bucket: 64 buckets for each power of two, so the ends
/// of a bucket differ by at most 1.6 %.
const SIGNIFICAND_BITS: u32 = 6;

/// The bucket of a magnitude: the leading bits of its f32.
fn bucket(magnitude: f32) -> usize {
    (magnitude.to_bits() >> (f32::MANTISSA_DIGITS - 1 - SIGNIFICAND_BITS)) as usize
}

/// The middle of a bucket, and its upper end.
fn middle_and_end(bucket: usize) -> [f64; 2] {
    let shift = f32::MANTISSA_DIGITS - 1 - SIGNIFICAND_BITS;
    [(2 * bucket + 1) << (shift - 1), (bucket + 1) << shift]
        .map(|bits| f32::from_bits(bits as u32).into())
}

impl Range {
    /// The range of some numbers.
    pub fn of<'a>(numbers: impl IntoIterator<Item = &'a f32, IntoIter: Clone>) -> Range {
        let magnitude = |x: &f32| if x.is_nan() { f32::INFINITY } else { x.abs() };
        let magnitudes = numbers.into_iter().map(magnitude);
        // The buckets are counted twice, because there are too many to have a counter for each.
        let mut range = Range::default();
        let (mut least, mut most) = (f32::INFINITY, 0f32);
        for x in magnitudes.clone() {
            range.total += 1;
            most = most.max(x);
            least = if x > 0.0 { least.min(x) } else { least };
        }
        if most > 0.0 {
            range.max_abs = most;
            range.first = bucket(least);
            range.counts = vec![0; bucket(most) + 1 - range.first];
            for x in magnitudes.filter(|x| *x > 0.0) {
                range.counts[bucket(x) - range.first] += 1;
            }
        }
        range
    }

    /// The range of this and other numbers.
    #[must_use]
    pub fn merge(mut self, other: &Range) -> Range {
        if self.counts.is_empty() {
            (self.first, self.counts) = (other.first, other.counts.clone());
        } else if !other.counts.is_empty() {
            let before = self.first.saturating_sub(other.first);
            self.counts.splice(0..0, std::iter::repeat_n(0, before));
            self.first -= before;
            let offset = other.first - self.first;
            self.counts.resize(self.counts.len().max(offset + other.counts.len()), 0);
            self.counts[offset..]
                .iter_mut()
                .zip(&other.counts)
                .for_each(|(count, more)| *count += more);
        }
        Range { max_abs: self.max_abs.max(other.max_abs), total: self.total + other.total, ..self }
    }

    /// The largest magnitude; infinite if a number is infinite or NaN.
    pub fn largest(&self) -> f64 {
        self.max_abs.into()
    }

    /// The magnitude that int8 should cover; infinite if a number is infinite or NaN.
    pub fn limit(&self, clipping: Clipping) -> f64 {
        let largest = self.largest();
        match clipping {
            _ if !largest.is_finite() => largest,
            Clipping::Max => largest,
            Clipping::Percentile(percent) => self.percentile(percent),
            Clipping::Mse => self.least_error(),
        }
    }

    /// The candidates for a limit: upper ends of the non-empty buckets, ascending, the last one at
    /// the largest number.
    fn candidates(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> {
        let ends = (self.first..).zip(&self.counts).filter(|(_, count)| **count > 0);
        let ends: Vec<(f64, u64)> = ends
            .map(|(bucket, count)| (middle_and_end(bucket)[1].min(self.largest()), *count))
            .collect();
        ends.into_iter()
    }

    fn percentile(&self, percent: f64) -> f64 {
        let beyond = (self.total as f64 * (1.0 - percent / 100.0)).floor() as u64;
        let mut above = 0;
        let candidates = self.candidates().rev();
        let mut kept = candidates.take_while(|(_, count)| {
            let before = above;
            above += count;
            before <= beyond
        });
        kept.by_ref().last().map_or(0.0, |(end, _)| end)
    }

    fn least_error(&self) -> f64 {
        /// The smallest limit to try, relative to the largest number; saturating more never pays.
        const DEEPEST: f64 = 1.0 / 16.0;
        let candidates =
            self.candidates().map(|(end, _)| end).filter(|end| *end >= DEEPEST * self.largest());
        let errors = candidates.map(|limit| (self.square_error(limit), limit));
        // Of equal errors the larger limit, which is safer.
        errors
            .min_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)))
            .map_or(0.0, |(_, limit)| limit)
    }

    /// The sum of square errors of int8 with this limit.
    fn square_error(&self, limit: f64) -> f64 {
        let step = limit / I8_MAX;
        let errors = (self.first..).zip(&self.counts).map(|(bucket, count)| {
            let [middle, _] = middle_and_end(bucket);
            let error = if middle < step / 2.0 {
                middle * middle
            } else if middle <= limit {
                // A rounding error is uniformly distributed over a step.
                step * step / 12.0
            } else {
                (middle - limit) * (middle - limit)
            };
            *count as f64 * error
        });
        errors.sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clipping_has_a_text_form() {
        for clipping in [Clipping::Max, Clipping::Mse, Clipping::Percentile(99.9)] {
            assert_eq!(clipping.to_string().parse(), Ok(clipping));
        }
        for text in [
            "",
            "min",
            "percentile",
            "percentile:0",
            "percentile:101",
            "percentile:x",
            "percentile:NaN",
        ] {
            assert!(text.parse::<Clipping>().unwrap_err().starts_with("expected"), "{text}");
        }
    }

    #[test]
    fn limits_by_hand() {
        let numbers: Vec<f32> = (1..=1000).map(|i| i as f32 / 1000.0).chain([50.0]).collect();
        let range = Range::of(&numbers);
        assert_eq!(range.limit(Clipping::Max), 50.0);
        assert_eq!(range.limit(Clipping::Percentile(100.0)), 50.0);
        // One number in a thousand may saturate.
        assert!((range.limit(Clipping::Percentile(99.9)) - 1.0).abs() < 0.02);
        assert!((range.limit(Clipping::Percentile(50.0)) - 0.5).abs() < 0.02);
        // Saturating 50 costs more than all rounding: a step of 50 / 127 leaves 1000 times 0.013.
        assert!(range.limit(Clipping::Mse) > 40.0);
        let many: Vec<f32> = numbers
            .iter()
            .copied()
            .cycle()
            .take(1001 * 400)
            .filter(|x| *x < 50.0)
            .chain([4.0])
            .collect();
        assert!(Range::of(&many).limit(Clipping::Mse) < 2.0);
        for clipping in [Clipping::Max, Clipping::Mse, Clipping::Percentile(99.0)] {
            assert_eq!(Range::of(&[0.0; 9]).limit(clipping), 0.0);
            assert_eq!(Range::of(&[1.0, f32::NAN]).limit(clipping), f64::INFINITY);
        }
    }

    proptest! {
        #[test]
        fn ranges_merge_in_any_order(
            a in prop::collection::vec(-1e3f32..1e3, 0..30), b in prop::collection::vec(-1e-3f32..1e-3, 0..30),
        ) {
            let joined = Range::of(a.iter().chain(&b));
            let [a, b] = [Range::of(&a), Range::of(&b)];
            prop_assert_eq!(&a.clone().merge(&b), &joined);
            prop_assert_eq!(&b.merge(&a), &joined);
        }

        #[test]
        fn limits_are_within_what_was_seen(
            numbers in prop::collection::vec(-10f32..10.0, 1..60), percent in 1.0f64..100.0,
        ) {
            let range = Range::of(&numbers);
            let [max, percentile, mse] =
                [Clipping::Max, Clipping::Percentile(percent), Clipping::Mse].map(|clipping| range.limit(clipping));
            prop_assert!(percentile <= max && mse <= max && mse >= max / 17.0);
            let beyond = numbers.iter().filter(|x| f64::from(x.abs()) > percentile).count();
            prop_assert!(beyond as f64 <= numbers.len() as f64 * (1.0 - percent / 100.0) + 1e-9);
            prop_assert!(range.square_error(mse) <= range.square_error(max) + 1e-9);
        }
    }
}
