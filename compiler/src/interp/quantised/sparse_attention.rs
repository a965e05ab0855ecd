//! The operations of split attention as loops over their definitions, entry by entry. As in
//! [`kernels`](super::kernels), matrices are row-major slices and sums wrap. A row of a head is
//! `head * m + query`.

use vitcod_isa::numerics::{
    PRUNED, ProbabilityFormat, Scale, requantise_i8, requantise_score, softmax_probs,
};

use super::kernels::{dot, row};
use crate::ir::layout::{BlockKeys, BlockMask, Csc};

/// The rows of attention.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Number of heads.
    pub(super) heads: usize,
    /// Number of queries of a head.
    pub(super) m: usize,
}

/// The cells of all blocks in the order of their scores, as head, query and column.
fn cells(keys: &BlockKeys, m: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    keys.iter().enumerate().flat_map(move |(head, block)| {
        let columns = block.len();
        (0..m).flat_map(move |query| (0..columns).map(move |column| (head, query, column)))
    })
}

/// Queries `[m,c]` and keys `[n,c]`.
pub(super) struct Scores<'a> {
    pub(super) q: &'a [i8],
    pub(super) k: &'a [i8],
    pub(super) c: usize,
    pub(super) rows: Rows,
    pub(super) scale: Scale,
}

impl Scores<'_> {
    fn score(&self, head: usize, query: usize, key: usize) -> i16 {
        let d = self.c / self.rows.heads;
        let of = |x, i| row(row(x, self.c, i), d, head);
        requantise_score(dot(of(self.q, query), of(self.k, key)), self.scale)
    }

    /// Scores of the cells of blocks, and the maxima of their rows.
    pub(super) fn block(&self, keys: &BlockKeys, mask: &BlockMask) -> (Vec<i16>, Vec<i16>) {
        let cells = cells(keys, self.rows.m).map(|(head, query, column)| {
            let kept = mask.head(head).is_kept(query, column);
            let score = || self.score(head, query, keys.head(head)[column].into());
            (head, query, if kept { score() } else { PRUNED })
        });
        self.collect(cells)
    }

    /// Scores of the entries of a pattern, and the maxima of their rows.
    pub(super) fn csc(&self, csc: &Csc) -> (Vec<i16>, Vec<i16>) {
        self.collect(
            csc.entries().map(|(head, key, query)| (head, query, self.score(head, query, key))),
        )
    }

    fn collect(&self, scored: impl Iterator<Item = (usize, usize, i16)>) -> (Vec<i16>, Vec<i16>) {
        let mut maxima = vec![PRUNED; self.rows.heads * self.rows.m];
        let scores = scored.map(|(head, query, score)| {
            let max = &mut maxima[head * self.rows.m + query];
            *max = score.max(*max);
            score
        });
        (scores.collect(), maxima)
    }
}

/// Unnormalised probabilities of the cells of blocks, and the sums of their rows.
pub(super) fn block_softmax(
    scores: &[i16],
    keys: &BlockKeys,
    maxima: &[i16],
    rows: Rows,
    form: (u8, ProbabilityFormat),
) -> (Vec<u8>, Vec<u32>) {
    softmax(scores, cells(keys, rows.m).map(|(head, query, _)| (head, query)), maxima, rows, form)
}

/// Unnormalised probabilities of the entries of a pattern, and the sums of their rows.
pub(super) fn csc_softmax(
    scores: &[i16],
    csc: &Csc,
    maxima: &[i16],
    rows: Rows,
    form: (u8, ProbabilityFormat),
) -> (Vec<u8>, Vec<u32>) {
    softmax(scores, csc.entries().map(|(head, _, query)| (head, query)), maxima, rows, form)
}

/// `form` is the shift of the scores and the format of the probabilities.
fn softmax(
    scores: &[i16],
    places: impl Iterator<Item = (usize, usize)>,
    maxima: &[i16],
    rows: Rows,
    form: (u8, ProbabilityFormat),
) -> (Vec<u8>, Vec<u32>) {
    let mut probs = vec![0; scores.len()];
    let mut sums = vec![0u32; rows.heads * rows.m];
    for ((score, prob), (head, query)) in scores.iter().zip(&mut probs).zip(places) {
        let row = head * rows.m + query;
        let ((shift, format), score) = (form, std::slice::from_ref(score));
        let sum = softmax_probs(score, maxima[row], shift, format, std::slice::from_mut(prob));
        sums[row] = sums[row].wrapping_add(sum);
    }
    (probs, sums)
}

/// Accumulates the parts of split attention: probabilities times values `v[n,c]`.
pub(super) struct Product<'a> {
    v: &'a [i8],
    c: usize,
    rows: Rows,
    /// The sums so far, `[m,c]`.
    accumulators: Vec<i32>,
    /// Row sums of all parts, `[heads,m]`.
    sums: Vec<u32>,
}

impl<'a> Product<'a> {
    pub(super) fn new(v: &'a [i8], c: usize, rows: Rows) -> Product<'a> {
        Product {
            v,
            c,
            rows,
            accumulators: vec![0; rows.m * c],
            sums: vec![0; rows.heads * rows.m],
        }
    }

    /// Adds the blocks.
    pub(super) fn block(&mut self, probs: &[i16], sums: &[u32], keys: &BlockKeys) {
        let places = cells(keys, self.rows.m);
        self.add(
            probs,
            sums,
            places.map(|(head, query, column)| (head, query, keys.head(head)[column].into())),
        );
    }

    /// Adds the entries of a pattern.
    pub(super) fn csc(&mut self, probs: &[i16], sums: &[u32], csc: &Csc) {
        self.add(probs, sums, csc.entries().map(|(head, key, query)| (head, query, key)));
    }

    fn add(
        &mut self,
        probs: &[i16],
        sums: &[u32],
        places: impl Iterator<Item = (usize, usize, usize)>,
    ) {
        self.sums.iter_mut().zip(sums).for_each(|(sum, part)| *sum = sum.wrapping_add(*part));
        let d = self.c / self.rows.heads;
        for (p, (head, query, key)) in probs.iter().zip(places) {
            let accumulators = &mut self.accumulators[query * self.c + head * d..][..d];
            for (sum, v) in accumulators.iter_mut().zip(row(row(self.v, self.c, key), d, head)) {
                *sum = sum.wrapping_add(i32::from(*p) * i32::from(*v));
            }
        }
    }

    /// Divides by the row sums and requantises; the result is `[m,c]`.
    pub(super) fn requantised(&self, scale: Scale) -> Vec<i8> {
        let d = self.c / self.rows.heads;
        let out = self.accumulators.iter().enumerate().map(|(i, sum)| {
            let (query, head) = (i / self.c, i % self.c / d);
            requantise_i8(
                *sum,
                scale.combine(Scale::reciprocal(self.sums[head * self.rows.m + query])),
            )
        });
        out.collect()
    }
}
