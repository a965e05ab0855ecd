//! Byte layouts of the constants of split attention: which keys make a head's block, which cells of
//! it are kept, and which entries are left for the sparser engine. Integers are little-endian.

use std::collections::BTreeSet;

use vitcod_isa::operands::{block_keys_from_bytes, block_keys_to_bytes};

use crate::masks::Mask;

/// Why bytes are not a constant of split attention.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More or fewer bytes than the layout takes.
    #[error("{found} bytes of {what} do not fit")]
    Length {
        /// What they hold.
        what: &'static str,
        /// Their number.
        found: usize,
    },
    /// A column of a key that there is not.
    #[error("head {head}: a column of key {key}; there are {keys}")]
    Key {
        /// The head.
        head: usize,
        /// The key.
        key: u16,
        /// Number of keys.
        keys: usize,
    },
    /// Two columns of the same key.
    #[error("head {head}: key {key} has two columns")]
    Twice {
        /// The head.
        head: usize,
        /// The key.
        key: u16,
    },
    /// Bits that stand for no cell.
    #[error("head {head}: the mask of the block has bits past the last column")]
    MaskBits {
        /// The head.
        head: usize,
    },
    /// Column starts that fall or leave the pattern.
    #[error(
        "column starts of the sparse pattern: {start} follows {previous}, and there are {nonzeros} entries"
    )]
    Start {
        /// The start.
        start: u32,
        /// The one before it.
        previous: u32,
        /// Number of entries.
        nonzeros: usize,
    },
    /// Queries of a column that do not rise or that there are not.
    #[error(
        "head {head}, key {key}: the column's queries do not rise, or not all are below {queries}"
    )]
    Queries {
        /// The head.
        head: usize,
        /// The key.
        key: usize,
        /// Number of queries.
        queries: usize,
    },
}

/// The keys of every head's dense block: global tokens, in the order of the block's columns. The
/// layout is that of the machine's [`block_keys`](block_keys_to_bytes): per head the number of its
/// columns, then the keys of all columns, head after head; all uint16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockKeys {
    heads: Vec<Vec<u16>>,
}

impl BlockKeys {
    /// The columns of these heads, no key twice.
    ///
    /// # Panics
    /// A head has more than 65,535 columns.
    pub fn new(heads: Vec<Vec<u16>>) -> BlockKeys {
        assert!(
            heads.iter().all(|keys| keys.len() <= usize::from(u16::MAX)),
            "the number of columns is 16 bits wide"
        );
        BlockKeys { heads }
    }

    /// The columns of all heads in `bytes` bytes; `None` where these are not of so many heads.
    pub fn columns_in(heads: usize, bytes: usize) -> Option<usize> {
        if !bytes.is_multiple_of(2) { None } else { (bytes / 2).checked_sub(heads) }
    }

    /// Number of heads.
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// The keys of a head's columns.
    ///
    /// # Panics
    /// There is no such head.
    pub fn head(&self, head: usize) -> &[u16] {
        &self.heads[head]
    }

    /// The keys of every head's columns.
    pub fn iter(&self) -> impl Iterator<Item = &[u16]> {
        self.heads.iter().map(Vec::as_slice)
    }

    /// Columns of all heads.
    pub fn columns(&self) -> usize {
        self.heads.iter().map(Vec::len).sum()
    }

    /// The layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        block_keys_to_bytes(&self.heads).expect("the number of a head's keys is 16 bits wide")
    }

    /// Reads the layout, for `heads` heads of `keys` keys.
    ///
    /// # Errors
    /// The bytes are not as many as the columns need, or a head has a column of a key that there is
    /// not, or two of one key.
    pub fn from_bytes(heads: usize, keys: usize, bytes: &[u8]) -> Result<BlockKeys, LayoutError> {
        let length = || LayoutError::Length { what: "block keys", found: bytes.len() };
        BlockKeys::columns_in(heads, bytes.len()).ok_or_else(length)?;
        let blocks = block_keys_from_bytes(bytes, heads).map_err(|_| length())?;
        for (head, block) in blocks.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for key in block {
                if usize::from(*key) >= keys {
                    return Err(LayoutError::Key { head, key: *key, keys });
                }
                if !seen.insert(*key) {
                    return Err(LayoutError::Twice { head, key: *key });
                }
            }
        }
        Ok(BlockKeys { heads: blocks })
    }
}

/// The kept cells of every head's dense block, head after head as [`Mask::to_kept_bytes`] writes
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMask {
    heads: Vec<Mask>,
}

impl BlockMask {
    /// The masks of the heads' blocks, queries by columns.
    pub fn new(heads: Vec<Mask>) -> BlockMask {
        BlockMask { heads }
    }

    /// Kept cells of all heads.
    pub fn kept(&self) -> usize {
        self.heads.iter().map(Mask::kept).sum()
    }

    /// The mask of a head's block.
    ///
    /// # Panics
    /// There is no such head.
    pub fn head(&self, head: usize) -> &Mask {
        &self.heads[head]
    }

    /// The layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.heads.iter().flat_map(Mask::to_kept_bytes).collect()
    }

    /// Reads the layout, for `queries` queries and the columns of `keys`.
    ///
    /// # Errors
    /// The bytes are not as many as the cells need, or bits past a head's last column are set.
    pub fn from_bytes(
        queries: usize,
        keys: &BlockKeys,
        bytes: &[u8],
    ) -> Result<BlockMask, LayoutError> {
        let length = || LayoutError::Length { what: "a block mask", found: bytes.len() };
        let mut rest = bytes;
        let mut heads = Vec::with_capacity(keys.heads());
        for (head, block) in keys.iter().enumerate() {
            let size = queries.checked_mul(Mask::kept_row_bytes(block.len())).ok_or_else(length)?;
            let (bits, after) = rest.split_at_checked(size).ok_or_else(length)?;
            heads.push(
                Mask::from_kept_bytes(queries, block.len(), bits)
                    .ok_or(LayoutError::MaskBits { head })?,
            );
            rest = after;
        }
        if rest.is_empty() { Ok(BlockMask { heads }) } else { Err(length()) }
    }
}

/// The entries of all heads outside their blocks, column by column (compressed sparse columns):
/// uint32 starts of the columns - column `head * keys + key` - and the number of entries, then the
/// query of each entry as uint16, rising within each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CscPattern {
    keys: usize,
    /// Starts of the columns and the end.
    starts: Vec<u32>,
    queries: Vec<u16>,
}

impl CscPattern {
    /// The pattern of `heads` heads of `keys` keys with the entries that `column(head, key)` gives:
    /// queries, rising. `None` where there are more than 32 bits number.
    pub fn new<C: IntoIterator<Item = u16>>(
        heads: usize,
        keys: usize,
        mut column: impl FnMut(usize, usize) -> C,
    ) -> Option<CscPattern> {
        let mut pattern = CscPattern { keys, starts: vec![0], queries: Vec::new() };
        for head in 0..heads {
            for key in 0..keys {
                pattern.queries.extend(column(head, key));
                pattern.starts.push(u32::try_from(pattern.queries.len()).ok()?);
            }
        }
        Some(pattern)
    }

    /// The entries in `bytes` bytes, for `heads` heads of `keys` keys; `None` where these are not
    /// the bytes of such a pattern.
    pub fn nonzeros_in(heads: usize, keys: usize, bytes: usize) -> Option<usize> {
        let starts = heads.checked_mul(keys)?.checked_add(1)?.checked_mul(4)?;
        let queries = bytes.checked_sub(starts)?;
        queries.is_multiple_of(2).then_some(queries / 2)
    }

    /// The keys of a head in `bytes` bytes, for `heads` heads and `nonzeros` entries; `None` where
    /// these are not the bytes of such a pattern.
    pub fn keys_in(heads: usize, nonzeros: usize, bytes: usize) -> Option<usize> {
        let starts = bytes.checked_sub(nonzeros.checked_mul(2)?)?;
        let columns = (starts / 4).checked_sub(1)?;
        (starts.is_multiple_of(4) && heads > 0 && columns.is_multiple_of(heads))
            .then(|| columns / heads)
    }

    /// Number of entries.
    pub fn nonzeros(&self) -> usize {
        self.queries.len()
    }

    /// Keys of a head.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The entries in order, as head, key and query.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.starts.windows(2).enumerate().flat_map(move |(column, ends)| {
            let queries = &self.queries[ends[0] as usize..ends[1] as usize];
            queries
                .iter()
                .map(move |query| (column / self.keys, column % self.keys, usize::from(*query)))
        })
    }

    /// The layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let starts = self.starts.iter().flat_map(|start| start.to_le_bytes());
        starts.chain(self.queries.iter().flat_map(|query| query.to_le_bytes())).collect()
    }

    /// Reads the layout, for `heads` heads of `queries` queries and `keys` keys.
    ///
    /// # Errors
    /// The bytes are not as many as starts and entries need, the starts do not rise from 0 to the
    /// number of entries, or the queries of a column do not rise below `queries`.
    pub fn from_bytes(
        heads: usize,
        queries: usize,
        keys: usize,
        bytes: &[u8],
    ) -> Result<CscPattern, LayoutError> {
        let length = || LayoutError::Length { what: "a sparse pattern", found: bytes.len() };
        let nonzeros = CscPattern::nonzeros_in(heads, keys, bytes.len()).ok_or_else(length)?;
        let (starts, rows) = bytes.split_at(bytes.len() - 2 * nonzeros);
        let starts: Vec<u32> =
            starts.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let rows: Vec<u16> =
            rows.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect();
        let mut previous = 0;
        for (column, start) in starts.iter().copied().enumerate() {
            let ends = column == 0 && start != 0
                || column + 1 == starts.len() && start as usize != nonzeros;
            if ends || start < previous || start as usize > nonzeros {
                return Err(LayoutError::Start { start, previous, nonzeros });
            }
            previous = start;
        }
        for (column, ends) in starts.windows(2).enumerate() {
            let rows = &rows[ends[0] as usize..ends[1] as usize];
            if !rows.is_sorted_by(|a, b| a < b)
                || rows.last().is_some_and(|last| usize::from(*last) >= queries)
            {
                return Err(LayoutError::Queries {
                    head: column / keys,
                    key: column % keys,
                    queries,
                });
            }
        }
        Ok(CscPattern { keys, starts, queries: rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_keys_by_hand() {
        let keys = BlockKeys::new(vec![vec![4, 1], vec![], vec![0]]);
        let bytes = [2u16, 0, 1, 4, 1, 0].map(u16::to_le_bytes).concat();
        assert_eq!(keys.to_bytes(), bytes);
        assert_eq!(BlockKeys::from_bytes(3, 5, &bytes), Ok(keys));
        assert_eq!(
            BlockKeys::from_bytes(3, 4, &bytes),
            Err(LayoutError::Key { head: 0, key: 4, keys: 4 })
        );
        for (heads, end) in [(2, 12), (3, 11), (3, 10), (7, 12), (usize::MAX, 12)] {
            assert!(matches!(
                BlockKeys::from_bytes(heads, 5, &bytes[..end]),
                Err(LayoutError::Length { .. })
            ));
        }
        let twice = [2u16, 3, 3].map(u16::to_le_bytes).concat();
        assert_eq!(
            BlockKeys::from_bytes(1, 5, &twice),
            Err(LayoutError::Twice { head: 0, key: 3 })
        );
    }

    #[test]
    fn block_masks_by_hand() {
        let keys = BlockKeys::new(vec![vec![4, 1], vec![], (0..9).collect()]);
        let masks = [2, 0, 9]
            .map(|columns| Mask::from_fn(2, columns, |query, column| query == 1 || column == 1));
        let mask = BlockMask::new(masks.to_vec());
        let bytes = [2, 3, 2, 0, 0xff, 1];
        assert_eq!(mask.to_bytes(), bytes);
        assert_eq!(BlockMask::from_bytes(2, &keys, &bytes), Ok(mask));
        assert_eq!(
            BlockMask::from_bytes(2, &keys, &[4, 3, 2, 0, 0xff, 1]),
            Err(LayoutError::MaskBits { head: 0 })
        );
        for queries in [3, usize::MAX] {
            assert!(matches!(
                BlockMask::from_bytes(queries, &keys, &bytes),
                Err(LayoutError::Length { .. })
            ));
        }
        assert_eq!(
            BlockMask::from_bytes(2, &keys, &[2, 3, 2, 0, 0xff, 1, 0]),
            Err(LayoutError::Length { what: "a block mask", found: 7 })
        );
    }

    #[test]
    fn sparse_patterns_by_hand() {
        // Two heads of two keys and three queries: head 0 has (0, 1), head 1 has (0, 0), (2, 0),
        // (1, 1).
        let columns = [[vec![], vec![0]], [vec![0, 2], vec![1u16]]];
        let pattern = CscPattern::new(2, 2, |head, key| columns[head][key].clone()).unwrap();
        let starts = [0u32, 0, 1, 3, 4].map(u32::to_le_bytes).concat();
        let bytes = [starts, [0u16, 0, 2, 1].map(u16::to_le_bytes).concat()].concat();
        assert_eq!(pattern.to_bytes(), bytes);
        assert!(pattern.entries().eq([(0, 1, 0), (1, 0, 0), (1, 0, 2), (1, 1, 1)]));
        assert_eq!(CscPattern::from_bytes(2, 3, 2, &bytes), Ok(pattern));
        assert_eq!(CscPattern::keys_in(2, 4, bytes.len()), Some(2));

        assert_eq!(
            CscPattern::from_bytes(2, 2, 2, &bytes),
            Err(LayoutError::Queries { head: 1, key: 0, queries: 2 })
        );
        for (heads, keys) in [(2, 5), (usize::MAX, 2), (0, 3)] {
            assert!(CscPattern::from_bytes(heads, 3, keys, &bytes).is_err());
        }
        let rejected = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            CscPattern::from_bytes(2, 3, 2, &bytes).unwrap_err()
        };
        assert_eq!(rejected(0, 1), LayoutError::Start { start: 1, previous: 0, nonzeros: 4 });
        assert_eq!(rejected(8, 4), LayoutError::Start { start: 3, previous: 4, nonzeros: 4 });
        assert_eq!(rejected(12, 200), LayoutError::Start { start: 200, previous: 1, nonzeros: 4 });
        assert_eq!(rejected(16, 3), LayoutError::Start { start: 3, previous: 3, nonzeros: 4 });
        assert_eq!(rejected(24, 0), LayoutError::Queries { head: 1, key: 0, queries: 3 });
    }
}
