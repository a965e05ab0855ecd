//! Strategies: the choices for a whole graph. [`plan`](crate::codegen::plan) searches over them.

use std::fmt;

use vitcod_isa::machine::Machine;

use crate::codegen::group::Group;
use crate::codegen::residence::storage::Residence;
use crate::ir::Graph;

/// Percentages of the scratchpad for resident tensors. The graph is lowered with each.
pub(crate) const RESIDENT_PERCENT: [u64; 7] = [100, 85, 70, 55, 40, 20, 0];

/// The most groups of lines that lists may leave to other units. The graph is lowered with each.
pub(crate) const SPARE_GROUPS: [u16; 4] = [0, 1, 3, 4];

/// Stripes of rows in which a layer starts and ends, so that readers of its first rows need not
/// wait for the last ones.
pub(crate) const STRIPES: usize = 4;

/// Tiles leave one in this many of a group's available bytes to loads of the next group.
pub(crate) const RUN_AHEAD_SHARE: u64 = 8;

/// Which groups are fused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fusion {
    /// Projections of queries, keys and values into their attention.
    pub(crate) projections: bool,
    /// Both layers of an MLP into one group.
    pub(crate) mlps: bool,
}

/// The choices for a whole graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) fusion: Fusion,
    /// Percentage of the scratchpad for resident tensors.
    pub(crate) resident_percent: u64,
    pub(crate) grain: TileGrain,
    /// The most groups of lines that lists leave to other units where that takes fewer cycles, on
    /// machines with banks: these decode, or compute what is dense, at the same time.
    pub(crate) spare_groups: u16,
}

impl Strategy {
    /// The residence of all tensors.
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
            if self.fusion.projections { ", projections fused into attention" } else { "" };
        let mlps = if self.fusion.mlps { ", layers of MLPs interleaved" } else { "" };
        let spare = match self.spare_groups {
            0 => "",
            1 => ", lists may leave a group of lines",
            3 => ", lists may leave three groups of lines",
            _ => ", lists may leave four groups of lines",
        };
        write!(
            f,
            "{grain} tiles, {} % of the scratchpad for resident tensors{projections}{mlps}{spare}",
            self.resident_percent
        )
    }
}

/// The size of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileGrain {
    /// Large, so that the drain of each instruction does not matter.
    Coarse,
    /// Small, so that other units can start on finished tiles early.
    Fine,
}

impl TileGrain {
    pub(crate) const ALL: [TileGrain; 2] = [TileGrain::Coarse, TileGrain::Fine];
}

/// Cycles from the end of an instruction on the MAC lines to the start of one that waits for it:
/// the fill of the lines or, on machines with little fill, the time of instructions in between.
pub(crate) fn drain_cycles(machine: &Machine) -> u64 {
    const OTHERS: u64 = 12;
    OTHERS.max(machine.lines.fill_cycles.into())
}
