//! The clusters, lists and costs of blocks found so far: each layer is packed once for all
//! strategies that lay out its operands alike.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use vitcod_isa::lists::{Array, List};

use crate::codegen::lower::sparse_attention::packing::{Clusters, Query, RowLayout};
use crate::ir::Op;
use crate::split::Packing;

/// Some queries of some heads of a product, on so many groups of lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) product: Op,
    pub(super) heads: (usize, usize),
    pub(super) rows: (usize, usize),
    pub(super) groups: u32,
}

/// What the cycles of the denser engine for a stripe depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) product: Op,
    pub(super) heads: (usize, usize),
    pub(super) queries: usize,
    pub(super) full: bool,
    /// Whether a list continues the sums.
    pub(super) listed: bool,
    pub(super) lines: u16,
    /// Of queries, keys and values.
    pub(super) strides: [u64; 3],
    pub(super) result_stride: u64,
}

/// The clusters and lists of a graph on a machine.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    packing: Packing,
    clusters: BTreeMap<Part, Rc<Clusters>>,
    lists: BTreeMap<(Part, usize, RowLayout), Rc<Vec<List>>>,
    blocks: BTreeMap<Block, [u64; 2]>,
}

impl Memo {
    pub(crate) fn new(packing: Packing) -> Memo {
        Memo { packing, ..Memo::default() }
    }

    /// The clusters of a part.
    pub(super) fn clusters(
        &mut self,
        part: &Part,
        layout: &RowLayout,
        array: Array,
        queries: impl FnOnce() -> Vec<Query>,
    ) -> Rc<Clusters> {
        let packing = self.packing;
        let known = self.clusters.entry(part.clone());
        known.or_insert_with(|| Rc::new(Clusters::new(queries(), layout, array, packing))).clone()
    }

    /// The clusters of a part, packed as so many lists.
    pub(super) fn lists(
        &mut self,
        part: &Part,
        clusters: &Clusters,
        lists: usize,
        layout: &RowLayout,
    ) -> Rc<Vec<List>> {
        let known = self.lists.entry((part.clone(), lists, *layout));
        known.or_insert_with(|| Rc::new(clusters.pack(lists, layout))).clone()
    }
}

impl Memo {
    /// The cycles of scores and product of a stripe on the denser engine.
    pub(super) fn block(&mut self, block: &Block, cycles: impl FnOnce() -> [u64; 2]) -> [u64; 2] {
        *self.blocks.entry(block.clone()).or_insert_with(cycles)
    }
}

impl Part {
    pub(super) fn new(product: Op, heads: &Range<usize>, rows: &Range<usize>, groups: u32) -> Part {
        let ends = |range: &Range<usize>| (range.start, range.end);
        Part { product, heads: ends(heads), rows: ends(rows), groups }
    }
}
