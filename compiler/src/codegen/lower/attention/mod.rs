//! Attention: scores, softmax and product with the values, head by head in stripes of queries, with
//! lookups of the product. Attention windows are computed one after the other, each like attention
//! without windows.
//!
//! Stripes form a pipeline. While the softmax of a stripe runs, the MAC lines compute the scores of
//! the next one, so the scores of stripe `i + 1` precede the product of stripe `i`. Stripes
//! alternate between the softmax units of the two engines.
//!
//! Queries, keys and values are stored tensors, or a projection of the group computes those of a
//! head before the head. Then they never leave the chip, and the projection overlaps with the
//! softmax of other stripes.

mod names;
mod operands;
mod shape;
mod stripes;
mod templates;

use std::ops::Range;

use vitcod_isa::instr::table::{Sddmm, Softmax, Spmm};
use vitcod_isa::instr::{Sram, Traffic};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{SramOperand, Tile, chunks};
use crate::codegen::group::AttentionGroup;
use crate::codegen::lower::attention::names::{
    KEYS, MAXIMA, PROBABILITIES, PROJECTED_QUERIES, QUERIES, RESULTS, ROW_SUMS, SCORES, TABLES,
    TERMS, VALUES,
};
use crate::codegen::lower::attention::operands::{MaskRows, Operands};
use crate::codegen::lower::attention::shape::Attention;
use crate::codegen::lower::attention::templates::{score_stride, sddmm, softmax, spmm};
use crate::ir::{Op, Value};

pub(crate) use crate::codegen::lower::attention::stripes::{AttentionPlan, choose};

/// A stripe between its scores and its product.
struct Stripe {
    /// The head, counted over all windows.
    head_index: usize,
    /// Queries of the window.
    rows: Range<usize>,
    probabilities: Tile,
    sums: SramOperand,
}

/// The queries and keys of a stripe, and its rows of a shared mask.
struct ScoreOperands {
    q: Tile,
    k: Tile,
    shared_mask: Option<SramOperand>,
}

/// Attention while it is emitted.
struct Emission<'p> {
    group: &'p AttentionGroup,
    attention: &'p Attention,
    /// Lookups with their loaded tables.
    tables: Vec<(Op, SramOperand)>,
}

/// Emits attention.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &AttentionPlan<'_>) {
    builder.declare(&plan.buffers);
    let AttentionPlan { group, attention, stripes, boundary_rows, is_mask_resident, .. } = plan;
    let Attention { q, k, v, terms, shape, .. } = attention;
    let mut operands = Operands::load(builder, group, stripes.projected_channels, *boundary_rows);
    let mask = (terms.shared_mask)
        .map(|mask| MaskRows::new(builder, group.sddmm, mask, *is_mask_resident));
    let tables = group.luts.iter().map(|lut| {
        let table = builder.graph.op(*lut).operands[1];
        let bytes = 0..builder.graph.ty(table).bytes();
        (*lut, builder.constant(TABLES, *lut, table, bytes, Traffic::Params))
    });
    let emission = Emission { group, attention, tables: tables.collect() };
    let mut waiting: Option<Stripe> = None;
    // Keys and values of the heads so far.
    let mut keys: Vec<Tile> = Vec::new();
    let mut values: Vec<Tile> = Vec::new();
    // The queries of the current head, if a projection computes them.
    let mut projected: Option<Tile> = None;
    for (turn, (head_index, rows)) in (0..shape.windows * shape.heads)
        .flat_map(|head| chunks(shape.queries, stripes.height).map(move |rows| (head, rows)))
        .enumerate()
    {
        if rows.start == 0 {
            if let Some(last) = waiting.take_if(|_| !stripes.heads_overlap) {
                emission.product(builder, values[last.head_index], &last);
            }
            let block = shape.keys(head_index, shape.d);
            keys.push(operands.tile(builder, KEYS, group.sddmm, *k, &block));
            projected = operands.project(builder, PROJECTED_QUERIES, *q, &block.bytes);
        }
        let q = match projected {
            Some(tile) => builder.offset_rows(tile, rows.start),
            None => {
                let block = shape.queries(head_index, &rows, shape.d);
                builder.read(QUERIES, group.sddmm, *q, &block)
            }
        };
        let shared_mask = mask.as_ref().map(|mask| mask.stripe(builder, group.sddmm, &rows));
        let score_operands = ScoreOperands { q, k: keys[head_index], shared_mask };
        let stripe = emission.scores(builder, score_operands, (head_index, rows), turn);
        if stripe.rows.start == 0 {
            let block = shape.keys(head_index, shape.dv);
            values.push(operands.tile(builder, VALUES, group.spmm, *v, &block));
        }
        if let Some(previous) = waiting.replace(stripe) {
            emission.product(builder, values[previous.head_index], &previous);
        }
    }
    if let Some(last) = waiting {
        emission.product(builder, values[last.head_index], &last);
    }
}

impl Emission<'_> {
    /// Scores and probabilities of a stripe.
    fn scores(
        &self,
        builder: &mut Builder<'_>,
        ScoreOperands { q, k, shared_mask }: ScoreOperands,
        (head_index, rows): (usize, Range<usize>),
        turn: usize,
    ) -> Stripe {
        let Attention { terms, shape, score_scale, .. } = self.attention;
        let (m, n) = (rows.len(), shape.keys);
        let mask =
            terms.mask.map(|mask| self.term(builder, mask, (head_index, &rows), Traffic::Indices));
        let mask = mask.or(shared_mask);
        let bias =
            terms.bias.map(|bias| self.term(builder, bias, (head_index, &rows), Traffic::Params));
        let scores = builder.tile(SCORES, m, score_stride(builder.machine, shape));
        let probabilities = builder.tile(PROBABILITIES, m, n);
        let max = builder.tile(MAXIMA, 1, 2 * m).at;
        let sums = builder.tile(ROW_SUMS, 1, 4 * m).at;
        let op = Sddmm {
            masked: mask.is_some(),
            biased: bias.is_some(),
            q: q.at.into(),
            k: k.at.into(),
            max: max.into(),
            dst: scores.at.into(),
            q_stride: q.stride,
            k_stride: k.stride,
            dst_stride: scores.stride,
            mask: mask.map_or(Sram(0), Sram::from),
            bias: bias.map_or(Sram(0), Sram::from),
            ..sddmm(builder.machine.all_lines(), *shape, m, *score_scale)
        };
        builder.push(self.group.sddmm, op);
        let op = Softmax {
            src: scores.at.into(),
            max: max.into(),
            sum: sums.into(),
            dst: probabilities.at.into(),
            src_stride: scores.stride,
            dst_stride: probabilities.stride,
            ..softmax(*shape, m, turn)
        };
        builder.push(self.group.softmax, op);
        Stripe { head_index, rows, probabilities, sums }
    }

    /// Loads the mask or bias of some queries of a head. Windows may share it.
    fn term(
        &self,
        builder: &mut Builder<'_>,
        term: Value,
        (head_index, rows): (usize, &Range<usize>),
        traffic: Traffic,
    ) -> SramOperand {
        let (graph, queries) = (builder.graph, self.attention.shape.queries);
        let heads = graph.ty(term).shape[0];
        let each = graph.ty(term).bytes() / (heads * queries);
        let first = head_index % heads * queries + rows.start;
        let bytes = first * each..(first + rows.len()) * each;
        builder.constant(TERMS, self.group.sddmm, term, bytes, traffic)
    }

    /// The product of a stripe, with its lookups.
    fn product(&self, builder: &mut Builder<'_>, v: Tile, stripe: &Stripe) {
        let Attention { result, shape, product_scale, .. } = self.attention;
        let m = stripe.rows.len();
        let block = shape.queries(stripe.head_index, &stripe.rows, shape.dv);
        let target = builder.begin_store(RESULTS, *result, &block);
        let op = Spmm {
            p: stripe.probabilities.at.into(),
            v: v.at.into(),
            sum: stripe.sums.into(),
            dst: target.tile.at.into(),
            p_stride: stripe.probabilities.stride,
            v_stride: v.stride,
            dst_stride: target.tile.stride,
            ..spmm(builder.machine.all_lines(), *shape, m, *product_scale)
        };
        builder.push(self.group.spmm, op);
        for (lut, table) in &self.tables {
            builder.lookup(*lut, *table, [target.tile; 2], m, &block.bytes);
        }
        builder.finish_store(self.group.spmm, &target);
    }
}

#[cfg(test)]
mod tests;
