//! Presents the emulator's counts to people and to other tools.
//!
//! - [`RunText`], [`RunOverview`]: the report of a run as tables;
//! - [`ScratchpadText`]: the contents of the scratchpad over time, as tables;
//! - [`table`]: the tables, also of the compiler's decisions;
//! - [`dram_trace`]: the bursts on the DRAM for simulators of DRAM;
//! - [`picture`]: the schedule and the scratchpad as pictures;
//! - [`trace`]: the schedule for Perfetto.

pub mod dram_trace;
pub mod picture;
mod run;
mod scratchpad;
pub mod table;
#[cfg(test)]
mod tests;
pub mod trace;

pub use run::{RunOverview, RunText};
pub use scratchpad::ScratchpadText;
