//! Copies of rows into the result of a concat or into an output.

use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::group::CopyGroup;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::row_tiles::{RowTiles, row_tiles};
use crate::codegen::residence::storage::{Location, MemorySpace};
use crate::ir::{Graph, Op, Value};

const ROWS: &str = "rows";

/// How rows are copied.
pub(crate) struct CopyPlan<'g> {
    group: &'g CopyGroup,
    /// The operation that reports attribute the copy to.
    layer: Op,
    to: Location,
    /// Whether the rows are loaded into their resident storage and need no buffer.
    is_loaded: bool,
    tiles: RowTiles,
    buffers: Declared,
}

/// Chooses the tiles.
///
/// # Errors
/// Not even the smallest tiles fit.
pub(crate) fn choose<'g>(
    planner: &Planner<'_>,
    group: &'g CopyGroup,
) -> Result<CopyPlan<'g>, CodegenError> {
    let (graph, residence) = (planner.graph, planner.residence);
    let layer = match graph.producer(group.from) {
        Some((op, _)) => op,
        None => first_reader(graph, group.from),
    };
    let mut to = residence.destination(group.to);
    to.row += group.at as u64;
    let is_loaded = residence.data(to).space == MemorySpace::Sram && !planner.on_chip(group.from);
    let buffers = |RowTiles { rows, columns }: RowTiles| {
        let mut buffers = Declared::default();
        if !is_loaded {
            buffers.add(ROWS, rows * columns, 2, Lifetime::Tile);
        }
        buffers
    };
    let available = planner.available_bytes();
    let extents = extents(graph, group.from);
    let tiles = row_tiles(extents, true, |tiles| buffers(tiles).bytes() <= available);
    let tiles = tiles.ok_or_else(|| {
        let smallest = RowTiles { rows: 1, columns: 1 };
        planner.too_small(layer, buffers(smallest).bytes(), available)
    })?;
    Ok(CopyPlan { group, layer, to, is_loaded, tiles, buffers: buffers(tiles) })
}

/// Emits the transfers of each tile.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &CopyPlan<'_>) {
    builder.declare(&plan.buffers);
    let CopyPlan { group, layer, to, is_loaded, tiles, .. } = *plan;
    let from = builder.residence.location(group.from);
    let [m, row_bytes] = extents(builder.graph, group.from);
    for rows in chunks(m, tiles.rows) {
        for bytes in chunks(row_bytes, tiles.columns) {
            let block = Block { rows: rows.clone(), bytes };
            if is_loaded {
                let target = builder.begin_store_at(ROWS, to, &block);
                builder.load(layer, from, &block, target.tile);
            } else {
                let tile = builder.read(ROWS, layer, group.from, &block);
                builder.store(layer, to, &block, tile);
            }
        }
    }
}

impl CopyPlan<'_> {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.layer, &self.buffers)]
    }
}

/// Rows, and bytes of a row.
fn extents(graph: &Graph, value: Value) -> [usize; 2] {
    let ty = graph.ty(value);
    let rows = ty.shape.first().copied().unwrap_or(1);
    [rows, ty.bytes() / rows]
}

/// The operation that reports attribute a constant or an input to.
fn first_reader(graph: &Graph, value: Value) -> Op {
    let reads = |op: &&Op| graph.op(**op).operands.contains(&value);
    graph.order.iter().find(reads).copied().unwrap_or_else(|| graph.order[0])
}
