//! Buffer rings: buffers of one size that tiles use in turn.
//!
//! Any number of tiles takes a fixed part of the scratchpad, so a group that nearly fills the
//! scratchpad does not depend on the placement heuristic. A tile is valid until its buffer is used
//! again. The load of the next tile into it waits for the readers of the old one.

use crate::codegen::builder::tile::SramOperand;

/// Buffers of one size, used in turn.
/// [`Builder::ring_tile`](crate::codegen::builder::Builder::ring_tile) allocates them.
#[derive(Debug)]
pub(crate) struct BufferRing {
    /// The name that the plan declares.
    pub(super) name: &'static str,
    /// The number of buffers.
    pub(super) count: usize,
    /// Bytes of a buffer.
    pub(super) bytes: usize,
    /// The buffers that are allocated so far.
    pub(super) allocated: Vec<SramOperand>,
    next: usize,
}

impl BufferRing {
    /// `count` buffers of `bytes` bytes.
    pub(crate) fn new(name: &'static str, count: usize, bytes: usize) -> BufferRing {
        BufferRing { name, count, bytes, allocated: Vec::new(), next: 0 }
    }

    /// The index of the next buffer.
    pub(super) fn advance(&mut self) -> usize {
        let index = self.next;
        self.next = (index + 1) % self.count;
        index
    }
}
