//! Products of integer matrices, by float matrix products that are exact.
//!
//! Every product and every partial sum is an integer that the float type represents, so no result
//! depends on the order of a sum, and the reference shares no code with the machine's kernels. Sums
//! wrap to int32 as the machine's do.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

/// Terms of which the sum is exact in f32: each is at most `2^14`, and f32 represents all integers
/// up to `2^24`.
const EXACT_TERMS: usize = 1 << 10;

/// `x w^T` for `x[m,k]` and `w[n,k]`.
pub(super) fn transposed(x: &[i8], w: &[i8], [m, n, k]: [usize; 3]) -> Vec<i32> {
    let mut sums = vec![0i32; m * n];
    let mut product = Array2::<f32>::zeros((m, n));
    for start in (0..k).step_by(EXACT_TERMS) {
        let end = (start + EXACT_TERMS).min(k);
        let part = |x: &[i8], rows: usize| {
            let numbers = (0..rows).flat_map(|row| &x[row * k + start..row * k + end]);
            let numbers: Vec<f32> = numbers.map(|x| f32::from(*x)).collect();
            Array2::from_shape_vec((rows, end - start), numbers).expect("as many numbers")
        };
        general_mat_mul(1.0, &part(x, m), &part(w, n).t(), 0.0, &mut product);
        for (sum, part) in sums.iter_mut().zip(&product) {
            *sum = sum.wrapping_add(*part as i32);
        }
    }
    sums
}

/// `p v` for numbers `p[m,n]` and some columns of `v[n,c]`. A term is at most `2^19`, so f64 is
/// exact for `2^34` of them.
pub(super) fn plain(p: &[i16], v: ArrayView2<'_, f64>, [m, n]: [usize; 2]) -> Vec<i32> {
    let numbers = p.iter().map(|p| f64::from(*p)).collect();
    let p = Array2::from_shape_vec((m, n), numbers).expect("as many numbers");
    let mut product = Array2::<f64>::zeros((m, v.ncols()));
    general_mat_mul(1.0, &p, &v, 0.0, &mut product);
    product.iter().map(|sum| *sum as i64 as i32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sums_are_those_of_integers(
            (m, n, k) in (1usize..6, 1usize..6, 1usize..2100),
            numbers in prop::collection::vec(prop_oneof![Just(i8::MIN), any::<i8>()], 1..40),
            factors in prop::collection::vec(any::<i16>(), 1..20),
        ) {
            let x: Vec<i8> = numbers.iter().copied().cycle().take(m * k).collect();
            let w: Vec<i8> = numbers.iter().rev().copied().cycle().take(n * k).collect();
            let sums = transposed(&x, &w, [m, n, k]);
            for (index, sum) in sums.iter().enumerate() {
                let (i, j) = (index / n, index % n);
                let terms = x[i * k..][..k].iter().zip(&w[j * k..][..k]);
                let expected = terms.map(|(x, w)| i32::from(*x) * i32::from(*w));
                prop_assert_eq!(*sum, expected.fold(0, i32::wrapping_add));
            }
            // The columns of `w^T` as values.
            let p: Vec<i16> = factors.iter().copied().cycle().take(m * k).collect();
            let v = Array2::from_shape_fn((k, n), |(l, j)| f64::from(w[j * k + l]));
            let sums = plain(&p, v.view(), [m, k]);
            for (index, sum) in sums.iter().enumerate() {
                let (i, j) = (index / n, index % n);
                let terms = p[i * k..][..k].iter().zip(&w[j * k..][..k]);
                let expected = terms.map(|(p, w)| i32::from(*p) * i32::from(*w));
                prop_assert_eq!(*sum, expected.fold(0, i32::wrapping_add));
            }
        }
    }
}
