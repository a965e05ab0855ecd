//! The auto-encoder's `encode` and `decode`: row by row, in stripes that overlap with the movement
//! of others.

use vitcod_isa::instr::Traffic;
use vitcod_isa::instr::table::{Decode, Encode};

use crate::codegen::builder::Builder;
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::MAX_COUNT;
use crate::codegen::lower::elementwise::STRIPES;
use crate::ir::{Op, OpKind};

/// Lowers `encode` or `decode`.
pub(crate) fn lower(builder: &mut Builder<'_>, op: Op) -> Result<(), CodegenError> {
    let graph = builder.graph;
    let data = graph.op(op);
    let (OpKind::Encode { heads_in, heads_out } | OpKind::Decode { heads_in, heads_out }) =
        data.kind
    else {
        unreachable!("groups are formed by kind")
    };
    let (x, params, result) = (data.operands[0], data.operands[1], data.results[0]);
    let ((m, width_in), (_, width_out)) = (graph.ty(x).matrix(), graph.ty(result).matrix());
    let params_bytes = graph.ty(params).bytes();

    let moved = |value, width: usize| if builder.on_chip(value) { 0 } else { width };
    // Two tiles, so that one moves while the other is computed.
    let bytes = |rows: usize| {
        (2 * rows * (moved(x, width_in) + moved(result, width_out)) + params_bytes) as u64
    };
    let mut rows = m.div_ceil(STRIPES).min(MAX_COUNT);
    while rows > 1 && bytes(rows) > builder.available_bytes() {
        rows = rows.div_ceil(2);
    }
    if bytes(rows) > builder.available_bytes() {
        return Err(builder.too_small(op, bytes(rows)));
    }

    let params = builder.constant(op, params, 0..params_bytes, Traffic::Params);
    for rows in chunks(m, rows) {
        let src = builder.read(op, x, &Block { rows: rows.clone(), bytes: 0..width_in });
        let target =
            builder.begin_store(result, &Block { rows: rows.clone(), bytes: 0..width_out });
        let (lines, src_at, dst) = (builder.all_lines(), src.at, target.tile.at);
        let (m, d) = (rows.len() as u16, (width_in / heads_in) as u16);
        let (src_stride, dst_stride) = (src.stride, target.tile.stride);
        let (heads_in, heads_out) = (heads_in as u16, heads_out as u16);
        match data.kind {
            OpKind::Encode { .. } => {
                let src = src_at;
                builder.push(
                    op,
                    Encode {
                        lines,
                        src,
                        params,
                        dst,
                        m,
                        d,
                        heads_in,
                        heads_out,
                        src_stride,
                        dst_stride,
                    },
                );
            }
            _ => {
                let src = src_at;
                builder.push(
                    op,
                    Decode {
                        lines,
                        src,
                        params,
                        dst,
                        m,
                        d,
                        heads_in,
                        heads_out,
                        src_stride,
                        dst_stride,
                    },
                );
            }
        }
        builder.finish_store(op, &target);
    }
    Ok(())
}
