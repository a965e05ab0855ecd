//! What is kept of attention, head by head, as lowering reads it.

use std::ops::Range;

use crate::masks::Mask;

/// The kept entries of all heads.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) heads: Vec<HeadPattern>,
}

/// The kept entries of a head.
#[derive(Clone, Debug)]
pub(super) struct HeadPattern {
    /// Keys of the dense block.
    pub(super) columns: Vec<u16>,
    /// Kept cells of the block, row by row in whole bytes; `None` where all are.
    mask: Option<Vec<u8>>,
    /// Where the entries of each query start in `keys`, and where those of the last one end.
    starts: Vec<usize>,
    /// Keys of the entries, query by query.
    keys: Vec<u16>,
}

impl HeadPattern {
    /// A head with the block `columns`, of which `block` says what is kept, and the entries that `keys_of` names for each query.
    pub(super) fn new(columns: Vec<u16>, block: &Mask, keys_of: Vec<Vec<u16>>) -> HeadPattern {
        let mut starts = vec![0];
        let mut keys = Vec::new();
        for of_query in keys_of {
            keys.extend(of_query);
            starts.push(keys.len());
        }
        let mask = (block.kept() < block.entries()).then(|| block.to_kept_bytes());
        HeadPattern { columns, mask, starts, keys }
    }

    /// The keys of a query outside of the block.
    pub(super) fn entries(&self, query: usize) -> &[u16] {
        &self.keys[self.starts[query]..self.starts[query + 1]]
    }

    /// Kept cells of some queries, where the block has pruned ones.
    pub(super) fn mask_rows(&self, rows: Range<usize>) -> Option<&[u8]> {
        let width = Mask::kept_row_bytes(self.columns.len());
        self.mask.as_ref().map(|mask| &mask[rows.start * width..rows.end * width])
    }

    /// The first of the block's keys, where they are neighbours.
    pub(super) fn neighbours(&self) -> Option<u16> {
        let first = *self.columns.first()?;
        self.columns.windows(2).all(|pair| u32::from(pair[1]) == u32::from(pair[0]) + 1).then_some(first)
    }
}
