//! Finds extents of tiles that fit by halving.

/// Halves `extent` until it fits or is 1.
pub(crate) fn halve_until(extent: usize, fits: impl Fn(usize) -> bool) -> usize {
    let mut extent = extent;
    while extent > 1 && !fits(extent) {
        extent = extent.div_ceil(2);
    }
    extent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_halved_until_they_fit() {
        assert_eq!(halve_until(197, |rows| rows <= 197), 197);
        assert_eq!(halve_until(197, |rows| rows <= 60), 50);
        // The caller asks whether one fits.
        assert_eq!(halve_until(197, |_| false), 1);
    }
}
