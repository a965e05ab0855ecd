//! From ONNX vision transformers to ViTCoD programs.
//!
//! The layers, from the ground up. Each imports only from those listed before it; a test compares
//! this list with the imports of every file.
//!
//! - `mapped`: files in memory;
//! - [`ir`]: the intermediate representation, with the layouts of its structured constants;
//! - [`estimate`]: the estimated cost of a part of a program;
//! - [`onnx`]: reading ONNX files;
//! - [`interp`]: interpreters of the representation, in float and in integers;
//! - [`import`]: from ONNX models to the representation;
//! - [`calibration`]: statistics of a graph on samples;
//! - [`masks`]: attention masks, and their partition between the engines;
//! - [`quantise`]: from float to integers;
//! - [`autoencoder`]: placement of the auto-encoders of queries and keys;
//! - `equalise`: factors and offsets of channels moved between parameters;
//! - [`split`]: masked attention divided between the engines;
//! - [`tiled`]: programs before emission: tasks on buffers;
//! - [`codegen`]: from a split graph to tasks, a schedule and a program;
//! - [`passes`]: the registry of passes and the pipelines made of them, and the passes that rewrite
//!   float graphs;
//! - [`class_tokens`]: the class tokens of a model;
//! - [`host`]: the parts of a model that the host computes;
//! - [`frontend`]: from a file to a canonical graph;
//! - [`synthetic`]: generated graphs;
//! - [`bound`]: what no program for some masks can beat.

pub mod autoencoder;
pub mod bound;
pub mod calibration;
pub mod class_tokens;
pub mod codegen;
mod equalise;
pub mod estimate;
pub mod frontend;
pub mod host;
pub mod import;
pub mod interp;
pub mod ir;
#[cfg(test)]
mod layers;
mod mapped;
pub mod masks;
pub mod onnx;
pub mod passes;
pub mod quantise;
pub mod split;
pub mod synthetic;
pub mod tiled;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
