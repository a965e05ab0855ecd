//! Saturating counters.

/// Adds to a counter, saturating: an untrusted program may overflow it.
pub(super) fn add(counter: &mut u64, amount: u64) {
    *counter = counter.saturating_add(amount);
}
