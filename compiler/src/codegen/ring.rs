//! Rings: buffers that tiles take in turn.
//!
//! However many tiles pass, they take a fixed part of the scratchpad, so that what fills nearly all of it needs no luck in placement. A tile is there
//! until the ring has gone round: to load the next one waits for those that read it.

use vitcod_isa::instr::Sram;

use super::task::{Builder, Tile};

/// Buffers of one size.
#[derive(Debug)]
pub(super) struct Ring {
    buffers: Vec<Sram>,
    next: usize,
}

impl Ring {
    /// `count` buffers of `bytes` bytes.
    pub(super) fn new(builder: &mut Builder<'_>, count: usize, bytes: usize) -> Ring {
        let buffer = |_| builder.tile(1, bytes).at;
        Ring { buffers: (0..count).map(buffer).collect(), next: 0 }
    }

    /// The next buffer, as a tile of rows of `row_bytes` bytes.
    pub(super) fn tile(&mut self, row_bytes: usize) -> Tile {
        let at = self.buffers[self.next];
        self.next = (self.next + 1) % self.buffers.len();
        Tile { at, stride: row_bytes as u32 }
    }
}
