//! Generated graphs.

mod attention_core;
#[cfg(any(test, feature = "testing"))]
pub mod random;

pub use attention_core::{AttentionCore, MAX_HEAD_DIM, WorkloadError, attention_core, check};
