//! Warnings: what a user should know of a command that succeeded.

use std::io::{self, Write as _};

/// Prints a warning.
pub(crate) fn warn(warning: &str) {
    // A warning that cannot be displayed is not an error.
    let _ = writeln!(io::stderr(), "warning: {warning}");
}
