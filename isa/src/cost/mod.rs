//! The cost model: the cost of an instruction on a machine. The scheduler and the emulator both
//! call [`cost`].
//!
//! Sources: **paper** if the ViTCoD paper states the behaviour, **ours** if it is our choice where
//! the paper is silent.
//!
//! An *ideal* machine states no banks: a flat scratchpad serves every port in every cycle. Its
//! costs are the following; the next section says what differs on a machine with banks.
//!
//! - *MAC lines, along the sum* (`matmul`, `sddmm`; paper: K-stationary with inter-MAC
//!   accumulation): a line computes one result at a time, `macs` products per cycle, in
//!   `ceil(k / macs)` cycles. The `m x n` results are dealt to the lines in turn, so the busiest
//!   line computes `ceil(m n / lines)` results. The runs of a window (ours) are read one by one:
//!   the products of a cycle belong to one run.
//! - *MAC lines, along the outputs* (`spmm`, `encode`, `decode`; paper: output-stationary with
//!   intra-MAC accumulation): a line computes `macs` consecutive features of one token at a time,
//!   one term of the sum per cycle.
//! - *Lists* (ours): instructions on lists state their cycles, which follow from the list, the
//!   addresses of its operands and the machine. A group of lines computes an entry at a time. On an
//!   ideal machine it never waits for a row; with banks, rows come in order through the irregular
//!   row ports, each for all groups that use it.
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

mod banked;
mod flat;
mod limits;
pub(crate) mod lists;
mod results;
mod streams;

use crate::dram::bursts::{bursts, of_row};
use crate::effects::{Data, Space, accesses};
use crate::instr::table::*;
use crate::instr::{LineSet, Unit};
use crate::machine::Machine;
use banked::Banked;
use flat::Flat;
use results::Results;

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
    /// Sums that become int8 or int16.
    pub requantised: u64,
    /// Reciprocals of row sums.
    pub reciprocals: u64,
    /// Roots of LayerNorm.
    pub roots: u64,
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
    let cost = match machine.organisation() {
        Some(organisation) => of_model(op, machine, &mut Banked::new(op, machine, organisation)),
        None => of_model(op, machine, &mut Flat { op, machine }),
    };
    let Results { requantised, reciprocals, roots } = Results::of(op);
    Cost { requantised, reciprocals, roots, ..cost }
}

/// How the costs of a machine follow from its scratchpad.
trait Model {
    fn transfer(&mut self) -> Cost;
    fn matmul(&mut self, op: &Matmul) -> Cost;
    fn sddmm(&mut self, op: &Sddmm) -> Cost;
    fn spmm(&mut self, op: &Spmm) -> Cost;
    /// Encoder or decoder.
    fn autoencoder(&mut self, unit: Unit, lines: LineSet, shape: Coder) -> Cost;
    fn softmax(&mut self, m: u16, n: u16) -> Cost;
    fn layer_norm(&mut self, op: &LayerNorm) -> Cost;
    /// Each element by itself, on the vector unit.
    fn elementwise(&mut self, m: u16, n: u16) -> Cost;
}

/// What an encoder or decoder computes.
struct Coder {
    m: u16,
    d: u16,
    heads_in: u16,
    heads_out: u16,
}

fn of_model(op: &Op, machine: &Machine, model: &mut impl Model) -> Cost {
    match *op {
        Op::Load(_) | Op::Store(_) | Op::Gather(_) => model.transfer(),
        Op::Matmul(product) => model.matmul(&product),
        Op::Sddmm(scores) => model.sddmm(&scores),
        Op::Spmm(product) => model.spmm(&product),
        Op::SddmmList(_) | Op::SpmmList(_) | Op::SoftmaxList(_) => lists::cost(op, machine),
        Op::Encode(Encode { lines, m, d, heads_in, heads_out, .. }) => {
            model.autoencoder(Unit::Encoder, lines, Coder { m, d, heads_in, heads_out })
        }
        Op::Decode(Decode { lines, m, d, heads_in, heads_out, .. }) => {
            model.autoencoder(Unit::Decoder, lines, Coder { m, d, heads_in, heads_out })
        }
        Op::Softmax(Softmax { m, n, .. }) => model.softmax(m, n),
        Op::LayerNorm(norm) => model.layer_norm(&norm),
        Op::Add(Add { m, n, .. })
        | Op::Lut(Lut { m, n, .. })
        | Op::Interpolate(Interpolate { m, n, .. }) => model.elementwise(m, n),
        Op::Sync(_) | Op::Barrier(_) | Op::Halt(_) => Cost { cycles: 1, ..Cost::default() },
    }
}

impl Cost {
    /// Counts the products as shifted, if they are.
    fn shifted(self, minifloat: bool) -> Cost {
        Cost { shifted: if minifloat { self.macs } else { 0 }, ..self }
    }
}

/// Cycles of one sum of `k` products along the MACs of a line.
fn sum_cycles(machine: &Machine, k: u64) -> u64 {
    let (macs, port) = (u64::from(machine.lines.macs), u64::from(machine.lines.port_bytes));
    (k / macs) * macs.div_ceil(port) + (k % macs).div_ceil(port)
}

/// What a transfer moves over the DRAM channel.
fn burst_traffic(op: &Op, machine: &Machine) -> Cost {
    let burst = u64::from(machine.dram.burst_bytes);
    let mut cost = Cost { latency: machine.dram.latency_cycles.into(), ..Cost::default() };
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

#[cfg(test)]
mod tests;
