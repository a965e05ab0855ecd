//! A random masked attention core on a random machine: the emulator computes what the interpreter
//! computes, bit for bit.

use vitcod_compiler::codegen::{CodegenError, Options};
use vitcod_compiler::masks::{Mask, Masks};
use vitcod_compiler::synthetic::{AttentionCore, attention_core};
use vitcod_support::random::SplitMix64;

use crate::equal::assert_bit_equal_with;
use crate::machine;

/// Queries, keys, heads, features of a head, compressed heads, threshold of global tokens, density
/// of the mask, distance of full columns.
pub type Shape = [u8; 8];

/// Seed of the machine, the shape, and the first entries of the mask, a bit each.
pub type Input<'a> = (u64, Shape, &'a [u8]);

/// Found buffers with overlapping live ranges that shared bytes.
pub const TOUCHED_EARLY: [Input<'_>; 2] = [
    (0xc2c2_c2c2_c260_c2ca, [194, 202, 194, 194, 233, 194, 46, 76], &[42]),
    (0xc2c2_c2c2_c2c2_c2c2, [59, 194, 194, 54, 61, 194, 10, 76], &[194]),
];

/// Bytes that decode to an input.
pub fn encoded((seed, shape, entries): Input<'_>) -> Vec<u8> {
    [&seed.to_le_bytes()[..], &shape, entries].concat()
}

/// The target.
pub fn check((seed, shape, entries): Input<'_>) {
    let [queries, keys, heads, head_dim, compressed, globals, density, columns] = shape;
    let machine = machine::random(&mut SplitMix64::new(seed));
    let below = |byte: u8, limit: u8| usize::from(byte % limit);
    let [queries, keys, heads] = [1 + below(queries, 40), 1 + below(keys, 40), 1 + below(heads, 4)];
    // The first entries are given by the input, the others are random.
    let mut chance = SplitMix64::new(u64::from(density));
    let mut entries = entries.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let mut head = || {
        Mask::from_fn(queries, keys, |query, key| {
            let full = columns > 0 && key.is_multiple_of(usize::from(columns));
            let drawn = entries.next().unwrap_or_else(|| chance.bits() % 256 < u64::from(density));
            full || drawn || key == query % keys
        })
    };
    let masks =
        Masks::new(vec![(0..heads).map(|_| head()).collect()]).expect("each query keeps a key");
    let compressed_heads = (compressed % 2 == 1).then(|| 1 + below(compressed / 2, heads as u8));
    let core = AttentionCore {
        head_dim: 1 + below(head_dim, 33),
        compressed_heads,
        minifloat: density % 2 == 0,
        seed: u64::from(density),
    };
    let graph = attention_core(&masks, core).expect("the shape is one");
    let options = Options { globals: super::globals(globals), ..Options::default() };
    match assert_bit_equal_with(&graph, &machine, options) {
        Ok(_) | Err(CodegenError::TooSmall { .. } | CodegenError::NoPlacement { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use arbitrary::{Arbitrary as _, Unstructured};

    use super::*;

    #[test]
    fn encoded_inputs_decode_to_themselves() {
        for input in TOUCHED_EARLY {
            let bytes = encoded(input);
            assert_eq!(Input::arbitrary_take_rest(Unstructured::new(&bytes)), Ok(input));
        }
    }
}
