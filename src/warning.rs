//! Warnings: what a user should know of a command that succeeded.

use std::io::{self, Write as _};

use vitcod_isa::program::Decision;

/// Prints a warning.
pub(crate) fn warn(warning: &str) {
    // A warning that cannot be displayed is not an error.
    let _ = writeln!(io::stderr(), "warning: {warning}");
}

/// Prints the first of decisions that are warnings.
pub(crate) fn warn_of_decisions(warnings: &[Decision]) {
    const MOST: usize = 4;
    for Decision { layer, chosen, reason, .. } in warnings.iter().take(MOST) {
        warn(&format!("{layer}: {chosen}; {reason}"));
    }
    if warnings.len() > MOST {
        warn(&format!("{} more in --explain", warnings.len() - MOST));
    }
}
