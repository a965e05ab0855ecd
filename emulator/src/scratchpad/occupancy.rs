//! Live bytes of the scratchpad, cycle by cycle.

use std::collections::BTreeMap;

use super::{Occupancy, Part};

/// The occupancy of a scratchpad of `capacity` bytes by parts over `cycles` cycles.
pub(super) fn of<'p>(
    parts: impl Iterator<Item = &'p Part>,
    capacity: u64,
    cycles: u64,
) -> Occupancy {
    // Ends come before starts in the same cycle.
    let mut events: Vec<(u64, bool, u64, u64)> = parts
        .filter(|part| part.cycles.start < part.cycles.end)
        .flat_map(|part| {
            let (from, to) = (part.bytes.start, part.bytes.end);
            [(part.cycles.start, true, from, to), (part.cycles.end, false, from, to)]
        })
        .collect();
    events.sort_unstable();
    let mut free = Free::new(capacity);
    let mut occupancy = Occupancy::default();
    let (mut byte_cycles, mut fragmentation, mut free_cycles) = (0u128, 0.0, 0u64);
    for (index, (cycle, starts, from, to)) in events.iter().enumerate() {
        if *starts {
            free.take(*from, *to)
        } else {
            free.give(*from, *to)
        }
        let next = events.get(index + 1).map_or(cycles, |event| event.0);
        let lasts = next.saturating_sub(*cycle);
        if lasts == 0 {
            continue;
        }
        let living = capacity - free.bytes;
        if living > occupancy.peak_bytes {
            occupancy.peak_bytes = living;
            occupancy.peak_cycle = *cycle;
            occupancy.largest_free_at_peak_bytes = free.largest();
        }
        byte_cycles += u128::from(living) * u128::from(lasts);
        if free.bytes > 0 {
            fragmentation += (1.0 - free.largest() as f64 / free.bytes as f64) * lasts as f64;
            free_cycles += lasts;
        }
    }
    // Nothing is live before the first event.
    free_cycles += events.first().map_or(0, |event| event.0);
    occupancy.mean_bytes = byte_cycles as f64 / cycles.max(1) as f64;
    occupancy.mean_fragmentation = fragmentation / free_cycles.max(1) as f64;
    occupancy
}

/// The free bytes.
struct Free {
    /// Runs: their ends by their starts. Adjacent runs are merged.
    runs: BTreeMap<u64, u64>,
    /// The number of runs of each length.
    lengths: BTreeMap<u64, usize>,
    bytes: u64,
}

impl Free {
    fn new(capacity: u64) -> Free {
        let mut free = Free { runs: BTreeMap::new(), lengths: BTreeMap::new(), bytes: 0 };
        free.give(0, capacity);
        free
    }

    fn largest(&self) -> u64 {
        self.lengths.last_key_value().map_or(0, |(length, _)| *length)
    }

    fn insert(&mut self, from: u64, to: u64) {
        if from < to {
            self.runs.insert(from, to);
            *self.lengths.entry(to - from).or_default() += 1;
            self.bytes += to - from;
        }
    }

    fn remove(&mut self, from: u64) -> Option<u64> {
        let to = self.runs.remove(&from)?;
        if let Some(count) = self.lengths.get_mut(&(to - from)) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&(to - from));
            }
        }
        self.bytes -= to - from;
        Some(to)
    }

    /// Allocates the free bytes between two addresses.
    fn take(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let first = self.runs.range(..=from).next_back().map_or(from, |(at, _)| *at);
        let touched: Vec<u64> =
            self.runs.range(first..to).filter(|(_, end)| **end > from).map(|(at, _)| *at).collect();
        for at in touched {
            if let Some(end) = self.remove(at) {
                self.insert(at, from.min(end));
                self.insert(to.max(at), end);
            }
        }
    }

    /// Frees the allocated bytes between two addresses.
    fn give(&mut self, from: u64, to: u64) {
        let (mut from, mut to) = (from, to);
        let first = self.runs.range(..=from).next_back().map_or(from, |(at, _)| *at);
        let touched: Vec<u64> = self
            .runs
            .range(first..=to)
            .filter(|(_, end)| **end >= from)
            .map(|(at, _)| *at)
            .collect();
        for at in touched {
            if let Some(end) = self.remove(at) {
                (from, to) = (from.min(at), to.max(end));
            }
        }
        self.insert(from, to);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn free_runs_are_those_of_a_map_of_bytes(ops in prop::collection::vec((any::<bool>(), 0u64..64, 0u64..64), 0..40)) {
            let mut free = Free::new(64);
            let mut bytes = [true; 64];
            for (gives, a, b) in ops {
                let (from, to) = (a.min(b), a.max(b));
                if gives { free.give(from, to) } else { free.take(from, to) }
                bytes[from as usize..to as usize].fill(gives);
                let longest = bytes.split(|is_free| !is_free).map(<[bool]>::len).max().unwrap_or(0);
                prop_assert_eq!(free.largest(), longest as u64);
                prop_assert_eq!(free.bytes, bytes.iter().filter(|is_free| **is_free).count() as u64);
            }
        }
    }
}
