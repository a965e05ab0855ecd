//! What a run cost: cycles, stalls, multiplications and traffic, in total and per layer.
//!
//! A report follows from a program and its timing; no data is needed. It describes one run of the
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
    /// Where the cycles went.
    pub cycles: Cycles,
    /// Time of the run at the machine's clock, in milliseconds.
    pub time_ms: f64,
    /// Instructions executed.
    pub instructions: Instructions,
    /// Multiplications.
    pub macs: Macs,
    /// What no schedule can beat.
    pub bound: RunBound,
    /// Energy of the run; null where the machine does not say what events cost.
    pub energy: Option<RunEnergy>,
    /// DRAM traffic.
    pub dram: DramTraffic,
    /// Use of the scratchpad.
    pub sram: SramUse,
    /// The units that executed on MAC lines; those that the program did not use are left out.
    pub engines: BTreeMap<String, EngineReport>,
    /// Queries that both engines share.
    pub queries: Queries,
    /// What the compiler chose.
    pub decisions: Vec<Decision>,
    /// The layers, in program order.
    pub layers: Vec<LayerReport>,
}

/// The machine of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    /// Name of the machine.
    pub name: String,
    /// Digest of its configuration.
    pub digest: String,
    /// Its clock in MHz.
    pub clock_mhz: f64,
}

/// Cycles of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycles {
    /// From the start to the end of `halt`.
    pub total: u64,
    /// Those of the attention layers.
    pub attention: u64,
    /// What each unit did meanwhile.
    pub by_unit: BTreeMap<String, UnitReport>,
}

/// How a unit spent the run; busy and stalls add up to the total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Cycles occupied by instructions.
    pub busy: u64,
    /// Cycles not occupied, by reason.
    pub stalls: Stalls,
}

/// Cycles in which a unit did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalls {
    /// Before its instructions; in JSON its fields stand beside `drained`.
    #[serde(flatten)]
    pub waits: Waits,
    /// After the unit's last instruction.
    pub drained: u64,
}

/// Cycles in which a unit did nothing because its next instruction could not start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Waiting for tokens, by the unit whose token came last; units that were not waited for are
    /// left out.
    pub token: BTreeMap<String, u64>,
    /// Waiting for MAC lines.
    pub lines: u64,
    /// Waiting for the DRAM channel.
    pub channel: u64,
    /// Waiting at barriers.
    pub barrier: u64,
}

/// What a unit did on MAC lines.
///
/// A MAC slot is a multiplication that a MAC could have done: a line that an instruction takes for
/// a cycle has as many as it has MACs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineReport {
    /// The fewest lines that an instruction took.
    pub lines_min: u32,
    /// The most lines that an instruction took.
    pub lines_max: u32,
    /// Cycles occupied by instructions.
    pub busy: u64,
    /// Cycles not occupied, before these instructions.
    pub idle: Waits,
    /// MAC slots of the lines that instructions took.
    pub mac_slots: u64,
    /// Slots with a product of the operands.
    pub mac_slots_used: u64,
    /// Slots without: lines that had no result left to compute, MACs beyond the end of a sum,
    /// cycles in which a port was awaited.
    pub mac_slots_wasted: u64,
}

/// Queries that the sparser engine read to compute scores.
///
/// Both engines read one scratchpad, so forwarding a query from one to the other is reading the
/// same copy. A byte counts as forwarded if the denser engine computes scores from it too, before
/// or after, without a write in between in program order. Where several layers read a byte on the
/// sparser engine first, only the last of them is forwarded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// Bytes of queries that instructions of the sparser engine read; each counts once per
    /// instruction.
    pub sparser_read_bytes: u64,
    /// How many of them the denser engine read too. The others are there for the sparser engine
    /// alone.
    pub forwarded_bytes: u64,
}

/// Instructions of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// All of them.
    pub total: u64,
    /// By mnemonic; those that do not occur are left out.
    pub by_mnemonic: BTreeMap<String, u64>,
}

/// Multiplications of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Macs {
    /// Products of the instructions' operands.
    pub executed: u64,
    /// Multiplications that the model needs, without padding.
    pub needed: u64,
    /// Needed multiplications over cycles times MACs.
    pub utilisation: f64,
    /// Cycles times MACs: the multiplications that there was time for. What is not executed of them
    /// is wasted or idle.
    pub slots: u64,
    /// Slots on lines that instructions took, without a product: [`EngineReport::mac_slots_wasted`]
    /// of all units.
    pub wasted_slots: u64,
    /// Slots on lines that no instruction took.
    pub idle_slots: u64,
}

/// What a run or a layer needs of a resource, in cycles in which that is fully used: no schedule
/// takes less.
///
/// The scores and elements of softmax and vector units are those of the program's instructions;
/// multiplications and DRAM bytes are what the model needs, whatever the program makes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Needed multiplications over MACs per cycle.
    pub compute_cycles: f64,
    /// Compulsory DRAM bytes over bytes per cycle.
    pub dram_cycles: f64,
    /// Scores over those that the softmax units of both engines take per cycle.
    pub softmax_cycles: f64,
    /// Elements over those that the vector unit takes per cycle.
    pub vector_cycles: f64,
    /// The largest of these.
    pub combined_cycles: f64,
    /// The resource that it is of; null where all are zero.
    pub binding: Option<Resource>,
}

/// What can bound a run or a layer.
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
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Compute => "compute",
            Resource::Dram => "DRAM",
            Resource::Softmax => "softmax",
            Resource::Vector => "vector",
        }
    }
}

/// Lower bounds of a run's cycles; in JSON all fields stand side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunBound {
    /// What each resource takes.
    #[serde(flatten)]
    pub of: Bound,
    /// Cycles of the run over the larger of the bounds for computing and for DRAM; absent where
    /// both are zero.
    pub ratio: Option<f64>,
}

/// Energy of a run; in JSON all fields stand side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnergy {
    /// By kind of event.
    #[serde(flatten)]
    pub of: Energy,
    /// All but DRAM, in pJ.
    pub chip_pj: f64,
    /// Energy over time, in mW.
    pub average_power_mw: f64,
    /// The same without DRAM.
    pub average_chip_power_mw: f64,
}

/// Traffic on the DRAM channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DramTraffic {
    /// Bytes that instructions read.
    pub read_bytes: u64,
    /// Bytes that instructions wrote.
    pub write_bytes: u64,
    /// Bytes that passed the channel to read them, in whole bursts.
    pub burst_read_bytes: u64,
    /// Bytes that passed the channel to write them, in whole bursts.
    pub burst_write_bytes: u64,
    /// Bytes read and written by what they carry; kinds that do not occur are left out.
    pub by_kind: BTreeMap<String, u64>,
}

/// Use of the scratchpad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SramUse {
    /// Bytes that instructions touched at any time, each once.
    pub touched_bytes: u64,
    /// The highest address that an instruction touched, plus one.
    pub peak_bytes: u64,
    /// Bytes that the machine has.
    pub capacity_bytes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes read and written by what they hold; kinds that do not occur are left out.
    pub by_kind: BTreeMap<String, u64>,
}

/// The cost of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Name of the layer.
    pub name: String,
    /// Operation of the layer.
    pub operation: String,
    /// Whether it has instructions of attention: scores, softmax, product, encoder, decoder. The
    /// projections before and after are not.
    pub attention: bool,
    /// Its share of the run: every cycle belongs to the layer of the instruction that completes
    /// next, of several the first in the program. Zero where it was hidden behind others. They add
    /// up to the total.
    pub cycles: u64,
    /// Products of its instructions' operands.
    pub macs: u64,
    /// Multiplications that it needs.
    pub macs_needed: u64,
    /// What it needs of each resource. A layer that is hidden behind others has fewer cycles than
    /// its bound.
    pub bound: Bound,
    /// Energy of its instructions, and of the cycles that are its share; null where the machine
    /// does not say what events cost.
    pub energy: Option<Energy>,
    /// Bytes that it read from DRAM.
    pub dram_read_bytes: u64,
    /// Bytes that it wrote to DRAM.
    pub dram_write_bytes: u64,
    /// Bytes that it moved from and to DRAM by what they carry; kinds that do not occur are left
    /// out.
    pub dram_by_kind: BTreeMap<String, u64>,
    /// Bytes that it read from and wrote to the scratchpad by what they hold; kinds that do not
    /// occur are left out.
    pub sram_by_kind: BTreeMap<String, u64>,
    /// Cycles for which its instructions occupied each unit; units that it did not use are left
    /// out.
    pub busy: BTreeMap<String, u64>,
    /// The units that executed its instructions on MAC lines; those that it did not use are left
    /// out.
    pub engines: BTreeMap<String, EngineReport>,
    /// Queries that both engines share.
    pub queries: Queries,
}

impl Report {
    /// The report as JSON, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain data")
    }
}
