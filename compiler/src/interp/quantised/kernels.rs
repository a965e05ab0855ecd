//! The quantised operations as loops over their definitions.
//!
//! Matrices are row-major slices with their extents. Sums wrap as those of the machine do; programs
//! that respect `max_accumulation_depth` never wrap.

use vitcod_isa::numerics::{
    LayerNormParams, Lut, PRUNED, Quantised, Scale, add_bias, biased_score, layer_norm_row,
    requantise, requantise_i8, round_shift, row_max, softmax_probs,
};
use vitcod_isa::operands::Channel;

use crate::ir::layout::Mask;

pub(super) fn row<T>(x: &[T], width: usize, i: usize) -> &[T] {
    &x[i * width..][..width]
}

pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).fold(0i32, |sum, (a, b)| sum.wrapping_add(i32::from(*a) * i32::from(*b)))
}

/// `requantise(x w^T + bias)` for `x[m,k]` and `w[n,k]` with a channel for each row of `w`.
pub(super) fn linear<O: Quantised>(
    x: &[i8],
    w: &[i8],
    channels: &[Channel],
    [m, k]: [usize; 2],
) -> Vec<O> {
    let mut out = Vec::with_capacity(m * channels.len());
    for i in 0..m {
        for (j, channel) in channels.iter().enumerate() {
            let sum = add_bias(dot(row(x, k, i), row(w, k, j)), channel.bias);
            out.push(O::saturate(requantise(sum, channel.scale)));
        }
    }
    out
}

/// `requantise(sum over h of w[o,h] x[i, h*d+f] + bias[o])` for `x[m, heads * d]` and
/// `w[heads_out, heads]` with a channel for each row of `w`; to `[m, heads_out * d]`.
pub(super) fn mix_heads(
    x: &[i8],
    w: &[i8],
    channels: &[Channel],
    [m, heads, d]: [usize; 3],
) -> Vec<i8> {
    let mut out = Vec::with_capacity(m * channels.len() * d);
    for i in 0..m {
        let token = row(x, heads * d, i);
        for (o, channel) in channels.iter().enumerate() {
            let weights = row(w, heads, o);
            out.extend((0..d).map(|feature| {
                let sum = weights.iter().enumerate().fold(0i32, |sum, (head, weight)| {
                    sum.wrapping_add(i32::from(*weight) * i32::from(token[head * d + feature]))
                });
                requantise_i8(add_bias(sum, channel.bias), channel.scale)
            }));
        }
    }
    out
}

/// Selects rows of a table of `v` rows.
pub(super) fn embed(
    table: &[i16],
    rows: &[u16],
    (v, c): (usize, usize),
) -> Result<Vec<i16>, String> {
    let mut out = Vec::with_capacity(rows.len() * c);
    for row in rows.iter().map(|row| usize::from(*row)) {
        let found = table
            .get(row * c..(row + 1) * c)
            .ok_or_else(|| format!("row {row} of a table of {v}"))?;
        out.extend_from_slice(found);
    }
    Ok(out)
}

/// LayerNorm of every row of `x[m,n]`, `n` being the parameters' width.
pub(super) fn layer_norm<O: Quantised + Default>(
    x: &[i16],
    params: &LayerNormParams,
    m: usize,
) -> Vec<O> {
    let n = params.width();
    let mut out = vec![O::default(); m * n];
    for i in 0..m {
        layer_norm_row(row(x, n, i), params, &mut out[i * n..][..n]);
    }
    out
}

/// Looks up every element, in the table of its columns.
pub(super) fn lut(x: &[i8], luts: &[(usize, Lut)]) -> Vec<i8> {
    let columns = luts.iter().map(|(columns, _)| columns).sum::<usize>().max(1);
    let mut out = Vec::with_capacity(x.len());
    for mut row in x.chunks(columns) {
        for (columns, lut) in luts {
            let (part, rest) = row.split_at(*columns);
            out.extend(part.iter().map(|x| lut.apply(*x)));
            row = rest;
        }
    }
    out
}

/// `round_shift(a * a_scale + b * b_scale, shift)`, saturated.
pub(super) fn add<O: Quantised>(
    a: &[i16],
    b: &[i16],
    a_scale: i32,
    b_scale: i32,
    shift: u8,
) -> Vec<O> {
    let sum =
        |a: i16, b: i16| i64::from(a) * i64::from(a_scale) + i64::from(b) * i64::from(b_scale);
    a.iter().zip(b).map(|(a, b)| O::saturate(round_shift(sum(*a, *b), shift))).collect()
}

/// Scores `[heads,m,n]` of `q[m,c]` and `k[n,c]`, with an optional bias of that shape; [`PRUNED`]
/// for the entries that an optional mask of the head prunes.
pub(super) fn sddmm(
    q: &[i8],
    k: &[i8],
    masks: Option<&[Mask]>,
    bias: Option<&[i16]>,
    [m, n, c]: [usize; 3],
    heads: usize,
    scale: Scale,
) -> Vec<i16> {
    let d = c / heads;
    let mut scores = Vec::with_capacity(heads * m * n);
    for head in 0..heads {
        for i in 0..m {
            for j in 0..n {
                if masks.is_some_and(|masks| !masks[head].is_kept(i, j)) {
                    scores.push(PRUNED);
                    continue;
                }
                let sum = dot(row(row(q, c, i), d, head), row(row(k, c, j), d, head));
                // The bias has the layout of the scores.
                scores.push(biased_score(sum, scale, bias.map_or(0, |bias| bias[scores.len()])));
            }
        }
    }
    scores
}

/// Unnormalised probabilities of rows of `n` scores, and the rows' sums.
pub(super) fn softmax(scores: &[i16], rows: usize, n: usize) -> (Vec<i8>, Vec<u32>) {
    let mut probs = vec![0; rows * n];
    let sums = (0..rows)
        .map(|i| {
            let scores = row(scores, n, i);
            softmax_probs(scores, row_max(scores), &mut probs[i * n..][..n])
        })
        .collect();
    (probs, sums)
}

/// Probabilities `p[heads,m,n]`, normalised by their row sums, times values `v[n,c]`; to `[m,c]`.
pub(super) fn spmm(
    p: &[i8],
    sums: &[u32],
    v: &[i8],
    [heads, m, n]: [usize; 3],
    c: usize,
    scale: Scale,
) -> Vec<i8> {
    let mut out = vec![0; m * c];
    let mut accumulators = vec![0i32; c.checked_div(heads).unwrap_or(0)];
    let d = accumulators.len();
    for head in 0..heads {
        for i in 0..m {
            let p = row(p, n, head * m + i);
            accumulators.fill(0);
            for (j, p) in p.iter().enumerate() {
                let v = row(row(v, c, j), d, head);
                for (sum, v) in accumulators.iter_mut().zip(v) {
                    *sum = sum.wrapping_add(i32::from(*p) * i32::from(*v));
                }
            }
            let scale = scale.combine(Scale::reciprocal(sums[head * m + i]));
            let out = &mut out[i * c + head * d..][..d];
            out.iter_mut()
                .zip(&accumulators)
                .for_each(|(out, sum)| *out = requantise_i8(*sum, scale));
        }
    }
    out
}
