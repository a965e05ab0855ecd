//! Regions: sets of bytes as runs in nested loops.

/// `outer` x `inner` runs of `bytes` bytes: run `(i, j)` starts at
/// `base + i * outer_stride + j * inner_stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Address of the first run.
    pub base: u64,
    /// Bytes of a run.
    pub bytes: u64,
    /// Runs of the inner loop.
    pub inner: u64,
    /// Bytes between runs of the inner loop.
    pub inner_stride: u64,
    /// Runs of the outer loop.
    pub outer: u64,
    /// Bytes between runs of the outer loop.
    pub outer_stride: u64,
}

impl Region {
    /// `bytes` contiguous bytes.
    pub fn contiguous(base: u64, bytes: u64) -> Region {
        Region { base, bytes, inner: 1, inner_stride: 0, outer: 1, outer_stride: 0 }
    }

    /// `rows` rows of `bytes` bytes, `stride` bytes apart.
    pub fn rows(base: u64, rows: u64, bytes: u64, stride: u64) -> Region {
        Region { base, bytes, inner: rows, inner_stride: stride, outer: 1, outer_stride: 0 }
            .merged()
    }

    /// The same bytes with adjacent runs joined, as far as the loops allow.
    pub fn merged(mut self) -> Region {
        if self.inner == 1 || self.inner_stride == self.bytes {
            self.bytes *= self.inner;
            (self.inner, self.inner_stride) = (self.outer, self.outer_stride);
            (self.outer, self.outer_stride) = (1, 0);
            if self.inner == 1 || self.inner_stride == self.bytes {
                self.bytes *= self.inner;
                (self.inner, self.inner_stride) = (1, 0);
            }
        } else if self.outer == 1 {
            self.outer_stride = 0;
        }
        self
    }

    /// Total bytes of all runs; overlapping runs count separately.
    pub fn total(&self) -> u64 {
        self.bytes * self.inner * self.outer
    }

    /// The address after the last byte, saturating; `base` for an empty region.
    pub fn end(&self) -> u64 {
        if self.total() == 0 {
            return self.base;
        }
        let inner = (self.inner - 1).saturating_mul(self.inner_stride);
        let outer = (self.outer - 1).saturating_mul(self.outer_stride);
        self.base.saturating_add(self.bytes).saturating_add(inner).saturating_add(outer)
    }

    /// Whether all runs are disjoint. Loops that do not nest (the stride of one is inside the span
    /// of the other) count as overlapping.
    pub fn is_disjoint(&self) -> bool {
        let mut loops = [(self.inner, self.inner_stride), (self.outer, self.outer_stride)];
        loops.sort_by_key(|(_, stride)| *stride);
        let mut span = self.bytes;
        loops.into_iter().filter(|(count, _)| *count > 1).all(|(count, stride)| {
            let apart = stride >= span;
            span = span.saturating_add((count - 1).saturating_mul(stride));
            apart
        })
    }

    /// Whether two regions share a byte. Takes time proportional to the runs of the one that has
    /// fewer.
    pub fn overlaps(&self, other: &Region) -> bool {
        if self.total() == 0
            || other.total() == 0
            || self.end() <= other.base
            || other.end() <= self.base
        {
            return false;
        }
        let (few, many) = if self.inner * self.outer <= other.inner * other.outer {
            (self, other)
        } else {
            (other, self)
        };
        few.runs().any(|(at, bytes)| many.meets(at, at + bytes))
    }

    /// Whether the region has a byte in `from..to`.
    fn meets(&self, from: u64, to: u64) -> bool {
        (0..self.outer).map(|i| self.base + i * self.outer_stride).any(|base| {
            // The first run that ends after `from`.
            let run = match (from + 1).checked_sub(base + self.bytes) {
                None | Some(0) => 0,
                Some(gap) if self.inner_stride > 0 => gap.div_ceil(self.inner_stride),
                Some(_) => return false,
            };
            run < self.inner && base + run * self.inner_stride < to
        })
    }

    /// The runs, as `(first address, bytes)`.
    pub fn runs(self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.outer).flat_map(move |i| {
            (0..self.inner).map(move |j| {
                (self.base + i * self.outer_stride + j * self.inner_stride, self.bytes)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn region() -> impl Strategy<Value = Region> {
        (0u64..40, 0u64..5, 0u64..5, 0u64..12, 0u64..5, 0u64..12).prop_map(
            |(base, bytes, inner, inner_stride, outer, outer_stride)| Region {
                base,
                bytes,
                inner,
                inner_stride,
                outer,
                outer_stride,
            },
        )
    }

    /// Every byte, as often as it occurs.
    fn bytes(region: Region) -> Vec<u64> {
        region.runs().flat_map(|(at, bytes)| at..at + bytes).collect()
    }

    fn set(region: Region) -> BTreeSet<u64> {
        bytes(region).into_iter().collect()
    }

    #[test]
    fn loops_nest_in_either_order() {
        let nest = |inner_stride, outer_stride| Region {
            base: 0,
            bytes: 4,
            inner: 3,
            inner_stride,
            outer: 2,
            outer_stride,
        };
        assert!(nest(4, 12).is_disjoint());
        assert!(nest(8, 4).is_disjoint());
        assert!(!nest(4, 8).is_disjoint());
        assert!(!nest(0, 12).is_disjoint());
    }

    proptest! {
        #[test]
        fn merging_keeps_the_bytes(region in region()) {
            let merged = region.merged();
            prop_assert_eq!(set(merged), set(region));
            prop_assert_eq!(merged.total(), region.total());
        }

        #[test]
        fn the_end_follows_the_last_byte(region in region()) {
            let end = bytes(region).into_iter().max().map_or(region.base, |last| last + 1);
            prop_assert_eq!(region.end(), end);
        }

        #[test]
        fn overlap_is_a_shared_byte(a in region(), b in region()) {
            prop_assert_eq!(a.overlaps(&b), !set(a).is_disjoint(&set(b)));
        }

        #[test]
        fn disjoint_runs_share_no_byte(region in region()) {
            if region.is_disjoint() {
                prop_assert_eq!(set(region).len() as u64, region.total());
            }
        }
    }
}
