//! The factors that the paper states for core attention: You et al., HPCA 2023, arXiv 2210.09573.
//!
//! They are means over six models. The paper states neither the cycles behind them nor the
//! resources of SpAtten and Sanger. The authors' simulator does not reproduce them at equal MACs.

use serde::Serialize;

use crate::estimate::Label;

/// How many times as long another system takes as ViTCoD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speedup {
    /// The other system.
    pub system: &'static str,
    /// Always [`Label::Published`].
    pub label: Label,
    /// At 90 % sparsity.
    pub at_90_percent: f64,
    /// Mean over 60, 70, 80 and 90 % sparsity.
    pub mean: f64,
}

/// The five systems of the paper.
pub const SPEEDUPS: [Speedup; 5] = [
    speedup("CPU (Xeon Gold 6230R)", 235.3, 127.2),
    speedup("EdgeGPU (Jetson Xavier NX)", 142.9, 77.0),
    speedup("GPU (RTX 2080 Ti)", 86.0, 46.5),
    speedup("SpAtten", 10.1, 6.8),
    speedup("Sanger", 6.8, 4.3),
];

const fn speedup(system: &'static str, at_90_percent: f64, mean: f64) -> Speedup {
    Speedup { system, label: Label::Published, at_90_percent, mean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanger_over_spatten_agrees_with_sangers_own_comparison() {
        // 1.47 in Lu et al., MICRO 2021.
        let [spatten, sanger] = [SPEEDUPS[3], SPEEDUPS[4]];
        assert!((spatten.at_90_percent / sanger.at_90_percent - 1.47).abs() < 0.02);
    }
}
