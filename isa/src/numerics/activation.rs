//! Activation functions on the host, as functions of real numbers.
//!
//! Built from f64 `+ - * /` and `floor` only, which IEEE 754 rounds the same way everywhere, so a
//! table made from them has the same bytes on every platform. The error against the mathematical
//! function is at most `1e-14 max(1, |x|)`; that of [`exp`] is relative.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// The exponential function: 0 below about -708, infinite above about 709.
///
/// `e^x = 2^k e^r` with `k = round(x / ln 2)` and `|r| <= 0.35`. `ln 2` is split in two, the first
/// part short enough for `k` times it to be exact. The series' first omitted term is `5e-18`.
pub fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const TERMS: u32 = 13;
    if x.is_nan() {
        return x;
    }
    let k = (x * std::f64::consts::LOG2_E + 0.5).floor();
    if k < -1022.0 {
        return 0.0;
    }
    if k > 1023.0 {
        return f64::INFINITY;
    }
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let series = (1..=TERMS).rev().fold(1.0, |sum, n| 1.0 + r / f64::from(n) * sum);
    let power = f64::from_bits(((k as i64 + 1023) as u64) << 52);
    series * power
}

/// The error function, by the series `2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1*3*..*(2n+1))`.
///
/// All terms have the sign of `x`, so nothing cancels. From `|x| = 6` on, `1 - |erf x|` is below
/// the precision of f64.
pub fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() >= 6.0 {
        return if x > 0.0 { 1.0 } else { -1.0 };
    }
    let square = x * x;
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-17 {
        odd += 2.0;
        term = term * (2.0 * square) / odd;
        sum += term;
    }
    FRAC_2_SQRT_PI * exp(-square) * sum
}

/// The logistic function `1 / (1 + e^-x)`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent.
pub fn tanh(x: f64) -> f64 {
    let decay = exp(-2.0 * x.abs());
    let magnitude = (1.0 - decay) / (1.0 + decay);
    if x < 0.0 { -magnitude } else { magnitude }
}

/// GELU in its exact form, `x/2 (1 + erf(x / sqrt 2))`.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// GELU in its tanh form, `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
pub fn gelu_tanh(x: f64) -> f64 {
    const SQRT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))
}

/// Hard swish, `x min(max(x + 3, 0), 6) / 6`.
pub fn hard_swish(x: f64) -> f64 {
    x * (x + 3.0).clamp(0.0, 6.0) / 6.0
}

/// The rectifier, `max(x, 0)`.
pub fn relu(x: f64) -> f64 {
    x.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::Lut;

    fn function(name: &str) -> fn(f64) -> f64 {
        match name {
            "exp" => exp,
            "erf" => erf,
            "sigmoid" => sigmoid,
            "tanh" => tanh,
            "gelu" => gelu,
            "gelu_tanh" => gelu_tanh,
            "hard_swish" => hard_swish,
            "relu" => relu,
            _ => panic!("no function {name}"),
        }
    }

    /// The reference's lines of one kind, split into fields. `testdata/activations.py` made it.
    fn reference(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
        include_str!("testdata/activations.txt")
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(move |fields| fields[0] == kind)
    }

    #[test]
    fn functions_against_forty_digits() {
        let mut count = 0;
        for fields in reference("value") {
            let [x, y] = [2, 3].map(|i| fields[i].parse::<f64>().unwrap());
            let value = function(fields[1])(x);
            let tolerance = if fields[1] == "exp" { y } else { y.abs().max(1.0) } * 1e-14;
            assert!((value - y).abs() <= tolerance, "{}({x}) = {value}, not {y}", fields[1]);
            count += 1;
        }
        assert_eq!(count, 8 * 31);
    }

    #[test]
    fn every_byte_of_every_table_against_forty_digits() {
        let mut count = 0;
        for fields in reference("lut") {
            let [in_step, out_step] = [2, 3].map(|i| fields[i].parse().unwrap());
            let lut = Lut::from_fn(in_step, out_step, function(fields[1]));
            let hex: String = lut.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, fields[4], "{} {in_step} {out_step}", fields[1]);
            count += 1;
        }
        assert_eq!(count, 6 * 4);
    }

    #[test]
    fn ends_of_the_real_line() {
        let infinite = [f64::NEG_INFINITY, -1e308, -1000.0, 1000.0, 1e308, f64::INFINITY];
        let inf = f64::INFINITY;
        assert_eq!(infinite.map(exp), [0.0, 0.0, 0.0, inf, inf, inf]);
        assert_eq!(infinite.map(sigmoid), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(infinite.map(tanh), [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
        assert_eq!(infinite.map(erf), [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
        assert_eq!(gelu(-1000.0), 0.0);
        assert_eq!(gelu(1000.0), 1000.0);
        assert!([exp, erf, sigmoid, tanh, gelu].iter().all(|f| f(f64::NAN).is_nan()));
        assert!(exp(-708.0) > 0.0 && exp(709.0).is_finite());
    }

    #[test]
    fn symmetries() {
        for x in (0..=800).map(|i| f64::from(i) / 100.0) {
            assert_eq!(erf(-x), -erf(x));
            assert_eq!(tanh(-x), -tanh(x));
            assert!((sigmoid(x) + sigmoid(-x) - 1.0).abs() < 1e-15);
            assert!((exp(x) * exp(-x) - 1.0).abs() < 1e-15);
            assert!(erf(x) <= erf(x + 0.01) + 1e-14);
        }
    }
}
