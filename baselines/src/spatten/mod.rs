//! SpAtten (Wang, Zhang and Han, HPCA 2021), which prunes tokens and heads while it runs.
//!
//! One side of multipliers computes dot products of a query with keys, the other multiplies values
//! by probabilities; both take a query per step. The model, for `L` queries, `n` kept keys, `d`
//! features and `M` multipliers per side, in parts that do not overlap:
//!
//! ```text
//! p      = floor(M / d)                       keys per cycle
//! b      = ceil(n / p)                        cycles of a query
//! dram   = sum over heads of 2 ceil(ceil(b p d bits / 8 / bytes of a channel) / channels)
//! fill   = sum over heads of L b
//! drain  = 11 + 87 + b + 1 + 1 + 3
//! top-k  = once per layer if tokens are pruned
//! ```
//!
//! Source: the BERT simulator of `mit-han-lab/spatten` (`spatten_hardware/simulator/src/bert.cpp`),
//! which rounds down to whole transactions; where the multipliers are a multiple of the features
//! the two agree. Its drain is SRAM, multiplier and adder tree (11), dequantisation, exponential,
//! sum, division and quantisation (87), a FIFO (`b`), requantisation, top-k and the product with V.
//! It has one number of features; for values that are wider than keys, `b` is that of the slower
//! side (ours).
//!
//! Which tokens are kept depends on inputs, so a mask does not state it. Ours: every layer keeps
//! the same share of tokens, by default the one that leaves as many entries as the masks do,
//! `sqrt(density)`. Equal numbers of entries are not equal accuracy.

mod top_k;

use serde::{Deserialize, Serialize};

use crate::estimate::{EstimateError, LayerEstimate, Phase, Total, bytes};
use crate::system::text::{ELEMENT_BITS, Kind};
use crate::workload::{LayerShape, Workload};

/// The keys of SpAtten in a TOML file.
pub(crate) const FIELDS: &[(&str, Kind)] = &[
    ("multipliers_per_side", Kind::Integer(1, 1 << 16)),
    ("dram_channels", Kind::Integer(1, 1024)),
    ("channel_bytes_per_cycle", Kind::Integer(1, 1024)),
    ("element_bits", ELEMENT_BITS),
    ("top_k_comparators", Kind::Integer(1, 1 << 16)),
    ("prunes_queries", Kind::Flag),
    (TOKEN_SHARE, Kind::Number(0.0, 1.0)),
];

/// The key that may be omitted.
pub(crate) const TOKEN_SHARE: &str = "token_share";

/// What the model does not charge.
pub(crate) const NOT_MODELLED: &[&str] = &[
    "accuracy: token pruning at equal numbers of entries is not equal accuracy",
    "pruning that increases from layer to layer",
    "pruning of heads and of single values",
    "fetching least significant bits when a softmax is flat",
    "queries and outputs in DRAM",
    "conflicts of DRAM banks",
    "projections and MLP",
];

/// Dequantisation, exponential, accumulator, divider, quantisation.
const SOFTMAX_CYCLES: u64 = 7 + 21 + 23 + 29 + 7;

/// SRAM, multiplier and adder tree before the softmax; requantisation and top-k that pass; SRAM,
/// multiplier and accumulator behind it.
const OTHER_DRAIN_CYCLES: u64 = (1 + 1 + 9) + 1 + 1 + (1 + 1 + 1);

/// The resources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpAtten {
    /// Multipliers for Q K^T, and as many for the product with V.
    pub(crate) multipliers_per_side: u32,
    /// DRAM channels.
    pub(crate) dram_channels: u32,
    /// Bytes of a transaction; each channel makes one per cycle.
    pub(crate) channel_bytes_per_cycle: u32,
    /// Bits of an element in DRAM.
    pub(crate) element_bits: u32,
    /// Numbers that the top-k engine compares in a cycle.
    pub(crate) top_k_comparators: u32,
    /// Whether pruned tokens are no queries either.
    pub(crate) prunes_queries: bool,
    /// Share of the tokens that are kept; by default as many entries as in the masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_share: Option<f64>,
}

impl SpAtten {
    pub(crate) fn macs(&self) -> u64 {
        2 * u64::from(self.multipliers_per_side)
    }

    pub(crate) fn estimate(
        &self,
        workload: &Workload,
    ) -> Result<Vec<LayerEstimate>, EstimateError> {
        let share = self.token_share.unwrap_or_else(|| workload.density().sqrt());
        let layers = workload.layers().iter().enumerate();
        layers.map(|(index, layer)| self.layer(layer.shape(), share, index)).collect()
    }

    fn layer(
        &self,
        shape: LayerShape,
        share: f64,
        layer: usize,
    ) -> Result<LayerEstimate, EstimateError> {
        let multipliers = self.multipliers_per_side;
        let parallel = |features: u32| {
            let error = EstimateError { layer, features, multipliers };
            std::num::NonZeroU32::new(multipliers / features).ok_or(error)
        };
        let kept = |tokens: u32| ((f64::from(tokens) * share).round() as u32).max(1);
        let keys = kept(shape.keys);
        let queries = if self.prunes_queries { kept(shape.queries) } else { shape.queries };
        let keys_at_once = parallel(shape.key_features)?.get();
        let values_at_once = parallel(shape.value_features)?.get();
        let heads = u64::from(shape.heads);
        let transactions = |at_once: u32, features: u32| {
            let rows = u64::from(keys.div_ceil(at_once)) * u64::from(at_once);
            bytes(rows * u64::from(features), self.element_bits)
                .div_ceil(self.channel_bytes_per_cycle.into())
                .div_ceil(self.dram_channels.into())
        };
        let dram = heads
            * (transactions(keys_at_once, shape.key_features)
                + transactions(values_at_once, shape.value_features));
        let slower = keys_at_once.min(values_at_once);
        let query_cycles = u64::from(keys.div_ceil(slower));
        let fill = heads * u64::from(queries) * query_cycles;
        let drain = SOFTMAX_CYCLES + OTHER_DRAIN_CYCLES + query_cycles;
        let top_k = if keys < shape.keys {
            top_k::cycles(keys, self.top_k_comparators, keys_at_once)
        } else {
            0
        };
        let phases = [("dram", dram), ("fill", fill), ("drain", drain), ("top_k", top_k)];
        let serial_cycles = Some(phases.iter().map(|(_, cycles)| cycles).sum());
        Ok(LayerEstimate {
            phases: phases.map(|(name, cycles)| Phase { name, cycles }).into(),
            total: Total { overlapped_cycles: None, serial_cycles },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authors_mask;
    use crate::shapes::deit_tiny;
    use crate::workload::Layer;

    /// Scaled to 512 multipliers and 160 bytes per cycle.
    const SCALED: SpAtten = SpAtten {
        multipliers_per_side: 256,
        dram_channels: 5,
        channel_bytes_per_cycle: 32,
        element_bits: 8,
        top_k_comparators: 16,
        prunes_queries: false,
        token_share: None,
    };

    fn cycles(spatten: &SpAtten, workload: &Workload) -> u64 {
        Total::of_layers(&spatten.estimate(workload).unwrap()).serial_cycles.unwrap()
    }

    /// Cycles for DeiT-Tiny of the original's simulator, compiled and run by us with these
    /// resources: share of tokens, pruned for K and V, and for Q as well.
    const CHECKED: [(f64, u64, u64); 7] = [
        (1.0, 362_196, 362_196),
        (0.632, 233_640, 150_696),
        (0.548, 197_256, 110_748),
        (0.526, 189_900, 102_852),
        (0.447, 160_872, 74_544),
        (0.316, 117_432, 39_672),
        (0.231, 88_488, 23_256),
    ];

    #[test]
    fn cycles_are_those_of_the_originals_simulator() {
        for (share, keys_only, queries_too) in CHECKED {
            let keys = SpAtten { token_share: Some(share), ..SCALED };
            let both = SpAtten { prunes_queries: true, ..keys.clone() };
            let found = [&keys, &both].map(|spatten| cycles(spatten, &deit_tiny()));
            assert_eq!(found, [keys_only, queries_too], "{share}");
        }
    }

    #[test]
    fn the_share_of_equal_entries_is_the_root_of_the_density() {
        let kept = |pruned: u32| {
            crate::kept::KeptEntries::from_fn(197, 197, |q, k| (q * 197 + k) % 10 >= pruned)
        };
        // Of ten entries 6, 7, 8 and 9 are pruned.
        for (pruned, expected) in [(6, 233_640), (7, 197_256), (8, 160_872), (9, 117_432)] {
            let layer = Layer::masked(64, 64, vec![kept(pruned).unwrap(); 3]).unwrap();
            let workload = Workload::new(vec![layer; 12]).unwrap();
            assert_eq!(cycles(&SCALED, &workload), expected, "{pruned}");
        }
    }

    #[test]
    fn the_authors_mask() {
        let Some(workload) = authors_mask::workload() else { return };
        // The root of 0.05325 is 0.2308: 45 tokens, where 0.231 above makes 46.
        assert_eq!(cycles(&SCALED, &workload), 88_392);
        let both = SpAtten { prunes_queries: true, ..SCALED };
        assert_eq!(cycles(&both, &workload), 22_728);
    }

    #[test]
    fn phases_by_hand() {
        let shape =
            LayerShape { heads: 2, queries: 5, keys: 10, key_features: 16, value_features: 32 };
        let small = SpAtten {
            multipliers_per_side: 64,
            dram_channels: 2,
            channel_bytes_per_cycle: 32,
            ..SCALED
        };
        let found = small.layer(shape, 1.0, 0).unwrap();
        // Keys four at once, 12 x 16 bytes are 6 transactions, 3 per channel; values two at once,
        // 10 x 32 bytes are 10 transactions, 5 per channel; 5 cycles of a query.
        assert_eq!(found.phases.iter().map(|p| p.cycles).collect::<Vec<_>>(), [16, 50, 108, 0]);
        assert_eq!(found.total.serial_cycles, Some(174));
    }

    #[test]
    fn a_head_wider_than_the_multipliers_is_refused() {
        let small = SpAtten { multipliers_per_side: 63, ..SCALED };
        let error = small.estimate(&deit_tiny()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer 0: a head of 64 features: the system has 63 multipliers for its dot products"
        );
    }
}
