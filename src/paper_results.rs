//! Published figures that results are compared with, each with its source.
//!
//! The paper is ViTCoD (You et al., HPCA 2023, arXiv 2210.09573). The authors' simulator is in
//! their public repository; we ran it. It is a set of sums: it takes head 0 for every head, charges
//! no softmax, no indices and no outputs, and loads nothing twice.

use vitcod_compiler::masks::Masks;
use vitcod_compiler::synthetic::AttentionCore;

/// The attention core on a version of the authors' simulator.
pub(crate) struct Simulation {
    /// The version.
    pub(crate) version: &'static str,
    /// MACs that it gives to attention.
    pub(crate) macs: u64,
    /// Cycles for [`is_simulated`], all layers.
    pub(crate) cycles: u64,
}

/// The authors' simulator, run by us on their mask.
pub(crate) const SIMULATIONS: [Simulation; 2] = [
    Simulation { version: "as described, January 2023", macs: 512, cycles: 42_455 },
    Simulation { version: "latest, June 2023", macs: 4096, cycles: 9492 },
];

/// Whether a core is the one of [`SIMULATIONS`]: the authors' DeiT-Tiny mask, told by its shape and
/// its number of kept entries, 64 features of a head, 2 compressed heads.
pub(crate) fn is_simulated(masks: &Masks, core: &AttentionCore) -> bool {
    let shape = (masks.layers().len(), masks.layers()[0].len(), masks.layers()[0][0].queries());
    let mask =
        shape == (12, 3, 197) && masks.kept() == 74_399 && masks.entries() == 12 * 3 * 197 * 197;
    mask && (core.head_dim, core.compressed_heads) == (64, Some(2))
}

/// By how much less time one step of the method takes on top of another, in the paper's ablation of
/// core attention.
pub(crate) struct Factors {
    /// The mean that the paper states.
    pub(crate) mean: f64,
    /// At 90 % sparsity.
    pub(crate) at_90_percent: f64,
}

/// Pruning on top of reordering.
pub(crate) const PRUNING: Factors = Factors { mean: 5.14, at_90_percent: 8.14 };

/// Reordering on top of pruning.
pub(crate) const REORDERING: Factors = Factors { mean: 2.59, at_90_percent: 2.03 };

/// Share of data movement in the latency without and with the auto-encoder, in the paper.
pub(crate) const DATA_MOVEMENT: [f64; 2] = [0.50, 0.28];
