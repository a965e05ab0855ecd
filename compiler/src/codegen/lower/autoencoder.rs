//! `encode` and `decode` of auto-encoders, in stripes of rows. Transfers of a stripe overlap with
//! the computation of others.

use vitcod_isa::instr::table::{Decode, Encode};
use vitcod_isa::instr::{LineSet, Op as Instruction, Traffic};
use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::{MAX_COUNT, count};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::fit::halve_until;
use crate::codegen::strategy::STRIPES;
use crate::ir::{Graph, Op, OpKind};

const PARAMETERS: &str = "parameters";
const OPERANDS: &str = "operands";
const RESULTS: &str = "results";

/// How `encode` or `decode` is lowered.
pub(crate) struct AutoencoderPlan {
    pub(crate) op: Op,
    rows: usize,
    /// All lines, unless lists leave some.
    pub(crate) lines: LineSet,
    buffers: Declared,
}

/// Chooses the rows of an instruction.
///
/// # Errors
/// Not even one row fits.
pub(crate) fn choose(planner: &Planner<'_>, op: Op) -> Result<AutoencoderPlan, CodegenError> {
    let graph = planner.graph;
    let data = graph.op(op);
    let (x, params, result) = (data.operands[0], data.operands[1], data.results[0]);
    let ((m, width_in), (_, width_out)) = (graph.ty(x).matrix(), graph.ty(result).matrix());
    let moved = |value, width: usize| if planner.on_chip(value) { 0 } else { width };
    let buffers = |rows: usize| {
        let mut buffers = Declared::default();
        buffers.add(PARAMETERS, graph.ty(params).bytes(), 1, Lifetime::Group);
        buffers.add(OPERANDS, rows * moved(x, width_in), 2, Lifetime::Stripe);
        buffers.add(RESULTS, rows * moved(result, width_out), 2, Lifetime::Stripe);
        buffers
    };
    let available = planner.available_bytes();
    let rows =
        halve_until(m.div_ceil(STRIPES).min(MAX_COUNT), |rows| buffers(rows).bytes() <= available);
    let buffers = buffers(rows);
    if buffers.bytes() > available {
        return Err(planner.too_small(op, buffers.bytes(), available));
    }
    let lines = planner.machine.all_lines();
    Ok(AutoencoderPlan { op, rows, lines, buffers })
}

/// Emits `encode` or `decode`.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &AutoencoderPlan) {
    builder.declare(&plan.buffers);
    let (graph, op) = (builder.graph, plan.op);
    let data = graph.op(op);
    let (x, params, result) = (data.operands[0], data.operands[1], data.results[0]);
    let ((m, width_in), (_, width_out)) = (graph.ty(x).matrix(), graph.ty(result).matrix());
    let all = 0..graph.ty(params).bytes();
    let params = builder.constant(PARAMETERS, op, params, all, Traffic::Params);
    for rows in chunks(m, plan.rows) {
        let block = |width: usize| Block { rows: rows.clone(), bytes: 0..width };
        let x = builder.read(OPERANDS, op, x, &block(width_in));
        let target = builder.begin_store(RESULTS, result, &block(width_out));
        let (src, params, dst) = (x.at.into(), params.into(), target.tile.at.into());
        let (src_stride, dst_stride) = (x.stride, target.tile.stride);
        let (lines, m) = (plan.lines, count(rows.len()));
        let instruction: Instruction = match data.kind {
            OpKind::Encode { heads_in, heads_out } => {
                let d = count(width_in / heads_in);
                let [heads_in, heads_out] = [heads_in, heads_out].map(count);
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
                }
                .into()
            }
            OpKind::Decode { heads_in, heads_out } => {
                let d = count(width_in / heads_in);
                let [heads_in, heads_out] = [heads_in, heads_out].map(count);
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
                }
                .into()
            }
            _ => unreachable!("groups are formed by kind"),
        };
        builder.push(op, instruction);
        builder.finish_store(op, &target);
    }
}

impl AutoencoderPlan {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.op, &self.buffers)]
    }
}
