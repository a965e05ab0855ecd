//! Tiles: strided matrices in the scratchpad, and the blocks of values that they hold.

use std::ops::Range;

use vitcod_isa::instr::Sram;

use crate::codegen::residence::storage::Location;

/// A handle of an operand in the scratchpad whose buffer has no address yet.
///
/// While an instruction is built, its address fields carry handles ([`Sram::from`]).
/// [`Builder::push`](crate::codegen::builder::Builder::push) replaces each by a buffer and an
/// offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SramOperand(pub(super) u32);

impl SramOperand {
    /// An operand that the instruction does not use.
    pub(crate) const NONE: SramOperand = SramOperand(0);
}

impl From<SramOperand> for Sram {
    fn from(operand: SramOperand) -> Sram {
        Sram(operand.0)
    }
}

/// A strided matrix in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// The first byte.
    pub(crate) at: SramOperand,
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

/// A tile that is written, and the block in DRAM that it is stored to, if any.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) tile: Tile,
    pub(super) store: Option<(Location, Block)>,
}

/// A range in chunks of `length`.
pub(crate) fn chunks_of(
    range: &Range<usize>,
    length: usize,
) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
    let start = range.start;
    chunks(range.len(), length).map(move |part| start + part.start..start + part.end)
}

/// `0..extent` in chunks of `length`.
pub(crate) fn chunks(extent: usize, length: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..extent).step_by(length.max(1)).map(move |start| start..extent.min(start + length))
}

/// A range, cut at multiples of `width`.
pub(crate) fn cut_at(
    range: &Range<usize>,
    width: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let Range { start, end } = *range;
    (start / width..end.div_ceil(width))
        .map(move |i| start.max(i * width)..end.min((i + 1) * width))
}
