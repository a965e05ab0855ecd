//! The simulator of ViTCoD's authors, as closed forms.
//!
//! Source: `Hardware/Simulator` of `GATECH-EIC/ViTCoD`: `reorder.py` finds global tokens,
//! `ViTCoD.py` sums up cycles of the attention. The first version (January 2023, commit 13d9af1)
//! is the machine that the paper describes, 64 lines of 8 MACs; the last (June 2023, commit
//! b2f7fb5) has 64 lines of 64.
//!
//! The simulator takes head 0 for every head: each of `h` heads has its share of the `L` lines of
//! `M` MACs. For `n` queries and `m` keys of `d` features, values of `v` features, `e` compressed
//! heads, `g` global tokens (keys that more than 50 queries keep) and `z` kept entries of the other
//! keys, with `t(b)` the cycles in which the channel moves `b` bytes, rounded up:
//!
//! ```text
//! rows     = m + n
//! load     = rows t(e d) + decoder + values
//! decoder  = rows t(h e d)            January: weights as wide as a row, for each row
//!            t(h e) for each of up to three parts   June: once for K of either part and for Q
//! values   = g t(h v) + 1.5 (m - g) t(h v)          January: half of the rows twice
//!            m t(h v)                               June
//! decode   = rows ceil(e d / floor(L M / h))
//! denser   = floor(L g n / (g n + z)) lines, sparser = the other lines
//! sddmm    = ceil(d h / M) max(g ceil(n / denser), ceil(z / sparser))
//! spmm     = max(ceil(n v g / floor(denser M / h)), ceil(z v / floor(sparser M / h)))
//! total    = max(load, decode + sddmm + spmm), summed up over all layers before
//! ```
//!
//! Without global tokens Q is loaded and decoded `z / m` times. Ours, where the script divides by
//! zero: a part with work has at least one line and a head one MAC, a part without takes none.
//! Ours, too: shapes that are not square, and layers without an auto-encoder, which load Q and K of
//! all heads and decode nothing.

mod linear;

use serde::{Deserialize, Serialize};

use crate::estimate::{LayerEstimate, Phase, Total, transfer_cycles};
use crate::kept::KeptEntries;
use crate::system::text::{Kind, RATE, SIDE};
use crate::workload::{Layer, Workload};
pub use linear::{LinearCycles, LinearShape, linear_layers};

/// The keys of the simulator in a TOML file.
pub(crate) const FIELDS: &[(&str, Kind)] = &[
    ("version", Kind::Choice(&["2023-01", "2023-06"])),
    ("heads", Kind::Choice(&["first", "slowest"])),
    ("lines", SIDE),
    ("macs_per_line", SIDE),
    ("bytes_per_cycle", RATE),
];

/// What the simulator does not charge.
pub(crate) const NOT_MODELLED: &[&str] = &[
    "softmax",
    "loads of indices",
    "stores of outputs",
    "the encoder",
    "limits of the buffers, but for the factor of V in the first version",
    "ports and banks of the scratchpad",
];

/// A key that more queries keep is a global token: `threshold` of `reorder.py`.
const THETA_D: u32 = 50;

/// A version of the simulator with its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuthorsSimulator {
    /// What is loaded.
    pub(crate) version: Version,
    /// Which heads are simulated.
    pub(crate) heads: Heads,
    /// MAC lines (`PE_width`).
    pub(crate) lines: u32,
    /// MACs of a line (`PE_height`).
    pub(crate) macs_per_line: u32,
    /// DRAM bandwidth.
    pub(crate) bytes_per_cycle: f64,
}

/// The versions of the script, which load different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    /// As released.
    #[serde(rename = "2023-01")]
    January2023,
    /// The last one.
    #[serde(rename = "2023-06")]
    June2023,
}

/// Which heads are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Heads {
    /// Head 0 stands for all, as in the script.
    First,
    /// All heads, side by side: each phase takes as long as in its slowest head (ours).
    Slowest,
}

/// What the simulator reads from the mask of a head.
#[derive(Clone, Copy)]
struct Head {
    global_tokens: u64,
    /// Kept entries of the other keys.
    others: u64,
}

/// Cycles of the phases of a layer.
const PHASES: [&str; 4] = ["load", "decode", "sddmm", "spmm"];

impl AuthorsSimulator {
    pub(crate) fn macs(&self) -> u64 {
        u64::from(self.lines) * u64::from(self.macs_per_line)
    }

    pub(crate) fn estimate(&self, workload: &Workload) -> Vec<LayerEstimate> {
        workload.layers().iter().map(|layer| self.layer(layer)).collect()
    }

    fn layer(&self, layer: &Layer) -> LayerEstimate {
        let simulated = match (self.heads, layer.kept()) {
            (_, None) => vec![dense(layer)],
            (Heads::First, Some(heads)) => heads.iter().take(1).map(head).collect(),
            (Heads::Slowest, Some(heads)) => heads.iter().map(head).collect(),
        };
        let mut cycles = [0; PHASES.len()];
        for head in simulated {
            let [load, decode] = self.rows(layer, head);
            let [sddmm, spmm] = self.products(layer, head);
            for (slowest, found) in cycles.iter_mut().zip([load, decode, sddmm, spmm]) {
                *slowest = found.max(*slowest);
            }
        }
        let phases: Vec<Phase> =
            PHASES.into_iter().zip(cycles).map(|(name, cycles)| Phase { name, cycles }).collect();
        LayerEstimate { total: overlapped(cycles), phases }
    }

    /// Cycles of loading and of decoding Q, K and V.
    fn rows(&self, layer: &Layer, head: Head) -> [u64; 2] {
        let shape = layer.shape();
        let [heads, queries, keys, features, value_features] =
            [shape.heads, shape.queries, shape.keys, shape.key_features, shape.value_features]
                .map(u64::from);
        let transfer = |bytes| transfer_cycles(bytes, self.bytes_per_cycle);
        let Head { global_tokens, others } = head;
        // What Q costs, of which a part of the keys is passed by without global tokens.
        let reloaded = |cycles: u64| {
            let all = queries.saturating_mul(cycles);
            if global_tokens > 0 { all } else { all.saturating_mul(others).div_ceil(keys) }
        };
        let of_rows = |cycles: u64| keys.saturating_mul(cycles).saturating_add(reloaded(cycles));
        let compressed = layer.compressed_heads().map(u64::from);
        let mut load = of_rows(transfer(compressed.unwrap_or(heads) * features));
        let mut decode = 0;
        if let Some(compressed) = compressed {
            decode = of_rows((compressed * features).div_ceil((self.macs() / heads).max(1)));
            // The decoder has the bandwidth of one head.
            let decoder = match self.version {
                Version::January2023 => of_rows(transfer(heads * compressed * features)),
                Version::June2023 => {
                    let parts = 2 + u64::from(global_tokens > 0 && global_tokens < keys);
                    parts * transfer(heads * compressed)
                }
            };
            load = load.saturating_add(decoder);
        }
        let value = transfer(heads * value_features);
        let value_rows = match self.version {
            Version::January2023 => 2 * global_tokens + 3 * (keys - global_tokens),
            Version::June2023 => 2 * keys,
        };
        [load.saturating_add(value_rows.saturating_mul(value).div_ceil(2)), decode]
    }

    /// Cycles of both products.
    fn products(&self, layer: &Layer, head: Head) -> [u64; 2] {
        let shape = layer.shape();
        let [heads, queries, features, value_features, lines, macs] = [
            shape.heads,
            shape.queries,
            shape.key_features,
            shape.value_features,
            self.lines,
            self.macs_per_line,
        ]
        .map(u64::from);
        let Head { global_tokens, others } = head;
        let cells = global_tokens * queries;
        let share = (lines * cells).checked_div(cells + others).unwrap_or(0);
        let denser = share.max(1);
        let sparser = (lines - share.max(u64::from(cells > 0))).max(1);
        let sddmm = (features * heads).div_ceil(macs)
            * (global_tokens * queries.div_ceil(denser)).max(others.div_ceil(sparser));
        let spmm = |entries: u64, lines: u64| {
            (entries * value_features).div_ceil((lines * macs / heads).max(1))
        };
        [sddmm, spmm(cells, denser).max(spmm(others, sparser))]
    }
}

fn head(kept: &KeptEntries) -> Head {
    let (mut global_tokens, mut others) = (0, 0);
    for count in kept.counts_by_key() {
        if count > THETA_D {
            global_tokens += 1;
        } else {
            others += u64::from(count);
        }
    }
    Head { global_tokens, others }
}

fn dense(layer: &Layer) -> Head {
    let shape = layer.shape();
    let [queries, keys] = [shape.queries, shape.keys].map(u64::from);
    if shape.queries > THETA_D {
        Head { global_tokens: keys, others: 0 }
    } else {
        Head { global_tokens: 0, others: queries * keys }
    }
}

/// Loads are hidden behind the rest, or the rest behind loads.
fn overlapped([load, decode, sddmm, spmm]: [u64; PHASES.len()]) -> Total {
    let busy = decode.saturating_add(sddmm).saturating_add(spmm);
    Total { overlapped_cycles: Some(load.max(busy)), serial_cycles: None }
}

/// The simulator compares the sums of all layers, not layer by layer.
pub(crate) fn total(layers: &[LayerEstimate]) -> Total {
    let mut sums = [0_u64; PHASES.len()];
    for layer in layers {
        for (sum, phase) in sums.iter_mut().zip(&layer.phases) {
            *sum = sum.saturating_add(phase.cycles);
        }
    }
    overlapped(sums)
}

#[cfg(test)]
mod tests;
