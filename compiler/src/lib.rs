//! From ONNX vision transformers to ViTCoD programs.
//!
//! - [`ir`]: the intermediate representation.

pub mod ir;
