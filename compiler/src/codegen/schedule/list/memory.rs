//! The scratchpad while a schedule is made: how many bytes are taken, and until when. Addresses are
//! found when all lifetimes are known.

use std::collections::BTreeMap;

use crate::tiled::Buffer;

/// A buffer to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) buffer: Buffer,
    pub(super) bytes: u64,
}

/// The scratchpad.
#[derive(Debug)]
pub(super) struct Memory {
    capacity: u64,
    /// Bytes that are taken and of which it is not known when they are free.
    taken: u64,
    /// By how many bytes more are taken than before, from some times on.
    changes: BTreeMap<u64, i64>,
}

impl Memory {
    pub(super) fn new(capacity: u64) -> Memory {
        Memory { capacity, taken: 0, changes: BTreeMap::new() }
    }

    /// From when on, `start` at the earliest, there is room for all the buffers; `None` as long as
    /// it is not known when there is.
    pub(super) fn room(&self, wanted: &[Wanted], start: u64) -> Option<u64> {
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

    /// Takes room that [`Memory::room`] found from `start` on.
    pub(super) fn take(&mut self, wanted: &[Wanted], start: u64) {
        self.taken += bytes(wanted);
        *self.changes.entry(start).or_default() += bytes(wanted) as i64;
    }

    /// Bytes are no longer needed from `at` on.
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
    fn room_comes_when_enough_has_been_freed() {
        let want = |bytes: u64| [Wanted { buffer: Buffer::new(0), bytes }];
        let mut memory = Memory::new(100);
        memory.take(&want(90), 0);
        assert_eq!(memory.room(&want(10), 7), Some(7));
        assert_eq!(memory.room(&want(11), 7), None);
        memory.free(30, 20);
        memory.free(40, 50);
        assert_eq!(memory.room(&want(40), 7), Some(20));
        assert_eq!(memory.room(&want(41), 7), Some(50));
        assert_eq!(memory.room(&want(41), 60), Some(60));
        memory.take(&want(40), 20);
        assert_eq!(memory.room(&want(1), 20), Some(50));
        // There was room for as long as it takes.
        assert_eq!(memory.room(&want(40), 60), Some(60));
        memory.take(&want(40), 60);
        assert_eq!(memory.room(&want(40), 50), None);
    }
}
