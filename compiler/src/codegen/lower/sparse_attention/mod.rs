//! Split attention: blocks of global tokens on the denser engine, pool of the other kept entries
//! on the sparser one, at the same time.
//!
//! Instructions span all heads of a head group and the queries of a stripe. Everything about the
//! entries is known here, so the list of a stripe is packed for the MAC lines: its queries stand in
//! falling order of their steps, in which groups of lines that take one after the other finish
//! together (longest processing time first). The scores of blocks and list share the lines in
//! proportion to their work. The product takes both parts of a query in one sum.
//!
//! Stripes form a pipeline as in dense [attention](super::attention): the scores of stripe `i + 1`
//! come before the product of stripe `i`. The list's softmax is divided between the softmax units
//! of both engines, which the blocks' softmax has taken in part.

pub(crate) mod pattern;
pub(crate) mod stripe;
pub(crate) mod templates;
pub(crate) mod tiling;

use std::ops::Range;

use vitcod_isa::instr::table::{Sddmm, SddmmList, Softmax, SoftmaxList, SpmmList};
use vitcod_isa::instr::{Engine, Sram};
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::{LIST_ROW_BYTES, block_keys_to_bytes};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, Tile, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::group::{AttentionPart, SparseAttentionGroup};
use crate::codegen::lower::sparse_attention::pattern::Pattern;
use crate::codegen::lower::sparse_attention::stripe::{Image, Stripe};
use crate::ir::{Graph, Op, OpKind, Value};

/// What is lowered.
pub(crate) struct Attention {
    pub(crate) block: Option<AttentionPart>,
    pub(crate) list: Option<AttentionPart>,
    pub(crate) product: Op,
    pub(crate) q: Value,
    pub(crate) k: Value,
    pub(crate) v: Value,
    pub(crate) result: Value,
    pub(crate) pattern: Pattern,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Features of queries and keys.
    pub(crate) d: usize,
    /// Features of values.
    pub(crate) dv: usize,
    pub(crate) score_scale: Scale,
    pub(crate) product_scale: Scale,
}

impl Attention {
    pub(crate) fn of(graph: &Graph, group: &SparseAttentionGroup) -> Attention {
        let data = graph.op(group.product);
        let OpKind::SplitSpmm { scale: product_scale, .. } = data.kind else {
            unreachable!("groups are formed by kind")
        };
        let scores = |task: Option<AttentionPart>| task.map(|task| task.scores);
        let first =
            graph.op(scores(group.block.or(group.list)).expect("a group has a block or a list"));
        let (OpKind::BlockSddmm { heads, scale } | OpKind::CscSddmm { heads, scale }) = first.kind
        else {
            unreachable!("groups are formed by kind")
        };
        let [q, k, v] = [first.operands[0], first.operands[1], data.operands[0]];
        let ((queries, width), (keys, width_v)) = (graph.ty(q).matrix(), graph.ty(v).matrix());
        Attention {
            block: group.block,
            list: group.list,
            product: group.product,
            q,
            k,
            v,
            result: data.results[0],
            pattern: Pattern::of(heads, queries, graph, scores(group.block), scores(group.list)),
            queries,
            keys,
            d: width / heads,
            dv: width_v / heads,
            score_scale: scale,
            product_scale,
        }
    }

    pub(crate) fn heads(&self) -> usize {
        self.pattern.heads.len()
    }

    /// Whether a key takes two bytes.
    pub(crate) fn wide(&self) -> bool {
        self.keys > 1 << u8::BITS
    }
}

/// Heads whose keys and values are in the scratchpad.
pub(crate) struct Heads {
    pub(crate) keys: Tile,
    values: Option<Tile>,
    /// Columns of the blocks and their keys.
    block_keys: Sram,
}

/// A stripe between its scores and its product.
pub(crate) struct Pending {
    heads: usize,
    stripe: Stripe,
    rows: Sram,
    pub(crate) keys: Sram,
    p: Sram,
    sum: Sram,
    block_p: Sram,
    block_sum: Sram,
}

/// Lowers split attention.
pub(crate) fn lower(
    builder: &mut Builder<'_>,
    group: &SparseAttentionGroup,
) -> Result<(), CodegenError> {
    let attention = Attention::of(builder.graph, group);
    let cuts = attention.cut(builder, group)?;
    let mut waiting: Option<Pending> = None;
    let mut loaded: Vec<Heads> = Vec::new();
    for (index, heads) in cuts.heads.iter().enumerate() {
        if let Some(last) = waiting.take_if(|_| !cuts.heads_overlap) {
            attention.multiply(builder, &mut loaded[last.heads], &last);
        }
        loaded.push(attention.load(builder, heads));
        for stripe in attention.stripes(heads, cuts.height) {
            let pending = attention.score(builder, index, &loaded[index], stripe);
            if let Some(previous) = waiting.replace(pending) {
                attention.multiply(builder, &mut loaded[previous.heads], &previous);
            }
        }
    }
    if let Some(last) = waiting {
        attention.multiply(builder, &mut loaded[last.heads], &last);
    }
    Ok(())
}

impl Attention {
    /// The stripes of some heads, those last that hold the longest queries: their product takes as
    /// long as one line takes for such a query, and the others are on their way out meanwhile.
    pub(crate) fn stripes(&self, heads: &Range<usize>, height: usize) -> Vec<Stripe> {
        let stripe = |rows| Stripe::new(&self.pattern, heads.clone(), rows);
        let mut stripes: Vec<Stripe> = chunks(self.queries, height).map(stripe).collect();
        stripes.sort_by_key(|stripe| stripe.steps.first().copied());
        stripes
    }

    /// All rows of some heads of keys or values.
    pub(crate) fn read(
        &self,
        builder: &mut Builder<'_>,
        value: Value,
        d: usize,
        heads: &Range<usize>,
    ) -> Tile {
        let layer = if value == self.v { self.product } else { self.first_scores() };
        builder.read(
            layer,
            value,
            &Block { rows: 0..self.keys, bytes: heads.start * d..heads.end * d },
        )
    }

    pub(crate) fn first_scores(&self) -> Op {
        self.block.or(self.list).map_or(self.product, |task| task.scores)
    }

    pub(crate) fn load(&self, builder: &mut Builder<'_>, heads: &Range<usize>) -> Heads {
        let patterns = &self.pattern.heads[heads.clone()];
        let columns: Vec<&[u16]> = patterns.iter().map(|head| head.columns.as_slice()).collect();
        let block_keys = match self.block {
            Some(task) if columns.iter().any(|columns| !columns.is_empty()) => builder
                .list(task.scores, block_keys_to_bytes(&columns).expect("cuts have fewer columns")),
            _ => Sram(0),
        };
        Heads { keys: self.read(builder, self.k, self.d, heads), values: None, block_keys }
    }

    /// Scores and probabilities of a stripe.
    pub(crate) fn score(
        &self,
        builder: &mut Builder<'_>,
        index: usize,
        heads: &Heads,
        stripe: Stripe,
    ) -> Pending {
        let lines = self.divide(&stripe, builder.machine);
        let image = Image::new(&stripe, &self.pattern, self.wide());
        let window = Block {
            rows: stripe.rows.clone(),
            bytes: stripe.heads.start * self.d..stripe.heads.end * self.d,
        };
        let layer = self.list.or(self.block).map_or(self.product, |task| task.scores);
        let rows = builder.list(layer, image.bytes);
        let keys = builder.offset_bytes(rows, image.keys);
        let q = builder.read(self.first_scores(), self.q, &window);
        let (queries, entries) = (stripe.queries(), stripe.entries());
        let height = stripe.rows.len();

        let [mut block_max, mut block_scores] = [Sram(0); 2];
        if let Some(task) = self.block.filter(|_| stripe.all_columns() > 0) {
            block_max = builder.tile(1, 2 * queries).at;
            block_scores = builder.tile(1, 2 * height * stripe.all_columns()).at;
            let mut before = 0;
            for (local, columns) in stripe.columns.iter().enumerate() {
                let pattern = &self.pattern.heads[stripe.heads.start + local];
                let neighbours = pattern.neighbours();
                let first =
                    neighbours.map_or(0, |first| u64::from(first) * u64::from(heads.keys.stride));
                let op = Sddmm {
                    indexed: neighbours.is_none(),
                    masked: image.masks[local].is_some(),
                    q: builder.offset_bytes(q.at, (local * self.d) as u64),
                    k: builder.offset_bytes(heads.keys.at, first + (local * self.d) as u64),
                    max: builder.offset_bytes(block_max, (2 * local * height) as u64),
                    dst: builder.offset_bytes(block_scores, (2 * before * height) as u64),
                    q_stride: q.stride,
                    k_stride: heads.keys.stride,
                    index: match neighbours {
                        Some(_) => Sram(0),
                        None => builder.offset_bytes(
                            heads.block_keys,
                            2 * (stripe.heads.len() + before) as u64,
                        ),
                    },
                    mask: image.masks[local].map_or(Sram(0), |at| builder.offset_bytes(rows, at)),
                    ..self.block_scores(height, *columns, lines.denser)
                };
                builder.push(task.scores, op);
                before += columns;
            }
        }
        let [mut max, mut scores] = [Sram(0); 2];
        if let Some(task) = self.list.filter(|_| entries > 0) {
            max = builder.tile(1, 2 * queries).at;
            scores = builder.tile(1, 2 * entries).at;
            let op = SddmmList {
                rows,
                keys,
                q: q.at,
                k: heads.keys.at,
                max,
                dst: scores,
                q_stride: q.stride as u16,
                k_stride: heads.keys.stride as u16,
                ..self.list_scores(&stripe, lines.sparser)
            };
            builder.push(task.scores, op);
        }

        let [mut block_p, mut block_sum] = [Sram(0); 2];
        if let Some(task) = self.block.filter(|_| stripe.all_columns() > 0) {
            block_p = builder.tile(1, height * stripe.all_columns()).at;
            block_sum = builder.tile(1, 4 * queries).at;
            let mut before = 0;
            for (local, columns) in stripe.columns.iter().enumerate() {
                let op = Softmax {
                    both: entries > 0,
                    src: builder.offset_bytes(block_scores, (2 * before * height) as u64),
                    max: builder.offset_bytes(block_max, (2 * local * height) as u64),
                    other_max: if entries > 0 {
                        builder.offset_bytes(max, (2 * local * height) as u64)
                    } else {
                        Sram(0)
                    },
                    sum: builder.offset_bytes(block_sum, (4 * local * height) as u64),
                    dst: builder.offset_bytes(block_p, (before * height) as u64),
                    ..self.block_softmax(height, *columns)
                };
                builder.push(task.softmax, op);
                before += columns;
            }
        }
        let [mut p, mut sum] = [Sram(0); 2];
        if let Some(task) = self.list.filter(|_| entries > 0) {
            p = builder.tile(1, entries).at;
            sum = builder.tile(1, 4 * queries).at;
            let split = stripe.prefix(self.sparser_share(&stripe, builder));
            let parts = [
                (Engine::Sparser, (0, 0), split),
                (Engine::Denser, split, (queries - split.0, entries - split.1)),
            ];
            for (engine, (first, entry), part) in
                parts.into_iter().filter(|(_, _, (count, _))| *count > 0)
            {
                let op = SoftmaxList {
                    rows: builder.offset_bytes(rows, first as u64 * LIST_ROW_BYTES),
                    src: builder.offset_bytes(scores, 2 * entry as u64),
                    max,
                    other_max: block_max,
                    sum: builder.offset_bytes(sum, 4 * first as u64),
                    dst: builder.offset_bytes(p, entry as u64),
                    ..self.list_softmax(&stripe, engine, part, stripe.all_columns() > 0)
                };
                builder.push(task.softmax, op);
            }
        }
        Pending { heads: index, stripe, rows, keys, p, sum, block_p, block_sum }
    }

    /// Entries of a stripe's list that the sparser engine's softmax unit takes, so that both units
    /// finish together; at least one.
    pub(crate) fn sparser_share(&self, stripe: &Stripe, builder: &Builder<'_>) -> usize {
        let per_cycle = u64::from(builder.machine.softmax.scores_per_cycle);
        let blocks = self.block_softmax_cycles(stripe, builder.machine) * per_cycle;
        let entries = stripe.entries() as u64;
        ((entries + blocks).div_ceil(2)).min(entries).max(1) as usize
    }

    /// The product of a stripe. Values are loaded for the first one, after what the scores of the
    /// next stripe are made of.
    pub(crate) fn multiply(&self, builder: &mut Builder<'_>, heads: &mut Heads, pending: &Pending) {
        let stripe = &pending.stripe;
        let v = match heads.values {
            Some(v) => v,
            None => self.read(builder, self.v, self.dv, &stripe.heads),
        };
        heads.values = Some(v);
        let columns = stripe.heads.start * self.dv..stripe.heads.end * self.dv;
        let target =
            builder.begin_store(self.result, &Block { rows: stripe.rows.clone(), bytes: columns });
        let op = SpmmList {
            rows: pending.rows,
            keys: pending.keys,
            p: pending.p,
            sum: pending.sum,
            block_keys: heads.block_keys,
            block_p: pending.block_p,
            block_sum: pending.block_sum,
            v: v.at,
            dst: target.tile.at,
            v_stride: v.stride as u16,
            dst_stride: target.tile.stride as u16,
            ..self.product(stripe, builder.machine)
        };
        builder.push(self.product, op);
        builder.finish_store(self.product, &target);
    }
}
