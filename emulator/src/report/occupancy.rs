//! The bytes of the scratchpad that a program accesses.

use std::collections::BTreeSet;

use vitcod_isa::effects::Region;

/// The bytes accessed so far.
#[derive(Debug)]
pub(super) struct Occupancy {
    /// Programs access the same regions repeatedly.
    seen: BTreeSet<[u64; 6]>,
    touched: Vec<bool>,
}

impl Occupancy {
    /// A scratchpad of `bytes` bytes without accesses.
    pub(super) fn new(bytes: u32) -> Occupancy {
        Occupancy { seen: BTreeSet::new(), touched: vec![false; bytes as usize] }
    }

    /// Records a region. Bytes beyond the scratchpad, which an unchecked program may name, do not
    /// count.
    pub(super) fn touch(&mut self, region: Region) {
        let Region { base, bytes, inner, inner_stride, outer, outer_stride } = region;
        if self.seen.insert([base, bytes, inner, inner_stride, outer, outer_stride]) {
            let end = |at: u64| at.min(self.touched.len() as u64) as usize;
            let ranges = region.runs().map(|(at, bytes)| end(at)..end(at.saturating_add(bytes)));
            for range in ranges.collect::<Vec<_>>() {
                self.touched[range].fill(true);
            }
        }
    }

    /// Number of bytes accessed.
    pub(super) fn bytes(&self) -> u64 {
        self.touched.iter().filter(|touched| **touched).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_once() {
        let mut occupancy = Occupancy::new(100);
        occupancy.touch(Region::rows(0, 3, 4, 8));
        occupancy.touch(Region::rows(0, 3, 4, 8));
        occupancy.touch(Region::contiguous(2, 4));
        occupancy.touch(Region::contiguous(98, 10));
        assert_eq!(occupancy.bytes(), 12 + 2 + 2);
    }
}
