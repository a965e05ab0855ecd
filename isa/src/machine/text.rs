//! The text form of a machine: the legal values of its keys, and the problems of a text.
//!
//! Text is untrusted. Every mistake is reported with its position; of a line that is not TOML only
//! the syntax error is reported.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{MAX_BANKS, Machine};
use crate::dram::mapping::{self, Mapping};
use crate::instr::field;
use vitcod_support::diagnostics::{Diagnostic, closest};
use vitcod_support::problems::{Collector, KEPT, Problems};

/// The legal values of a key.
enum Kind {
    /// An integer in this range.
    Integer(u32, u32),
    /// A power of two up to this value.
    PowerOfTwo(u32),
    /// A rate: a number in [`RATES`].
    Rate,
    /// An energy in pJ: a number in [`ENERGIES`].
    Energy,
    /// An area in mm2 or um2, or a share: a number in [`AREAS`].
    Area,
    /// Whether the machine has a unit.
    Flag,
    /// A name for reports.
    Name,
    /// An order of the fields of an address.
    Mapping,
}

const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e6;
const ENERGIES: std::ops::RangeInclusive<f64> = 0.0..=1e6;
const AREAS: std::ops::RangeInclusive<f64> = 0.0..=1e6;

/// Every key with its section; the section of the first keys is empty.
const FIELDS: &[(&str, &str, Kind)] = &[
    ("", "name", Kind::Name),
    ("", "clock_mhz", Kind::Rate),
    ("lines", "count", Kind::Integer(1, field::MAX_LINES)),
    ("lines", "macs", Kind::Integer(1, 256)),
    ("lines", "port_bytes", Kind::Integer(1, 256)),
    ("lines", "fill_cycles", Kind::Integer(0, 10_000)),
    ("sram", "bytes", Kind::Integer(1024, field::MAX_SRAM)),
    ("dram", "bytes_per_cycle", Kind::Rate),
    ("dram", "latency_cycles", Kind::Integer(0, 1_000_000)),
    ("dram", "burst_bytes", Kind::PowerOfTwo(4096)),
    ("dram.ddr4", "clock_mhz", Kind::Integer(1, 100_000)),
    ("dram.ddr4", "channels", Kind::PowerOfTwo(16)),
    ("dram.ddr4", "bus_bits", Kind::PowerOfTwo(4096)),
    ("dram.ddr4", "groups", Kind::PowerOfTwo(16)),
    ("dram.ddr4", "banks", Kind::PowerOfTwo(64)),
    ("dram.ddr4", "rows", Kind::PowerOfTwo(1 << 20)),
    ("dram.ddr4", "row_bytes", Kind::PowerOfTwo(1 << 16)),
    ("dram.ddr4", "mapping", Kind::Mapping),
    ("dram.ddr4", "queue", Kind::Integer(1, 256)),
    ("dram.ddr4", "t_rcd", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_rp", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_ras", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_cl", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_cwl", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_ccd_s", Kind::Integer(4, 10_000)),
    ("dram.ddr4", "t_ccd_l", Kind::Integer(4, 10_000)),
    ("dram.ddr4", "t_rrd_s", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_rrd_l", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_faw", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_wtr_s", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_wtr_l", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_wr", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_rtp", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_rfc", Kind::Integer(1, 10_000)),
    ("dram.ddr4", "t_refi", Kind::Integer(1, 1_000_000)),
    ("softmax", "scores_per_cycle", Kind::Integer(1, 4096)),
    ("softmax", "fill_cycles", Kind::Integer(0, 10_000)),
    ("softmax", "minifloat", Kind::Flag),
    ("vector", "elements_per_cycle", Kind::Integer(1, 4096)),
    ("vector", "fill_cycles", Kind::Integer(0, 10_000)),
    ("vector", "interpolation", Kind::Flag),
    ("banks", "count", Kind::Integer(1, MAX_BANKS)),
    ("banks", "word_bytes", Kind::PowerOfTwo(256)),
    ("banks", "accesses_per_cycle", Kind::Integer(1, 2)),
    ("banks", "row_ports", Kind::Integer(1, 16)),
    ("slots", "denser_read", SLOTS),
    ("slots", "denser_write", SLOTS),
    ("slots", "sparser_read", SLOTS),
    ("slots", "sparser_write", SLOTS),
    ("slots", "encoder", SLOTS),
    ("slots", "decoder", SLOTS),
    ("slots", "softmax", SLOTS),
    ("slots", "vector_read", SLOTS),
    ("slots", "vector_write", SLOTS),
    ("slots", "load_read", SLOTS),
    ("slots", "load_write", SLOTS),
    ("slots", "store", SLOTS),
    ("datapath", "operand_bytes", Kind::Integer(2, 4096)),
    ("datapath", "accumulators", Kind::Integer(2, 4096)),
    ("datapath", "requantisers", Kind::Integer(1, 256)),
    ("datapath", "queued_rows", Kind::Integer(1, 64)),
    ("datapath", "mode_switch_cycles", Kind::Integer(0, 10_000)),
    ("datapath", "dividers", Kind::Integer(1, 4096)),
    ("datapath", "divider_cycles", Kind::Integer(1, 10_000)),
    ("datapath", "roots", Kind::Integer(1, 4096)),
    ("datapath", "root_cycles", Kind::Integer(1, 10_000)),
    ("datapath", "token_cycles", Kind::Integer(0, 10_000)),
    ("fetch", "buffer_bytes", Kind::Integer(1, 1 << 20)),
    ("fetch", "queue_depth", Kind::Integer(1, 4096)),
    ("energy", "mac_pj", Kind::Energy),
    ("energy", "shift_pj", Kind::Energy),
    ("energy", "requantise_pj", Kind::Energy),
    ("energy", "reciprocal_pj", Kind::Energy),
    ("energy", "root_pj", Kind::Energy),
    ("energy", "sram_read_pj_per_byte", Kind::Energy),
    ("energy", "sram_write_pj_per_byte", Kind::Energy),
    ("energy", "dram_pj_per_byte", Kind::Energy),
    ("energy", "element_pj", Kind::Energy),
    ("energy", "static_pj_per_cycle", Kind::Energy),
    ("area", "sram_mm2_per_kb", Kind::Area),
    ("area", "sram_column_um2", Kind::Area),
    ("area", "two_port_sram_mm2_per_kb", Kind::Area),
    ("area", "two_port_sram_column_um2", Kind::Area),
    ("area", "buffer_mm2_per_kb", Kind::Area),
    ("area", "flip_flop_um2", Kind::Area),
    ("area", "latch_um2", Kind::Area),
    ("area", "mux2_um2", Kind::Area),
    ("area", "mac_um2", Kind::Area),
    ("area", "shifter_um2", Kind::Area),
    ("area", "requantiser_um2", Kind::Area),
    ("area", "divider_um2", Kind::Area),
    ("area", "root_um2", Kind::Area),
    ("area", "softmax_um2", Kind::Area),
    ("area", "vector_um2", Kind::Area),
    ("area", "line_control_um2", Kind::Area),
    ("area", "sequencer_um2", Kind::Area),
    ("area", "control_share", Kind::Area),
    ("area", "density", Kind::Rate),
];

/// Every section with the one that contains it.
const SECTIONS: [(&str, &str); 12] = [
    ("", "lines"),
    ("", "sram"),
    ("", "dram"),
    ("dram", "ddr4"),
    ("", "softmax"),
    ("", "vector"),
    ("", "banks"),
    ("", "slots"),
    ("", "datapath"),
    ("", "fetch"),
    ("", "energy"),
    ("", "area"),
];

/// Sections of which a machine has all or none.
const ORGANISATION: [&str; 3] = ["banks", "slots", "datapath"];

/// Slots of a unit: any unit may need the banks.
const SLOTS: Kind = Kind::Integer(1, 64);

/// A value in a text.
pub(crate) enum Given<'a> {
    Integer(i64),
    Number(f64),
    Text(&'a str),
    Flag(bool),
    /// A kind of value that no key accepts.
    Other(&'static str),
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Integer(value) => write!(f, "{value}"),
            Given::Number(value) => write!(f, "{value:?}"),
            Given::Text(value) => write!(f, "{value:?}"),
            Given::Flag(value) => write!(f, "{value}"),
            Given::Other(kind) => f.write_str(kind),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Integer(low, high) => write!(f, "an integer from {low} to {high}"),
            Kind::PowerOfTwo(high) => write!(f, "a power of two up to {high}"),
            Kind::Rate => write!(f, "a number from {} to {}", RATES.start(), RATES.end()),
            Kind::Energy => write!(f, "a number from {} to {}", ENERGIES.start(), ENERGIES.end()),
            Kind::Area => write!(f, "a number from {} to {}", AREAS.start(), AREAS.end()),
            Kind::Flag => write!(f, "true or false"),
            Kind::Name => write!(f, "a text of 1 to 64 printable characters"),
            Kind::Mapping => f.write_str(mapping::EXPECTED),
        }
    }
}

impl Kind {
    fn holds(&self, given: &Given<'_>) -> bool {
        match (self, given) {
            (Kind::Integer(low, high), Given::Integer(value)) => {
                (i64::from(*low)..=i64::from(*high)).contains(value)
            }
            (Kind::PowerOfTwo(high), Given::Integer(value)) => {
                u32::try_from(*value).is_ok_and(|value| value.is_power_of_two() && value <= *high)
            }
            (Kind::Rate, Given::Integer(value)) => RATES.contains(&(*value as f64)),
            (Kind::Rate, Given::Number(value)) => RATES.contains(value),
            (Kind::Energy, Given::Integer(value)) => ENERGIES.contains(&(*value as f64)),
            (Kind::Energy, Given::Number(value)) => ENERGIES.contains(value),
            (Kind::Area, Given::Integer(value)) => AREAS.contains(&(*value as f64)),
            (Kind::Area, Given::Number(value)) => AREAS.contains(value),
            (Kind::Flag, Given::Flag(_)) => true,
            (Kind::Name, Given::Text(name)) => {
                (1..=64).contains(&name.len()) && !name.contains(char::is_control)
            }
            (Kind::Mapping, Given::Text(text)) => text.parse::<Mapping>().is_ok(),
            (
                Kind::Integer(..)
                | Kind::PowerOfTwo(_)
                | Kind::Rate
                | Kind::Energy
                | Kind::Area
                | Kind::Flag
                | Kind::Name
                | Kind::Mapping,
                _,
            ) => false,
        }
    }
}

/// A key prefixed by its section: its name in messages and in assembly.
fn dotted(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// All keys in dotted form.
pub(crate) fn keys() -> impl Iterator<Item = String> {
    FIELDS.iter().map(|(section, name, _)| dotted(section, name))
}

/// What a text states, as far as it makes other keys necessary.
#[derive(Clone, Copy)]
pub(crate) struct Stated {
    /// Whether there are minifloats.
    minifloats: bool,
    /// Whether there is one of the sections [`ORGANISATION`].
    organised: bool,
}

impl Stated {
    /// `is_true` tells whether a flag of a section is set, `is_there` whether a section exists.
    pub(crate) fn new(
        is_true: impl Fn(&str, &str) -> bool,
        is_there: impl Fn(&str) -> bool,
    ) -> Stated {
        Stated {
            minifloats: is_true("softmax", "minifloat"),
            organised: ORGANISATION.into_iter().any(is_there),
        }
    }

    /// Whether a key may be omitted, or a section with all of its keys. Units that a machine need
    /// not have are optional, and what a unit costs that it does not have, and details.
    pub(crate) fn is_optional(self, section: &str, name: &str) -> bool {
        match (section, name) {
            ("", "energy" | "area" | "fetch")
            | ("dram", "ddr4")
            | ("softmax", "minifloat")
            | ("vector", "interpolation") => true,
            ("energy", "shift_pj") => !self.minifloats,
            ("energy", "requantise_pj" | "reciprocal_pj" | "root_pj") => !self.organised,
            ("", section) if ORGANISATION.contains(&section) => !self.organised,
            _ => false,
        }
    }
}

/// Why a key cannot have a value, if so; `None` if the key does not exist.
pub(crate) fn check(section: &str, name: &str, given: &Given<'_>) -> Option<Result<(), String>> {
    let (_, _, kind) = FIELDS.iter().find(|field| (field.0, field.1) == (section, name))?;
    let refused = || format!("{} = {given}: expected {kind}", dotted(section, name));
    Some(if kind.holds(given) { Ok(()) } else { Err(refused()) })
}

/// Parses the TOML description of a machine.
pub(super) fn read(text: &str) -> Result<Machine, Problems<Diagnostic>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let is_true = |section: &str, name: &str| {
        let value = root.get_ref().get(section).and_then(|table| table.get_ref().get(name));
        value.is_some_and(|value| matches!(value.get_ref(), DeValue::Boolean(true)))
    };
    let stated = Stated::new(is_true, |section| root.get_ref().contains_key(section));
    let mut reader = Reader { text, stated, broken: Vec::new(), problems: Collector::new() };
    for error in errors.iter().take(KEPT) {
        let message = error.message().trim_end().replace('\n', ", ");
        let problem = Diagnostic { span: error.span(), message, help: None };
        reader.broken.extend(problem.line(text));
        reader.problems.push(|| problem);
    }
    reader.problems.add_omitted(errors.len().saturating_sub(KEPT));
    reader.table("", None, root.get_ref());
    let mut problems = reader.problems;
    problems.sort_by_key(|problem: &Diagnostic| problem.span.as_ref().map(|span| span.start));
    problems.finish()?;
    let machine: Machine = toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        Problems::from(Diagnostic { span: error.span(), message, help: None })
    })?;
    match machine.contradiction() {
        None => Ok(machine),
        Some((key, message)) => {
            Err(Diagnostic { span: position(root.get_ref(), key), message, help: None }.into())
        }
    }
}

/// Where the value of a dotted key is.
fn position(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    match key.split_once('.') {
        None => table.get(key).map(|value| value.span()),
        Some((section, key)) => match table.get(section)?.get_ref() {
            DeValue::Table(inner) => position(inner, key),
            _ => None,
        },
    }
}

struct Reader<'t> {
    text: &'t str,
    stated: Stated,
    /// Lines with syntax errors.
    broken: Vec<usize>,
    problems: Collector<Diagnostic>,
}

impl Reader<'_> {
    /// Checks the keys of a section, whose name is at `place`.
    fn table(&mut self, section: &str, place: Option<Range<usize>>, table: &DeTable<'_>) {
        let sections: Vec<&str> =
            SECTIONS.iter().filter(|(outer, _)| *outer == section).map(|(_, name)| *name).collect();
        let fields = FIELDS.iter().filter(|field| field.0 == section).map(|field| field.1);
        let names: Vec<&str> = fields.chain(sections.iter().copied()).collect();
        let mut meant = Vec::new();
        for (key, value) in table {
            // Locating each key and searching for its intended name takes time.
            if self.problems.is_full() {
                break;
            }
            let name = key.get_ref().as_ref();
            let problem = if sections.contains(&name) {
                if let DeValue::Table(inner) = value.get_ref() {
                    self.table(&dotted(section, name), Some(key.span()), inner);
                    continue;
                }
                Some(Diagnostic::at(
                    value.span(),
                    format!("`{name}` is a section: write `[{}]`", dotted(section, name)),
                ))
            } else {
                match check(section, name, &given(value.get_ref())) {
                    Some(Ok(())) => None,
                    Some(Err(message)) => Some(Diagnostic::at(value.span(), message)),
                    None => {
                        let near = closest(name, names.iter().copied());
                        meant.extend(near);
                        let help = near.map(|near| format!("did you mean `{near}`?"));
                        let message = format!("a machine has no `{}`", dotted(section, name));
                        Some(Diagnostic::at(key.span(), message).with_help(help))
                    }
                }
            };
            if let Some(problem) = problem.filter(|problem| !self.is_broken(problem)) {
                self.problems.push(|| problem);
            }
        }
        // A misspelt key, or one on a line with a syntax error, is not missing.
        if self.broken.is_empty() {
            let stated = self.stated;
            let lacks = |name: &str| {
                !table.contains_key(name)
                    && !meant.contains(&name)
                    && !stated.is_optional(section, name)
            };
            for name in names.iter().filter(|name| lacks(name)) {
                let name = if sections.contains(name) {
                    format!("[{}]", dotted(section, name))
                } else {
                    dotted(section, name)
                };
                let problem = Diagnostic {
                    span: place.clone(),
                    message: format!("`{name}` is missing"),
                    help: None,
                };
                self.problems.push(|| problem);
            }
        }
    }

    fn is_broken(&self, problem: &Diagnostic) -> bool {
        problem.line(self.text).is_some_and(|line| self.broken.contains(&line))
    }
}

fn given<'a>(value: &'a DeValue<'_>) -> Given<'a> {
    match value {
        DeValue::String(text) => Given::Text(text),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) => Given::Integer(value),
            Err(_) => Given::Other("an integer of more than 64 bits"),
        },
        DeValue::Float(float) => {
            float.as_str().parse().map_or(Given::Other("a float"), Given::Number)
        }
        DeValue::Boolean(flag) => Given::Flag(*flag),
        DeValue::Datetime(_) => Given::Other("a date"),
        DeValue::Array(_) => Given::Other("an array"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}
