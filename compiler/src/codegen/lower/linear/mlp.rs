//! Two linear layers of which the second alone reads what the first makes, where that does not stay
//! on chip: it goes to DRAM in pieces of its channels. Each piece is multiplied while it is there:
//! the first panel of the second layer's sums is complete with the first layer, and what has gone
//! to DRAM is read by the other panels alone.

use std::fmt;

use vitcod_isa::operands::Channel;
use vitcod_isa::program::Alternative;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, Tile, chunks, chunks_of};
use crate::codegen::error::CodegenError;
use crate::codegen::group::MlpGroup;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::linear::split_k::{AccumulatorPanel, KSlice, PanelBuffers};
use crate::codegen::lower::linear::tiling::{Estimate, Extents, Tiling, WIDTHS};
use crate::codegen::lower::linear::{Linear, WeightTile, extents, full_k, tiling};

/// How both layers are cut together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interleaving {
    /// Tiles of the first layer: weights stationary.
    made: Tiling,
    /// Sums that are made at the same time: `depth` channels of the first layer for `panel` of the
    /// second one.
    first: Tiling,
    /// The rest of the second layer.
    rest: Tiling,
    estimate: Estimate,
    /// What both layers take one after the other, if they fit.
    apart: Option<Estimate>,
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interleaving { made, first, rest, .. } = self;
        write!(
            f,
            "{made} of the first layer, {} at a time for {} channels of the second",
            first.depth, first.panel
        )?;
        write!(f, "; the others as {rest}, sums of {} channels split by {}", rest.panel, rest.depth)
    }
}

/// Lowers both layers.
pub(crate) fn lower(builder: &mut Builder<'_>, group: &MlpGroup) -> Result<(), CodegenError> {
    let MlpGroup { first, second } = group;
    let [made, summed] = [first, second].map(|group| extents(builder, group));
    let freed = builder.last_touched(builder.graph.op(first.linear).operands[0]);
    let interleaving = match builder.on_chip(first.result) {
        true => None,
        false => interleaving(builder, &made, &summed, freed),
    };
    let Some(interleaving) = interleaving else {
        super::lower(builder, first)?;
        builder.release(freed);
        return super::lower(builder, second);
    };
    if builder.explains() {
        let chosen = interleaving.to_string();
        let named = |name: &str, estimate: Estimate| Alternative {
            name: name.to_owned(),
            cycles: estimate.cycles,
            dram_bytes: estimate.bytes,
        };
        let apart = interleaving.apart.map(|estimate| named("one layer after the other", estimate));
        let alternatives =
            [named(&chosen, interleaving.estimate)].into_iter().chain(apart).collect();
        builder.explain(second.linear, "tiles", chosen, tiling::REASON, alternatives);
    }
    interleaved(builder, group, [made, summed], &interleaving);
    Ok(())
}

fn interleaved(
    builder: &mut Builder<'_>,
    group: &MlpGroup,
    [made, summed]: [Extents; 2],
    chosen: &Interleaving,
) {
    let Interleaving { made: Tiling { channels: step, .. }, first, rest, .. } = *chosen;
    let (m, rows) = (made.m, 0..made.m);
    let lower = Linear::new(builder, &group.first, made);
    let upper = Linear::new(builder, &group.second, summed);
    let x = lower.operand.part(builder, &Block { rows: rows.clone(), bytes: 0..made.k });
    let mut room = PanelBuffers::new(first);
    let mut weights = BufferRing::new(2, step * made.k);
    let mut results = BufferRing::new(MADE, m * first.depth);
    let mut panel = AccumulatorPanel::new(builder, &mut room, &upper, &rows, &(0..first.panel));
    let mut pieces: Vec<KSlice> = Vec::new();
    for depth in chunks(made.n, first.depth) {
        let window = Block { rows: rows.clone(), bytes: depth.clone() };
        let tile = results.tile(builder, m, depth.len());
        let target = builder.begin_store_over(group.first.result, &window, tile);
        for channels in chunks_of(&depth, step) {
            let right =
                WeightTile::load_in(builder, &mut weights, group.first.linear, channels.clone());
            let dst = Tile {
                at: builder.offset_bytes(target.tile.at, (channels.start - depth.start) as u64),
                ..target.tile
            };
            full_k(builder, group.first.linear, &right, [x, dst], channels.start == 0);
            // The lookups of a piece run under the products of the next one.
            if let Some(before) = pieces.last().filter(|_| channels.start == depth.start) {
                panel.add(builder, &upper, before);
            }
        }
        lower.finish(builder, &rows, &depth, &target);
        pieces.push(KSlice { depth, stripes: vec![(rows.clone(), target.tile)] });
    }
    if let Some(last) = pieces.last() {
        panel.finish(builder, &upper, last);
    }
    // What was made last is still there.
    pieces.reverse();
    pieces.truncate(MADE);
    let away = pieces.last().map_or(made.n, |piece| piece.depth.start);
    let mut depths: Vec<_> = chunks(away, rest.depth).collect();
    depths.reverse();
    upper.panels(builder, &rows, &(first.panel..summed.n), rest, depths, pieces);
}

/// Pieces of the first layer's result that are on chip: one that is multiplied and one that is
/// made.
const MADE: usize = 2;

/// Depths of the pieces in which the first layer's result is made.
const PIECES: [usize; 5] = [256, 192, 128, 64, 32];

/// Panels are multiples of it.
const ALIGN: usize = 32;

/// Channels of the first layer that an instruction makes.
const STEPS: [usize; 8] = [128, 64, 48, 32, 24, 16, 12, 8];

/// The way to interleave both layers that has the lowest price, if that is lower than that of one
/// after the other. `freed` bytes more than there is room now are there when the first layer is
/// done.
fn interleaving(
    builder: &mut Builder<'_>,
    made: &Extents,
    summed: &Extents,
    freed: u64,
) -> Option<Interleaving> {
    let plain = !made.operand.is_map() && made.operand.on_chip && made.m <= MAX_COUNT;
    if !plain {
        return None;
    }
    let room = builder.available_bytes();
    let key = (*made, *summed, room, freed);
    if let Some(known) = builder.tilings.interleaved.get(&key) {
        return *known;
    }
    let best = WIDTHS
        .into_iter()
        .filter(|panel| *panel < summed.n && panel.is_multiple_of(ALIGN))
        .filter_map(|panel| {
            let (made, first, together) = first(builder, made, summed, panel, room)?;
            let (rest, after) = rest(
                builder,
                &Extents { n: summed.n - panel, ..*summed },
                first.depth,
                room + freed,
            )?;
            Some((made, first, rest, together + after))
        })
        .min_by_key(|(.., estimate)| estimate.price);
    let apart = [(made, room), (summed, room + freed)]
        .map(|(extents, room)| Some(tiling::cheapest(builder, extents, room)?.estimate));
    let apart = if let [Some(made), Some(summed)] = apart { Some(made + summed) } else { None };
    let best = best
        .filter(|(.., estimate)| apart.is_none_or(|apart| estimate.price < apart.price))
        .map(|(made, first, rest, estimate)| Interleaving { made, first, rest, estimate, apart });
    builder.tilings.interleaved.insert(key, best);
    best
}

/// The first layer with `panel` channels of the second one.
fn first(
    builder: &Builder<'_>,
    made: &Extents,
    summed: &Extents,
    panel: usize,
    room: u64,
) -> Option<(Tiling, Tiling, Estimate)> {
    // Pieces are stored, not tiles.
    let (m, made) = (made.m, &Extents { stored: false, ..*made });
    let mut there = Extents { n: panel, ..*summed };
    there.operand.on_chip = true;
    let sums = (panel * (4 * m + Channel::BYTES)) as u64;
    let ways = PIECES.into_iter().filter(|piece| *piece < made.n).flat_map(|depth| {
        STEPS.into_iter().filter(move |step| *step <= depth).map(move |step| (depth, step))
    });
    let ways = ways.flat_map(|(depth, step)| {
        let tiles = Tiling { rows: m, channels: step, depth: made.k, panel: step };
        let taken = made.bytes(tiles) + sums + (MADE * m * depth) as u64;
        let widths = WIDTHS.into_iter().filter(move |channels| *channels <= panel.min(128));
        let fitting = widths.filter(move |channels| taken + (2 * channels * depth) as u64 <= room);
        fitting.map(move |channels| (tiles, Tiling { rows: m, channels, depth, panel }))
    });
    let costed = ways.map(|(tiles, sums)| {
        let stored = tiling::moved(builder.machine, m * made.n.div_ceil(sums.depth), sums.depth);
        (
            tiles,
            sums,
            tiling::estimate(builder, made, tiles)
                + tiling::estimate(builder, &there, sums)
                + stored,
        )
    });
    costed.min_by_key(|(.., estimate)| estimate.price)
}

/// The channels of the second layer that are left, in pieces of `made` channels of the first one at
/// least: those that are there come first. What they take is free again before others need it.
fn rest(
    builder: &Builder<'_>,
    summed: &Extents,
    made: usize,
    room: u64,
) -> Option<(Tiling, Estimate)> {
    let panels =
        (1..=6).map(|panels| summed.n.div_ceil(panels).next_multiple_of(ALIGN).min(summed.n));
    let ways = panels.flat_map(|panel| tiling::DEPTHS.into_iter().map(move |depth| (panel, depth)));
    let tilings =
        ways.filter(|(_, depth)| (made..summed.k).contains(depth)).flat_map(|(panel, depth)| {
            let channels = WIDTHS.into_iter().filter(move |channels| *channels <= panel.min(128));
            channels.map(move |channels| Tiling { rows: summed.m, channels, depth, panel })
        });
    let fitting = tilings.filter(|tiling| summed.bytes(*tiling) <= room);
    let costed = fitting.map(|tiling| (tiling, tiling::estimate(builder, summed, tiling)));
    costed.min_by_key(|(_, estimate)| estimate.price)
}
