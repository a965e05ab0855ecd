//! What plans of linear layers call their buffers.

/// Weights of a tile.
pub(crate) const WEIGHTS: &str = "weights";

/// Bias and scale of output channels.
pub(crate) const CHANNELS: &str = "channel parameters";

/// The activation operand.
pub(crate) const ACTIVATIONS: &str = "activations";

/// Sums of a panel in 32 bits.
pub(crate) const ACCUMULATORS: &str = "accumulators";

/// Lookup tables.
pub(crate) const TABLES: &str = "lookup tables";

/// Products, which become results.
pub(crate) const RESULTS: &str = "results";

/// What is added to results.
pub(crate) const ADDEND: &str = "addend";

/// Sums in 8 bits.
pub(crate) const SUMS: &str = "sums";

/// Results that are narrowed to 8 bits.
pub(crate) const NARROWED: &str = "narrowed results";

/// Slices of the first layer's results of an MLP.
pub(crate) const HIDDEN: &str = "hidden activations";
