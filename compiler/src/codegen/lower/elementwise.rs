//! Operations on whole rows: rows of tables, LayerNorm, lookups and adds that no linear layer takes
//! along, and copies.

use vitcod_isa::instr::table::{LayerNorm, Lut};
use vitcod_isa::instr::{Sram, Traffic, Width};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, Tile, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::MAX_COUNT;
use crate::ir::{Elem, Op, OpKind, Value};

/// Stripes of rows in which rowwise operations run, so that what follows can start before they end.
pub(crate) const STRIPES: usize = 4;

/// Lowers `qlayer_norm`, `lut` or `qadd`.
pub(crate) fn lower(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let data = graph.op(op);
    let result = data.results[0];
    let (m, n) = graph.ty(result).matrix();
    let matrices: &[Value] = match data.kind {
        OpKind::QAdd { .. } => &data.operands,
        _ => &data.operands[..1],
    };
    let width = |value: Value| graph.ty(value).elem.bytes();

    // Columns can be tiled where no row is looked at as a whole.
    let params = match data.kind {
        OpKind::QAdd { .. } => None,
        _ => Some((data.operands[1], graph.ty(data.operands[1]).bytes())),
    };
    let moved = |value: &Value| if builder.on_chip(*value) { 0 } else { width(*value) };
    let per_element: usize = matrices.iter().map(moved).sum::<usize>() + moved(&result);
    let fixed = params.map_or(0, |(_, bytes)| bytes as u64);
    let room = builder.available_bytes();
    let tileable = !matches!(data.kind, OpKind::QLayerNorm {});
    let (rows, columns) = tiling(m, n, per_element, tileable, room.saturating_sub(fixed))
        .ok_or_else(|| {
            builder.too_small(op, fixed + 2 * (per_element * if tileable { 1 } else { n }) as u64)
        })?;

    let table = params.map(|(value, bytes)| builder.constant(op, value, 0..bytes, Traffic::Params));
    for rows in chunks(m, rows) {
        for columns in chunks(n, columns) {
            let window = |value: Value| Block {
                rows: rows.clone(),
                bytes: columns.start * width(value)..columns.end * width(value),
            };
            let tiles: Vec<Tile> =
                matrices.iter().map(|value| builder.read(op, *value, &window(*value))).collect();
            let target = builder.begin_store(result, &window(result));
            let (tile, shape) = (target.tile, [rows.len(), columns.len()]);
            let (src, src_stride) = (tiles[0].at, tiles[0].stride);
            let (dst, dst_stride) = (tile.at, tile.stride);
            let params = table.unwrap_or(Sram(0));
            match data.kind {
                OpKind::QLayerNorm {} => {
                    let [m, n] = shape.map(|extent| extent as u16);
                    let out =
                        if graph.ty(result).elem == Elem::I16 { Width::I16 } else { Width::I8 };
                    builder.push(
                        op,
                        LayerNorm { out, src, params, dst, m, n, src_stride, dst_stride },
                    );
                }
                OpKind::Lut {} => {
                    let [m, n] = builder.flat(shape, &[(tiles[0], 1), (tile, 1)]);
                    builder.push(op, Lut { src, table: params, dst, m, n, src_stride, dst_stride });
                }
                _ => builder.add(
                    op,
                    [tiles[0], tiles[1], tile],
                    shape,
                    graph.ty(result).elem == Elem::I8,
                ),
            }
            builder.finish_store(op, &target);
        }
    }
    Ok(())
}

/// Rows and columns of a tile of which two fit, `per_element` bytes each, and that an instruction
/// can count; whole rows where columns cannot be tiled.
pub(crate) fn tiling(
    m: usize,
    n: usize,
    per_element: usize,
    tileable: bool,
    room: u64,
) -> Option<(usize, usize)> {
    let fits = |rows: usize, columns: usize| 2 * (rows * columns * per_element) as u64 <= room;
    let mut rows = m.div_ceil(STRIPES).clamp(1, MAX_COUNT);
    while rows > 1 && !fits(rows, n) {
        rows = rows.div_ceil(2);
    }
    let mut columns = if tileable { n.min(MAX_COUNT) } else { n };
    while tileable && columns > 1 && !fits(rows, columns) {
        columns = columns.div_ceil(2);
    }
    fits(rows, columns).then_some((rows, columns))
}
