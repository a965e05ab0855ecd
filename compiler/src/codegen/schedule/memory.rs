//! The scratchpad while a schedule is made: how many bytes are taken, and until when. Addresses are found when all lifetimes are known.

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
    /// Bytes that nothing has, or will have had by some time.
    free: u64,
    /// Bytes that become free, by time.
    freed: BTreeMap<u64, u64>,
}

impl Memory {
    pub(super) fn new(capacity: u64) -> Memory {
        Memory { free: capacity, freed: BTreeMap::new() }
    }

    /// When, from `start` on, there is room for all the buffers; `None` as long as it is not known when there is.
    pub(super) fn room(&self, wanted: &[Wanted], start: u64) -> Option<u64> {
        let bytes: u64 = wanted.iter().map(|wanted| wanted.bytes).sum();
        let (mut free, mut at) = (self.free, start);
        for (time, more) in &self.freed {
            if *time > at {
                if free >= bytes {
                    break;
                }
                at = *time;
            }
            free += more;
        }
        (free >= bytes).then_some(at)
    }

    /// Takes room that [`Memory::room`] found from `start` on.
    pub(super) fn take(&mut self, wanted: &[Wanted], start: u64) {
        let later = self.freed.split_off(&(start + 1));
        let now = std::mem::replace(&mut self.freed, later);
        self.free += now.into_values().sum::<u64>();
        self.free -= wanted.iter().map(|wanted| wanted.bytes).sum::<u64>();
    }

    /// Bytes are no longer needed from `at` on.
    pub(super) fn free(&mut self, bytes: u64, at: u64) {
        *self.freed.entry(at).or_default() += bytes;
    }
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
    }
}
