//! Operations on whole rows: rows of tables, LayerNorm, lookups and adds that no linear layer takes
//! along, and copies.

use vitcod_isa::instr::table::{Gather, LayerNorm, Lut};
use vitcod_isa::instr::{Dram, Sram, Traffic, Width};

use super::CodegenError;
use super::groups::CopyGroup;
use super::limits::MAX_COUNT;
use super::storage::Home;
use super::task::{Builder, Tile, Window, steps};
use crate::ir::{Elem, Graph, Op, OpKind, Value};

/// Stripes of rows in which rowwise operations run, so that what follows can start before they end.
pub(super) const STRIPES: usize = 4;

/// Lowers `qlayer_norm`, `lut` or `qadd`.
pub(super) fn lower(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
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
    let room = builder.room();
    let tileable = !matches!(data.kind, OpKind::QLayerNorm {});
    let (rows, columns) = tiling(m, n, per_element, tileable, room.saturating_sub(fixed))
        .ok_or_else(|| {
            builder.too_small(op, fixed + 2 * (per_element * if tileable { 1 } else { n }) as u64)
        })?;

    let table = params.map(|(value, bytes)| builder.constant(op, value, 0..bytes, Traffic::Params));
    for rows in steps(m, rows) {
        for columns in steps(n, columns) {
            let window = |value: Value| Window {
                rows: rows.clone(),
                bytes: columns.start * width(value)..columns.end * width(value),
            };
            let tiles: Vec<Tile> =
                matrices.iter().map(|value| builder.read(op, *value, &window(*value))).collect();
            let target = builder.write(result, &window(result));
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
            builder.written(op, &target);
        }
    }
    Ok(())
}

/// Lowers `qembed`: row numbers are loaded, and by them rows of the table.
pub(super) fn embed(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let data = graph.op(op);
    let (table, numbers, result) = (data.operands[0], data.operands[1], data.results[0]);
    let (limit, m) = (graph.ty(table).shape[0], graph.ty(result).shape[0]);
    let row_bytes = graph.ty(table).bytes() / limit;
    let width = graph.ty(numbers).elem.bytes();
    // A tile with room for the numbers of its rows.
    let moved = if builder.on_chip(result) { 0 } else { 1 };
    let (rows, columns) =
        tiling(m, row_bytes, moved, true, builder.room().saturating_sub((2 * width * m) as u64))
            .ok_or_else(|| builder.too_small(op, (2 * width * m + 2) as u64))?;
    let source = builder.storages.constants[&table];
    for rows in steps(m, rows) {
        let index = builder.read(
            op,
            numbers,
            &Window { rows: 0..1, bytes: width * rows.start..width * rows.end },
        );
        for columns in steps(row_bytes, columns) {
            let target =
                builder.write(result, &Window { rows: rows.clone(), bytes: columns.clone() });
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
            builder.written(op, &target);
        }
    }
    Ok(())
}

/// Copies rows into a concat's result or into an output.
pub(super) fn copy(builder: &mut Builder<'_>, copy: &CopyGroup) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let ty = graph.ty(copy.from);
    let place = builder.storages.place(copy.from);
    let source = builder.storages.data(place).clone();
    let mut to = builder.storages.destination(copy.to);
    to.row += copy.at as u64;
    let m = ty.shape.first().copied().unwrap_or(1);
    let bytes = ty.bytes() / m;
    // The layer is the one that asked for the rows to be there.
    let layer = match graph.producer(copy.from) {
        Some((op, _)) => op,
        None => first_reader(graph, copy.from),
    };
    let into_chip = builder.storages.data(to).home == Home::Sram;
    let buffered = usize::from(!(into_chip && source.home != Home::Sram));
    let (rows, columns) = tiling(m, bytes, buffered, true, builder.room())
        .ok_or_else(|| builder.too_small(layer, 2))?;
    for rows in steps(m, rows) {
        for columns in steps(bytes, columns) {
            let window = Window { rows: rows.clone(), bytes: columns.clone() };
            let shifted = Window { rows: rows.clone(), bytes: columns };
            if into_chip && source.home != Home::Sram {
                let target = builder.write_at(to, &shifted);
                builder.load(layer, place, &window, target.tile);
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

/// Rows and columns of a tile of which two fit, `per_element` bytes each, and that an instruction
/// can count; whole rows where columns cannot be tiled.
fn tiling(
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
