//! How lines are grouped for lists.

use crate::machine::Machine;

/// The most contexts of all groups together: a byte numbers them.
pub const MAX_CONTEXTS: u32 = 256;

/// The most contexts of a group.
pub const MAX_GROUP_CONTEXTS: u32 = 8;

/// Contexts of a group on a machine that does not state its registers.
const DEFAULT_CONTEXTS: u32 = 2;

/// The lines of an instruction on a list. A group computes one entry at a time: a score, for which
/// the partial sums of its lines are added in a tree of adders, or the product of a probability and
/// a row of values (ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineGroups {
    /// Number of groups, at least 1. Remaining lines are idle.
    pub groups: u32,
    /// Lines of a group: `min(ceil(d / macs), lines)`.
    pub lines_each: u32,
    /// Queries that a group holds at a time.
    pub contexts: u32,
    /// Cycles of an entry: 1 if the lines hold all features and their ports are as wide as their
    /// MACs.
    pub entry_cycles: u64,
}

impl LineGroups {
    /// The grouping of `lines` lines of a machine for `d` features.
    pub fn new(d: u16, lines: u16, machine: &Machine) -> LineGroups {
        let (d, lines) = (u32::from(d), u32::from(lines).max(1));
        let (macs, port) = (machine.lines.macs.max(1), machine.lines.port_bytes.max(1));
        let parts = d.div_ceil(macs);
        let lines_each = parts.clamp(1, lines);
        let contexts = LineGroups::contexts_each(machine);
        let groups = (lines / lines_each).min(MAX_CONTEXTS / contexts);
        let (passes, step) = (parts.div_ceil(lines_each), macs.min(d).div_ceil(port));
        let entry_cycles = (u64::from(passes) * u64::from(step)).max(1);
        LineGroups { groups, lines_each, contexts, entry_cycles }
    }

    /// Contexts of a group: half of a line's accumulators, a result of each MAC in each. The other
    /// half is drained meanwhile.
    fn contexts_each(machine: &Machine) -> u32 {
        let of = |accumulators: u32| accumulators / 2 / machine.lines.macs.max(1);
        let stated = machine.datapath.as_ref().map(|datapath| of(datapath.accumulators));
        stated.unwrap_or(DEFAULT_CONTEXTS).clamp(1, MAX_GROUP_CONTEXTS)
    }

    /// Contexts of all groups: the queries of a batch.
    pub fn seats(&self) -> u32 {
        self.groups * self.contexts
    }

    /// Bytes of a set of contexts.
    pub fn set_bytes(&self) -> usize {
        self.seats().div_ceil(8) as usize
    }
}
