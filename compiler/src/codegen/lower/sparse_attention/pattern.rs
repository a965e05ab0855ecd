//! The kept entries of attention, head by head, in the form that lowering reads.

use std::ops::Range;

use bytes::Bytes;

use crate::codegen::limits::count;
use crate::ir::layout::{Mask, Patterns};
use crate::ir::{Graph, Op};

/// The kept entries of all heads.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) heads: Vec<HeadPattern>,
}

impl Pattern {
    /// The number of first queries that keep nearly all of so many keys in all heads, so that dense
    /// rows have little waste.
    pub(crate) fn full_rows(&self, queries: usize, keys: usize) -> usize {
        let is_full =
            |query: &usize| self.heads.iter().all(|head| 4 * head.kept(*query).count() >= 3 * keys);
        (0..queries).take_while(is_full).count()
    }

    /// The pattern of the scores of blocks and of the other entries.
    pub(crate) fn of(
        heads: usize,
        queries: usize,
        graph: &Graph,
        block: Option<Op>,
        list: Option<Op>,
    ) -> Pattern {
        let patterns = |op: Option<Op>| {
            let read = op.map(|op| Patterns::read(graph, graph.op(op)));
            read.map_or(Patterns::default(), |patterns| {
                patterns.expect("the graph has been verified")
            })
        };
        let (block, list) = (patterns(block), patterns(list));
        let mut keys_of = vec![vec![Vec::new(); queries]; heads];
        for (head, key, query) in list.csc.iter().flat_map(|csc| csc.entries()) {
            keys_of[head][query].push(count(key));
        }
        let block = |head: usize| match (&block.keys, &block.mask) {
            (Some(keys), Some(mask)) => (keys.head(head).to_vec(), mask.head(head).clone()),
            _ => (Vec::new(), Mask::from_fn(queries, 0, |_, _| false)),
        };
        let head = |(head, keys_of): (usize, Vec<Vec<u16>>)| {
            let (columns, mask) = block(head);
            HeadPattern::new(columns, &mask, keys_of)
        };
        Pattern { heads: keys_of.into_iter().enumerate().map(head).collect() }
    }
}

/// The kept entries of a head.
#[derive(Clone, Debug)]
pub(crate) struct HeadPattern {
    /// Keys of the dense block.
    pub(crate) columns: Vec<u16>,
    /// Kept cells of the block, each row in complete bytes; `None` if all are kept.
    mask: Option<Bytes>,
    /// The start of each query's entries in `keys`, and the end of the last ones.
    starts: Vec<usize>,
    /// Keys of the entries, query by query.
    keys: Vec<u16>,
}

impl HeadPattern {
    /// A head with the block of the keys `columns`, the kept cells `block`, and the keys of the
    /// other entries of each query.
    pub(crate) fn new(columns: Vec<u16>, block: &Mask, keys_of: Vec<Vec<u16>>) -> HeadPattern {
        let mut starts = vec![0];
        let mut keys = Vec::new();
        for of_query in keys_of {
            keys.extend(of_query);
            starts.push(keys.len());
        }
        let mask = (block.kept() < block.entries()).then(|| block.bytes().clone());
        HeadPattern { columns, mask, starts, keys }
    }

    /// The keys of a query outside of the block.
    pub(crate) fn entries(&self, query: usize) -> &[u16] {
        &self.keys[self.starts[query]..self.starts[query + 1]]
    }

    /// The number of entries of some queries outside of the block.
    pub(crate) fn entries_of(&self, rows: Range<usize>) -> usize {
        self.starts[rows.end] - self.starts[rows.start]
    }

    /// All keys of a query, those of the block first.
    pub(crate) fn kept(&self, query: usize) -> impl Iterator<Item = u16> {
        let width = Mask::row_bytes(self.columns.len());
        let mask = self.mask.as_ref().map(|mask| &mask[query * width..][..width]);
        let is_kept =
            move |column: &usize| mask.is_none_or(|row| row[column / 8] >> (column % 8) & 1 == 1);
        let block = (0..self.columns.len()).filter(is_kept).map(|column| self.columns[column]);
        block.chain(self.entries(query).iter().copied())
    }

    /// Which of all keys some queries keep, as `sddmm` masks cells; `None` if they keep all.
    pub(crate) fn mask_of_all(&self, rows: Range<usize>, keys: usize) -> Option<Vec<u8>> {
        let width = Mask::row_bytes(keys);
        let mut bytes = vec![0; rows.len() * width];
        let mut kept = 0;
        for (row, query) in rows.clone().enumerate() {
            for key in self.kept(query).map(usize::from) {
                bytes[row * width + key / 8] |= 1 << (key % 8);
                kept += 1;
            }
        }
        (kept < rows.len() * keys).then_some(bytes)
    }

    /// The block's columns in runs of consecutive keys: the first column and the number of them.
    pub(crate) fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (column, key) in self.columns.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if u32::from(self.columns[run.end - 1]) + 1 == u32::from(*key) => {
                    run.end += 1
                }
                _ => runs.push(column..column + 1),
            }
        }
        runs
    }

    /// The kept cells of some queries, if the block has pruned cells.
    pub(crate) fn mask_rows(&self, rows: Range<usize>) -> Option<&[u8]> {
        let width = Mask::row_bytes(self.columns.len());
        self.mask.as_ref().map(|mask| &mask[rows.start * width..rows.end * width])
    }

    /// The first of the block's keys, if they are consecutive.
    pub(crate) fn first_consecutive(&self) -> Option<u16> {
        let first = *self.columns.first()?;
        self.columns
            .windows(2)
            .all(|pair| u32::from(pair[1]) == u32::from(pair[0]) + 1)
            .then_some(first)
    }
}
