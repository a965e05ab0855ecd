//! What plans of split attention call their buffers.

/// Keys of some heads.
pub(crate) const KEYS: &str = "keys";

/// Values of some heads.
pub(crate) const VALUES: &str = "values";

/// What a stripe takes: its list, queries, scores, probabilities, maxima, sums and results. Stripes
/// differ in all of these.
pub(crate) const STRIPES: &str = "stripes";
