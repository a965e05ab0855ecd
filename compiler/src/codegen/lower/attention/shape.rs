//! The operands, results and extents of attention.

use std::ops::Range;

use vitcod_isa::numerics::Scale;

use crate::codegen::builder::tile::Block;
use crate::codegen::group::AttentionGroup;
use crate::codegen::lower::softmax_form::SoftmaxForm;
use crate::ir::layout::{ScoreTerms, sddmm_terms};
use crate::ir::{Graph, OpKind, Value};

/// Attention of all heads and windows.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) q: Value,
    pub(crate) k: Value,
    pub(crate) v: Value,
    pub(crate) result: Value,
    /// Masks and bias of the scores.
    pub(crate) terms: ScoreTerms,
    pub(crate) score_scale: Scale,
    pub(crate) product_scale: Scale,
    pub(crate) shape: Shape,
}

/// The extents of a head of a window, the numbers of heads and windows, and the form of softmax.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) windows: usize,
    pub(crate) heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Features of queries and keys.
    pub(crate) d: usize,
    /// Features of values.
    pub(crate) dv: usize,
    /// Bytes of mask and bias per query that differ from head to head.
    pub(crate) term_bytes: usize,
    pub(crate) biased: bool,
    pub(crate) softmax: SoftmaxForm,
}

impl Attention {
    pub(crate) fn of(graph: &Graph, group: &AttentionGroup) -> Attention {
        let scores = graph.op(group.sddmm);
        let (q, k) = (scores.operands[0], scores.operands[1]);
        let v = graph.op(group.spmm).operands[2];
        let terms = sddmm_terms(graph, scores);
        let (
            &OpKind::Sddmm { heads, scale: score_scale, windows },
            &OpKind::Spmm { scale: product_scale, .. },
        ) = (&scores.kind, &graph.op(group.spmm).kind)
        else {
            unreachable!("groups are formed by kind")
        };
        let queries = graph.ty(q).shape[0] / windows;
        let per_head = [terms.mask, terms.bias].into_iter().flatten();
        let bytes = |term| graph.ty(term).bytes() / (graph.ty(term).shape[0] * queries);
        let shape = Shape {
            windows,
            heads,
            queries,
            keys: graph.ty(k).shape[0] / windows,
            d: graph.ty(q).shape[1] / heads,
            dv: graph.ty(v).shape[1] / heads,
            term_bytes: per_head.map(bytes).sum(),
            biased: terms.bias.is_some(),
            softmax: SoftmaxForm::of(graph, group.softmax),
        };
        Attention { q, k, v, result: group.result, terms, score_scale, product_scale, shape }
    }
}

impl Shape {
    /// Some queries of a head, of `d` features.
    pub(crate) fn queries(&self, head_index: usize, rows: &Range<usize>, d: usize) -> Block {
        let (window, head) = (head_index / self.heads, head_index % self.heads);
        let first = window * self.queries;
        Block { rows: first + rows.start..first + rows.end, bytes: head * d..(head + 1) * d }
    }

    /// The keys of a head, of `d` features.
    pub(crate) fn keys(&self, head_index: usize, d: usize) -> Block {
        let (window, head) = (head_index / self.heads, head_index % self.heads);
        Block {
            rows: window * self.keys..(window + 1) * self.keys,
            bytes: head * d..(head + 1) * d,
        }
    }
}
