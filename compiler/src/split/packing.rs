//! How lists are packed.

/// What the packing of lists does with what it knows of the mask. All of it by default; ablations
/// turn parts off. Bits do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Queries with similar keys share a batch, groups have equal work, and rows come in the order
    /// in which the clock lets them issue. Otherwise queries and keys come in rising order.
    pub ordered: bool,
    /// A row serves all queries of a batch that need it. Otherwise it comes for each of them.
    pub shared: bool,
}

impl Default for Packing {
    fn default() -> Packing {
        Packing { ordered: true, shared: true }
    }
}
