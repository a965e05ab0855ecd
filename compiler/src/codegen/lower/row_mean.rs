//! Means of rows: products of constant probabilities with values.

use vitcod_isa::instr::table::Spmm;
use vitcod_isa::instr::{Engine, Traffic, Width};
use vitcod_isa::numerics::Scale;
use vitcod_isa::program::Decision;

use crate::codegen::builder::Builder;
use crate::codegen::builder::buffers::{Declared, Lifetime};
use crate::codegen::builder::tile::{Block, chunks};
use crate::codegen::error::CodegenError;
use crate::codegen::limits::{MAX_COUNT, bytes32, count};
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::explain;
use crate::codegen::lower::fit::halve_until;
use crate::ir::{Elem, Graph, Op, OpKind, Value};

const PROBABILITIES: &str = "probabilities";
const ROW_SUMS: &str = "row sums";
const VALUES: &str = "values";
const RESULTS: &str = "results";

/// How an `spmm` with constant probabilities and row sums is lowered.
pub(crate) struct RowMeanPlan {
    mean: RowMean,
    /// Queries and features of an instruction.
    rows: usize,
    features: usize,
    buffers: Declared,
}

/// An `spmm` with constant probabilities and row sums.
struct RowMean {
    op: Op,
    probabilities: Value,
    sums: Value,
    values: Value,
    result: Value,
    scale: Scale,
    heads: usize,
    queries: usize,
    keys: usize,
    /// Features of a head.
    d: usize,
}

impl RowMean {
    fn of(graph: &Graph, op: Op) -> RowMean {
        let data = graph.op(op);
        let OpKind::Spmm { scale, windows: 1 } = data.kind else {
            unreachable!("groups are formed by kind")
        };
        let [probabilities, sums, values] = data.operands[..] else {
            unreachable!("the verifier counts operands")
        };
        let [heads, queries, keys] = graph.ty(probabilities).shape[..] else {
            unreachable!("the verifier compares shapes")
        };
        let (result, d) = (data.results[0], graph.ty(values).shape[1] / heads);
        RowMean { op, probabilities, sums, values, result, scale, heads, queries, keys, d }
    }

    fn buffers(&self, planner: &Planner<'_>, rows: usize, features: usize) -> Declared {
        let mut buffers = Declared::default();
        buffers.add(PROBABILITIES, rows * self.keys, 2, Lifetime::Stripe);
        buffers.add(ROW_SUMS, rows * size_of::<u32>(), 2, Lifetime::Stripe);
        if !planner.on_chip(self.values) {
            buffers.add(VALUES, self.keys * features, 2, Lifetime::Tile);
        }
        if !planner.on_chip(self.result) {
            buffers.add(RESULTS, rows * features, 2, Lifetime::Tile);
        }
        buffers
    }
}

/// Chooses the queries and features of an instruction.
///
/// # Errors
/// Not even one query and one feature fit.
pub(crate) fn choose(planner: &Planner<'_>, op: Op) -> Result<RowMeanPlan, CodegenError> {
    let mean = RowMean::of(planner.graph, op);
    let available = planner.available_bytes();
    let bytes = |rows, features| mean.buffers(planner, rows, features).bytes();
    let [most_rows, most_features] = [mean.queries, mean.d].map(|extent| extent.min(MAX_COUNT));
    let rows = halve_until(most_rows, |rows| bytes(rows, most_features) <= available);
    let features = halve_until(most_features, |features| bytes(rows, features) <= available);
    let buffers = mean.buffers(planner, rows, features);
    if buffers.bytes() > available {
        return Err(planner.too_small(op, buffers.bytes(), available));
    }
    Ok(RowMeanPlan { mean, rows, features, buffers })
}

/// Emits the product, head by head in tiles of queries and features.
pub(crate) fn emit(builder: &mut Builder<'_>, plan: &RowMeanPlan) {
    builder.declare(&plan.buffers);
    let RowMean { op, probabilities, sums, values, result, scale, heads, queries, keys, d } =
        plan.mean;
    let minifloat = builder.graph.ty(probabilities).elem == Elem::E3m5;
    for head in 0..heads {
        for rows in chunks(queries, plan.rows) {
            let first = head * queries + rows.start;
            let each = |bytes: usize| first * bytes..(first + rows.len()) * bytes;
            let params = Traffic::Params;
            let probabilities =
                builder.constant(PROBABILITIES, op, probabilities, each(keys), params);
            let sums = builder.constant(ROW_SUMS, op, sums, each(size_of::<u32>()), params);
            for features in chunks(d, plan.features) {
                let columns = head * d + features.start..head * d + features.end;
                let all_keys = Block { rows: 0..keys, bytes: columns.clone() };
                let values = builder.read(VALUES, op, values, &all_keys);
                let block = Block { rows: rows.clone(), bytes: columns };
                let target = builder.begin_store(RESULTS, result, &block);
                let spmm = Spmm {
                    engine: Engine::Denser,
                    out: Width::I8,
                    minifloat,
                    lines: builder.machine.all_lines(),
                    p: probabilities.into(),
                    v: values.at.into(),
                    sum: sums.into(),
                    dst: target.tile.at.into(),
                    m: count(rows.len()),
                    n: count(keys),
                    d: count(features.len()),
                    scale,
                    p_stride: bytes32(keys),
                    v_stride: values.stride,
                    dst_stride: target.tile.stride,
                    ..Spmm::ZERO
                };
                builder.push(op, spmm);
                builder.finish_store(op, &target);
            }
        }
    }
}

impl RowMeanPlan {
    /// The choices of the plan.
    pub(crate) fn decisions(&self, graph: &Graph) -> Vec<Decision> {
        vec![explain::buffers(graph, self.mean.op, &self.buffers)]
    }
}
