//! AVX2: `vpmaddwd` adds two products of 16-bit numbers in each of 8 32-bit lanes.
#![allow(
    unsafe_code,
    reason = "vector instructions exist only as functions that the processor must support"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "an index names the same row or vector of several operands"
)]

use std::arch::x86_64::*;

use super::packed::{self, Buffers, Kernel, LANES, Lanes, ROWS, Tile};
use super::{Init, Matrix, MatrixMut, Right};

/// 32-bit lanes of a vector; a panel is two vectors wide.
const HALF: usize = LANES / 2;

/// Proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    pub(super) fn gemm(
        self,
        buffers: &mut Buffers,
        a: Matrix<'_>,
        b: Right<'_>,
        c: &mut MatrixMut<'_>,
        init: Init<'_>,
    ) {
        // SAFETY: `self` proves the target feature.
        unsafe { gemm(self, buffers, a, b, c, init) }
    }
}

#[target_feature(enable = "avx2")]
fn gemm(
    avx2: Avx2,
    buffers: &mut Buffers,
    a: Matrix<'_>,
    b: Right<'_>,
    c: &mut MatrixMut<'_>,
    init: Init<'_>,
) {
    packed::gemm::<2, _>(avx2, buffers, a, b, c, init);
}

impl Kernel<2> for Avx2 {
    #[inline(always)]
    fn left(group: [i8; 2]) -> i32 {
        Self::right(group)
    }

    /// Two 16-bit numbers, the first in the low half.
    #[inline(always)]
    fn right([low, high]: [i8; 2]) -> i32 {
        i32::from(high) << 16 | i32::from(low) & 0xffff
    }

    #[inline(always)]
    fn correction(self, _: &[Lanes]) -> Lanes {
        Lanes([0; LANES])
    }

    #[inline(always)]
    fn tile(self, t: Tile<'_>, used: usize, c: &mut [i32], stride: usize) {
        for p in 0..used {
            // SAFETY: `self` proves the target feature.
            unsafe { tile(t, p, &mut c[p * LANES..], stride) }
        }
    }
}

#[target_feature(enable = "avx2")]
fn tile(t: Tile<'_>, p: usize, c: &mut [i32], stride: usize) {
    let start = halves(&t.start[p]);
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for r in 0..ROWS {
        for h in 0..2 {
            sums[r][h] = load(start[h]);
            if t.accumulate {
                sums[r][h] = _mm256_add_epi32(sums[r][h], load(lanes(c, r * stride, h)));
            }
        }
    }
    for (g, panel) in t.panels[p][..t.groups].iter().enumerate() {
        let [low, high] = halves(panel);
        let b = [load(low), load(high)];
        for r in 0..ROWS {
            let a = _mm256_set1_epi32(t.left[r][g]);
            for h in 0..2 {
                sums[r][h] = _mm256_add_epi32(sums[r][h], _mm256_madd_epi16(a, b[h]));
            }
        }
    }
    for r in 0..ROWS {
        for h in 0..2 {
            store(lanes(c, r * stride, h), sums[r][h]);
        }
    }
}

fn halves(lanes: &Lanes) -> [&[i32; HALF]; 2] {
    let (halves, _) = lanes.0.as_chunks();
    [&halves[0], &halves[1]]
}

/// Half `h` of the row of C that starts at `start`.
#[inline]
fn lanes(c: &mut [i32], start: usize, h: usize) -> &mut [i32; HALF] {
    let Some(lanes) = c[start + h * HALF..].first_chunk_mut() else {
        panic!("a tile lies inside C");
    };
    lanes
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &[i32; HALF]) -> __m256i {
    // SAFETY: 32 bytes are readable, and the load requires no alignment.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut [i32; HALF], vector: __m256i) {
    // SAFETY: 32 bytes are writable, and the store requires no alignment.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) }
}
