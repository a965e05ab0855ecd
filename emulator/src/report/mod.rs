//! The cost of a run: cycles, stalls, multiplications and traffic, in total and per layer.
//!
//! A report is computed from a program and its timing, without data. It describes one run of the
//! program, that is one item of the compiled batch. The names of its fields in JSON are stable.

mod build;
mod counter;
mod engines;
mod forwarding;
mod occupancy;
mod shares;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vitcod_isa::dram::RowCounts;
use vitcod_isa::energy::Energy;
use vitcod_isa::program::Decision;

pub use engines::merged;
pub use shares::shares;

/// The cost of one run of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// The machine.
    pub machine: MachineReport,
    /// Cycles by unit and reason.
    pub cycles: Cycles,
    /// Time of the run at the machine's clock, in milliseconds.
    pub time_ms: f64,
    /// Instructions executed.
    pub instructions: Instructions,
    /// Multiplications.
    pub macs: Macs,
    /// Lower bounds of the run.
    pub bound: RunBound,
    /// Energy of the run; null if the machine states no energies.
    pub energy: Option<RunEnergy>,
    /// DRAM traffic.
    pub dram: DramTraffic,
    /// Use of the scratchpad.
    pub sram: SramUse,
    /// The units that executed on MAC lines; unused ones are omitted.
    pub engines: BTreeMap<String, EngineReport>,
    /// Queries read by both engines.
    pub queries: Queries,
    /// The decisions of the compiler.
    pub decisions: Vec<Decision>,
    /// The layers, in program order.
    pub layers: Vec<LayerReport>,
}

/// The machine of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    /// Name of the machine.
    pub name: String,
    /// Digest of the configuration.
    pub digest: String,
    /// Clock in MHz.
    pub clock_mhz: f64,
}

/// Cycles of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycles {
    /// Cycles from the start to the end of `halt`.
    pub total: u64,
    /// Cycles of the attention layers.
    pub attention: u64,
    /// The activity of each unit.
    pub by_unit: BTreeMap<String, UnitReport>,
}

/// The activity of a unit; busy and stalls add up to the total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Cycles occupied by instructions.
    pub busy: u64,
    /// Cycles not occupied, by reason.
    pub stalls: Stalls,
}

/// Cycles in which a unit was idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalls {
    /// Before its instructions; in JSON these fields are on the level of `drained`.
    #[serde(flatten)]
    pub waits: Waits,
    /// After the unit's last instruction.
    pub drained: u64,
}

/// Cycles in which a unit was idle because its next instruction could not start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Waiting for tokens, by the unit whose token came last; other units are omitted.
    pub token: BTreeMap<String, u64>,
    /// Waiting for an instruction that had not been dispatched, where tokens came earlier.
    #[serde(default)]
    pub fetch: u64,
    /// Waiting for MAC lines.
    pub lines: u64,
    /// Waiting for the DRAM channel.
    pub channel: u64,
    /// Waiting at barriers.
    pub barrier: u64,
}

/// Activity of a unit on MAC lines.
///
/// A MAC slot is the opportunity for one multiplication: a line that is occupied for a cycle has as
/// many slots as MACs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineReport {
    /// The fewest lines of an instruction.
    pub lines_min: u32,
    /// The most lines of an instruction.
    pub lines_max: u32,
    /// Cycles occupied by instructions.
    pub busy: u64,
    /// Cycles not occupied, before these instructions.
    pub idle: Waits,
    /// MAC slots of the occupied lines.
    pub mac_slots: u64,
    /// Slots with a product of the operands.
    pub mac_slots_used: u64,
    /// Slots without a product: lines without a remaining result, MACs beyond the end of a sum,
    /// cycles spent waiting for a port.
    pub mac_slots_wasted: u64,
}

/// Queries that the sparser engine read to compute scores.
///
/// Both engines read one scratchpad, so forwarding a query means reading the same copy. A byte
/// counts as forwarded if the denser engine also computes scores from it, before or after, without
/// a write in between in program order. If several layers read a byte on the sparser engine first,
/// only the reads of the last one are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// Bytes of queries that instructions of the sparser engine read; each counts once per
    /// instruction.
    pub sparser_read_bytes: u64,
    /// Bytes among them that the denser engine read, too.
    pub forwarded_bytes: u64,
}

/// Instructions of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// All instructions.
    pub total: u64,
    /// By mnemonic; unused mnemonics are omitted.
    pub by_mnemonic: BTreeMap<String, u64>,
    /// How they were fetched; absent if the machine has them without fetching them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<FetchReport>,
}

/// Instruction fetch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchReport {
    /// Bytes of their words.
    pub bytes: u64,
    /// Bytes on the DRAM channel, in whole bursts.
    pub burst_bytes: u64,
    /// Bursts.
    pub bursts: u64,
    /// Cycles in which the next word had not arrived.
    pub word_cycles: u64,
    /// Cycles in which the next word had arrived, and the queue of its unit was full.
    pub queue_cycles: u64,
}

/// Multiplications of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Macs {
    /// Products of the instructions' operands.
    pub executed: u64,
    /// Multiplications that the model needs, without padding.
    pub needed: u64,
    /// Needed multiplications divided by MAC slots.
    pub utilisation: f64,
    /// Cycles times MACs: the multiplications that were possible. Those not executed are wasted or
    /// idle.
    pub slots: u64,
    /// Slots on lines that instructions took, without a product: [`EngineReport::mac_slots_wasted`]
    /// of all units.
    pub wasted_slots: u64,
    /// Slots on lines that no instruction took.
    pub idle_slots: u64,
}

/// Lower bounds of a run or a layer: for each resource, the cycles in which it would be fully used.
/// No schedule takes less.
///
/// Scores and elements of softmax and vector units are those of the program's instructions;
/// multiplications and DRAM bytes are those of the model, independently of the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Needed multiplications divided by MACs per cycle.
    pub compute_cycles: f64,
    /// Compulsory DRAM bytes divided by bytes per cycle.
    pub dram_cycles: f64,
    /// Scores divided by scores per cycle of the softmax units of both engines.
    pub softmax_cycles: f64,
    /// Elements divided by elements per cycle of the vector unit.
    pub vector_cycles: f64,
    /// The largest of these.
    pub combined_cycles: f64,
    /// The resource with that bound; null if all are zero.
    pub binding: Option<Resource>,
}

/// A resource that can bound a run or a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// The MACs.
    Compute,
    /// The DRAM channel.
    Dram,
    /// The softmax units.
    Softmax,
    /// The vector unit.
    Vector,
}

impl Resource {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Compute => "compute",
            Resource::Dram => "DRAM",
            Resource::Softmax => "softmax",
            Resource::Vector => "vector",
        }
    }
}

/// Lower bounds of a run's cycles; in JSON all fields are on one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunBound {
    /// The bound of each resource.
    #[serde(flatten)]
    pub of: Bound,
    /// Cycles of the run divided by the larger of the bounds of MACs and DRAM; absent if both are
    /// zero.
    pub ratio: Option<f64>,
}

/// Energy of a run; in JSON all fields are on one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnergy {
    /// By kind of event.
    #[serde(flatten)]
    pub of: Energy,
    /// All but DRAM, in pJ.
    pub chip_pj: f64,
    /// Energy over time, in mW.
    pub average_power_mw: f64,
    /// Average power without DRAM, in mW.
    pub average_chip_power_mw: f64,
}

/// Traffic on the DRAM channel. Bytes that are read and written are those of tensors; the words of
/// instructions are a kind of their own, beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DramTraffic {
    /// Bytes that instructions read.
    pub read_bytes: u64,
    /// Bytes that instructions wrote.
    pub write_bytes: u64,
    /// Bytes on the channel to read them, in whole bursts.
    pub burst_read_bytes: u64,
    /// Bytes on the channel to write them, in whole bursts.
    pub burst_write_bytes: u64,
    /// Bytes read and written by kind of data, with `instructions`; unused kinds are omitted.
    pub by_kind: BTreeMap<String, u64>,
    /// What the bursts met in the banks; omitted if the machine's DRAM has no banks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<DramRows>,
}

/// Bursts by the state of their banks. A layer's are those of its instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DramRows {
    /// Bursts whose row was open.
    pub hits: u64,
    /// Bursts whose bank was closed.
    pub misses: u64,
    /// Bursts whose bank had another row open.
    pub conflicts: u64,
    /// Refreshes since the last burst of their channels.
    pub refreshes: u64,
}

/// Use of the scratchpad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SramUse {
    /// Bytes that instructions accessed at any time, each counted once.
    pub touched_bytes: u64,
    /// The highest accessed address, plus one.
    pub peak_bytes: u64,
    /// Size of the scratchpad.
    pub capacity_bytes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes read and written by kind of data; unused kinds are omitted.
    pub by_kind: BTreeMap<String, u64>,
}

/// The cost of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Name of the layer.
    pub name: String,
    /// Operation of the layer.
    pub operation: String,
    /// Whether it has instructions of attention: scores, softmax, product, encoder, decoder.
    /// Projections before and after do not count.
    pub attention: bool,
    /// Its share of the run: every cycle belongs to the layer of the instruction that completes
    /// next, of several the first in the program. Zero if the layer was hidden behind others. The
    /// shares add up to the total.
    pub cycles: u64,
    /// Products of its instructions.
    pub macs: u64,
    /// Multiplications that the model needs for it.
    pub macs_needed: u64,
    /// Its lower bounds. A layer that is hidden behind others has fewer cycles than its bound.
    pub bound: Bound,
    /// Energy of its instructions and of its share of the cycles; null if the machine states no
    /// energies.
    pub energy: Option<Energy>,
    /// Bytes that it read from DRAM.
    pub dram_read_bytes: u64,
    /// Bytes that it wrote to DRAM.
    pub dram_write_bytes: u64,
    /// Bytes that it moved from and to DRAM by kind of data; unused kinds are omitted.
    pub dram_by_kind: BTreeMap<String, u64>,
    /// What its bursts met in the banks of the DRAM; omitted if the machine's DRAM has no banks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dram_rows: Option<DramRows>,
    /// Bytes that it read from and wrote to the scratchpad by kind of data; unused kinds are
    /// omitted.
    pub sram_by_kind: BTreeMap<String, u64>,
    /// Cycles in which its instructions occupied each unit; unused units are omitted.
    pub busy: BTreeMap<String, u64>,
    /// The units that executed its instructions on MAC lines; unused ones are omitted.
    pub engines: BTreeMap<String, EngineReport>,
    /// Queries read by both engines.
    pub queries: Queries,
}

impl DramRows {
    /// All bursts.
    pub fn bursts(&self) -> u64 {
        self.hits.saturating_add(self.misses).saturating_add(self.conflicts)
    }

    fn add(&mut self, rows: &RowCounts) {
        let RowCounts { hits, misses, conflicts, refreshes } = *rows;
        counter::add(&mut self.hits, hits);
        counter::add(&mut self.misses, misses);
        counter::add(&mut self.conflicts, conflicts);
        counter::add(&mut self.refreshes, refreshes);
    }
}

impl Report {
    /// The report as JSON, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }
}
