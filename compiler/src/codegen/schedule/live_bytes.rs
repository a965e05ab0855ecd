//! Bytes that live at each task.

/// Bytes that live at each of `tasks` tasks, of buffers given by their bytes and their first and
/// last task.
pub(super) fn live_bytes(
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
