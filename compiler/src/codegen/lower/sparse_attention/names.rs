//! Names of the buffers of sparse attention.

/// Keys of a head group and, behind them, its queries.
pub(crate) const KEYS: &str = "keys";

/// Values of a head group.
pub(crate) const VALUES: &str = "values";

/// Results of a head group whose stripes have any queries.
pub(crate) const RESULTS: &str = "results";

/// Lists, masks, scores, probabilities, maxima, sums, accumulators and results of a stripe: one
/// name, because their sizes differ from stripe to stripe.
pub(crate) const STRIPE_DATA: &str = "stripes";
