//! Published results for comparison, with their sources.
//!
//! The paper is ViTCoD (You et al., HPCA 2023, arXiv 2210.09573). The authors' simulator is in
//! their public repository; we ran it. It is an analytical model: it uses head 0 for every head,
//! charges no softmax, indices or outputs, and loads nothing twice.

use vitcod_compiler::masks::Masks;
use vitcod_compiler::synthetic::AttentionCore;

/// Area of the chip of the paper in mm2, in 28 nm.
pub(crate) const AREA_MM2: f64 = 3.0;

/// The result of a version of the authors' simulator on the attention core.
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

/// Whether a core is that of [`SIMULATIONS`]: the authors' DeiT-Tiny mask, identified by its shape
/// and number of kept entries, with 64 features per head and 2 compressed heads.
pub(crate) fn is_simulated(masks: &Masks, core: &AttentionCore) -> bool {
    let shape = (masks.layers().len(), masks.layers()[0].len(), masks.layers()[0][0].queries());
    let mask =
        shape == (12, 3, 197) && masks.kept() == 74_399 && masks.entries() == 12 * 3 * 197 * 197;
    mask && (core.head_dim, core.compressed_heads) == (64, Some(2))
}

/// Speedups of one step of the method over another, in the paper's ablation of core attention.
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

/// Share of data movement in the latency without and with the auto-encoder, according to the paper.
pub(crate) const DATA_MOVEMENT: [f64; 2] = [0.50, 0.28];
