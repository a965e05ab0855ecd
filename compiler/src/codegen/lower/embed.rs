//! Rows of a table, by their numbers.

use vitcod_isa::instr::table::Gather;
use vitcod_isa::instr::{Dram, Traffic};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::lower::elementwise::tiling;
use crate::ir::Op;

/// Lowers `qembed`: row numbers are loaded, and by them rows of the table.
pub(crate) fn embed(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let data = graph.op(op);
    let (table, numbers, result) = (data.operands[0], data.operands[1], data.results[0]);
    let (limit, m) = (graph.ty(table).shape[0], graph.ty(result).shape[0]);
    let row_bytes = graph.ty(table).bytes() / limit;
    let width = graph.ty(numbers).elem.bytes();
    // A tile with room for the numbers of its rows.
    let moved = if builder.on_chip(result) { 0 } else { 1 };
    let (rows, columns) = tiling(
        m,
        row_bytes,
        moved,
        true,
        builder.available_bytes().saturating_sub((2 * width * m) as u64),
    )
    .ok_or_else(|| builder.too_small(op, (2 * width * m + 2) as u64))?;
    let source = builder.residence.constants[&table];
    for rows in chunks(m, rows) {
        let index = builder.read(
            op,
            numbers,
            &Block { rows: 0..1, bytes: width * rows.start..width * rows.end },
        );
        for columns in chunks(row_bytes, columns) {
            let target =
                builder.begin_store(result, &Block { rows: rows.clone(), bytes: columns.clone() });
            let gather = Gather {
                dst: target.tile.at,
                src: Dram(source + columns.start as u64),
                bytes: columns.len() as u32,
                rows: rows.len() as u16,
                limit: limit as u16,
                src_stride: row_bytes as u32,
                dst_stride: target.tile.stride,
                index: index.at,
                traffic: Traffic::Params,
            };
            builder.push(op, gather);
            builder.finish_store(op, &target);
        }
    }
    Ok(())
}
