//! From ONNX vision transformers to ViTCoD programs.
//!
//! - [`ir`]: the intermediate representation;
//! - [`interp`]: interpreters of it;
//! - [`quantise`]: calibration and quantisation.

pub mod interp;
pub mod ir;
pub mod quantise;
