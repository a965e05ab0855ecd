//! What a model says of a workload.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::system::System;

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Timed on a machine, by a script of this crate.
    Measured,
    /// Computed by a model of this crate.
    Modelled,
    /// Taken from a paper or from a log of its authors.
    Published,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Label::Measured => "measured",
            Label::Modelled => "modelled",
            Label::Published => "published",
        })
    }
}

/// Cycles in which a system computes a workload, according to its model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Always [`Label::Modelled`].
    pub label: Label,
    /// The system with its resources.
    pub resources: System,
    /// Multiplications per cycle.
    pub macs: u64,
    /// Each layer by itself.
    pub layers: Vec<LayerEstimate>,
    /// All layers, one after the other.
    pub total: Total,
    /// What the model does not charge.
    pub not_modelled: &'static [&'static str],
}

/// Cycles of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerEstimate {
    /// Cycles of each phase.
    pub phases: Vec<Phase>,
    /// Cycles of the layer.
    #[serde(flatten)]
    pub total: Total,
}

/// Cycles of a part of a layer's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// The part.
    pub name: &'static str,
    /// How long it takes by itself.
    pub cycles: u64,
}

/// Cycles of all phases together; `None` where a model does not have the figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Phases at the same time, where the model lets them overlap.
    pub overlapped_cycles: Option<u64>,
    /// Phases one after the other.
    pub serial_cycles: Option<u64>,
}

impl Total {
    /// The totals of layers that run one after the other.
    pub(crate) fn of_layers(layers: &[LayerEstimate]) -> Total {
        let sum = |cycles: fn(&Total) -> Option<u64>| {
            layers.iter().map(|layer| cycles(&layer.total)).sum::<Option<u64>>()
        };
        Total {
            overlapped_cycles: sum(|total| total.overlapped_cycles),
            serial_cycles: sum(|total| total.serial_cycles),
        }
    }

    /// The fewest cycles that the model has.
    pub fn fewest_cycles(&self) -> Option<u64> {
        self.overlapped_cycles.into_iter().chain(self.serial_cycles).min()
    }
}

impl Estimate {
    /// The cycles of a phase in all layers; 0 if there is no such phase.
    pub fn phase_cycles(&self, name: &str) -> u64 {
        let phases = self.layers.iter().flat_map(|layer| &layer.phases);
        phases.filter(|phase| phase.name == name).map(|phase| phase.cycles).sum()
    }
}

/// A workload that a system cannot compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "layer {layer}: a head of {features} features: the system has {multipliers} multipliers for \
     its dot products"
)]
pub struct EstimateError {
    /// The layer, from 0.
    pub layer: usize,
    /// Features of a key or of a value.
    pub features: u32,
    /// Multipliers that there are for a product of two vectors.
    pub multipliers: u32,
}

/// Cycles in which a channel moves bytes. As in the machines of ViTCoD, the bandwidth counts to
/// thousandths of a byte per cycle.
pub(crate) fn transfer_cycles(bytes: u64, bytes_per_cycle: f64) -> u64 {
    let millibytes_per_cycle = ((bytes_per_cycle * 1000.0).round() as u64).max(1);
    bytes.saturating_mul(1000).div_ceil(millibytes_per_cycle)
}

/// Bytes of elements; the last byte may be filled in part.
pub(crate) fn bytes(elements: u64, bits: u32) -> u64 {
    (elements * u64::from(bits)).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_round_up() {
        let cycles = [0, 153, 154, 1536, 1537].map(|bytes| transfer_cycles(bytes, 153.6));
        assert_eq!(cycles, [0, 1, 2, 10, 11]);
        assert_eq!([bytes(3, 8), bytes(3, 12), bytes(4, 4)], [3, 5, 2]);
    }

    #[test]
    fn totals_are_sums_where_every_layer_has_them() {
        let layer = |overlapped_cycles, serial_cycles| LayerEstimate {
            phases: vec![],
            total: Total { overlapped_cycles, serial_cycles },
        };
        let total = Total::of_layers(&[layer(None, Some(3)), layer(None, Some(4))]);
        assert_eq!(total, Total { overlapped_cycles: None, serial_cycles: Some(7) });
        assert_eq!(total.fewest_cycles(), Some(7));
        assert_eq!(Total::default().fewest_cycles(), None);
        let both = Total::of_layers(&[layer(Some(1), Some(3))]);
        assert_eq!(both.fewest_cycles(), Some(1));
    }
}
