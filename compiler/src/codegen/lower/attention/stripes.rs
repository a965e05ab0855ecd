//! Chooses the stripes of queries by the cost model.

use std::fmt;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::Op as Instruction;
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::Channel;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::error::CodegenError;
use crate::codegen::group::{AttentionGroup, table_bytes};
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::attention::names::{
    KEYS, MAXIMA, PROBABILITIES, PROJECTED_QUERIES, QUERIES, RESULTS, ROW_SUMS, SCORES,
    SHARED_MASK, SOURCES, TABLES, TERMS, VALUES,
};
use crate::codegen::lower::attention::operands::{
    Projection, is_resident_mask, projections, sources,
};
use crate::codegen::lower::attention::shape::{Attention, Shape};
use crate::codegen::lower::attention::templates::{score_stride, sddmm, spmm};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::linear::full_k;
use crate::codegen::lower::linear::names::{CHANNELS, WEIGHTS};
use crate::codegen::lower::linear::templates::{matmul, width_of};
use crate::codegen::strategy::RUN_AHEAD_SHARE;
use crate::ir::{Graph, Op, Value};

/// Stripes in flight: one in the scores, one in the softmax, one in the product.
const STRIPES_IN_FLIGHT: usize = 3;

/// Bytes that the alignment of a stripe's buffers may cost.
const STRIPE_ALIGNMENT: usize = 64;

/// The division of heads into stripes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stripes {
    /// Queries per stripe.
    pub(crate) height: usize,
    /// Output channels per instruction of a projection.
    pub(crate) projected_channels: usize,
    /// Whether the scores of a head's first stripe precede the product of the last stripe of the
    /// head before.
    pub(crate) heads_overlap: bool,
}

impl fmt::Display for Stripes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = if self.heads_overlap { "overlap" } else { "do not overlap" };
        write!(f, "{} queries, heads {heads}", self.height)
    }
}

/// How attention is lowered.
pub(crate) struct AttentionPlan<'g> {
    pub(crate) group: &'g AttentionGroup,
    pub(crate) attention: Attention,
    pub(crate) stripes: Stripes,
    /// Rows per instruction of the first projection.
    pub(crate) boundary_rows: usize,
    /// Whether all rows of a shared mask are loaded once.
    pub(crate) is_mask_resident: bool,
    pub(crate) buffers: Declared,
    /// Alternatives with their cycles.
    considered: Vec<(Stripes, u64)>,
    /// Bytes of DRAM transfers, which do not depend on the stripes.
    dram_bytes: u64,
}

impl AttentionPlan<'_> {
    /// The choices, with the alternatives.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        let alternative = |(stripes, cycles): &(Stripes, u64)| Alternative {
            name: stripes.to_string(),
            cycles: *cycles,
            dram_bytes: self.dram_bytes,
        };
        let stripes = explain::decision(
            graph,
            self.group.sddmm,
            "stripes",
            self.stripes.to_string(),
            "the fewest cycles; heads overlap if two fit",
            self.considered.iter().map(alternative).collect(),
        );
        vec![stripes, explain::buffers(graph, self.group.sddmm, &self.buffers)]
    }
}

/// Chooses the stripes with the fewest cycles among those that fit. Heads overlap if two fit.
///
/// # Errors
/// Not even the smallest stripes fit.
pub(crate) fn choose<'g>(
    planner: &Planner<'_>,
    group: &'g AttentionGroup,
) -> Result<AttentionPlan<'g>, CodegenError> {
    let attention = Attention::of(planner.graph, group);
    let context = Context::new(planner, group, &attention);
    let available = planner.available_bytes();
    let best = |heads_overlap: bool| {
        // The other bytes let loads of the next group run ahead.
        context
            .fastest(heads_overlap, available - available / RUN_AHEAD_SHARE)
            .or_else(|| context.fastest(heads_overlap, available))
    };
    let found: Vec<Stripes> = [true, false].into_iter().filter_map(best).collect();
    let Some(stripes) = found.first().copied() else {
        let smallest = Stripes { height: 1, projected_channels: 1, heads_overlap: false };
        let needed = context.buffers(smallest).bytes();
        return Err(planner.too_small(group.sddmm, needed, available));
    };
    let considered = found.into_iter().map(|stripes| (stripes, context.cycles(&stripes))).collect();
    let (buffers, dram_bytes) = (context.buffers(stripes), context.dram_bytes());
    let boundary_rows = context.boundary_rows(stripes);
    let is_mask_resident = context.is_mask_resident;
    Ok(AttentionPlan {
        group,
        attention,
        stripes,
        boundary_rows,
        is_mask_resident,
        buffers,
        considered,
        dram_bytes,
    })
}

/// The context in which stripes are compared.
struct Context<'a> {
    planner: &'a Planner<'a>,
    group: &'a AttentionGroup,
    attention: &'a Attention,
    /// The largest depth of a projection; 0 if there are none.
    depth: usize,
    is_mask_resident: bool,
}

impl<'a> Context<'a> {
    fn new(
        planner: &'a Planner<'a>,
        group: &'a AttentionGroup,
        attention: &'a Attention,
    ) -> Context<'a> {
        let graph = planner.graph;
        let depths = sources(graph, group).into_iter().map(|value| graph.ty(value).matrix().1);
        let is_mask_resident = attention
            .terms
            .shared_mask
            .is_some_and(|mask| is_resident_mask(graph, planner.machine, mask));
        Context { planner, group, attention, depth: depths.max().unwrap_or(0), is_mask_resident }
    }

    /// Rows per instruction of the first projection: of keys, else of queries, else of values.
    fn boundary_rows(&self, stripes: Stripes) -> usize {
        let Planner { graph, machine, .. } = self.planner;
        let Attention { q, k, v, shape: Shape { d, dv, .. }, .. } = self.attention;
        let first = [(k, d), (q, d), (v, dv)].into_iter().find_map(|(value, columns)| {
            let computes = |projection: &Projection| projection.result == *value;
            Some((projections(graph, self.group).find(computes)?, *columns))
        });
        first.map_or(0, |(Projection { linear, x, .. }, columns)| {
            let (m, k) = graph.ty(x).matrix();
            let channels = columns.min(stripes.projected_channels);
            full_k::boundary_rows(machine, width_of(graph, linear), [m, channels, k])
        })
    }

    /// Whether a projection of the group computes a value.
    fn is_projected(&self, value: Value) -> bool {
        projections(self.planner.graph, self.group).any(|projection| projection.result == value)
    }

    /// Whether a value is loaded or stored.
    fn is_moved(&self, value: Value) -> bool {
        !self.is_projected(value) && !self.planner.on_chip(value)
    }

    /// Bytes of the loaded operands of projections.
    fn loaded_sources(&self) -> usize {
        let sources = sources(self.planner.graph, self.group).into_iter();
        let loaded = sources.filter(|value| !self.planner.on_chip(*value));
        loaded.map(|value| self.planner.graph.ty(value).bytes()).sum()
    }

    /// The stripes with the fewest cycles among those that fit `available` bytes.
    fn fastest(&self, heads_overlap: bool, available: u64) -> Option<Stripes> {
        let Shape { queries, d, dv, .. } = self.attention.shape;
        // Of several heights with the same number of stripes only the smallest is considered.
        let cuts = |height: &usize| *height == queries.div_ceil(queries.div_ceil(*height));
        let heights = (1..=queries.min(MAX_COUNT)).rev().filter(cuts);
        let halved = |channels: &usize| (*channels > 1).then(|| channels.div_ceil(2));
        let most_channels = if self.depth > 0 { d.max(dv) } else { 1 };
        let all = heights.flat_map(|height| {
            let channels = std::iter::successors(Some(most_channels), halved);
            channels.map(move |projected_channels| Stripes {
                height,
                projected_channels,
                heads_overlap,
            })
        });
        all.filter(|stripes| self.buffers(*stripes).bytes() <= available)
            .min_by_key(|stripes| self.cycles(stripes))
    }

    /// The buffers of a division into stripes.
    fn buffers(&self, Stripes { height, projected_channels, heads_overlap }: Stripes) -> Declared {
        let Attention { q, k, v, result, terms, shape, .. } = self.attention;
        let graph = self.planner.graph;
        let heads = if heads_overlap { 2 } else { 1 };
        let mut buffers = Declared::default();
        let mut of_stripe = |name: &'static str, bytes: usize, copies: usize| {
            buffers.add(name, bytes, copies, Lifetime::Stripe);
        };
        of_stripe(SCORES, height * score_stride(self.planner.machine, shape), STRIPES_IN_FLIGHT);
        of_stripe(PROBABILITIES, height * shape.keys, STRIPES_IN_FLIGHT);
        of_stripe(MAXIMA, 2 * height, STRIPES_IN_FLIGHT);
        of_stripe(ROW_SUMS, 4 * height, STRIPES_IN_FLIGHT);
        of_stripe(TERMS, height * shape.term_bytes, STRIPES_IN_FLIGHT);
        if let Some(mask) = terms.shared_mask {
            let (rows, row_bytes) = graph.ty(mask).matrix();
            let rows = if self.is_mask_resident { rows } else { height };
            of_stripe(SHARED_MASK, row_bytes * rows, STRIPES_IN_FLIGHT);
        }
        if self.is_moved(*q) {
            of_stripe(QUERIES, height * shape.d, 2);
        }
        if self.is_moved(*result) {
            of_stripe(RESULTS, height * shape.dv, 2);
        }
        let mut of_head = |name: &'static str, bytes: usize| {
            buffers.add(name, bytes, heads, Lifetime::Heads);
        };
        if self.is_projected(*k) || self.is_moved(*k) {
            of_head(KEYS, shape.keys * shape.d);
        }
        if self.is_projected(*v) || self.is_moved(*v) {
            of_head(VALUES, shape.keys * shape.dv);
        }
        if self.is_projected(*q) {
            of_head(PROJECTED_QUERIES, shape.queries * shape.d);
        }
        if self.depth > 0 {
            let depth = self.planner.machine.spread().stride(self.depth as u64) as usize;
            buffers.add(WEIGHTS, projected_channels * depth, 2, Lifetime::Tile);
            buffers.add(CHANNELS, projected_channels * Channel::BYTES, 2, Lifetime::Tile);
        }
        buffers.add(SOURCES, self.loaded_sources(), 1, Lifetime::Group);
        buffers.add(TABLES, table_bytes(graph, &self.group.luts), 1, Lifetime::Group);
        buffers.align(STRIPE_ALIGNMENT * STRIPES_IN_FLIGHT);
        buffers
    }

    /// Cycles of all stripes and projections on the MAC lines, plus the last softmax, which
    /// overlaps with nothing.
    fn cycles(&self, stripes: &Stripes) -> u64 {
        let Planner { graph, machine, .. } = self.planner;
        let shape = self.attention.shape;
        let projected = projections(graph, self.group).map(|projection| {
            let m = graph.ty(projection.x).matrix().0;
            let of = |channels: usize| {
                let width = width_of(graph, projection.linear);
                let op = matmul(self.planner.machine, width, [m, channels, self.depth]);
                cost(&op.into(), machine).cycles
            };
            let channels = graph.ty(projection.result).matrix().1 / shape.heads;
            let rest = channels % stripes.projected_channels;
            let full = (channels / stripes.projected_channels) as u64;
            full * of(stripes.projected_channels) + if rest > 0 { of(rest) } else { 0 }
        });
        self.stripe_cycles(stripes.height) + shape.heads as u64 * projected.sum::<u64>()
    }

    fn stripe_cycles(&self, height: usize) -> u64 {
        let (shape, machine) = (self.attention.shape, self.planner.machine);
        let lines = self.planner.machine.all_lines();
        let cycles = |op: Instruction| cost(&op, machine).cycles;
        let of = |m: usize| {
            let mut scores = sddmm(lines, shape, m, Scale::ONE);
            scores.biased = shape.biased;
            let product = spmm(lines, shape, m, Scale::ONE);
            cycles(scores.into()) + cycles(product.into())
        };
        let (full, rest) = (shape.queries / height, shape.queries % height);
        let stripes = full as u64 * of(height) + if rest > 0 { of(rest) } else { 0 };
        let softmax =
            height as u64 * (shape.keys as u64).div_ceil(machine.softmax.scores_per_cycle.into());
        // A product waits for its softmax, and the next scores wait for the product: two drains.
        let drains = 2 * shape.queries.div_ceil(height) as u64 * self.planner.drain_cycles();
        (shape.windows * shape.heads) as u64 * (stripes + drains) + softmax
    }

    /// Bytes of DRAM transfers.
    fn dram_bytes(&self) -> u64 {
        let graph = self.planner.graph;
        let Attention { q, k, v, result, shape, .. } = self.attention;
        let tensors = [
            (q, shape.queries * shape.d),
            (k, shape.keys * shape.d),
            (v, shape.keys * shape.dv),
            (result, shape.queries * shape.dv),
        ];
        let moved = tensors.into_iter().filter(|(value, _)| self.is_moved(**value));
        let moved: usize = moved.map(|(_, bytes)| bytes * shape.heads).sum();
        let weights = |linear: &Op| {
            let operands = &graph.op(*linear).operands[1..];
            operands.iter().map(|value| graph.ty(*value).bytes()).sum::<usize>()
        };
        let weights: usize = self.group.projections.iter().map(weights).sum();
        (moved + self.loaded_sources() + weights) as u64
    }
}
