//! Global tokens to the front.

use super::Mask;

/// A head's mask divided between the engines, keys in a new order: global tokens first.
///
/// [`polarise`] finds global tokens by a threshold, [`Split::new`] takes any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The key at each place of the new order: global tokens, rising where a threshold found them,
    /// then the others, rising.
    pub order: Vec<u16>,
    /// The denser block, queries by global tokens. The denser engine computes every cell; what is
    /// kept of them counts.
    pub denser: Mask,
    /// The kept entries of the other tokens, columns in the new order.
    pub sparser: Csc,
}

impl Split {
    /// Divides a head's mask by its global tokens, whose order is that of the block's columns.
    ///
    /// # Panics
    /// A global token is no key of the mask or there twice.
    pub fn new(mask: &Mask, global: &[u16]) -> Split {
        let mut other = vec![true; mask.keys()];
        for key in global {
            let first = std::mem::replace(&mut other[usize::from(*key)], false);
            assert!(first, "key {key} is a global token twice");
        }
        let denser = Mask::from_fn(mask.queries(), global.len(), |query, place| {
            mask.is_kept(query, global[place].into())
        });

        let mut order = global.to_vec();
        let mut column_starts = vec![0];
        let mut rows = Vec::new();
        for key in (0..mask.keys()).filter(|key| other[*key]) {
            order.push(key as u16);
            rows.extend(
                (0..mask.queries())
                    .filter(|query| mask.is_kept(*query, key))
                    .map(|query| query as u16),
            );
            column_starts.push(rows.len());
        }
        Split { order, denser, sparser: Csc { column_starts, rows } }
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

    /// Share of the denser block's cells that is kept; 1 where there is no block.
    pub fn fill(&self) -> f64 {
        1.0 - self.denser.sparsity()
    }
}

/// A sparse pattern, column by column (compressed sparse columns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csc {
    /// Where each column begins in `rows`, and after the last one the length of `rows`.
    pub column_starts: Vec<usize>,
    /// The rows of the non-zeros, rising within each column.
    pub rows: Vec<u16>,
}

impl Csc {
    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.column_starts.len() - 1
    }

    /// The rows of a column's non-zeros, rising.
    ///
    /// # Panics
    /// There is no such column.
    pub fn column(&self, column: usize) -> &[u16] {
        &self.rows[self.column_starts[column]..self.column_starts[column + 1]]
    }

    /// Number of non-zeros.
    pub fn nonzeros(&self) -> usize {
        self.rows.len()
    }
}

/// Divides a head's mask: a key with more than `theta_d` kept entries is a global token. The
/// authors use 50 for 197 tokens.
pub fn polarise(mask: &Mask, theta_d: usize) -> Split {
    let counts = mask.kept_per_key();
    let global: Vec<u16> =
        (0..mask.keys()).filter(|key| counts[*key] > theta_d).map(|key| key as u16).collect();
    Split::new(mask, &global)
}
