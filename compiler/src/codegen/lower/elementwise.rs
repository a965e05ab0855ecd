//! Elementwise operations: LayerNorm, and lookups and adds that are not fused with a linear layer.

use vitcod_isa::instr::table::LayerNorm;
use vitcod_isa::instr::{Traffic, Width};
use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, SramOperand, Tile, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::count;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::row_tiles::{RowTiles, row_tiles};
use crate::ir::{Elem, Graph, Op, OpKind, Value};

const PARAMETERS: &str = "parameters";
const OPERANDS: [&str; 2] = ["operands", "second operands"];
const RESULTS: &str = "results";

/// How `qlayer_norm`, `lut` or `qadd` is lowered.
pub(crate) struct ElementwisePlan {
    op: Op,
    tiles: RowTiles,
    buffers: Declared,
}

/// The matrix operands of an operation.
fn matrices(graph: &Graph, op: Op) -> &[Value] {
    let data = graph.op(op);
    match data.kind {
        OpKind::QAdd { .. } => &data.operands,
        _ => &data.operands[..1],
    }
}

/// The lookup table or the LayerNorm parameters of an operation.
fn parameters(graph: &Graph, op: Op) -> Option<Value> {
    let data = graph.op(op);
    match data.kind {
        OpKind::QAdd { .. } => None,
        _ => Some(data.operands[1]),
    }
}

/// Chooses the tiles.
///
/// # Errors
/// Not even the smallest tiles fit.
pub(crate) fn choose(planner: &Planner<'_>, op: Op) -> Result<ElementwisePlan, CodegenError> {
    let graph = planner.graph;
    let result = graph.op(op).results[0];
    let (m, n) = graph.ty(result).matrix();
    // Columns can be tiled unless the operation needs complete rows.
    let tileable = !matches!(graph.op(op).kind, OpKind::QLayerNorm {});
    let moved = |value: Value| match planner.on_chip(value) {
        true => 0,
        false => graph.ty(value).elem.bytes(),
    };
    let buffers = |RowTiles { rows, columns }: RowTiles| {
        let mut buffers = Declared::default();
        if let Some(parameters) = parameters(graph, op) {
            buffers.add(PARAMETERS, graph.ty(parameters).bytes(), 1, Lifetime::Group);
        }
        for (name, value) in OPERANDS.iter().zip(matrices(graph, op)) {
            buffers.add(name, rows * columns * moved(*value), 2, Lifetime::Tile);
        }
        buffers.add(RESULTS, rows * columns * moved(result), 2, Lifetime::Tile);
        buffers
    };
    let available = planner.available_bytes();
    let tiles = row_tiles([m, n], tileable, |tiles| buffers(tiles).bytes() <= available);
    let tiles = tiles.ok_or_else(|| {
        let smallest = RowTiles { rows: 1, columns: if tileable { 1 } else { n } };
        planner.too_small(op, buffers(smallest).bytes(), available)
    })?;
    Ok(ElementwisePlan { op, tiles, buffers: buffers(tiles) })
}

/// Emits the operation, tile by tile.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &ElementwisePlan) {
    builder.declare(&plan.buffers);
    let (graph, op) = (builder.graph, plan.op);
    let data = graph.op(op);
    let result = data.results[0];
    let (m, n) = graph.ty(result).matrix();
    let width = |value: Value| graph.ty(value).elem.bytes();
    let params = parameters(graph, op).map_or(SramOperand::NONE, |value| {
        builder.constant(PARAMETERS, op, value, 0..graph.ty(value).bytes(), Traffic::Params)
    });
    for rows in chunks(m, plan.tiles.rows) {
        for columns in chunks(n, plan.tiles.columns) {
            let block = |value: Value| Block {
                rows: rows.clone(),
                bytes: columns.start * width(value)..columns.end * width(value),
            };
            let operands = OPERANDS.iter().zip(matrices(graph, op));
            let tiles: Vec<Tile> = operands
                .map(|(name, value)| builder.read(name, op, *value, &block(*value)))
                .collect();
            let target = builder.begin_store(RESULTS, result, &block(result));
            let (tile, shape) = (target.tile, [rows.len(), columns.len()]);
            let (src, src_stride) = (tiles[0].at.into(), tiles[0].stride);
            let (dst, dst_stride) = (tile.at.into(), tile.stride);
            match data.kind {
                OpKind::QLayerNorm {} => {
                    let [m, n] = shape.map(count);
                    let is_wide = graph.ty(result).elem == Elem::I16;
                    let out = if is_wide { Width::I16 } else { Width::I8 };
                    let params = params.into();
                    let norm = LayerNorm { out, src, params, dst, m, n, src_stride, dst_stride };
                    builder.push(op, norm);
                }
                OpKind::Lut { .. } => {
                    builder.lookup(op, params, [tiles[0], tile], rows.len(), &columns);
                }
                _ => {
                    let is_narrow = graph.ty(result).elem == Elem::I8;
                    builder.add(op, [tiles[0], tiles[1], tile], shape, is_narrow);
                }
            }
            builder.finish_store(op, &target);
        }
    }
}

impl ElementwisePlan {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.op, &self.buffers)]
    }
}
