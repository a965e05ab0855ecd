//! The recorded schedule of a tiled program.

/// The algorithm that orders tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Program order, but loads as early as the look-ahead budget allows.
    Prefetched,
    /// List scheduling: each task as soon as it can start.
    Listed,
}

impl Order {
    /// Every order.
    pub const ALL: [Order; 2] = [Order::Prefetched, Order::Listed];

    /// Name in the text.
    pub const fn name(self) -> &'static str {
        match self {
            Order::Prefetched => "prefetched",
            Order::Listed => "listed",
        }
    }
}

/// What determines the schedule of a tiled program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The algorithm that orders tasks.
    pub order: Order,
    /// The look-ahead budget, as a percentage of the scratchpad.
    pub ahead: u64,
}
