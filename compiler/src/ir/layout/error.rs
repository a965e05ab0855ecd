//! Why bytes are not a structured constant.

/// Why bytes are not a constant of split attention.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More or fewer bytes than the layout takes.
    #[error("wrong length of {what}: {found} bytes")]
    Length {
        /// What they hold.
        what: &'static str,
        /// Their number.
        found: usize,
    },
    /// A column of a key that there is not.
    #[error("head {head}: a column of key {key}; there are {keys}")]
    Key {
        /// The head.
        head: usize,
        /// The key.
        key: u16,
        /// Number of keys.
        keys: usize,
    },
    /// Two columns of the same key.
    #[error("head {head}: key {key} has two columns")]
    Twice {
        /// The head.
        head: usize,
        /// The key.
        key: u16,
    },
    /// Bits that stand for no cell.
    #[error("head {head}: the mask of the block has bits past the last column")]
    MaskBits {
        /// The head.
        head: usize,
    },
    /// Column starts that fall or leave the pattern.
    #[error(
        "column starts of the sparse pattern: {start} follows {previous}, and there are {nonzeros} entries"
    )]
    Start {
        /// The start.
        start: u32,
        /// The one before it.
        previous: u32,
        /// Number of entries.
        nonzeros: usize,
    },
    /// Queries of a column that do not rise or that there are not.
    #[error(
        "head {head}, key {key}: the column's queries do not rise, or not all are below {queries}"
    )]
    Queries {
        /// The head.
        head: usize,
        /// The key.
        key: usize,
        /// Number of queries.
        queries: usize,
    },
}
