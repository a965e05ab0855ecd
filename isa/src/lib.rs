//! What the ViTCoD machine is. Depends on no sibling crate.
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
//! - [`manual`]: the reference manual, `docs/isa.md`;
//! - [`random`]: seeded random numbers;
//! - [`beside`]: files that a file names;
//! - [`problems`]: errors that state all that is wrong;
//! - [`diagnostics`]: the same for texts, shown with the line.

pub mod asm;
pub mod beside;
pub mod check;
pub mod cost;
pub mod diagnostics;
pub mod effects;
pub mod energy;
pub mod instr;
pub mod machine;
pub mod manual;
pub mod numerics;
pub mod operands;
pub mod problems;
pub mod program;
pub mod random;
pub mod timing;
