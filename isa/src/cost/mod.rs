//! The cost model: the cost of an instruction on a machine. The scheduler and the emulator both
//! call [`cost`].
//!
//! Sources: **paper** if the ViTCoD paper states the behaviour, **ours** if it is our choice where
//! the paper is silent.
//!
//! - *MAC lines, along the sum* (`matmul`, `sddmm`; paper: K-stationary with inter-MAC
//!   accumulation): a line computes one result at a time, `macs` products per cycle, in
//!   `ceil(k / macs)` cycles. The `m x n` results are dealt to the lines in turn, so the busiest
//!   line computes `ceil(m n / lines)` results. The runs of a window (ours) are read one by one:
//!   the products of a cycle belong to one run.
//! - *MAC lines, along the outputs* (`spmm`, `encode`, `decode`; paper: output-stationary with
//!   intra-MAC accumulation): a line computes `macs` consecutive features of one token at a time,
//!   one term of the sum per cycle.
//! - *Lists* (ours): `sddmm_list` deals its entries to the lines in turn. `spmm_list` assigns whole
//!   queries to groups of lines and states the steps of its busiest group, which the compiler
//!   knows. The softmax of a list processes entries independently of rows.
//! - *Minifloats* (ours): a shifter behind each multiplier, no slower than an int8.
//! - *Ports* (ours): the operands of a cycle pass ports of `port_bytes`; a narrower port stretches
//!   the cycle. A result passes the write port while the next one is computed, so it adds time only
//!   if it takes longer. Continued accumulators are read through the port before the first term.
//!   Biases of scores are read through it, too, a port width at a time.
//! - *Softmax and vector unit* (ours): rows one after the other, whole words per cycle. LayerNorm
//!   computes the statistics of the next row while it normalises a row.
//! - *DRAM* (ours): whole aligned bursts at the channel's bandwidth. Adjacent runs share bursts.
//!   Latency is paid once per instruction and overlaps with the next one.
//! - *Scratchpad bytes* (ours): operands that stream through the lines count each time they are
//!   read, all others once.
//! - *Widths* (ours): a row that is not a multiple of a line's MACs ends with a narrower part,
//!   which occupies the port as long as the others.
//! - *Issue* (ours): every instruction occupies its unit for at least one cycle.

use crate::dram::bursts::of_row;
use crate::effects::{Data, Region, Space, accesses};
use crate::instr::LineSet;
use crate::instr::table::*;
use crate::machine::Machine;
use crate::operands::LineGroups;

/// The cost of an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Cycles in which unit and lines are occupied. Zero for transfers, which depend on the
    /// channel.
    pub cycles: u64,
    /// Cycles from then to completion; the unit is already free for the next instruction.
    pub latency: u64,
    /// The MAC lines that are occupied.
    pub lines: Option<LineSet>,
    /// Products of operands, without padding.
    pub macs: u64,
    /// Products among them that are shifted, because one factor is a minifloat.
    pub shifted: u64,
    /// Scores or elements that a softmax unit or the vector unit processes, without padding.
    pub elements: u64,
    /// Bytes on the DRAM channel, in whole bursts.
    pub burst_bytes: u64,
    /// Requested bytes among them.
    pub dram_bytes: u64,
    /// Bytes through the ports of the scratchpad.
    pub sram: SramTraffic,
}

/// Bytes read from and written to the scratchpad, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SramTraffic {
    read: [u64; Data::COUNT],
    written: [u64; Data::COUNT],
}

impl SramTraffic {
    /// Bytes read of one kind.
    pub fn read(&self, data: Data) -> u64 {
        self.read[data as usize]
    }

    /// Bytes written of one kind.
    pub fn written(&self, data: Data) -> u64 {
        self.written[data as usize]
    }

    /// All bytes read.
    pub fn read_bytes(&self) -> u64 {
        self.read.iter().sum()
    }

    /// All bytes written.
    pub fn written_bytes(&self) -> u64 {
        self.written.iter().sum()
    }
}

/// The cost of an operation on a machine. The program must pass [`check`](crate::check::check).
pub fn cost(op: &Op, machine: &Machine) -> Cost {
    match *op {
        Op::Load(_) | Op::Store(_) | Op::Gather(_) => transfer(op, machine),
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
        Op::SddmmList(op) => list_scores(&op, machine),
        Op::SpmmList(op) => list_product(&op, machine).shifted(op.minifloat),
        Op::SoftmaxList(SoftmaxList { entries, .. }) => {
            let softmax = &machine.softmax;
            streamed(op, entries.0.into(), softmax.scores_per_cycle, softmax.fill_cycles)
        }
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

/// Cycles of one sum of `k` products along the MACs of a line.
fn sum_cycles(machine: &Machine, k: u64) -> u64 {
    let (macs, port) = (u64::from(machine.lines.macs), u64::from(machine.lines.port_bytes));
    (k / macs) * macs.div_ceil(port) + (k % macs).div_ceil(port)
}

/// Inter-MAC accumulation of the entries of a list, dealt to the lines in turn.
fn list_scores(op: &SddmmList, machine: &Machine) -> Cost {
    let (entries, d) = (u64::from(op.entries.0), u64::from(op.d));
    let rounds = entries.div_ceil(u64::from(op.lines.count));
    let write = 2u64.div_ceil(machine.lines.port_bytes.into());
    // The entries of a query are consecutive, so the lines of a round share the query, except in
    // rounds in which the query changes.
    let queries = (u64::from(op.heads) * u64::from(op.m) + rounds).min(entries);
    Cost {
        cycles: (rounds * sum_cycles(machine, d).max(write)).max(1),
        latency: machine.lines.fill_cycles.into(),
        lines: Some(op.lines),
        macs: entries * d,
        ..Cost::default()
    }
    .with_sram(&(*op).into(), &[(Some("q"), queries * d), (Some("k"), entries * d)])
}

/// Intra-MAC accumulation of the rows of a list and of dense blocks. The instruction states the
/// steps of its busiest group of lines.
fn list_product(op: &SpmmList, machine: &Machine) -> Cost {
    let LineGroups { lines_each, .. } = LineGroups::new(op.d, op.lines.count, machine.lines.macs);
    let (d, macs) = (u64::from(op.d), u64::from(machine.lines.macs));
    let passes = d.div_ceil(macs).div_ceil(lines_each.into());
    // Writing a result takes no longer than the one step that each query takes at least.
    let step = macs.min(d).div_ceil(machine.lines.port_bytes.into());
    let listed = if op.list { u64::from(op.entries.0) } else { 0 };
    let dense = if op.block { u64::from(op.columns) * u64::from(op.m) } else { 0 };
    Cost {
        cycles: (u64::from(op.steps.0) * passes * step).max(1),
        latency: machine.lines.fill_cycles.into(),
        lines: Some(op.lines),
        macs: (listed + dense) * d,
        ..Cost::default()
    }
    // The lines of a group share the probability.
    .with_sram(
        &(*op).into(),
        &[
            (Some("p"), listed * passes),
            (Some("block_p"), dense * passes),
            (Some("v"), (listed + dense) * d),
        ],
    )
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

impl Cost {
    /// Counts the products as shifted, if they are.
    fn shifted(self, minifloat: bool) -> Cost {
        Cost { shifted: if minifloat { self.macs } else { 0 }, ..self }
    }

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

/// Softmax of a list: `per_cycle` entries at a time, independently of rows.
fn streamed(op: &Op, entries: u64, per_cycle: u32, fill: u32) -> Cost {
    let cycles = entries.div_ceil(per_cycle.into()).max(1);
    Cost { cycles, latency: fill.into(), elements: entries, ..Cost::default() }.with_sram(op, &[])
}

fn transfer(op: &Op, machine: &Machine) -> Cost {
    let burst = u64::from(machine.dram.burst_bytes);
    let mut cost =
        Cost { latency: machine.dram.latency_cycles.into(), ..Cost::default() }.with_sram(op, &[]);
    for access in accesses(op).iter().filter(|access| access.space == Space::Dram) {
        if let Op::Gather(gather) = op {
            // The rows of a gather are unknown; each may straddle one burst more than it fills.
            cost.dram_bytes = u64::from(gather.bytes) * u64::from(gather.rows);
            cost.burst_bytes = of_row(gather, burst) * burst * u64::from(gather.rows);
        } else {
            cost.dram_bytes = access.region.total();
            cost.burst_bytes = bursts(access.region, burst) * burst;
        }
    }
    cost
}

/// Number of aligned bursts that the runs of a region touch. Runs joined by [`Region::merged`]
/// share bursts.
pub(crate) fn bursts(region: Region, burst: u64) -> u64 {
    // The position of a run within its burst repeats after at most `burst` runs.
    let of_run = |base: u64| (base % burst + region.bytes).div_ceil(burst);
    let of_inner = |base: u64| {
        periodic(region.inner, region.inner_stride, burst, |offset| of_run(base + offset))
    };
    if region.bytes == 0 {
        return 0;
    }
    periodic(region.outer, region.outer_stride, burst, |offset| {
        of_inner(region.base % burst + offset)
    })
}

/// The sum of `of(i * stride)` over `i < count`, where `of` has period `period` (a power of two).
fn periodic(count: u64, stride: u64, period: u64, of: impl Fn(u64) -> u64) -> u64 {
    let stride = stride % period;
    let distinct = if stride == 0 { 1 } else { period >> stride.trailing_zeros() };
    let sum = |terms: u64| (0..terms).map(|i| of(i * stride)).sum::<u64>();
    if count <= distinct {
        sum(count)
    } else {
        count / distinct * sum(distinct) + sum(count % distinct)
    }
}

#[cfg(test)]
mod tests;
