//! Emission of sparse attention.

use std::collections::VecDeque;

use vitcod_isa::instr::table::{Sddmm, SddmmList, Softmax, SoftmaxList, Spmm, SpmmList};
use vitcod_isa::instr::{Engine, Sram, Width};
use vitcod_isa::lists::LIST_ROW_BYTES;
use vitcod_isa::operands::block_keys_to_bytes;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, SramOperand, Target, Tile};
use crate::codegen::limits::bytes32;
use crate::codegen::lower::sparse_attention::division::{HeadGroup, Results};
use crate::codegen::lower::sparse_attention::names::{KEYS, RESULTS, STRIPE_DATA, VALUES};
use crate::codegen::lower::sparse_attention::plan::SparseAttentionPlan;
use crate::codegen::lower::sparse_attention::stripe::{Stripe, StripeConstants, Work};
use crate::ir::{Op, Value};

/// A head group while it is emitted.
struct Heads<'p> {
    group: &'p HeadGroup,
    queries: Tile,
    keys: Tile,
    values: Option<Tile>,
    /// The results of all stripes, if they share a tile.
    results: Option<Target>,
    /// Stripes whose product has not been emitted.
    left: usize,
    /// Numbers of columns of the blocks, and their keys.
    block_keys: SramOperand,
}

/// A stripe between its scores and its product.
struct Pending<'p> {
    heads: usize,
    stripe: &'p Stripe,
    constants: SramOperand,
    tokens: (SramOperand, usize),
    p: SramOperand,
    sum: SramOperand,
    block_p: SramOperand,
    block_sum: SramOperand,
}

/// Scores with their maxima.
#[derive(Clone, Copy)]
struct Scores {
    max: SramOperand,
    scores: SramOperand,
}

/// Emits sparse attention.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &SparseAttentionPlan) {
    builder.declare(&plan.buffers);
    let mut waiting: VecDeque<Pending<'_>> = VecDeque::new();
    let mut loaded: Vec<Heads<'_>> = Vec::new();
    for (index, group) in plan.head_groups.iter().enumerate() {
        if !plan.heads_overlap {
            plan.multiply_until(builder, &mut loaded, &mut waiting, 0);
        }
        loaded.push(plan.load(builder, group));
        for (number, stripe) in group.stripes.iter().enumerate() {
            waiting.push_back(plan.score(builder, index, &loaded[index], stripe));
            // Products that overwrite queries wait for all scores of the head group.
            let last = number + 1 == group.stripes.len();
            let left = match plan.results {
                Results::OverQueries if !last => number + 1,
                _ => 1,
            };
            plan.multiply_until(builder, &mut loaded, &mut waiting, left);
        }
    }
    plan.multiply_until(builder, &mut loaded, &mut waiting, 0);
}

impl SparseAttentionPlan {
    /// The operation of scores.
    fn scores(&self) -> Op {
        self.attention.first_scores()
    }

    /// All rows of a head group.
    fn all(rows: usize, group: &HeadGroup, d: usize) -> Block {
        Block { rows: 0..rows, bytes: group.heads.start * d..group.heads.end * d }
    }

    fn load<'p>(&self, builder: &mut Builder<'_>, group: &'p HeadGroup) -> Heads<'p> {
        let attention = &self.attention;
        let patterns = &attention.pattern.heads[group.heads.clone()];
        let columns: Vec<&[u16]> = patterns.iter().map(|head| head.columns.as_slice()).collect();
        let block_keys = match attention.block {
            Some(part)
                if patterns
                    .iter()
                    .any(|head| head.first_consecutive().is_none() && !head.columns.is_empty()) =>
            {
                builder.pooled(
                    STRIPE_DATA,
                    part.scores,
                    block_keys_to_bytes(&columns).expect("tilings have fewer columns"),
                )
            }
            _ => SramOperand::NONE,
        };
        // Keys and queries share a tile.
        let places = &group.places;
        let mut tile: Option<Tile> = None;
        let mut read = |value: Value, rows: usize, offset: u64, stride: u64| {
            let block = SparseAttentionPlan::all(rows, group, attention.d);
            builder.read_into(self.scores(), value, &block, |builder| {
                let all =
                    *tile.get_or_insert_with(|| builder.tile(KEYS, 1, places.keys_bytes as usize));
                let at = builder.offset_bytes(all.at, offset);
                Tile { at, stride: bytes32(stride as usize) }
            })
        };
        let keys = read(attention.k, attention.keys, places.k.offset, places.k.stride);
        let queries = read(attention.q, attention.queries, places.q.offset, places.q.stride);
        let left = group.stripes.len();
        Heads { group, queries, keys, values: None, results: None, left, block_keys }
    }

    /// Scores and probabilities of a stripe.
    fn score<'p>(
        &self,
        builder: &mut Builder<'_>,
        index: usize,
        heads: &Heads<'p>,
        stripe: &'p Stripe,
    ) -> Pending<'p> {
        let attention = &self.attention;
        let groups = attention.array(&self.lines, builder.machine).groups;
        let constants = StripeConstants::new(stripe, &attention.pattern, self.form, &groups);
        let (tokens, token_bytes) = constants.tokens;
        let masks = constants.masks;
        let constants = match constants.bytes.is_empty() {
            true => SramOperand::NONE,
            false => builder.pooled(STRIPE_DATA, self.scores(), constants.bytes),
        };
        let tokens = (builder.offset_bytes(constants, tokens), token_bytes);
        let block = self.block_scores(builder, heads, stripe, (constants, &masks));
        let list = self.list_scores(builder, heads, stripe, (constants, tokens));
        let (block_p, block_sum) = self.block_softmax(builder, stripe, block, list);
        let (p, sum) = self.list_softmax(builder, stripe, constants, list, block);
        Pending { heads: index, stripe, constants, tokens, p, sum, block_p, block_sum }
    }

    /// Scores of the denser engine.
    fn block_scores(
        &self,
        builder: &mut Builder<'_>,
        heads: &Heads<'_>,
        stripe: &Stripe,
        (constants, masks): (SramOperand, &[Option<u64>]),
    ) -> Option<Scores> {
        let attention = &self.attention;
        let columns = stripe.columns(attention.keys);
        let all_columns = columns.iter().sum::<usize>();
        if all_columns == 0 {
            return None;
        }
        let layer = attention.block.map_or(self.scores(), |part| part.scores);
        let (height, d) = (stripe.rows.len(), attention.d);
        let max = builder.tile(STRIPE_DATA, 1, 2 * stripe.queries()).at;
        let scores = builder.tile(STRIPE_DATA, 1, 2 * height * all_columns).at;
        let q = builder.offset_rows(heads.queries, stripe.rows.start);
        let mut before = 0;
        for (local, columns) in columns.into_iter().enumerate() {
            if columns == 0 {
                continue;
            }
            let pattern = &attention.pattern.heads[stripe.heads.start + local];
            let first_key = match stripe.work {
                Work::Full => Some(0),
                Work::Split { .. } => pattern.first_consecutive(),
            };
            let first =
                first_key.map_or(0, |first| u64::from(first) * u64::from(heads.keys.stride));
            let op = Sddmm {
                indexed: first_key.is_none(),
                masked: masks[local].is_some(),
                q: builder.offset_bytes(q.at, (local * d) as u64).into(),
                k: builder.offset_bytes(heads.keys.at, first + (local * d) as u64).into(),
                max: builder.offset_bytes(max, (2 * local * height) as u64).into(),
                dst: builder.offset_bytes(scores, (2 * before * height) as u64).into(),
                index: match first_key {
                    Some(_) => Sram(0),
                    None => {
                        let offset = 2 * (stripe.heads.len() + before) as u64;
                        builder.offset_bytes(heads.block_keys, offset).into()
                    }
                },
                mask: masks[local].map_or(Sram(0), |at| builder.offset_bytes(constants, at).into()),
                ..attention.block_scores(height, columns, self.lines.denser, &heads.group.places)
            };
            builder.push(layer, op);
            before += columns;
        }
        Some(Scores { max, scores })
    }

    /// Scores of the list.
    fn list_scores(
        &self,
        builder: &mut Builder<'_>,
        heads: &Heads<'_>,
        stripe: &Stripe,
        (rows, (tokens, token_bytes)): (SramOperand, (SramOperand, usize)),
    ) -> Option<Scores> {
        let (list, part) = stripe.list().zip(self.attention.list)?;
        let max = builder.tile(STRIPE_DATA, 1, 2 * stripe.queries()).at;
        let scores = builder.tile(STRIPE_DATA, 1, 2 * list.entries).at;
        let places = &heads.group.places;
        let op = SddmmList {
            rows: rows.into(),
            tokens: tokens.into(),
            q: builder.offset_rows(heads.queries, stripe.rows.start).at.into(),
            k: heads.keys.at.into(),
            max: max.into(),
            dst: scores.into(),
            ..self.attention.list_scores(stripe, list, self.lines.scores, places, token_bytes)
        };
        builder.push_list(part.scores, op, &list.list);
        Some(Scores { max, scores })
    }

    /// Probabilities and sums of the denser engine.
    fn block_softmax(
        &self,
        builder: &mut Builder<'_>,
        stripe: &Stripe,
        block: Option<Scores>,
        list: Option<Scores>,
    ) -> (SramOperand, SramOperand) {
        let Some(Scores { max, scores }) = block else {
            return (SramOperand::NONE, SramOperand::NONE);
        };
        let attention = &self.attention;
        let columns = stripe.columns(attention.keys);
        let layer = attention.block.or(attention.list).map_or(self.scores(), |part| part.softmax);
        let height = stripe.rows.len();
        let p = builder.tile(STRIPE_DATA, 1, height * columns.iter().sum::<usize>()).at;
        let sum = builder.tile(STRIPE_DATA, 1, 4 * stripe.queries()).at;
        let mut before = 0;
        for (local, columns) in columns.into_iter().enumerate() {
            if columns == 0 {
                continue;
            }
            let other =
                list.map(|list| builder.offset_bytes(list.max, (2 * local * height) as u64));
            let op = Softmax {
                both: list.is_some(),
                src: builder.offset_bytes(scores, (2 * before * height) as u64).into(),
                max: builder.offset_bytes(max, (2 * local * height) as u64).into(),
                other_max: other.map_or(Sram(0), Sram::from),
                sum: builder.offset_bytes(sum, (4 * local * height) as u64).into(),
                dst: builder.offset_bytes(p, (before * height) as u64).into(),
                ..attention.block_softmax(height, columns)
            };
            builder.push(layer, op);
            before += columns;
        }
        (p, sum)
    }

    /// Probabilities and sums of the list.
    fn list_softmax(
        &self,
        builder: &mut Builder<'_>,
        stripe: &Stripe,
        rows: SramOperand,
        list_scores: Option<Scores>,
        block: Option<Scores>,
    ) -> (SramOperand, SramOperand) {
        let (Some((list, part)), Some(Scores { max, scores })) =
            (stripe.list().zip(self.attention.list), list_scores)
        else {
            return (SramOperand::NONE, SramOperand::NONE);
        };
        let queries = list.list.rows.len();
        let p = builder.tile(STRIPE_DATA, 1, list.entries).at;
        let sum = builder.tile(STRIPE_DATA, 1, 4 * queries).at;
        let shape = (stripe.rows.len(), stripe.heads.len());
        // Queries without entries have sums, too: they go where entries are.
        let (first, entry) = match list.sparser_softmax {
            (_, 0) => (0, 0),
            (_, entry) if entry == list.entries => (queries, entry),
            share => share,
        };
        let rest = (queries - first, list.entries - entry);
        let parts =
            [(Engine::Sparser, (0, 0), (first, entry)), (Engine::Denser, (first, entry), rest)];
        for (engine, (first, entry), share) in
            parts.into_iter().filter(|(_, _, (queries, _))| *queries > 0)
        {
            let op = SoftmaxList {
                engine,
                both: block.is_some(),
                rows: builder.offset_bytes(rows, first as u64 * LIST_ROW_BYTES).into(),
                src: builder.offset_bytes(scores, 2 * entry as u64).into(),
                max: max.into(),
                other_max: block.map_or(Sram(0), |block| block.max.into()),
                sum: builder.offset_bytes(sum, 4 * first as u64).into(),
                dst: builder.offset_bytes(p, entry as u64).into(),
                ..self.attention.list_softmax(shape, share)
            };
            builder.push_softmax(part.softmax, op, &list.list.rows[first..first + share.0]);
        }
        (p, sum)
    }

    /// Emits products until only so many stripes wait for theirs.
    fn multiply_until(
        &self,
        builder: &mut Builder<'_>,
        loaded: &mut [Heads<'_>],
        waiting: &mut VecDeque<Pending<'_>>,
        left: usize,
    ) {
        while waiting.len() > left
            && let Some(next) = waiting.pop_front()
        {
            self.multiply(builder, &mut loaded[next.heads], &next);
        }
    }

    /// The product of a stripe. Loads V on first use, after Q and K of the next stripe, so that its
    /// scores are not delayed.
    fn multiply(&self, builder: &mut Builder<'_>, heads: &mut Heads<'_>, pending: &Pending<'_>) {
        let attention = &self.attention;
        let (stripe, group) = (pending.stripe, heads.group);
        let v = *heads.values.get_or_insert_with(|| {
            let block = SparseAttentionPlan::all(attention.keys, group, attention.dv);
            builder.read_into(attention.product, attention.v, &block, |builder| {
                let places = &group.places;
                let all = builder.tile(VALUES, 1, places.values_bytes as usize);
                Tile { at: all.at, stride: bytes32(places.v.stride as usize) }
            })
        });
        let mut own = None;
        let all = SparseAttentionPlan::all(attention.queries, group, attention.dv);
        let (target, first) = match self.results {
            Results::Stripes => {
                let block = Block { rows: stripe.rows.clone(), ..all };
                (&*own.insert(builder.begin_store(STRIPE_DATA, attention.result, &block)), 0)
            }
            Results::Shared | Results::OverQueries => {
                let queries = heads.queries;
                let target = heads.results.get_or_insert_with(|| match self.results {
                    Results::OverQueries => {
                        builder.begin_store_over(attention.result, &all, queries)
                    }
                    _ => builder.begin_store(RESULTS, attention.result, &all),
                });
                (&*target, stripe.rows.start)
            }
        };
        let tile = target.tile;
        let dst = builder.offset_rows(tile, first);
        let sums = self.block_product(builder, group, pending, (v, dst));
        if let Some(list) = stripe.list() {
            let (tokens, token_bytes) = pending.tokens;
            let op = SpmmList {
                accumulate: sums.is_some(),
                rows: pending.constants.into(),
                tokens: tokens.into(),
                p: pending.p.into(),
                sum: pending.sum.into(),
                block_sum: pending.block_sum.into(),
                acc: sums.map_or(Sram(0), |sums| sums.at.into()),
                v: v.at.into(),
                dst: dst.at.into(),
                acc_stride: vitcod_isa::instr::SramBytes(sums.map_or(0, |sums| sums.stride)),
                ..attention.list_product(
                    stripe,
                    list,
                    self.lines.products,
                    &group.places,
                    token_bytes,
                )
            };
            builder.push_list(attention.product, op, &list.list);
        }
        heads.left -= 1;
        match own {
            Some(own) => builder.finish_store(attention.product, &own),
            None if heads.left == 0 => {
                let results = heads.results.as_ref().expect("its products are complete");
                builder.finish_store(attention.product, results);
            }
            None => {}
        }
    }

    /// The product of the keys of the denser engine: results or, if a list continues them, sums.
    fn block_product(
        &self,
        builder: &mut Builder<'_>,
        group: &HeadGroup,
        pending: &Pending<'_>,
        (v, dst): (Tile, Tile),
    ) -> Option<Tile> {
        let attention = &self.attention;
        let stripe = pending.stripe;
        let columns = stripe.columns(attention.keys);
        if columns.iter().all(|columns| *columns == 0) {
            return None;
        }
        let (height, dv) = (stripe.rows.len(), attention.dv);
        let is_listed = stripe.list().is_some();
        let runs: Vec<Vec<_>> = (0..columns.len())
            .map(|local| match stripe.work {
                Work::Full => std::iter::once(0..attention.keys).collect(),
                Work::Split { .. } => attention.pattern.heads[stripe.heads.start + local].runs(),
            })
            .collect();
        let summed = is_listed || runs.iter().any(|runs| runs.len() > 1);
        let sums = summed.then(|| {
            let stride = attention.sum_stride(stripe.heads.len(), builder.machine);
            builder.tile(STRIPE_DATA, height, stride)
        });
        let mut before = 0;
        for (local, runs) in runs.into_iter().enumerate() {
            let columns = columns[local];
            let last = runs.len().saturating_sub(1);
            for (number, run) in runs.into_iter().enumerate() {
                let key = match stripe.work {
                    Work::Full => 0,
                    Work::Split { .. } => {
                        attention.pattern.heads[stripe.heads.start + local].columns[run.start]
                    }
                };
                let row = builder.offset_rows(v, key.into());
                let acc = sums.map(|sums| builder.offset_bytes(sums.at, (4 * local * dv) as u64));
                let acc_stride = sums.map_or(0, |sums| sums.stride);
                let template =
                    attention.block_product(height, run.len(), self.lines.denser, &group.places);
                let mut op = Spmm {
                    accumulate: number > 0,
                    p: builder
                        .offset_bytes(pending.block_p, (before * height + run.start) as u64)
                        .into(),
                    v: builder.offset_bytes(row.at, (local * dv) as u64).into(),
                    sum: builder
                        .offset_bytes(pending.block_sum, (4 * local * height) as u64)
                        .into(),
                    p_stride: bytes32(columns),
                    acc: acc.map_or(Sram(0), Sram::from),
                    acc_stride,
                    ..template
                };
                if is_listed || number < last {
                    op.out = Width::I32;
                    op.dst = acc.map_or(Sram(0), Sram::from);
                    op.dst_stride = acc_stride;
                } else {
                    op.dst = builder.offset_bytes(dst.at, (local * dv) as u64).into();
                }
                builder.push(attention.product, op);
            }
            before += columns;
        }
        sums.filter(|_| is_listed)
    }
}
