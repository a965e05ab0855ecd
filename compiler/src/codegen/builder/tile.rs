//! Tiles: strided matrices in the scratchpad, and the blocks of values that they hold.

use std::ops::Range;

use vitcod_isa::instr::Sram;

use crate::codegen::residence::storage::Location;

/// An operand in the scratchpad before its buffer has an address: a handle that the
/// [builder](super::Builder) gives out and resolves.
///
/// Instructions have addresses where their operands lie. While one is put together, it carries
/// handles in these fields ([`Sram::from`]); [`Builder::push`](super::Builder::push) replaces each
/// by a buffer and an offset.
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
    /// Its first byte.
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

/// A tile to write to, and where in DRAM its contents go when they are complete.
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
