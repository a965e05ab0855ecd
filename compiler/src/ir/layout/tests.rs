//! Layouts against bytes written by hand.

use bytes::Bytes;

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
    assert_eq!(BlockKeys::from_bytes(1, 5, &twice), Err(LayoutError::Twice { head: 0, key: 3 }));
}

#[test]
fn block_masks_by_hand() {
    let keys = BlockKeys::new(vec![vec![4, 1], vec![], (0..9).collect()]);
    let masks = [2, 0, 9]
        .map(|columns| Mask::from_fn(2, columns, |query, column| query == 1 || column == 1));
    let mask = BlockMask::new(masks.to_vec());
    let bytes = [2, 3, 2, 0, 0xff, 1];
    let read = |queries: usize, bytes: &[u8]| {
        BlockMask::from_bytes(queries, &keys, &Bytes::copy_from_slice(bytes))
    };
    assert_eq!(mask.to_bytes(), bytes);
    assert_eq!(read(2, &bytes), Ok(mask));
    assert_eq!(read(2, &[4, 3, 2, 0, 0xff, 1]), Err(LayoutError::MaskBits { head: 0 }));
    for queries in [3, usize::MAX] {
        assert!(matches!(read(queries, &bytes), Err(LayoutError::Length { .. })));
    }
    assert_eq!(
        read(2, &[2, 3, 2, 0, 0xff, 1, 0]),
        Err(LayoutError::Length { what: "a block mask", found: 7 })
    );
}

#[test]
fn sparse_patterns_by_hand() {
    // Two heads of two keys and three queries: head 0 has (0, 1), head 1 has (0, 0), (2, 0),
    // (1, 1).
    let columns = [[vec![], vec![0]], [vec![0, 2], vec![1u16]]];
    let pattern = Csc::new(2, 2, |head, key| columns[head][key].clone()).unwrap();
    let starts = [0u32, 0, 1, 3, 4].map(u32::to_le_bytes).concat();
    let bytes = [starts, [0u16, 0, 2, 1].map(u16::to_le_bytes).concat()].concat();
    assert_eq!(pattern.to_bytes(), bytes);
    assert!(pattern.entries().eq([(0, 1, 0), (1, 0, 0), (1, 0, 2), (1, 1, 1)]));
    assert_eq!(Csc::from_bytes(2, 3, 2, &bytes), Ok(pattern));
    assert_eq!(Csc::keys_in(2, 4, bytes.len()), Some(2));

    assert_eq!(
        Csc::from_bytes(2, 2, 2, &bytes),
        Err(LayoutError::Queries { head: 1, key: 0, queries: 2 })
    );
    for (heads, keys) in [(2, 5), (usize::MAX, 2), (0, 3)] {
        assert!(Csc::from_bytes(heads, 3, keys, &bytes).is_err());
    }
    let rejected = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Csc::from_bytes(2, 3, 2, &bytes).unwrap_err()
    };
    assert_eq!(rejected(0, 1), LayoutError::Start { start: 1, previous: 0, nonzeros: 4 });
    assert_eq!(rejected(8, 4), LayoutError::Start { start: 3, previous: 4, nonzeros: 4 });
    assert_eq!(rejected(12, 200), LayoutError::Start { start: 200, previous: 1, nonzeros: 4 });
    assert_eq!(rejected(16, 3), LayoutError::Start { start: 3, previous: 3, nonzeros: 4 });
    assert_eq!(rejected(24, 0), LayoutError::Queries { head: 1, key: 0, queries: 3 });
}
