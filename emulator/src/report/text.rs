//! A report as text for people.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use comfy_table::Table;
use vitcod_isa::instr::Unit;

use super::engines::merged;
use super::table::{decisions, grouped, left, percent, plain};
use super::{EngineReport, Report, UnitReport, Waits};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.overview().fmt(f)?;
        write_tables(&[self.per_layer()], f)
    }
}

/// A report as text without the table of its layers.
pub struct Overview<'r>(&'r Report);

impl fmt::Display for Overview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overview(report) = self;
        write_tables(&[report.summary(), report.units(), report.engines(), decisions(&report.decisions, true)], f)
    }
}

fn write_tables(tables: &[Table], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    tables.iter().filter(|table| table.row_count() > 0).try_for_each(|table| writeln!(f, "{}\n", table.trim_fmt()))
}

impl Report {
    /// What the text says of the whole run.
    pub fn overview(&self) -> Overview<'_> {
        Overview(self)
    }

    fn summary(&self) -> Table {
        let Report { machine, cycles, macs, bound, dram, sram, .. } = self;
        let mut table = plain(&[]);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("model", self.model.clone());
        row("machine", format!("{} at {} MHz", machine.name, machine.clock_mhz));
        row("cycles", format!("{} ({:.3} ms)", grouped(cycles.total), self.time_ms));
        if cycles.attention > 0 {
            let share = percent(cycles.attention as f64 / cycles.total.max(1) as f64);
            row("attention", format!("{} cycles ({share})", grouped(cycles.attention)));
        }
        let ratio =
            bound.ratio.map_or_else(String::new, |ratio| format!("; the run takes {ratio:.3} times the larger"));
        let (compute, traffic) = (grouped_f64(bound.compute_cycles), grouped_f64(bound.dram_cycles));
        row("lower bounds", format!("compute {compute}, DRAM {traffic} cycles{ratio}"));
        row(
            "multiplications",
            format!(
                "{} needed, {} executed; {} of the MACs' cycles",
                grouped(macs.needed),
                grouped(macs.executed),
                percent(macs.utilisation)
            ),
        );
        row(
            "DRAM",
            format!(
                "{} B read, {} B written ({} and {} in whole bursts)",
                grouped(dram.read_bytes),
                grouped(dram.write_bytes),
                grouped(dram.burst_read_bytes),
                grouped(dram.burst_write_bytes)
            ),
        );
        let kinds: Vec<String> =
            dram.by_kind.iter().map(|(kind, bytes)| format!("{kind} {} B", grouped(*bytes))).collect();
        row("DRAM by kind", kinds.join(", "));
        row(
            "scratchpad",
            format!(
                "{} of {} B used; {} B read, {} B written",
                grouped(sram.touched_bytes),
                grouped(sram.capacity_bytes),
                grouped(sram.read_bytes),
                grouped(sram.written_bytes)
            ),
        );
        let kinds: Vec<String> =
            sram.by_kind.iter().map(|(kind, bytes)| format!("{kind} {} B", grouped(*bytes))).collect();
        row("scratchpad by kind", kinds.join(", "));
        if self.queries.sparser_read_bytes > 0 {
            row(
                "queries",
                format!(
                    "{} B read by the sparser engine, {} B of them forwarded by the denser engine",
                    grouped(self.queries.sparser_read_bytes),
                    grouped(self.queries.forwarded_bytes)
                ),
            );
        }
        row("instructions", grouped(self.instructions.total));
        table
    }

    fn units(&self) -> Table {
        let mut table = plain(&["unit", "busy", "", "waits for tokens", "lines", "channel", "barrier", "drained"]);
        for unit in Unit::ALL {
            let Some(UnitReport { busy, stalls }) = self.cycles.by_unit.get(unit.name()) else { continue };
            let tokens: u64 = stalls.waits.token.values().sum();
            let main = stalls.waits.token.iter().max_by_key(|(_, cycles)| **cycles);
            let mut waits = grouped(tokens);
            if let Some((sender, _)) = main {
                let _ = write!(waits, " (most: {sender})");
            }
            table.add_row([
                unit.name().to_owned(),
                grouped(*busy),
                percent(*busy as f64 / self.cycles.total.max(1) as f64),
                waits,
                grouped(stalls.waits.lines),
                grouped(stalls.waits.channel),
                grouped(stalls.waits.barrier),
                grouped(stalls.drained),
            ]);
        }
        table
    }

    /// The engines in total, and in the layers of which several took part; those of one ONNX node are taken together.
    fn engines(&self) -> Table {
        let mut table = plain(&["engine", "lines", "busy", "idle", "MAC slots used", "", "wasted", "layer"]);
        let mut add = |engines: &BTreeMap<String, EngineReport>, place: &str| {
            for unit in Unit::ALL {
                let Some(engine) = engines.get(unit.name()) else { continue };
                table.add_row([
                    unit.name().to_owned(),
                    range(engine.lines_min, engine.lines_max),
                    grouped(engine.busy),
                    idle(&engine.idle),
                    grouped(engine.mac_slots_used),
                    percent(engine.mac_slots_used as f64 / engine.mac_slots.max(1) as f64),
                    grouped(engine.mac_slots_wasted),
                    place.to_owned(),
                ]);
            }
        };
        add(&self.engines, "(all)");
        for layers in self.layers.chunk_by(|a, b| a.name == b.name) {
            let engines = merged(layers.iter().map(|layer| &layer.engines));
            if engines.len() > 1 {
                add(&engines, &layers[0].name);
            }
        }
        left(&mut table, 7);
        table
    }

    fn per_layer(&self) -> Table {
        let mut table =
            plain(&["layer", "operation", "cycles", "", "multiplications", "needed", "DRAM read B", "DRAM written B"]);
        for layer in &self.layers {
            table.add_row([
                layer.name.clone(),
                layer.operation.clone(),
                grouped(layer.cycles),
                percent(layer.cycles as f64 / self.cycles.total.max(1) as f64),
                grouped(layer.macs),
                grouped(layer.macs_needed),
                grouped(layer.dram_read_bytes),
                grouped(layer.dram_write_bytes),
            ]);
        }
        left(&mut table, 1);
        table
    }
}

/// All waits and the main reason.
fn idle(waits: &Waits) -> String {
    let Waits { token, lines, channel, barrier } = waits;
    let others = [("lines", *lines), ("channel", *channel), ("barrier", *barrier)];
    let reasons = || token.iter().map(|(unit, cycles)| (unit.as_str(), *cycles)).chain(others);
    let total = grouped(reasons().map(|(_, cycles)| cycles).fold(0, u64::saturating_add));
    match reasons().max_by_key(|(_, cycles)| *cycles) {
        Some((reason, 1..)) => format!("{total} (most: {reason})"),
        _ => total,
    }
}

fn range(min: u32, max: u32) -> String {
    if min == max { min.to_string() } else { format!("{min} to {max}") }
}

/// A number with its thousands apart.
fn grouped_f64(number: f64) -> String {
    grouped(number.round() as u64)
}
