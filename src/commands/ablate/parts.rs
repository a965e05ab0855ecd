//! Each part of the method alone, and on top of the others.

use std::io::Write;

use serde::Serialize;
use vitcod_compiler::split::{GlobalTokens, Packing};
use vitcod_isa::machine::Machine;
use vitcod_report::table::{grouped, plain};

use super::measure::ratio;
use super::work::Work;
use super::{Compiled, Configuration, reports};
use crate::progress::Progress;

/// A part of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Pruning,
    Polarising,
    Order,
    Sharing,
    Autoencoder,
}

impl Part {
    const ALL: [Part; 5] =
        [Part::Pruning, Part::Polarising, Part::Order, Part::Sharing, Part::Autoencoder];

    fn name(self) -> &'static str {
        match self {
            Part::Pruning => "pruning",
            Part::Polarising => "polarising",
            Part::Order => "ordered lists",
            Part::Sharing => "shared rows",
            Part::Autoencoder => "auto-encoder",
        }
    }
}

/// A program with some parts.
fn configuration(parts: &[Part]) -> Configuration {
    let has = |part| parts.contains(&part);
    let pruned = has(Part::Pruning);
    Configuration {
        pruned,
        // What is not pruned has neither lists nor blocks.
        globals: if !pruned || has(Part::Polarising) {
            GlobalTokens::Auto
        } else {
            GlobalTokens::NONE
        },
        packing: Packing {
            ordered: !pruned || has(Part::Order),
            shared: !pruned || has(Part::Sharing),
        },
        autoencoder: has(Part::Autoencoder),
    }
}

/// What a part is worth.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PartReport {
    pub(super) part: &'static str,
    /// Added to none of the others.
    pub(super) alone: Gain,
    /// Added to all others.
    pub(super) on_top: Gain,
}

/// Cycles of the attention layers without and with a part.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Gain {
    pub(super) without_cycles: u64,
    pub(super) with_cycles: u64,
    /// The former divided by the latter.
    pub(super) factor: f64,
}

impl Gain {
    pub(super) fn new(without_cycles: u64, with_cycles: u64) -> Gain {
        Gain { without_cycles, with_cycles, factor: ratio(without_cycles, with_cycles) }
    }
}

/// Compiles with and without each part.
pub(super) fn measure(
    work: &Work,
    machine: &Machine,
    progress: &Progress,
) -> anyhow::Result<Vec<PartReport>> {
    let parts = &Part::ALL[..if work.has_autoencoder() { 5 } else { 4 }];
    let mut needed: Vec<Compiled<'_>> = Vec::new();
    let mut number = |parts: &[Part]| {
        let configuration = configuration(parts);
        let known = needed.iter().position(|known| known.configuration == configuration);
        known.unwrap_or_else(|| {
            let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
            let name = match names.is_empty() {
                true => "without any part".to_owned(),
                false => format!("with {}", names.join(", ")),
            };
            needed.push(Compiled { name, configuration, machine });
            needed.len() - 1
        })
    };
    let (none, all) = (number(&[]), number(parts));
    let places: Vec<[usize; 4]> = parts
        .iter()
        .map(|part| {
            let others: Vec<Part> = parts.iter().copied().filter(|other| other != part).collect();
            let (alone, without) = (number(&[*part]), number(&others));
            [none, alone, without, all]
        })
        .collect();
    let reports = reports(work, &needed, progress)?;
    let cycles = |place: usize| reports[place].cycles.attention;
    let report = |(part, places): (&Part, [usize; 4])| {
        let [none, alone, without, all] = places.map(cycles);
        PartReport {
            part: part.name(),
            alone: Gain::new(none, alone),
            on_top: Gain::new(without, all),
        }
    };
    Ok(parts.iter().zip(places).map(report).collect())
}

/// Prints what parts are worth.
pub(super) fn print(parts: &[PartReport], out: &mut dyn Write) -> anyhow::Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut table = plain(&[
        "part of the method",
        "alone: without",
        "with",
        "factor",
        "on top of all others: without",
        "with",
        "factor",
    ]);
    for PartReport { part, alone, on_top } in parts {
        let cells = [alone, on_top].into_iter().flat_map(|gain| {
            let factor = format!("{:.2}", gain.factor);
            [grouped(gain.without_cycles), grouped(gain.with_cycles), factor]
        });
        table.add_row([(*part).to_owned()].into_iter().chain(cells));
    }
    writeln!(out, "{}\n", table.trim_fmt())?;
    writeln!(
        out,
        " Cycles of attention. Polarising: global tokens as the cost model finds them. Lists without order have queries and"
    )?;
    writeln!(
        out,
        " keys in rising order; without sharing a row serves one query each time it is read. Q forwarding is no part: both"
    )?;
    writeln!(out, " engines read the one copy of a query.\n")?;
    Ok(())
}
