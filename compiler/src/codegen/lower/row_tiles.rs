//! Tiles of operations that work row by row: elementwise operations, table rows, copies.

use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::fit::halve_until;
use crate::codegen::strategy::STRIPES;

/// Rows and columns of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowTiles {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// The largest tiles of an `m x n` matrix that fit and that instructions can count. The rows are
/// divided into stripes. Columns are divided only if they are `tileable`. `None` if not even the
/// smallest tiles fit.
pub(crate) fn row_tiles(
    [m, n]: [usize; 2],
    tileable: bool,
    fits: impl Fn(RowTiles) -> bool,
) -> Option<RowTiles> {
    let most_rows = m.div_ceil(STRIPES).clamp(1, MAX_COUNT);
    let rows = halve_until(most_rows, |rows| fits(RowTiles { rows, columns: n }));
    let columns = match tileable {
        true => halve_until(n.min(MAX_COUNT), |columns| fits(RowTiles { rows, columns })),
        false => n,
    };
    Some(RowTiles { rows, columns }).filter(|tiles| fits(*tiles))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_halved_before_columns() {
        let tiles = |bytes: usize, tileable: bool| {
            row_tiles([197, 192], tileable, |tiles| tiles.rows * tiles.columns <= bytes)
        };
        // A quarter of the rows, so that the next group can start early.
        assert_eq!(tiles(1 << 20, true), Some(RowTiles { rows: 50, columns: 192 }));
        assert_eq!(tiles(192 * 20, true), Some(RowTiles { rows: 13, columns: 192 }));
        assert_eq!(tiles(100, true), Some(RowTiles { rows: 1, columns: 96 }));
        assert_eq!(tiles(100, false), None);
    }
}
