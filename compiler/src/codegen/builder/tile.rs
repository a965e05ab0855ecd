//! Tiles: strided matrices in the scratchpad, and the parts of values that they hold.

use std::ops::Range;

use vitcod_isa::instr::Sram;

use crate::codegen::residence::storage::Location;

/// A strided matrix in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// First byte, as [`Builder::at`] names it.
    pub(crate) at: Sram,
    /// Bytes between rows.
    pub(crate) stride: u32,
}

/// Rows and byte columns of a value.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) rows: Range<usize>,
    pub(crate) bytes: Range<usize>,
}

impl Block {
    /// Number of rows.
    pub(crate) fn height(&self) -> usize {
        self.rows.len()
    }
}

/// A tile to write to, and where it goes from there.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) tile: Tile,
    pub(crate) store: Option<(Location, Block)>,
}

/// A range in steps of `step`.
pub(crate) fn chunks_of(
    range: &Range<usize>,
    step: usize,
) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
    let start = range.start;
    chunks(range.len(), step).map(move |part| start + part.start..start + part.end)
}

/// `0..extent` in steps of `step`.
pub(crate) fn chunks(extent: usize, step: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..extent).step_by(step.max(1)).map(move |start| start..extent.min(start + step))
}
