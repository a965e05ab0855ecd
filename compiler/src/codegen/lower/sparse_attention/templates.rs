//! The instructions of a stripe without operands, for emission and for estimates: their costs do
//! not depend on operands.

use vitcod_isa::instr::table::{Sddmm, SddmmList, Softmax, SoftmaxList, SpmmList};
use vitcod_isa::instr::{Engine, Entries, LineSet};
use vitcod_isa::machine::Machine;
use vitcod_isa::operands::LineGroups;

use crate::codegen::limits::{bytes32, count};
use crate::codegen::lower::sparse_attention::operation::SparseAttention;
use crate::codegen::lower::sparse_attention::stripe::Stripe;

/// A number of list entries.
fn entries32(entries: usize) -> Entries {
    debug_assert!(entries <= MAX_ENTRIES, "{entries} entries");
    Entries(entries as u32)
}

/// The most entries of a list, and steps of a product, that an instruction holds.
pub(crate) const MAX_ENTRIES: usize = (1 << 24) - 1;

impl SparseAttention {
    /// Scores of a head's block.
    pub(crate) fn block_scores(&self, queries: usize, columns: usize, lines: LineSet) -> Sddmm {
        Sddmm {
            engine: Engine::Denser,
            fresh: true,
            lines,
            m: count(queries),
            n: count(columns),
            d: count(self.d),
            scale: self.score_scale,
            dst_stride: bytes32(2 * columns),
            limit: count(self.keys),
            ..Sddmm::ZERO
        }
    }

    /// Scores of a stripe's row list.
    pub(crate) fn list_scores(&self, stripe: &Stripe, lines: LineSet) -> SddmmList {
        SddmmList {
            engine: Engine::Sparser,
            wide: self.wide(),
            lines,
            m: count(stripe.rows.len()),
            n: count(self.keys),
            d: count(self.d),
            heads: count(stripe.heads.len()),
            entries: entries32(stripe.entries()),
            scale: self.score_scale,
            ..SddmmList::ZERO
        }
    }

    /// Probabilities of a head's block.
    pub(crate) fn block_softmax(&self, queries: usize, columns: usize) -> Softmax {
        Softmax {
            engine: Engine::Denser,
            fresh: true,
            both: self.list.is_some(),
            minifloat: self.softmax.minifloat,
            shift: self.softmax.shift,
            m: count(queries),
            n: count(columns),
            src_stride: bytes32(2 * columns),
            dst_stride: bytes32(columns),
            ..Softmax::ZERO
        }
    }

    /// Probabilities of some queries of a stripe's row list, with this many entries.
    pub(crate) fn list_softmax(
        &self,
        stripe: &Stripe,
        engine: Engine,
        (queries, entries): (usize, usize),
        both: bool,
    ) -> SoftmaxList {
        SoftmaxList {
            engine,
            both,
            minifloat: self.softmax.minifloat,
            shift: self.softmax.shift,
            count: count(queries),
            queries: count(stripe.queries()),
            entries: entries32(entries),
            ..SoftmaxList::ZERO
        }
    }

    /// The product of a stripe.
    pub(crate) fn product(&self, stripe: &Stripe, machine: &Machine) -> SpmmList {
        let lines = machine.all_lines();
        let groups = LineGroups::new(count(self.dv), lines.count, machine.lines.macs);
        let steps = groups.busiest(stripe.steps.iter().copied());
        SpmmList {
            engine: Engine::Sparser,
            wide: self.wide(),
            list: stripe.entries() > 0,
            block: stripe.all_columns() > 0,
            minifloat: self.softmax.minifloat,
            lines,
            m: count(stripe.rows.len()),
            n: count(self.keys),
            d: count(self.dv),
            heads: count(stripe.heads.len()),
            columns: count(stripe.all_columns()),
            entries: entries32(stripe.entries()),
            steps: entries32(steps as usize),
            scale: self.product_scale,
            ..SpmmList::ZERO
        }
    }
}
