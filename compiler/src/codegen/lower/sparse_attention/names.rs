//! Names of the buffers of sparse attention.

/// Keys of a head group.
pub(crate) const KEYS: &str = "keys";

/// Values of a head group.
pub(crate) const VALUES: &str = "values";

/// Row list, queries, scores, probabilities, maxima, sums and results of a stripe: one name,
/// because their sizes differ from stripe to stripe.
pub(crate) const STRIPE_DATA: &str = "stripes";
