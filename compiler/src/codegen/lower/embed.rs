//! `qembed`: loads row indices, then gathers the rows of the table.

use vitcod_isa::instr::table::Gather;
use vitcod_isa::instr::{Dram, Traffic};
use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::{bytes32, count};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::row_tiles::{RowTiles, row_tiles};
use crate::ir::{Graph, Op};

const ROW_INDICES: &str = "row indices";
const ROWS: &str = "rows";

/// How `qembed` is lowered.
pub(crate) struct EmbedPlan {
    op: Op,
    tiles: RowTiles,
    buffers: Declared,
}

/// Chooses the tiles.
///
/// # Errors
/// Not even the smallest tiles fit.
pub(crate) fn choose(planner: &Planner<'_>, op: Op) -> Result<EmbedPlan, CodegenError> {
    let graph = planner.graph;
    let data = graph.op(op);
    let (numbers, result) = (data.operands[1], data.results[0]);
    let m = graph.ty(result).shape[0];
    let row_bytes = graph.ty(result).bytes() / m;
    let width = graph.ty(numbers).elem.bytes();
    let buffers = |RowTiles { rows, columns }: RowTiles| {
        let mut buffers = Declared::default();
        // Declared for all rows, whatever the tiles.
        buffers.add(ROW_INDICES, width * m, 2, Lifetime::Stripe);
        if !planner.on_chip(result) {
            buffers.add(ROWS, rows * columns, 2, Lifetime::Tile);
        }
        buffers
    };
    let available = planner.available_bytes();
    let tiles = row_tiles([m, row_bytes], true, |tiles| buffers(tiles).bytes() <= available);
    let tiles = tiles.ok_or_else(|| {
        let smallest = RowTiles { rows: 1, columns: 1 };
        planner.too_small(op, buffers(smallest).bytes(), available)
    })?;
    Ok(EmbedPlan { op, tiles, buffers: buffers(tiles) })
}

/// Emits a gather for each tile.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &EmbedPlan) {
    builder.declare(&plan.buffers);
    let (graph, op) = (builder.graph, plan.op);
    let data = graph.op(op);
    let (table, numbers, result) = (data.operands[0], data.operands[1], data.results[0]);
    let (limit, m) = (graph.ty(table).shape[0], graph.ty(result).shape[0]);
    let row_bytes = graph.ty(table).bytes() / limit;
    let width = graph.ty(numbers).elem.bytes();
    let source = builder.residence.constants[&table];
    for rows in chunks(m, plan.tiles.rows) {
        let block = Block { rows: 0..1, bytes: width * rows.start..width * rows.end };
        let index = builder.read(ROW_INDICES, op, numbers, &block);
        for columns in chunks(row_bytes, plan.tiles.columns) {
            let block = Block { rows: rows.clone(), bytes: columns.clone() };
            let target = builder.begin_store(ROWS, result, &block);
            let gather = Gather {
                dst: target.tile.at.into(),
                src: Dram(source + columns.start as u64),
                bytes: bytes32(columns.len()),
                rows: count(rows.len()),
                limit: count(limit),
                src_stride: bytes32(row_bytes),
                dst_stride: target.tile.stride,
                index: index.at.into(),
                traffic: Traffic::Params,
            };
            builder.push(op, gather);
            builder.finish_store(op, &target);
        }
    }
}

impl EmbedPlan {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.op, &self.buffers)]
    }
}
