//! Products of constant probabilities with values: means of rows.

use vitcod_isa::instr::table::Spmm;
use vitcod_isa::instr::{Engine, Sram, Traffic, Width};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::MAX_COUNT;
use crate::ir::{Op, OpKind};

/// Lowers an `spmm` whose probabilities and row sums are constants, head by head in tiles of
/// queries and features.
pub(crate) fn lower(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let data = graph.op(op);
    let OpKind::Spmm { scale, windows: 1 } = data.kind else {
        unreachable!("groups are formed by kind")
    };
    let [p, sum, v] = data.operands[..] else { unreachable!("the verifier counts operands") };
    let [heads, queries, keys] = graph.ty(p).shape[..] else {
        unreachable!("the verifier compares shapes")
    };
    let (result, d) = (data.results[0], graph.ty(v).shape[1] / heads);
    let moved = |value| usize::from(!builder.on_chip(value));
    // Two tiles are in flight.
    let bytes = |rows: usize, features: usize| {
        let values = keys * features * moved(v) + rows * features * moved(result);
        2 * (rows * (keys + size_of::<u32>()) + values) as u64
    };
    let (mut rows, mut features) = (queries.min(MAX_COUNT), d.min(MAX_COUNT));
    while bytes(rows, features) > builder.available_bytes() && (rows > 1 || features > 1) {
        if rows > 1 { rows = rows.div_ceil(2) } else { features = features.div_ceil(2) }
    }
    if bytes(rows, features) > builder.available_bytes() {
        return Err(builder.too_small(op, bytes(1, 1)));
    }
    for head in 0..heads {
        for rows in chunks(queries, rows) {
            let first = head * queries + rows.start;
            let each = |bytes: usize| first * bytes..(first + rows.len()) * bytes;
            let probabilities = builder.constant(op, p, each(keys), Traffic::Params);
            let sums = builder.constant(op, sum, each(size_of::<u32>()), Traffic::Params);
            for features in chunks(d, features) {
                let columns = head * d + features.start..head * d + features.end;
                let values = builder.read(op, v, &Block { rows: 0..keys, bytes: columns.clone() });
                let target =
                    builder.begin_store(result, &Block { rows: rows.clone(), bytes: columns });
                let spmm = Spmm {
                    engine: Engine::Denser,
                    out: Width::I8,
                    accumulate: false,
                    both: false,
                    lines: builder.all_lines(),
                    p: probabilities,
                    v: values.at,
                    sum: sums,
                    other_sum: Sram(0),
                    acc: Sram(0),
                    dst: target.tile.at,
                    m: rows.len() as u16,
                    n: keys as u16,
                    d: features.len() as u16,
                    scale,
                    p_stride: keys as u32,
                    v_stride: values.stride,
                    acc_stride: 0,
                    dst_stride: target.tile.stride,
                };
                builder.push(op, spmm);
                builder.finish_store(op, &target);
            }
        }
    }
    Ok(())
}
