//! A random quantised graph on a random machine: the emulator computes what the interpreter
//! computes, bit for bit.

#![no_main]

#[allow(dead_code, reason = "a part of it is needed")]
#[path = "../../tests/common/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use vitcod_compiler::codegen::{CodegenError, Options};
use vitcod_compiler::ir::Stage;
use vitcod_compiler::split::GlobalTokens;
use vitcod_compiler::synthetic::random;

fuzz_target!(|input: (u64, u8, &[u8])| {
    let (machine, globals, choices) = input;
    let machine = common::machine(&mut common::Random(machine));
    let globals = if globals < 128 {
        GlobalTokens::Auto
    } else {
        GlobalTokens::Above(usize::from(globals) - 128)
    };
    let graph = random::graph_by(Stage::Quantised, choices);
    match common::assert_bit_equal_with(&graph, &machine, Options { globals, ..Options::default() })
    {
        Ok(_)
        | Err(
            CodegenError::Unsupported(_)
            | CodegenError::TooSmall { .. }
            | CodegenError::NoPlacement { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
});
