//! Sizes of constants that share memory.

/// The number of bytes that slices cover; shared bytes count once. Thousands of tensors may share
/// the same bytes of a file.
pub(crate) fn count<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let range = |slice: &[u8]| {
        let range = slice.as_ptr_range();
        (range.start.addr(), range.end.addr())
    };
    let mut ranges: Vec<(usize, usize)> = slices.into_iter().map(range).collect();
    ranges.sort_unstable();
    let mut end = 0;
    let mut total = 0;
    for (start, stop) in ranges {
        total += stop.saturating_sub(start.max(end));
        end = end.max(stop);
    }
    total
}

#[cfg(test)]
mod tests {
    #[test]
    fn shared_bytes_count_once() {
        let file = [0u8; 100];
        assert_eq!(super::count([]), 0);
        assert_eq!(super::count([&file[..], &file, &file[20..30]]), 100);
        assert_eq!(
            super::count([&file[50..60], &file[..10], &file[5..20], &file[99..], &file[7..7]]),
            31
        );
        assert_eq!(super::count([&file[..], &[0; 7][..]]), 107);
    }
}
