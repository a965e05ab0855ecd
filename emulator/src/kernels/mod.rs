//! Exact int8 x int8 -> int32 matrix products of the size of one instruction's tile.
//!
//! | function | computes | operand B | used for |
//! |---|---|---|---|
//! | [`gemm_nt`] | C (+)= A B^T | n x k, both operands contiguous along k | linear layers (weights `[N, K]`), SDDMM Q K^T |
//! | [`gemm_nn`] | C (+)= A B | k x n | SpMM P V |
//!
//! Every path computes the sums modulo 2^32 in some order, so all paths agree in every bit for
//! every input, including -128 x -128. The sums are exact if the caller has proven that they fit an
//! int32: from zero, for any k up to 131,071.
//!
//! A path is chosen when a [`Scratch`] is created, by the features of the processor:
//!
//! * `avx512-vnni`: `vpdpbusd` multiplies unsigned by signed bytes, so A is packed as `a + 128` and
//!   the surplus, 128 times the column sums of B, is subtracted from what the sums start with;
//! * `avx2`: bytes widened to 16 bits and `vpmaddwd`, exact as 2 x 2^14 fits an int32. The shorter
//!   `vpmaddubsw` is not used: it saturates at 16 bits;
//! * `scalar`: plain loops.
//!
//! The vector paths share the packing and blocking of `packed`, which is safe code; `unsafe` is
//! confined to the two instruction sets and the cast of the scratchpad's bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod packed;
mod scalar;
mod scratch;
#[cfg(test)]
mod tests;
mod view;

pub use scratch::Scratch;
pub use view::{Matrix, MatrixMut, ViewError};

/// The initial value of the sums of a matrix product.
#[derive(Clone, Copy, Debug)]
pub enum Init<'a> {
    /// Zero: C is overwritten.
    Zero,
    /// One value per column of C, which is overwritten.
    Bias(&'a [i32]),
    /// The values in C.
    Accumulate,
}

/// The layout of operand B.
#[derive(Clone, Copy)]
enum Right<'a> {
    /// n x k.
    Transposed(Matrix<'a>),
    /// k x n.
    Plain(Matrix<'a>),
}

/// An implementation of the products; all give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Plain loops, on every processor.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 and its VNNI extension.
    Avx512Vnni,
}

impl Path {
    /// All paths, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512Vnni];

    /// The fastest path of this processor.
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|path| path.is_supported()).unwrap_or(Self::Scalar)
    }

    /// Whether this processor supports the path.
    pub(crate) fn is_supported(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => avx512::Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512Vnni => false,
        }
    }

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }
}

/// C (+)= A B^T: `C[i][j]` starts from `init` and adds the sum over k of `A[i][k] * B[j][k]`.
///
/// # Panics
/// Unless A is m x k, B is n x k, C is m x n and a bias has n values.
pub fn gemm_nt(
    scratch: &mut Scratch,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut MatrixMut<'_>,
    init: Init<'_>,
) {
    assert_eq!(a.cols(), b.cols(), "depth of A and B");
    assert_eq!(c.cols(), b.rows(), "columns of C and rows of B");
    check(a, c, init);
    scratch.gemm(a, Right::Transposed(b), c, init);
}

/// C (+)= A B: `C[i][j]` starts from `init` and adds the sum over k of `A[i][k] * B[k][j]`.
///
/// # Panics
/// Unless A is m x k, B is k x n, C is m x n and a bias has n values.
pub fn gemm_nn(
    scratch: &mut Scratch,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut MatrixMut<'_>,
    init: Init<'_>,
) {
    assert_eq!(a.cols(), b.rows(), "depth of A and B");
    assert_eq!(c.cols(), b.cols(), "columns of C and of B");
    check(a, c, init);
    scratch.gemm(a, Right::Plain(b), c, init);
}

fn check(a: Matrix<'_>, c: &MatrixMut<'_>, init: Init<'_>) {
    assert_eq!(a.rows(), c.rows(), "rows of A and C");
    if let Init::Bias(bias) = init {
        assert_eq!(bias.len(), c.cols(), "values of the bias and columns of C");
    }
}
