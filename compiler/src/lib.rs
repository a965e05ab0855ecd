//! From ONNX vision transformers to ViTCoD programs.
//!
//! - [`ir`]: the intermediate representation.
//! - [`passes`]: what turns one graph into another.

pub mod ir;
pub mod passes;
