//! Counters.

/// Counts, up to what the counter holds: a program may be made to overflow it.
pub(super) fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}
