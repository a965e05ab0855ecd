//! What split attention takes by the cost model, before it is lowered to instructions.

use std::collections::BTreeSet;
use std::iter::Sum;
use std::ops::Add;

use vitcod_isa::cost::cost;
use vitcod_isa::instr::table::{
    Decode, Op as Instruction, Sddmm, SddmmList, Softmax, SoftmaxList, SpmmList,
};
use vitcod_isa::instr::{Engine, Entries, LineSet};
use vitcod_isa::machine::Machine;
use vitcod_isa::numerics::Scale;
use vitcod_isa::operands::{LIST_ROW_BYTES, LineGroups, block_keys_bytes, list_key_bytes};

use super::pass::Layer;
use crate::estimate::Estimate;
use crate::ir::{Graph, OpData, OpKind, Value, ValueDef};
use crate::masks::{Mask, Partition};

/// Entries of the lists by which the cost of one is taken: enough for rounding to vanish.
const SAMPLE: Entries = Entries(1 << 16);

/// What a head leaves to the engines.
pub(super) struct Work {
    pub(super) columns: usize,
    pub(super) cells: usize,
    pub(super) cells_kept: usize,
    pub(super) nonzeros: usize,
}

impl Work {
    pub(super) fn of(head: &Partition) -> Work {
        Work {
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
        lines * self.lines + softmax * self.softmax + channel * transfer
    }

    /// The estimate of a layer: cycles of the busiest unit.
    pub(super) fn estimate(&self, machine: &Machine) -> Estimate {
        let compute = self.lines.max(self.softmax).ceil() as u64;
        let busiest = compute.max(machine.transfer_cycles(self.dram_bytes));
        Estimate::with_waits(machine, busiest, self.dram_bytes)
    }
}

impl Add for UnitCosts {
    type Output = UnitCosts;

    fn add(self, other: UnitCosts) -> UnitCosts {
        UnitCosts {
            lines: self.lines + other.lines,
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
    queries: u16,
    /// Features of a head of queries and keys.
    d: u16,
    /// Cycles of the lines for the score of an entry of the list.
    list_score: f64,
    /// Cycles of the lines for the products of an entry or a cell.
    product: f64,
    /// Cycles of a softmax unit for an entry of the list.
    list_softmax: f64,
    /// Bytes of the key of an entry of the list.
    list_key: u64,
    /// What the layer takes whatever its global tokens are.
    pub(super) layer: UnitCosts,
}

impl LayerCost<'_> {
    pub(super) fn new<'m>(layer: &Layer<'_>, machine: &'m Machine) -> LayerCost<'m> {
        let [queries, keys] = layer.extents();
        let [d, dv] =
            [1, 2].map(|i| field(layer.graph.ty(layer.tensors()[i]).shape[1] / layer.heads));
        let per_entry = |op: Instruction| cost(&op, machine).cycles as f64 / f64::from(SAMPLE.0);
        let lines = machine.all_lines();
        let groups = LineGroups::new(dv, lines.count, machine.lines.macs).groups;
        let product = per_entry(Instruction::SpmmList(spmm_list(lines, dv))) / f64::from(groups);
        let rows = (layer.heads * queries) as u64 * LIST_ROW_BYTES;
        let indices = rows + block_keys_bytes(layer.heads as u64, 0);
        LayerCost {
            machine,
            queries: field(queries),
            d,
            list_score: per_entry(Instruction::SddmmList(sddmm_list(lines, d))),
            product,
            list_softmax: per_entry(Instruction::SoftmaxList(softmax_list())),
            list_key: list_key_bytes(keys > 1 << 8),
            layer: UnitCosts {
                lines: decoding(layer, machine) as f64,
                softmax: 0.0,
                dram_bytes: indices + travelling(layer),
            },
        }
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
        // A block without holes needs no mask.
        let mask = if work.cells_kept < work.cells {
            self.queries as usize * Mask::row_bytes(work.columns)
        } else {
            0
        };
        let indices = block_keys_bytes(0, work.columns as u64)
            + mask as u64
            + work.nonzeros as u64 * self.list_key;
        UnitCosts {
            lines: block_scores
                + nonzeros * self.list_score
                + (work.cells as f64 + nonzeros) * self.product,
            // Two units share the work.
            softmax: (block_softmax + nonzeros * self.list_softmax) / Engine::ALL.len() as f64,
            dram_bytes: indices,
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
    Sddmm { lines, m, n, d, scale: Scale::ONE, limit: 1, ..flags }
}

fn softmax(m: u16, n: u16) -> Softmax {
    Softmax { fresh: true, both: true, m, n, ..Softmax::ZERO }
}

fn decode(lines: LineSet, m: usize, d: usize, [heads_in, heads_out]: [usize; 2]) -> Decode {
    let heads = Decode { heads_in: field(heads_in), heads_out: field(heads_out), ..Decode::ZERO };
    Decode { lines, m: field(m), d: field(d), ..heads }
}

/// Scores of the entries of a sample.
fn sddmm_list(lines: LineSet, d: u16) -> SddmmList {
    let sample = SddmmList { entries: SAMPLE, scale: Scale::ONE, ..SddmmList::ZERO };
    SddmmList { engine: Engine::Sparser, lines, m: 1, n: 1, d, heads: 1, ..sample }
}

/// Softmax of the entries of a sample.
fn softmax_list() -> SoftmaxList {
    let sample = SoftmaxList { entries: SAMPLE, both: true, ..SoftmaxList::ZERO };
    SoftmaxList { engine: Engine::Sparser, count: 1, queries: 1, ..sample }
}

/// A product in which the busiest group of lines takes as many steps as a sample has entries.
fn spmm_list(lines: LineSet, d: u16) -> SpmmList {
    let sample = SpmmList { entries: SAMPLE, steps: SAMPLE, scale: Scale::ONE, ..SpmmList::ZERO };
    let shape = SpmmList { m: 1, n: 1, d, heads: 1, columns: 1, ..sample };
    SpmmList { engine: Engine::Sparser, list: true, block: true, lines, ..shape }
}
