//! c
/// c
pub fn check() {}
