//! The instructions of a stripe without operands, for emission and for estimates.

use vitcod_isa::instr::table::{Sddmm, SddmmList, Softmax, SoftmaxList, Spmm, SpmmList};
use vitcod_isa::instr::{Cycles, Engine, Entries, LineSet, SramBytes, Width};

use crate::codegen::limits::{bytes32, count};
use crate::codegen::lower::sparse_attention::operation::{Places, SparseAttention};
use crate::codegen::lower::sparse_attention::stripe::{PackedList, Stripe};

/// A number of list entries.
fn entries32(entries: usize) -> Entries {
    debug_assert!(entries <= MAX_ENTRIES, "{entries} entries");
    Entries(entries as u32)
}

/// The most entries of a list that an instruction holds.
pub(crate) const MAX_ENTRIES: usize = (1 << 24) - 1;

impl SparseAttention {
    /// Scores of some keys of a head.
    pub(crate) fn block_scores(
        &self,
        queries: usize,
        columns: usize,
        lines: LineSet,
        places: &Places,
    ) -> Sddmm {
        Sddmm {
            engine: Engine::Denser,
            fresh: true,
            lines,
            m: count(queries),
            n: count(columns),
            d: count(self.d),
            scale: self.score_scale,
            q_stride: bytes32(places.q.stride as usize),
            k_stride: bytes32(places.k.stride as usize),
            dst_stride: bytes32(2 * columns),
            limit: count(self.keys),
            ..Sddmm::ZERO
        }
    }

    /// Scores of a list.
    pub(crate) fn list_scores(
        &self,
        stripe: &Stripe,
        list: &PackedList,
        lines: LineSet,
        places: &Places,
        token_bytes: usize,
    ) -> SddmmList {
        SddmmList {
            engine: Engine::Sparser,
            wide: self.wide(),
            lines,
            m: count(stripe.rows.len()),
            n: count(self.keys),
            d: count(self.d),
            heads: count(stripe.heads.len()),
            q_stride: count(places.q.stride as usize),
            k_stride: count(places.k.stride as usize),
            queries: count(list.list.rows.len()),
            token_bytes: SramBytes(bytes32(token_bytes)),
            entries: entries32(list.entries),
            cycles: list.cycles[0],
            scale: self.score_scale,
            ..SddmmList::ZERO
        }
    }

    /// Probabilities of some keys of a head.
    pub(crate) fn block_softmax(&self, queries: usize, columns: usize) -> Softmax {
        Softmax {
            engine: Engine::Denser,
            fresh: true,
            minifloat: self.softmax.minifloat,
            shift: self.softmax.shift,
            m: count(queries),
            n: count(columns),
            src_stride: bytes32(2 * columns),
            dst_stride: bytes32(columns),
            ..Softmax::ZERO
        }
    }

    /// Probabilities of some queries of a list with so many entries, of `m` queries of each head.
    pub(crate) fn list_softmax(
        &self,
        (m, heads): (usize, usize),
        (queries, entries): (usize, usize),
    ) -> SoftmaxList {
        SoftmaxList {
            engine: Engine::Sparser,
            minifloat: self.softmax.minifloat,
            shift: self.softmax.shift,
            m: count(m),
            heads: count(heads),
            queries: count(queries),
            entries: entries32(entries),
            cycles: Cycles(1),
            ..SoftmaxList::ZERO
        }
    }

    /// The product of some keys of a head.
    pub(crate) fn block_product(
        &self,
        queries: usize,
        keys: usize,
        lines: LineSet,
        places: &Places,
    ) -> Spmm {
        Spmm {
            engine: Engine::Denser,
            out: Width::I8,
            minifloat: self.softmax.minifloat,
            lines,
            m: count(queries),
            n: count(keys),
            d: count(self.dv),
            scale: self.product_scale,
            p_stride: bytes32(keys),
            v_stride: bytes32(places.v.stride as usize),
            dst_stride: bytes32(places.result.stride as usize),
            ..Spmm::ZERO
        }
    }

    /// The product of a list.
    pub(crate) fn list_product(
        &self,
        stripe: &Stripe,
        list: &PackedList,
        lines: LineSet,
        places: &Places,
        token_bytes: usize,
    ) -> SpmmList {
        SpmmList {
            engine: Engine::Sparser,
            wide: self.wide(),
            minifloat: self.softmax.minifloat,
            lines,
            m: count(stripe.rows.len()),
            n: count(self.keys),
            d: count(self.dv),
            heads: count(stripe.heads.len()),
            v_stride: count(places.v.stride as usize),
            dst_stride: count(places.result.stride as usize),
            queries: count(list.list.rows.len()),
            token_bytes: SramBytes(bytes32(token_bytes)),
            entries: entries32(list.entries),
            cycles: list.cycles[1],
            scale: self.product_scale,
            ..SpmmList::ZERO
        }
    }
}
