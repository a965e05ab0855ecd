//! Lists of sparse patterns: operands of `sddmm_list`, `softmax_list` and `spmm_list`. All integers
//! are little-endian.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A query in the `rows` of a list: 4 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListRow {
    /// The query's number, `h * m + i` for query `i` of head `h`.
    pub query: u16,
    /// Number of its entries, which follow in the list.
    pub entries: u16,
}

/// The most queries of a list.
pub const MAX_LIST_QUERIES: u32 = 1 << u16::BITS;

/// Bytes of a [`ListRow`].
pub const LIST_ROW_BYTES: u64 = 4;

impl ListRow {
    /// Encodes query, then entries.
    pub const fn to_bytes(self) -> [u8; LIST_ROW_BYTES as usize] {
        let ([a, b], [c, d]) = (self.query.to_le_bytes(), self.entries.to_le_bytes());
        [a, b, c, d]
    }

    /// Decodes a row.
    pub const fn from_bytes([a, b, c, d]: [u8; LIST_ROW_BYTES as usize]) -> ListRow {
        ListRow { query: u16::from_le_bytes([a, b]), entries: u16::from_le_bytes([c, d]) }
    }
}

/// Bytes of a key of a list.
pub const fn list_key_bytes(wide: bool) -> u64 {
    if wide { 2 } else { 1 }
}

/// Encodes the `keys` of a list; `None` if a key does not fit.
pub fn list_keys_to_bytes(keys: &[u16], wide: bool) -> Option<Vec<u8>> {
    if wide {
        Some(keys.iter().flat_map(|key| key.to_le_bytes()).collect())
    } else {
        keys.iter().map(|key| u8::try_from(*key).ok()).collect()
    }
}

/// Decodes the `keys` of a list.
pub fn list_keys_from_bytes(bytes: &[u8], wide: bool) -> Vec<u16> {
    if wide { uint16s(bytes).collect() } else { bytes.iter().map(|key| u16::from(*key)).collect() }
}

/// Bytes of the `block_keys` of blocks with `columns` columns in total.
pub const fn block_keys_bytes(heads: u64, columns: u64) -> u64 {
    2 * (heads + columns)
}

/// Encodes the `block_keys` of blocks with these keys, head by head; `None` if a head has more than
/// 65,535.
pub fn block_keys_to_bytes<K: AsRef<[u16]>>(heads: &[K]) -> Option<Vec<u8>> {
    let keys = || heads.iter().map(AsRef::as_ref);
    let columns: Option<Vec<u16>> = keys().map(|keys| u16::try_from(keys.len()).ok()).collect();
    Some(columns?.into_iter().chain(keys().flatten().copied()).flat_map(u16::to_le_bytes).collect())
}

/// Decodes the `block_keys` of `heads` heads: the keys of each head's columns.
///
/// # Errors
/// The total number of columns of the heads, if it does not match the number of keys in the bytes.
pub fn block_keys_from_bytes(bytes: &[u8], heads: usize) -> Result<Vec<Vec<u16>>, u64> {
    let mut keys = uint16s(bytes);
    let columns: Vec<u16> = keys.by_ref().take(heads).collect();
    let all = columns.iter().map(|columns| u64::from(*columns)).sum();
    if keys.len() as u64 != all {
        return Err(all);
    }
    Ok(columns.into_iter().map(|columns| keys.by_ref().take(columns.into()).collect()).collect())
}

fn uint16s(bytes: &[u8]) -> impl ExactSizeIterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes))
}

/// How the lines of `spmm_list` are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineGroups {
    /// Number of groups; each processes a query at a time. At least 1.
    pub groups: u32,
    /// Lines per group.
    pub lines_each: u32,
}

impl LineGroups {
    /// The grouping of `lines` lines of `macs` MACs for `d` features.
    pub fn new(d: u16, lines: u16, macs: u32) -> LineGroups {
        let lines = u32::from(lines).max(1);
        let lines_each = u32::from(d).div_ceil(macs.max(1)).clamp(1, lines);
        LineGroups { groups: lines / lines_each, lines_each }
    }

    /// Steps of the busiest group if each group takes the next query as soon as it is free;
    /// `entries` are the entries and columns of the queries in order. A query takes at least one
    /// step, in which its result is written.
    pub fn busiest(self, entries: impl IntoIterator<Item = u32>) -> u64 {
        let mut free: BinaryHeap<Reverse<u64>> = vec![Reverse(0); self.groups as usize].into();
        let mut last = 0;
        for entries in entries {
            if let Some(mut group) = free.peek_mut() {
                group.0 += u64::from(entries.max(1));
                last = last.max(group.0);
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts() {
        assert_eq!(ListRow { query: 0x0102, entries: 0x0304 }.to_bytes(), [2, 1, 4, 3]);
        assert_eq!(list_keys_to_bytes(&[1, 255], false), Some(vec![1, 255]));
        assert_eq!(list_keys_to_bytes(&[1, 256], true), Some(vec![1, 0, 0, 1]));
        assert_eq!(list_keys_to_bytes(&[1, 256], false), None);
        let block = block_keys_to_bytes(&[vec![7, 8], vec![], vec![9]]).unwrap();
        assert_eq!(block, [2, 0, 0, 0, 1, 0, 7, 0, 8, 0, 9, 0]);
        assert_eq!(block.len() as u64, block_keys_bytes(3, 3));
        assert_eq!(block_keys_from_bytes(&block[..10], 3), Err(3));
        assert_eq!(block_keys_from_bytes(&[], 3), Ok(vec![]));
        assert_eq!(block_keys_to_bytes(&[vec![0; 1 << 16]]), None);
    }

    #[test]
    fn groups_take_queries_as_they_come_free() {
        // 64 features are 8 parts of 8 MACs: 8 groups. Of 20 lines 4 are idle.
        assert_eq!(LineGroups::new(64, 64, 8), LineGroups { groups: 8, lines_each: 8 });
        assert_eq!(LineGroups::new(64, 20, 8), LineGroups { groups: 2, lines_each: 8 });
        assert_eq!(LineGroups::new(64, 4, 8), LineGroups { groups: 1, lines_each: 4 });
        let two = LineGroups { groups: 2, lines_each: 1 };
        // The first takes 5, the second 2, 1 and then 4.
        assert_eq!(two.busiest([5, 2, 1, 4]), 7);
        assert_eq!(two.busiest([0, 0, 0]), 2);
        assert_eq!(two.busiest([]), 0);
    }

    proptest! {
        #[test]
        fn lists_survive_their_bytes(
            query: u16, entries: u16, keys in prop::collection::vec(any::<u16>(), 0..20), wide: bool,
            block in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..5), 0..5),
        ) {
            let row = ListRow { query, entries };
            prop_assert_eq!(ListRow::from_bytes(row.to_bytes()), row);
            if let Some(bytes) = list_keys_to_bytes(&keys, wide) {
                prop_assert_eq!(bytes.len() as u64, keys.len() as u64 * list_key_bytes(wide));
                prop_assert_eq!(list_keys_from_bytes(&bytes, wide), keys);
            }
            let bytes = block_keys_to_bytes(&block).unwrap();
            prop_assert_eq!(block_keys_from_bytes(&bytes, block.len()), Ok(block));
        }
    }
}
