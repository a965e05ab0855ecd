//! A systolic array that computes attention densely, as SCALE-Sim counts it.
//!
//! A product of `m` x `k` by `k` x `n` on `R` rows of `C` MACs is cut into folds. Each fold fills
//! and drains by itself:
//!
//! ```text
//! output-stationary   ceil(m / R) ceil(n / C) (k + R + C - 2)
//! weight-stationary   ceil(k / R) ceil(n / C) (m + 2 R + C - 2)
//! ```
//!
//! Source: the demand matrices of SCALE-Sim (Samajdar et al., ISPASS 2020), which are
//! `systolic_compute_os.py` and `systolic_compute_ws.py` of `scalesim-project/scale-sim-v2`. The
//! second is also the formula of the paper; its formula for the first has `2 R`. The tool prints
//! the number of the last cycle, counted from 0, which is one less. Heads run one after the other,
//! each as two products, Q K^T and the scores by V. K and V are stationary in the second form.
//!
//! SCALE-Sim without stalls has no DRAM. The transfers of Q, K, V and outputs at the stated
//! bandwidth are ours: overlapped cycles are the larger of computation and transfers.

use serde::{Deserialize, Serialize};

use crate::estimate::{LayerEstimate, Phase, Total, bytes, transfer_cycles};
use crate::system::text::{ELEMENT_BITS, Kind, RATE, SIDE};
use crate::workload::{Layer, Workload};

/// The keys of a systolic array in a TOML file.
pub(crate) const FIELDS: &[(&str, Kind)] = &[
    ("rows", SIDE),
    ("columns", SIDE),
    ("dataflow", Kind::Choice(&["output-stationary", "weight-stationary"])),
    ("element_bits", ELEMENT_BITS),
    ("bytes_per_cycle", RATE),
];

/// What the model does not charge.
pub(crate) const NOT_MODELLED: &[&str] = &[
    "softmax",
    "sparsity: pruned entries are computed",
    "overlap of the drain of a fold with the fill of the next",
    "limits of the buffers, so every operand is loaded once",
];

/// The resources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SystolicArray {
    /// Rows of MACs.
    pub(crate) rows: u32,
    /// MACs of a row.
    pub(crate) columns: u32,
    /// What stays in the array during a fold.
    pub(crate) dataflow: Dataflow,
    /// Bits of an element in DRAM.
    pub(crate) element_bits: u32,
    /// DRAM bandwidth.
    pub(crate) bytes_per_cycle: f64,
}

/// What stays in the array during a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dataflow {
    /// A block of the result.
    OutputStationary,
    /// A block of the second factor.
    WeightStationary,
}

impl SystolicArray {
    pub(crate) fn macs(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    pub(crate) fn estimate(&self, workload: &Workload) -> Vec<LayerEstimate> {
        workload.layers().iter().map(|layer| self.layer(layer)).collect()
    }

    fn layer(&self, layer: &Layer) -> LayerEstimate {
        let shape = layer.shape();
        let heads = u64::from(shape.heads);
        let scores = heads * self.product_cycles(shape.queries, shape.keys, shape.key_features);
        let outputs = heads * self.product_cycles(shape.queries, shape.value_features, shape.keys);
        let elements = heads * shape.head_elements();
        let memory = transfer_cycles(bytes(elements, self.element_bits), self.bytes_per_cycle);
        let phases = [("scores", scores), ("outputs", outputs), ("memory", memory)];
        LayerEstimate {
            phases: phases.map(|(name, cycles)| Phase { name, cycles }).into(),
            total: Total {
                overlapped_cycles: Some((scores + outputs).max(memory)),
                serial_cycles: Some(scores + outputs + memory),
            },
        }
    }

    /// Cycles of a product of `m` x `k` by `k` x `n`.
    pub(crate) fn product_cycles(&self, m: u32, n: u32, k: u32) -> u64 {
        let [m, n, k, rows, columns] = [m, n, k, self.rows, self.columns].map(u64::from);
        match self.dataflow {
            Dataflow::OutputStationary => {
                m.div_ceil(rows) * n.div_ceil(columns) * (k + rows + columns - 2)
            }
            Dataflow::WeightStationary => {
                k.div_ceil(rows) * n.div_ceil(columns) * (m + 2 * rows + columns - 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::deit_tiny;

    fn array(rows: u32, columns: u32, dataflow: Dataflow) -> SystolicArray {
        SystolicArray { rows, columns, dataflow, element_bits: 8, bytes_per_cycle: 153.6 }
    }

    /// "Total Cycles" that SCALE-Sim 3.0.0 (PyPI) prints, run by us with buffers of 1 MiB, for
    /// products (m, n, k) of (197, 197, 64), (197, 64, 197) and (50, 70, 33).
    const PRINTED: [(u32, u32, Dataflow, [u64; 3]); 6] = [
        (16, 32, Dataflow::OutputStationary, [10_009, 6317, 947]),
        (32, 16, Dataflow::OutputStationary, [10_009, 6803, 789]),
        (8, 8, Dataflow::OutputStationary, [48_749, 42_199, 2960]),
        (16, 32, Dataflow::WeightStationary, [7251, 6733, 1007]),
        (32, 16, Dataflow::WeightStationary, [7149, 7699, 1279]),
        (8, 8, Dataflow::WeightStationary, [43_799, 43_799, 3239]),
    ];

    #[test]
    fn cycles_are_those_that_scale_sim_counts() {
        for (rows, columns, dataflow, printed) in PRINTED {
            let array = array(rows, columns, dataflow);
            let products = [(197, 197, 64), (197, 64, 197), (50, 70, 33)];
            let found = products.map(|(m, n, k)| array.product_cycles(m, n, k));
            assert_eq!(found.map(|cycles| cycles - 1), printed, "{array:?}");
        }
    }

    #[test]
    fn deit_tiny_on_512_macs() {
        let layers = array(16, 32, Dataflow::OutputStationary).estimate(&deit_tiny());
        // 3 heads of 91 folds of 110 cycles and 26 folds of 243.
        assert_eq!(layers[0].phases[0].cycles, 3 * 10_010);
        assert_eq!(layers[0].phases[1].cycles, 3 * 6318);
        let total = Total::of_layers(&layers);
        assert_eq!(total.overlapped_cycles, Some(12 * 3 * 16_328));
        assert_eq!(total.serial_cycles, Some(12 * (3 * 16_328 + 985)));
    }

    #[test]
    fn a_narrow_channel_limits() {
        let slow =
            SystolicArray { bytes_per_cycle: 1.0, ..array(64, 64, Dataflow::WeightStationary) };
        let layer = slow.layer(&deit_tiny().layers()[0]);
        assert_eq!(layer.total.overlapped_cycles, Some(3 * 4 * 197 * 64));
    }
}
