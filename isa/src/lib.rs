//! The definition of the ViTCoD machine. Depends on no other crate of the project except the
//! general tools of `vitcod-support`.
//!
//! - [`machine`]: the configuration: everything that differs between machines;
//! - [`instr`]: the instruction table and the code derived from it;
//! - [`numerics`]: every arithmetic function of the machine;
//! - [`operands`]: layouts of structured operands;
//! - [`lists`]: lists of sparse patterns, and their cycles;
//! - [`effects`]: the memory accesses of an instruction;
//! - [`cost`]: the cost of an instruction;
//! - [`dram`]: DDR4 in detail;
//! - [`energy`]: the energy of a run;
//! - [`area`]: the area of a machine;
//! - [`timing`]: the start and end of each instruction of a program;
//! - [`program`]: a program with its data, bindings and machine, and its file format;
//! - [`check`]: the verifier of programs;
//! - [`asm`]: assembly, the text form of programs;
//! - `testing`, behind the feature of that name: small programs for tests.

pub mod area;
pub mod asm;
pub mod check;
pub mod cost;
pub mod dram;
pub mod effects;
pub mod energy;
pub mod instr;
pub mod lists;
pub mod machine;
#[cfg(test)]
mod manual;
pub mod numerics;
pub mod operands;
mod periodic;
pub mod program;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timing;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
