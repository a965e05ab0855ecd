//! From ONNX vision transformers to ViTCoD programs.
//!
//! - [`onnx`]: reading ONNX files;
//! - [`ir`]: the intermediate representation;
//! - [`passes`]: passes over it;
//! - [`interp`]: interpreters of it;
//! - [`quantise`]: calibration and quantisation;
//! - [`codegen`]: from a quantised graph to a program.

pub mod codegen;
pub mod interp;
pub mod ir;
pub mod onnx;
pub mod passes;
pub mod quantise;
