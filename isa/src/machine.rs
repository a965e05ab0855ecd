//! The machine configuration: the differences between two ViTCoD machines, as data.
//!
//! A configuration limits the values of instruction fields (addresses, line sets) and determines
//! their cost, and states which optional units the machine has. It never changes the meaning of an
//! instruction: the same model gives the same output bits on all machines with the same units.
//!
//! The text form is TOML. Presets are files of this crate: `vitcod` (the paper), `vitcod-wide` (the
//! same area with more row ports), `vitcod-ideal` (a memory that never makes anything wait) and
//! `vitcod-sim` (the authors' simulator).

mod area;
pub(crate) mod text;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::dram::Ddr4;
use crate::instr::{LineSet, MAX_WORD_BYTES};
pub use area::Area;
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::Problems;

/// A complete, validated description of one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Name of the machine in reports.
    pub name: String,
    /// Clock in MHz, for converting cycles to milliseconds.
    pub clock_mhz: f64,
    /// The MAC lines.
    pub lines: Lines,
    /// The on-chip scratchpad.
    pub sram: Sram,
    /// The DRAM channel.
    pub dram: Dram,
    /// The softmax unit of each engine.
    pub softmax: Softmax,
    /// The vector unit.
    pub vector: Vector,
    /// Banks of the scratchpad. A machine without them is *ideal*: a flat scratchpad serves every
    /// port in every cycle. Banks, slots and datapath are stated together or not at all, see
    /// [`Machine::organisation`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banks: Option<Banks>,
    /// How units share the banks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Slots>,
    /// Registers and shared function units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datapath: Option<Datapath>,
    /// How instructions come to the units; absent if they are there without being fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Fetch>,
    /// Energies of events; absent if unknown, and then reports state no energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// Areas of parts; those of 28 nm if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<Area>,
}

/// MAC lines: they compute all products, including those of encode and decode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// Number of MAC lines.
    pub count: u32,
    /// Int8 MACs per line.
    pub macs: u32,
    /// Width in bytes of each of a line's three ports (Q/V read, K/S read, write).
    pub port_bytes: u32,
    /// Cycles from a line's last operand to its last result in the scratchpad.
    pub fill_cycles: u32,
}

/// The scratchpad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sram {
    /// Capacity in bytes.
    pub bytes: u32,
}

/// The DRAM, shared by loads and stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dram {
    /// Bandwidth in bytes per cycle, rounded to three decimal places.
    pub bytes_per_cycle: f64,
    /// Cycles from a request's last burst to its completion.
    pub latency_cycles: u32,
    /// Burst size in bytes, a power of two; every transfer pays whole aligned bursts.
    pub burst_bytes: u32,
    /// The memory in detail, whose peak bandwidth and bursts are the figures above; then the
    /// latency is what remains beside that of the memory. If absent, the channel has constant
    /// bandwidth and latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddr4: Option<Ddr4>,
}

/// The softmax unit of an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// Scores per cycle.
    pub scores_per_cycle: u32,
    /// Cycles from the last score to the last probability.
    pub fill_cycles: u32,
    /// Whether probabilities can be minifloats, for whose products the lines have shifters. Absent
    /// if omitted.
    #[serde(default)]
    pub minifloat: bool,
}

/// The vector unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Elements per cycle.
    pub elements_per_cycle: u32,
    /// Cycles from the last element read to the last written.
    pub fill_cycles: u32,
    /// Whether it interpolates functions of 16 bits. Absent if omitted.
    #[serde(default)]
    pub interpolation: bool,
}

/// The banks of the scratchpad. Word `w`, the bytes from `w * word_bytes` on, lies in bank
/// `w % count`.
///
/// Accesses to a bank are divided in time, so that no unit ever waits for another one. Of two
/// consecutive accesses of a bank, one belongs to the row ports and one to the slots: both happen
/// in one cycle if a bank makes two accesses per cycle, else in two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Banks {
    /// Number of banks.
    pub count: u32,
    /// Bytes of a word, a power of two.
    pub word_bytes: u32,
    /// Accesses that a bank makes in a cycle: 1 or 2.
    pub accesses_per_cycle: u32,
    /// Irregular row ports: words that instructions on lists read per access of the banks, each
    /// from any bank, at most one from each.
    pub row_ports: u32,
}

/// The slots of the units. The banks turn: in cycle `t`, the slot access of bank `b` belongs to
/// slot `(b + t) % period`, where the period is the number of all slots. In as many consecutive
/// accesses as the period, each slot meets each bank once. So a unit with `s` slots accesses up to
/// `s` words of each bank in a *revolution* of the banks, whenever it starts and whatever other
/// units do. A unit that reads and writes through the same slots does so in turn, revolution by
/// revolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// Reads of the denser engine.
    pub denser_read: u32,
    /// Writes of the denser engine.
    pub denser_write: u32,
    /// Reads of the sparser engine other than those of its row ports.
    pub sparser_read: u32,
    /// Writes of the sparser engine.
    pub sparser_write: u32,
    /// Reads and writes of the encoder, in turn.
    pub encoder: u32,
    /// Reads and writes of the decoder, in turn.
    pub decoder: u32,
    /// Reads and writes of each of the two softmax units, in turn.
    pub softmax: u32,
    /// Reads of the vector unit.
    pub vector_read: u32,
    /// Writes of the vector unit.
    pub vector_write: u32,
    /// Reads of the load unit: the indices of `gather`.
    pub load_read: u32,
    /// Writes of the load unit.
    pub load_write: u32,
    /// Reads of the store unit.
    pub store: u32,
}

/// Registers of the MAC lines, and function units that are fewer than what uses them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datapath {
    /// Registers of a line for operands, in bytes: a held and a streamed row part, each of whole
    /// words.
    pub operand_bytes: u32,
    /// Int32 accumulators of a line: one half accumulates while the other is emptied.
    pub accumulators: u32,
    /// Requantisers of a line: results per cycle that become int8 or int16.
    pub requantisers: u32,
    /// Rows of a list that wait in front of a group of lines, with the one that it works on.
    pub queued_rows: u32,
    /// Cycles in which lines change between accumulation along sums and along outputs.
    pub mode_switch_cycles: u32,
    /// Units that compute reciprocals of row sums.
    pub dividers: u32,
    /// Cycles of a reciprocal.
    pub divider_cycles: u32,
    /// Units that compute the roots of LayerNorm.
    pub roots: u32,
    /// Cycles of a root.
    pub root_cycles: u32,
    /// Cycles from the completion of an instruction to the arrival of its tokens.
    pub token_cycles: u32,
}

/// Instruction fetch, as [`timing`](crate::timing) describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Bytes of the buffer between DRAM and dispatch: at least one word and one burst.
    pub buffer_bytes: u32,
    /// Instructions that the queue of each unit holds.
    pub queue_depth: u32,
}

/// How a machine that is not ideal is organised.
#[derive(Clone, Copy, Debug)]
pub struct Organisation<'m> {
    /// The banks of the scratchpad.
    pub banks: &'m Banks,
    /// How units share them.
    pub slots: &'m Slots,
    /// Registers and shared function units.
    pub datapath: &'m Datapath,
}

/// How rows of tiles are spread over the banks of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spread {
    /// Banks and bytes of a word; `None` for a flat scratchpad.
    banks: Option<(u32, u32)>,
}

impl Spread {
    /// Bytes between the rows of a tile that many lines read at once, one row each: rows of
    /// `bytes` bytes begin in all banks, or in every second, instead of always in the same few.
    /// At most a quarter of the bytes is added.
    pub fn stride(self, bytes: u64) -> u64 {
        let Some((banks, word)) = self.banks else { return bytes };
        let (banks, word) = (u64::from(banks), u64::from(word));
        let words = bytes / word;
        // The banks in which rows begin are those at multiples of the largest common factor.
        let apart = 1 << words.trailing_zeros().min(banks.trailing_zeros());
        if bytes.is_multiple_of(word) && words >= 4 && apart > 2 { bytes + word } else { bytes }
    }
}

impl Spread {
    /// Bytes between rows that begin with a word.
    pub fn aligned(self, bytes: u64) -> u64 {
        self.banks.map_or(bytes, |(_, word)| bytes.next_multiple_of(word.into()))
    }
}

impl Slots {
    /// Slots of the banks: the accesses of a revolution.
    pub fn period(&self) -> u32 {
        let Slots {
            denser_read,
            denser_write,
            sparser_read,
            sparser_write,
            encoder,
            decoder,
            softmax,
            vector_read,
            vector_write,
            load_read,
            load_write,
            store,
        } = *self;
        let engines = denser_read + denser_write + sparser_read + sparser_write;
        let others = encoder + decoder + 2 * softmax + vector_read + vector_write;
        engines + others + load_read + load_write + store
    }
}

impl Organisation<'_> {
    /// Cycles in which the row ports, and the slots, have each one access of every bank.
    pub fn access_cycles(&self) -> u64 {
        u64::from(2 / self.banks.accesses_per_cycle.clamp(1, 2))
    }

    /// Cycles in which each slot meets each bank once.
    pub fn revolution_cycles(&self) -> u64 {
        self.access_cycles() * u64::from(self.slots.period())
    }
}

/// What a machine need not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Probabilities as minifloats.
    Minifloat,
    /// Interpolation of functions of 16 bits.
    Interpolation,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Minifloat => "minifloats (softmax.minifloat)",
            Unit::Interpolation => "interpolation (vector.interpolation)",
        })
    }
}

/// Energy per event, in pJ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// A product of two int8 and its addition to an int32.
    pub mac_pj: f64,
    /// A shift of a product by the exponent of a minifloat; a machine without them may omit it.
    #[serde(default)]
    pub shift_pj: f64,
    /// A sum becomes int8 or int16; a machine without banks may omit it, as the next two.
    #[serde(default)]
    pub requantise_pj: f64,
    /// The reciprocal of a row sum.
    #[serde(default)]
    pub reciprocal_pj: f64,
    /// The root of a row of LayerNorm.
    #[serde(default)]
    pub root_pj: f64,
    /// A byte read from the scratchpad: through a port, or of a whole word of banks.
    pub sram_read_pj_per_byte: f64,
    /// A byte written to the scratchpad, likewise.
    pub sram_write_pj_per_byte: f64,
    /// A byte that passes the DRAM channel, either way; whole bursts do.
    pub dram_pj_per_byte: f64,
    /// A score in a softmax unit or an element in the vector unit, without its scratchpad bytes.
    pub element_pj: f64,
    /// The energy of a cycle independently of its events: leakage, clock, control.
    pub static_pj_per_cycle: f64,
}

/// A configuration that cannot be used: all its problems at once.
pub type MachineError = Problems<String>;

/// The most banks of a scratchpad.
pub const MAX_BANKS: u32 = 64;

/// [`Machine::dram_millibytes_per_cycle`] counts thousandths of a byte.
pub const MILLIBYTES_PER_BYTE: u64 = 1000;

/// Names and texts of the presets.
pub const PRESETS: [(&str, &str); 4] = [
    ("vitcod", include_str!("../machines/vitcod.toml")),
    ("vitcod-wide", include_str!("../machines/vitcod-wide.toml")),
    ("vitcod-ideal", include_str!("../machines/vitcod-ideal.toml")),
    ("vitcod-sim", include_str!("../machines/vitcod-sim.toml")),
];

impl Machine {
    /// The preset with this name, if there is one.
    ///
    /// ```
    /// use vitcod_isa::machine::Machine;
    ///
    /// let machine = Machine::preset("vitcod").expect("the machine of the paper");
    /// assert_eq!(machine.lines.count, 64);
    /// assert!(Machine::preset("unknown").is_none());
    /// ```
    pub fn preset(name: &str) -> Option<Machine> {
        let (_, text) = PRESETS.iter().find(|(preset, _)| *preset == name)?;
        Some(Machine::from_toml(text).expect("presets are valid; a test reads each"))
    }

    /// Parses and validates a configuration.
    ///
    /// # Errors
    /// All problems, with their positions.
    pub fn from_toml(text: &str) -> Result<Machine, Problems<Diagnostic>> {
        text::read(text)
    }

    /// The canonical text form, which programs contain and the digest covers.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a machine is plain data")
    }

    /// SHA-256 of the canonical text form, in hexadecimal.
    pub fn digest(&self) -> String {
        Sha256::digest(self.to_toml()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// MACs of all lines together: the most multiplications per cycle.
    pub fn macs_per_cycle(&self) -> u64 {
        u64::from(self.lines.count) * u64::from(self.lines.macs)
    }

    /// DRAM bandwidth in thousandths of a byte per cycle, the unit in which transfers are timed: at
    /// least 1.
    pub fn dram_millibytes_per_cycle(&self) -> u64 {
        ((self.dram.bytes_per_cycle * MILLIBYTES_PER_BYTE as f64).round() as u64).max(1)
    }

    /// All MAC lines.
    pub fn all_lines(&self) -> LineSet {
        // Validated: at most MAX_LINES.
        LineSet { first: 0, count: self.lines.count as u16 }
    }

    /// Cycles in which the DRAM channel moves `bytes`, the last of which may be filled in part.
    pub fn transfer_cycles(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(MILLIBYTES_PER_BYTE).div_ceil(self.dram_millibytes_per_cycle())
    }

    /// Cycles of the DRAM channel that `bytes` fill: [`Machine::transfer_cycles`] rounded down.
    pub fn full_transfer_cycles(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(MILLIBYTES_PER_BYTE) / self.dram_millibytes_per_cycle()
    }

    /// Cycles of the DRAM channel for `bytes`, with the fraction of the last.
    pub fn exact_transfer_cycles(&self, bytes: u64) -> f64 {
        bytes as f64 * MILLIBYTES_PER_BYTE as f64 / self.dram_millibytes_per_cycle() as f64
    }

    /// Bytes that the DRAM channel can move in `cycles`.
    pub fn dram_capacity(&self, cycles: u64) -> f64 {
        self.dram_millibytes_per_cycle() as f64 / MILLIBYTES_PER_BYTE as f64 * cycles as f64
    }

    /// Converts cycles to milliseconds.
    pub fn milliseconds(&self, cycles: u64) -> f64 {
        cycles as f64 / (self.clock_mhz * 1000.0)
    }

    /// Whether the machine has a unit.
    pub fn has(&self, unit: Unit) -> bool {
        match unit {
            Unit::Minifloat => self.softmax.minifloat,
            Unit::Interpolation => self.vector.interpolation,
        }
    }

    /// How rows of tiles are spread over the banks.
    pub fn spread(&self) -> Spread {
        Spread { banks: self.banks.as_ref().map(|banks| (banks.count, banks.word_bytes)) }
    }

    /// Banks, slots and datapath; `None` if the machine is ideal.
    pub fn organisation(&self) -> Option<Organisation<'_>> {
        let (banks, slots) = (self.banks.as_ref()?, self.slots.as_ref()?);
        Some(Organisation { banks, slots, datapath: self.datapath.as_ref()? })
    }

    /// What is wrong between keys that are right by themselves: the key, and the message.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, String)> {
        let Dram { bytes_per_cycle, burst_bytes, ddr4, .. } = &self.dram;
        if let Some(Fetch { buffer_bytes, .. }) = self.fetch {
            // A word need not begin where a burst does.
            let least = MAX_WORD_BYTES as u32 + burst_bytes;
            if buffer_bytes < least {
                let message =
                    format!("fetch.buffer_bytes = {buffer_bytes}: a word and a burst take {least}");
                return Some(("fetch.buffer_bytes", message));
            }
        }
        let ddr4 = ddr4.as_ref()?;
        // Bounds and the compiler's estimates use these figures, so they must hold.
        let peak = ddr4.peak_bytes_per_second() as f64 / (self.clock_mhz * 1e6);
        let millibytes = (peak * MILLIBYTES_PER_BYTE as f64).round();
        if self.dram_millibytes_per_cycle() as f64 != millibytes {
            let peak = millibytes / MILLIBYTES_PER_BYTE as f64;
            let message = format!(
                "dram.bytes_per_cycle = {bytes_per_cycle:?}: the peak of [dram.ddr4] is {peak:?}"
            );
            return Some(("dram.bytes_per_cycle", message));
        }
        if *burst_bytes != ddr4.burst_bytes() {
            let burst = ddr4.burst_bytes();
            let message =
                format!("dram.burst_bytes = {burst_bytes}: bursts of [dram.ddr4] are {burst}");
            return Some(("dram.burst_bytes", message));
        }
        ddr4.contradiction()
    }

    /// Reports every field out of range.
    pub(crate) fn validate(&self) -> Result<(), MachineError> {
        let read = text::read(&self.to_toml());
        read.map(|_| ()).map_err(|found| found.map(|problem| problem.message))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} lines x {} MACs, {} KB, {} B/cycle, {} MHz",
            self.name,
            self.lines.count,
            self.lines.macs,
            self.sram.bytes / 1024,
            self.dram.bytes_per_cycle,
            self.clock_mhz
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_survive_their_text_form() {
        for (name, _) in PRESETS {
            let machine = Machine::preset(name).unwrap();
            assert_eq!(machine.name, name);
            assert_eq!(Machine::from_toml(&machine.to_toml()).unwrap(), machine);
        }
    }

    #[test]
    fn presets_state_the_figures_of_the_paper_and_of_the_simulator() {
        let paper = Machine::preset("vitcod").unwrap();
        assert_eq!(paper.macs_per_cycle(), 512);
        assert_eq!(paper.sram.bytes, 320 * 1024);
        assert_eq!(paper.dram_millibytes_per_cycle(), 153_600);
        let bytes = [0, 64, 1536, 1537];
        assert_eq!(bytes.map(|bytes| paper.transfer_cycles(bytes)), [0, 1, 10, 11]);
        assert_eq!(bytes.map(|bytes| paper.full_transfer_cycles(bytes)), [0, 0, 10, 10]);
        assert_eq!(paper.exact_transfer_cycles(768), 5.0);
        assert_eq!(paper.dram_capacity(5), 768.0);
        assert_eq!(paper.all_lines(), LineSet { first: 0, count: 64 });
        let simulator = Machine::preset("vitcod-sim").unwrap();
        assert_eq!(simulator.macs_per_cycle(), 4096);
        assert_ne!(paper.digest(), simulator.digest());
    }

    #[test]
    fn a_machine_may_have_its_dram_in_detail() {
        let detailed = Machine::from_toml(include_str!("../machines/vitcod-ddr4.toml")).unwrap();
        assert_eq!(detailed.dram.ddr4, Some(Ddr4::ddr4_2400()));
        assert_eq!(Machine::from_toml(&detailed.to_toml()).unwrap(), detailed);
        let paper = Machine::preset("vitcod").unwrap();
        assert_ne!(detailed.digest(), paper.digest());
        // An open bank takes as long as the simple channel: 17 + 17 + 4 clocks, and one in which
        // the burst is accepted.
        let memory = 39_u32 * 5;
        assert_eq!((detailed.dram.latency_cycles + memory.div_ceil(12)) - 1, 50);
        let plain = Machine { name: paper.name.clone(), dram: paper.dram.clone(), ..detailed };
        assert_eq!(plain, paper);
    }

    #[test]
    fn a_machine_may_say_nothing_of_energy() {
        let silent = Machine { energy: None, ..Machine::preset("vitcod").unwrap() };
        assert!(!silent.to_toml().contains("energy"));
        assert_eq!(Machine::from_toml(&silent.to_toml()).unwrap(), silent);
    }

    #[test]
    fn a_machine_out_of_range_is_refused_with_all_that_is_wrong() {
        let mut machine = Machine::preset("vitcod").unwrap();
        machine.lines.count = 0;
        machine.dram.burst_bytes = 48;
        machine.dram.bytes_per_cycle = f64::NAN;
        let problems = machine.validate().unwrap_err();
        let expected = [
            "lines.count = 0: expected an integer from 1 to 256",
            "dram.bytes_per_cycle = NaN: expected a number from 0.001 to 1000000",
            "dram.burst_bytes = 48: expected a power of two up to 4096",
        ];
        assert_eq!(problems.kept(), expected);
    }
}
