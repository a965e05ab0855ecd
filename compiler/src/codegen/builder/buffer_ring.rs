//! Rings: buffers that tiles take in turn.
//!
//! However many tiles pass, they take a fixed part of the scratchpad, so that what fills nearly all
//! of it needs no luck in placement. A tile is valid until the ring has gone round: loading the
//! next one waits for those that read it.

use super::tile::SramOperand;

/// Rotating buffers of one size. [`Builder::ring_tile`](super::Builder::ring_tile) allocates them.
#[derive(Debug)]
pub(crate) struct BufferRing {
    /// What the plan calls them.
    pub(super) name: &'static str,
    /// The most buffers.
    pub(super) count: usize,
    /// Bytes of a buffer.
    pub(super) bytes: usize,
    /// Those that are allocated.
    pub(super) allocated: Vec<SramOperand>,
    next: usize,
}

impl BufferRing {
    /// `count` buffers of `bytes` bytes.
    pub(crate) fn new(name: &'static str, count: usize, bytes: usize) -> BufferRing {
        BufferRing { name, count, bytes, allocated: Vec::new(), next: 0 }
    }

    /// The index of the buffer whose turn it is.
    pub(super) fn advance(&mut self) -> usize {
        let index = self.next;
        self.next = (index + 1) % self.count;
        index
    }
}
