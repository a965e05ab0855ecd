//! What split attention takes by the cost model, before it is lowered to instructions.

use std::collections::BTreeSet;
use std::iter::Sum;
use std::ops::Add;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::{Decode, Op as Instruction, Sddmm, Softmax, Spmm};
use vitcod_isa::instr::{Engine, LineSet, Width};
use vitcod_isa::lists::{Array, LIST_ROW_BYTES, row_token_bytes};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::block_keys_bytes;

use super::Packing;
use super::pass::Layer;
use crate::estimate::Estimate;
use crate::ir::{Graph, OpData, OpKind, Value, ValueDef};
use crate::masks::{Mask, Partition};

/// Rows that packing reads in proportion to those of queries in batches at random: 10,003 to 12,639
/// instead of 16,370 on the authors' mask of DeiT-Tiny.
const CLUSTERED: f64 = 0.75;

/// Parts of a read. Estimated reads are whole parts, so that their sums do not depend on the order
/// of the terms.
const READ_PARTS: u64 = 1 << 10;

/// What a head leaves to the engines.
pub(super) struct Work {
    pub(super) columns: usize,
    pub(super) cells: usize,
    pub(super) cells_kept: usize,
    pub(super) nonzeros: usize,
    /// Runs of consecutive keys of the columns.
    pub(super) runs: usize,
    /// Parts of the reads of rows of keys for the list, see [`LayerCost::reads`].
    pub(super) reads: u64,
}

impl Work {
    pub(super) fn of(head: &Partition, costs: &LayerCost<'_>) -> Work {
        let tokens = head.global_tokens();
        let gaps = tokens.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
        Work {
            runs: gaps + usize::from(!tokens.is_empty()),
            reads: head.sparser.iter().map(|column| costs.reads(column.len())).sum(),
            columns: head.globals(),
            cells: head.dense_cells(),
            cells_kept: head.denser.kept(),
            nonzeros: head.nonzeros(),
        }
    }
}

/// What each unit takes. Cycles have fractions: an entry of a list takes less than a cycle.
#[derive(Clone, Copy, Default)]
pub(super) struct UnitCosts {
    /// Cycles of all MAC lines, for scores and product, and to decode queries and keys where the
    /// model does.
    lines: f64,
    /// Cycles of the ports that read rows of lists.
    ports: f64,
    /// Cycles of the softmax units of the two engines, which share the work.
    softmax: f64,
    /// Bytes of DRAM: indices, and what the layer reads from inputs of the graph and writes to its
    /// outputs.
    dram_bytes: u64,
}

impl UnitCosts {
    /// Cycles of lines, softmax and channel, each times its weight.
    pub(super) fn weighted(&self, [lines, softmax, channel]: [f64; 3], machine: &Machine) -> f64 {
        let transfer = machine.exact_transfer_cycles(self.dram_bytes);
        lines * self.lines.max(self.ports) + softmax * self.softmax + channel * transfer
    }

    /// The estimate of a layer: cycles of the busiest unit.
    pub(super) fn estimate(&self, machine: &Machine) -> Estimate {
        let compute = self.lines.max(self.ports).max(self.softmax).ceil() as u64;
        let busiest = compute.max(machine.transfer_cycles(self.dram_bytes));
        Estimate::with_waits(machine, busiest, self.dram_bytes)
    }
}

impl Add for UnitCosts {
    type Output = UnitCosts;

    fn add(self, other: UnitCosts) -> UnitCosts {
        UnitCosts {
            lines: self.lines + other.lines,
            ports: self.ports + other.ports,
            softmax: self.softmax + other.softmax,
            dram_bytes: self.dram_bytes + other.dram_bytes,
        }
    }
}

impl Sum for UnitCosts {
    fn sum<I: Iterator<Item = UnitCosts>>(costs: I) -> UnitCosts {
        costs.fold(UnitCosts::default(), Add::add)
    }
}

/// What the parts of a layer cost on a machine, by its cost model.
pub(super) struct LayerCost<'m> {
    machine: &'m Machine,
    packing: Packing,
    queries: u16,
    /// Features of a head of queries and keys.
    d: u16,
    /// Features of a head of values.
    dv: u16,
    /// Cycles of the lines for the score and the product of an entry of the list.
    entry: f64,
    /// Queries of a batch.
    seats: f64,
    /// Cycles of the ports for a row; 0 if reads are free.
    read: f64,
    /// Bytes of the token of a row of the list.
    row_token: u64,
    /// What the layer takes whatever its global tokens are.
    pub(super) layer: UnitCosts,
}

impl LayerCost<'_> {
    pub(super) fn new<'m>(
        layer: &Layer<'_>,
        machine: &'m Machine,
        packing: Packing,
    ) -> LayerCost<'m> {
        let [queries, keys] = layer.extents();
        let [d, dv] =
            [1, 2].map(|i| field(layer.graph.ty(layer.tensors()[i]).shape[1] / layer.heads));
        let lines = machine.all_lines().count;
        let [scores, products] = [d, dv].map(|d| Array::new(d, lines, machine));
        let each = |array: Array| array.groups.entry_cycles as f64 / f64::from(array.groups.groups);
        let read = scores.reads.map_or(0.0, |reads| {
            let words = u32::from(d).div_ceil(reads.word_bytes).max(1);
            f64::from(words) * reads.access_cycles as f64 / f64::from(reads.ports)
        });
        let rows = (layer.heads * queries) as u64;
        // With banks, softmax takes whole words of each row.
        let words = if scores.reads.is_some() { 0.5 } else { 0.0 };
        LayerCost {
            machine,
            packing,
            queries: field(queries),
            d,
            dv,
            entry: each(scores) + each(products),
            seats: scores.groups.seats().into(),
            read,
            row_token: row_token_bytes(keys > 1 << 8, &scores.groups),
            layer: UnitCosts {
                lines: decoding(layer, machine) as f64,
                // Each query is read for its scores.
                ports: rows as f64 * read,
                softmax: rows as f64 * words / Engine::ALL.len() as f64,
                dram_bytes: rows * (LIST_ROW_BYTES + 1)
                    + block_keys_bytes(layer.heads as u64, 0)
                    + travelling(layer),
            },
        }
    }

    /// Estimates how often a list reads the row of a key that so many queries need, in
    /// [`READ_PARTS`]: once for each batch with one of them, which are fewer than those of queries
    /// at random.
    pub(super) fn reads(&self, count: usize) -> u64 {
        if !self.packing.shared {
            return count as u64 * READ_PARTS;
        }
        let (count, queries) = (count as f64, f64::from(self.queries).max(1.0));
        let batches = queries / self.seats;
        let random = batches * (1.0 - (1.0 - count / queries).powf(self.seats));
        let clustered = if self.packing.ordered { CLUSTERED } else { 1.0 };
        let reads = (clustered * random).max(count / self.seats).min(count);
        (reads * READ_PARTS as f64).round() as u64
    }

    /// What a head takes.
    pub(super) fn head(&self, work: &Work) -> UnitCosts {
        let cycles = |op: Instruction| {
            if work.columns > 0 { cost(&op, self.machine).cycles as f64 } else { 0.0 }
        };
        let columns = field(work.columns);
        let nonzeros = work.nonzeros as f64;
        let block_scores =
            cycles(sddmm(self.machine.all_lines(), self.queries, columns, self.d).into());
        let block_softmax = cycles(softmax(self.queries, columns).into());
        // The product of a run of keys after the other is added to sums.
        let runs = work.runs.max(1);
        let block_product = runs as f64
            * cycles(
                spmm(
                    self.machine.all_lines(),
                    self.queries,
                    field(work.columns.div_ceil(runs)),
                    self.dv,
                )
                .into(),
            );
        // A block without holes needs no mask.
        let mask = if work.cells_kept < work.cells {
            self.queries as usize * Mask::row_bytes(work.columns)
        } else {
            0
        };
        let tokens = work.reads.div_ceil(READ_PARTS) * self.row_token;
        let reads = work.reads as f64 / READ_PARTS as f64;
        let per_cycle = f64::from(self.machine.softmax.scores_per_cycle.max(1));
        UnitCosts {
            lines: block_scores + block_product + nonzeros * self.entry,
            // Scores and products read them.
            ports: 2.0 * reads * self.read,
            // Two units share the work.
            softmax: (block_softmax + nonzeros / per_cycle) / Engine::ALL.len() as f64,
            dram_bytes: block_keys_bytes(0, work.columns as u64) + mask as u64 + tokens,
        }
    }
}

/// The `decode` that makes a value, with what it reads.
fn decoded(graph: &Graph, value: Value) -> Option<(Value, [usize; 2])> {
    match graph.producer(value)?.1 {
        OpData { kind: OpKind::Decode { heads_in, heads_out }, operands, .. } => {
            Some((operands[0], [*heads_in, *heads_out]))
        }
        _ => None,
    }
}

/// Cycles of the lines to decode queries and keys.
fn decoding(layer: &Layer<'_>, machine: &Machine) -> u64 {
    let [q, k, ..] = layer.tensors();
    let values: BTreeSet<Value> = [q, k].into();
    let cycles = values.into_iter().filter_map(|value| {
        let (_, heads) = decoded(layer.graph, value)?;
        let (rows, columns) = layer.graph.ty(value).matrix();
        Some(
            cost(&decode(machine.all_lines(), rows, columns / heads[1], heads).into(), machine)
                .cycles,
        )
    });
    cycles.sum()
}

/// Bytes of the inputs and outputs of the graph that attention reads, compressed where it decodes
/// them, and writes.
fn travelling(layer: &Layer<'_>) -> u64 {
    let graph = layer.graph;
    let [q, k, v, result] = layer.tensors();
    let read = [q, k, v].map(|value| decoded(graph, value).map_or(value, |(source, _)| source));
    let inputs = read.into_iter().filter(|value| matches!(graph.def(*value), ValueDef::Input(_)));
    let outputs = graph.outputs.iter().map(|output| output.value).filter(|value| *value == result);
    let values: BTreeSet<Value> = inputs.chain(outputs).collect();
    values.into_iter().map(|value| graph.ty(value).bytes() as u64).sum()
}

/// A count as instructions hold it; limits of code generation reject larger ones.
fn field(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn sddmm(lines: LineSet, m: u16, n: u16, d: u16) -> Sddmm {
    let flags = Sddmm { fresh: true, indexed: true, masked: true, ..Sddmm::ZERO };
    let strides =
        Sddmm { q_stride: d.into(), k_stride: d.into(), dst_stride: 2 * u32::from(n), ..flags };
    Sddmm { lines, m, n, d, scale: Scale::ONE, limit: 1, ..strides }
}

fn softmax(m: u16, n: u16) -> Softmax {
    let strides = Softmax { src_stride: 2 * u32::from(n), dst_stride: n.into(), ..Softmax::ZERO };
    Softmax { fresh: true, both: true, m, n, ..strides }
}

fn decode(lines: LineSet, m: usize, d: usize, [heads_in, heads_out]: [usize; 2]) -> Decode {
    let heads = Decode { heads_in: field(heads_in), heads_out: field(heads_out), ..Decode::ZERO };
    Decode {
        lines,
        m: field(m),
        d: field(d),
        src_stride: field(d * heads_in).into(),
        dst_stride: field(d * heads_out).into(),
        ..heads
    }
}

/// The product of some keys, continued.
fn spmm(lines: LineSet, m: u16, n: u16, d: u16) -> Spmm {
    let strides = Spmm {
        p_stride: n.into(),
        v_stride: d.into(),
        acc_stride: 4 * u32::from(d),
        dst_stride: 4 * u32::from(d),
        ..Spmm::ZERO
    };
    let flags = Spmm { out: Width::I32, accumulate: true, ..strides };
    Spmm { lines, m, n, d, scale: Scale::ONE, ..flags }
}
