//! The scratchpad while a schedule is made: which bytes are taken, and until when.
//!
//! Buffers that outlive their group are placed from the bottom, the others from the top, each in the first gap that holds it: what comes and
//! goes quickly does not leave holes between what stays.

use crate::tiled::{BUFFER_ALIGN, Buffer};

/// A buffer to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) buffer: Buffer,
    pub(super) bytes: u64,
    /// Whether it outlives its group.
    pub(super) stays: bool,
}

/// Bytes that a buffer has.
#[derive(Clone, Copy, Debug)]
struct Taken {
    start: u64,
    end: u64,
    buffer: Buffer,
    /// When it is no longer needed, if that is known.
    free_at: Option<u64>,
}

/// The scratchpad.
#[derive(Debug)]
pub(super) struct Memory {
    /// A multiple of [`BUFFER_ALIGN`], as buffers are placed from both ends.
    capacity: u64,
    /// By address.
    taken: Vec<Taken>,
}

impl Memory {
    pub(super) fn new(capacity: u64) -> Memory {
        Memory { capacity: capacity - capacity % BUFFER_ALIGN, taken: Vec::new() }
    }

    /// When, from `start` on, there are places for all the buffers, and the places; `None` as long as buffers are in the way of which it is
    /// not known when they are free.
    pub(super) fn places(&self, wanted: &[Wanted], start: u64) -> Option<(u64, Vec<u64>)> {
        if let Some(places) = self.places_at(wanted, start) {
            return Some((start, places));
        }
        let mut times: Vec<u64> =
            self.taken.iter().filter_map(|taken| taken.free_at).filter(|at| *at > start).collect();
        times.sort_unstable();
        times.dedup();
        // The later, the more is free: the first time is found by halving.
        let first = times.partition_point(|at| self.places_at(wanted, *at).is_none());
        let at = *times.get(first)?;
        Some((at, self.places_at(wanted, at)?))
    }

    fn places_at(&self, wanted: &[Wanted], at: u64) -> Option<Vec<u64>> {
        let mut blocks: Vec<(u64, u64)> = (self.taken.iter())
            .filter(|taken| taken.free_at.is_none_or(|free| free > at))
            .map(|taken| (taken.start, taken.end))
            .collect();
        wanted.iter().map(|wanted| place(&mut blocks, self.capacity, *wanted)).collect()
    }

    /// Takes places that [`Memory::places`] found for `start`.
    pub(super) fn take(&mut self, wanted: &[Wanted], places: &[u64], start: u64) {
        self.taken.retain(|taken| taken.free_at.is_none_or(|free| free > start));
        for (Wanted { buffer, bytes, .. }, place) in wanted.iter().zip(places) {
            self.taken.push(Taken { start: *place, end: place + bytes, buffer: *buffer, free_at: None });
        }
        self.taken.sort_unstable_by_key(|taken| taken.start);
    }

    /// A buffer is no longer needed from `at` on.
    pub(super) fn free(&mut self, buffer: Buffer, at: u64) {
        if let Some(taken) = self.taken.iter_mut().find(|taken| taken.buffer == buffer) {
            taken.free_at = Some(at);
        }
    }
}

/// The place of a buffer between blocks, which are sorted; it becomes one of them.
fn place(blocks: &mut Vec<(u64, u64)>, capacity: u64, wanted: Wanted) -> Option<u64> {
    let gap = |index: usize| {
        let start = if index == 0 { 0 } else { blocks[index - 1].1 };
        let end = blocks.get(index).map_or(capacity, |block| block.0);
        (end.saturating_sub(start) >= wanted.bytes).then_some((start, end))
    };
    let (index, address) = if wanted.stays {
        (0..=blocks.len()).find_map(|index| Some((index, gap(index)?.0)))
    } else {
        (0..=blocks.len()).rev().find_map(|index| Some((index, gap(index)?.1 - wanted.bytes)))
    }?;
    blocks.insert(index, (address, address + wanted.bytes));
    Some(address)
}

#[cfg(test)]
mod tests {
    use cranelift_entity::EntityRef as _;

    use super::*;

    #[test]
    fn buffers_are_aligned_from_both_ends() {
        let memory = Memory::new(10 * BUFFER_ALIGN + 7);
        let wanted =
            [true, false].map(|stays| Wanted { buffer: Buffer::new(usize::from(stays)), bytes: BUFFER_ALIGN, stays });
        assert_eq!(memory.places(&wanted, 0), Some((0, vec![0, 9 * BUFFER_ALIGN])));
    }
}
