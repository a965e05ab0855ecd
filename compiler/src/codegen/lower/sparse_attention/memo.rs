//! What has been found so far: each layer is tiled and packed once for all strategies that leave it
//! as many bytes and lay out its operands alike.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use vitcod_isa::lists::{Array, List};

use crate::codegen::builder::buffers::Declared;
use crate::codegen::group::SparseAttentionGroup;
use crate::codegen::lower::sparse_attention::division::{Division, HeadGroup, SparseTiling};
use crate::codegen::lower::sparse_attention::operation::{Places, SparseAttention};
use crate::codegen::lower::sparse_attention::packing::{Clusters, Query, RowLayout};
use crate::ir::{Graph, Op};
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

/// What a tiling depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TilingOf {
    pub(super) product: Op,
    /// Bytes that tiles may take.
    pub(super) available: u64,
    pub(super) spare_groups: u16,
    /// Offset and stride of resident q, k, v and result.
    pub(super) resident: [Option<(u64, u64)>; 4],
    /// Whether results may overwrite queries.
    pub(super) queries_die: bool,
}

/// What the packed stripes of a head group depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PackedOf {
    pub(super) product: Op,
    pub(super) heads: (usize, usize),
    pub(super) full_rows: usize,
    pub(super) division: Division,
    pub(super) groups: u32,
    pub(super) places: Places,
    /// Whether each stripe has a tile of results.
    pub(super) own_results: bool,
}

/// The attention, tilings, clusters and lists of a graph on a machine.
#[derive(Default)]
pub(crate) struct Memo {
    packing: Packing,
    attention: BTreeMap<Op, Rc<SparseAttention>>,
    tilings: BTreeMap<TilingOf, (SparseTiling, Declared)>,
    packed: BTreeMap<PackedOf, Rc<HeadGroup>>,
    clusters: BTreeMap<Part, Rc<Clusters>>,
    lists: BTreeMap<(Part, usize, RowLayout), Rc<Vec<List>>>,
    blocks: BTreeMap<Block, [u64; 2]>,
}

impl Memo {
    pub(crate) fn new(packing: Packing) -> Memo {
        Memo { packing, ..Memo::default() }
    }

    /// The attention of a group.
    pub(super) fn attention(
        &mut self,
        graph: &Graph,
        group: &SparseAttentionGroup,
    ) -> Rc<SparseAttention> {
        let known = self.attention.entry(group.product);
        known.or_insert_with(|| Rc::new(SparseAttention::of(graph, group))).clone()
    }

    /// A tiling that is known.
    pub(super) fn tiling(&self, of: &TilingOf) -> Option<(SparseTiling, Declared)> {
        self.tilings.get(of).cloned()
    }

    pub(super) fn keep_tiling(&mut self, of: TilingOf, tiling: (SparseTiling, Declared)) {
        self.tilings.insert(of, tiling);
    }

    /// Packed stripes that are known.
    pub(super) fn packed(&self, of: &PackedOf) -> Option<Rc<HeadGroup>> {
        self.packed.get(of).cloned()
    }

    pub(super) fn keep_packed(&mut self, of: PackedOf, group: Rc<HeadGroup>) {
        self.packed.insert(of, group);
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
