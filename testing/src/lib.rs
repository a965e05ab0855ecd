//! Tools that tests, benchmarks and fuzz targets of all crates share.
//!
//! - Generators: [`vit`] (vision transformers), [`net`] (quantised graphs, operation by operation),
//!   [`machine`], [`program`] (small programs, valid or not); graphs of every stage are drawn by
//!   `vitcod_compiler::synthetic::random`;
//! - [`compiled`]: programs as the command line makes them;
//! - oracles: [`equal`] (emulator against interpreter, bit for bit), [`oracle`] (races, pair by
//!   pair), [`banks`] (accesses of banks, one by one);
//! - texts: [`shortened`] (the same on all processors), [`stated`] (expected errors on the lines of
//!   a case);
//! - [`fuzz`]: the fuzz targets as functions, with their seeds;
//! - [`files`]: files of the repository.
//!
//! All functions panic where a test should fail.

pub mod banks;
pub mod compiled;
pub mod equal;
pub mod files;
pub mod fuzz;
pub mod machine;
pub mod net;
pub mod oracle;
pub mod program;
pub mod rescaled;
pub mod shortened;
pub mod stated;
pub mod vit;
