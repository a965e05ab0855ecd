//! The authors' simulator of projections and MLP, as closed forms.

use serde::Serialize;

use crate::estimate::transfer_cycles;

/// MACs of the script.
const MACS: u64 = 64 * 8;

/// 76.8 GiB/s at 500 MHz.
const BYTES_PER_CYCLE: f64 = 164.926_744_166_4;

/// Hidden units of the MLP, in widths.
const MLP_RATIO: u64 = 4;

/// The shape of a transformer's linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Number of layers.
    pub layers: u32,
    /// Rows of activations.
    pub tokens: u32,
    /// Columns of activations between layers.
    pub width: u32,
    /// Heads of the attention.
    pub heads: u32,
    /// Features of a head.
    pub features: u32,
    /// Heads of compressed Q and K; `None` without an auto-encoder.
    pub compressed_heads: Option<u32>,
}

/// Cycles of all layers. Numbers beyond 64 bits are the largest of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LinearCycles {
    /// Products of the projections.
    pub projection_cycles: u64,
    /// The encoder.
    pub encode_cycles: u64,
    /// Weights of the projections; Q, K and V, which are stored.
    pub projection_transfer_cycles: u64,
    /// Products of the MLP.
    pub mlp_cycles: u64,
    /// Weights of the MLP.
    pub mlp_transfer_cycles: u64,
    /// The larger of products (with encoder) and transfers, of projections and of the MLP.
    pub overlapped_cycles: u64,
}

/// Cycles of projections and MLP: `Hardware/Simulator/ViT_FFN.py`, the same in all versions, with
/// 512 MACs.
///
/// For `N` tokens of width `E`, `h` heads of `d` features and `e` compressed heads, with
/// `s = floor(512 / h)` MACs per head and `t(b)` the cycles in which the channel moves `b` bytes,
/// rounded up, each layer takes
///
/// ```text
/// projections  3 N floor(E d / s) + floor(N E d / s)
/// encoder      2 N floor(h d / floor(512 / e))
/// transfers    3 d t(h E) + 2 t(h e) + 2 N t(d e) + N t(d h) + floor(N / s) E t(d h)
/// MLP          2 floor(4 N E^2 / 512)
/// transfers    floor(N / 512) (4 E t(E) + E t(4 E))
/// ```
///
/// Divisions are rounded down, as there. Ours: at least one MAC per head; without an auto-encoder,
/// Q and K are stored as V is.
pub fn linear_layers(shape: &LinearShape) -> LinearCycles {
    let [layers, tokens, width, heads, features] =
        [shape.layers, shape.tokens, shape.width, shape.heads, shape.features].map(u64::from);
    let share = (MACS / heads.max(1)).max(1);
    let transfer = |factors: [u64; 2]| transfer_cycles(product(&factors), BYTES_PER_CYCLE);
    let compressed = shape.compressed_heads.map(u64::from);
    let projection = sum(&[
        product(&[3, tokens, product(&[width, features]) / share]),
        product(&[tokens, width, features]) / share,
    ]);
    let encode = compressed.map_or(0, |compressed| {
        let macs = (MACS / compressed.max(1)).max(1);
        product(&[2, tokens, product(&[heads, features]) / macs])
    });
    let value = transfer([features, heads]);
    let projection_transfer = sum(&[
        product(&[3, features, transfer([heads, width])]),
        compressed.map_or(0, |compressed| product(&[2, transfer([heads, compressed])])),
        product(&[2, tokens, transfer([features, compressed.unwrap_or(heads)])]),
        product(&[tokens, value]),
        product(&[tokens / share, width, value]),
    ]);
    let mlp = product(&[2, product(&[MLP_RATIO, tokens, width, width]) / MACS]);
    let mlp_transfer = product(&[
        tokens / MACS,
        sum(&[
            product(&[MLP_RATIO, width, transfer([width, 1])]),
            product(&[width, transfer([MLP_RATIO, width])]),
        ]),
    ]);
    let all = |cycles: u64| cycles.saturating_mul(layers);
    let [projection_cycles, encode_cycles, mlp_cycles] = [projection, encode, mlp].map(all);
    let [projection_transfer_cycles, mlp_transfer_cycles] =
        [projection_transfer, mlp_transfer].map(all);
    let projections = sum(&[projection_cycles, encode_cycles]).max(projection_transfer_cycles);
    LinearCycles {
        projection_cycles,
        encode_cycles,
        projection_transfer_cycles,
        mlp_cycles,
        mlp_transfer_cycles,
        overlapped_cycles: sum(&[projections, mlp_cycles.max(mlp_transfer_cycles)]),
    }
}

fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor))
}

fn sum(terms: &[u64]) -> u64 {
    terms.iter().fold(0, |sum, term| sum.saturating_add(*term))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEIT_TINY: LinearShape = LinearShape {
        layers: 12,
        tokens: 197,
        width: 192,
        heads: 3,
        features: 64,
        compressed_heads: Some(2),
    };

    /// The figures of the authors' log, `masks/deit_tiny_lowrank/vitcod_atten_ffn.txt`.
    #[test]
    fn deit_tiny_takes_what_the_authors_log_says() {
        assert_eq!(
            linear_layers(&DEIT_TINY),
            LinearCycles {
                projection_cycles: 681_492,
                encode_cycles: 0,
                projection_transfer_cycles: 23_304,
                mlp_cycles: 1_361_664,
                mlp_transfer_cycles: 0,
                overlapped_cycles: 2_043_156,
            }
        );
    }

    #[test]
    fn a_model_with_more_tokens_than_macs_reloads_weights() {
        let shape = LinearShape { layers: 1, tokens: 1024, ..DEIT_TINY };
        // Twice 768 rows of 192 bytes, two cycles each, and 192 rows of 768 bytes, five each.
        assert_eq!(linear_layers(&shape).mlp_transfer_cycles, 2 * (768 * 2 + 192 * 5));
    }

    #[test]
    fn any_shape_has_cycles() {
        let largest = LinearShape {
            layers: u32::MAX,
            tokens: u32::MAX,
            width: u32::MAX,
            heads: u32::MAX,
            features: u32::MAX,
            compressed_heads: None,
        };
        assert_eq!(linear_layers(&largest).overlapped_cycles, u64::MAX);
        let none = LinearShape { heads: 0, compressed_heads: Some(0), ..largest };
        assert_eq!(linear_layers(&none).mlp_cycles, u64::MAX);
    }
}
