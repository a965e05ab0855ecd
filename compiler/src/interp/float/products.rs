//! Float matrix products whose bits depend neither on the processor nor on the number of threads.
//!
//! A result is the sum of its blocks of [`BLOCK`] terms, in their order; a block is a chain of
//! fused multiply-adds in the order of its terms. That is what the kernels of the crate
//! `matrixmultiply` compute on every processor with fused multiply-adds (x86-64 since 2013, all of
//! AArch64): their kernels differ in how many results they compute at a time, not in the order of a
//! sum. Elsewhere [`chains`] computes the same, slowly. A test compares both.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

/// Terms of a block: the depth at which `matrixmultiply` divides products of f32.
const BLOCK: usize = 256;

/// Products of a part of the rows that one thread computes.
const LEAST_WORK: usize = 1 << 21;

/// `a b` in row-major order.
pub(super) fn product(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>) -> Array2<f32> {
    let mut product = Array2::zeros((a.nrows(), b.ncols()));
    product_into(a, b, product.view_mut());
    product
}

/// `a b`, with rows divided among the threads.
pub(super) fn product_into(
    a: &ArrayView2<'_, f32>,
    b: &ArrayView2<'_, f32>,
    mut c: ArrayViewMut2<'_, f32>,
) {
    let parts = (a.len() * b.ncols() / LEAST_WORK).clamp(1, rayon::current_num_threads());
    let compute = if is_fused() { kernels } else { chains };
    if parts == 1 {
        return compute(a, b, &mut c);
    }
    let rows = a.nrows().div_ceil(parts);
    let parts: Vec<_> =
        a.axis_chunks_iter(Axis(0), rows).zip(c.axis_chunks_iter_mut(Axis(0), rows)).collect();
    parts.into_par_iter().for_each(|(a, mut c)| compute(&a, b, &mut c));
}

/// Whether the kernels of this processor fuse multiplications with additions.
fn is_fused() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// The product by the kernels of `matrixmultiply`, which ndarray calls.
fn kernels(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>, c: &mut ArrayViewMut2<'_, f32>) {
    general_mat_mul(1.0, a, b, 0.0, c);
}

/// The product by its definition.
fn chains(a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>, c: &mut ArrayViewMut2<'_, f32>) {
    for ((i, j), c) in c.indexed_iter_mut() {
        let (row, column) = (a.row(i), b.column(j));
        *c = 0.0;
        for start in (0..row.len()).step_by(BLOCK) {
            let block = s![start..(start + BLOCK).min(row.len())];
            let terms = row.slice(block).into_iter().zip(column.slice_move(block));
            *c += terms.fold(0.0, |sum, (a, b)| a.mul_add(*b, sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vitcod_support::random::SplitMix64;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn kernels_compute_the_chains_of_the_definition(
            (m, n, k) in (1usize..40, 1usize..40, 1usize..700),
            transposed: bool,
            seed: u64,
        ) {
            let mut random = SplitMix64::new(seed);
            let mut numbers = |rows, columns| {
                Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32)
            };
            let a = numbers(m, k);
            let b = if transposed { numbers(n, k).reversed_axes() } else { numbers(k, n) };
            let mut expected = Array2::zeros((m, n));
            chains(&a.view(), &b.view(), &mut expected.view_mut());
            prop_assert_eq!(product(&a.view(), &b.view()), expected);
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let mut random = SplitMix64::new(7);
        let mut numbers = || Array2::from_shape_simple_fn((300, 300), || random.normal() as f32);
        let (a, b) = (numbers(), numbers());
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| product(&a.view(), &b.view()))
        };
        assert_eq!(with(1), with(7));
    }
}
