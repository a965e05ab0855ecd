//! What the ViTCoD machine is. Depends on no sibling crate but the general tools of
//! `vitcod-support`.
//!
//! - [`machine`]: the configuration, what can differ between machines;
//! - [`instr`]: the instruction table and what is derived from it;
//! - [`numerics`]: every function on numbers that the machine computes;
//! - [`operands`]: layouts of structured operands;
//! - [`effects`]: what an instruction touches;
//! - [`cost`]: what it costs;
//! - [`energy`]: what energy the events of a run take;
//! - [`timing`]: when the instructions of a program run;
//! - [`program`]: a program with its data, bindings and machine, and its file form;
//! - [`check`]: the verifier of programs;
//! - [`asm`]: a program as text, and back;
//! - `testing`, behind the feature of that name: small programs for tests.

pub mod asm;
pub mod check;
pub mod cost;
pub mod effects;
pub mod energy;
pub mod instr;
pub mod machine;
#[cfg(test)]
mod manual;
pub mod numerics;
pub mod operands;
pub mod program;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timing;

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
