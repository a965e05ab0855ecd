//! AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of 16
//! 32-bit lanes, modulo 2^32.
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

/// Proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni"))
        .then_some(Self(()))
    }

    pub(super) fn gemm(
        self,
        buffers: &mut Buffers,
        a: Matrix<'_>,
        b: Right<'_>,
        c: &mut MatrixMut<'_>,
        init: Init<'_>,
    ) {
        // SAFETY: `self` proves the target features.
        unsafe { gemm(self, buffers, a, b, c, init) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn gemm(
    avx512: Avx512,
    buffers: &mut Buffers,
    a: Matrix<'_>,
    b: Right<'_>,
    c: &mut MatrixMut<'_>,
    init: Init<'_>,
) {
    packed::gemm::<4, _>(avx512, buffers, a, b, c, init);
}

impl Kernel<4> for Avx512 {
    /// a + 128 is a with its sign bit flipped, as an unsigned byte.
    #[inline(always)]
    fn left(group: [i8; 4]) -> i32 {
        Self::right(group) ^ i32::from_le_bytes([0x80; 4])
    }

    #[inline(always)]
    fn right(group: [i8; 4]) -> i32 {
        i32::from_le_bytes(group.map(i8::cast_unsigned))
    }

    #[inline(always)]
    fn correction(self, panel: &[Lanes]) -> Lanes {
        // SAFETY: `self` proves the target features.
        unsafe { correction(panel) }
    }

    #[inline(always)]
    fn tile(self, t: Tile<'_>, used: usize, c: &mut [i32], stride: usize) {
        // SAFETY: `self` proves the target features.
        unsafe {
            match used {
                1 => tile::<1>(t, c, stride),
                2 => tile::<2>(t, c, stride),
                3 => tile::<3>(t, c, stride),
                _ => tile::<4>(t, c, stride),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn correction(panel: &[Lanes]) -> Lanes {
    let offset = _mm512_set1_epi8(-128);
    let mut sums = _mm512_setzero_si512();
    for lanes in panel {
        sums = _mm512_dpbusd_epi32(sums, offset, load(&lanes.0));
    }
    let mut correction = Lanes([0; LANES]);
    store(&mut correction.0, _mm512_sub_epi32(_mm512_setzero_si512(), sums));
    correction
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn tile<const P: usize>(t: Tile<'_>, c: &mut [i32], stride: usize) {
    let mut sums = [[_mm512_setzero_si512(); P]; ROWS];
    for r in 0..ROWS {
        for p in 0..P {
            sums[r][p] = load(&t.start[p].0);
            if t.accumulate {
                sums[r][p] = _mm512_add_epi32(sums[r][p], load(lanes(c, r * stride, p)));
            }
        }
    }
    for g in 0..t.groups {
        let mut b = [_mm512_setzero_si512(); P];
        for p in 0..P {
            b[p] = load(&t.panels[p][g].0);
        }
        for r in 0..ROWS {
            let a = _mm512_set1_epi32(t.left[r][g]);
            for p in 0..P {
                sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], a, b[p]);
            }
        }
    }
    for r in 0..ROWS {
        for p in 0..P {
            store(lanes(c, r * stride, p), sums[r][p]);
        }
    }
}

/// Panel `p` of the row of C that starts at `start`.
#[inline]
fn lanes(c: &mut [i32], start: usize, p: usize) -> &mut [i32; LANES] {
    let Some(lanes) = c[start + p * LANES..].first_chunk_mut() else {
        panic!("a tile lies inside C");
    };
    lanes
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(lanes: &[i32; LANES]) -> __m512i {
    // SAFETY: 64 bytes are readable, and the load requires no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(lanes: &mut [i32; LANES], vector: __m512i) {
    // SAFETY: 64 bytes are writable, and the store requires no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) }
}
