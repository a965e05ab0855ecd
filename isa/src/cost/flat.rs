//! Instructions on an ideal machine: a flat scratchpad serves every port of every line in every
//! cycle, and there are as many requantisers, dividers and roots as results need.

use super::{Cost, burst_traffic, rowwise, sum_cycles};
use crate::instr::LineSet;
use crate::instr::table::*;
use crate::machine::Machine;

/// The cost of an operation on an ideal machine.
pub(super) fn cost(op: &Op, machine: &Machine) -> Cost {
    match *op {
        Op::Load(_) | Op::Store(_) | Op::Gather(_) => burst_traffic(op, machine).with_sram(op, &[]),
        Op::Matmul(matmul @ Matmul { lines, m, n, k, out, accumulate, .. }) => along_sum(
            op,
            machine,
            lines,
            (m, n, matmul.runs(), k),
            ["a", "b"],
            out.bytes(),
            accumulate,
        ),
        Op::Sddmm(Sddmm { lines, m, n, d, biased, .. }) => {
            let mut scores = along_sum(op, machine, lines, (m, n, 1, d), ["q", "k"], 2, false);
            if biased {
                let each = (u64::from(m) * u64::from(n)).div_ceil(lines.count.into());
                scores.cycles += (2 * each).div_ceil(machine.lines.port_bytes.into());
            }
            scores
        }
        Op::Spmm(Spmm { lines, m, n, d, out, accumulate, minifloat, .. }) => along_outputs(
            op,
            machine,
            lines,
            (m.into(), d, n),
            [Some("p"), Some("v")],
            out.bytes(),
            accumulate,
        )
        .shifted(minifloat),
        // See `lists`.
        Op::SddmmList(_) | Op::SoftmaxList(_) | Op::SpmmList(_) => Cost::default(),
        Op::Encode(Encode { lines, m, d, heads_in, heads_out, .. })
        | Op::Decode(Decode { lines, m, d, heads_in, heads_out, .. }) => {
            let rows = u64::from(m) * u64::from(heads_out);
            along_outputs(op, machine, lines, (rows, d, heads_in), [None, Some("src")], 1, false)
        }
        Op::Softmax(Softmax { m, n, .. }) => {
            let softmax = &machine.softmax;
            rowwise(op, m, n, softmax.scores_per_cycle, softmax.fill_cycles)
        }
        Op::LayerNorm(LayerNorm { m, n, .. })
        | Op::Add(Add { m, n, .. })
        | Op::Lut(Lut { m, n, .. })
        | Op::Interpolate(Interpolate { m, n, .. }) => {
            let vector = &machine.vector;
            rowwise(op, m, n, vector.elements_per_cycle, vector.fill_cycles)
        }
        Op::Sync(_) | Op::Barrier(_) | Op::Halt(_) => Cost { cycles: 1, ..Cost::default() },
    }
}

/// Inter-MAC accumulation: `m x n` results, each the sum of `runs` runs of `k` products of the
/// operands `left` and `right`.
fn along_sum(
    op: &Op,
    machine: &Machine,
    lines: LineSet,
    (m, n, runs, k): (u16, u16, u32, u16),
    [left, right]: [&str; 2],
    out_bytes: u32,
    accumulate: bool,
) -> Cost {
    let (m, n, runs) = (u64::from(m), u64::from(n), u64::from(runs));
    let port = u64::from(machine.lines.port_bytes);
    let steps = runs * sum_cycles(machine, k.into());
    let k = runs * u64::from(k);
    let read = if accumulate { 4u64.div_ceil(port) } else { 0 };
    let write = u64::from(out_bytes).div_ceil(port);
    let rounds = (m * n).div_ceil(u64::from(lines.count));
    Cost {
        cycles: (rounds * (steps + read).max(write)).max(1),
        latency: machine.lines.fill_cycles.into(),
        lines: Some(lines),
        macs: m * n * k,
        ..Cost::default()
    }
    // Each line streams its own row of the right operand; the lines of a round share the row of the
    // left one.
    .with_sram(op, &[(Some(left), rounds * k), (Some(right), m * n * k)])
}

/// Intra-MAC accumulation: `rows x d` results, each the sum of `terms` products of a factor and
/// features.
fn along_outputs(
    op: &Op,
    machine: &Machine,
    lines: LineSet,
    (rows, d, terms): (u64, u16, u16),
    [factor, features]: [Option<&str>; 2],
    out_bytes: u32,
    accumulate: bool,
) -> Cost {
    let (d, terms) = (u64::from(d), u64::from(terms));
    let (macs, port) = (u64::from(machine.lines.macs), u64::from(machine.lines.port_bytes));
    let width = macs.min(d);
    let steps = terms * width.div_ceil(port);
    let read = if accumulate { (4 * width).div_ceil(port) } else { 0 };
    let write = (width * u64::from(out_bytes)).div_ceil(port);
    let rounds = (rows * d.div_ceil(macs)).div_ceil(u64::from(lines.count));
    Cost {
        cycles: (rounds * (steps + read).max(write)).max(1),
        latency: machine.lines.fill_cycles.into(),
        lines: Some(lines),
        macs: rows * d * terms,
        ..Cost::default()
    }
    // Features pass one port and their common factor the other, unless the factor stays in the
    // lines, as the weights of the auto-encoder do.
    .with_sram(op, &[(factor, rows * terms * d.div_ceil(macs)), (features, rows * terms * d)])
}
