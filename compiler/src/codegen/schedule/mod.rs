//! From tasks in program order to a schedule: the order of the tasks, the addresses of their
//! buffers, and the tokens that order conflicting accesses.
//!
//! ```text
//! search        orders x placements, each timed with its tokens, compared by energy-delay product
//!   list        list scheduling: simulated start times           or
//!   prefetch    program order, loads as early as memory allows
//!   placement   addresses by live ranges
//!   sync        tokens between units
//! ```
//!
//! Scheduling knows tasks, buffers and the machine. It knows nothing of the graph.

mod list;
mod live_bytes;
mod placement;
mod prefetch;
mod search;
mod sync;

pub(super) use search::{Candidate, Found, run, schedule};
pub(super) use sync::with_tokens;

#[cfg(test)]
mod tests;
