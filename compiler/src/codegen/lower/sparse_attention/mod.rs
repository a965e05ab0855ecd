//! Sparse attention: blocks of global tokens on the denser engine, row lists of the other kept
//! entries on the sparser one, at the same time.
//!
//! Instructions span all heads of a head group and the queries of a stripe. The entries are known
//! at compile time, so the row list of a stripe is packed for the MAC lines: its queries are in
//! descending order of steps, so that groups of lines finish together (longest processing time
//! first). The scores of blocks and row lists share the lines in proportion to their work. The
//! product adds both parts of a query in one sum.
//!
//! Stripes form a pipeline as in dense [attention](crate::codegen::lower::attention): the scores of
//! stripe `i + 1` precede the product of stripe `i`. The softmax of the row list is divided between
//! the softmax units of both engines, so that both finish together with the softmax of the blocks.

mod allocation;
mod names;
mod operation;
#[allow(dead_code, unused_imports, reason = "instructions of packed lists follow")]
mod packing;
mod pattern;
mod stripe;
mod templates;
mod tiling;

use std::ops::Range;

use vitcod_isa::instr::table::{Sddmm, SddmmList, Softmax, SoftmaxList, SpmmList};
use vitcod_isa::instr::{Engine, Sram};
use vitcod_isa::operands::{LIST_ROW_BYTES, block_keys_to_bytes};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, SramOperand, Tile};
use crate::codegen::limits::count;
use crate::codegen::lower::sparse_attention::allocation::AllocatedStripe;
use crate::codegen::lower::sparse_attention::names::{KEYS, STRIPE_DATA, VALUES};
use crate::codegen::lower::sparse_attention::operation::SparseAttention;
use crate::codegen::lower::sparse_attention::stripe::{Stripe, StripeConstants};
use crate::codegen::lower::sparse_attention::tiling::HeadGroup;
use crate::ir::Value;

pub(crate) use crate::codegen::lower::sparse_attention::tiling::{SparseAttentionPlan, choose};

/// A head group with its keys and values in the scratchpad.
struct Heads {
    keys: Tile,
    values: Option<Tile>,
    /// Numbers of columns of the blocks, and their keys.
    block_keys: SramOperand,
}

/// A stripe between its scores and its product.
struct Pending<'p> {
    heads: usize,
    stripe: &'p Stripe,
    rows: SramOperand,
    keys: SramOperand,
    p: SramOperand,
    sum: SramOperand,
    block_p: SramOperand,
    block_sum: SramOperand,
}

/// Emits sparse attention.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &SparseAttentionPlan) {
    builder.declare(&plan.buffers);
    let SparseAttentionPlan { attention, head_groups, heads_overlap, .. } = plan;
    let mut waiting: Option<Pending<'_>> = None;
    let mut loaded: Vec<Heads> = Vec::new();
    for (index, HeadGroup { heads, stripes }) in head_groups.iter().enumerate() {
        if let Some(last) = waiting.take_if(|_| !heads_overlap) {
            attention.multiply(builder, &mut loaded[last.heads], &last);
        }
        loaded.push(attention.load(builder, heads));
        for stripe in stripes {
            let pending = attention.score(builder, index, &loaded[index], stripe);
            if let Some(previous) = waiting.replace(pending) {
                attention.multiply(builder, &mut loaded[previous.heads], &previous);
            }
        }
    }
    if let Some(last) = waiting {
        attention.multiply(builder, &mut loaded[last.heads], &last);
    }
}

impl SparseAttention {
    /// All rows of some heads of keys or values.
    fn read(
        &self,
        builder: &mut Builder<'_>,
        name: &'static str,
        value: Value,
        d: usize,
        heads: &Range<usize>,
    ) -> Tile {
        let layer = if value == self.v { self.product } else { self.first_scores() };
        builder.read(
            name,
            layer,
            value,
            &Block { rows: 0..self.keys, bytes: heads.start * d..heads.end * d },
        )
    }

    fn load(&self, builder: &mut Builder<'_>, heads: &Range<usize>) -> Heads {
        let patterns = &self.pattern.heads[heads.clone()];
        let columns: Vec<&[u16]> = patterns.iter().map(|head| head.columns.as_slice()).collect();
        let block_keys = match self.block {
            Some(part) if columns.iter().any(|columns| !columns.is_empty()) => builder.pooled(
                STRIPE_DATA,
                part.scores,
                block_keys_to_bytes(&columns).expect("tilings have fewer columns"),
            ),
            _ => SramOperand::NONE,
        };
        Heads { keys: self.read(builder, KEYS, self.k, self.d, heads), values: None, block_keys }
    }

    /// Scores and probabilities of a stripe.
    fn score<'p>(
        &self,
        builder: &mut Builder<'_>,
        index: usize,
        heads: &Heads,
        AllocatedStripe { stripe, lines, sparser_softmax }: &'p AllocatedStripe,
    ) -> Pending<'p> {
        let constants = StripeConstants::new(stripe, &self.pattern, self.wide());
        let block = Block {
            rows: stripe.rows.clone(),
            bytes: stripe.heads.start * self.d..stripe.heads.end * self.d,
        };
        let layer = self.list.or(self.block).map_or(self.product, |part| part.scores);
        let rows = builder.pooled(STRIPE_DATA, layer, constants.bytes);
        let keys = builder.offset_bytes(rows, constants.keys);
        let q = builder.read(STRIPE_DATA, self.first_scores(), self.q, &block);
        let (queries, entries) = (stripe.queries(), stripe.entries());
        let height = stripe.rows.len();

        let [mut block_max, mut block_scores] = [SramOperand::NONE; 2];
        if let Some(part) = self.block.filter(|_| stripe.all_columns() > 0) {
            block_max = builder.tile(STRIPE_DATA, 1, 2 * queries).at;
            block_scores = builder.tile(STRIPE_DATA, 1, 2 * height * stripe.all_columns()).at;
            let mut before = 0;
            for (local, columns) in stripe.columns.iter().enumerate() {
                let pattern = &self.pattern.heads[stripe.heads.start + local];
                let first_key = pattern.first_consecutive();
                let first =
                    first_key.map_or(0, |first| u64::from(first) * u64::from(heads.keys.stride));
                let op = Sddmm {
                    indexed: first_key.is_none(),
                    masked: constants.masks[local].is_some(),
                    q: builder.offset_bytes(q.at, (local * self.d) as u64).into(),
                    k: builder.offset_bytes(heads.keys.at, first + (local * self.d) as u64).into(),
                    max: builder.offset_bytes(block_max, (2 * local * height) as u64).into(),
                    dst: builder.offset_bytes(block_scores, (2 * before * height) as u64).into(),
                    q_stride: q.stride,
                    k_stride: heads.keys.stride,
                    index: match first_key {
                        Some(_) => Sram(0),
                        None => {
                            let offset = 2 * (stripe.heads.len() + before) as u64;
                            builder.offset_bytes(heads.block_keys, offset).into()
                        }
                    },
                    mask: constants.masks[local]
                        .map_or(Sram(0), |at| builder.offset_bytes(rows, at).into()),
                    ..self.block_scores(height, *columns, lines.denser)
                };
                builder.push(part.scores, op);
                before += columns;
            }
        }
        let [mut max, mut scores] = [SramOperand::NONE; 2];
        if let Some(part) = self.list.filter(|_| entries > 0) {
            max = builder.tile(STRIPE_DATA, 1, 2 * queries).at;
            scores = builder.tile(STRIPE_DATA, 1, 2 * entries).at;
            let op = SddmmList {
                rows: rows.into(),
                keys: keys.into(),
                q: q.at.into(),
                k: heads.keys.at.into(),
                max: max.into(),
                dst: scores.into(),
                q_stride: count(q.stride as usize),
                k_stride: count(heads.keys.stride as usize),
                ..self.list_scores(stripe, lines.sparser)
            };
            builder.push(part.scores, op);
        }

        let [mut block_p, mut block_sum] = [SramOperand::NONE; 2];
        if let Some(part) = self.block.filter(|_| stripe.all_columns() > 0) {
            block_p = builder.tile(STRIPE_DATA, 1, height * stripe.all_columns()).at;
            block_sum = builder.tile(STRIPE_DATA, 1, 4 * queries).at;
            let mut before = 0;
            for (local, columns) in stripe.columns.iter().enumerate() {
                let op = Softmax {
                    both: entries > 0,
                    src: builder.offset_bytes(block_scores, (2 * before * height) as u64).into(),
                    max: builder.offset_bytes(block_max, (2 * local * height) as u64).into(),
                    other_max: if entries > 0 {
                        builder.offset_bytes(max, (2 * local * height) as u64).into()
                    } else {
                        Sram(0)
                    },
                    sum: builder.offset_bytes(block_sum, (4 * local * height) as u64).into(),
                    dst: builder.offset_bytes(block_p, (before * height) as u64).into(),
                    ..self.block_softmax(height, *columns)
                };
                builder.push(part.softmax, op);
                before += columns;
            }
        }
        let [mut p, mut sum] = [SramOperand::NONE; 2];
        if let Some(part) = self.list.filter(|_| entries > 0) {
            p = builder.tile(STRIPE_DATA, 1, entries).at;
            sum = builder.tile(STRIPE_DATA, 1, 4 * queries).at;
            let (sparser_queries, sparser_entries) = *sparser_softmax;
            let remaining = (queries - sparser_queries, entries - sparser_entries);
            let parts = [
                (Engine::Sparser, (0, 0), *sparser_softmax),
                (Engine::Denser, *sparser_softmax, remaining),
            ];
            for (engine, (first, entry), share) in
                parts.into_iter().filter(|(_, _, (count, _))| *count > 0)
            {
                let op = SoftmaxList {
                    rows: builder.offset_bytes(rows, first as u64 * LIST_ROW_BYTES).into(),
                    src: builder.offset_bytes(scores, 2 * entry as u64).into(),
                    max: max.into(),
                    other_max: block_max.into(),
                    sum: builder.offset_bytes(sum, 4 * first as u64).into(),
                    dst: builder.offset_bytes(p, entry as u64).into(),
                    ..self.list_softmax(stripe, engine, share, stripe.all_columns() > 0)
                };
                builder.push(part.softmax, op);
            }
        }
        Pending { heads: index, stripe, rows, keys, p, sum, block_p, block_sum }
    }

    /// The product of a stripe. Loads V on first use, after Q and K of the next stripe, so that its
    /// scores are not delayed.
    fn multiply(&self, builder: &mut Builder<'_>, heads: &mut Heads, pending: &Pending<'_>) {
        let stripe = pending.stripe;
        let v = match heads.values {
            Some(v) => v,
            None => self.read(builder, VALUES, self.v, self.dv, &stripe.heads),
        };
        heads.values = Some(v);
        let columns = stripe.heads.start * self.dv..stripe.heads.end * self.dv;
        let target = builder.begin_store(
            STRIPE_DATA,
            self.result,
            &Block { rows: stripe.rows.clone(), bytes: columns },
        );
        let op = SpmmList {
            rows: pending.rows.into(),
            keys: pending.keys.into(),
            p: pending.p.into(),
            sum: pending.sum.into(),
            block_keys: heads.block_keys.into(),
            block_p: pending.block_p.into(),
            block_sum: pending.block_sum.into(),
            v: v.at.into(),
            dst: target.tile.at.into(),
            v_stride: count(v.stride as usize),
            dst_stride: count(target.tile.stride as usize),
            ..self.product(stripe, builder.machine)
        };
        builder.push(self.product, op);
        builder.finish_store(self.product, &target);
    }
}

#[cfg(test)]
mod tests;
