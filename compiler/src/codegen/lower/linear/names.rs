//! Names of the buffers of linear layers.

/// Weights of a tile.
pub(crate) const WEIGHTS: &str = "weights";

/// Bias and scale of output channels.
pub(crate) const CHANNELS: &str = "channel parameters";

/// The activation operand.
pub(crate) const ACTIVATIONS: &str = "activations";

/// Accumulators of a panel: sums in 32 bits.
pub(crate) const ACCUMULATORS: &str = "accumulators";

/// Lookup tables.
pub(crate) const TABLES: &str = "lookup tables";

/// Products, which lookups and adds turn into results.
pub(crate) const RESULTS: &str = "results";

/// The other operand of the add.
pub(crate) const ADDEND: &str = "addend";

/// What an add or an interpolation makes of products, in 8 bits.
pub(crate) const NARROW_RESULTS: &str = "narrow results";

/// Results that are narrowed to 8 bits.
pub(crate) const NARROWED: &str = "narrowed results";

/// Slices of the hidden activations of an MLP.
pub(crate) const HIDDEN: &str = "hidden activations";
