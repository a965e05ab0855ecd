//! Executes ViTCoD programs instruction by instruction and counts cycles and traffic.
//!
//! - [`execute`]: what each instruction does to the bytes of the scratchpad and of DRAM;
//! - `chaos`: a program executed in any order that its tokens allow, with the feature `testing`;
//! - [`task_listing`]: what is not yet a program, executed one instruction after the other;
//! - [`report`]: cycles, stalls, traffic and bounds, per layer and in total;
//! - [`scratchpad`]: what lies in the scratchpad and when;
//! - [`kernels`]: fast exact int8 matrix products.
//!
//! When each instruction runs is said by [`vitcod_isa::timing`], which the compiler asks as well.
//! It does not depend on data, so a program is simulated once and executed as often as there are
//! inputs: [`Emulator`] joins the two.

#[cfg(any(test, feature = "testing"))]
pub mod chaos;
mod emulator;
pub mod execute;
pub mod kernels;
pub mod report;
pub mod scratchpad;
pub mod task_listing;

pub use emulator::Emulator;
pub use execute::{Fault, Memory, MemoryError};
pub use report::Report;

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
