//! Where attention takes queries, keys, values and the mask of a run from.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use vitcod_isa::instr::Sram;

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, Tile};
use crate::codegen::group::AttentionGroup;
use crate::codegen::lower::linear;
use crate::ir::{Op, Value};

/// Where queries, keys and values come from.
pub(crate) struct Operands {
    pub(crate) projections: Vec<Projection>,
    /// Whether one of them has made something.
    begun: bool,
}

/// A linear layer that makes queries, keys or values.
pub(crate) struct Projection {
    pub(crate) linear: Op,
    pub(crate) x: Value,
    pub(crate) result: Value,
    /// All rows of `x`, once they are there.
    tile: Option<Tile>,
}

impl Operands {
    pub(crate) fn new(builder: &Builder<'_>, group: &AttentionGroup) -> Operands {
        let projection = |linear: &Op| {
            let data = builder.graph.op(*linear);
            Projection { linear: *linear, x: data.operands[0], result: data.results[0], tile: None }
        };
        Operands { projections: group.projections.iter().map(projection).collect(), begun: false }
    }

    pub(crate) fn is_made(&self, value: Value) -> bool {
        self.projections.iter().any(|projection| projection.result == value)
    }

    /// What projections read, each once.
    pub(crate) fn sources(&self) -> BTreeSet<Value> {
        self.projections.iter().map(|projection| projection.x).collect()
    }

    /// Fetches what projections read.
    pub(crate) fn load(&mut self, builder: &mut Builder<'_>) {
        let mut tiles: BTreeMap<Value, Tile> = BTreeMap::new();
        for projection in &mut self.projections {
            let (m, k) = builder.graph.ty(projection.x).matrix();
            let read = || {
                builder.read(projection.linear, projection.x, &Block { rows: 0..m, bytes: 0..k })
            };
            projection.tile = Some(*tiles.entry(projection.x).or_insert_with(read));
        }
    }

    /// Columns of a value, if a projection makes them.
    pub(crate) fn made(
        &mut self,
        builder: &mut Builder<'_>,
        value: Value,
        columns: &Range<usize>,
        piece: usize,
    ) -> Option<Tile> {
        let projection = self.projections.iter().find(|projection| projection.result == value)?;
        let first_result = !std::mem::replace(&mut self.begun, true);
        Some(linear::project(
            builder,
            projection.linear,
            projection.tile?,
            columns,
            piece,
            first_result,
        ))
    }

    /// Columns of all rows of a value, made or read.
    pub(crate) fn tile(
        &mut self,
        builder: &mut Builder<'_>,
        reader: Op,
        value: Value,
        window: &Block,
        piece: usize,
    ) -> Tile {
        let made = self.made(builder, value, &window.bytes, piece);
        made.unwrap_or_else(|| builder.read(reader, value, window))
    }
}

/// The rows of a mask that is known only at run time, the same for all heads.
pub(crate) enum MaskRows {
    /// All of them, loaded once.
    All(Tile),
    /// Those of each stripe by themselves.
    Stripes(Value),
}

impl MaskRows {
    /// The part of the scratchpad that all rows may take for the whole layer.
    const SHARE: u64 = 32;

    pub(crate) fn new(builder: &mut Builder<'_>, group: &AttentionGroup, mask: Value) -> MaskRows {
        let (rows, row_bytes) = builder.graph.ty(mask).matrix();
        match MaskRows::is_small(builder, mask) {
            true => MaskRows::All(builder.read(
                group.sddmm,
                mask,
                &Block { rows: 0..rows, bytes: 0..row_bytes },
            )),
            false => MaskRows::Stripes(mask),
        }
    }

    fn is_small(builder: &Builder<'_>, mask: Value) -> bool {
        builder.graph.ty(mask).bytes() as u64
            <= u64::from(builder.machine.sram.bytes) / MaskRows::SHARE
    }

    /// Bytes for each of the stripes in flight.
    pub(crate) fn bytes(builder: &Builder<'_>, mask: Value, height: usize) -> usize {
        let (rows, row_bytes) = builder.graph.ty(mask).matrix();
        row_bytes * if MaskRows::is_small(builder, mask) { rows } else { height }
    }

    /// Those of a stripe.
    pub(crate) fn stripe(
        &self,
        builder: &mut Builder<'_>,
        group: &AttentionGroup,
        rows: &Range<usize>,
    ) -> Sram {
        match self {
            MaskRows::All(tile) => {
                builder.offset_bytes(tile.at, rows.start as u64 * u64::from(tile.stride))
            }
            MaskRows::Stripes(mask) => {
                let row_bytes = builder.graph.ty(*mask).shape[1];
                builder
                    .read(group.sddmm, *mask, &Block { rows: rows.clone(), bytes: 0..row_bytes })
                    .at
            }
        }
    }
}
