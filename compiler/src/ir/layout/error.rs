//! Errors of decoding structured constants.

/// Why bytes do not decode as a constant of split attention.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The bytes have the wrong length.
    #[error("the length of {found} bytes is not valid for {what}")]
    Length {
        /// The structure that was expected.
        what: &'static str,
        /// Number of bytes found.
        found: usize,
    },
    /// A column names a key that does not exist.
    #[error("head {head}: a column of key {key}, expected a key below {keys}")]
    Key {
        /// Index of the head.
        head: usize,
        /// The key found.
        key: u16,
        /// Number of keys.
        keys: usize,
    },
    /// Two columns name the same key.
    #[error("head {head}: key {key} has two columns")]
    Twice {
        /// Index of the head.
        head: usize,
        /// The repeated key.
        key: u16,
    },
    /// Mask bits after the last column are set.
    #[error("head {head}: the mask of the block has bits past the last column")]
    MaskBits {
        /// Index of the head.
        head: usize,
    },
    /// Column starts that descend or exceed the number of entries.
    #[error(
        "column starts of the sparse pattern: {start} follows {previous}, and there are {nonzeros} entries"
    )]
    Start {
        /// The invalid start.
        start: u32,
        /// The start before it.
        previous: u32,
        /// Number of entries.
        nonzeros: usize,
    },
    /// The queries of a column are not ascending or not all exist.
    #[error(
        "head {head}, key {key}: the column's queries do not rise, or not all are below {queries}"
    )]
    Queries {
        /// Index of the head.
        head: usize,
        /// Key of the column.
        key: usize,
        /// Number of queries.
        queries: usize,
    },
}
