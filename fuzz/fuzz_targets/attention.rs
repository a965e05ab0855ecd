//! A random masked attention core on a random machine: the emulator computes what the interpreter
//! computes, bit for bit.

#![no_main]

#[allow(dead_code, reason = "a part of it is needed")]
#[path = "../../tests/common/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use vitcod_compiler::codegen::{CodegenError, Options};
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::split::GlobalTokens;
use vitcod_compiler::synthetic::{AttentionCore, attention_core};

/// Tokens, heads, features of a head, and how the mask is made.
type Shape = [u8; 8];

fuzz_target!(|input: (u64, Shape, &[u8])| {
    let (machine, [queries, keys, heads, head_dim, compressed, globals, density, columns], entries) =
        input;
    let machine = common::machine(&mut common::Random(machine));
    let below = |byte: u8, limit: u8| usize::from(byte % limit);
    let [queries, keys, heads] = [1 + below(queries, 40), 1 + below(keys, 40), 1 + below(heads, 4)];
    // The first entries by the input, the others by chance.
    let mut chance = common::Random(u64::from(density));
    let mut entries = entries.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let mut head = || {
        Mask::from_fn(queries, keys, |query, key| {
            let full = columns > 0 && key.is_multiple_of(usize::from(columns));
            let drawn = entries.next().unwrap_or_else(|| chance.next() % 256 < u64::from(density));
            full || drawn || key == query % keys
        })
    };
    let masks =
        Masks::new(vec![(0..heads).map(|_| head()).collect()]).expect("each query keeps a key");
    let compressed_heads = (compressed % 2 == 1).then(|| 1 + below(compressed / 2, heads as u8));
    let core = AttentionCore {
        head_dim: 1 + below(head_dim, 33),
        compressed_heads,
        seed: u64::from(density),
    };
    let graph = attention_core(&masks, core).expect("the shape is one");
    let globals = if globals < 128 {
        GlobalTokens::Auto
    } else {
        GlobalTokens::Above(usize::from(globals) - 128)
    };
    match common::assert_bit_equal_with(&graph, &machine, Options { globals, ..Options::default() })
    {
        Ok(_) | Err(CodegenError::TooSmall { .. } | CodegenError::NoPlacement { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});
