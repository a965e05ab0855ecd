//! Eigenvectors of small symmetric matrices.

/// The most sweeps over all pairs: convergence is quadratic, and matrices of 64 rows take about 10.
const SWEEPS: usize = 64;

/// An eigenvalue with its eigenvector of length 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Eigen {
    pub(super) value: f64,
    pub(super) vector: Vec<f64>,
}

/// Eigenvalues and eigenvectors of a finite symmetric matrix, `n` rows of `n`, in descending order
/// of eigenvalue; equal ones in the order of the diagonal. The component of largest magnitude of
/// each vector is positive, which makes the result unique.
///
/// The cyclic Jacobi method (Golub and Van Loan, *Matrix Computations*, 8.5), with sums in a fixed
/// order and no function but the square root.
pub(super) fn eigen(matrix: &[f64], n: usize) -> Vec<Eigen> {
    let mut a = matrix.to_vec();
    // Row i is the i-th eigenvector.
    let mut v: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
    let norm: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum();
        if off <= norm * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    let mut eigen: Vec<Eigen> = (0..n)
        .map(|i| Eigen { value: a[i * n + i], vector: oriented(&v[i * n..(i + 1) * n]) })
        .collect();
    eigen.sort_by(|x, y| y.value.total_cmp(&x.value));
    eigen
}

/// Rotates rows and columns `p` and `q` so that `a[p,q]` becomes 0.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    // Tangent of the smaller angle; 0 if theta is too large to be squared.
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    let turn = |m: &mut [f64], x: usize, y: usize| {
        let (mx, my) = (m[x], m[y]);
        m[x] = c * mx - s * my;
        m[y] = s * mx + c * my;
    };
    for i in 0..n {
        turn(a, i * n + p, i * n + q);
    }
    for i in 0..n {
        turn(a, p * n + i, q * n + i);
        turn(v, p * n + i, q * n + i);
    }
    a[p * n + q] = 0.0;
    a[q * n + p] = 0.0;
}

fn oriented(vector: &[f64]) -> Vec<f64> {
    let largest =
        vector.iter().fold(0.0f64, |largest, x| if x.abs() > largest.abs() { *x } else { largest });
    let sign = if largest < 0.0 { -1.0 } else { 1.0 };
    vector.iter().map(|x| sign * x).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_matrices() {
        let two = eigen(&[2.0, 1.0, 1.0, 2.0], 2);
        let half = 0.5f64.sqrt();
        for (found, (value, vector)) in two.iter().zip([(3.0, [half, half]), (1.0, [half, -half])])
        {
            assert!((found.value - value).abs() < 1e-15);
            // The components of the second differ in the last bit only, and either may be the
            // larger one.
            let dot: f64 = found.vector.iter().zip(vector).map(|(x, y)| x * y).sum();
            assert!((dot.abs() - 1.0).abs() < 1e-15, "{found:?}");
        }
        let diagonal = eigen(&[1.0, 0.0, 0.0, 0.0, -3.0, 0.0, 0.0, 0.0, 2.0], 3);
        assert_eq!(diagonal.iter().map(|pair| pair.value).collect::<Vec<_>>(), [2.0, 1.0, -3.0]);
        assert_eq!(diagonal[2].vector, [0.0, 1.0, 0.0]);
        assert_eq!(
            eigen(&[0.0; 4], 2).iter().map(|pair| pair.value).collect::<Vec<_>>(),
            [0.0, 0.0]
        );
        assert!(eigen(&[], 0).is_empty());
    }

    proptest! {
        #[test]
        fn vectors_diagonalise_the_matrix(n in 1usize..=16, elements in prop::collection::vec(-1e3..1e3f64, 256)) {
            let a: Vec<f64> = (0..n * n).map(|at| elements[(at / n).min(at % n) * 16 + (at / n).max(at % n)]).collect();
            let norm = a.iter().map(|x| x * x).sum::<f64>().sqrt();
            let pairs = eigen(&a, n);
            prop_assert!(pairs.is_sorted_by(|x, y| x.value >= y.value));
            for (i, pair) in pairs.iter().enumerate() {
                for row in 0..n {
                    let product: f64 = (0..n).map(|column| a[row * n + column] * pair.vector[column]).sum();
                    prop_assert!((product - pair.value * pair.vector[row]).abs() <= 1e-13 * norm);
                }
                for (j, other) in pairs.iter().enumerate() {
                    let dot: f64 = pair.vector.iter().zip(&other.vector).map(|(x, y)| x * y).sum();
                    prop_assert!((dot - f64::from(u8::from(i == j))).abs() <= 1e-13);
                }
            }
        }
    }
}
