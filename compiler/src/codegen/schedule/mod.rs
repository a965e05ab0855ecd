//! From tasks in program order to a schedule: the order of the tasks, the addresses of their
//! buffers, and the tokens that keep conflicting accesses apart.
//!
//! ```text
//! search        orders x placements, each timed with its tokens; the lowest energy-delay product wins
//!   list        list scheduling: a task starts when it can       or
//!   prefetch    program order, loads as early as memory allows
//!   placement   addresses by lifetimes
//!   sync        tokens between units
//! ```
//!
//! A schedule knows tasks, buffers and the machine, and nothing of the graph that they compute.

mod list;
mod placement;
mod prefetch;
mod search;
mod sync;

pub(super) use search::{Candidate, Found, run};
pub(super) use sync::with_tokens;

/// Bytes that live at each of `tasks` tasks, of buffers with their bytes, first and last task.
fn live_bytes(
    tasks: usize,
    buffers: impl IntoIterator<Item = (u64, (usize, usize))>,
) -> impl Iterator<Item = u64> {
    let mut change = vec![0i64; tasks + 1];
    for (bytes, (first, last)) in buffers {
        change[first] += bytes as i64;
        change[last + 1] -= bytes as i64;
    }
    change.into_iter().take(tasks).scan(0i64, |live, step| {
        *live += step;
        Some(*live as u64)
    })
}
