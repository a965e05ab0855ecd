//! Sanger (Lu et al., MICRO 2021), a reconfigurable array for masks that are made while running.
//!
//! A predictor computes the scores with operands of 4 bits; a threshold makes the mask. The array
//! then computes the kept entries. It holds a tile of as many keys as it has column ports; in each
//! tile, the kept entries of a query are packed and split into *subrows* of as many entries as an
//! array row has PEs.
//!
//! The model, for `n` queries, `m` keys, `d` key and `e` value features, with `R` rows of `P` PEs
//! and tiles of `W` keys:
//!
//! ```text
//! subrows of a tile = sum over its queries of ceil(kept entries / P)
//! rounds            = sum over tiles of ceil(subrows / R)
//! compute           = rounds (d + e), or rounds (d + W + e + W) if the skew is exposed
//! prediction        = ceil(n m d / predictor MACs)
//! memory            = ceil((n d + m d + m e + n e) bytes / bytes per cycle)
//! overlapped        = max(compute, prediction, memory)
//! serial            = max(compute + prediction, memory)
//! ```
//!
//! of each head; heads run one after the other.
//!
//! Sources: structure, 64 keys per tile and 16 PEs per row from the paper and the repository
//! (`hatsu3/Sanger`); the skew of `W` cycles per product from its `bench_sanger_v2.py`; a predictor
//! at 1/16 of the cost of a 16-bit multiplication from the paper. That subrows of all queries of a
//! tile fill rounds without gaps, and the memory traffic, are ours.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::estimate::{LayerEstimate, Phase, Total, bytes, transfer_cycles};
use crate::kept::KeptEntries;
use crate::system::text::{ELEMENT_BITS, Kind, RATE, SIDE};
use crate::workload::{Layer, LayerShape, Workload};

/// The keys of Sanger in a TOML file.
pub(crate) const FIELDS: &[(&str, Kind)] = &[
    ("rows", SIDE),
    ("pes_per_row", SIDE),
    ("tile_keys", SIDE),
    ("skew_hidden", Kind::Flag),
    ("predictor_macs", Kind::Integer(1, 1 << 20)),
    ("element_bits", ELEMENT_BITS),
    ("bytes_per_cycle", RATE),
];

/// What the model does not charge.
pub(crate) const NOT_MODELLED: &[&str] = &[
    "softmax",
    "packing and splitting of rows",
    "limits of the buffers, so every operand is loaded once",
    "projections and MLP",
];

/// The resources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sanger {
    /// Rows of PEs.
    pub(crate) rows: u32,
    /// PEs of a row: the most entries of a subrow.
    pub(crate) pes_per_row: u32,
    /// Column ports: keys of a tile.
    pub(crate) tile_keys: u32,
    /// Whether operands enter skewed behind those of the round before.
    pub(crate) skew_hidden: bool,
    /// Products of 4 bits per cycle in the predictor.
    pub(crate) predictor_macs: u32,
    /// Bits of an element in DRAM.
    pub(crate) element_bits: u32,
    /// DRAM bandwidth.
    pub(crate) bytes_per_cycle: f64,
}

impl Sanger {
    pub(crate) fn macs(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.pes_per_row)
    }

    pub(crate) fn estimate(&self, workload: &Workload) -> Vec<LayerEstimate> {
        workload.layers().iter().map(|layer| self.layer(layer)).collect()
    }

    fn layer(&self, layer: &Layer) -> LayerEstimate {
        let mut sum = Head::default();
        match layer.kept() {
            // The heads of a dense layer are equal, and so are the rows of a tile.
            None => {
                let shape = layer.shape();
                let rounds = self.rounds(shape.keys, |tile| {
                    let subrows = (tile.end - tile.start).div_ceil(self.pes_per_row);
                    u64::from(shape.queries) * u64::from(subrows)
                });
                sum.add(self.head(shape, rounds), shape.heads.into());
            }
            Some(heads) => {
                for head in heads {
                    sum.add(self.head(layer.shape(), self.masked_rounds(head)), 1);
                }
            }
        }
        let phases =
            [("prediction", sum.prediction), ("compute", sum.compute), ("memory", sum.memory)];
        LayerEstimate {
            phases: phases.map(|(name, cycles)| Phase { name, cycles }).into(),
            total: Total {
                overlapped_cycles: Some(sum.overlapped),
                serial_cycles: Some(sum.serial),
            },
        }
    }

    /// Cycles of a head.
    fn head(&self, shape: LayerShape, rounds: Rounds) -> Head {
        let [queries, keys, key_features, value_features] =
            [shape.queries, shape.keys, shape.key_features, shape.value_features].map(u64::from);
        let skew = if self.skew_hidden { 0 } else { 2 * u64::from(self.tile_keys) };
        let compute = rounds.rounds * (key_features + value_features + skew);
        let prediction = (queries * keys * key_features).div_ceil(self.predictor_macs.into());
        let bytes = bytes(shape.head_elements(), self.element_bits);
        let memory = transfer_cycles(bytes, self.bytes_per_cycle);
        let overlapped = compute.max(prediction).max(memory);
        let serial = (compute + prediction).max(memory);
        Head { prediction, compute, memory, overlapped, serial }
    }

    fn masked_rounds(&self, head: &KeptEntries) -> Rounds {
        self.rounds(head.keys(), |tile| {
            let subrows = |query| head.count_in(query, tile.clone()).div_ceil(self.pes_per_row);
            (0..head.queries()).map(|query| u64::from(subrows(query))).sum()
        })
    }

    /// Subrows and rounds of a head, of whose tiles the subrows are known.
    fn rounds(&self, keys: u32, subrows: impl Fn(Range<u32>) -> u64) -> Rounds {
        let mut sum = Rounds::default();
        for start in (0..keys).step_by(self.tile_keys as usize) {
            let subrows = subrows(start..keys.min(start + self.tile_keys));
            sum.subrows += subrows;
            sum.rounds += subrows.div_ceil(self.rows.into());
        }
        sum
    }
}

/// Cycles of a head, or of several.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    prediction: u64,
    compute: u64,
    memory: u64,
    overlapped: u64,
    serial: u64,
}

impl Head {
    /// Adds some heads that are equal.
    fn add(&mut self, head: Head, count: u64) {
        self.prediction += count * head.prediction;
        self.compute += count * head.compute;
        self.memory += count * head.memory;
        self.overlapped += count * head.overlapped;
        self.serial += count * head.serial;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rounds {
    subrows: u64,
    rounds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authors_mask;
    use crate::shapes::deit_tiny;

    fn sanger(rows: u32, pes_per_row: u32, skew_hidden: bool) -> Sanger {
        Sanger {
            rows,
            pes_per_row,
            tile_keys: 64,
            skew_hidden,
            predictor_macs: 4 * rows * pes_per_row,
            element_bits: 8,
            bytes_per_cycle: 153.6,
        }
    }

    fn totals(sanger: &Sanger, workload: &Workload) -> [u64; 2] {
        let total = Total::of_layers(&sanger.estimate(workload));
        [total.overlapped_cycles.unwrap(), total.serial_cycles.unwrap()]
    }

    #[test]
    fn subrows_are_counted_by_hand() {
        // Tiles of 4 keys, subrows of 2 entries, 2 rows. The first tile has rows of 3, 0 and 1
        // entries: 2 + 0 + 1 subrows, 2 rounds. The second has rows of 1, 0 and 2: 2 subrows, 1
        // round.
        let rows = [0b01_0111, 0b00_0000, 0b11_1000];
        let kept = KeptEntries::from_fn(3, 6, |q, k| rows[q as usize] >> k & 1 == 1).unwrap();
        let layer = Layer::masked(10, 20, vec![kept]).unwrap();
        let sanger = Sanger {
            rows: 2,
            pes_per_row: 2,
            tile_keys: 4,
            skew_hidden: true,
            predictor_macs: 7,
            element_bits: 16,
            bytes_per_cycle: 4.0,
        };
        let rounds = sanger.masked_rounds(&layer.kept().unwrap()[0]);
        assert_eq!(rounds, Rounds { subrows: 5, rounds: 3 });
        // Compute 3 x 30, prediction ceil(180 / 7), memory (3 + 6) x 30 x 2 / 4.
        let found = sanger.layer(&layer);
        assert_eq!(found.phases.iter().map(|p| p.cycles).collect::<Vec<_>>(), [26, 90, 135]);
        assert_eq!(found.total.overlapped_cycles, Some(135));
        assert_eq!(found.total.serial_cycles, Some(135));
        let skewed = Sanger { skew_hidden: false, ..sanger };
        // Each of two products takes 4 cycles more in a round.
        assert_eq!(skewed.layer(&layer).phases[1].cycles, 3 * (30 + 8));
    }

    #[test]
    fn a_dense_layer_is_one_that_keeps_everything() {
        let shape = deit_tiny().layers()[0].shape();
        let full = KeptEntries::from_fn(shape.queries, shape.keys, |_, _| true).unwrap();
        let masked = Layer::masked(64, 64, vec![full; 3]).unwrap();
        let sanger = sanger(32, 16, true);
        assert_eq!(sanger.layer(&masked), sanger.layer(&Layer::dense(shape)));
    }

    #[test]
    fn prediction_and_memory_of_deit_tiny() {
        let found = sanger(32, 16, true).layer(&deit_tiny().layers()[0]);
        // 197^2 x 64 / 2,048 = 1,212.8 for each of 3 heads; 4 x 197 x 64 / 153.6 = 328.3.
        assert_eq!(found.phases[0].cycles, 3 * 1213);
        assert_eq!(found.phases[2].cycles, 3 * 329);
    }

    #[test]
    fn the_authors_mask() {
        let Some(workload) = authors_mask::workload() else { return };
        let heads = workload.layers().iter().flat_map(|layer| layer.kept().unwrap());
        let rounds = heads.map(|head| sanger(32, 16, true).masked_rounds(head));
        let sum = rounds.fold((0, 0), |sum, p| (sum.0 + p.rounds, sum.1 + p.subrows));
        assert_eq!(sum, (648, 17_826));
        let both =
            |rows, pes| [true, false].map(|hidden| totals(&sanger(rows, pes, hidden), &workload));
        assert_eq!(both(32, 16), [[82_944, 126_612], [165_888, 209_556]]);
        assert_eq!(both(64, 8), [[54_852, 96_660], [105_984, 149_652]]);
        assert_eq!(both(64, 16), [[48_768, 70_620], [97_536, 119_388]]);
    }
}
