//! The parts, operands, extents and pattern of sparse attention.

use std::ops::Range;

use vitcod_isa::numerics::Scale;

use crate::codegen::builder::tile::chunks;
use crate::codegen::group::{AttentionPart, SparseAttentionGroup};
use crate::codegen::lower::softmax_form::SoftmaxForm;
use crate::codegen::lower::sparse_attention::pattern::Pattern;
use crate::codegen::lower::sparse_attention::stripe::Stripe;
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

    /// The stripes of some heads. Those with the longest queries come last: their product takes as
    /// long as one group of lines takes for such a query, and stores of the others overlap with it.
    pub(crate) fn stripes(&self, heads: &Range<usize>, height: usize) -> Vec<Stripe> {
        let stripe = |rows| Stripe::new(&self.pattern, heads.clone(), rows);
        let mut stripes: Vec<Stripe> = chunks(self.queries, height).map(stripe).collect();
        stripes.sort_by_key(|stripe| stripe.steps.first().copied());
        stripes
    }

    pub(crate) fn first_scores(&self) -> Op {
        self.block.or(self.list).map_or(self.product, |part| part.scores)
    }
}
