//! Strategies: what a whole graph is lowered by. The search over them is in
//! [`plan`](super::plan).

use std::fmt;

use vitcod_isa::machine::Machine;

use crate::codegen::group::Group;
use crate::codegen::residence::storage::Residence;
use crate::ir::Graph;

/// Percentages of the scratchpad that tensors between groups may fill. Each is lowered; the best by
/// [`estimate`] is taken first.
pub(crate) const RESIDENT_PERCENT: [u64; 7] = [100, 85, 70, 55, 40, 20, 0];

/// Stripes of rows in which a layer starts and ends, so that what reads its first rows need not wait
/// for the last ones.
pub(crate) const STRIPES: usize = 4;

/// Of the bytes that are left for a group's buffers, the part (one in so many) that tiles leave to
/// loads of the next layer.
pub(crate) const RUN_AHEAD_SHARE: u64 = 8;

/// Groups that are lowered as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fusion {
    /// Projections of queries, keys and values with their attention.
    pub(crate) projections: bool,
    /// Both layers of an MLP.
    pub(crate) mlps: bool,
}

/// What a graph is lowered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) fusion: Fusion,
    /// Percentage of the scratchpad that tensors between groups may fill.
    pub(crate) resident_percent: u64,
    pub(crate) grain: TileGrain,
}

impl Strategy {
    /// Where tensors live.
    pub(crate) fn residence(
        &self,
        graph: &Graph,
        machine: &Machine,
        groups: &[Group],
    ) -> Residence {
        Residence::plan(graph, groups, u64::from(machine.sram.bytes) * self.resident_percent / 100)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grain = match self.grain {
            TileGrain::Coarse => "coarse",
            TileGrain::Fine => "fine",
        };
        let projections =
            if self.fusion.projections { ", projections within attention" } else { "" };
        let mlps = if self.fusion.mlps { ", layers of MLPs interleaved" } else { "" };
        write!(
            f,
            "{grain} tiles, tensors in {} % of the scratchpad{projections}{mlps}",
            self.resident_percent
        )
    }
}
/// How small tiles are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileGrain {
    /// As large as it takes for what each instruction costs besides its work not to matter.
    Coarse,
    /// Smaller, so that others can start on what is done.
    Fine,
}

impl TileGrain {
    pub(crate) const ALL: [TileGrain; 2] = [TileGrain::Coarse, TileGrain::Fine];
}

/// Cycles from the end of an instruction on the lines to the start of one that waits for it: the
/// lines' fill, and on machines of little fill what others that come in between take.
pub(crate) fn drain_cycles(machine: &Machine) -> u64 {
    const OTHERS: u64 = 12;
    OTHERS.max(machine.lines.fill_cycles.into())
}
