//! The instructions of a stripe, stated once for lowering and for estimating: costs do not depend
//! on where operands lie.

use vitcod_isa::instr::table::{Sddmm, SddmmList, Softmax, SoftmaxList, SpmmList};
use vitcod_isa::instr::{Engine, Entries, LineSet, Sram};
use vitcod_isa::machine::Machine;
use vitcod_isa::operands::LineGroups;

use crate::codegen::lower::sparse_attention::operation::SparseAttention;
use crate::codegen::lower::sparse_attention::stripe::Stripe;

impl SparseAttention {
    /// Scores of a head's block; addresses are left open.
    pub(crate) fn block_scores(&self, queries: usize, columns: usize, lines: LineSet) -> Sddmm {
        Sddmm {
            engine: Engine::Denser,
            fresh: true,
            indexed: false,
            masked: false,
            biased: false,
            lines,
            q: Sram(0),
            k: Sram(0),
            max: Sram(0),
            dst: Sram(0),
            m: queries as u16,
            n: columns as u16,
            d: self.d as u16,
            scale: self.score_scale,
            q_stride: 0,
            k_stride: 0,
            dst_stride: 2 * columns as u32,
            index: Sram(0),
            mask: Sram(0),
            limit: self.keys as u16,
            bias: Sram(0),
        }
    }

    /// Scores of a stripe's entries; addresses are left open.
    pub(crate) fn list_scores(&self, stripe: &Stripe, lines: LineSet) -> SddmmList {
        SddmmList {
            engine: Engine::Sparser,
            wide: self.wide(),
            lines,
            rows: Sram(0),
            keys: Sram(0),
            q: Sram(0),
            k: Sram(0),
            max: Sram(0),
            dst: Sram(0),
            m: stripe.rows.len() as u16,
            n: self.keys as u16,
            d: self.d as u16,
            heads: stripe.heads.len() as u16,
            q_stride: 0,
            k_stride: 0,
            entries: Entries(stripe.entries() as u32),
            scale: self.score_scale,
        }
    }

    /// Probabilities of a head's block; addresses are left open.
    pub(crate) fn block_softmax(&self, queries: usize, columns: usize) -> Softmax {
        Softmax {
            engine: Engine::Denser,
            fresh: true,
            both: self.list.is_some(),
            src: Sram(0),
            max: Sram(0),
            other_max: Sram(0),
            sum: Sram(0),
            dst: Sram(0),
            m: queries as u16,
            n: columns as u16,
            src_stride: 2 * columns as u32,
            dst_stride: columns as u32,
        }
    }

    /// Probabilities of `count` queries of a stripe's list with `entries` entries; addresses are
    /// left open.
    pub(crate) fn list_softmax(
        &self,
        stripe: &Stripe,
        engine: Engine,
        (count, entries): (usize, usize),
        both: bool,
    ) -> SoftmaxList {
        SoftmaxList {
            engine,
            both,
            rows: Sram(0),
            src: Sram(0),
            max: Sram(0),
            other_max: Sram(0),
            sum: Sram(0),
            dst: Sram(0),
            count: count as u16,
            queries: stripe.queries() as u16,
            entries: Entries(entries as u32),
        }
    }

    /// The product of a stripe; addresses are left open.
    pub(crate) fn product(&self, stripe: &Stripe, machine: &Machine) -> SpmmList {
        let lines = all_lines(machine);
        let groups = LineGroups::new(self.dv as u16, lines.count, machine.lines.macs);
        SpmmList {
            engine: Engine::Sparser,
            wide: self.wide(),
            list: stripe.entries() > 0,
            block: stripe.all_columns() > 0,
            lines,
            rows: Sram(0),
            keys: Sram(0),
            p: Sram(0),
            sum: Sram(0),
            block_keys: Sram(0),
            block_p: Sram(0),
            block_sum: Sram(0),
            v: Sram(0),
            dst: Sram(0),
            m: stripe.rows.len() as u16,
            n: self.keys as u16,
            d: self.dv as u16,
            heads: stripe.heads.len() as u16,
            columns: stripe.all_columns() as u16,
            v_stride: 0,
            dst_stride: 0,
            entries: Entries(stripe.entries() as u32),
            steps: Entries(groups.busiest(stripe.steps.iter().copied()) as u32),
            scale: self.product_scale,
        }
    }
}

pub(crate) fn all_lines(machine: &Machine) -> LineSet {
    LineSet { first: 0, count: machine.lines.count as u16 }
}
