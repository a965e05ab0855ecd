//! Changes of a matrix that treat all rows alike.

/// A change of a matrix that treats all rows alike.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnMap {
    /// These columns, in this order.
    Select(Vec<usize>),
    /// Each column times its factor.
    Scale(Vec<f64>),
}

/// One number for each head, of equally many for each; `None` where those of a head differ.
pub(super) fn per_head<T: Copy + PartialEq>(numbers: &[T], heads: usize) -> Option<Vec<T>> {
    let features = numbers.len().checked_div(heads).filter(|features| *features > 0)?;
    let heads = numbers.chunks(features);
    heads.map(|head| head.iter().all(|number| *number == head[0]).then_some(head[0])).collect()
}
