//! What ways to tile, to order and to place are compared by: cycles, and traffic that hides behind them.

/// Cycles of the machine that a cycle of the DRAM channel is worth.
///
/// Traffic that hides costs energy, and other loads wait behind it. By the energy per event of the presets, a cycle of the channel weighs as
/// much as 12 to 14 of the machine in the product of energy and delay of a DeiT.
const TRAFFIC: u64 = 12;

/// The less, the better, of what takes some cycles and keeps the channel busy for some.
pub(super) fn price(cycles: u64, channel: u64) -> u64 {
    cycles.saturating_add(TRAFFIC * channel)
}
