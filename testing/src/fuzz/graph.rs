//! A random quantised graph on a random machine: the emulator computes what the interpreter
//! computes, bit for bit.

use vitcod_compiler::codegen::{CodegenError, Options};
use vitcod_compiler::ir::Stage;
use vitcod_compiler::synthetic::random;
use vitcod_support::random::SplitMix64;

use crate::equal::assert_bit_equal_with;
use crate::machine;

/// Seed of the machine, threshold of global tokens, choices of the generator of graphs.
pub type Input<'a> = (u64, u8, &'a [u8]);

/// The target.
pub fn check((seed, globals, choices): Input<'_>) {
    let machine = machine::random(&mut SplitMix64::new(seed));
    let graph = random::graph_by(Stage::Quantised, choices);
    let options = Options { globals: super::globals(globals), ..Options::default() };
    match assert_bit_equal_with(&graph, &machine, options) {
        Ok(_)
        | Err(
            CodegenError::Unsupported(_)
            | CodegenError::TooSmall { .. }
            | CodegenError::NoPlacement { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}
