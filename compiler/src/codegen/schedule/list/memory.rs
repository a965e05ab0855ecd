//! The scratchpad during list scheduling: how many bytes are taken, and until when. Placement finds
//! addresses when all live ranges are known.

use std::collections::BTreeMap;

use crate::tiled::Buffer;

/// A buffer that is to be allocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) buffer: Buffer,
    pub(super) bytes: u64,
}

/// The bytes of the scratchpad over time.
#[derive(Debug)]
pub(super) struct Memory {
    capacity: u64,
    /// Bytes that are taken at the end of all known changes.
    taken: u64,
    /// Per time, the change of the bytes that are taken.
    changes: BTreeMap<u64, i64>,
}

impl Memory {
    pub(super) fn new(capacity: u64) -> Memory {
        Memory { capacity, taken: 0, changes: BTreeMap::new() }
    }

    /// The earliest time, not before `start`, from which all buffers fit; `None` while it is not
    /// known.
    pub(super) fn first_fit(&self, wanted: &[Wanted], start: u64) -> Option<u64> {
        let free = self.capacity.checked_sub(bytes(wanted))?;
        let mut taken = self.taken;
        if taken > free {
            return None;
        }
        for (time, change) in self.changes.range(start + 1..).rev() {
            taken = taken.checked_add_signed(-change)?;
            if taken > free {
                return Some(*time);
            }
        }
        Some(start)
    }

    /// Allocates buffers at a time that [`Memory::first_fit`] found.
    pub(super) fn take(&mut self, wanted: &[Wanted], start: u64) {
        self.taken += bytes(wanted);
        *self.changes.entry(start).or_default() += bytes(wanted) as i64;
    }

    /// Frees bytes at a time.
    pub(super) fn free(&mut self, bytes: u64, at: u64) {
        self.taken -= bytes;
        *self.changes.entry(at).or_default() -= bytes as i64;
    }
}

fn bytes(wanted: &[Wanted]) -> u64 {
    wanted.iter().map(|wanted| wanted.bytes).sum()
}

#[cfg(test)]
mod tests {
    use cranelift_entity::EntityRef as _;

    use super::*;

    #[test]
    fn buffers_fit_when_enough_has_been_freed() {
        let want = |bytes: u64| [Wanted { buffer: Buffer::new(0), bytes }];
        let mut memory = Memory::new(100);
        memory.take(&want(90), 0);
        assert_eq!(memory.first_fit(&want(10), 7), Some(7));
        assert_eq!(memory.first_fit(&want(11), 7), None);
        memory.free(30, 20);
        memory.free(40, 50);
        assert_eq!(memory.first_fit(&want(40), 7), Some(20));
        assert_eq!(memory.first_fit(&want(41), 7), Some(50));
        assert_eq!(memory.first_fit(&want(41), 60), Some(60));
        memory.take(&want(40), 20);
        assert_eq!(memory.first_fit(&want(1), 20), Some(50));
        // They still fit at that time.
        assert_eq!(memory.first_fit(&want(40), 60), Some(60));
        memory.take(&want(40), 60);
        assert_eq!(memory.first_fit(&want(40), 50), None);
    }
}
