//! The quantised operations by their definitions.
//!
//! Matrices are row-major slices with their extents. Sums wrap as those of the machine do; programs
//! that respect `max_accumulation_depth` never wrap.

use ndarray::{Array2, s};
use vitcod_isa::numerics::{
    LayerNormParams, PRUNED, ProbabilityFormat, Quantised, Scale, add_bias, biased_score,
    layer_norm_row, requantise, requantise_i8, round_shift, row_max, softmax_probs,
};
use vitcod_isa::operands::Channel;

use super::products;
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
    let sums = products::transposed(x, w, [m, channels.len(), k]);
    let result = |(sum, channel): (&i32, &Channel)| {
        O::saturate(requantise(add_bias(*sum, channel.bias), channel.scale))
    };
    sums.iter().zip(channels.iter().cycle()).map(result).collect()
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

/// Applies the function of its columns to every element.
pub(super) fn lut<X: Copy, T>(
    x: &[X],
    tables: &[(usize, T)],
    apply: impl Fn(&T, X) -> i8,
) -> Vec<i8> {
    let columns = tables.iter().map(|(columns, _)| columns).sum::<usize>().max(1);
    let mut out = Vec::with_capacity(x.len());
    for mut row in x.chunks(columns) {
        for (columns, table) in tables {
            let (part, rest) = row.split_at(*columns);
            out.extend(part.iter().map(|x| apply(table, *x)));
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
        let of_head = |x: &[i8], rows: usize| -> Vec<i8> {
            (0..rows).flat_map(|i| row(row(x, c, i), d, head)).copied().collect()
        };
        let sums = products::transposed(&of_head(q, m), &of_head(k, n), [m, n, d]);
        for i in 0..m {
            for j in 0..n {
                if masks.is_some_and(|masks| !masks[head].is_kept(i, j)) {
                    scores.push(PRUNED);
                    continue;
                }
                let sum = sums[i * n + j];
                // The bias has the layout of the scores.
                scores.push(biased_score(sum, scale, bias.map_or(0, |bias| bias[scores.len()])));
            }
        }
    }
    scores
}

/// Unnormalised probabilities of rows of `n` scores in a format, and the rows' sums.
pub(super) fn softmax(
    scores: &[i16],
    [rows, n]: [usize; 2],
    shift: u8,
    format: ProbabilityFormat,
) -> (Vec<u8>, Vec<u32>) {
    let mut probs = vec![0; rows * n];
    let sums = (0..rows)
        .map(|i| {
            let scores = row(scores, n, i);
            softmax_probs(scores, row_max(scores), shift, format, &mut probs[i * n..][..n])
        })
        .collect();
    (probs, sums)
}

/// Probabilities `p[heads,m,n]`, normalised by their row sums, times values `v[n,c]`; to `[m,c]`.
pub(super) fn spmm(
    p: &[i16],
    sums: &[u32],
    v: &[i8],
    [heads, m, n]: [usize; 3],
    c: usize,
    scale: Scale,
) -> Vec<i8> {
    let mut out = vec![0; m * c];
    let d = c.checked_div(heads).unwrap_or(0);
    let values = v.iter().map(|v| f64::from(*v)).collect();
    let values = Array2::from_shape_vec((n, c), values).expect("n rows of c values");
    for head in 0..heads {
        let values = values.slice(s![.., head * d..(head + 1) * d]);
        let accumulators = products::plain(&p[head * m * n..][..m * n], values, [m, n]);
        for i in 0..m {
            let scale = scale.combine(Scale::reciprocal(sums[head * m + i]));
            let out = &mut out[i * c + head * d..][..d];
            out.iter_mut()
                .zip(row(&accumulators, d, i))
                .for_each(|(out, sum)| *out = requantise_i8(*sum, scale));
        }
    }
    out
}
