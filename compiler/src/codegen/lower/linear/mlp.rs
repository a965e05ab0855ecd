//! Two linear layers of which the second alone reads what the first makes, where that does not stay
//! on chip: it goes to DRAM in slices of its channels. Each slice is multiplied while it is there:
//! the first panel of the second layer's sums is complete with the first layer, and what has gone
//! to DRAM is read by the other panels alone.

use std::collections::BTreeMap;
use std::fmt;

use vitcod_isa::operands::Channel;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, Tile, chunks, chunks_of};
use crate::codegen::error::CodegenError;
use crate::codegen::estimate::Estimate;
use crate::codegen::group::MlpGroup;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::linear::extents::{Extents, Tiling};
use crate::codegen::lower::linear::layer::Layer;
use crate::codegen::lower::linear::names::{ACCUMULATORS, CHANNELS, HIDDEN, WEIGHTS};
use crate::codegen::lower::linear::split_k::{AccumulatorPanel, KSlice, PanelBuffers};
use crate::codegen::lower::linear::tiling::{self, WIDTHS};
use crate::codegen::lower::linear::weights::WeightTile;
use crate::codegen::lower::linear::{self, LinearPlan, full_k};
use crate::ir::Graph;

/// How both layers of an MLP are lowered.
pub(crate) enum MlpPlan<'g> {
    /// One after the other.
    Apart(LinearPlan<'g>, LinearPlan<'g>),
    /// Together.
    Interleaved(InterleavedPlan<'g>),
}

/// Both layers together.
pub(crate) struct InterleavedPlan<'g> {
    group: &'g MlpGroup,
    producer: Extents,
    consumer: Extents,
    chosen: Interleaving,
}

/// How both layers are tiled together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interleaving {
    /// Tiles of the first layer: weights stationary.
    producer: Tiling,
    /// The first panel of the second layer: `depth` channels of the first layer at a time for
    /// `panel` of the second one.
    consumer: Tiling,
    /// The remaining panels of the second layer.
    remaining: Tiling,
    estimate: Estimate,
    /// What both layers take one after the other, if they fit.
    unfused: Option<Estimate>,
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interleaving { producer, consumer, remaining, .. } = self;
        write!(
            f,
            "{producer} of the first layer, {} at a time for {} channels of the second",
            consumer.depth, consumer.panel
        )?;
        write!(
            f,
            "; the others as {remaining}, sums of {} channels split by {}",
            remaining.panel, remaining.depth
        )
    }
}

/// The tilings that were chosen before, by what they depend on.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// Of single layers.
    pub(crate) single: tiling::Memo,
    /// Of two layers, with the bytes that are available for each.
    interleaved: BTreeMap<(Extents, Extents, u64, u64), Option<Interleaving>>,
}

/// Chooses whether both layers are interleaved, and their tiles.
///
/// # Errors
/// Not even the smallest tiles fit.
pub(crate) fn choose<'g>(
    planner: &Planner<'_>,
    memo: &mut Memo,
    group: &'g MlpGroup,
) -> Result<MlpPlan<'g>, CodegenError> {
    let MlpGroup { first, second } = group;
    let [producer, consumer] = [first, second].map(|layer| Extents::of(planner, layer));
    let available = planner.available_bytes();
    // When the first layer is complete, its operand gives its bytes back.
    let after = available + planner.last_accessed_bytes(planner.graph.op(first.linear).operands[0]);
    let interleaving = match planner.on_chip(first.result) {
        true => None,
        false => interleaving(planner, memo, [&producer, &consumer], [available, after]),
    };
    Ok(match interleaving {
        Some(chosen) => MlpPlan::Interleaved(InterleavedPlan { group, producer, consumer, chosen }),
        None => MlpPlan::Apart(
            linear::choose(planner, &mut memo.single, first, available)?,
            linear::choose(planner, &mut memo.single, second, after)?,
        ),
    })
}

/// Emits both layers.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &MlpPlan<'_>) {
    match plan {
        MlpPlan::Apart(first, second) => {
            linear::emit(builder, first);
            linear::emit(builder, second);
        }
        MlpPlan::Interleaved(plan) => emit_interleaved(builder, plan),
    }
}

impl MlpPlan<'_> {
    /// What was chosen, and instead of what.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        match self {
            MlpPlan::Apart(first, second) => {
                [first.decisions(graph), second.decisions(graph)].concat()
            }
            MlpPlan::Interleaved(plan) => plan.decisions(graph),
        }
    }
}

impl InterleavedPlan<'_> {
    fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        let Interleaving { estimate, unfused, .. } = self.chosen;
        let (chosen, layer) = (self.chosen.to_string(), self.group.second.linear);
        let named = |name: &str, estimate: Estimate| Alternative {
            name: name.to_owned(),
            cycles: estimate.cycles,
            dram_bytes: estimate.dram_bytes,
        };
        let unfused = unfused.map(|estimate| named("one layer after the other", estimate));
        let alternatives = [named(&chosen, estimate)].into_iter().chain(unfused).collect();
        let reason = explain::FEWEST_WEIGHTED_CYCLES;
        let tiles = explain::decision(graph, layer, "tiles", chosen, reason, alternatives);
        let buffers = [self.fused_buffers(), self.remaining_buffers()];
        let buffers = buffers.iter().map(|declared| explain::buffers(graph, layer, declared));
        [tiles].into_iter().chain(buffers).collect()
    }

    /// The buffers while the first layer and the first panel of the second are made.
    fn fused_buffers(&self) -> Declared {
        let Interleaving { producer, consumer, .. } = self.chosen;
        fused_buffers([&self.producer, &self.consumer], producer, consumer)
    }

    /// The buffers of a panel's results, which take the bytes of accumulators that are used up.
    fn panel_results(&self) -> Declared {
        self.consumer.panel_results(self.chosen.consumer)
    }

    /// The buffers of the remaining panels.
    fn remaining_buffers(&self) -> Declared {
        let Interleaving { consumer, remaining, .. } = self.chosen;
        self.consumer.remaining(consumer.panel).buffers(remaining)
    }
}

/// The buffers of the first layer with a panel of the second.
fn fused_buffers([producer, consumer]: [&Extents; 2], tiles: Tiling, panel: Tiling) -> Declared {
    // Slices are stored, not tiles.
    let mut buffers = Extents { stored: false, ..*producer }.buffers(tiles);
    let Tiling { rows, channels, depth, panel } = panel;
    buffers.add(ACCUMULATORS, panel * 4 * rows, 1, Lifetime::Stripe);
    buffers.add(CHANNELS, panel * Channel::BYTES, 1, Lifetime::Stripe);
    buffers.add(HIDDEN, rows * depth, RESIDENT_SLICES, Lifetime::Stripe);
    buffers.add(WEIGHTS, channels * depth, 2, Lifetime::Tile);
    buffers.with(&consumer.tables())
}

fn emit_interleaved(builder: &mut Builder<'_>, plan: &InterleavedPlan<'_>) {
    let InterleavedPlan { group, producer, consumer, chosen } = plan;
    let Interleaving { producer: Tiling { channels: width, .. }, .. } = *chosen;
    let first = group.first.linear;
    let (m, rows) = (producer.m, 0..producer.m);
    builder.declare(&plan.fused_buffers());
    let lower = Layer::new(builder, &group.first, *producer);
    let upper = Layer::new(builder, &group.second, *consumer);
    let x = lower.operand.block(builder, &Block { rows: rows.clone(), bytes: 0..producer.k });
    let mut panel_buffers = PanelBuffers::new(chosen.consumer);
    let mut weights = BufferRing::new(WEIGHTS, 2, width * producer.k);
    let mut hidden = BufferRing::new(HIDDEN, RESIDENT_SLICES, m * chosen.consumer.depth);
    let first_panel = 0..chosen.consumer.panel;
    let mut panel = AccumulatorPanel::new(builder, &mut panel_buffers, &upper, &rows, &first_panel);
    let mut slices: Vec<KSlice> = Vec::new();
    for depth in chunks(producer.n, chosen.consumer.depth) {
        let block = Block { rows: rows.clone(), bytes: depth.clone() };
        let tile = builder.ring_tile(&mut hidden, m, depth.len());
        let target = builder.begin_store_over(group.first.result, &block, tile);
        for channels in chunks_of(&depth, width) {
            let tile = WeightTile::load_in(builder, &mut weights, first, channels.clone());
            let dst = Tile {
                at: builder.offset_bytes(target.tile.at, (channels.start - depth.start) as u64),
                ..target.tile
            };
            full_k::emit(builder, first, &tile, [x, dst], channels.start == 0);
            // The lookups of a slice run under the products of the next one.
            if let Some(before) = slices.last().filter(|_| channels.start == depth.start) {
                panel.add(builder, &upper, before);
            }
        }
        lower.finish(builder, &rows, &depth, &target);
        slices.push(KSlice { depth, stripes: vec![(rows.clone(), target.tile)] });
    }
    if let Some(last) = slices.last() {
        builder.declare(&plan.panel_results());
        panel.finish(builder, &upper, last);
    }
    builder.declare(&plan.remaining_buffers());
    // What was made last is still on chip.
    slices.reverse();
    slices.truncate(RESIDENT_SLICES);
    let spilled_end = slices.last().map_or(producer.n, |slice| slice.depth.start);
    let mut depths: Vec<_> = chunks(spilled_end, chosen.remaining.depth).collect();
    depths.reverse();
    let channels = chosen.consumer.panel..consumer.n;
    upper.panels(builder, &rows, &channels, chosen.remaining, depths, slices);
}

/// Slices of the first layer's result that are on chip: one that is multiplied and one that is
/// made.
const RESIDENT_SLICES: usize = 2;

/// Depths of the slices in which the first layer's result is made.
const SLICES: [usize; 5] = [256, 192, 128, 64, 32];

/// Panels are multiples of it.
const ALIGN: usize = 32;

/// Channels of the first layer that an instruction makes.
const WIDTHS_OF_PRODUCER: [usize; 8] = [128, 64, 48, 32, 24, 16, 12, 8];

/// The interleaving of the fewest weighted cycles, if these are fewer than those of one layer after
/// the other. `available` bytes are left for the first panel and for the remaining ones.
fn interleaving(
    planner: &Planner<'_>,
    memo: &mut Memo,
    [producer, consumer]: [&Extents; 2],
    [available, after]: [u64; 2],
) -> Option<Interleaving> {
    let plain = !producer.operand.is_map() && producer.operand.on_chip && producer.m <= MAX_COUNT;
    if !plain {
        return None;
    }
    let key = (*producer, *consumer, available, after);
    if let Some(known) = memo.interleaved.get(&key) {
        return *known;
    }
    let best = WIDTHS
        .into_iter()
        .filter(|panel| *panel < consumer.n && panel.is_multiple_of(ALIGN))
        .filter_map(|panel| {
            let (tiles, first_panel, fused) =
                first_panel(planner, producer, consumer, panel, available)?;
            let remaining = consumer.remaining(panel);
            let (remaining, rest) =
                remaining_panels(planner, &remaining, first_panel.depth, after)?;
            Some((tiles, first_panel, remaining, fused + rest))
        })
        .min_by_key(|(.., estimate)| estimate.weighted_cycles());
    let mut alone = |extents: &Extents, available: u64| {
        let considered = tiling::of_each_kind(planner, &mut memo.single, extents, available);
        Some(tiling::best(considered)?.estimate)
    };
    let unfused = [alone(producer, available), alone(consumer, after)];
    let unfused =
        if let [Some(first), Some(second)] = unfused { Some(first + second) } else { None };
    let is_better = |estimate: &Estimate| {
        unfused.is_none_or(|unfused| estimate.weighted_cycles() < unfused.weighted_cycles())
    };
    let best = best.filter(|(.., estimate)| is_better(estimate)).map(
        |(producer, consumer, remaining, estimate)| Interleaving {
            producer,
            consumer,
            remaining,
            estimate,
            unfused,
        },
    );
    memo.interleaved.insert(key, best);
    best
}

/// The first layer with `panel` channels of the second one.
fn first_panel(
    planner: &Planner<'_>,
    producer: &Extents,
    consumer: &Extents,
    panel: usize,
    available: u64,
) -> Option<(Tiling, Tiling, Estimate)> {
    let m = producer.m;
    let mut resident = Extents { n: panel, ..*consumer };
    resident.operand.on_chip = true;
    let candidates = SLICES.into_iter().filter(|depth| *depth < producer.n).flat_map(|depth| {
        let narrower = move |width: &usize| *width <= depth;
        WIDTHS_OF_PRODUCER.into_iter().filter(narrower).map(move |width| (depth, width))
    });
    let candidates = candidates.flat_map(|(depth, width)| {
        let tiles = Tiling { rows: m, channels: width, depth: producer.k, panel: width };
        let widths = WIDTHS.into_iter().filter(move |channels| *channels <= panel.min(128));
        let tilings = widths.map(move |channels| Tiling { rows: m, channels, depth, panel });
        let fits = move |tiling: &Tiling| {
            fused_buffers([producer, consumer], tiles, *tiling).bytes() <= available
        };
        tilings.filter(fits).map(move |tiling| (tiles, tiling))
    });
    let stored = Extents { stored: false, ..*producer };
    let costed = candidates.map(|(tiles, panel)| {
        let runs = m * producer.n.div_ceil(panel.depth);
        let bytes = runs * tiling::padded(planner.machine, panel.depth);
        let hidden = Estimate::hidden(planner.machine, bytes as u64);
        let estimate = tiling::estimate(planner, &stored, tiles)
            + tiling::estimate(planner, &resident, panel)
            + hidden;
        (tiles, panel, estimate)
    });
    costed.min_by_key(|(.., estimate)| estimate.weighted_cycles())
}

/// The remaining channels of the second layer, in slices of at least `depth` channels of the first
/// one: those that are on chip come first. What they take is free again before others need it.
fn remaining_panels(
    planner: &Planner<'_>,
    remaining: &Extents,
    depth: usize,
    available: u64,
) -> Option<(Tiling, Estimate)> {
    let panels =
        (1..=6).map(|panels| remaining.n.div_ceil(panels).next_multiple_of(ALIGN).min(remaining.n));
    let candidates =
        panels.flat_map(|panel| tiling::DEPTHS.into_iter().map(move |depth| (panel, depth)));
    let tilings = candidates.filter(|(_, each)| (depth..remaining.k).contains(each)).flat_map(
        |(panel, depth)| {
            let channels = WIDTHS.into_iter().filter(move |channels| *channels <= panel.min(128));
            channels.map(move |channels| Tiling { rows: remaining.m, channels, depth, panel })
        },
    );
    let fitting = tilings.filter(|tiling| remaining.buffers(*tiling).bytes() <= available);
    let costed = fitting.map(|tiling| (tiling, tiling::estimate(planner, remaining, tiling)));
    costed.min_by_key(|(_, estimate)| estimate.weighted_cycles())
}
