//! The two layers of an MLP, interleaved if the hidden activations are spilled. The first layer
//! computes them in slices of its channels. Each slice is stored to DRAM, and multiplied for the
//! first accumulator panel of the second layer while it is on chip. So the first panel is complete
//! when the first layer is, and only the other panels load the hidden activations.

use std::collections::BTreeMap;
use std::fmt;

use crate::estimate::{Estimate, fewest_weighted_cycles};
use vitcod_isa::operands::Channel;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, Tile, chunks, chunks_of};
use crate::codegen::error::CodegenError;
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
    /// One layer after the other.
    Unfused(LinearPlan<'g>, LinearPlan<'g>),
    /// Both layers interleaved.
    Interleaved(InterleavedPlan<'g>),
}

/// How both layers are interleaved.
pub(crate) struct InterleavedPlan<'g> {
    group: &'g MlpGroup,
    producer: Extents,
    consumer: Extents,
    chosen: Interleaving,
    /// Rows per instruction of the first products.
    boundary_rows: usize,
}

/// The tilings of both layers, and their estimate.
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
    /// The estimate of one layer after the other, if they fit.
    unfused: Option<Estimate>,
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interleaving { producer, consumer, remaining, .. } = self;
        write!(
            f,
            "first layer: {producer}, in slices of {} channels for a panel of {} channels of the second \
             layer",
            consumer.depth, consumer.panel
        )?;
        write!(
            f,
            "; remaining channels: {remaining}, split-K: slices of {} for panels of {} channels",
            remaining.depth, remaining.panel
        )
    }
}

/// The tilings chosen so far, by everything that they depend on.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// Tilings of single layers.
    pub(crate) single: tiling::Memo,
    /// Interleavings, by the extents of both layers and the bytes available for each.
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
    // When the first layer is complete, the bytes of its operand are free.
    let after = available + planner.last_accessed_bytes(planner.graph.op(first.linear).operands[0]);
    // Slices of the hidden activations have 8 bits from the product on.
    let whole = planner.on_chip(first.result) || first.is_interpolated(planner.graph);
    let interleaving = match whole {
        true => None,
        false => interleaving(planner, memo, [&producer, &consumer], [available, after]),
    };
    Ok(match interleaving {
        Some(chosen) => {
            let channels = chosen.producer.channels.min(chosen.consumer.depth).min(producer.n);
            let tile = [producer.m, channels, producer.k];
            let boundary_rows = full_k::boundary_rows(planner.machine, producer.out, tile);
            let plan = InterleavedPlan { group, producer, consumer, chosen, boundary_rows };
            MlpPlan::Interleaved(plan)
        }
        None => MlpPlan::Unfused(
            linear::choose(planner, &mut memo.single, first, available)?,
            linear::choose(planner, &mut memo.single, second, after)?,
        ),
    })
}

/// Emits both layers.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &MlpPlan<'_>) {
    match plan {
        MlpPlan::Unfused(first, second) => {
            linear::emit(builder, first);
            linear::emit(builder, second);
        }
        MlpPlan::Interleaved(plan) => emit_interleaved(builder, plan),
    }
}

impl MlpPlan<'_> {
    /// The choices, with the alternatives.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        match self {
            MlpPlan::Unfused(first, second) => {
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
        let reason = &fewest_weighted_cycles();
        let tiles = explain::decision(graph, layer, "tiles", chosen, reason, alternatives);
        let buffers = [self.fused_buffers(), self.remaining_buffers()];
        let buffers = buffers.iter().map(|declared| explain::buffers(graph, layer, declared));
        [tiles].into_iter().chain(buffers).collect()
    }

    /// The buffers of the first layer and the first panel of the second.
    fn fused_buffers(&self) -> Declared {
        let Interleaving { producer, consumer, .. } = self.chosen;
        fused_buffers([&self.producer, &self.consumer], producer, consumer)
    }

    /// The buffers while the first panel is completed: its results reuse the bytes of accumulators
    /// that are complete, so the choice does not count them again.
    fn completion_buffers(&self) -> Declared {
        self.fused_buffers().with(&self.consumer.panel_results(self.chosen.consumer))
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
    buffers.add(WEIGHTS, consumer.weight_bytes(channels, depth), 2, Lifetime::Tile);
    buffers.with(&consumer.tables())
}

fn emit_interleaved(builder: &mut Builder<'_>, plan: &InterleavedPlan<'_>) {
    let InterleavedPlan { group, producer, consumer, chosen, .. } = plan;
    let Interleaving { producer: Tiling { channels: width, .. }, .. } = *chosen;
    let first = group.first.linear;
    let (m, rows) = (producer.m, 0..producer.m);
    builder.declare(&plan.fused_buffers());
    let producer_layer = Layer::new(builder, &group.first, *producer);
    let consumer_layer = Layer::new(builder, &group.second, *consumer);
    let x =
        producer_layer.operand.block(builder, &Block { rows: rows.clone(), bytes: 0..producer.k });
    let mut panel_buffers = PanelBuffers::new(consumer, chosen.consumer);
    let mut weights = BufferRing::new(WEIGHTS, 2, producer.weight_bytes(width, producer.k));
    let mut hidden = BufferRing::new(HIDDEN, RESIDENT_SLICES, m * chosen.consumer.depth);
    let first_panel = 0..chosen.consumer.panel;
    let mut panel =
        AccumulatorPanel::new(builder, &mut panel_buffers, &consumer_layer, &rows, &first_panel);
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
            let height = if channels.start == 0 { plan.boundary_rows } else { m };
            full_k::emit_all_rows(builder, first, &tile, [x, dst], height);
            // The lookups of a slice overlap with the products of the next one.
            if let Some(before) = slices.last().filter(|_| channels.start == depth.start) {
                panel.add(builder, &consumer_layer, before);
            }
        }
        producer_layer.finish(builder, &rows, &depth, &target);
        slices.push(KSlice { depth, stripes: vec![(rows.clone(), target.tile)] });
    }
    if let Some(last) = slices.last() {
        builder.declare(&plan.completion_buffers());
        panel.finish(builder, &consumer_layer, last);
    }
    builder.declare(&plan.remaining_buffers());
    // The last slices are still on chip.
    slices.reverse();
    slices.truncate(RESIDENT_SLICES);
    let spilled_end = slices.last().map_or(producer.n, |slice| slice.depth.start);
    let mut depths: Vec<_> = chunks(spilled_end, chosen.remaining.depth).collect();
    depths.reverse();
    let channels = chosen.consumer.panel..consumer.n;
    consumer_layer.panels(builder, &rows, &channels, chosen.remaining, depths, slices);
}

/// Slices of the hidden activations on chip: one that is multiplied and one that is computed.
const RESIDENT_SLICES: usize = 2;

/// Slices of the hidden activations that are considered, in channels.
const SLICES: [usize; 5] = [256, 192, 128, 64, 32];

/// Panels are multiples of this.
const ALIGN: usize = 32;

/// Channels per instruction of the first layer that are considered.
const WIDTHS_OF_PRODUCER: [usize; 8] = [128, 64, 48, 32, 24, 16, 12, 8];

/// The interleaving with the fewest weighted cycles, if they are fewer than those of one layer
/// after the other. `available` bytes are left for the first panel, `after` bytes for the remaining
/// ones.
fn interleaving(
    planner: &Planner<'_>,
    memo: &mut Memo,
    [producer, consumer]: [&Extents; 2],
    [available, after]: [u64; 2],
) -> Option<Interleaving> {
    let is_eligible =
        !producer.operand.is_map() && producer.operand.on_chip && producer.m <= MAX_COUNT;
    if !is_eligible {
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
            let (remaining, remaining_estimate) =
                remaining_panels(planner, &remaining, first_panel.depth, after)?;
            Some((tiles, first_panel, remaining, fused + remaining_estimate))
        })
        .min_by_key(|(.., estimate)| estimate.weighted_cycles());
    let mut unfused_estimate = |extents: &Extents, available: u64| {
        let considered = tiling::of_each_kind(planner, &mut memo.single, extents, available);
        Some(tiling::best(considered)?.estimate)
    };
    let unfused = [unfused_estimate(producer, available), unfused_estimate(consumer, after)];
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

/// The best tilings of the first layer and a first panel of `panel` channels.
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
        let hidden = Estimate::new(planner.machine, 0, bytes as u64);
        let estimate = tiling::estimate(planner, &stored, tiles)
            + tiling::estimate(planner, &resident, panel)
            + hidden;
        (tiles, panel, estimate)
    });
    costed.min_by_key(|(.., estimate)| estimate.weighted_cycles())
}

/// The best tiling of the remaining channels of the second layer, in slices of at least `depth`
/// channels of the first one. The slices on chip come first; their bytes are free before other
/// slices need them.
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
