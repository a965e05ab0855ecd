//! Linear layers and convolutions: tiles of rows x output channels.
//!
//! Where the left operand is on chip, or all of its rows fit, or all weights do, the weights are
//! stationary: each tile of them is loaded once and applied to all rows. Otherwise stripes of rows
//! are stationary and the weights come once for each stripe, or sums are split ([`panel`]):
//! accumulators of as many rows and channels as fit stay while pieces of operand and weights pass.
//! Two layers can be made together ([`mlp`]). Which of these, and the sizes of tiles, are those of
//! the smallest estimate among a fixed set of candidates, by the cost model ([`tiling`]). A
//! convolution is lowered as the product that it is: its rows are windows, of which an instruction
//! takes those of one row of the map.

pub(crate) mod mlp;
pub(crate) mod operand;
pub(crate) mod split_k;
pub(crate) mod tiling;

use std::ops::Range;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::Matmul;
use vitcod_isa::instr::{Engine, LineSet, Sram, Traffic, Width};
use vitcod_isa::operands::Channel;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffer_ring::BufferRing;
use crate::codegen::builder::tile::{Block, Target, Tile, chunks, chunks_of};
use crate::codegen::error::CodegenError;
use crate::codegen::group::LinearGroup;
use crate::codegen::lower::elementwise::STRIPES;
use crate::codegen::lower::linear::operand::{ActivationTile, Operand, cut_at};
use crate::codegen::lower::linear::tiling::{Extents, Tiling};
use crate::codegen::residence::padded_map::PaddedMap;
use crate::codegen::strategy::drain_cycles;
use crate::ir::{Elem, Op, Value};

/// What is lowered.
pub(crate) struct Linear<'g> {
    pub(crate) group: &'g LinearGroup,
    pub(crate) operand: Operand,
    pub(crate) extents: Extents,
    other: Option<Addend>,
    /// Lookups with their tables on chip.
    tables: Vec<(Op, Sram)>,
    /// Of a result that stays on chip with zeros around its pixels.
    frame: Option<PaddedMap>,
}

/// Lowers a linear layer with its lookups and its adds.
pub(crate) fn lower(builder: &mut Builder<'_>, group: &LinearGroup) -> Result<(), CodegenError> {
    let extents = extents(builder, group);
    let tiling = tiling::choose(builder, group.linear, &extents)?;
    let linear = Linear::new(builder, group, extents);
    if tiling.depth < extents.k {
        linear.split_k(builder, tiling);
    } else {
        linear.whole_sums(builder, tiling);
    }
    Ok(())
}

/// What the tiling of a layer depends on.
pub(crate) fn extents(builder: &Builder<'_>, group: &LinearGroup) -> Extents {
    let graph = builder.graph;
    let operands = &graph.op(group.linear).operands;
    let ((m, k), (n, _)) = (graph.ty(operands[0]).matrix(), graph.ty(operands[1]).matrix());
    let stored = !builder.on_chip(group.result);
    let other = Addend::of(builder, group);
    Extents {
        m,
        n,
        k,
        out: width_of(builder, group.linear),
        operand: Operand::of(builder, group).form,
        added: group.add.is_some(),
        stored,
        addend_loaded: other.is_some_and(|other| !builder.on_chip(other.value)),
        narrow_sum_stored: group.add.is_some() && stored && graph.ty(group.result).elem == Elem::I8,
        narrow_stored: group
            .narrow
            .is_some_and(|narrow| !builder.on_chip(graph.op(narrow).results[0])),
        luts: group.luts.len(),
        vector_passes: group.luts.len()
            + usize::from(group.add.is_some())
            + usize::from(group.narrow.is_some()),
    }
}

/// Width of what the matrix product of a linear layer writes.
pub(crate) fn width_of(builder: &Builder<'_>, linear: Op) -> Width {
    match builder.graph.ty(builder.graph.op(linear).results[0]).elem {
        Elem::I8 => Width::I8,
        _ => Width::I16,
    }
}

/// The product of `m` rows and `n` channels over a depth of `k`; operands are left open.
pub(crate) fn matmul(lines: LineSet, out: Width, [m, n, k]: [usize; 3]) -> Matmul {
    Matmul {
        engine: Engine::Denser,
        out,
        accumulate: false,
        lines,
        a: Sram(0),
        b: Sram(0),
        params: Sram(0),
        acc: Sram(0),
        dst: Sram(0),
        m: m as u16,
        n: n as u16,
        k: k as u16,
        a_stride: 0,
        b_stride: 0,
        acc_stride: 0,
        dst_stride: 0,
        more_runs: 0,
        run_stride: 0,
    }
}

/// Rows of an instruction that makes the first results of an operand on chip, or the last ones of a
/// layer: fewer than `rows` where those of one instruction would keep others waiting. What makes
/// the operand and what reads the result goes by stripes of rows.
pub(crate) fn boundary_rows(
    builder: &Builder<'_>,
    out: Width,
    [rows, channels, k]: [usize; 3],
) -> usize {
    let stripe = rows.div_ceil(STRIPES);
    let op = matmul(builder.all_lines(), out, [stripe, channels, k]);
    let worth = cost(&op.into(), builder.machine).cycles > 8 * drain_cycles(builder.machine);
    if worth { stripe } else { rows }
}

/// Whole sums of all rows of `x` and the channels of `right`, into the tile `dst`; the first ones
/// of `x` where they are `first_result`.
pub(crate) fn full_k(
    builder: &mut Builder<'_>,
    linear: Op,
    right: &WeightTile,
    [x, dst]: [Tile; 2],
    first_result: bool,
) {
    let ((m, k), out) = (
        builder.graph.ty(builder.graph.op(linear).operands[0]).matrix(),
        width_of(builder, linear),
    );
    let height =
        if first_result { boundary_rows(builder, out, [m, right.channels.len(), k]) } else { m };
    for rows in chunks(m, height) {
        let [x, dst] = [x, dst].map(|tile| builder.offset_rows(tile, rows.start));
        let op = matmul(builder.all_lines(), out, [rows.len(), right.channels.len(), k]);
        builder.push(linear, right.with(x, Matmul { dst: dst.at, dst_stride: dst.stride, ..op }));
    }
}

/// Some output channels of a linear layer for all rows of `x`, in a tile of their own, `piece`
/// channels at a time; the first results of `x` where they are `first_result`.
pub(crate) fn project(
    builder: &mut Builder<'_>,
    linear: Op,
    x: Tile,
    channels: &Range<usize>,
    piece: usize,
    first_result: bool,
) -> Tile {
    let (m, _) = builder.graph.ty(builder.graph.op(linear).operands[0]).matrix();
    let width = width_of(builder, linear).bytes() as usize;
    let tile = builder.tile(m, channels.len() * width);
    for part in chunks_of(channels, piece) {
        let right = WeightTile::load(builder, linear, part.clone());
        let dst = Tile {
            at: builder.offset_bytes(tile.at, ((part.start - channels.start) * width) as u64),
            ..tile
        };
        full_k(builder, linear, &right, [x, dst], first_result && part.start == channels.start);
    }
    tile
}

impl<'g> Linear<'g> {
    /// A layer with its tables on chip, and with zeros where its result has them.
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        group: &'g LinearGroup,
        extents: Extents,
    ) -> Linear<'g> {
        let graph = builder.graph;
        let table = |lut: &Op| {
            (*lut, builder.constant(*lut, graph.op(*lut).operands[1], 0..256, Traffic::Params))
        };
        let tables = group.luts.iter().map(table).collect();
        let frame = builder.frame(group.result);
        if let Some(frame) = &frame {
            let at = builder.frame_start(group.result);
            builder.zero(group.linear, frame, at, graph.ty(group.result).elem.bytes() * extents.n);
        }
        let (operand, other) = (Operand::of(builder, group), Addend::of(builder, group));
        Linear { group, operand, extents, other, tables, frame }
    }

    /// Each instruction makes whole sums.
    pub(crate) fn whole_sums(&self, builder: &mut Builder<'_>, tiling: Tiling) {
        let Extents { m, n, k, operand: form, .. } = self.extents;
        let right = |builder: &mut Builder<'_>, channels: Range<usize>| {
            WeightTile::load(builder, self.group.linear, channels)
        };
        let tiles = form.tiles(m, tiling.rows);
        if form.on_chip || tiling.rows >= m {
            let left = self.operand.read(builder, &(0..m));
            let height =
                boundary_rows(builder, self.extents.out, [tiling.rows, tiling.channels, k]);
            let edges = if form.is_map() { tiles.clone() } else { chunks(m, height).collect() };
            for channels in chunks(n, tiling.channels) {
                let at_edge = channels.start == 0 && form.on_chip || channels.end == n;
                let right = right(builder, channels);
                let tiles = if at_edge { &edges } else { &tiles };
                tiles.iter().for_each(|rows| self.tile(builder, &left, rows, &right));
            }
        } else {
            let all = (tiling.channels >= n).then(|| right(builder, 0..n));
            for rows in &tiles {
                let left = self.operand.read(builder, rows);
                match &all {
                    Some(right) => self.tile(builder, &left, rows, right),
                    None => {
                        for channels in chunks(n, tiling.channels) {
                            let right = right(builder, channels);
                            self.tile(builder, &left, rows, &right);
                        }
                    }
                }
            }
        }
    }

    /// Whole sums of a tile, in parts that can be written as one.
    pub(crate) fn tile(
        &self,
        builder: &mut Builder<'_>,
        left: &ActivationTile,
        rows: &Range<usize>,
        right: &WeightTile,
    ) {
        self.writable(rows).into_iter().for_each(|rows| self.rows(builder, left, &rows, right));
    }

    /// Rows in parts that can be written as one: those of a result with zeros around its pixels are
    /// cut at the ends of its lines.
    pub(crate) fn writable(&self, rows: &Range<usize>) -> Vec<Range<usize>> {
        match &self.frame {
            None => vec![rows.clone()],
            Some(frame) => cut_at(rows, frame.width).collect(),
        }
    }

    /// Whole sums of rows that can be written as one.
    pub(crate) fn rows(
        &self,
        builder: &mut Builder<'_>,
        left: &ActivationTile,
        rows: &Range<usize>,
        right: &WeightTile,
    ) {
        let target = self.target(builder, rows, &right.channels);
        let ([runs, run], out) = (self.extents.operand.runs(), self.extents.out);
        for piece in left.row_runs(builder, rows) {
            let below = (piece.rows.start - rows.start) as u64 * u64::from(target.tile.stride);
            let op = Matmul {
                dst: builder.offset_bytes(target.tile.at, below),
                dst_stride: target.tile.stride,
                more_runs: (runs - 1) as u16,
                run_stride: piece.run_stride,
                ..matmul(builder.all_lines(), out, [piece.rows.len(), right.channels.len(), run])
            };
            builder.push(
                self.group.linear,
                right.with(Tile { at: piece.at, stride: piece.stride }, op),
            );
        }
        self.finish(builder, rows, &right.channels, &target);
    }

    /// Where the product of some rows and channels goes.
    pub(crate) fn target(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) -> Target {
        let width = self.extents.out.bytes() as usize;
        let window =
            Block { rows: rows.clone(), bytes: channels.start * width..channels.end * width };
        match self.group.add {
            None => builder.begin_store(self.group.result, &window),
            Some(_) => builder.scratch(&window),
        }
    }

    /// What follows the product: lookups, the adds, the stores.
    pub(crate) fn finish(
        &self,
        builder: &mut Builder<'_>,
        rows: &Range<usize>,
        channels: &Range<usize>,
        target: &Target,
    ) {
        let shape = [rows.len(), channels.len()];
        let window = |width: usize| Block {
            rows: rows.clone(),
            bytes: channels.start * width..channels.end * width,
        };
        let mut last = self.group.linear;
        for (lut, table) in &self.tables {
            builder.lookup(*lut, *table, target.tile, shape);
            last = *lut;
        }
        let mut result = target.tile;
        match (&self.other, self.group.add) {
            (Some(other), Some(add)) => {
                let addend = builder.read(add, other.value, &window(2));
                let narrow = builder.graph.ty(self.group.result).elem == Elem::I8;
                let sum = match narrow {
                    true => builder.begin_store(self.group.result, &window(1)),
                    false => builder.begin_store_over(self.group.result, &window(2), result),
                };
                let (a, b) = if other.is_first { (addend, result) } else { (result, addend) };
                builder.add(add, [a, b, sum.tile], shape, narrow);
                builder.finish_store(add, &sum);
                result = sum.tile;
            }
            _ => builder.finish_store(last, target),
        }
        if let Some(narrow) = self.group.narrow {
            let target = builder.begin_store(builder.graph.op(narrow).results[0], &window(1));
            builder.add(narrow, [result, result, target.tile], shape, true);
            builder.finish_store(narrow, &target);
        }
    }
}

/// The operand of the add that is not the product.
pub(crate) struct Addend {
    value: Value,
    is_first: bool,
}

impl Addend {
    pub(crate) fn of(builder: &Builder<'_>, group: &LinearGroup) -> Option<Addend> {
        let graph = builder.graph;
        let operands = &graph.op(group.add?).operands;
        let last = group.luts.last().copied().unwrap_or(group.linear);
        // A product added to itself is not fused: it has two uses.
        let is_first = operands[1] == graph.op(last).results[0];
        Some(Addend { value: if is_first { operands[0] } else { operands[1] }, is_first })
    }
}

/// Bias and scale of some output channels of a linear layer.
pub(crate) fn load_params(builder: &mut Builder<'_>, linear: Op, channels: &Range<usize>) -> Sram {
    let params = builder.graph.op(linear).operands[2];
    let bytes = channels.start * Channel::BYTES..channels.end * Channel::BYTES;
    builder.constant(linear, params, bytes, Traffic::Params)
}

/// A tile of weights with its channel parameters.
pub(crate) struct WeightTile {
    pub(crate) weights: Tile,
    pub(crate) params: Sram,
    pub(crate) channels: Range<usize>,
}

impl WeightTile {
    /// Loads all of what some output channels are multiplied by.
    pub(crate) fn load(
        builder: &mut Builder<'_>,
        linear: Op,
        channels: Range<usize>,
    ) -> WeightTile {
        WeightTile {
            weights: builder.weights(linear, builder.graph.op(linear).operands[1], &channels),
            params: load_params(builder, linear, &channels),
            channels,
        }
    }

    /// Loads all of what some output channels are multiplied by, the weights into the next buffer
    /// of a ring.
    pub(crate) fn load_in(
        builder: &mut Builder<'_>,
        ring: &mut BufferRing,
        linear: Op,
        channels: Range<usize>,
    ) -> WeightTile {
        let weights = builder.graph.op(linear).operands[1];
        let (_, k) = builder.graph.ty(weights).matrix();
        let window = Block { rows: channels.clone(), bytes: 0..k };
        WeightTile {
            weights: builder.weights_in(ring, linear, weights, &window),
            params: load_params(builder, linear, &channels),
            channels,
        }
    }

    /// A product of `a` and these weights.
    pub(crate) fn with(&self, a: Tile, op: Matmul) -> Matmul {
        let Tile { at: b, stride: b_stride } = self.weights;
        Matmul { a: a.at, a_stride: a.stride, b, b_stride, params: self.params, ..op }
    }
}
