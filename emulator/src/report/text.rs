//! A report as text for people.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use vitcod_isa::instr::Unit;

use super::engines::merged;
use super::{EngineReport, Report, UnitReport, Waits};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in [self.summary(), self.units(), self.engines(), self.decisions(), self.per_layer()] {
            if table.row_count() > 0 {
                writeln!(f, "{}\n", table.trim_fmt())?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn summary(&self) -> Table {
        let Report { machine, cycles, macs, bound, dram, sram, .. } = self;
        let mut table = plain(&[]);
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("model", self.model.clone());
        row("machine", format!("{} at {} MHz", machine.name, machine.clock_mhz));
        row("cycles", format!("{} ({:.3} ms)", grouped(cycles.total), self.time_ms));
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
                grouped(sram.peak_bytes),
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

    /// Equal decisions of several layers are one line.
    fn decisions(&self) -> Table {
        let mut lines: Vec<([&str; 3], Vec<&str>)> = Vec::new();
        let mut line_of = BTreeMap::new();
        for decision in &self.decisions {
            let content = [decision.subject.as_str(), &decision.chosen, &decision.reason];
            let line = *line_of.entry(content).or_insert_with(|| {
                lines.push((content, Vec::new()));
                lines.len() - 1
            });
            lines[line].1.push(&decision.layer);
        }
        let mut table = plain(&["decision", "chosen", "because", "layer"]);
        for ([subject, chosen, reason], layers) in lines {
            let layers = match layers.as_slice() {
                [layer] => (*layer).to_owned(),
                layers => format!("{} layers", layers.len()),
            };
            table.add_row([subject, chosen, reason, &layers]);
        }
        (1..4).for_each(|column| left(&mut table, column));
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

/// A table whose columns but the first are numbers, where it has a header.
fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-')));
    if !header.is_empty() {
        table.set_header(header.iter().copied());
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    table
}

/// Makes a column one of text.
fn left(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Left);
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
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn grouped_f64(number: f64) -> String {
    grouped(number.round() as u64)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
