//! The cost model: what an instruction costs on a machine. The scheduler and the emulator both call [`cost`].
//!
//! Sources: **paper** where the ViTCoD paper states the behaviour, **ours** where we fixed what it leaves open.
//!
//! - *MAC lines, along the sum* (`matmul`, `sddmm`; paper: K-stationary with inter-MAC accumulation): a line makes one result at a time,
//!   `macs` products per cycle, so `ceil(k / macs)` cycles; the `m x n` results are dealt to the lines in turn, so the instruction
//!   takes `ceil(m n / lines)` results on its busiest line.
//! - *MAC lines, along the outputs* (`spmm`, `encode`, `decode`; paper: output-stationary with intra-MAC accumulation): a line makes
//!   `macs` neighbouring features of one token at a time, one term of the sum per cycle.
//! - *Ports* (ours): a cycle's operands come through ports of `port_bytes`; a narrower port stretches the cycle. A result passes the
//!   write port while the next is computed, so it costs only where it takes longer than that. Continued accumulators are read
//!   through the port before the first term.
//! - *Softmax and vector unit* (ours): rows one after the other, whole words per cycle; LayerNorm takes the statistics of the next row
//!   while it normalises one.
//! - *DRAM* (ours): whole aligned bursts at the channel's bandwidth; neighbouring runs share bursts; latency is paid once per
//!   instruction and overlaps with the next one.
//! - *Issue* (ours): no instruction takes its unit for less than a cycle.

use crate::effects::{Region, Space, accesses};
use crate::instr::LineSet;
use crate::instr::table::*;
use crate::machine::Machine;

/// What an instruction takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Cycles for which the unit and the lines are taken. Zero for transfers: theirs depend on the channel.
    pub cycles: u64,
    /// Cycles from then to completion; the unit is free for the next instruction.
    pub latency: u64,
    /// The MAC lines that are taken.
    pub lines: Option<LineSet>,
    /// Multiplications of the operands, without padding.
    pub macs: u64,
    /// Bytes that pass the DRAM channel, in whole bursts.
    pub burst_bytes: u64,
    /// Bytes that are wanted of them.
    pub dram_bytes: u64,
    /// Bytes read from the scratchpad.
    pub sram_read: u64,
    /// Bytes written to the scratchpad.
    pub sram_written: u64,
}

/// The cost of an operation on a machine.
pub fn cost(op: &Op, machine: &Machine) -> Cost {
    match *op {
        Op::Load(_) | Op::Store(_) | Op::Gather(_) => transfer(op, machine),
        Op::Matmul(Matmul { lines, m, n, k, out, accumulate, .. }) => {
            along_sum(machine, lines, m, n, k, out.bytes(), accumulate)
        }
        Op::Sddmm(Sddmm { lines, m, n, d, .. }) => along_sum(machine, lines, m, n, d, 2, false),
        Op::Spmm(Spmm { lines, m, n, d, out, accumulate, .. }) => {
            along_outputs(machine, lines, m.into(), d, n, out.bytes(), accumulate)
        }
        Op::Encode(Encode { lines, m, d, heads_in, heads_out, .. })
        | Op::Decode(Decode { lines, m, d, heads_in, heads_out, .. }) => {
            along_outputs(machine, lines, u64::from(m) * u64::from(heads_out), d, heads_in, 1, false)
        }
        Op::Softmax(Softmax { m, n, .. }) => {
            let softmax = &machine.softmax;
            rowwise(op, m, n, softmax.scores_per_cycle, softmax.fill_cycles)
        }
        Op::LayerNorm(LayerNorm { m, n, .. }) | Op::Add(Add { m, n, .. }) | Op::Lut(Lut { m, n, .. }) => {
            let vector = &machine.vector;
            rowwise(op, m, n, vector.elements_per_cycle, vector.fill_cycles)
        }
        Op::Sync(_) | Op::Barrier(_) | Op::Halt(_) => Cost { cycles: 1, ..Cost::default() },
    }
}

/// Inter-MAC accumulation: `m x n` results, each a sum of `k` products.
fn along_sum(machine: &Machine, lines: LineSet, m: u16, n: u16, k: u16, out_bytes: u32, accumulate: bool) -> Cost {
    let (m, n, k) = (u64::from(m), u64::from(n), u64::from(k));
    let (macs, port) = (u64::from(machine.lines.macs), u64::from(machine.lines.port_bytes));
    let steps = (k / macs) * macs.div_ceil(port) + (k % macs).div_ceil(port);
    let read = if accumulate { 4u64.div_ceil(port) } else { 0 };
    let write = u64::from(out_bytes).div_ceil(port);
    let rounds = (m * n).div_ceil(u64::from(lines.count));
    Cost {
        cycles: (rounds * (steps + read).max(write)).max(1),
        latency: machine.lines.fill_cycles.into(),
        lines: Some(lines),
        macs: m * n * k,
        // Each line streams its row of the right operand; the lines of a round share the row of the left one.
        sram_read: m * n * k + rounds * k + if accumulate { 4 * m * n } else { 0 },
        sram_written: m * n * u64::from(out_bytes),
        ..Cost::default()
    }
}

/// Intra-MAC accumulation: `rows x d` results, each a sum of `terms` products.
fn along_outputs(
    machine: &Machine,
    lines: LineSet,
    rows: u64,
    d: u16,
    terms: u16,
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
        // Features come through one port, the factor that they share through the other.
        sram_read: rows * terms * (d + d.div_ceil(macs)) + if accumulate { 4 * rows * d } else { 0 },
        sram_written: rows * d * u64::from(out_bytes),
        ..Cost::default()
    }
}

/// Softmax and vector unit: `m` rows of `n` elements, `per_cycle` at a time.
fn rowwise(op: &Op, m: u16, n: u16, per_cycle: u32, fill: u32) -> Cost {
    let (mut sram_read, mut sram_written) = (0, 0);
    for access in accesses(op) {
        sram_read += if access.mode.reads() { access.region.total() } else { 0 };
        sram_written += if access.mode.writes() { access.region.total() } else { 0 };
    }
    Cost {
        cycles: (u64::from(m) * u64::from(n).div_ceil(per_cycle.into())).max(1),
        latency: fill.into(),
        sram_read,
        sram_written,
        ..Cost::default()
    }
}

fn transfer(op: &Op, machine: &Machine) -> Cost {
    let burst = u64::from(machine.dram.burst_bytes);
    let mut cost = Cost { latency: machine.dram.latency_cycles.into(), ..Cost::default() };
    for access in accesses(op) {
        match access.space {
            Space::Sram => {
                cost.sram_read += if access.mode.reads() { access.region.total() } else { 0 };
                cost.sram_written += if access.mode.writes() { access.region.total() } else { 0 };
            }
            // Which rows a gather takes is not known; each may straddle one burst more than it fills.
            Space::Dram => {
                if let Op::Gather(gather) = op {
                    let row = u64::from(gather.bytes);
                    let aligned =
                        gather.src.0.is_multiple_of(burst) && u64::from(gather.src_stride).is_multiple_of(burst);
                    let bursts = if aligned { row.div_ceil(burst) } else { (row + burst - 1).div_ceil(burst) };
                    cost.dram_bytes = row * u64::from(gather.rows);
                    cost.burst_bytes = bursts * burst * u64::from(gather.rows);
                } else {
                    cost.dram_bytes = access.region.total();
                    cost.burst_bytes = bursts(access.region, burst) * burst;
                }
            }
        }
    }
    cost
}

/// Aligned bursts that the runs of a region touch. Runs joined by [`Region::merged`] share bursts, others pay their own.
fn bursts(region: Region, burst: u64) -> u64 {
    // The position of a run within its burst repeats after at most `burst` runs.
    let of_run = |base: u64| (base % burst + region.bytes).div_ceil(burst);
    let of_inner = |base: u64| periodic(region.inner, region.inner_stride, burst, |offset| of_run(base + offset));
    if region.bytes == 0 {
        return 0;
    }
    periodic(region.outer, region.outer_stride, burst, |offset| of_inner(region.base % burst + offset))
}

/// The sum of `of(i * stride)` over `i < count`, where `of` has period `period` (a power of two).
fn periodic(count: u64, stride: u64, period: u64, of: impl Fn(u64) -> u64) -> u64 {
    let stride = stride % period;
    let distinct = if stride == 0 { 1 } else { period >> stride.trailing_zeros() };
    let sum = |terms: u64| (0..terms).map(|i| of(i * stride)).sum::<u64>();
    if count <= distinct { sum(count) } else { count / distinct * sum(distinct) + sum(count % distinct) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instr::{Dram, Engine, Sram, Traffic, Width};

    fn vitcod() -> Machine {
        Machine::preset("vitcod").unwrap()
    }

    fn matmul(m: u16, n: u16, k: u16) -> Op {
        Matmul {
            engine: Engine::Denser,
            out: Width::I8,
            accumulate: false,
            lines: LineSet { first: 0, count: 64 },
            a: Sram(0),
            b: Sram(0),
            params: Sram(0),
            acc: Sram(0),
            dst: Sram(0),
            m,
            n,
            k,
            a_stride: k.into(),
            b_stride: k.into(),
            acc_stride: 0,
            dst_stride: n.into(),
        }
        .into()
    }

    #[test]
    fn a_matrix_product_fills_every_mac_where_shapes_allow() {
        let cost = cost(&matmul(197, 64, 192), &vitcod());
        assert_eq!(cost.cycles, 197 * 64 * 192 / 512);
        assert_eq!(cost.macs, 197 * 64 * 192);
    }

    #[test]
    fn ragged_shapes_waste_the_last_round_and_the_last_step() {
        assert_eq!(cost(&matmul(1, 65, 9), &vitcod()).cycles, 2 * 2);
    }

    #[test]
    fn a_wide_result_is_bound_by_the_write_port() {
        let mut machine = vitcod();
        machine.lines.port_bytes = 1;
        let Op::Matmul(mut op) = matmul(64, 1, 1) else { unreachable!() };
        op.out = Width::I32;
        assert_eq!(cost(&op.into(), &machine).cycles, 4);
    }

    fn load(src: u64, bytes: u32, inner: u16, stride: u32) -> Op {
        Load {
            dst: Sram(0),
            src: Dram(src),
            bytes,
            inner,
            outer: 1,
            src_inner_stride: stride,
            src_outer_stride: 0,
            dst_inner_stride: bytes,
            dst_outer_stride: 0,
            traffic: Traffic::Weights,
        }
        .into()
    }

    #[test]
    fn runs_pay_whole_bursts_and_neighbours_share_them() {
        let burst_bytes = |op| cost(&op, &vitcod()).burst_bytes;
        assert_eq!(burst_bytes(load(0, 16, 14, 16)), 4 * 64, "one run of 224 bytes");
        assert_eq!(burst_bytes(load(0, 16, 14, 64)), 14 * 64);
        assert_eq!(burst_bytes(load(60, 8, 1, 0)), 2 * 64, "straddles a boundary");
        // Offsets 0, 48, 32, 16 within the burst, twenty times: only the second straddles.
        assert_eq!(burst_bytes(load(0, 32, 80, 48)), (80 + 20) * 64);
    }

    #[test]
    fn periodic_sums_equal_plain_ones() {
        for (count, stride) in [(1, 7), (5, 48), (200, 24), (64, 64), (1000, 1)] {
            let region =
                Region { base: 13, bytes: 40, inner: count, inner_stride: stride, outer: 3, outer_stride: 100 };
            let plain: u64 = region.runs().map(|(at, bytes)| (at % 64 + bytes).div_ceil(64)).sum();
            assert_eq!(bursts(region, 64), plain, "{count} runs, {stride} apart");
        }
    }
}
