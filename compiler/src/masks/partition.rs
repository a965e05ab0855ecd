//! The partition of a head: global tokens to the front.

use crate::ir::layout::Mask;

/// A head's mask divided between the engines, with its keys reordered: global tokens first.
///
/// [`polarise`] selects global tokens by a threshold; [`Partition::new`] takes any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The key at each position of the new order: global tokens (ascending, if selected by a
    /// threshold), then the others, ascending.
    pub order: Vec<u16>,
    /// The dense block, queries by global tokens. The denser engine computes every cell; only the
    /// kept ones are used.
    pub denser: Mask,
    /// The queries that keep each key, ascending; none for global tokens.
    pub sparser: Vec<Vec<u16>>,
}

impl Partition {
    /// Divides a head's mask by its global tokens, given in the order of the block's columns.
    ///
    /// # Panics
    /// A global token is not a key of the mask or occurs twice.
    pub fn new(mask: &Mask, global: &[u16]) -> Partition {
        let mut other = vec![true; mask.keys()];
        for key in global {
            let first = std::mem::replace(&mut other[usize::from(*key)], false);
            assert!(first, "key {key} is a global token twice");
        }
        let denser = Mask::from_fn(mask.queries(), global.len(), |query, place| {
            mask.is_kept(query, global[place].into())
        });

        let keys = mask.keys();
        let order = global.iter().copied();
        let order = order.chain((0..keys).filter(|key| other[*key]).map(|key| key as u16));
        let mut sparser = vec![Vec::new(); keys];
        for query in 0..mask.queries() {
            let others = mask.row(query).filter(|key| other[*key]);
            others.for_each(|key| sparser[key].push(query as u16));
        }
        Partition { order: order.collect(), denser, sparser }
    }

    /// The global tokens, in the order of the block's columns.
    pub fn global_tokens(&self) -> &[u16] {
        &self.order[..self.globals()]
    }

    /// Number of global tokens.
    pub fn globals(&self) -> usize {
        self.denser.keys()
    }

    /// Cells of the denser block, kept or not.
    pub fn dense_cells(&self) -> usize {
        self.denser.entries()
    }

    /// Kept entries of the other tokens.
    pub fn nonzeros(&self) -> usize {
        self.sparser.iter().map(Vec::len).sum()
    }

    /// Share of the dense block's cells that are kept; 1 if there is no block.
    pub fn fill(&self) -> f64 {
        1.0 - self.denser.sparsity()
    }
}

/// Divides a head's mask: a key with more than `theta_d` kept entries is a global token. The
/// authors use 50 for 197 tokens.
pub fn polarise(mask: &Mask, theta_d: usize) -> Partition {
    let counts = mask.kept_per_key();
    let global: Vec<u16> =
        (0..mask.keys()).filter(|key| counts[*key] > theta_d).map(|key| key as u16).collect();
    Partition::new(mask, &global)
}
