//! Functions of f32 that are computed often, from additions and multiplications alone: fast,
//! because compilers turn loops over them into vector instructions, and the same on every platform.

/// `e^x`, with a relative error below `2e-7`; 0 below -87, where the results are not normal.
///
/// `2^n e^r` for the integer `n` next to `x / ln 2`, with a polynomial for `e^r` (S. Moshier,
/// Cephes, `expf`).
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    /// Added and taken away again, it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    /// The two parts of ln 2, of which the first has few bits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const COEFFICIENTS: [f32; 6] =
        [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    let inside = x.clamp(-87.0, 88.0);
    let n = (inside * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = inside - n * LN_2[0] - n * LN_2[1];
    let polynomial = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    let result = (polynomial * r * r + r + 1.0) * power;
    if x < -87.0 {
        0.0
    } else if x > 88.0 {
        f32::INFINITY
    } else if x.is_nan() {
        x
    } else {
        result
    }
}

/// Gauss's error function, with an absolute error below `5e-7`: a quotient of polynomials up to 4,
/// beyond which it is 1 in f32 (the coefficients of the library Eigen).
#[inline]
pub(super) fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] =
        [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let polynomial = |coefficients: &[f32]| {
        coefficients.iter().fold(0.0, |sum, coefficient| sum * square + coefficient)
    };
    x * polynomial(&ABOVE) / polynomial(&BELOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_stated() {
        let mut worst = [0f64; 2];
        for i in -900_000..=900_000 {
            let x = i as f32 / 10_000.0;
            if (-87.0..=88.0).contains(&x) {
                let exact = libm::exp(x.into());
                worst[0] = worst[0].max((f64::from(exp(x)) / exact - 1.0).abs());
            }
            let error = f64::from(erf(x / 10.0)) - libm::erf(f64::from(x / 10.0));
            worst[1] = worst[1].max(error.abs());
        }
        assert!(worst[0] < 2e-7 && worst[1] < 5e-7, "{worst:?}");
    }

    #[test]
    fn ends() {
        assert_eq!([f32::NEG_INFINITY, -100.0, 0.0].map(exp), [0.0, 0.0, 1.0]);
        assert_eq!([100.0, f32::INFINITY].map(exp), [f32::INFINITY; 2]);
        assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
        assert_eq!([0.0, -0.0].map(erf), [0.0; 2]);
        assert!((erf(f32::INFINITY) - 1.0).abs() < 5e-7);
        assert!((erf(f32::NEG_INFINITY) + 1.0).abs() < 5e-7);
    }
}
