//! Plain loops: the reference for the other paths, and the path of other architectures.

use super::{Init, Matrix, MatrixMut, Right};

#[inline(always)]
pub(super) fn gemm(a: Matrix<'_>, b: Right<'_>, c: &mut MatrixMut<'_>, init: Init<'_>) {
    for i in 0..c.rows() {
        let c = c.row(i);
        match init {
            Init::Zero => c.fill(0),
            Init::Bias(bias) => c.copy_from_slice(bias),
            Init::Accumulate => {}
        }
        match b {
            Right::Transposed(b) => {
                for (j, c) in c.iter_mut().enumerate() {
                    for (&a, &b) in a.row(i).iter().zip(b.row(j)) {
                        *c = multiply_add(*c, a, b);
                    }
                }
            }
            Right::Plain(b) => {
                for (k, &a) in a.row(i).iter().enumerate() {
                    for (c, &b) in c.iter_mut().zip(b.row(k)) {
                        *c = multiply_add(*c, a, b);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn multiply_add(sum: i32, a: i8, b: i8) -> i32 {
    sum.wrapping_add(i32::from(a) * i32::from(b))
}
