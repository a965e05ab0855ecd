//! Tests across the crates, in one binary: `cargo test --test it MODULE`. `docs/testing.md` says
//! what each module shows.

mod asm;
mod banks;
mod bit_equal;
mod cli;
mod digits;
mod fuzz;
mod golden;
mod graphs;
mod idioms;
mod ir;
mod kernel;
mod levit;
mod machines;
mod races;
mod run;
mod snapshots;
mod sparse;
mod stages;
mod tidy;
mod toml;
mod verifier;
