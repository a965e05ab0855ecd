//! From ONNX vision transformers to ViTCoD programs.
//!
//! The layers, from the ground up. Each imports from those listed before it and from no other; a
//! test reads this list and the imports of every file.
//!
//! - [`ir`]: the intermediate representation, with the layouts of its structured constants;
//! - [`estimate`]: the estimated cost of a part of a program;
//! - [`onnx`]: reading ONNX files;
//! - [`interp`]: interpreters of the representation, in float and in integers;
//! - [`import`]: from ONNX models to the representation;
//! - [`calibration`]: what samples say of a graph;
//! - [`masks`]: which attention entries are computed, and by which engine;
//! - [`quantise`]: from float to integers;
//! - [`autoencoder`]: where encoder and decoder of queries and keys are computed;
//! - [`split`]: masked attention divided between the engines;
//! - [`tiled`]: tasks on buffers, and their schedule;
//! - [`codegen`]: from a split graph to tasks, a schedule and a program;
//! - [`passes`]: the registry of passes and the pipelines made of them, and the passes that rewrite
//!   float graphs;
//! - [`frontend`]: from a file to a canonical graph;
//! - [`synthetic`]: graphs without a model.

pub mod autoencoder;
pub mod calibration;
pub mod codegen;
pub mod estimate;
pub mod frontend;
pub mod import;
pub mod interp;
pub mod ir;
#[cfg(test)]
mod layers;
pub mod masks;
pub mod onnx;
pub mod passes;
pub mod quantise;
pub mod split;
pub mod synthetic;
pub mod tiled;

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
