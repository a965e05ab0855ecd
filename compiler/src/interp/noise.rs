//! The error of results against a reference.

/// The energy of a reference and of the error. The energies of parts of a tensor, or of several
/// tensors, add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// Sum of squares of the reference.
    signal: f64,
    /// Sum of squares of the differences; NaN if a number is NaN.
    noise: f64,
}

impl Noise {
    /// The noise of results `x` against a reference `r`.
    ///
    /// # Panics
    /// The arguments differ in length.
    pub fn of<'a>(
        reference: impl IntoIterator<Item = &'a f32, IntoIter: ExactSizeIterator>,
        result: impl IntoIterator<Item = &'a f32, IntoIter: ExactSizeIterator>,
    ) -> Noise {
        let (reference, result) = (reference.into_iter(), result.into_iter());
        assert_eq!(reference.len(), result.len(), "results of the same tensor");
        let mut sums = Noise::default();
        for (r, x) in reference.zip(result) {
            let (r, x) = (f64::from(*r), f64::from(*x));
            sums.signal += r * r;
            sums.noise += (r - x) * (r - x);
        }
        sums
    }

    /// The noise of both sets of results.
    #[must_use]
    pub fn and(self, other: Noise) -> Noise {
        Noise { signal: self.signal + other.signal, noise: self.noise + other.noise }
    }

    /// Signal-to-quantisation-noise ratio in decibels, `10 log10(sum r^2 / sum (r - x)^2)`.
    /// Infinite without error; NaN if a number is NaN, so that no threshold accepts it.
    pub fn sqnr_db(self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.noise).log10() }
    }
}

/// [`Noise::sqnr_db`] of results against a reference.
///
/// # Panics
/// The arguments differ in length.
pub fn sqnr_db(reference: &[f32], result: &[f32]) -> f64 {
    Noise::of(reference, result).sqnr_db()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_in_decibels() {
        assert!((sqnr_db(&[3.0, 4.0], &[3.0, 4.5]) - 20.0).abs() < 1e-12);
        assert_eq!(sqnr_db(&[1.0], &[1.0]), f64::INFINITY);
        assert_eq!(sqnr_db(&[0.0], &[1.0]), f64::NEG_INFINITY);
        assert!(sqnr_db(&[1.0], &[f32::NAN]).is_nan());
        let parts = Noise::of(&[3.0], &[3.0]).and(Noise::of(&[4.0], &[4.5]));
        assert_eq!(parts, Noise::of(&[3.0, 4.0], &[3.0, 4.5]));
    }
}
