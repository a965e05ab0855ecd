//! The kept entries of a head, one bit each.

use std::ops::Range;

use crate::workload::{MAX_TOKENS, WorkloadError};

/// The kept entries of a head's scores: one row of bits for each query.
///
/// Rows are padded to bytes. Bit `key % 8` of byte `key / 8` states whether a row keeps `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEntries {
    queries: u32,
    keys: u32,
    bytes: Box<[u8]>,
}

impl KeptEntries {
    /// The entries with these bytes.
    ///
    /// # Errors
    /// There are no queries or keys or too many, the bytes are not those of `queries` rows, or bits
    /// after the last key are set.
    pub fn new(
        queries: u32,
        keys: u32,
        bytes: impl Into<Box<[u8]>>,
    ) -> Result<KeptEntries, WorkloadError> {
        for (what, found) in [("queries", queries), ("keys", keys)] {
            if !(1..=MAX_TOKENS).contains(&found) {
                return Err(WorkloadError::Extent { layer: 0, what, found, most: MAX_TOKENS });
            }
        }
        let bytes = bytes.into();
        let expected = u64::from(queries) * u64::from(keys.div_ceil(8));
        if bytes.len() as u64 != expected {
            return Err(WorkloadError::Bytes { queries, keys, expected, found: bytes.len() });
        }
        let entries = KeptEntries { queries, keys, bytes };
        let padding = if keys.is_multiple_of(8) { 0 } else { u8::MAX << (keys % 8) };
        let is_padded = |row: &u32| entries.row(*row).last().is_some_and(|b| b & padding != 0);
        match (0..queries).find(is_padded) {
            Some(row) => Err(WorkloadError::Padding { row }),
            None => Ok(entries),
        }
    }

    /// The entries for which `is_kept(query, key)` holds.
    ///
    /// # Errors
    /// There are no queries or keys, or too many.
    pub fn from_fn(
        queries: u32,
        keys: u32,
        mut is_kept: impl FnMut(u32, u32) -> bool,
    ) -> Result<KeptEntries, WorkloadError> {
        let width = keys.div_ceil(8) as usize;
        let rows = if queries.max(keys) <= MAX_TOKENS { queries as usize } else { 0 };
        let mut bytes = vec![0; rows * width];
        for (query, row) in (0..queries).zip(bytes.chunks_exact_mut(width.max(1))) {
            for key in 0..keys {
                row[(key / 8) as usize] |= u8::from(is_kept(query, key)) << (key % 8);
            }
        }
        KeptEntries::new(queries, keys, bytes)
    }

    /// Number of rows.
    pub fn queries(&self) -> u32 {
        self.queries
    }

    /// Number of columns.
    pub fn keys(&self) -> u32 {
        self.keys
    }

    /// Number of kept entries.
    pub fn count(&self) -> u64 {
        self.bytes.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }

    /// Number of kept entries of a row whose keys are in a range.
    pub fn count_in(&self, query: u32, keys: Range<u32>) -> u32 {
        let end = keys.end.min(self.keys);
        if keys.start >= end {
            return 0;
        }
        let (first, last) = ((keys.start / 8) as usize, ((end - 1) / 8) as usize);
        let count = |(index, byte): (usize, &u8)| {
            let below = if index == 0 { u8::MAX << (keys.start % 8) } else { u8::MAX };
            let above =
                if first + index == last { u8::MAX >> (7 - (end - 1) % 8) } else { u8::MAX };
            (byte & below & above).count_ones()
        };
        self.row(query)[first..=last].iter().enumerate().map(count).sum()
    }

    /// Number of kept entries of each key.
    pub fn counts_by_key(&self) -> Vec<u32> {
        let mut counts = vec![0; self.keys as usize];
        for query in 0..self.queries {
            for (eight, byte) in counts.chunks_mut(8).zip(self.row(query)) {
                for (bit, count) in eight.iter_mut().enumerate() {
                    *count += u32::from(byte >> bit & 1);
                }
            }
        }
        counts
    }

    fn row(&self, query: u32) -> &[u8] {
        let width = self.keys.div_ceil(8) as usize;
        &self.bytes[query as usize * width..][..width]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_are_no_rows_are_refused() {
        let refused = |queries, keys, bytes: &[u8]| {
            KeptEntries::new(queries, keys, bytes).unwrap_err().to_string()
        };
        assert_eq!(refused(2, 9, &[0; 3]), "2 rows of 9 bits take 4 bytes, not 3");
        assert_eq!(refused(2, 9, &[0, 1, 0, 2]), "row 1 has bits after its last key");
        assert!(refused(0, 9, &[]).contains("0 queries"));
        assert!(refused(1, 70_000, &[]).contains("70000 keys"));
        assert!(KeptEntries::from_fn(u32::MAX, u32::MAX, |_, _| true).is_err());
        assert!(KeptEntries::from_fn(1, 0, |_, _| true).is_err());
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_bits(
            queries in 1..6_u32,
            keys in 1..40_u32,
            seed: u64,
            start in 0..50_u32,
            length in 0..50_u32,
        ) {
            let is_kept = |query: u32, key: u32| {
                let mixed = seed.rotate_left(query * 11 + key * 7);
                mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1
            };
            let entries = KeptEntries::from_fn(queries, keys, is_kept).unwrap();
            let range = start..start + length;
            let mut by_key = vec![0; keys as usize];
            let mut total = 0;
            for query in 0..queries {
                let row: Vec<u32> = (0..keys).filter(|key| is_kept(query, *key)).collect();
                row.iter().for_each(|key| by_key[*key as usize] += 1);
                total += row.len() as u64;
                let inside = row.iter().filter(|key| range.contains(key)).count();
                prop_assert_eq!(entries.count_in(query, range.clone()) as usize, inside);
            }
            prop_assert_eq!(entries.count(), total);
            prop_assert_eq!(entries.counts_by_key(), by_key);
        }
    }
}
