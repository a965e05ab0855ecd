//! Instructions on lists of sparse patterns: `sddmm_list`, `softmax_list` and `spmm_list`.

use std::ops::Range;

use vitcod_isa::instr::Sram;
use vitcod_isa::instr::table::{SddmmList, SoftmaxList, SpmmList};
use vitcod_isa::numerics::{
    PRUNED, ProbabilityFormat, Scale, requantise_i8, requantise_score, softmax_probs,
};
use vitcod_isa::operands::{
    LIST_ROW_BYTES, LineGroups, ListRow, block_keys_bytes, block_keys_from_bytes, list_key_bytes,
    list_keys_from_bytes,
};

use super::block::Block;
use super::fault::{OperandFault, Reason, below};

pub(super) fn sddmm(op: &SddmmList, sram: &mut [u8]) -> Result<(), OperandFault> {
    let [m, d, heads, entries] = [op.m.into(), op.d.into(), op.heads.into(), op.entries.0 as usize];
    let rows = Rows::whole(op.rows, heads * m, entries, sram)?;
    let keys = keys(op.keys, op.wide, entries, op.n, sram)?;
    let q = Block::new(op.q, op.m, heads * d, 1, op.q_stride.into());
    let k = Block::new(op.k, op.n, heads * d, 1, op.k_stride.into());

    let mut maxima = vec![PRUNED; heads * m];
    let mut scores = Vec::with_capacity(entries);
    for (query, own) in rows.iter() {
        let head = query / m * d..(query / m + 1) * d;
        let features = &q.row_bytes(sram, query % m)[head.clone()];
        for key in &keys[own] {
            let score = requantise_score(
                dot(features, &k.row_bytes(sram, (*key).into())[head.clone()]),
                op.scale,
            );
            maxima[query] = maxima[query].max(score);
            scores.push(score);
        }
    }
    Block::vector(op.max, maxima.len(), 2).write(sram, &maxima, i16::to_le_bytes);
    Block::vector(op.dst, entries, 2).write(sram, &scores, i16::to_le_bytes);
    Ok(())
}

pub(super) fn softmax(op: &SoftmaxList, sram: &mut [u8]) -> Result<(), OperandFault> {
    let [count, queries, entries] = [op.count.into(), op.queries.into(), op.entries.0 as usize];
    let rows = Rows::new(op.rows, count, queries, entries, sram)?;
    let scores = Block::vector(op.src, entries, 2).read(sram, i16::from_le_bytes);
    let maxima_at = |at| Block::vector(at, queries, 2).read(sram, i16::from_le_bytes);
    let mut maxima = maxima_at(op.max);
    if op.both {
        let others = maxima_at(op.other_max);
        maxima.iter_mut().zip(others).for_each(|(max, other)| *max = other.max(*max));
    }
    let format = ProbabilityFormat::of(op.minifloat);
    let mut probabilities = vec![0; entries];
    let probabilities_of = |(query, own): (usize, Range<usize>)| {
        let (scores, probabilities) = (&scores[own.clone()], &mut probabilities[own]);
        softmax_probs(scores, maxima[query], op.shift.0, format, probabilities)
    };
    let sums: Vec<u32> = rows.iter().map(probabilities_of).collect();
    Block::vector(op.sum, count, 4).write(sram, &sums, u32::to_le_bytes);
    Block::vector(op.dst, entries, 1).write(sram, &probabilities, u8::to_le_bytes);
    Ok(())
}

/// Executes `spmm_list` on a machine whose lines have `macs` MACs each.
pub(super) fn spmm(op: &SpmmList, macs: u32, sram: &mut [u8]) -> Result<(), OperandFault> {
    let [m, d, heads] = [op.m, op.d, op.heads].map(usize::from);
    let queries = heads * m;
    let entries = if op.list { op.entries.0 as usize } else { 0 };
    let rows = Rows::whole(op.rows, queries, entries, sram)?;
    let sums_at = |at| Block::vector(at, queries, 4).read(sram, u32::from_le_bytes);
    let (keys, p, sums) = if op.list {
        let p = Block::vector(op.p, entries, 1).bytes(sram);
        (keys(op.keys, op.wide, entries, op.n, sram)?, p, sums_at(op.sum))
    } else {
        (Vec::new(), &[][..], vec![0; queries])
    };
    let (blocks, block_sums) = if op.block {
        (blocks(op, sram)?, sums_at(op.block_sum))
    } else {
        (vec![HeadBlock::default(); heads], vec![0; queries])
    };

    let steps =
        |(query, own): (usize, Range<usize>)| (own.len() + blocks[query / m].keys.len()) as u32;
    let busiest = LineGroups::new(op.d, op.lines.count, macs).busiest(rows.iter().map(steps));
    if busiest != u64::from(op.steps.0) {
        return Err(("steps", Reason::Steps { found: busiest, stated: op.steps.0 }));
    }

    let format = ProbabilityFormat::of(op.minifloat);
    let v = Block::new(op.v, op.n, heads * d, 1, op.v_stride.into());
    let mut results = vec![0i8; queries * d];
    let mut totals = vec![0i32; d];
    for (position, (query, own)) in rows.iter().enumerate() {
        let (h, i) = (query / m, query % m);
        let head = h * d..(h + 1) * d;
        let HeadBlock { keys: block_keys, p: block_p } = &blocks[h];
        let terms = own.len() + block_keys.len();
        let most = format.max_keys();
        if terms > most as usize {
            return Err(("rows", Reason::Terms { query, found: terms, most }));
        }
        let listed = keys[own.clone()].iter().zip(&p[own]);
        let dense = block_keys.iter().zip(&block_p[i * block_keys.len()..]);
        totals.fill(0);
        for (key, probability) in listed.chain(dense) {
            let probability = format.decode(*probability).into();
            accumulate(&mut totals, probability, &v.row_bytes(sram, (*key).into())[head.clone()]);
        }
        let sum = sums[position].wrapping_add(block_sums[query]);
        let scale = op.scale.combine(Scale::reciprocal(sum));
        for (result, total) in results[(i * heads + h) * d..][..d].iter_mut().zip(&totals) {
            *result = requantise_i8(*total, scale);
        }
    }
    Block::new(op.dst, op.m, heads * d, 1, op.dst_stride.into()).write(
        sram,
        &results,
        i8::to_le_bytes,
    );
    Ok(())
}

/// The `rows` of a list. Their queries are below a limit, and their entries add up to the number
/// that the instruction states.
struct Rows(Vec<ListRow>);

impl Rows {
    fn new(
        at: Sram,
        count: usize,
        queries: usize,
        entries: usize,
        sram: &[u8],
    ) -> Result<Rows, OperandFault> {
        let rows = Block::vector(at, count, LIST_ROW_BYTES as u32).read(sram, ListRow::from_bytes);
        below("rows", rows.iter().map(|row| row.query), queries)?;
        let found = rows.iter().map(|row| u64::from(row.entries)).sum();
        let stated = entries as u64;
        if found == stated {
            Ok(Rows(rows))
        } else {
            Err(("rows", Reason::Total { found, stated }))
        }
    }

    /// Reads rows that must name every query once.
    fn whole(at: Sram, queries: usize, entries: usize, sram: &[u8]) -> Result<Rows, OperandFault> {
        let rows = Rows::new(at, queries, queries, entries, sram)?;
        let mut named = vec![false; queries];
        for (position, row) in rows.0.iter().enumerate() {
            // There are as many rows as queries, so a missing query implies a repeated one.
            if std::mem::replace(&mut named[usize::from(row.query)], true) {
                return Err(("rows", Reason::Repeated { position, query: row.query }));
            }
        }
        Ok(rows)
    }

    /// Each query with its range of entries.
    fn iter(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut end = 0;
        self.0.iter().map(move |row| {
            let start = end;
            end += usize::from(row.entries);
            (row.query.into(), start..end)
        })
    }
}

/// The keys of a list's entries.
fn keys(
    at: Sram,
    wide: bool,
    entries: usize,
    n: u16,
    sram: &[u8],
) -> Result<Vec<u16>, OperandFault> {
    let bytes = Block::vector(at, entries, list_key_bytes(wide) as u32).bytes(sram);
    let keys = list_keys_from_bytes(bytes, wide);
    below("keys", keys.iter().copied(), n.into())?;
    Ok(keys)
}

/// The columns of a head's block: their keys, and their probabilities for each query.
#[derive(Clone, Default)]
struct HeadBlock<'a> {
    keys: Vec<u16>,
    p: &'a [u8],
}

fn blocks<'a>(op: &SpmmList, sram: &'a [u8]) -> Result<Vec<HeadBlock<'a>>, OperandFault> {
    let (heads, columns) = (u64::from(op.heads), u64::from(op.columns));
    let bytes =
        Block::vector(op.block_keys, block_keys_bytes(heads, columns) as usize, 1).bytes(sram);
    let keys = block_keys_from_bytes(bytes, op.heads.into())
        .map_err(|found| ("block_keys", Reason::Total { found, stated: columns }))?;
    below("block_keys", keys.iter().flatten().copied(), op.n.into())?;
    let mut rest =
        Block::vector(op.block_p, usize::from(op.columns) * usize::from(op.m), 1).bytes(sram);
    let block = |keys: Vec<u16>| {
        let (p, after) = rest.split_at(keys.len() * usize::from(op.m));
        rest = after;
        HeadBlock { keys, p }
    };
    Ok(keys.into_iter().map(block).collect())
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
