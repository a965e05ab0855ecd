//! Softmax over rows of attention scores.
//!
//! Scores are `i16` in the log2 domain: score `s` is stored as `t = s * log2(e) * 2^8`, so that
//! `exp(s - max)` is `2^-((max - t) / 256)`: one table of 256 fractions and a shift. Requantising
//! `Q K^T` with the scale `step_q * step_k * d^-1/2 * SCORE_UNITS_PER_NAT` yields `t`.
//!
//! Probabilities leave the unit without being normalised: the row's maximum is 127, and the
//! factor `1 / sum` joins the scale that requantises the product with `V`:
//! `tensor_scale.combine(Scale::reciprocal(sum))`. The sum is that of the quantised
//! probabilities, so the weights that `V` sees add up to one exactly.
//!
//! Maximum and sum are associative and commutative, hence a row may be cut into any parts, on
//! any engine, in any order. An empty part has maximum [`PRUNED`] and sum 0.

/// The score of a pruned entry, minus infinity: its probability is 0, whatever the maximum.
pub const PRUNED: i16 = i16::MIN;

/// The quantised probability of a row's largest score.
pub const MAX_PROBABILITY: i8 = 127;

/// Fraction bits of a score.
const SCORE_FRACTION_BITS: u32 = 8;

/// Score units in one unit of the natural exponent: `2^8 log2(e)`. Scores reach about 88.7 nats
/// to either side of zero, with a step of 0.0027.
pub const SCORE_UNITS_PER_NAT: f64 =
    (1u32 << SCORE_FRACTION_BITS) as f64 * std::f64::consts::LOG2_E;

/// Fraction bits of the table. 16 is the smallest width at which [`exp2_neg`] is correctly
/// rounded everywhere (a test shows it).
const TABLE_FRACTION_BITS: u8 = 16;

/// `FRACTIONS[f]` is `2^16 * 2^(-f/256)`, rounded to nearest.
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
/// In integers, with `distance = 256 k + f`: `round_shift(127 * FRACTIONS[f], 16 + k)`, where the
/// product is below `2^23`. Non-increasing; 127 at 0, and 0 from 2,046 upwards.
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

/// Writes the unnormalised probability of each score, 0 to 127, and returns their sum.
///
/// `max` is the maximum of the whole row, of which `scores` may be a part; scores above it count
/// as equal to it. The sum cannot overflow below 33 million scores.
///
/// # Panics
/// `scores` and `out` differ in length.
pub fn softmax_probs(scores: &[i16], max: i16, out: &mut [i8]) -> u32 {
    assert_eq!(scores.len(), out.len(), "one probability for each score");
    let mut sum = 0u32;
    for (&score, out) in scores.iter().zip(out) {
        let probability = if score == PRUNED {
            0
        } else {
            exp2_neg((i32::from(max) - i32::from(score)).max(0).unsigned_abs())
        };
        *out = probability as i8;
        sum = sum.wrapping_add(probability.into());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::{Scale, requantise};
    use proptest::prelude::*;

    fn softmax(scores: &[i16]) -> (Vec<i8>, u32) {
        let mut probs = vec![0; scores.len()];
        let sum = softmax_probs(scores, row_max(scores), &mut probs);
        (probs, sum)
    }

    #[test]
    fn table_is_correctly_rounded() {
        for (f, &entry) in FRACTIONS.iter().enumerate() {
            let real = 65_536.0 * (-(f as f64) / 256.0).exp2();
            // No entry is so near a half that f64 could misjudge it.
            assert!((f64::from(entry) - real).abs() < 0.5 - 1e-6, "{f}: {entry} for {real}");
        }
        // Worked out independently: 2^16 / 2^(1/2), 2^16 / 2^(1/256), 2^16 / 2^(255/256).
        assert_eq!([0, 1, 128, 255].map(|f| FRACTIONS[f]), [65_536, 65_359, 46_341, 32_857]);
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
    fn rows_at_the_ends() {
        assert_eq!(row_max(&[]), PRUNED);
        assert_eq!(softmax(&[]), (vec![], 0));
        assert_eq!(softmax(&[PRUNED; 3]), (vec![0; 3], 0));
        assert_eq!(softmax(&[i16::MAX, -32_767, PRUNED]), (vec![127, 0, 0], 127));
        assert_eq!(softmax(&[-32_767, PRUNED, -32_767]), (vec![127, 0, 127], 254));
        // A maximum that is too small is no overflow.
        let mut probs = [0; 2];
        assert_eq!(softmax_probs(&[5, i16::MAX], PRUNED, &mut probs), 254);
    }

    #[test]
    fn flat_rows_keep_their_weights() {
        // With a fixed step of 1/127 each of 1,024 equal weights would vanish.
        let (probs, sum) = softmax(&[17; 1024]);
        assert!(probs.iter().all(|&p| p == 127));
        let scale = Scale::from_f64(1.0).unwrap().combine(Scale::reciprocal(sum));
        let accumulator: i32 = probs.iter().map(|&p| i32::from(p) * -100).sum();
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
        ) {
            let (row, shuffled) = row;
            let (probs, sum) = softmax(&row);

            let (left, right) = row.split_at(at.index(row.len() + 1));
            let max = row_max(right).max(row_max(left));
            let mut parts = vec![0; row.len()];
            let (out_left, out_right) = parts.split_at_mut(left.len());
            let sum_right = softmax_probs(right, max, out_right);
            prop_assert_eq!(softmax_probs(left, max, out_left) + sum_right, sum);
            prop_assert_eq!(&parts, &probs);

            let (mut permuted, permuted_sum) = softmax(&shuffled);
            let mut sorted = probs;
            sorted.sort_unstable();
            permuted.sort_unstable();
            prop_assert_eq!(permuted, sorted);
            prop_assert_eq!(permuted_sum, sum);
        }

        #[test]
        fn weights_are_close_to_softmax(row in prop::collection::vec(-2500i16..2500, 1..200)) {
            let (probs, sum) = softmax(&row);
            let max = f64::from(row_max(&row));
            let exps: Vec<f64> =
                row.iter().map(|&t| ((f64::from(t) - max) / 256.0).exp2()).collect();
            let total: f64 = exps.iter().sum();
            let distance: f64 = exps
                .iter()
                .zip(&probs)
                .map(|(e, &p)| (e / total - f64::from(p) / f64::from(sum)).abs())
                .sum();
            // docs/numerics.md: the sum of all errors is at most n / (127 total).
            prop_assert!(distance <= row.len() as f64 / (127.0 * total) + 1e-12);
        }
    }
}
