//! How split attention is cut: heads that share instructions, and queries of a stripe.

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::{Engine, Op};
use vitcod_isa::machine::Machine;

use super::super::CodegenError;
use super::super::limits::MAX_COUNT;
use super::super::task::{Builder, steps};
use super::stripe::{Image, Stripe};
use super::{Attention, SplitGroup};

/// Heads side by side, and how many queries at a time.
#[derive(Clone, Debug)]
pub(super) struct Cuts {
    pub(super) heads: Vec<Range<usize>>,
    pub(super) height: usize,
    /// Whether the first scores of some heads are made before the last product of those before them.
    pub(super) heads_overlap: bool,
}

/// Numbers of parts that a head group or the queries are cut into without need.
const FREE_PARTS: usize = 8;

/// Entries of a list that fit its instructions.
const MAX_ENTRIES: usize = (1 << 24) - 1;

/// Bytes that the alignment of a buffer may cost.
const ALIGN: usize = 16;

/// Which of the tensors travel: q, k, v and the result, 1 where one does.
type Moved = [usize; 4];

impl Attention {
    /// The cuts with the smallest estimate of cycles among those that fit.
    pub(super) fn cut(&self, builder: &Builder<'_>, group: &SplitGroup) -> Result<Cuts, CodegenError> {
        let moved = [self.q, self.k, self.v, self.result].map(|value| usize::from(!builder.on_chip(value)));
        let mut best: Option<(u64, Cuts)> = None;
        let mut smallest = u64::MAX;
        for parts in 1..=self.heads() {
            let heads = self.head_groups(self.heads().div_ceil(parts));
            for stripes in 1..=self.queries {
                let height = self.queries.div_ceil(stripes);
                // Smaller ones are looked at only where nothing larger fits, heights that cut as a smaller one does not at all.
                if (stripes > FREE_PARTS && best.is_some())
                    || height != self.queries.div_ceil(self.queries.div_ceil(height))
                {
                    continue;
                }
                for heads_overlap in [true, false] {
                    let cuts = Cuts { heads: heads.clone(), height, heads_overlap };
                    let Some((cycles, bytes)) = self.estimate(&cuts, moved, builder.machine) else { continue };
                    smallest = smallest.min(bytes);
                    if bytes <= builder.room() && best.as_ref().is_none_or(|(least, _)| cycles < *least) {
                        best = Some((cycles, cuts));
                    }
                    if heads.len() == 1 {
                        break;
                    }
                }
            }
            if best.is_some() && parts >= FREE_PARTS {
                break;
            }
        }
        best.map(|(_, cuts)| cuts).ok_or_else(|| builder.too_small(group.product, smallest))
    }

    /// Neighbouring heads in groups of at most `size`. Those of a group all have a block or all have none, since an instruction of the group
    /// reads what the blocks of all its heads leave.
    fn head_groups(&self, size: usize) -> Vec<Range<usize>> {
        let has_block = |head: &usize| !self.pattern.heads[*head].columns.is_empty();
        let mut groups: Vec<Range<usize>> = Vec::new();
        for head in 0..self.heads() {
            match groups.last_mut() {
                Some(last) if last.len() < size && has_block(&last.start) == has_block(&head) => last.end = head + 1,
                _ => groups.push(head..head + 1),
            }
        }
        groups
    }

    /// Cycles and bytes of the scratchpad that cuts take; `None` where they do not fit the instructions.
    fn estimate(&self, cuts: &Cuts, moved: Moved, machine: &Machine) -> Option<(u64, u64)> {
        let [_, k, v, _] = moved;
        let kept_heads = if cuts.heads_overlap && cuts.heads.len() > 1 { 2 } else { 1 };
        let widest = cuts.heads.iter().map(|heads| heads.len()).max()?;
        let tensors = kept_heads * widest * self.keys * (k * self.d + v * self.dv);
        let mut pipeline = Pipeline { fill: machine.lines.fill_cycles.into(), ..Pipeline::default() };
        let mut tiles: Vec<u64> = Vec::new();
        let mut loaded = 0;
        for heads in &cuts.heads {
            let columns: usize = self.pattern.heads[heads.clone()].iter().map(|head| head.columns.len()).sum();
            if columns > MAX_COUNT {
                return None;
            }
            for rows in steps(self.queries, cuts.height) {
                if heads.len() * rows.len() > MAX_COUNT {
                    return None;
                }
                let stripe = Stripe::new(&self.pattern, heads.clone(), rows);
                if stripe.entries() > MAX_ENTRIES {
                    return None;
                }
                let image = Image::new(&stripe, &self.pattern, self.wide()).bytes.len() as u64;
                loaded += image;
                tiles.push(image + self.tile_bytes(&stripe, moved));
                let scores = self.score_cycles(&stripe, self.divide(&stripe, machine), machine);
                let product = cost(&self.product(&stripe, machine).into(), machine).cycles;
                pipeline.stripe(scores.into_iter().max()?, self.softmax_cycles(&stripe, machine), product);
            }
        }
        let transfer = loaded * 1000 / machine.dram_millibytes_per_cycle();
        // Two stripes are in flight, a third has its scores made.
        let in_flight = tiles.windows(tiles.len().min(3)).map(|three| three.iter().sum::<u64>()).max()?;
        Some((pipeline.finish() + transfer / 4, in_flight + tensors as u64))
    }

    /// Bytes of a stripe's tiles besides what it loads of its list, with room for their alignment.
    fn tile_bytes(&self, stripe: &Stripe, [q, _, _, result]: Moved) -> u64 {
        let (queries, cells) = (stripe.queries(), stripe.rows.len() * stripe.all_columns());
        // Scores of two bytes and probabilities of one; maxima of two and sums of four for either engine.
        let bytes = 3 * (stripe.entries() + cells) + 12 * queries + queries * (q * self.d + result * self.dv);
        (bytes + 12 * ALIGN + 2 * (stripe.heads.len() + stripe.all_columns())) as u64
    }

    /// Cycles until the probabilities of a stripe are there, its list divided between the softmax units.
    fn softmax_cycles(&self, stripe: &Stripe, machine: &Machine) -> u64 {
        let block = self.block_softmax_cycles(stripe, machine);
        let list = match stripe.entries() {
            0 => 0,
            entries => {
                let whole = self.list_softmax(stripe, Engine::Sparser, (stripe.queries(), entries), false);
                cost(&whole.into(), machine).cycles
            }
        };
        let shared = (block + list).div_ceil(2);
        block.max(shared) + u64::from(machine.softmax.fill_cycles)
    }

    /// Cycles of the denser engine's softmax unit for a stripe's blocks.
    pub(super) fn block_softmax_cycles(&self, stripe: &Stripe, machine: &Machine) -> u64 {
        let blocks = stripe.columns.iter().filter(|columns| **columns > 0);
        blocks.map(|columns| cost(&Op::from(self.block_softmax(stripe.rows.len(), *columns)), machine).cycles).sum()
    }
}

/// Stripes on the lines: scores, then the product of the stripe before, which waits for its probabilities.
#[derive(Default)]
struct Pipeline {
    fill: u64,
    /// When the lines are free.
    lines: u64,
    /// When the probabilities of the last stripe are there, and the cycles of its product.
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
