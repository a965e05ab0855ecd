//! From ONNX vision transformers to ViTCoD programs.
//!
//! - [`frontend`]: from a file to a canonical graph;
//! - [`onnx`]: reading ONNX files;
//! - [`import`]: from ONNX models to the representation;
//! - [`ir`]: the intermediate representation;
//! - [`passes`]: passes over it;
//! - [`interp`]: interpreters of it;
//! - [`quantise`]: calibration and quantisation;
//! - [`masks`]: which attention entries are computed, and by which engine;
//! - [`split`]: masked attention divided between the engines;
//! - [`autoencoder`]: where encoder and decoder of queries and keys are computed;
//! - [`codegen`]: from a quantised graph to a program;
//! - [`tiled`]: what it makes on the way, tasks on buffers and their schedule;
//! - [`workload`]: graphs without a model.

pub mod accuracy;
pub mod autoencoder;
pub mod codegen;
mod distinct;
pub mod frontend;
pub mod import;
pub mod interp;
pub mod ir;
pub mod masks;
pub mod onnx;
pub mod passes;
pub mod quantise;
pub mod split;
pub mod tiled;
pub mod workload;
