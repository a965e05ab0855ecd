use thiserror::Error;

/// Why a parameter of the arithmetic cannot be built or decoded.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NumericsError {
    /// A scale, ratio or epsilon is negative, infinite or NaN.
    #[error("{what} must be finite and not negative, found {value}")]
    Invalid {
        /// The parameter's name.
        what: &'static str,
        /// The value found.
        value: f64,
    },
    /// A value exceeds its fixed-point field.
    #[error("{what} = {value} is too large for its fixed-point field")]
    TooLarge {
        /// The parameter's name.
        what: &'static str,
        /// The value found.
        value: f64,
    },
    /// The lengths of vectors differ, or the machine does not support them.
    #[error("{what} has length {found}, expected {expected}")]
    Length {
        /// The vector's name.
        what: &'static str,
        /// The length found.
        found: usize,
        /// The supported lengths.
        expected: String,
    },
    /// The bytes are not a valid encoding.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// What was being decoded.
        what: &'static str,
        /// The violated rule.
        reason: &'static str,
    },
}

/// Rejects a parameter unless it is finite and not negative.
pub(super) fn check_not_negative(what: &'static str, value: f64) -> Result<(), NumericsError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(NumericsError::Invalid { what, value })
    }
}

/// Rejects the step of a quantised tensor unless it is finite and positive.
pub(super) fn check_step(what: &'static str, value: f64) -> Result<(), NumericsError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(NumericsError::Invalid { what, value })
    }
}
