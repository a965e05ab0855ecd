//! The kept cells of dense blocks.

use bytes::Bytes;

use super::{BlockKeys, LayoutError, Mask};

/// The kept cells of every head's dense block, the rows of [`Mask`] head after head.
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

    /// Encodes the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.heads.iter().flat_map(|head| head.bytes().iter().copied()).collect()
    }

    /// Decodes the layout for `queries` queries and the columns of `keys`.
    ///
    /// # Errors
    /// The length does not match the cells, or bits after a head's last column are set.
    pub fn from_bytes(
        queries: usize,
        keys: &BlockKeys,
        bytes: &Bytes,
    ) -> Result<BlockMask, LayoutError> {
        let length = || LayoutError::Length { what: "a block mask", found: bytes.len() };
        let mut start = 0;
        let mut heads = Vec::with_capacity(keys.heads());
        for (head, block) in keys.iter().enumerate() {
            let size = queries.checked_mul(Mask::row_bytes(block.len())).ok_or_else(length)?;
            let end = size.checked_add(start).filter(|end| *end <= bytes.len());
            let end = end.ok_or_else(length)?;
            heads.push(
                Mask::from_bytes(queries, block.len(), bytes.slice(start..end))
                    .ok_or(LayoutError::MaskBits { head })?,
            );
            start = end;
        }
        if start == bytes.len() { Ok(BlockMask { heads }) } else { Err(length()) }
    }
}
