//! Attention: scores, softmax and product with the values, head by head in stripes of queries;
//! lookups of the product as it is made. Windows come one after the other, the heads of each as
//! those of attention without windows.
//!
//! Stripes form a pipeline: while the softmax of one runs, the MAC lines make the scores of the
//! next, so stripe `i + 1` is scored before the product of stripe `i`. Stripes take turns on the
//! softmax units of the two engines.
//!
//! Queries, keys and values are read where they lie, or a linear layer of the group makes those of
//! a head when it is their turn: then they never leave the chip, and their projection overlaps with
//! the softmax of other stripes.

pub(crate) mod operands;

use std::fmt;
use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::{Sddmm, Softmax, Spmm};
use vitcod_isa::instr::{Engine, Op as Instruction, Sram, Traffic, Width};
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::Channel;
use vitcod_isa::program::Alternative;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, Tile, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::group::AttentionGroup;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::attention::operands::{MaskRows, Operands};
use crate::codegen::lower::linear;
use crate::ir::{Op, OpKind, Value};
use crate::split::sddmm_terms;

/// A stripe between its scores and its product.
struct Stripe {
    /// The head, counted over all windows.
    head_index: usize,
    /// Queries of the window.
    rows: Range<usize>,
    probabilities: Tile,
    sums: Sram,
}

/// How heads are cut into stripes.
#[derive(Clone, Copy)]
struct Stripes {
    /// Queries of a stripe.
    height: usize,
    /// Output channels of an instruction of a projection.
    piece: usize,
    /// Whether the next head's first stripe is scored before the product of a head's last one.
    heads_overlap: bool,
}

/// Extents of one head of a window, and how many of both there are.
#[derive(Clone, Copy)]
struct Shape {
    windows: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    /// Features of queries and keys.
    d: usize,
    /// Features of values.
    dv: usize,
    /// Bytes that the scores of a query take of what is added to them and differs from head to
    /// head.
    terms: usize,
    biased: bool,
}

impl Shape {
    /// Some queries of a head, of `d` features.
    fn queries(&self, head_index: usize, rows: &Range<usize>, d: usize) -> Block {
        let (window, head) = (head_index / self.heads, head_index % self.heads);
        let first = window * self.queries;
        Block { rows: first + rows.start..first + rows.end, bytes: head * d..(head + 1) * d }
    }

    /// The keys of a head, of `d` features.
    fn keys(&self, head_index: usize, d: usize) -> Block {
        let (window, head) = (head_index / self.heads, head_index % self.heads);
        Block {
            rows: window * self.keys..(window + 1) * self.keys,
            bytes: head * d..(head + 1) * d,
        }
    }
}

/// Where what is added to the scores of a stripe lies.
#[derive(Clone, Copy, Debug, Default)]
struct TermsAt {
    mask: Option<Sram>,
    bias: Option<Sram>,
}

/// Lowers attention.
pub(crate) fn lower(builder: &mut Builder<'_>, group: &AttentionGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let (q, k) = (graph.op(group.sddmm).operands[0], graph.op(group.sddmm).operands[1]);
    let v = graph.op(group.spmm).operands[2];
    let result = group.result;
    let terms = sddmm_terms(graph, graph.op(group.sddmm));
    let (OpKind::Sddmm { heads, scale, windows }, OpKind::Spmm { scale: product_scale, .. }) =
        (&graph.op(group.sddmm).kind, &graph.op(group.spmm).kind)
    else {
        unreachable!("groups are formed by kind")
    };
    let (heads, windows) = (*heads, *windows);
    let queries = graph.ty(q).shape[0] / windows;
    let shape = Shape {
        windows,
        heads,
        queries,
        keys: graph.ty(k).shape[0] / windows,
        d: graph.ty(q).shape[1] / heads,
        dv: graph.ty(v).shape[1] / heads,
        terms: [terms.mask, terms.bias]
            .into_iter()
            .flatten()
            .map(|term| graph.ty(term).bytes() / (graph.ty(term).shape[0] * queries))
            .sum(),
        biased: terms.bias.is_some(),
    };
    let mut operands = Operands::new(builder, group);
    let tensors = [q, k, v, result];
    let Stripes { height, piece, heads_overlap } =
        choose(builder, group, shape, &operands, tensors, terms.shared_mask)?;
    operands.load(builder);
    let mask = terms.shared_mask.map(|mask| MaskRows::new(builder, group, mask));

    let tables: Vec<(Op, Sram)> = group
        .luts
        .iter()
        .map(|lut| {
            (*lut, builder.constant(*lut, graph.op(*lut).operands[1], 0..256, Traffic::Params))
        })
        .collect();
    let product = |builder: &mut Builder<'_>, v: Tile, stripe: &Stripe| {
        product(builder, group, shape, *product_scale, v, stripe, &tables);
    };
    let mut waiting: Option<Stripe> = None;
    let mut values: Vec<Tile> = Vec::new();
    // Of the head whose turn it is, where its queries are made and not read.
    let mut made: Option<Tile> = None;
    for (turn, (head_index, rows)) in (0..windows * heads)
        .flat_map(|head_index| chunks(shape.queries, height).map(move |rows| (head_index, rows)))
        .enumerate()
    {
        if rows.start == 0 {
            if let Some(last) = waiting.take_if(|_| !heads_overlap) {
                product(builder, values[2 * last.head_index + 1], &last);
            }
            let window = shape.keys(head_index, shape.d);
            values.push(operands.tile(builder, group.sddmm, k, &window, piece));
            made = operands.made(builder, q, &window.bytes, piece);
        }
        let keys = values[2 * head_index];
        let queries = match made {
            Some(Tile { at, stride }) => {
                Tile { at: builder.offset_bytes(at, rows.start as u64 * u64::from(stride)), stride }
            }
            None => builder.read(group.sddmm, q, &shape.queries(head_index, &rows, shape.d)),
        };
        let mask = mask.as_ref().map(|mask| mask.stripe(builder, group, &rows));
        let stripe =
            scores(builder, group, shape, *scale, (queries, keys, mask), (head_index, rows), turn);
        if stripe.rows.start == 0 {
            values.push(operands.tile(
                builder,
                group.spmm,
                v,
                &shape.keys(head_index, shape.dv),
                piece,
            ));
        }
        if let Some(previous) = waiting.replace(stripe) {
            product(builder, values[2 * previous.head_index + 1], &previous);
        }
    }
    if let Some(last) = waiting {
        product(builder, values[2 * last.head_index + 1], &last);
    }
    Ok(())
}

fn scores(
    builder: &mut Builder<'_>,
    group: &AttentionGroup,
    shape: Shape,
    scale: Scale,
    (q, k, shared_mask): (Tile, Tile, Option<Sram>),
    (head_index, rows): (usize, Range<usize>),
    turn: usize,
) -> Stripe {
    let (m, n) = (rows.len(), shape.keys);
    let graph = builder.graph;
    let terms = sddmm_terms(graph, graph.op(group.sddmm));
    let part = |builder: &mut Builder<'_>, term: Value, traffic| {
        let heads = graph.ty(term).shape[0];
        let each = graph.ty(term).bytes() / (heads * shape.queries);
        // Windows may share what is added.
        let first = head_index % heads * shape.queries + rows.start;
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
    Stripe { head_index, rows, probabilities, sums }
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
    let target = builder
        .begin_store(group.result, &shape.queries(stripe.head_index, &stripe.rows, shape.dv));
    let op = spmm(
        builder,
        shape,
        stripe.rows.len() as u16,
        scale,
        [stripe.probabilities, v, target.tile],
        stripe.sums,
    );
    builder.push(group.spmm, op);
    for (lut, table) in tables {
        builder.lookup(*lut, *table, target.tile, [stripe.rows.len(), shape.dv]);
    }
    builder.finish_store(group.spmm, &target);
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
fn spmm(
    builder: &Builder<'_>,
    shape: Shape,
    m: u16,
    scale: Scale,
    [p, v, result]: [Tile; 3],
    sum: Sram,
) -> Spmm {
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

impl fmt::Display for Stripes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = if self.heads_overlap { "overlap" } else { "stand apart" };
        write!(f, "{} queries, heads {heads}", self.height)
    }
}

/// The stripes with the smallest estimate of cycles among those that fit; heads stand apart only
/// where they do not fit otherwise.
fn choose(
    builder: &mut Builder<'_>,
    group: &AttentionGroup,
    shape: Shape,
    operands: &Operands,
    tensors: [Value; 4],
    shared_mask: Option<Value>,
) -> Result<Stripes, CodegenError> {
    let moved =
        tensors.map(|value| usize::from(!operands.is_made(value) && !builder.on_chip(value)));
    let [made_q, made_k, made_v] =
        [0, 1, 2].map(|index| usize::from(operands.is_made(tensors[index])));
    let ([q, k, v, result], bytes_of) = (moved, |value: &Value| builder.graph.ty(*value).bytes());
    let sources: usize =
        operands.sources().iter().filter(|value| !builder.on_chip(**value)).map(bytes_of).sum();
    let depth = operands
        .sources()
        .iter()
        .map(|value| builder.graph.ty(*value).matrix().1)
        .max()
        .unwrap_or(0);
    let bytes = |Stripes { height, piece, heads_overlap }: Stripes| {
        let heads = if heads_overlap { 2 } else { 1 };
        // Two stripes are in flight, a third has its scores made.
        let shared = shared_mask.map_or(0, |mask| MaskRows::bytes(builder, mask, height));
        let stripe = height * (3 * shape.keys + 6 + shape.terms) + 64 + shared;
        let moved = 2 * height * (q * shape.d + result * shape.dv);
        let of_head = shape.keys * ((k + made_k) * shape.d + (v + made_v) * shape.dv)
            + shape.queries * made_q * shape.d;
        let weights = if depth > 0 { 2 * piece * (depth + Channel::BYTES) } else { 0 };
        (3 * stripe + moved + heads * of_head + weights + sources + 256 * group.luts.len()) as u64
    };
    let heights = || {
        // Heights that cut the queries into as many stripes as a smaller one are not looked at.
        let cuts =
            |height: &usize| *height == shape.queries.div_ceil(shape.queries.div_ceil(*height));
        (1..=shape.queries.min(MAX_COUNT)).rev().filter(cuts)
    };
    let pieces = || {
        let halved = |piece: &usize| (*piece > 1).then(|| piece.div_ceil(2));
        std::iter::successors(Some(if depth > 0 { shape.d.max(shape.dv) } else { 1 }), halved)
    };
    let cycles = |stripes: &Stripes| {
        let projected = operands.projections.iter().map(|projection| {
            let [m, k] = [builder.graph.ty(projection.x).matrix().0, depth];
            let of = |n: usize| {
                let op = linear::matmul(
                    builder.all_lines(),
                    linear::width_of(builder, projection.linear),
                    [m, n, k],
                );
                cost(&op.into(), builder.machine).cycles
            };
            let n = builder.graph.ty(projection.result).matrix().1 / shape.heads;
            let rest = n % stripes.piece;
            (n / stripes.piece) as u64 * of(stripes.piece) + if rest > 0 { of(rest) } else { 0 }
        });
        estimate(builder, shape, stripes.height) + shape.heads as u64 * projected.sum::<u64>()
    };
    let best = |heads_overlap: bool| {
        let all = heights()
            .flat_map(|height| pieces().map(move |piece| Stripes { height, piece, heads_overlap }));
        // What is left lets loads of the next layer run ahead.
        let within = |room: u64| {
            all.clone().filter(move |stripes| bytes(*stripes) <= room).min_by_key(cycles)
        };
        within(builder.available_bytes() - builder.available_bytes() / 8)
            .or_else(|| within(builder.available_bytes()))
    };
    let found: Vec<Stripes> = [true, false].into_iter().filter_map(best).collect();
    let Some(chosen) = found.first().copied() else {
        let smallest = Stripes { height: 1, piece: 1, heads_overlap: false };
        return Err(builder.too_small(group.sddmm, bytes(smallest)));
    };
    if builder.explains() {
        let rows = [shape.queries, shape.keys, shape.keys, shape.queries];
        let widths = [shape.d, shape.d, shape.dv, shape.dv];
        let moving: usize =
            (0..4).map(|tensor| moved[tensor] * rows[tensor] * widths[tensor] * shape.heads).sum();
        let of = |linear: &Op| {
            builder.graph.op(*linear).operands[1..].iter().map(bytes_of).sum::<usize>()
        };
        let dram_bytes =
            (moving + sources + group.projections.iter().map(of).sum::<usize>()) as u64;
        let costed = |stripes: &Stripes| Alternative {
            name: stripes.to_string(),
            cycles: cycles(stripes),
            dram_bytes,
        };
        let alternatives = found.iter().map(costed).collect();
        let reason = "heads overlap where they fit, in stripes of the fewest cycles";
        builder.explain(group.sddmm, "stripes", chosen.to_string(), reason, alternatives);
    }
    Ok(chosen)
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
    let softmax = height as u64
        * (shape.keys as u64).div_ceil(builder.machine.softmax.scores_per_cycle.into());
    // A stripe's product waits for its softmax and the next scores for the product: a drain of the
    // lines each.
    let drains = 2 * shape.queries.div_ceil(height) as u64 * builder.drain_cycles();
    (shape.windows * shape.heads) as u64 * (stripes + drains) + softmax
}
