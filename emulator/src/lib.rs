//! Executes ViTCoD programs.

pub mod kernels;
