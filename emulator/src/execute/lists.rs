//! Instructions on lists of sparse patterns: `sddmm_list`, `softmax_list` and `spmm_list`.

use std::ops::Range;

use vitcod_isa::instr::table::{SddmmList, SoftmaxList, SpmmList};
use vitcod_isa::instr::{Op, Sram};
use vitcod_isa::lists::{
    LIST_ROW_BYTES, List, ListError, ListRow, Shape, check_rows, check_softmax_cycles,
};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::{
    PRUNED, ProbabilityFormat, Scale, requantise_i8, requantise_score, softmax_probs,
};

use super::block::Block;
use super::fault::{OperandFault, Reason};

/// How lists are executed.
pub(super) struct Lists<'a> {
    pub(super) machine: &'a Machine,
    /// Whether operands are at their addresses: then the cycles that instructions and lists state
    /// are checked, too.
    pub(super) placed: bool,
}

impl Lists<'_> {
    pub(super) fn sddmm(&self, op: &SddmmList, sram: &mut [u8]) -> Result<(), OperandFault> {
        let [d, heads, entries] = [op.d.into(), op.heads.into(), op.entries.0 as usize];
        let (rows, keys) = self.list(&(*op).into(), [op.rows, op.tokens], sram)?;
        let q = Block::new(op.q, op.m, heads * d, 1, op.q_stride.into());
        let k = Block::new(op.k, op.n, heads * d, 1, op.k_stride.into());

        let mut maxima = Vec::with_capacity(rows.len());
        let mut scores = Vec::with_capacity(entries);
        for (row, own) in with_entries(&rows) {
            let head = features(row, d);
            let query = &q.row_bytes(sram, row.query.into())[head.clone()];
            let mut max = PRUNED;
            for key in &keys[own] {
                let key = &k.row_bytes(sram, (*key).into())[head.clone()];
                let score = requantise_score(dot(query, key), op.scale);
                max = max.max(score);
                scores.push(score);
            }
            maxima.push((row.number(op.m), max));
        }
        for (number, max) in maxima {
            let at = op.max.0 as usize + 2 * number;
            sram[at..at + 2].copy_from_slice(&i16::to_le_bytes(max));
        }
        Block::vector(op.dst, entries, 2).write(sram, &scores, i16::to_le_bytes);
        Ok(())
    }

    pub(super) fn softmax(&self, op: &SoftmaxList, sram: &mut [u8]) -> Result<(), OperandFault> {
        let [queries, entries] = [op.queries.into(), op.entries.0 as usize];
        let rows = rows(op.rows, queries, sram);
        check_rows(&rows, (op.m, op.heads), op.entries.0).map_err(fault)?;
        if self.placed {
            check_softmax_cycles(op, &rows, self.machine).map_err(fault)?;
        }
        let scores = Block::vector(op.src, entries, 2).read(sram, i16::from_le_bytes);
        let format = ProbabilityFormat::of(op.minifloat);
        let mut probabilities = vec![0; entries];
        let mut sums = Vec::with_capacity(queries);
        for (row, own) in with_entries(&rows) {
            let max_at = |at| i16::from_le_bytes(element(sram, at, row.number(op.m)));
            let mut max = max_at(op.max);
            if op.both {
                max = max.max(max_at(op.other_max));
            }
            let (scores, probabilities) = (&scores[own.clone()], &mut probabilities[own]);
            sums.push(softmax_probs(scores, max, op.shift.0, format, probabilities));
        }
        Block::vector(op.sum, queries, 4).write(sram, &sums, u32::to_le_bytes);
        Block::vector(op.dst, entries, 1).write(sram, &probabilities, u8::to_le_bytes);
        Ok(())
    }

    pub(super) fn spmm(&self, op: &SpmmList, sram: &mut [u8]) -> Result<(), OperandFault> {
        let [d, heads, entries] = [op.d.into(), op.heads.into(), op.entries.0 as usize];
        let (rows, keys) = self.list(&(*op).into(), [op.rows, op.tokens], sram)?;
        let v = Block::new(op.v, op.n, heads * d, 1, op.v_stride.into());
        let acc = Block::new(op.acc, op.m, heads * d, 4, op.acc_stride.0);
        let dst = Block::new(op.dst, op.m, heads * d, 1, op.dst_stride.into());
        let p = Block::vector(op.p, entries, 1).bytes(sram);
        let format = ProbabilityFormat::of(op.minifloat);

        let mut results = Vec::with_capacity(rows.len() * d);
        let mut totals = vec![0i32; d];
        for (position, (row, own)) in with_entries(&rows).enumerate() {
            let head = features(row, d);
            let mut sum = u32::from_le_bytes(element(sram, op.sum, position));
            totals.fill(0);
            if op.accumulate {
                let acc = acc.row_bytes(sram, row.query.into()).as_chunks().0;
                for (total, bytes) in totals.iter_mut().zip(&acc[head.clone()]) {
                    *total = i32::from_le_bytes(*bytes);
                }
                let block = u32::from_le_bytes(element(sram, op.block_sum, row.number(op.m)));
                sum = sum.wrapping_add(block);
            }
            for (key, probability) in keys[own.clone()].iter().zip(&p[own]) {
                let values = &v.row_bytes(sram, (*key).into())[head.clone()];
                accumulate(&mut totals, format.decode(*probability).into(), values);
            }
            let scale = op.scale.combine(Scale::reciprocal(sum));
            results.extend(totals.iter().map(|total| requantise_i8(*total, scale).cast_unsigned()));
        }
        for (position, row) in rows.iter().enumerate() {
            let results = &results[position * d..(position + 1) * d];
            dst.row_bytes_mut(sram, row.query.into())[features(row, d)].copy_from_slice(results);
        }
        Ok(())
    }

    /// The queries of a list, and the key of each entry.
    fn list(
        &self,
        op: &Op,
        [rows_at, tokens_at]: [Sram; 2],
        sram: &[u8],
    ) -> Result<(Vec<ListRow>, Vec<u16>), OperandFault> {
        let Some(shape) = Shape::of(op) else { return Ok((Vec::new(), Vec::new())) };
        let rows = Block::vector(rows_at, shape.queries.into(), LIST_ROW_BYTES as u32).bytes(sram);
        let tokens = Block::vector(tokens_at, shape.token_bytes as usize, 1).bytes(sram);
        let (list, keys) =
            List::checked(op, [rows, tokens], self.placed, self.machine).map_err(fault)?;
        Ok((list.rows, keys))
    }
}

fn fault(error: ListError) -> OperandFault {
    (error.operand(), Reason::List(error))
}

fn rows(at: Sram, queries: usize, sram: &[u8]) -> Vec<ListRow> {
    Block::vector(at, queries, LIST_ROW_BYTES as u32).read(sram, ListRow::from_bytes)
}

/// Each query with its range of entries.
fn with_entries(rows: &[ListRow]) -> impl Iterator<Item = (&ListRow, Range<usize>)> {
    let mut end = 0;
    rows.iter().map(move |row| {
        let start = end;
        end += usize::from(row.entries);
        (row, start..end)
    })
}

/// The features of a query's head.
fn features(row: &ListRow, d: usize) -> Range<usize> {
    let head = usize::from(row.head);
    head * d..(head + 1) * d
}

/// An element of a vector.
fn element<const N: usize>(sram: &[u8], at: Sram, number: usize) -> [u8; N] {
    let at = at.0 as usize + N * number;
    *sram[at..].first_chunk().expect("the operand has been checked")
}

fn dot(a: &[u8], b: &[u8]) -> i32 {
    let products = a.iter().zip(b).map(|(a, b)| i32::from(*a as i8) * i32::from(*b as i8));
    products.fold(0, i32::wrapping_add)
}

fn accumulate(sums: &mut [i32], factor: i32, features: &[u8]) {
    for (sum, feature) in sums.iter_mut().zip(features) {
        *sum = sum.wrapping_add(factor * i32::from(*feature as i8));
    }
}
