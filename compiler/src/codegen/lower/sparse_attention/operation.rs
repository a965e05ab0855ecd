//! The parts, operands, extents and pattern of sparse attention.

use std::ops::Range;

use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;

use crate::codegen::group::{AttentionPart, SparseAttentionGroup};
use crate::codegen::limits::count;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::softmax_form::SoftmaxForm;
use crate::codegen::lower::sparse_attention::packing::{Query, RowLayout};
use crate::codegen::lower::sparse_attention::pattern::Pattern;
use crate::ir::{Graph, Op, OpKind, Value};

/// Sparse attention.
pub(crate) struct SparseAttention {
    pub(crate) block: Option<AttentionPart>,
    pub(crate) list: Option<AttentionPart>,
    pub(crate) product: Op,
    pub(crate) q: Value,
    pub(crate) k: Value,
    pub(crate) v: Value,
    pub(crate) result: Value,
    pub(crate) pattern: Pattern,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Features of queries and keys.
    pub(crate) d: usize,
    /// Features of values.
    pub(crate) dv: usize,
    pub(crate) score_scale: Scale,
    pub(crate) softmax: SoftmaxForm,
    pub(crate) product_scale: Scale,
}

/// Where the rows of some heads lie in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The first byte.
    pub(crate) offset: u64,
    /// Bytes between rows.
    pub(crate) stride: u64,
}

/// Where the rows of a head group lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Places {
    pub(crate) q: Place,
    pub(crate) k: Place,
    pub(crate) v: Place,
    /// In a tile of all queries.
    pub(crate) result: Place,
    /// Bytes of the tile of keys and queries; 0 if both are resident.
    pub(crate) keys_bytes: u64,
    /// Bytes of the tile of values; 0 if they are resident.
    pub(crate) values_bytes: u64,
}

impl SparseAttention {
    pub(crate) fn of(graph: &Graph, group: &SparseAttentionGroup) -> SparseAttention {
        let data = graph.op(group.product);
        let OpKind::SplitSpmm { scale: product_scale, .. } = data.kind else {
            unreachable!("groups are formed by kind")
        };
        let scores = |part: Option<AttentionPart>| part.map(|part| part.scores);
        let part = group.block.or(group.list).expect("a group has a block or a list");
        let first = graph.op(part.scores);
        let (OpKind::BlockSddmm { heads, scale } | OpKind::CscSddmm { heads, scale }) = first.kind
        else {
            unreachable!("groups are formed by kind")
        };
        let [q, k, v] = [first.operands[0], first.operands[1], data.operands[0]];
        let ((queries, width), (keys, width_v)) = (graph.ty(q).matrix(), graph.ty(v).matrix());
        SparseAttention {
            block: group.block,
            list: group.list,
            product: group.product,
            q,
            k,
            v,
            result: data.results[0],
            pattern: Pattern::of(heads, queries, graph, scores(group.block), scores(group.list)),
            queries,
            keys,
            d: width / heads,
            dv: width_v / heads,
            score_scale: scale,
            softmax: SoftmaxForm::of(graph, part.softmax),
            product_scale,
        }
    }

    pub(crate) fn heads(&self) -> usize {
        self.pattern.heads.len()
    }

    /// Whether a key takes two bytes.
    pub(crate) fn wide(&self) -> bool {
        self.keys > 1 << u8::BITS
    }

    /// The queries of some heads that lists name, numbered from `rows.start`. If the heads have
    /// blocks, lists name the queries without entries too: they complete the sums of blocks.
    pub(crate) fn list_queries(&self, heads: &Range<usize>, rows: &Range<usize>) -> Vec<Query> {
        let patterns = &self.pattern.heads[heads.clone()];
        if patterns.iter().all(|head| head.entries_of(rows.clone()) == 0) {
            return Vec::new();
        }
        let mut queries = Vec::new();
        for (head, pattern) in patterns.iter().enumerate() {
            for (query, row) in rows.clone().enumerate() {
                let keys = pattern.entries(row);
                if !keys.is_empty() || !pattern.columns.is_empty() {
                    queries.push(Query {
                        head: head as u8,
                        query: count(query),
                        keys: keys.to_vec(),
                    });
                }
            }
        }
        queries
    }

    /// Whether a head has a block.
    pub(crate) fn has_blocks(&self) -> bool {
        self.pattern.heads.iter().any(|head| !head.columns.is_empty())
    }

    pub(crate) fn first_scores(&self) -> Op {
        self.block.or(self.list).map_or(self.product, |part| part.scores)
    }

    /// Where rows of a head group lie: in the tensor if it is resident, or in a tile. Keys and
    /// queries share a tile, so that the banks of one are known relative to those of the other.
    pub(crate) fn places(&self, planner: &Planner<'_>, heads: &Range<usize>) -> Places {
        let spread = |d: usize| planner.machine.spread().stride((heads.len() * d) as u64);
        let resident = |value: Value, d: usize| {
            let at = planner.resident_row(value)?;
            Some(Place { offset: at.offset + (heads.start * d) as u64, stride: at.stride })
        };
        let (stride, align) = (spread(self.d), list_align(planner.machine));
        let mut keys_bytes: u64 = 0;
        let mut tile = |rows: usize| {
            let offset = keys_bytes.next_multiple_of(align);
            keys_bytes = offset + rows as u64 * stride;
            Place { offset, stride }
        };
        let k = resident(self.k, self.d).unwrap_or_else(|| tile(self.keys));
        let q = resident(self.q, self.d).unwrap_or_else(|| tile(self.queries));
        let v = resident(self.v, self.dv);
        let values_bytes = if v.is_some() { 0 } else { self.keys as u64 * spread(self.dv) };
        let v = v.unwrap_or(Place { offset: 0, stride: spread(self.dv) });
        let result = resident(self.result, self.dv);
        let tile = Place { offset: 0, stride: (heads.len() * self.dv) as u64 };
        Places { q, k, v, result: result.unwrap_or(tile), keys_bytes, values_bytes }
    }

    /// Where lists find rows: queries from the first one that they address.
    pub(crate) fn layout(&self, places: &Places, first: usize, machine: &Machine) -> RowLayout {
        let word = machine.organisation().map_or(self.d as u64, |of| of.banks.word_bytes.into());
        let Places { q, k, .. } = places;
        RowLayout {
            d: self.d as u64,
            queries: (q.offset + first as u64 * q.stride, q.stride),
            keys: (k.offset, k.stride),
            word_bytes: word.max(1),
        }
    }
}

/// Alignment of the operands of lists: a word of the banks, so that the words of an operand do not
/// depend on its address.
pub(crate) fn list_align(machine: &Machine) -> u64 {
    crate::tiled::word_align(machine)
}
