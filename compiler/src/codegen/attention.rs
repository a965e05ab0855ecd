//! Attention: scores, softmax and product with the values, head by head in stripes of queries; lookups of the product as it is made.
//!
//! Stripes form a pipeline: while the softmax of one runs, the MAC lines make the scores of the next, so stripe `i + 1` is scored
//! before the product of stripe `i`. Stripes take turns on the softmax units of the two engines.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::{Sddmm, Softmax, Spmm};
use vitcod_isa::instr::{Engine, Op as Instruction, Sram, Traffic, Width};
use vitcod_isa::numerics::Scale;

use super::CodegenError;
use super::groups::AttentionGroup;
use super::limits::MAX_COUNT;
use super::task::{Builder, Tile, Window, steps};
use crate::ir::{Op, OpKind, Value};
use crate::split::sddmm_terms;

/// A stripe between its scores and its product.
struct Stripe {
    head: usize,
    rows: Range<usize>,
    probabilities: Tile,
    sums: Sram,
}

/// How heads are cut into stripes.
struct Stripes {
    /// Queries of a stripe.
    height: usize,
    /// Whether the next head's first stripe is scored before the product of a head's last one.
    heads_overlap: bool,
}

/// Extents of one head, and their number.
#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    queries: usize,
    keys: usize,
    /// Features of queries and keys.
    d: usize,
    /// Features of values.
    dv: usize,
    /// Bytes that the scores of a query take of what is added to them and differs from head to head.
    terms: usize,
    biased: bool,
}

/// Where what is added to the scores of a stripe lies.
#[derive(Clone, Copy, Debug, Default)]
struct TermsAt {
    mask: Option<Sram>,
    bias: Option<Sram>,
}

/// Lowers attention.
pub(super) fn lower(builder: &mut Builder<'_>, group: &AttentionGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let (q, k) = (graph.op(group.sddmm).operands[0], graph.op(group.sddmm).operands[1]);
    let v = graph.op(group.spmm).operands[2];
    let result = group.result;
    let terms = sddmm_terms(graph, graph.op(group.sddmm));
    let (OpKind::Sddmm { heads, scale }, OpKind::Spmm { scale: product_scale }) =
        (&graph.op(group.sddmm).kind, &graph.op(group.spmm).kind)
    else {
        unreachable!("groups are formed by kind")
    };
    let heads = *heads;
    let shape = Shape {
        heads,
        queries: graph.ty(q).shape[0],
        keys: graph.ty(k).shape[0],
        d: graph.ty(q).shape[1] / heads,
        dv: graph.ty(v).shape[1] / heads,
        terms: [terms.mask, terms.bias]
            .into_iter()
            .flatten()
            .map(|term| graph.ty(term).bytes() / (heads * graph.ty(q).shape[0]))
            .sum(),
        biased: terms.bias.is_some(),
    };
    let Stripes { height, heads_overlap } = choose(builder, group, shape, [q, k, v, result], terms.shared_mask)?;
    let mask = terms.shared_mask.map(|mask| MaskRows::new(builder, group, mask));

    let tables: Vec<(Op, Sram)> = group
        .luts
        .iter()
        .map(|lut| (*lut, builder.constant(*lut, graph.op(*lut).operands[1], 0..256, Traffic::Params)))
        .collect();
    let product = |builder: &mut Builder<'_>, v: Tile, stripe: &Stripe| {
        product(builder, group, shape, *product_scale, v, stripe, &tables);
    };
    let mut waiting: Option<Stripe> = None;
    let mut values: Vec<Tile> = Vec::new();
    for (turn, (head, rows)) in
        (0..heads).flat_map(|head| steps(shape.queries, height).map(move |rows| (head, rows))).enumerate()
    {
        let columns = |d: usize| head * d..(head + 1) * d;
        if rows.start == 0 {
            if let Some(last) = waiting.take_if(|_| !heads_overlap) {
                product(builder, values[2 * last.head + 1], &last);
            }
            values.push(builder.read(group.sddmm, k, &Window { rows: 0..shape.keys, bytes: columns(shape.d) }));
        }
        let keys = values[2 * head];
        let queries = builder.read(group.sddmm, q, &Window { rows: rows.clone(), bytes: columns(shape.d) });
        let mask = mask.as_ref().map(|mask| mask.stripe(builder, group, &rows));
        let stripe = scores(builder, group, shape, *scale, (queries, keys, mask), (head, rows), turn);
        if stripe.rows.start == 0 {
            values.push(builder.read(group.spmm, v, &Window { rows: 0..shape.keys, bytes: columns(shape.dv) }));
        }
        if let Some(previous) = waiting.replace(stripe) {
            product(builder, values[2 * previous.head + 1], &previous);
        }
    }
    if let Some(last) = waiting {
        product(builder, values[2 * last.head + 1], &last);
    }
    Ok(())
}

/// The rows of a mask that is known only at run time, the same for all heads.
enum MaskRows {
    /// All of them, loaded once.
    All(Tile),
    /// Those of each stripe by themselves.
    Stripes(Value),
}

impl MaskRows {
    /// The part of the scratchpad that all rows may take for the whole layer.
    const SHARE: u64 = 32;

    fn new(builder: &mut Builder<'_>, group: &AttentionGroup, mask: Value) -> MaskRows {
        let (rows, row_bytes) = builder.graph.ty(mask).matrix();
        match MaskRows::is_small(builder, mask) {
            true => MaskRows::All(builder.read(group.sddmm, mask, &Window { rows: 0..rows, bytes: 0..row_bytes })),
            false => MaskRows::Stripes(mask),
        }
    }

    fn is_small(builder: &Builder<'_>, mask: Value) -> bool {
        builder.graph.ty(mask).bytes() as u64 <= u64::from(builder.machine.sram.bytes) / MaskRows::SHARE
    }

    /// Bytes for each of the stripes in flight.
    fn bytes(builder: &Builder<'_>, mask: Value, height: usize) -> usize {
        let (rows, row_bytes) = builder.graph.ty(mask).matrix();
        row_bytes * if MaskRows::is_small(builder, mask) { rows } else { height }
    }

    /// Those of a stripe.
    fn stripe(&self, builder: &mut Builder<'_>, group: &AttentionGroup, rows: &Range<usize>) -> Sram {
        match self {
            MaskRows::All(tile) => builder.behind(tile.at, rows.start as u64 * u64::from(tile.stride)),
            MaskRows::Stripes(mask) => {
                let row_bytes = builder.graph.ty(*mask).shape[1];
                builder.read(group.sddmm, *mask, &Window { rows: rows.clone(), bytes: 0..row_bytes }).at
            }
        }
    }
}

fn scores(
    builder: &mut Builder<'_>,
    group: &AttentionGroup,
    shape: Shape,
    scale: Scale,
    (q, k, shared_mask): (Tile, Tile, Option<Sram>),
    (head, rows): (usize, Range<usize>),
    turn: usize,
) -> Stripe {
    let (m, n) = (rows.len(), shape.keys);
    let graph = builder.graph;
    let terms = sddmm_terms(graph, graph.op(group.sddmm));
    let part = |builder: &mut Builder<'_>, term: Value, traffic| {
        let each = graph.ty(term).bytes() / (shape.heads * shape.queries);
        let first = head * shape.queries + rows.start;
        builder.constant(group.sddmm, term, first * each..(first + m) * each, traffic)
    };
    let terms = TermsAt {
        mask: terms.mask.map(|mask| part(builder, mask, Traffic::Indices)).or(shared_mask),
        bias: terms.bias.map(|bias| part(builder, bias, Traffic::Params)),
    };
    let scores = builder.tile(m, 2 * n);
    let probabilities = builder.tile(m, n);
    let max = builder.tile(1, 2 * m).at;
    let sums = builder.tile(1, 4 * m).at;
    let (m, n) = (m as u16, n as u16);
    let op = sddmm(builder, shape, m, scale, [q, k, scores], max, terms);
    builder.push(group.sddmm, op);
    builder.push(
        group.softmax,
        Softmax {
            engine: Engine::ALL[turn % Engine::ALL.len()],
            fresh: true,
            both: false,
            src: scores.at,
            max,
            other_max: Sram(0),
            sum: sums,
            dst: probabilities.at,
            m,
            n,
            src_stride: scores.stride,
            dst_stride: probabilities.stride,
        },
    );
    Stripe { head, rows, probabilities, sums }
}

fn product(
    builder: &mut Builder<'_>,
    group: &AttentionGroup,
    shape: Shape,
    scale: Scale,
    v: Tile,
    stripe: &Stripe,
    tables: &[(Op, Sram)],
) {
    let columns = stripe.head * shape.dv..(stripe.head + 1) * shape.dv;
    let target = builder.write(group.result, &Window { rows: stripe.rows.clone(), bytes: columns });
    let op = spmm(builder, shape, stripe.rows.len() as u16, scale, [stripe.probabilities, v, target.tile], stripe.sums);
    builder.push(group.spmm, op);
    for (lut, table) in tables {
        builder.lookup(*lut, *table, target.tile, [stripe.rows.len(), shape.dv]);
    }
    builder.written(group.spmm, &target);
}

/// The scores of `m` queries.
fn sddmm(
    builder: &Builder<'_>,
    shape: Shape,
    m: u16,
    scale: Scale,
    [q, k, scores]: [Tile; 3],
    max: Sram,
    terms: TermsAt,
) -> Sddmm {
    Sddmm {
        engine: Engine::Denser,
        fresh: true,
        indexed: false,
        masked: terms.mask.is_some(),
        biased: terms.bias.is_some(),
        lines: builder.all_lines(),
        q: q.at,
        k: k.at,
        max,
        dst: scores.at,
        m,
        n: shape.keys as u16,
        d: shape.d as u16,
        scale,
        q_stride: q.stride,
        k_stride: k.stride,
        dst_stride: scores.stride,
        index: Sram(0),
        mask: terms.mask.unwrap_or(Sram(0)),
        limit: 0,
        bias: terms.bias.unwrap_or(Sram(0)),
    }
}

/// The product of the probabilities of `m` queries with the values.
fn spmm(builder: &Builder<'_>, shape: Shape, m: u16, scale: Scale, [p, v, result]: [Tile; 3], sum: Sram) -> Spmm {
    Spmm {
        engine: Engine::Denser,
        out: Width::I8,
        accumulate: false,
        both: false,
        lines: builder.all_lines(),
        p: p.at,
        v: v.at,
        sum,
        other_sum: Sram(0),
        acc: Sram(0),
        dst: result.at,
        m,
        n: shape.keys as u16,
        d: shape.dv as u16,
        scale,
        p_stride: p.stride,
        v_stride: v.stride,
        acc_stride: 0,
        dst_stride: result.stride,
    }
}

/// The stripes with the smallest estimate of cycles among those that fit; heads stand apart only where they do not fit otherwise.
fn choose(
    builder: &Builder<'_>,
    group: &AttentionGroup,
    shape: Shape,
    tensors: [Value; 4],
    shared_mask: Option<Value>,
) -> Result<Stripes, CodegenError> {
    let [q, k, v, result] = tensors.map(|value| if builder.on_chip(value) { 0 } else { 1 });
    let bytes = |height: usize, heads: usize| {
        // Two stripes are in flight, a third has its scores made.
        let shared = shared_mask.map_or(0, |mask| MaskRows::bytes(builder, mask, height));
        let stripe = height * (3 * shape.keys + 6 + shape.terms) + 64 + shared;
        let moved = 2 * height * (q * shape.d + result * shape.dv) + heads * shape.keys * (k * shape.d + v * shape.dv);
        (3 * stripe + moved + 256 * group.luts.len()) as u64
    };
    let best = |heads: usize| {
        (1..=shape.queries.min(MAX_COUNT))
            .rev()
            .filter(|height| {
                // Heights that cut the queries into as many stripes as a smaller one are not looked at.
                let stripes = shape.queries.div_ceil(*height);
                *height == shape.queries.div_ceil(stripes)
            })
            .filter(|height| bytes(*height, heads) <= builder.room())
            .min_by_key(|height| estimate(builder, shape, *height))
            .map(|height| Stripes { height, heads_overlap: heads > 1 })
    };
    best(2).or_else(|| best(1)).ok_or_else(|| builder.too_small(group.sddmm, bytes(1, 1)))
}

/// Cycles of all stripes on the MAC lines, and those for which a softmax stands alone at the end.
fn estimate(builder: &Builder<'_>, shape: Shape, height: usize) -> u64 {
    let terms = TermsAt { mask: None, bias: shape.biased.then_some(Sram(0)) };
    let cycles = |op: Instruction| cost(&op, builder.machine).cycles;
    // Costs do not depend on where operands lie.
    let anywhere = [Tile { at: Sram(0), stride: 0 }; 3];
    let of = |m: usize| {
        let scores = sddmm(builder, shape, m as u16, Scale::ONE, anywhere, Sram(0), terms);
        let product = spmm(builder, shape, m as u16, Scale::ONE, anywhere, Sram(0));
        cycles(scores.into()) + cycles(product.into())
    };
    let (full, rest) = (shape.queries / height, shape.queries % height);
    let stripes = full as u64 * of(height) + if rest > 0 { of(rest) } else { 0 };
    let softmax = height as u64 * (shape.keys as u64).div_ceil(builder.machine.softmax.scores_per_cycle.into());
    // A stripe's product waits for its softmax and the next scores for the product: a drain of the lines each.
    let drains = 2 * shape.queries.div_ceil(height) as u64 * builder.turnaround();
    shape.heads as u64 * (stripes + drains) + softmax
}
