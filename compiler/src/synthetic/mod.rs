//! Graphs without a model.

mod attention_core;
pub mod random;

pub use attention_core::{AttentionCore, MAX_HEAD_DIM, WorkloadError, attention_core};
