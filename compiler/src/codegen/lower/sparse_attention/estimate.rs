//! Estimates of tilings of sparse attention.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::Decode;
use vitcod_isa::instr::{LineSet, Op as Instruction, Width};
use vitcod_isa::machine::Machine;

use crate::codegen::limits::{MAX_COUNT, count};
use crate::codegen::lower::sparse_attention::division::SparseTiling;
use crate::codegen::lower::sparse_attention::memo::Block;
use crate::codegen::lower::sparse_attention::operation::{Places, SparseAttention};
use crate::codegen::lower::sparse_attention::packing::Size;
use crate::codegen::lower::sparse_attention::stripe::StripeConstants;
use crate::codegen::lower::sparse_attention::tiling::{Chooser, PlannedStripe};
use crate::estimate::Estimate;
use crate::ir::{Graph, Op, OpKind, ValueDef};

/// The words of results in the fullest bank of a window, in proportion to the mean: queries are in
/// the order of their batches. 2.2 on the authors' mask of DeiT-Tiny with 32 banks.
const CONFLICTS: usize = 2;

impl Chooser<'_, '_> {
    /// The estimate of a tiling, and whether it decodes on the lines that lists leave.
    pub(super) fn estimate(&mut self, tiling: &SparseTiling) -> (Estimate, bool) {
        self.estimate_on(tiling, tiling.lines.groups)
    }

    /// The estimate of a tiling, from lists clustered for `groups` groups.
    pub(super) fn estimate_on(&mut self, tiling: &SparseTiling, groups: u32) -> (Estimate, bool) {
        let machine = self.planner.machine;
        let mut pipeline =
            Pipeline { fill: machine.lines.fill_cycles.into(), ..Pipeline::default() };
        let line_groups = self.array(tiling).groups;
        let (mut loaded, mut apart) = (0, 0);
        for heads in &tiling.heads {
            let places = self.places(tiling, heads);
            for stripe in self.stripes(tiling, heads, groups) {
                let PlannedStripe { counts, .. } = &stripe;
                loaded += StripeConstants::bytes(counts, self.form(), &line_groups) as u64;
                let block = Block {
                    product: self.attention.product,
                    heads: (heads.start, heads.end),
                    queries: stripe.rows.len(),
                    full: stripe.full,
                    listed: counts.list.queries > 0,
                    lines: tiling.lines.denser.count,
                    strides: [places.q.stride, places.k.stride, places.v.stride],
                    result_stride: places.result.stride,
                };
                let attention = self.attention;
                let [denser, denser_product] = self.memo.block(&block, || {
                    attention.block_cycles(&stripe, heads, tiling.lines.denser, &places, machine)
                });
                let limits = self.attention.list_limits(&counts.list, machine);
                let [sparser, product] =
                    [0, 1].map(|phase: usize| counts.list.cycles[phase].max(limits[phase]));
                let softmax = self.softmax_cycles(&stripe, heads);
                if tiling.lines.are_divided() {
                    apart += denser + denser_product;
                    if counts.list.entries > 0 {
                        pipeline.stripe(sparser, softmax, product);
                    }
                } else {
                    pipeline.stripe(denser + sparser, softmax, denser_product + product);
                }
            }
        }
        let lists = pipeline.finish();
        let graph = self.planner.graph;
        let decode = |lines| self.attention.decoding(graph, lines, machine);
        let decoded_apart = lists.max(apart + decode(tiling.lines.denser));
        let together = lists.max(apart) + decode(machine.all_lines());
        // See `share_lines`: for inputs of the graph, the attention before is about as long.
        let divided = tiling.lines.are_divided();
        let decodes_apart =
            divided && (self.attention.decodes_inputs(graph) || decoded_apart < together);
        let cycles = if decodes_apart { decoded_apart } else { together };
        (Estimate::with_waits(machine, cycles, loaded), decodes_apart)
    }

    /// Cycles of a stripe's softmax, with the list divided between the softmax units.
    fn softmax_cycles(&self, stripe: &PlannedStripe, heads: &Range<usize>) -> u64 {
        let machine = self.machine();
        let block = self.attention.block_softmax_cycles(stripe, heads, machine);
        let Size { entries, queries, .. } = stripe.counts.list;
        let per_cycle = machine.softmax.scores_per_cycle.max(1) as usize;
        // With banks, rows take whole words.
        let rows = if machine.organisation().is_some() { queries / 2 } else { 0 };
        let list = entries.div_ceil(per_cycle) + rows;
        let shared = (block + list as u64).div_ceil(2);
        block.max(shared) + u64::from(machine.softmax.fill_cycles)
    }
}

impl SparseAttention {
    /// Bytes between rows of the sums of blocks.
    pub(super) fn sum_stride(&self, heads: usize, machine: &Machine) -> usize {
        machine.spread().stride((4 * heads * self.dv) as u64) as usize
    }

    /// The estimate of the cycles of scores and products of a list by the words that pass the slots
    /// of the sparser engine, and by its dividers: for each query a word of scores or probabilities
    /// and its results, and vectors of maxima and sums.
    fn list_limits(&self, list: &Size, machine: &Machine) -> [u64; 2] {
        let Some(organisation) = machine.organisation() else { return [0; 2] };
        let (slots, datapath) = (organisation.slots, organisation.datapath);
        let (banks, word) =
            (organisation.banks.count as usize, organisation.banks.word_bytes as usize);
        let revolutions = |words: usize, slots: u32| {
            let layers = words.div_ceil(banks.max(1)) as u64;
            layers.div_ceil(u64::from(slots.max(1))) * organisation.revolution_cycles()
        };
        let Size { queries, entries, .. } = *list;
        let words = |bytes: usize| bytes.div_ceil(word.max(1));
        let scores = revolutions(queries + words(2 * entries + 2 * queries), slots.sparser_write);
        let read = revolutions(queries + words(entries + 10 * queries), slots.sparser_read);
        let written = revolutions(CONFLICTS * queries * words(self.dv), slots.sparser_write);
        let divided = queries.div_ceil(datapath.dividers.max(1) as usize) as u64
            * u64::from(datapath.divider_cycles);
        [scores, read.max(written).max(divided)]
    }

    /// Cycles of the denser engine for the scores and the product of a stripe.
    fn block_cycles(
        &self,
        stripe: &PlannedStripe,
        heads: &Range<usize>,
        lines: LineSet,
        places: &Places,
        machine: &Machine,
    ) -> [u64; 2] {
        let cycles = |op: Instruction| cost(&op, machine).cycles;
        let (m, listed) = (stripe.rows.len(), stripe.counts.list.queries > 0);
        let (mut scores, mut product) = (0, 0);
        for head in heads.clone() {
            let columns = self.columns(head, stripe.full);
            if columns == 0 {
                continue;
            }
            scores += cycles(self.block_scores(m, columns, lines, places).into());
            let runs = if stripe.full {
                std::iter::once(0..columns).collect()
            } else {
                self.pattern.heads[head].runs()
            };
            for run in runs {
                let mut op = self.block_product(m, run.len(), lines, places);
                if listed {
                    op.out = Width::I32;
                    op.dst_stride = self.sum_stride(heads.len(), machine) as u32;
                    op.accumulate = run.start > 0;
                    op.acc_stride = op.dst_stride;
                }
                product += cycles(op.into());
            }
        }
        [scores, product]
    }

    /// Cycles in which so many lines decode queries and keys.
    fn decoding(&self, graph: &Graph, lines: LineSet, machine: &Machine) -> u64 {
        let cycles = |op: Op| {
            let OpKind::Decode { heads_in, heads_out } = graph.op(op).kind else { return 0 };
            let (m, width) = graph.ty(graph.op(op).results[0]).matrix();
            let d = width / heads_out;
            let op = Decode {
                lines,
                m: count(m.min(MAX_COUNT)),
                d: count(d),
                heads_in: count(heads_in),
                heads_out: count(heads_out),
                src_stride: (d * heads_in) as u32,
                dst_stride: width as u32,
                ..Decode::ZERO
            };
            cost(&op.into(), machine).cycles
        };
        self.decoders(graph).into_iter().map(cycles).sum()
    }

    /// The operations that decode queries and keys.
    pub(crate) fn decoders(&self, graph: &Graph) -> Vec<Op> {
        let producers = [self.q, self.k].into_iter().filter_map(|value| graph.producer(value));
        let mut decoders: Vec<Op> = producers
            .filter(|(_, data)| matches!(data.kind, OpKind::Decode { .. }))
            .map(|(op, _)| op)
            .collect();
        decoders.dedup();
        decoders
    }

    /// Whether queries and keys are decoded from inputs of the graph, which nothing delays.
    pub(crate) fn decodes_inputs(&self, graph: &Graph) -> bool {
        let is_input = |op: &Op| matches!(graph.def(graph.op(*op).operands[0]), ValueDef::Input(_));
        self.decoders(graph).iter().all(is_input)
    }

    /// Columns of a head that the denser engine computes.
    fn columns(&self, head: usize, full: bool) -> usize {
        if full { self.keys } else { self.pattern.heads[head].columns.len() }
    }

    /// Cycles of the denser engine's softmax unit for a stripe.
    pub(super) fn block_softmax_cycles(
        &self,
        stripe: &PlannedStripe,
        heads: &Range<usize>,
        machine: &Machine,
    ) -> u64 {
        let columns = heads.clone().map(|head| self.columns(head, stripe.full));
        let of = |columns| {
            cost(&Instruction::from(self.block_softmax(stripe.rows.len(), columns)), machine).cycles
        };
        columns.filter(|columns| *columns > 0).map(of).sum()
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
