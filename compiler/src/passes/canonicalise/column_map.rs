//! Changes of a matrix that are the same for each row.

/// A change of a matrix that is the same for each row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnMap {
    /// Selects these columns, in this order.
    Select(Vec<usize>),
    /// Multiplies each column by its factor.
    Scale(Vec<f64>),
}

/// Reduces `numbers` to one for each of the equally wide heads; `None` if those of a head differ.
pub(super) fn per_head<T: Copy + PartialEq>(numbers: &[T], heads: usize) -> Option<Vec<T>> {
    let features = numbers.len().checked_div(heads).filter(|features| *features > 0)?;
    let heads = numbers.chunks(features);
    heads.map(|head| head.iter().all(|number| *number == head[0]).then_some(head[0])).collect()
}
