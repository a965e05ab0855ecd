//! Pictures of a run, as PNG: the [timeline] of the units, and the [scratchpad](memory).
//!
//! Cycles of the run, or of a part of it, go from left to right. A column of pixels represents a
//! range of cycles, which may be many or a fraction of one, and shows their contents in proportion.
//! So a picture of a million instructions is as accurate as one of ten.

mod canvas;
mod memory;
mod plot;
#[cfg(test)]
mod tests;
mod timeline;

use std::ops::Range;

pub use memory::memory;
pub use timeline::timeline;

/// The cycles that a picture shows, clipped to a run of `total` cycles.
///
/// # Errors
/// The range is empty; the message states it.
pub fn window(total: u64, from: Option<u64>, to: Option<u64>) -> Result<Range<u64>, String> {
    let (from, end) = (from.unwrap_or(0), to.unwrap_or(total).min(total));
    if from >= end {
        let asked = |end: Option<u64>| end.map_or_else(String::new, |cycle| cycle.to_string());
        let start = if from == 0 { String::new() } else { from.to_string() };
        return Err(format!(
            "cycles {start}..{}: expected a range within the {total} cycles of the run",
            asked(to)
        ));
    }
    Ok(from..end)
}
