//! What limits the instructions of a machine with banks, whatever they compute.

use super::results::Results;
use super::streams::Stream;
use crate::instr::{Engine, Op};
use crate::machine::Organisation;

impl Organisation<'_> {
    /// Cycles of the revolutions in which so many slots deliver a stream.
    pub(super) fn revolutions(&self, stream: Stream, slots: u32) -> u64 {
        let revolutions = stream.layers.div_ceil(u64::from(slots.max(1)));
        revolutions.saturating_mul(self.revolution_cycles())
    }

    /// Cycles in which the slots of an engine deliver what it reads and take what it writes.
    pub(super) fn of_engine(&self, engine: Engine, [read, written]: [Stream; 2]) -> u64 {
        let slots = self.slots;
        let (reads, writes) = match engine {
            Engine::Denser => (slots.denser_read, slots.denser_write),
            Engine::Sparser => (slots.sparser_read, slots.sparser_write),
        };
        self.revolutions(read, reads).max(self.revolutions(written, writes))
    }

    /// Cycles in which so many slots deliver what is read and take what is written, in turn.
    pub(super) fn in_turn(&self, slots: u32, [read, written]: [Stream; 2]) -> u64 {
        2 * self.revolutions(read, slots).max(self.revolutions(written, slots))
    }

    /// The latency of a unit with this many stages: operands arrive and results leave within a
    /// revolution. It is the same for all instructions of a unit, so that writes of one do not meet
    /// those of the next.
    pub(super) fn latency(&self, fill: u32) -> u64 {
        u64::from(fill) + 2 * self.revolution_cycles()
    }

    /// Cycles in which the requantisers of some lines process the results of an instruction, and
    /// the dividers compute its reciprocals.
    pub(super) fn results(&self, op: &Op, lines: u16) -> u64 {
        let Results { requantised, reciprocals, .. } = Results::of(op);
        let each = u64::from(self.datapath.requantisers) * u64::from(lines);
        let divided = shared(reciprocals, self.datapath.dividers, self.datapath.divider_cycles);
        requantised.div_ceil(each.max(1)).max(divided)
    }

    /// Cycles in which the roots of LayerNorm are computed.
    pub(super) fn roots(&self, rows: u64) -> u64 {
        shared(rows, self.datapath.roots, self.datapath.root_cycles)
    }
}

/// Cycles in which units that take `cycles` each process some rows.
fn shared(rows: u64, units: u32, cycles: u32) -> u64 {
    rows.div_ceil(units.max(1).into()) * u64::from(cycles)
}
