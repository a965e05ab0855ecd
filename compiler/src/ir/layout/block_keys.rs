//! The keys of dense blocks.

use std::collections::BTreeSet;

use vitcod_isa::operands::{block_keys_from_bytes, block_keys_to_bytes};

use super::LayoutError;

/// The keys of every head's dense block: its global tokens, in the order of the block's columns.
/// The bytes are those of the machine's [`block_keys`](block_keys_to_bytes): per head the number of
/// columns, then the keys of all columns, head after head; all uint16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockKeys {
    heads: Vec<Vec<u16>>,
}

impl BlockKeys {
    /// The blocks with these keys per head, no key twice.
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

    /// The number of columns that `bytes` bytes hold for `heads` heads; `None` if no layout has
    /// this length.
    pub(crate) fn columns_in(heads: usize, bytes: usize) -> Option<usize> {
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

    /// Encodes the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        block_keys_to_bytes(&self.heads).expect("the number of a head's keys is 16 bits wide")
    }

    /// Decodes the layout for `heads` heads of `keys` keys.
    ///
    /// # Errors
    /// The length does not match the columns, or a head names a key that does not exist or names a
    /// key twice.
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
