//! Padded maps: feature maps in the scratchpad with zeros around their pixels, so that windows may
//! reach over the edges.
//!
//! The pixels of a map are rows of a matrix, row-major in the map. In a padded map, `gap` zero
//! pixels precede each row of the map (they also follow the row before it) and follow the last one;
//! `top` and `bottom` rows of zeros are above and below. A padded map may hold only a region of a
//! map: the pixels that a stripe of windows covers.

use std::ops::Range;

use crate::ir::OpKind;

/// The windows of a convolution over a map: the attributes of `patches`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConvWindows {
    /// Height and width of the map.
    pub(crate) map: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Zeros at top, left, bottom and right.
    pub(crate) pad: [usize; 4],
}

impl ConvWindows {
    /// The windows of a `patches` operation.
    pub(crate) fn of(kind: &OpKind) -> Option<ConvWindows> {
        match *kind {
            OpKind::Patches { map, kernel, stride, pad } => {
                Some(ConvWindows { map, kernel, stride, pad })
            }
            _ => None,
        }
    }

    /// Numbers of rows and columns of windows.
    pub(crate) fn positions(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.map[axis] + self.pad[axis] + self.pad[axis + 2] - self.kernel[axis])
                / self.stride[axis]
                + 1
        })
    }

    /// Along an axis, what some windows cover: its start, and its numbers of zeros, pixels and
    /// zeros.
    fn reach(&self, axis: usize, windows: &Range<usize>) -> (isize, [usize; 3]) {
        // Counted from the first zero of the padding.
        let from = windows.start * self.stride[axis];
        let to = (windows.end - 1) * self.stride[axis] + self.kernel[axis];
        let (start, end) = (self.pad[axis], self.pad[axis] + self.map[axis]);
        let within = |first: usize, last: usize| to.clamp(first, last) - from.clamp(first, last);
        (
            from as isize - start as isize,
            [within(0, start), within(start, end), within(end, usize::MAX)],
        )
    }

    /// The region of the map that the windows of some rows and columns cover.
    pub(crate) fn region(&self, rows: &Range<usize>, columns: &Range<usize>) -> MapRegion {
        let (row, [top, height, bottom]) = self.reach(0, rows);
        let (column, [left, width, right]) = self.reach(1, columns);
        let gap = left.max(right);
        MapRegion {
            row,
            column: column + left as isize - gap as isize,
            padded: PaddedMap { height, width, gap, top, bottom },
        }
    }

    /// Pixels from the start of a region to the window at a row and a column, which the region must
    /// contain.
    pub(crate) fn at(&self, region: &MapRegion, row: usize, column: usize) -> usize {
        let [down, across] = [(0, row), (1, column)]
            .map(|(axis, window)| (window * self.stride[axis]) as isize - self.pad[axis] as isize);
        ((down - region.row) * region.padded.pitch() as isize + across - region.column) as usize
    }

    /// The padded map of all pixels.
    pub(crate) fn padded_map(&self) -> PaddedMap {
        let ([height, width], [top, left, bottom, right]) = (self.map, self.pad);
        PaddedMap { height, width, gap: left.max(right), top, bottom }
    }
}

/// A region of a map as a padded map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapRegion {
    /// Row and column of the map at which the region starts, zeros included.
    pub(crate) row: isize,
    pub(crate) column: isize,
    pub(crate) padded: PaddedMap,
}

/// The pixels of a map and the zeros around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaddedMap {
    /// Rows and columns of pixels.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Zeros between rows.
    pub(crate) gap: usize,
    /// Rows of zeros above and below.
    pub(crate) top: usize,
    pub(crate) bottom: usize,
}

/// Runs of zeros, in pixels from the start of the padded map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Zeros {
    pub(crate) start: usize,
    pub(crate) pixels: usize,
    pub(crate) runs: usize,
    pub(crate) stride: usize,
}

impl PaddedMap {
    /// Pixels between rows of the map.
    pub(crate) fn pitch(&self) -> usize {
        self.width + self.gap
    }

    /// Number of pixels, zeros included.
    pub(crate) fn pixels(&self) -> usize {
        (self.top + self.height + self.bottom) * self.pitch() + self.gap
    }

    /// The position of pixel `index` of the map, row-major.
    pub(crate) fn pixel(&self, index: usize) -> usize {
        (self.top + index / self.width) * self.pitch() + self.gap + index % self.width
    }

    /// Whether there are no zeros.
    pub(crate) fn is_plain(&self) -> bool {
        self.gap + self.top + self.bottom == 0
    }

    /// The region that is the complete map.
    pub(crate) fn complete(self) -> MapRegion {
        MapRegion { row: -(self.top as isize), column: -(self.gap as isize), padded: self }
    }

    /// A padded map of the same map with enough zeros for both.
    pub(crate) fn union(self, other: PaddedMap) -> PaddedMap {
        let (gap, top, bottom) =
            (self.gap.max(other.gap), self.top.max(other.top), self.bottom.max(other.bottom));
        PaddedMap { gap, top, bottom, ..self }
    }

    /// The runs of all zeros.
    pub(crate) fn zeros(&self) -> impl Iterator<Item = Zeros> {
        let (pitch, below) = (self.pitch(), self.top + self.height);
        // Without pixels everything is zeros.
        let head = if self.height == 0 { self.pixels() } else { self.top * pitch + self.gap };
        let head = Zeros { start: 0, pixels: head, runs: 1, stride: 0 };
        let between = Zeros {
            start: (self.top + 1) * pitch,
            pixels: self.gap,
            runs: self.height.saturating_sub(1),
            stride: pitch,
        };
        let tail = if self.height == 0 { 0 } else { self.bottom * pitch + self.gap };
        let tail = Zeros { start: below * pitch, pixels: tail, runs: 1, stride: 0 };
        [head, between, tail].into_iter().filter(|zeros| zeros.pixels > 0 && zeros.runs > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every window finds its pixels and zeros in the region that is loaded for it, and in the
        /// padded map of all pixels.
        #[test]
        fn windows_find_their_pixels(
            map in [1usize..7, 1usize..7], kernel in [1usize..5, 1usize..5], stride in [1usize..4, 1usize..4],
            pad in [0usize..3, 0usize..3, 0usize..3, 0usize..3], cut: [u8; 4],
        ) {
            let windows = ConvWindows { map, kernel, stride, pad };
            prop_assume!((0..2).all(|axis| map[axis] + pad[axis] + pad[axis + 2] >= kernel[axis]));
            let positions = windows.positions();
            let range = |axis: usize| {
                let first = usize::from(cut[axis]) % positions[axis];
                first..first + 1 + usize::from(cut[axis + 2]) % (positions[axis] - first)
            };
            let (rows, columns) = (range(0), range(1));
            let larger = PaddedMap { gap: 3, top: 3, bottom: 3, ..windows.padded_map() };
            for region in [windows.region(&rows, &columns), windows.padded_map().complete(), windows.padded_map().union(larger).complete()] {
                // The contents at each position: the number of a pixel, or zero.
                let padded = region.padded;
                let mut held = vec![None; padded.pixels()];
                for y in 0..padded.height {
                    for x in 0..padded.width {
                        let row = y + (region.row + padded.top as isize) as usize;
                        let column = x + (region.column + padded.gap as isize) as usize;
                        held[padded.pixel(y * padded.width + x)] = Some(Some(row * map[1] + column));
                    }
                }
                for zeros in padded.zeros() {
                    for run in 0..zeros.runs {
                        for pixel in &mut held[zeros.start + run * zeros.stride..][..zeros.pixels] {
                            prop_assert_eq!(*pixel, None);
                            *pixel = Some(None);
                        }
                    }
                }
                prop_assert!(padded.height == 0 || held.iter().all(Option::is_some));
                for (row, column) in rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column))) {
                    for (y, x) in (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x))) {
                        let [y_map, x_map] = [
                            (row * stride[0] + y).wrapping_sub(pad[0]),
                            (column * stride[1] + x).wrapping_sub(pad[1]),
                        ];
                        let pixel = (y_map < map[0] && x_map < map[1]).then(|| y_map * map[1] + x_map);
                        prop_assert_eq!(held[windows.at(&region, row, column) + y * padded.pitch() + x], Some(pixel));
                    }
                }
            }
        }
    }
}
