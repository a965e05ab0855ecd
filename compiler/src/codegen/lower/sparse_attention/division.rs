//! The division of sparse attention: head groups, stripes and lines.

use std::ops::Range;

use crate::codegen::lower::sparse_attention::allocation::Lines;
use crate::codegen::lower::sparse_attention::operation::Places;
use crate::codegen::lower::sparse_attention::stripe::Stripe;

/// Head groups, stripes and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SparseTiling {
    /// Heads that share instructions.
    pub(crate) heads: Vec<Range<usize>>,
    /// First queries whose rows are computed in full, as the first stripe.
    pub(crate) full_rows: usize,
    pub(crate) division: Division,
    pub(crate) lines: Lines,
    /// Whether queries and keys are decoded on the lines that lists leave.
    pub(crate) decodes_apart: bool,
    /// Whether the first scores of a head group precede the last product of the group before.
    pub(crate) heads_overlap: bool,
    pub(crate) results: Results,
}

/// Where the results of a head group are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// Each stripe has a tile, or all rows are resident.
    Stripes,
    /// All stripes share a tile, because their queries are any.
    Shared,
    /// Over the queries, which nothing else reads: the scores of all stripes precede the products.
    OverQueries,
}

/// How the queries of a head group become stripes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Division {
    /// So many lists of whole batches, of any queries. There are no blocks.
    Batches(usize),
    /// Ranges of so many queries.
    Rows(usize),
}

/// Heads that share instructions, and their stripes.
pub(crate) struct HeadGroup {
    pub(crate) heads: Range<usize>,
    pub(crate) places: Places,
    pub(crate) stripes: Vec<Stripe>,
}
