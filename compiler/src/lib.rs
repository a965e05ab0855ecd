//! From ONNX vision transformers to ViTCoD programs.
//!
//! - [`ir`]: the intermediate representation.
//! - [`onnx`]: reading ONNX files.

pub mod ir;
pub mod onnx;
