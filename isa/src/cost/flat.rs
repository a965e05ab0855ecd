//! Instructions on an ideal machine: a flat scratchpad serves every port of every line in every
//! cycle, and there are as many requantisers, dividers and roots as results need.

use super::{Coder, Cost, Model, burst_traffic, sum_cycles};
use crate::effects::{Data, Space, accesses};
use crate::instr::table::*;
use crate::instr::{LineSet, Unit};
use crate::machine::Machine;

/// An instruction on an ideal machine.
pub(super) struct Flat<'a> {
    pub(super) op: &'a Op,
    pub(super) machine: &'a Machine,
}

impl Model for Flat<'_> {
    fn transfer(&mut self) -> Cost {
        burst_traffic(self.op, self.machine).with_sram(self.op, &[])
    }

    fn matmul(&mut self, op: &Matmul) -> Cost {
        let shape = (op.m, op.n, op.runs(), op.k);
        along_sum(self.op, self.machine, op.lines, shape, ["a", "b"], op.out.bytes(), op.accumulate)
    }

    fn sddmm(&mut self, op: &Sddmm) -> Cost {
        let shape = (op.m, op.n, 1, op.d);
        let mut scores = along_sum(self.op, self.machine, op.lines, shape, ["q", "k"], 2, false);
        if op.biased {
            let each = (u64::from(op.m) * u64::from(op.n)).div_ceil(op.lines.count.into());
            scores.cycles += (2 * each).div_ceil(self.machine.lines.port_bytes.into());
        }
        scores
    }

    fn spmm(&mut self, op: &Spmm) -> Cost {
        let shape = (op.m.into(), op.d, op.n);
        let operands = [Some("p"), Some("v")];
        along_outputs(
            self.op,
            self.machine,
            op.lines,
            shape,
            operands,
            op.out.bytes(),
            op.accumulate,
        )
        .shifted(op.minifloat)
    }

    fn autoencoder(&mut self, _: Unit, lines: LineSet, shape: Coder) -> Cost {
        let rows = u64::from(shape.m) * u64::from(shape.heads_out);
        let shape = (rows, shape.d, shape.heads_in);
        along_outputs(self.op, self.machine, lines, shape, [None, Some("src")], 1, false)
    }

    fn softmax(&mut self, m: u16, n: u16) -> Cost {
        let softmax = &self.machine.softmax;
        rowwise(self.op, m, n, softmax.scores_per_cycle, softmax.fill_cycles)
    }

    fn layer_norm(&mut self, op: &LayerNorm) -> Cost {
        self.elementwise(op.m, op.n)
    }

    fn elementwise(&mut self, m: u16, n: u16) -> Cost {
        let vector = &self.machine.vector;
        rowwise(self.op, m, n, vector.elements_per_cycle, vector.fill_cycles)
    }
}

impl Cost {
    /// Adds the scratchpad traffic: the given bytes for operands that stream through the lines, and
    /// each other operand once.
    fn with_sram(mut self, op: &Op, streamed: &[(Option<&str>, u64)]) -> Cost {
        for access in accesses(op).iter().filter(|access| access.space == Space::Sram) {
            let data = Data::of(op, access) as usize;
            match streamed.iter().find(|(operand, _)| *operand == Some(access.operand)) {
                Some((_, bytes)) => self.sram.read[data] += bytes,
                None => {
                    self.sram.read[data] +=
                        if access.mode.reads() { access.region.total() } else { 0 };
                    self.sram.written[data] +=
                        if access.mode.writes() { access.region.total() } else { 0 };
                }
            }
        }
        self
    }
}

/// Softmax and vector unit: `m` rows of `n` elements, `per_cycle` at a time.
fn rowwise(op: &Op, m: u16, n: u16, per_cycle: u32, fill: u32) -> Cost {
    let cycles = (u64::from(m) * u64::from(n).div_ceil(per_cycle.into())).max(1);
    let elements = u64::from(m) * u64::from(n);
    Cost { cycles, latency: fill.into(), elements, ..Cost::default() }.with_sram(op, &[])
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
