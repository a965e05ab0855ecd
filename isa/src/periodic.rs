//! Sums of many terms that repeat.

/// The sum of `of(i * stride)` over `i < count`, where `of` has period `period` (a power of two).
pub(crate) fn periodic<T: Summand>(
    count: u64,
    stride: u64,
    period: u64,
    of: impl Fn(u64) -> T,
) -> T {
    let stride = stride % period;
    let distinct = if stride == 0 { 1 } else { period >> stride.trailing_zeros() };
    let sum = |terms: u64| (0..terms).fold(T::default(), |sum, i| sum.plus(of(i * stride)));
    if count <= distinct {
        sum(count)
    } else {
        sum(distinct).times(count / distinct).plus(sum(count % distinct))
    }
}

/// What [`periodic`] adds up.
pub(crate) trait Summand: Copy + Default {
    fn plus(self, other: Self) -> Self;
    fn times(self, count: u64) -> Self;
}

impl Summand for u64 {
    fn plus(self, other: u64) -> u64 {
        self + other
    }

    fn times(self, count: u64) -> u64 {
        self * count
    }
}
