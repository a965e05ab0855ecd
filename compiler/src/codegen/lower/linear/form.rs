//! The form of an activation operand: rows of a stored matrix, or windows of a map.

use std::ops::Range;

use crate::codegen::builder::tile::chunks;
use crate::codegen::residence::padded_map::ConvWindows;

/// The shape of an activation operand, and whether it is on chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    /// Columns of the stored matrix or map.
    pub(crate) columns: usize,
    /// The windows that are its rows.
    pub(crate) windows: Option<ConvWindows>,
    /// Whether it is resident.
    pub(crate) on_chip: bool,
}

impl Form {
    /// Whether the rows are windows of a map.
    pub(crate) fn is_map(&self) -> bool {
        self.windows.is_some()
    }

    /// The number of contiguous runs of a row, and their length.
    pub(crate) fn runs(&self) -> [usize; 2] {
        match self.windows {
            None => [1, self.columns],
            Some(windows) => [windows.kernel[0], windows.kernel[1] * self.columns],
        }
    }

    /// The most rows, of `m`, that one instruction reads: the windows of a row of the map, or all
    /// rows.
    pub(crate) fn rows_per_run(&self, m: usize) -> usize {
        self.windows.map_or(m, |windows| windows.positions()[1])
    }

    /// Bytes of a loaded tile of rows.
    pub(crate) fn loaded_bytes(&self, rows: usize) -> usize {
        let Some(windows) = self.windows else { return rows * self.columns };
        let across = windows.positions()[1];
        let extent =
            |axis: usize, count: usize| (count - 1) * windows.stride[axis] + windows.kernel[axis];
        let gap = windows.pad[1].max(windows.pad[3]);
        let pixels = extent(0, rows.div_ceil(across)) * (extent(1, rows.min(across)) + gap);
        (pixels + gap) * self.columns
    }

    /// Heights of tiles that are considered.
    pub(crate) fn heights(&self, m: usize) -> Vec<usize> {
        let across = self.rows_per_run(m);
        let parts = (1..=16).map(|parts| (m / across).div_ceil(parts) * across);
        match self.windows {
            None => (1..=16).map(|parts| m.div_ceil(parts)).chain([8, 4, 2, 1]).collect(),
            Some(_) => {
                parts.chain([across, across.div_ceil(2), across.div_ceil(4), 8, 4, 2, 1]).collect()
            }
        }
    }

    /// `m` rows in tiles of a height, one of [`Form::heights`].
    pub(crate) fn tiles(&self, m: usize, height: usize) -> Vec<Range<usize>> {
        let across = self.rows_per_run(m);
        if height >= across {
            return chunks(m, height).collect();
        }
        let row = |row: usize| {
            chunks(across, height).map(move |x| row * across + x.start..row * across + x.end)
        };
        (0..m / across).flat_map(row).collect()
    }
}
