//! The report of a run as text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use comfy_table::Table;
use vitcod_emulator::report::{
    Bound, DramRows, EngineReport, FetchReport, Instructions, LayerReport, Report, Resource,
    UnitReport, Waits, merged,
};
use vitcod_isa::energy::Energy;
use vitcod_isa::instr::Unit;

use crate::table::{decisions, grouped, left, percent, plain};

/// The report of a run as text.
pub struct RunText<'r>(pub &'r Report);

impl fmt::Display for RunText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunText(report) = self;
        RunOverview(report).fmt(f)?;
        write_tables(&[bounds(report), per_layer(report), dram_rows(report)], f)
    }
}

/// The report of a run as text, without the tables of layers.
pub struct RunOverview<'r>(pub &'r Report);

impl fmt::Display for RunOverview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunOverview(report) = self;
        write_tables(
            &[summary(report), units(report), engines(report), decisions(&report.decisions, true)],
            f,
        )
    }
}

fn write_tables(tables: &[Table], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    tables
        .iter()
        .filter(|table| table.row_count() > 0)
        .try_for_each(|table| writeln!(f, "{}\n", table.trim_fmt()))
}

fn summary(report: &Report) -> Table {
    let Report { machine, cycles, macs, bound, energy, dram, sram, .. } = report;
    let mut table = plain(&[]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("model", report.model.clone());
    row("machine", format!("{} at {} MHz", machine.name, machine.clock_mhz));
    row("cycles", format!("{} ({:.3} ms)", grouped(cycles.total), report.time_ms));
    if cycles.attention > 0 {
        let share = percent(cycles.attention as f64 / cycles.total.max(1) as f64);
        row("attention", format!("{} cycles ({share})", grouped(cycles.attention)));
    }
    let ratio = bound
        .ratio
        .map_or_else(String::new, |ratio| format!("; the run takes {ratio:.3} times the larger"));
    let Bound { compute_cycles, dram_cycles, softmax_cycles, vector_cycles, .. } = bound.of;
    let (compute, traffic) = (grouped_f64(compute_cycles), grouped_f64(dram_cycles));
    row("lower bounds", format!("compute {compute}, DRAM {traffic} cycles{ratio}"));
    let (softmax, vector) = (grouped_f64(softmax_cycles), grouped_f64(vector_cycles));
    row("other units", format!("softmax {softmax}, vector {vector} cycles at least"));
    row(
        "multiplications",
        format!(
            "{} needed, {} executed; {} of the MACs' cycles",
            grouped(macs.needed),
            grouped(macs.executed),
            percent(macs.utilisation)
        ),
    );
    let of_slots = |slots: u64| percent(slots as f64 / macs.slots.max(1) as f64);
    row(
        "MACs' other cycles",
        format!(
            "{} for multiplications beyond need, {} wasted on busy lines, {} on idle lines",
            of_slots(macs.executed.saturating_sub(macs.needed)),
            of_slots(macs.wasted_slots),
            of_slots(macs.idle_slots)
        ),
    );
    match energy {
        None => row("energy", "not stated by the machine".to_owned()),
        Some(energy) => {
            row("energy", energy_text(&energy.of));
            let (all, chip) = (energy.average_power_mw, energy.average_chip_power_mw);
            row("power", format!("{chip:.1} mW, {all:.1} mW with DRAM"));
        }
    }
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
    if let Some(rows) = &dram.rows {
        let DramRows { hits, misses, conflicts, refreshes } = *rows;
        row(
            "DRAM rows",
            format!(
                "{} bursts: {} hit an open row, {} a closed bank, {} another row; {} refreshes",
                grouped(rows.bursts()),
                percent(hits as f64 / rows.bursts().max(1) as f64),
                percent(misses as f64 / rows.bursts().max(1) as f64),
                percent(conflicts as f64 / rows.bursts().max(1) as f64),
                grouped(refreshes)
            ),
        );
    }
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
    if report.queries.sparser_read_bytes > 0 {
        row(
            "queries",
            format!(
                "{} B read by the sparser engine, {} B of them forwarded by the denser engine",
                grouped(report.queries.sparser_read_bytes),
                grouped(report.queries.forwarded_bytes)
            ),
        );
    }
    row("instructions", instructions(&report.instructions));
    table
}

fn instructions(Instructions { total, fetch, .. }: &Instructions) -> String {
    let Some(FetchReport { bytes, burst_bytes, word_cycles, queue_cycles, .. }) = fetch else {
        return grouped(*total);
    };
    format!(
        "{}, {} B ({} in whole bursts); the next waited {} cycles for its word, {} for its queue",
        grouped(*total),
        grouped(*bytes),
        grouped(*burst_bytes),
        grouped(*word_cycles),
        grouped(*queue_cycles)
    )
}

fn units(report: &Report) -> Table {
    let waits = ["waits for tokens", "fetch", "lines", "channel", "barrier", "drained"];
    let mut table = plain(&[&["unit", "busy", ""][..], &waits].concat());
    for unit in Unit::ALL {
        let Some(UnitReport { busy, stalls }) = report.cycles.by_unit.get(unit.name()) else {
            continue;
        };
        let tokens: u64 = stalls.waits.token.values().sum();
        let main = stalls.waits.token.iter().max_by_key(|(_, cycles)| **cycles);
        let mut waits = grouped(tokens);
        if let Some((sender, _)) = main {
            let _ = write!(waits, " (most: {sender})");
        }
        table.add_row([
            unit.name().to_owned(),
            grouped(*busy),
            percent(*busy as f64 / report.cycles.total.max(1) as f64),
            waits,
            grouped(stalls.waits.fetch),
            grouped(stalls.waits.lines),
            grouped(stalls.waits.channel),
            grouped(stalls.waits.barrier),
            grouped(stalls.drained),
        ]);
    }
    table
}

/// The engines in total, and in the layers that used several; layers of one ONNX node are merged.
fn engines(report: &Report) -> Table {
    let mut table =
        plain(&["engine", "lines", "busy", "idle", "MAC slots used", "", "wasted", "layer"]);
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
    add(&report.engines, "(all)");
    for layers in report.layers.chunk_by(|a, b| a.name == b.name) {
        let engines = merged(layers.iter().map(|layer| &layer.engines));
        if engines.len() > 1 {
            add(&engines, &layers[0].name);
        }
    }
    left(&mut table, 7);
    table
}

/// The lower bounds and the cycles of each layer.
fn bounds(report: &Report) -> Table {
    let header = [
        "layer",
        "cycles",
        "compute",
        "DRAM",
        "softmax",
        "vector",
        "bound by",
        "beyond it",
        "energy nJ",
    ];
    let columns = if report.energy.is_some() { header.len() } else { header.len() - 1 };
    let mut table = plain(&header[..columns]);
    for LayerReport { name, cycles, bound, energy, .. } in &report.layers {
        let resources =
            [bound.compute_cycles, bound.dram_cycles, bound.softmax_cycles, bound.vector_cycles];
        let beyond = *cycles as f64 - bound.combined_cycles;
        let sign = if beyond < -0.5 { "-" } else { "" };
        let mut row = vec![name.clone(), grouped(*cycles)];
        row.extend(resources.map(grouped_f64));
        row.push(bound.binding.map_or("", Resource::name).to_owned());
        row.push(format!("{sign}{}", grouped_f64(beyond.abs())));
        row.extend(energy.map(|energy| grouped_f64(energy.total_pj / 1e3)));
        table.add_row(row);
    }
    left(&mut table, 6);
    table
}

fn per_layer(report: &Report) -> Table {
    let mut table = plain(&[
        "layer",
        "operation",
        "cycles",
        "",
        "multiplications",
        "needed",
        "DRAM read B",
        "DRAM written B",
    ]);
    for layer in &report.layers {
        table.add_row([
            layer.name.clone(),
            layer.operation.clone(),
            grouped(layer.cycles),
            percent(layer.cycles as f64 / report.cycles.total.max(1) as f64),
            grouped(layer.macs),
            grouped(layer.macs_needed),
            grouped(layer.dram_read_bytes),
            grouped(layer.dram_write_bytes),
        ]);
    }
    left(&mut table, 1);
    table
}

/// What the bursts of each layer with any met in the banks of the DRAM; no rows if it has no banks.
fn dram_rows(report: &Report) -> Table {
    let mut table =
        plain(&["layer", "bursts", "row hits", "", "bank closed", "other row open", "refreshes"]);
    for LayerReport { name, dram_rows, .. } in &report.layers {
        let Some(rows) = dram_rows.filter(|rows| rows.bursts() > 0) else { continue };
        table.add_row([
            name.clone(),
            grouped(rows.bursts()),
            grouped(rows.hits),
            percent(rows.hits as f64 / rows.bursts().max(1) as f64),
            grouped(rows.misses),
            grouped(rows.conflicts),
            grouped(rows.refreshes),
        ]);
    }
    table
}

/// The energy by kind of event.
fn energy_text(energy: &Energy) -> String {
    let Energy { total_pj, mac_pj, result_pj, dram_pj, element_pj, static_pj, .. } = *energy;
    let scratchpad_pj = energy.sram_read_pj + energy.sram_write_pj;
    let parts = [
        ("MACs", mac_pj),
        ("requantisation and division", result_pj),
        ("scratchpad", scratchpad_pj),
        ("softmax and vector", element_pj),
        ("static", static_pj),
        ("DRAM", dram_pj),
    ];
    let share = |(name, pj): (&str, f64)| {
        format!("{name} {}", percent(if total_pj > 0.0 { pj / total_pj } else { 0.0 }))
    };
    format!("{} uJ: {}", three_digits(total_pj / 1e6), parts.map(share).join(", "))
}

/// A number with three significant digits, or with all digits before the decimal point.
fn three_digits(number: f64) -> String {
    match number {
        100.0.. => grouped_f64(number),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// The sum of all waits and their main reason.
fn idle(waits: &Waits) -> String {
    let Waits { token, fetch, lines, channel, barrier } = waits;
    let others =
        [("fetch", *fetch), ("lines", *lines), ("channel", *channel), ("barrier", *barrier)];
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

/// A number with separators between thousands.
fn grouped_f64(number: f64) -> String {
    grouped(number.round() as u64)
}
