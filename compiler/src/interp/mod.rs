//! Interpreters of the IR: what a graph means, in the simplest form that is fast enough.
//!
//! - [`FloatInterpreter`] runs imported and canonical graphs in float. It is the reference for accuracy and the source of
//!   calibration ([`crate::quantise`]).
//! - [`QuantisedInterpreter`] runs quantised graphs in plain loops over the functions of `vitcod_isa::numerics`. What the
//!   emulator computes must equal its results bit for bit; the two share no code but those functions.

mod error;
mod float;
mod live;
mod patches;
mod quantised;

pub use error::InterpError;
pub use float::FloatInterpreter;
pub use quantised::{QuantisedInterpreter, Tensor};

/// Ratio of signal to quantisation noise in decibels, `10 log10(sum r^2 / sum (r - x)^2)`, of a result `x` against its reference `r`.
///
/// Infinite for equal arguments; NaN where a number is none, so that no threshold accepts it.
///
/// # Panics
/// The arguments differ in length.
pub fn sqnr_db(reference: &[f32], result: &[f32]) -> f64 {
    assert_eq!(reference.len(), result.len(), "results of the same tensor");
    let (mut signal, mut noise) = (0.0, 0.0);
    for (r, x) in reference.iter().zip(result) {
        let (r, x) = (f64::from(*r), f64::from(*x));
        signal += r * r;
        noise += (r - x) * (r - x);
    }
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

#[cfg(test)]
mod tests {
    use super::sqnr_db;

    #[test]
    fn noise_in_decibels() {
        assert!((sqnr_db(&[3.0, 4.0], &[3.0, 4.5]) - 20.0).abs() < 1e-12);
        assert_eq!(sqnr_db(&[1.0], &[1.0]), f64::INFINITY);
        assert_eq!(sqnr_db(&[0.0], &[1.0]), f64::NEG_INFINITY);
        assert!(sqnr_db(&[1.0], &[f32::NAN]).is_nan());
    }
}
