//! Packing and blocking, shared by the vector paths.
//!
//! Both operands are packed into 32-bit *groups*, each of which holds the D neighbours along k that
//! one vector lane multiplies and adds in one instruction: four bytes or two 16-bit numbers. A
//! block of B is up to [`PANELS`] panels of [`LANES`] columns and up to [`GROUPS`] groups deep, and
//! stays in the first-level cache while all of A passes, [`ROWS`] rows at a time:
//!
//! ```text
//! for each block of columns, for each block of k:   pack B, and what its columns' sums start with
//!     for each ROWS rows of A:                      pack A; C (+)= A B in registers
//! ```
//!
//! At the end of k, both operands are padded with zeros. Lanes after the columns of B and rows
//! after the last of A hold stale data: such a tile is computed in a buffer, and only the part that
//! belongs to C is copied.

use super::{Init, Matrix, MatrixMut, Right, scalar};

/// Columns of a panel: the 32-bit lanes of 64 bytes.
pub(super) const LANES: usize = 16;
/// Panels of a block of B.
pub(super) const PANELS: usize = 4;
/// Rows of a tile: with [`PANELS`] vectors of sums each, they fill the 32 registers of AVX-512.
pub(super) const ROWS: usize = 6;
/// Groups of a block along k: 192 or 384 of depth, 24 KiB of B.
pub(super) const GROUPS: usize = 96;

/// The most rows for which packing B does not pay: plain loops, vectorised by the compiler, are
/// faster.
const FEW: usize = 3;
/// Columns of a block.
const COLS: usize = PANELS * LANES;

/// Rows of A, packed.
pub(super) type Left = [[i32; GROUPS]; ROWS];
/// One vector of 32-bit lanes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [i32; LANES]);
/// A block of B, packed.
pub(super) type Panels = [[Lanes; GROUPS]; PANELS];

/// The memory of the packed blocks.
#[derive(Debug)]
pub(super) struct Buffers {
    left: Left,
    panels: Panels,
    start: [Lanes; PANELS],
    edge: [i32; ROWS * COLS],
}

impl Buffers {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            left: [[0; GROUPS]; ROWS],
            panels: [[Lanes([0; LANES]); GROUPS]; PANELS],
            start: [Lanes([0; LANES]); PANELS],
            edge: [0; ROWS * COLS],
        })
    }
}

/// The operands of one tile's product, packed.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) left: &'a Left,
    pub(super) panels: &'a Panels,
    /// Groups in use.
    pub(super) groups: usize,
    /// The initial sums of each column.
    pub(super) start: &'a [Lanes; PANELS],
    /// Whether the values in C are added to them.
    pub(super) accumulate: bool,
}

/// The differences between the vector paths; `D` is the number of products per group.
pub(super) trait Kernel<const D: usize>: Copy {
    /// A group of A.
    fn left(group: [i8; D]) -> i32;

    /// A group of B.
    fn right(group: [i8; D]) -> i32;

    /// The initial value of each column's sum over one panel, which compensates for the packing of
    /// A.
    fn correction(self, panel: &[Lanes]) -> Lanes;

    /// Computes [`ROWS`] rows of `used` panels into `c`, whose rows are `stride` apart.
    fn tile(self, tile: Tile<'_>, used: usize, c: &mut [i32], stride: usize);
}

/// The whole product. It is inlined into a function that enables the path's target features, so
/// that packing is vectorised with them, too.
#[inline(always)]
pub(super) fn gemm<const D: usize, K: Kernel<D>>(
    kernel: K,
    buffers: &mut Buffers,
    a: Matrix<'_>,
    b: Right<'_>,
    c: &mut MatrixMut<'_>,
    init: Init<'_>,
) {
    if c.rows() <= FEW {
        return scalar::gemm(a, b, c, init);
    }
    let Buffers { left, panels, start, edge } = buffers;
    let (m, n, k) = (c.rows(), c.cols(), a.cols());
    let stride = c.stride();
    for col in (0..n).step_by(COLS) {
        let cols = COLS.min(n - col);
        let used = cols.div_ceil(LANES);
        // A product of depth 0 has one empty block, which sets C.
        for depth in (0..k.max(1)).step_by(GROUPS * D) {
            let deep = (GROUPS * D).min(k - depth);
            let groups = deep.div_ceil(D);
            for (p, panel) in panels[..used].iter_mut().enumerate() {
                let panel = &mut panel[..groups];
                let col = col + p * LANES;
                match b {
                    Right::Transposed(b) => pack_transposed::<D, K>(panel, b, col, depth, deep),
                    Right::Plain(b) => pack_plain::<D, K>(panel, b, col, depth, deep),
                }
                start[p] = kernel.correction(panel);
                if let (Init::Bias(bias), 0) = (init, depth) {
                    for (start, bias) in start[p].0.iter_mut().zip(&bias[col..]) {
                        *start = start.wrapping_add(*bias);
                    }
                }
            }
            let accumulate = depth > 0 || matches!(init, Init::Accumulate);
            for row in (0..m).step_by(ROWS) {
                let rows = ROWS.min(m - row);
                for (r, left) in left[..rows].iter_mut().enumerate() {
                    pack_row::<D>(left, &a.row(row + r)[depth..][..deep], K::left);
                }
                let tile = Tile { left, panels, groups, start, accumulate };
                if rows == ROWS && cols == used * LANES {
                    kernel.tile(tile, used, c.memory_from(row, col), stride);
                    continue;
                }
                if accumulate {
                    for (r, edge) in edge.chunks_exact_mut(COLS).take(rows).enumerate() {
                        edge[..cols].copy_from_slice(&c.row(row + r)[col..][..cols]);
                    }
                }
                kernel.tile(tile, used, edge, COLS);
                for (r, edge) in edge.chunks_exact(COLS).take(rows).enumerate() {
                    c.row(row + r)[col..][..cols].copy_from_slice(&edge[..cols]);
                }
            }
        }
    }
}

/// Packs one row, contiguous along k, into groups; the last one is padded with zeros.
#[inline(always)]
fn pack_row<const D: usize>(groups: &mut [i32], row: &[i8], group: impl Fn([i8; D]) -> i32) {
    let (whole, rest) = row.as_chunks::<D>();
    for (packed, &values) in groups.iter_mut().zip(whole) {
        *packed = group(values);
    }
    if !rest.is_empty() {
        let mut values = [0; D];
        values[..rest.len()].copy_from_slice(rest);
        groups[whole.len()] = group(values);
    }
}

/// Packs columns `col..` of a panel, which are rows of `b`.
#[inline(always)]
fn pack_transposed<const D: usize, K: Kernel<D>>(
    panel: &mut [Lanes],
    b: Matrix<'_>,
    col: usize,
    depth: usize,
    deep: usize,
) {
    let mut groups = [0; GROUPS];
    for lane in 0..LANES.min(b.rows() - col) {
        pack_row::<D>(&mut groups, &b.row(col + lane)[depth..][..deep], K::right);
        for (lanes, group) in panel.iter_mut().zip(groups) {
            lanes.0[lane] = group;
        }
    }
}

/// Packs columns `col..` of a panel from rows of `b` that are consecutive along k.
#[inline(always)]
fn pack_plain<const D: usize, K: Kernel<D>>(
    panel: &mut [Lanes],
    b: Matrix<'_>,
    col: usize,
    depth: usize,
    deep: usize,
) {
    for (g, lanes) in panel.iter_mut().enumerate() {
        let mut rows = [[0; LANES]; D];
        for (d, row) in rows.iter_mut().enumerate().take(deep - g * D) {
            let values = &b.row(depth + g * D + d)[col..];
            // A copy of known length is one instruction.
            match values.first_chunk() {
                Some(values) => *row = *values,
                None => row[..values.len()].copy_from_slice(values),
            }
        }
        for (lane, packed) in lanes.0.iter_mut().enumerate() {
            *packed = K::right(rows.map(|row| row[lane]));
        }
    }
}
