//! Reductions of rows: means, softmax, LayerNorm.

use ndarray::{ArrayViewMut1, Axis, IxDyn};

use super::Shared;

/// The softmax of a row, in place.
pub(super) fn softmax(mut row: ArrayViewMut1<'_, f32>) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    row.mapv_inplace(|x| {
        let e = libm::expf(x - max);
        sum += f64::from(e);
        e
    });
    let factor = (1.0 / sum) as f32;
    row.mapv_inplace(|e| e * factor);
}

/// LayerNorm over the last dimension.
pub(super) fn layer_norm(mut x: Shared, gamma: &Shared, beta: &Shared, eps: f64) -> Shared {
    let last = Axis(x.ndim() - 1);
    for mut row in x.lanes_mut(last) {
        let width = row.len() as f64;
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width;
        let factor = 1.0 / (variance + eps).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
            *x = ((f64::from(*x) - mean) * factor * f64::from(*gamma) + f64::from(*beta)) as f32;
        }
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
    if keep {
        return means;
    }
    let shape: Vec<usize> = x
        .shape()
        .iter()
        .enumerate()
        .filter(|(axis, _)| !axes.contains(axis))
        .map(|(_, extent)| *extent)
        .collect();
    means.into_shape_with_order(IxDyn(&shape)).expect("only extents of 1 went")
}
