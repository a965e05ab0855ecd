//! Reductions of rows: means, softmax, LayerNorm.

use ndarray::{ArrayD, ArrayViewMut1, Axis, IxDyn};
use rayon::prelude::*;

use super::{Shared, functions};

/// The softmax of a row, in place.
pub(super) fn softmax(mut row: ArrayViewMut1<'_, f32>) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.mapv_inplace(|x| functions::exp(x - max));
    let sum: f64 = row.iter().map(|e| f64::from(*e)).sum();
    let factor = (1.0 / sum) as f32;
    row.mapv_inplace(|e| e * factor);
}

/// LayerNorm over the last dimension.
pub(super) fn layer_norm(mut x: Shared, gamma: &Shared, beta: &Shared, eps: f64) -> Shared {
    let width = x.shape().last().copied().unwrap_or(1).max(1);
    let [gamma, beta] = [gamma, beta].map(|x| x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
    let normalise = |row: &mut [f32]| {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2));
        let factor = 1.0 / (squares.sum::<f64>() / width as f64 + eps).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(&gamma).zip(&beta) {
            *x = ((f64::from(*x) - mean) * factor * gamma + beta) as f32;
        }
    };
    if let Some(elements) = x.as_slice_mut() {
        elements.par_chunks_mut(width).with_min_len(16).for_each(normalise);
    }
    x
}

/// The mean over axes, given in ascending order; `keep` retains them with extent 1.
pub(super) fn mean(x: &Shared, axes: &[usize], keep: bool) -> Shared {
    let mut sums = x.mapv(f64::from);
    for axis in axes {
        sums = sums.sum_axis(Axis(*axis)).insert_axis(Axis(*axis));
    }
    let count: usize = axes.iter().map(|axis| x.shape()[*axis]).product();
    let means = super::standard(sums.mapv(|sum| (sum / count as f64) as f32).into_shared());
    reduced(means, axes, keep)
}

/// The maximum over axes, as [`mean`].
pub(super) fn max(x: &Shared, axes: &[usize], keep: bool) -> Shared {
    let mut maxima = x.to_owned();
    for axis in axes {
        let along = maxima.fold_axis(Axis(*axis), f32::NEG_INFINITY, |a, b| a.max(*b));
        maxima = along.insert_axis(Axis(*axis));
    }
    reduced(super::standard(maxima.into_shared()), axes, keep)
}

/// A tensor whose reduced axes have extent 1, without them unless they are kept.
fn reduced(x: Shared, axes: &[usize], keep: bool) -> Shared {
    if keep {
        return x;
    }
    let extents = x.shape().iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let shape: Vec<usize> = extents.map(|(_, extent)| *extent).collect();
    x.into_shape_with_order(IxDyn(&shape)).expect("only extents of 1 went")
}

/// The elements of `x` along an axis at indices of the same rank.
///
/// # Errors
/// An index is out of range.
pub(super) fn picked(x: &Shared, indices: &Shared, axis: usize) -> Result<Shared, String> {
    let extent = x.shape()[axis];
    let all = crate::ir::indices(indices.iter().map(|index| *index as i64), extent)?;
    let mut all = all.into_iter();
    let picked = ArrayD::from_shape_fn(indices.raw_dim(), |mut place| {
        // Both walks are in row-major order.
        place[axis] = all.next().unwrap_or_default();
        x[place]
    });
    Ok(picked.into_shared())
}

/// The indices of the largest or smallest elements along an axis, in their order.
pub(super) fn top_indices(x: &Shared, axis: usize, count: usize, largest: bool) -> Shared {
    let mut shape = x.raw_dim();
    shape[axis] = count;
    let mut top = ArrayD::zeros(shape);
    for (lane, mut found) in x.lanes(Axis(axis)).into_iter().zip(top.lanes_mut(Axis(axis))) {
        let mut order: Vec<usize> = (0..lane.len()).collect();
        // The sort is stable, so equal elements keep their order.
        order.sort_by(|a, b| match largest {
            true => lane[*b].total_cmp(&lane[*a]),
            false => lane[*a].total_cmp(&lane[*b]),
        });
        found.iter_mut().zip(order).for_each(|(found, index)| *found = index as f32);
    }
    top.into_shared()
}
