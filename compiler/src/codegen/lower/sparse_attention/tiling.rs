//! Chooses the tiling of sparse attention: head groups and stripes of queries.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::{Engine, Op as Instruction};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Decision;

use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::chunks;
use crate::codegen::error::CodegenError;
use crate::codegen::group::SparseAttentionGroup;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::sparse_attention::allocation::AllocatedStripe;
use crate::codegen::lower::sparse_attention::names::{KEYS, STRIPE_DATA, VALUES};
use crate::codegen::lower::sparse_attention::operation::SparseAttention;
use crate::codegen::lower::sparse_attention::stripe::{Counts, Stripe, StripeConstants};
use crate::codegen::lower::sparse_attention::templates::MAX_ENTRIES;
use crate::estimate::Estimate;
use crate::ir::Graph;

/// How sparse attention is lowered.
pub(crate) struct SparseAttentionPlan {
    pub(crate) attention: SparseAttention,
    /// In order of execution.
    pub(crate) head_groups: Vec<HeadGroup>,
    /// Whether the first scores of a head group precede the last product of the group before.
    pub(crate) heads_overlap: bool,
    pub(crate) buffers: Declared,
}

/// Heads that share instructions, and their queries in stripes.
pub(crate) struct HeadGroup {
    pub(crate) heads: Range<usize>,
    pub(crate) stripes: Vec<AllocatedStripe>,
}

impl SparseAttentionPlan {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.attention.product, &self.buffers)]
    }
}

/// Chooses the tiling with the fewest weighted cycles among those that fit, and allocates lines and
/// softmax units to its stripes.
///
/// # Errors
/// Not even the smallest tiles fit, or rows on chip are farther apart than strides allow.
pub(crate) fn choose(
    planner: &Planner<'_>,
    group: &SparseAttentionGroup,
) -> Result<SparseAttentionPlan, CodegenError> {
    let attention = SparseAttention::of(planner.graph, group);
    let (SparseTiling { heads, height, heads_overlap }, buffers) = attention.tile(planner)?;
    let head_group = |heads: Range<usize>| {
        let stripes = attention.stripes(&heads, height).into_iter();
        let stripes = stripes.map(|stripe| attention.allocate(stripe, planner.machine)).collect();
        HeadGroup { heads, stripes }
    };
    let head_groups = heads.into_iter().map(head_group).collect();
    Ok(SparseAttentionPlan { attention, head_groups, heads_overlap, buffers })
}

/// Head groups and stripes.
#[derive(Clone, Debug)]
struct SparseTiling {
    /// Heads that share instructions.
    heads: Vec<Range<usize>>,
    /// Queries per stripe.
    height: usize,
    /// See [`SparseAttentionPlan::heads_overlap`].
    heads_overlap: bool,
}

/// The most head groups, and stripes, that are considered if fewer fit.
const FREE_PARTS: usize = 8;

/// Bytes that the alignment of a buffer may cost.
const ALIGN: usize = 16;

/// Whether each tensor is in DRAM, as a factor: q, k, v and the result.
type Moved = [usize; 4];

impl SparseAttention {
    /// The tiling with the fewest weighted cycles among those that fit, with its buffers.
    fn tile(&self, planner: &Planner<'_>) -> Result<(SparseTiling, Declared), CodegenError> {
        let moved =
            [self.q, self.k, self.v, self.result].map(|value| usize::from(!planner.on_chip(value)));
        self.check_strides(planner, moved)?;
        let available = planner.available_bytes();
        let mut best: Option<(u64, SparseTiling, Declared)> = None;
        let mut smallest = u64::MAX;
        for parts in 1..=self.heads() {
            let size = self.heads().div_ceil(parts);
            if parts != self.heads().div_ceil(size) {
                continue;
            }
            let heads = self.head_groups(size);
            for stripes in 1..=self.queries {
                let height = self.queries.div_ceil(stripes);
                // Lower stripes are considered only if no higher ones fit, and of several heights
                // with the same number of stripes only the smallest.
                if (stripes > FREE_PARTS && best.is_some())
                    || height != self.queries.div_ceil(self.queries.div_ceil(height))
                {
                    continue;
                }
                // Head groups overlap if two fit: that costs no cycles.
                for heads_overlap in
                    if heads.len() > 1 { [true, false].as_slice() } else { &[true] }
                {
                    let tiling = SparseTiling {
                        heads: heads.clone(),
                        height,
                        heads_overlap: *heads_overlap,
                    };
                    let Some(buffers) = self.buffers(&tiling, moved) else { continue };
                    smallest = smallest.min(buffers.bytes());
                    if buffers.bytes() <= available {
                        let cost = self.estimate(&tiling, planner.machine).weighted_cycles();
                        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                            best = Some((cost, tiling, buffers));
                        }
                        break;
                    }
                }
            }
            if best.is_some() && parts >= FREE_PARTS {
                break;
            }
        }
        best.map(|(_, tiling, buffers)| (tiling, buffers))
            .ok_or_else(|| planner.too_small(self.product, smallest, available))
    }

    /// Resident rows are as far apart as all heads are wide, whatever the tiling. Instructions on
    /// row lists have 16-bit strides.
    fn check_strides(&self, planner: &Planner<'_>, moved: Moved) -> Result<(), CodegenError> {
        let widths = [self.d, self.d, self.dv, self.dv].map(|d| self.heads() * d);
        let mut wide = widths
            .into_iter()
            .zip(moved)
            .filter(|(width, moved)| *moved == 0 && *width > MAX_COUNT);
        wide.next().map_or(Ok(()), |(width, _)| {
            let problem =
                format!("resident rows of {width} bytes; strides are at most {MAX_COUNT}");
            let at = planner.graph.describe(self.product);
            Err(CodegenError::Unsupported(format!("{at}: {problem}").into()))
        })
    }

    /// Consecutive heads in groups of at most `size`. Either all heads of a group have a block or
    /// none has, because instructions of the group read the block results of all its heads.
    fn head_groups(&self, size: usize) -> Vec<Range<usize>> {
        let has_block = |head: &usize| !self.pattern.heads[*head].columns.is_empty();
        let mut groups: Vec<Range<usize>> = Vec::new();
        for head in 0..self.heads() {
            match groups.last_mut() {
                Some(last) if last.len() < size && has_block(&last.start) == has_block(&head) => {
                    last.end = head + 1
                }
                _ => groups.push(head..head + 1),
            }
        }
        groups
    }

    /// The buffers of a tiling; `None` if it exceeds the fields of instructions.
    fn buffers(&self, tiling: &SparseTiling, moved: Moved) -> Option<Declared> {
        let [_, k, v, _] = moved;
        let kept_heads = if tiling.heads_overlap && tiling.heads.len() > 1 { 2 } else { 1 };
        let widest = tiling.heads.iter().map(|heads| heads.len()).max()?;
        // The heads of a group are side by side in a row.
        if widest > 1 && widest * self.d.max(self.dv) > MAX_COUNT {
            return None;
        }
        let mut tiles: Vec<usize> = Vec::new();
        for heads in &tiling.heads {
            for rows in chunks(self.queries, tiling.height) {
                let counts = Counts::new(&self.pattern, heads.clone(), rows);
                // A query takes one step of the product per entry and cell, and one for its result.
                let steps = counts.entries + counts.cells + counts.queries;
                if counts.columns > MAX_COUNT || counts.queries > MAX_COUNT || steps > MAX_ENTRIES {
                    return None;
                }
                tiles.push(
                    StripeConstants::bytes(&counts, self.wide()) + self.tile_bytes(&counts, moved),
                );
            }
        }
        // Three stripes are in flight: one each in the scores, the softmax and the product.
        tiles.sort_unstable();
        let in_flight: usize = tiles.iter().rev().take(3).sum();
        let mut buffers = Declared::default();
        buffers.add(KEYS, widest * self.keys * k * self.d, kept_heads, Lifetime::Heads);
        buffers.add(VALUES, widest * self.keys * v * self.dv, kept_heads, Lifetime::Heads);
        buffers.add(STRIPE_DATA, in_flight, 1, Lifetime::Stripe);
        Some(buffers)
    }

    /// The estimate of a tiling.
    fn estimate(&self, tiling: &SparseTiling, machine: &Machine) -> Estimate {
        let mut pipeline =
            Pipeline { fill: machine.lines.fill_cycles.into(), ..Pipeline::default() };
        let mut loaded = 0;
        for heads in &tiling.heads {
            for stripe in self.stripes(heads, tiling.height) {
                let counts = Counts::new(&self.pattern, heads.clone(), stripe.rows.clone());
                loaded += StripeConstants::bytes(&counts, self.wide()) as u64;
                let [denser, sparser] =
                    self.score_cycles(&stripe, self.divide(&stripe, machine), machine);
                let product = cost(&self.product(&stripe, machine).into(), machine).cycles;
                pipeline.stripe(
                    denser.max(sparser),
                    self.softmax_cycles(&stripe, machine),
                    product,
                );
            }
        }
        Estimate::with_waits(machine, pipeline.finish(), loaded)
    }

    /// Bytes of a stripe's tiles other than its constants, alignment included.
    fn tile_bytes(&self, counts: &Counts, [q, _, _, result]: Moved) -> usize {
        let &Counts { heads, queries, entries, columns, cells, .. } = counts;
        // Scores have two bytes, probabilities one; for each engine, maxima have two and sums four.
        let bytes =
            3 * (entries + cells) + 12 * queries + queries * (q * self.d + result * self.dv);
        bytes + 12 * ALIGN + 2 * (heads + columns)
    }

    /// Cycles of a stripe's softmax, with the row list divided between the softmax units.
    fn softmax_cycles(&self, stripe: &Stripe, machine: &Machine) -> u64 {
        let block = self.block_softmax_cycles(stripe, machine);
        let list = match stripe.entries() {
            0 => 0,
            entries => {
                let all =
                    self.list_softmax(stripe, Engine::Sparser, (stripe.queries(), entries), false);
                cost(&all.into(), machine).cycles
            }
        };
        let shared = (block + list).div_ceil(2);
        block.max(shared) + u64::from(machine.softmax.fill_cycles)
    }

    /// Cycles of the denser engine's softmax unit for a stripe's blocks.
    pub(crate) fn block_softmax_cycles(&self, stripe: &Stripe, machine: &Machine) -> u64 {
        let blocks = stripe.columns.iter().filter(|columns| **columns > 0);
        blocks
            .map(|columns| {
                cost(&Instruction::from(self.block_softmax(stripe.rows.len(), *columns)), machine)
                    .cycles
            })
            .sum()
    }
}

/// The MAC lines over time: the scores of a stripe, then the product of the stripe before, which
/// waits for its probabilities.
#[derive(Default)]
struct Pipeline {
    fill: u64,
    /// The cycle in which the lines are free.
    lines: u64,
    /// The cycle in which the probabilities of the last stripe are complete, and the cycles of its
    /// product.
    waiting: Option<(u64, u64)>,
}

impl Pipeline {
    fn stripe(&mut self, scores: u64, softmax: u64, product: u64) {
        self.lines += scores;
        let ready = self.lines + self.fill + softmax;
        self.product();
        self.waiting = Some((ready, product));
    }

    fn product(&mut self) {
        if let Some((ready, product)) = self.waiting.take() {
            self.lines = self.lines.max(ready) + product;
        }
    }

    fn finish(mut self) -> u64 {
        self.product();
        self.lines + self.fill
    }
}
