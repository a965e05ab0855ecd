//! What a run cost: cycles, stalls, multiplications and traffic, in total and per layer.
//!
//! A report follows from a program and its timing; no data is needed. It describes one run of the program, that is one item
//! of the compiled batch. The names of its fields in JSON are stable. [`Report`] displays itself as text for people.

mod build;
mod engines;
mod forwarding;
mod occupancy;
pub mod table;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vitcod_isa::program::Decision;

pub use text::Overview;

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
    pub bound: Bound,
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
    /// Its name.
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
    /// Waiting for tokens, by the unit whose token came last; units that were not waited for are left out.
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
/// A MAC slot is a multiplication that a MAC could have done: a line that an instruction takes for a cycle has as many as it
/// has MACs.
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
    /// Slots without: lines that had no result left to compute, MACs beyond the end of a sum, cycles in which a port was awaited.
    pub mac_slots_wasted: u64,
}

/// Queries that the sparser engine read to compute scores.
///
/// Both engines read one scratchpad, so forwarding a query from one to the other is reading the same copy. A byte counts as
/// forwarded if the denser engine computes scores from it too, before or after, without a write in between in program order. Where
/// several layers read a byte on the sparser engine first, only the last of them is forwarded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// Bytes of queries that instructions of the sparser engine read; each counts once per instruction.
    pub sparser_read_bytes: u64,
    /// How many of them the denser engine read too. The others are there for the sparser engine alone.
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
}

/// Lower bounds of the cycles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Needed multiplications over MACs per cycle.
    pub compute_cycles: f64,
    /// Compulsory DRAM bytes over bytes per cycle.
    pub dram_cycles: f64,
    /// Cycles of the run over the larger bound; absent where both are zero.
    pub ratio: Option<f64>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Its name.
    pub name: String,
    /// Its operation.
    pub operation: String,
    /// Whether it has instructions of attention: scores, softmax, product, encoder, decoder. The projections before and after are not.
    pub attention: bool,
    /// Its share of the run: every cycle belongs to the layer of the instruction that completes next, of several the first in the program.
    /// Zero where it was hidden behind others. They add up to the total.
    pub cycles: u64,
    /// Products of its instructions' operands.
    pub macs: u64,
    /// Multiplications that it needs.
    pub macs_needed: u64,
    /// Bytes that it read from DRAM.
    pub dram_read_bytes: u64,
    /// Bytes that it wrote to DRAM.
    pub dram_write_bytes: u64,
    /// Bytes that it moved from and to DRAM by what they carry; kinds that do not occur are left out.
    pub dram_by_kind: BTreeMap<String, u64>,
    /// Bytes that it read from and wrote to the scratchpad by what they hold; kinds that do not occur are left out.
    pub sram_by_kind: BTreeMap<String, u64>,
    /// Cycles for which its instructions occupied each unit; units that it did not use are left out.
    pub busy: BTreeMap<String, u64>,
    /// The units that executed its instructions on MAC lines; those that it did not use are left out.
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
