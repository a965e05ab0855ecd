//! The keys of dense blocks, head by head: constants of the IR, from which the `index` of `sddmm`
//! and the order of the columns of probabilities follow. All integers are little-endian.

/// Bytes of the keys of blocks with `columns` columns in total.
pub const fn block_keys_bytes(heads: u64, columns: u64) -> u64 {
    2 * (heads + columns)
}

/// Encodes the keys of blocks, head by head; `None` if a head has more than
/// 65,535.
pub fn block_keys_to_bytes<K: AsRef<[u16]>>(heads: &[K]) -> Option<Vec<u8>> {
    let keys = || heads.iter().map(AsRef::as_ref);
    let columns: Option<Vec<u16>> = keys().map(|keys| u16::try_from(keys.len()).ok()).collect();
    Some(columns?.into_iter().chain(keys().flatten().copied()).flat_map(u16::to_le_bytes).collect())
}

/// Decodes the keys of the blocks of `heads` heads: the keys of each head's columns.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts() {
        let block = block_keys_to_bytes(&[vec![7, 8], vec![], vec![9]]).unwrap();
        assert_eq!(block, [2, 0, 0, 0, 1, 0, 7, 0, 8, 0, 9, 0]);
        assert_eq!(block.len() as u64, block_keys_bytes(3, 3));
        assert_eq!(block_keys_from_bytes(&block[..10], 3), Err(3));
        assert_eq!(block_keys_from_bytes(&[], 3), Ok(vec![]));
        assert_eq!(block_keys_to_bytes(&[vec![0; 1 << 16]]), None);
    }

    proptest! {
        #[test]
        fn blocks_survive_their_bytes(
            block in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..5), 0..5),
        ) {
            let bytes = block_keys_to_bytes(&block).unwrap();
            prop_assert_eq!(block_keys_from_bytes(&bytes, block.len()), Ok(block));
        }
    }
}
