//! The operands of attention: queries, keys, values and a shared mask, projected or loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use vitcod_isa::machine::Machine;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, SramOperand, Tile};
use crate::codegen::group::AttentionGroup;
use crate::codegen::lower::attention::names::{SHARED_MASK, SOURCES};
use crate::codegen::lower::linear::full_k;
use crate::ir::{Graph, Op, Value};

/// A linear layer that computes queries, keys or values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection {
    pub(crate) linear: Op,
    pub(crate) x: Value,
    pub(crate) result: Value,
}

/// The projections of a group.
pub(crate) fn projections(
    graph: &Graph,
    group: &AttentionGroup,
) -> impl Iterator<Item = Projection> {
    group.projections.iter().map(|linear| {
        let data = graph.op(*linear);
        Projection { linear: *linear, x: data.operands[0], result: data.results[0] }
    })
}

/// The operands of projections, each once.
pub(crate) fn sources(graph: &Graph, group: &AttentionGroup) -> BTreeSet<Value> {
    projections(graph, group).map(|projection| projection.x).collect()
}

/// Whether all rows of a shared mask are loaded once: if they take at most 1/32 of the scratchpad.
pub(crate) fn is_resident_mask(graph: &Graph, machine: &Machine, mask: Value) -> bool {
    const SHARE: u64 = 32;
    graph.ty(mask).bytes() as u64 <= u64::from(machine.sram.bytes) / SHARE
}

/// The operands of attention while it is emitted.
pub(crate) struct Operands {
    /// Projections with all rows of their operands.
    projections: Vec<(Projection, Tile)>,
    /// Output channels per instruction of a projection.
    projected_channels: usize,
    /// Rows per instruction of the first projection, until it is emitted.
    boundary_rows: Option<usize>,
}

impl Operands {
    /// Loads the operands of projections.
    pub(crate) fn load(
        builder: &mut Builder<'_>,
        group: &AttentionGroup,
        projected_channels: usize,
        boundary_rows: usize,
    ) -> Operands {
        let mut tiles: BTreeMap<Value, Tile> = BTreeMap::new();
        let projections = projections(builder.graph, group).map(|projection| {
            let (m, k) = builder.graph.ty(projection.x).matrix();
            let read = || {
                let all = Block { rows: 0..m, bytes: 0..k };
                builder.read(SOURCES, projection.linear, projection.x, &all)
            };
            (projection, *tiles.entry(projection.x).or_insert_with(read))
        });
        let projections = projections.collect();
        Operands { projections, projected_channels, boundary_rows: Some(boundary_rows) }
    }

    /// All rows of some columns of a value, if a projection computes them.
    pub(crate) fn project(
        &mut self,
        builder: &mut Builder<'_>,
        name: &'static str,
        value: Value,
        columns: &Range<usize>,
    ) -> Option<Tile> {
        let (projection, x) =
            self.projections.iter().find(|(projection, _)| projection.result == value)?;
        let first_height = self.boundary_rows.take();
        let channels = (columns.clone(), self.projected_channels);
        Some(full_k::project(builder, name, projection.linear, *x, channels, first_height))
    }

    /// Columns of a value, projected or read.
    pub(crate) fn tile(
        &mut self,
        builder: &mut Builder<'_>,
        name: &'static str,
        reader: Op,
        value: Value,
        block: &Block,
    ) -> Tile {
        let projected = self.project(builder, name, value, &block.bytes);
        projected.unwrap_or_else(|| builder.read(name, reader, value, block))
    }
}

/// The rows of a mask that is a run-time input and shared by all heads.
pub(crate) enum MaskRows {
    /// All rows, loaded once.
    All(Tile),
    /// Rows are loaded stripe by stripe.
    Stripes(Value),
}

impl MaskRows {
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        reader: Op,
        mask: Value,
        is_resident: bool,
    ) -> MaskRows {
        if !is_resident {
            return MaskRows::Stripes(mask);
        }
        let (rows, row_bytes) = builder.graph.ty(mask).matrix();
        let all = Block { rows: 0..rows, bytes: 0..row_bytes };
        MaskRows::All(builder.read(SHARED_MASK, reader, mask, &all))
    }

    /// The rows of a stripe.
    pub(crate) fn stripe(
        &self,
        builder: &mut Builder<'_>,
        reader: Op,
        rows: &Range<usize>,
    ) -> SramOperand {
        match self {
            MaskRows::All(tile) => builder.offset_rows(*tile, rows.start).at,
            MaskRows::Stripes(mask) => {
                let row_bytes = builder.graph.ty(*mask).shape[1];
                let block = Block { rows: rows.clone(), bytes: 0..row_bytes };
                builder.read(SHARED_MASK, reader, *mask, &block).at
            }
        }
    }
}
