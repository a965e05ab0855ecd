//! Copies of rows into the result of a concat or into an output.

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::group::CopyGroup;
use crate::codegen::lower::elementwise::tiling;
use crate::codegen::residence::storage::MemorySpace;
use crate::ir::{Graph, Op, Value};

/// Copies rows into a concat's result or into an output.
pub(crate) fn copy(builder: &mut Builder<'_>, copy: &CopyGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let ty = graph.ty(copy.from);
    let location = builder.residence.location(copy.from);
    let source = builder.residence.data(location).clone();
    let mut to = builder.residence.destination(copy.to);
    to.row += copy.at as u64;
    let m = ty.shape.first().copied().unwrap_or(1);
    let bytes = ty.bytes() / m;
    // The layer is the one that asked for the rows to be there.
    let layer = match graph.producer(copy.from) {
        Some((op, _)) => op,
        None => first_reader(graph, copy.from),
    };
    let into_chip = builder.residence.data(to).space == MemorySpace::Sram;
    let buffered = usize::from(!(into_chip && source.space != MemorySpace::Sram));
    let (rows, columns) = tiling(m, bytes, buffered, true, builder.available_bytes())
        .ok_or_else(|| builder.too_small(layer, 2))?;
    for rows in chunks(m, rows) {
        for columns in chunks(bytes, columns) {
            let window = Block { rows: rows.clone(), bytes: columns.clone() };
            let shifted = Block { rows: rows.clone(), bytes: columns };
            if into_chip && source.space != MemorySpace::Sram {
                let target = builder.begin_store_at(to, &shifted);
                builder.load(layer, location, &window, target.tile);
            } else {
                let tile = builder.read(layer, copy.from, &window);
                builder.store(layer, to, &shifted, tile);
            }
        }
    }
    Ok(())
}

/// The operation that a constant or input belongs to in reports.
fn first_reader(graph: &Graph, value: Value) -> Op {
    let reads = |op: &&Op| graph.op(**op).operands.contains(&value);
    graph.order.iter().find(reads).copied().unwrap_or_else(|| graph.order[0])
}
