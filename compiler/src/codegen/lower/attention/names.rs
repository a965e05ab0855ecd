//! Names of the buffers of attention.

/// Queries of a stripe.
pub(crate) const QUERIES: &str = "queries";

/// Queries of a head, computed by a projection.
pub(crate) const PROJECTED_QUERIES: &str = "projected queries";

/// Keys of a head.
pub(crate) const KEYS: &str = "keys";

/// Values of a head.
pub(crate) const VALUES: &str = "values";

/// Mask and bias of a stripe that differ from head to head.
pub(crate) const TERMS: &str = "mask and bias";

/// A mask that all heads share.
pub(crate) const SHARED_MASK: &str = "shared mask";

/// Scores of a stripe.
pub(crate) const SCORES: &str = "scores";

/// Row maxima of a stripe's scores.
pub(crate) const MAXIMA: &str = "row maxima";

/// Probabilities of a stripe.
pub(crate) const PROBABILITIES: &str = "probabilities";

/// Row sums of a stripe's probabilities.
pub(crate) const ROW_SUMS: &str = "row sums";

/// Results of a stripe.
pub(crate) const RESULTS: &str = "results";

/// All rows of the operands of projections.
pub(crate) const SOURCES: &str = "sources of projections";

/// Lookup tables.
pub(crate) const TABLES: &str = "lookup tables";
