//! Rings: buffers that tiles take in turn.
//!
//! However many tiles pass, they take a fixed part of the scratchpad, so that what fills nearly all
//! of it needs no luck in placement. A tile is there until the ring has gone round: to load the
//! next one waits for those that read it.

use vitcod_isa::instr::Sram;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::Tile;

/// Buffers of one size.
#[derive(Debug)]
pub(crate) struct BufferRing {
    count: usize,
    bytes: usize,
    /// Those that have been used.
    buffers: Vec<Sram>,
    next: usize,
}

impl BufferRing {
    /// `count` buffers of `bytes` bytes.
    pub(crate) fn new(count: usize, bytes: usize) -> BufferRing {
        BufferRing { count, bytes, buffers: Vec::new(), next: 0 }
    }

    /// The next buffer, as a tile of rows of `row_bytes` bytes.
    pub(crate) fn tile(
        &mut self,
        builder: &mut Builder<'_>,
        rows: usize,
        row_bytes: usize,
    ) -> Tile {
        debug_assert!(
            rows * row_bytes <= self.bytes,
            "{rows} rows of {row_bytes} bytes in a buffer of {}",
            self.bytes
        );
        if self.next == self.buffers.len() {
            self.buffers.push(builder.tile(1, self.bytes).at);
        }
        let at = self.buffers[self.next];
        self.next = (self.next + 1) % self.count;
        Tile { at, stride: row_bytes as u32 }
    }
}
