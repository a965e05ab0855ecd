//! Executes ViTCoD programs instruction by instruction and counts cycles and traffic.
//!
//! - [`execute`]: the semantics of each instruction on the bytes of scratchpad and DRAM;
//! - `chaos`: execution in any order that the tokens allow, with the feature `testing`;
//! - [`task_listing`]: execution of task listings, one instruction after the other;
//! - [`report`]: cycles, stalls, traffic and bounds, per layer and in total;
//! - [`scratchpad`]: the contents of the scratchpad over time;
//! - [`kernels`]: fast exact int8 matrix products.
//!
//! Timing is that of [`vitcod_isa::timing`], which the compiler uses as well. It does not depend on
//! data, so a program is simulated once and executed for any number of inputs: [`Emulator`] joins
//! the two.

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

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
