//! Softmax over rows of attention scores.
//!
//! Scores are `i16` in the log2 domain: score `s` is stored as `t = s * log2(e) * 2^8`, so that
//! `exp(s - max)` is `2^-((max - t) / 256)`: one table of 256 fractions and a shift. Requantising
//! `Q K^T` with the scale `step_q * step_k * d^-1/2 * SCORE_UNITS_PER_NAT` yields `t`.
//!
//! Scores that need more range have coarser units: a layer's shift `s` makes the unit `2^(s-8)`
//! octaves, which the unit undoes before it computes an exponential.
//!
//! Probabilities leave the unit without being normalised, in one of two formats of a byte
//! ([`ProbabilityFormat`]), and the factor `1 / sum` joins the scale that requantises the product
//! with `V`: `tensor_scale.combine(Scale::reciprocal(sum))`. The sum is that of the quantised
//! probabilities, so the weights that `V` sees add up to one exactly.
//!
//! Maximum and sum are associative and commutative, hence a row may be cut into any parts, on
//! any engine, in any order. An empty part has maximum [`PRUNED`] and sum 0.

use super::rounding::round_shift;

/// The score of a pruned entry, minus infinity: its probability is 0, whatever the maximum.
pub const PRUNED: i16 = i16::MIN;

/// The quantised probability of a row's largest score, as an int8.
pub const MAX_PROBABILITY: i8 = 127;

/// The largest integer that a minifloat represents: 6 bits at the largest exponent.
pub const MAX_MINIFLOAT: u16 = 63 << 6;

/// Bits of a minifloat's mantissa, which has a hidden leading bit.
const MANTISSA_BITS: u32 = 5;

/// The largest exponent of a minifloat.
const MAX_EXPONENT: u32 = 7;

/// Fraction bits of a score.
const SCORE_FRACTION_BITS: u32 = 8;

/// Score units in one unit of the natural exponent, without a shift: `2^8 log2(e)`. Scores reach
/// about 88.7 nats to either side of zero, with a step of 0.0027.
pub const SCORE_UNITS_PER_NAT: f64 =
    (1u32 << SCORE_FRACTION_BITS) as f64 * std::f64::consts::LOG2_E;

/// Fraction bits of the table. 18 is the smallest width at which both formats of probabilities are
/// correctly rounded everywhere (tests show that it suffices).
const TABLE_FRACTION_BITS: u8 = 18;

/// `FRACTIONS[f]` is `2^18 * 2^(-f/256)`, rounded to nearest.
const FRACTIONS: [u32; 1 << SCORE_FRACTION_BITS] = fractions();

/// Multiplies powers of two whose exponents are the binary digits of `f / 256`; each is the
/// integer square root of the one before. With 62 fraction bits the error stays below `2^-57`.
const fn fractions() -> [u32; 1 << SCORE_FRACTION_BITS] {
    const BITS: u32 = 62;
    let mut roots = [0u128; SCORE_FRACTION_BITS as usize];
    let mut root = 1u128 << (BITS - 1);
    let mut digit = SCORE_FRACTION_BITS as usize;
    while digit > 0 {
        digit -= 1;
        root = (root << BITS).isqrt();
        roots[digit] = root;
    }

    let mut table = [0; 1 << SCORE_FRACTION_BITS];
    let mut f = 0;
    while f < table.len() {
        let mut power = 1u128 << BITS;
        let mut digit = 0;
        while digit < roots.len() {
            if f >> digit & 1 == 1 {
                power = (power * roots[digit]) >> BITS;
            }
            digit += 1;
        }
        let excess = BITS - TABLE_FRACTION_BITS as u32;
        table[f] = ((power + (1 << (excess - 1))) >> excess) as u32;
        f += 1;
    }
    table
}

/// The quantised probability of a score `distance` units below its row's maximum:
/// `127 * 2^(-distance / 256)`, correctly rounded, halves up.
///
/// In integers, with `distance = 256 k + f`: `round_shift(127 * FRACTIONS[f], 18 + k)`, where the
/// product is below `2^25`. Non-increasing; 127 at 0, and 0 from 2,046 upwards.
#[inline]
pub const fn exp2_neg(distance: u32) -> u8 {
    // From 8 octaves on the result is below 1/2; the bound keeps the shift below 32.
    if distance >= 8 << SCORE_FRACTION_BITS {
        return 0;
    }
    let fraction = FRACTIONS[(distance & 0xff) as usize];
    let shift = TABLE_FRACTION_BITS as u32 + (distance >> SCORE_FRACTION_BITS);
    ((MAX_PROBABILITY as u32 * fraction + (1 << (shift - 1))) >> shift) as u8
}

/// The largest score, or [`PRUNED`] for an empty row and one with every entry pruned.
pub fn row_max(scores: &[i16]) -> i16 {
    scores.iter().copied().max().unwrap_or(PRUNED)
}

/// The largest shift of scores: their unit is an octave then.
pub const MAX_SCORE_SHIFT: u8 = SCORE_FRACTION_BITS as u8;

/// A format of unnormalised probabilities, which have one byte each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbabilityFormat {
    /// An int8 from 0 to 127, which is that of the row's largest score. What is 8 octaves below it
    /// is 0.
    #[default]
    Int8,
    /// An unsigned float of 3 bits of exponent `e` and 5 of mantissa `m`: `m` if `e` is 0, and
    /// `(32 + m) 2^(e-1)` otherwise, at most 4032.
    ///
    /// A probability is `4096 2^(t/256 - M)` for a score of `t / 256` octaves, rounded to 6
    /// significant bits and to an integer. `M` is the octave above the row's largest score, an
    /// integer: of two parts of a row that were computed with different maxima, numbers above 32
    /// differ by a power of two.
    Minifloat,
}

impl ProbabilityFormat {
    /// The quantised probability of a score in a row with this maximum, in units of `2^(shift-8)`
    /// octaves; a shift above [`MAX_SCORE_SHIFT`] counts as that. A pruned score has probability 0;
    /// one above the maximum counts as equal to it.
    #[inline]
    pub const fn encode(self, score: i16, max: i16, shift: u8) -> u8 {
        if score == PRUNED {
            return 0;
        }
        let shift = if shift < MAX_SCORE_SHIFT { shift } else { MAX_SCORE_SHIFT };
        let (score, max) = ((score as i32) << shift, (max as i32) << shift);
        let score = if score < max { score } else { max };
        match self {
            ProbabilityFormat::Int8 => exp2_neg((max - score) as u32),
            ProbabilityFormat::Minifloat => {
                let octave = ((max >> SCORE_FRACTION_BITS) + 1) << SCORE_FRACTION_BITS;
                minifloat_exp2_neg((octave - score) as u32)
            }
        }
    }

    /// The integer that a byte of this format represents.
    #[inline]
    pub const fn decode(self, byte: u8) -> i16 {
        match self {
            ProbabilityFormat::Int8 => byte as i8 as i16,
            ProbabilityFormat::Minifloat => {
                let (exponent, mantissa) = (byte >> MANTISSA_BITS, byte & 0x1f);
                match exponent {
                    0 => mantissa as i16,
                    _ => ((1 << MANTISSA_BITS) + mantissa as i16) << (exponent - 1),
                }
            }
        }
    }

    /// The format of an instruction with this flag.
    pub const fn of(minifloat: bool) -> ProbabilityFormat {
        if minifloat { ProbabilityFormat::Minifloat } else { ProbabilityFormat::Int8 }
    }

    /// How many int8 probabilities are as large as the largest one of this format.
    pub const fn weight(self) -> u32 {
        match self {
            ProbabilityFormat::Int8 => 1,
            ProbabilityFormat::Minifloat => (MAX_MINIFLOAT as u32).div_ceil(MAX_PROBABILITY as u32),
        }
    }

    /// The most keys of a row whose product with int8 values fits the int32 accumulator, without a
    /// bias.
    pub const fn max_keys(self) -> u32 {
        (i32::MAX as u32 >> 14) / self.weight()
    }
}

/// The minifloat next to `4096 * 2^(-distance / 256)`, halves up; the largest one if `distance` is
/// too small for another.
///
/// In integers, with `distance = 256 k + f`: the significand is `round_shift(FRACTIONS[f], 12)`, 32
/// to 64, at the exponent `7 - k`; a carry to 64 is a carry into the exponent. Below the smallest
/// exponent the number is `round_shift(FRACTIONS[f], 6 + k)`, which is its own encoding.
const fn minifloat_exp2_neg(distance: u32) -> u8 {
    let (octaves, fraction) = (distance >> SCORE_FRACTION_BITS, distance & 0xff);
    let fraction = FRACTIONS[fraction as usize] as i64;
    if octaves >= MAX_EXPONENT {
        let shift = TABLE_FRACTION_BITS - 12 + if octaves < 32 { octaves as u8 } else { 32 };
        return round_shift(fraction, shift) as u8;
    }
    let shift = TABLE_FRACTION_BITS - 1 - MANTISSA_BITS as u8;
    let significand = round_shift(fraction, shift) as u32 - (1 << MANTISSA_BITS);
    let code = ((MAX_EXPONENT - octaves) << MANTISSA_BITS) + significand;
    if code < u8::MAX as u32 { code as u8 } else { u8::MAX }
}

/// Writes the unnormalised probability of each score, and returns the sum of the integers that they
/// represent.
///
/// `max` is the maximum of the whole row, of which `scores` may be a part; scores above it count
/// as equal to it. The sum cannot overflow below 33 million scores, or a million minifloats.
///
/// # Panics
/// `scores` and `out` differ in length.
pub fn softmax_probs(
    scores: &[i16],
    max: i16,
    shift: u8,
    format: ProbabilityFormat,
    out: &mut [u8],
) -> u32 {
    assert_eq!(scores.len(), out.len(), "one probability for each score");
    let mut sum = 0u32;
    for (&score, out) in scores.iter().zip(out) {
        *out = format.encode(score, max, shift);
        sum = sum.wrapping_add(format.decode(*out) as u32);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::{Scale, requantise};
    use proptest::prelude::*;

    const FORMATS: [ProbabilityFormat; 2] = [ProbabilityFormat::Int8, ProbabilityFormat::Minifloat];

    fn softmax(scores: &[i16]) -> (Vec<u8>, u32) {
        softmax_as(scores, 0, ProbabilityFormat::Int8)
    }

    fn softmax_as(scores: &[i16], shift: u8, format: ProbabilityFormat) -> (Vec<u8>, u32) {
        let mut probs = vec![0; scores.len()];
        let sum = softmax_probs(scores, row_max(scores), shift, format, &mut probs);
        (probs, sum)
    }

    #[test]
    fn table_is_correctly_rounded() {
        for (f, &entry) in FRACTIONS.iter().enumerate() {
            let real = 262_144.0 * (-(f as f64) / 256.0).exp2();
            // No entry is so near a half that f64 could misjudge it.
            assert!((f64::from(entry) - real).abs() < 0.5 - 1e-6, "{f}: {entry} for {real}");
        }
        // Worked out independently: 2^18 / 2^(1/2), 2^18 / 2^(1/256), 2^18 / 2^(255/256).
        assert_eq!([0, 1, 128, 255].map(|f| FRACTIONS[f]), [262_144, 261_435, 185_364, 131_427]);
    }

    #[test]
    fn exp2_is_correctly_rounded_everywhere() {
        for distance in 0..=u32::from(u16::MAX) + 1 {
            let real = 127.0 * (-f64::from(distance) / 256.0).exp2();
            let rounded = (real + 0.5).floor();
            assert_eq!(f64::from(exp2_neg(distance)), rounded, "{distance}");
            // The reference is decisive: exact in whole octaves, elsewhere far from a half.
            let to_half = (real - real.floor() - 0.5).abs();
            assert!(distance % 256 == 0 || to_half > 1e-6, "{distance}: {real}");
        }
    }

    #[test]
    fn exp2_falls_from_127_to_0() {
        assert_eq!(exp2_neg(0), 127);
        assert_eq!(exp2_neg(256), 64);
        assert_eq!((exp2_neg(2045), exp2_neg(2046)), (1, 0));
        for distance in 0..=u32::from(u16::MAX) {
            assert!(exp2_neg(distance) >= exp2_neg(distance + 1));
        }
        assert_eq!(exp2_neg(u32::MAX), 0);
    }

    #[test]
    fn minifloats_are_correctly_rounded_everywhere() {
        let numbers: Vec<i16> =
            (0..=u8::MAX).map(|byte| ProbabilityFormat::Minifloat.decode(byte)).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(
            [0, 1, 31, 32, 63, 64, 254, 255].map(|byte: usize| numbers[byte]),
            [0, 1, 31, 32, 63, 64, 3968, 4032]
        );
        for distance in 1..=1 << 17 {
            let real = 4096.0 * (-f64::from(distance) / 256.0).exp2();
            let code = minifloat_exp2_neg(distance);
            // The number above the first half between neighbours that is not above the real one.
            let above = |pair: &[i16]| (f64::from(pair[0]) + f64::from(pair[1])) / 2.0 <= real;
            assert_eq!(
                usize::from(code),
                numbers.windows(2).take_while(|pair| above(pair)).count()
            );
        }
        assert_eq!(minifloat_exp2_neg(u32::MAX), 0);
    }

    #[test]
    fn minifloats_of_two_maxima_differ_by_octaves() {
        let encode = |score, max| ProbabilityFormat::Minifloat.encode(score, max, 0);
        let decode = |byte| ProbabilityFormat::Minifloat.decode(byte);
        // The maximum within its octave does not matter, and one octave halves what is normal.
        for score in -1500..=0 {
            assert_eq!(encode(score, 0), encode(score, 255));
            let (low, high) = (decode(encode(score, 0)), decode(encode(score, 256)));
            assert!(high <= 32 || low == 2 * high, "{score}: {low} {high}");
        }
    }

    #[test]
    fn a_shift_of_scores_makes_their_unit_larger() {
        for format in FORMATS {
            for shift in 0..=MAX_SCORE_SHIFT {
                for (score, max) in [(-3, 5), (100, 101), (-128, -100)] {
                    let finer = format.encode(score << shift, max << shift, 0);
                    assert_eq!(format.encode(score, max, shift), finer, "{score} {max} {shift}");
                }
                assert_eq!(format.encode(PRUNED, PRUNED, shift), 0);
                assert_eq!(format.encode(-32_767, i16::MAX, shift), 0);
            }
            let most = format.encode(i16::MAX, i16::MAX, u8::MAX);
            assert_eq!(most, format.encode(0, 0, MAX_SCORE_SHIFT));
        }
    }

    #[test]
    fn accumulators_hold_as_many_keys_as_stated() {
        assert_eq!(FORMATS.map(ProbabilityFormat::max_keys), [131_071, 4_095]);
    }

    #[test]
    fn rows_at_the_ends() {
        assert_eq!(row_max(&[]), PRUNED);
        assert_eq!(softmax(&[]), (vec![], 0));
        assert_eq!(softmax(&[PRUNED; 3]), (vec![0; 3], 0));
        assert_eq!(softmax(&[i16::MAX, -32_767, PRUNED]), (vec![127, 0, 0], 127));
        assert_eq!(softmax(&[-32_767, PRUNED, -32_767]), (vec![127, 0, 127], 254));
        // A maximum that is too small is no overflow.
        let mut probs = [0; 2];
        let sum = softmax_probs(&[5, i16::MAX], PRUNED, 0, ProbabilityFormat::Int8, &mut probs);
        assert_eq!(sum, 254);
    }

    #[test]
    fn flat_rows_keep_their_weights() {
        // With a fixed step of 1/127 each of 1,024 equal weights would vanish.
        let (probs, sum) = softmax(&[17; 1024]);
        assert!(probs.iter().all(|&p| p == 127));
        let scale = Scale::from_f64(1.0).unwrap().combine(Scale::reciprocal(sum));
        let accumulator: i32 = probs.iter().map(|&p| i32::from(p as i8) * -100).sum();
        assert_eq!(requantise(accumulator, scale), -100);
    }

    fn score() -> impl Strategy<Value = i16> {
        prop_oneof![8 => -2500i16..2500, 1 => any::<i16>(), 1 => Just(PRUNED)]
    }

    proptest! {
        #[test]
        fn splits_and_order_do_not_matter(
            row in prop::collection::vec(score(), 0..80)
                .prop_flat_map(|row| (Just(row.clone()), Just(row).prop_shuffle())),
            at: prop::sample::Index,
            shift in 0..4u8,
            format in prop::sample::select(&FORMATS[..]),
        ) {
            let (row, shuffled) = row;
            let (probs, sum) = softmax_as(&row, shift, format);

            let (left, right) = row.split_at(at.index(row.len() + 1));
            let max = row_max(right).max(row_max(left));
            let mut parts = vec![0; row.len()];
            let (out_left, out_right) = parts.split_at_mut(left.len());
            let sum_right = softmax_probs(right, max, shift, format, out_right);
            let sum_left = softmax_probs(left, max, shift, format, out_left);
            prop_assert_eq!(sum_left + sum_right, sum);
            prop_assert_eq!(&parts, &probs);

            let (mut permuted, permuted_sum) = softmax_as(&shuffled, shift, format);
            let mut sorted = probs;
            sorted.sort_unstable();
            permuted.sort_unstable();
            prop_assert_eq!(permuted, sorted);
            prop_assert_eq!(permuted_sum, sum);
        }

        #[test]
        fn weights_are_close_to_softmax(row in prop::collection::vec(-2500i16..2500, 1..200)) {
            let max = f64::from(row_max(&row));
            let exps: Vec<f64> =
                row.iter().map(|&t| ((f64::from(t) - max) / 256.0).exp2()).collect();
            let total: f64 = exps.iter().sum();
            // docs/numerics.md states both bounds of the sum of all errors.
            for (format, bound) in [
                (ProbabilityFormat::Int8, row.len() as f64 / (127.0 * total)),
                (ProbabilityFormat::Minifloat, 1.0 / 32.0 + row.len() as f64 / (2048.0 * total)),
            ] {
                let (probs, sum) = softmax_as(&row, 0, format);
                let weight = |p: u8| f64::from(format.decode(p)) / f64::from(sum);
                let distance: f64 =
                    exps.iter().zip(&probs).map(|(e, &p)| (e / total - weight(p)).abs()).sum();
                prop_assert!(distance <= bound + 1e-12, "{format:?}: {distance} of {bound}");
            }
        }
    }
}
