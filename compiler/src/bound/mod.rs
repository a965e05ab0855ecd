//! What no program can beat: the bound of a machine for the attention of some masks, and what lists
//! take beside it.
//!
//! The bound is the largest of these limits; each counts what has to be done, and divides it by
//! what the machine does in a cycle. All are ours.
//!
//! - *Lines and row ports*, with the best division of keys between blocks and lists, as
//!   `bound::array` derives it. Queries that keep at least three quarters of the keys may be
//!   computed in full, where they need no row ports; their entries are counted, and none of their
//!   reads.
//! - *Requantisers*: a score for each entry, the results, and what is decoded.
//! - *Dividers*: a reciprocal for each query of each head.
//! - *Softmax*: the entries, in whole words of each query on a machine with banks, on the units of
//!   both engines.
//! - *DRAM*: queries, keys and values, compressed where they are decoded, and results.
//!
//! Layers of a model follow one another, so its attention takes at least the sum of the bounds of
//! its layers. Those of an [attention core](crate::synthetic::attention_core) are independent and
//! may overlap: it takes at least the largest of the sums of the limits.

mod array;
mod lists;
#[cfg(test)]
mod tests;

use serde::Serialize;
use vitcod_isa::lists::{Array, MAX_HEADS, Phase};
use vitcod_isa::machine::Machine;

use crate::bound::array::{Demand, Rates};
use crate::codegen::packing::{Query, RowLayout};
use crate::masks::{Mask, Masks};
use crate::split::Packing;
use crate::synthetic::{self, AttentionCore, WorkloadError};

pub use lists::ListCycles;

/// Limits in cycles. The names of its fields are stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// MAC lines, if nothing is in blocks.
    pub line_cycles: f64,
    /// Row ports, if nothing is in blocks; a word that several queries of a batch need is read
    /// once.
    pub row_port_cycles: f64,
    /// The larger of both with the best division between blocks and lists.
    pub array_cycles: u64,
    /// Requantisers of the lines.
    pub requantiser_cycles: f64,
    /// Dividers.
    pub divider_cycles: f64,
    /// Softmax units of both engines.
    pub softmax_cycles: f64,
    /// The DRAM channel.
    pub dram_cycles: f64,
}

impl Limits {
    /// The largest limit: its name and cycles.
    pub fn bound(&self) -> (&'static str, u64) {
        let others = [
            ("requantisers", self.requantiser_cycles),
            ("dividers", self.divider_cycles),
            ("softmax", self.softmax_cycles),
            ("DRAM", self.dram_cycles),
        ];
        let array =
            if self.line_cycles.ceil() as u64 >= self.array_cycles { "lines" } else { "row ports" };
        let mut most = (array, self.array_cycles);
        for (name, cycles) in others {
            let cycles = (cycles - 1e-6).ceil() as u64;
            if cycles > most.1 {
                most = (name, cycles);
            }
        }
        most
    }
}

/// The bound of a layer, and what its lists take.
#[derive(Clone, Debug, Serialize)]
pub struct LayerBound {
    /// Entries that its masks keep.
    pub kept_entries: usize,
    /// Its limits.
    pub limits: Limits,
    /// The largest limit.
    pub bound_cycles: u64,
    /// The limit that it is.
    pub limited_by: &'static str,
    /// A list of all entries on all lines, but of those of queries that may be computed in full.
    pub list: ListCycles,
    /// The same list with queries and keys in rising order.
    pub list_in_order: ListCycles,
    /// The same list if a row serves one query each time.
    pub list_without_sharing: ListCycles,
}

/// The bound of an attention core.
#[derive(Clone, Debug, Serialize)]
pub struct CoreBound {
    /// Layers in order.
    pub layers: Vec<LayerBound>,
    /// The sum of the layers' limits, with one best division for all.
    pub limits: Limits,
    /// The largest limit: layers overlap.
    pub bound_cycles: u64,
    /// The limit that it is.
    pub limited_by: &'static str,
    /// The sum of the bounds of the layers: they follow one another.
    pub layer_by_layer_cycles: u64,
}

/// Why there is no bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// There is no such attention core.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A layer exceeds the fields of an instruction on a list.
    #[error(
        "layer {layer}: {heads} heads of {head_dim} features and {tokens} tokens; a list has at \
         most {MAX_HEADS} heads, {MAX_TOKENS} tokens and rows of {MAX_TOKENS} bytes"
    )]
    Size {
        /// The first such layer.
        layer: usize,
        /// Number of its heads.
        heads: usize,
        /// Features of a head.
        head_dim: usize,
        /// Queries or keys, whichever are more.
        tokens: usize,
    },
}

/// The most tokens of a list.
const MAX_TOKENS: usize = u16::MAX as usize;

/// The bound of the attention core of some masks.
///
/// # Errors
/// There is no such core, or a layer is larger than a list can be.
pub fn core_bound(
    masks: &Masks,
    core: AttentionCore,
    machine: &Machine,
) -> Result<CoreBound, BoundError> {
    synthetic::check(masks, core)?;
    let head_dim = core.head_dim;
    for (layer, masks) in masks.layers().iter().enumerate() {
        let (heads, [queries, keys]) = (masks.len(), extents(masks));
        let tokens = queries.max(keys);
        if heads > MAX_HEADS.into() || tokens > MAX_TOKENS || heads * head_dim > MAX_TOKENS {
            return Err(BoundError::Size { layer, heads, head_dim, tokens });
        }
    }
    let array = Array::new(core.head_dim as u16, machine.all_lines().count, machine);
    let rates = Rates::new(&array, machine.all_lines().count);
    let mut all = Demand::default();
    let mut sums = Limits::default();
    let mut layers = Vec::new();
    for heads in masks.layers() {
        let layer = Layer::new(heads, core, machine);
        let mut demand = Demand::default();
        layer.demand(&mut demand, &array);
        layer.demand(&mut all, &array);
        let limits = layer.limits(&demand, rates, machine);
        sums.requantiser_cycles += limits.requantiser_cycles;
        sums.divider_cycles += limits.divider_cycles;
        sums.softmax_cycles += limits.softmax_cycles;
        sums.dram_cycles += limits.dram_cycles;
        let (limited_by, bound_cycles) = limits.bound();
        let list = |packing| lists::cycles(&layer, array, packing, machine);
        layers.push(LayerBound {
            kept_entries: heads.iter().map(Mask::kept).sum(),
            limits,
            bound_cycles,
            limited_by,
            list: list(Packing::default()),
            list_in_order: list(Packing { ordered: false, shared: true }),
            list_without_sharing: list(Packing { ordered: true, shared: false }),
        });
    }
    let limits = Limits {
        line_cycles: all.line_cycles(rates),
        row_port_cycles: all.port_cycles(rates),
        array_cycles: all.bound(rates),
        ..sums
    };
    let (limited_by, bound_cycles) = limits.bound();
    let layer_by_layer_cycles = layers.iter().map(|layer| layer.bound_cycles).sum();
    Ok(CoreBound { layers, limits, bound_cycles, limited_by, layer_by_layer_cycles })
}

/// The attention of a layer.
struct Layer<'m> {
    heads: &'m [Mask],
    core: AttentionCore,
    /// Queries of lists.
    queries: Vec<Query>,
    /// Entries of queries that may be computed in full.
    full_entries: usize,
    layout: RowLayout,
}

impl Layer<'_> {
    fn new<'m>(heads: &'m [Mask], core: AttentionCore, machine: &Machine) -> Layer<'m> {
        let [queries, keys] = extents(heads);
        let d = core.head_dim as u64;
        let stride = heads.len() as u64 * d;
        let word_bytes = machine.organisation().map_or(d, |of| of.banks.word_bytes.into());
        let layout = RowLayout {
            d,
            queries: ((keys as u64 * stride).next_multiple_of(word_bytes), stride),
            keys: (0, stride),
            word_bytes,
        };
        let mut layer = Layer { heads, core, queries: Vec::new(), full_entries: 0, layout };
        for (head, mask) in heads.iter().enumerate() {
            for query in 0..queries {
                let kept: Vec<u16> = mask.row(query).map(|key| key as u16).collect();
                if 4 * kept.len() >= 3 * keys {
                    layer.full_entries += kept.len();
                } else {
                    let (head, query) = (head as u8, query as u16);
                    layer.queries.push(Query { head, query, keys: kept });
                }
            }
        }
        layer
    }

    /// Elements of queries and keys that are decoded, by head.
    fn decoded_rows(&self) -> usize {
        let [queries, keys] = extents(self.heads);
        self.core.compressed_heads.map_or(0, |_| (queries + keys) * self.heads.len())
    }

    /// Adds what the layer needs of lines and row ports.
    fn demand(&self, demand: &mut Demand, array: &Array) {
        let [queries, _] = extents(self.heads);
        demand.add_work(self.decoded_rows() * self.core.compressed_heads.unwrap_or(0));
        for phase in Phase::ALL {
            demand.add_work(self.full_entries);
            demand.add_list(&self.queries, queries, phase, &self.layout, array);
        }
    }

    fn limits(&self, demand: &Demand, rates: Rates, machine: &Machine) -> Limits {
        let [queries, keys] = extents(self.heads);
        let (heads, d) = (self.heads.len(), self.core.head_dim);
        let kept: usize = self.heads.iter().map(Mask::kept).sum();
        let compressed = self.core.compressed_heads.unwrap_or(heads);
        let bytes = (queries + keys) * compressed * d + (queries + keys) * heads * d;
        let results = kept + queries * heads * d + self.decoded_rows() * d;
        let per_cycle = f64::from(machine.softmax.scores_per_cycle.max(1));
        let (requantiser_cycles, divider_cycles, scores) = match machine.organisation() {
            None => (0.0, 0.0, kept as f64 / per_cycle),
            Some(of) => {
                let datapath = of.datapath;
                let requantised =
                    f64::from(datapath.requantisers) * f64::from(machine.all_lines().count);
                let words = |mask: &Mask| -> f64 {
                    let row = |query| (mask.row(query).count() as f64 / per_cycle).ceil();
                    (0..queries).map(row).sum()
                };
                let reciprocals = (queries * heads) as f64 / f64::from(datapath.dividers.max(1));
                (
                    results as f64 / requantised.max(1.0),
                    reciprocals * f64::from(datapath.divider_cycles),
                    self.heads.iter().map(words).sum(),
                )
            }
        };
        Limits {
            line_cycles: demand.line_cycles(rates),
            row_port_cycles: demand.port_cycles(rates),
            array_cycles: demand.bound(rates),
            requantiser_cycles,
            divider_cycles,
            softmax_cycles: scores / 2.0,
            dram_cycles: machine.exact_transfer_cycles(bytes as u64),
        }
    }
}

/// Queries and keys of a head.
fn extents(heads: &[Mask]) -> [usize; 2] {
    [heads[0].queries(), heads[0].keys()]
}
