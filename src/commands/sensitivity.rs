//! `vitcod sensitivity`: how results depend on the numbers of the machine.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use vitcod_compiler::codegen;
use vitcod_compiler::frontend;
use vitcod_compiler::ir::Graph;
use vitcod_compiler::synthetic::{self, AttentionCore};
use vitcod_emulator::{Emulator, Report};
use vitcod_isa::machine::Machine;
use vitcod_report::table::{grouped, left, plain};
use vitcod_support::diagnostics::did_you_mean;

use crate::calibration::CalibrationArgs;
use crate::files::Outputs;
use crate::import::{self, HostArg, ImportArgs};
use crate::machines::MachineArg;
use crate::pipeline::{self, Session};
use crate::progress::Progress;
use crate::sparsity_args::MaskArgs;

/// Compare machines that differ from one in a single number
///
/// Compiles a model, or without one the attention core of masks as in `vitcod attention`, for the
/// machine and for each changed one, and prints cycles, energy and DRAM traffic with their
/// differences. A model is quantised once, for the machine itself.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model; external data is read from its folder [default: the attention core of the masks]
    #[arg(value_name = "MODEL.onnx", required_unless_present = "masks")]
    model: Option<PathBuf>,

    #[command(flatten)]
    calibration: CalibrationArgs,

    #[command(flatten)]
    masks: MaskArgs,

    /// Features per head of the attention core
    #[arg(long, value_name = "D", required_unless_present = "model", conflicts_with = "model")]
    head_dim: Option<usize>,

    /// Compressed heads of queries and keys in DRAM of the attention core [default: no
    /// auto-encoder]
    #[arg(long, value_name = "E", conflicts_with = "model")]
    compressed_heads: Option<usize>,

    #[command(flatten)]
    machine: MachineArg,

    /// A number of the machine, by section and key as in its TOML, and what to make of it: values,
    /// or factors such as 0.5x; repeat for several numbers [default: the numbers that the paper
    /// leaves open, halved and doubled or so]
    #[arg(long, value_name = "KEY=V,...")]
    set: Vec<Setting>,

    /// Write the table as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,

    #[command(flatten)]
    host: HostArg,

    #[command(flatten)]
    import: ImportArgs,
}

/// What is changed if nothing is stated; a machine without one of these keys leaves it out.
const OPEN: [&str; 27] = [
    "lines.port_bytes=0.5x",
    "lines.fill_cycles=0,4x",
    "banks.row_ports=0.5x,2x,4x",
    "banks.count=0.5x,2x",
    "banks.accesses_per_cycle=1",
    "slots.denser_read=2,6",
    "slots.sparser_write=1,4",
    "slots.decoder=4,8",
    "slots.vector_read=1,4",
    "datapath.accumulators=0.5x,2x",
    "datapath.requantisers=0.5x,2x",
    "datapath.queued_rows=0.5x,2x",
    "datapath.mode_switch_cycles=0,2x",
    "datapath.dividers=0.5x,2x",
    "datapath.roots=0.5x,2x",
    "datapath.token_cycles=0,2x",
    "fetch.queue_depth=0.5x,2x",
    "fetch.buffer_bytes=0.25x",
    "dram.latency_cycles=0,4x",
    "dram.burst_bytes=0.5x,4x",
    "dram.bytes_per_cycle=0.5x,2x",
    "softmax.scores_per_cycle=0.5x,2x",
    "softmax.fill_cycles=0,4x",
    "vector.elements_per_cycle=0.5x,2x",
    "vector.fill_cycles=0,4x",
    "sram.bytes=0.5x,2x",
    "lines.count=0.5x,2x",
];

/// A number of a machine and what becomes of it.
#[derive(Clone, Debug)]
struct Setting {
    key: String,
    values: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    To(f64),
    By(f64),
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (key, values) = text.split_once('=').ok_or_else(|| {
            format!("{text:?}: expected KEY=VALUE, such as dram.latency_cycles=0")
        })?;
        let value = |value: &str| {
            let number = value.strip_suffix('x').unwrap_or(value);
            let parsed: f64 =
                number.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| {
                    format!("{value:?}: expected a number, or a factor such as 2x")
                })?;
            Ok(if value.ends_with('x') { Change::By(parsed) } else { Change::To(parsed) })
        };
        let values = values.split(',').map(value).collect::<Result<_, String>>()?;
        Ok(Setting { key: key.to_owned(), values })
    }
}

/// The table in JSON; the names of its fields are stable.
#[derive(Serialize)]
struct Table {
    model: String,
    machine: String,
    /// The machine itself first.
    machines: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// The changed number by section and key; `None` for the machine itself.
    key: Option<String>,
    /// Its value; `None` for the machine itself.
    value: Option<f64>,
    /// The machine's own value.
    own_value: Option<f64>,
    /// What the program takes, if there is one.
    cost: Option<Cost>,
    /// Why there is none.
    error: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
struct Cost {
    cycles: u64,
    /// `None` if the machine states no energies.
    energy_pj: Option<f64>,
    /// Read and written.
    dram_bytes: u64,
}

impl Cost {
    fn of(report: &Report) -> Cost {
        Cost {
            cycles: report.cycles.total,
            energy_pj: report.energy.as_ref().map(|energy| energy.of.total_pj),
            dram_bytes: report.dram.read_bytes + report.dram.write_bytes,
        }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let changed = changed(&machine, &args.set)?;
    let progress = Progress::new();
    let graph = quantised(args, &machine, &progress)?;
    progress.step("compiling for every machine");
    let cost = |machine: &Machine| -> anyhow::Result<Cost> {
        let program = codegen::compile(&graph, machine, codegen::Options::default())?;
        Ok(Cost::of(&Emulator::new(program.into())?.report()))
    };
    let own = cost(&machine).context("the machine itself")?;
    let rows: Vec<Row> = changed
        .into_par_iter()
        .map(|Changed { key, value, own, machine }| {
            let (cost, error) = match cost(&machine) {
                Ok(cost) => (Some(cost), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            };
            Row { key: Some(key), value: Some(value), own_value: Some(own), cost, error }
        })
        .collect();
    drop(progress);
    let first = Row { key: None, value: None, own_value: None, cost: Some(own), error: None };
    let table = Table {
        model: graph.name.clone(),
        machine: machine.name.clone(),
        machines: [first].into_iter().chain(rows).collect(),
    };
    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    [args.model.as_ref(), args.masks.masks.as_ref()]
        .into_iter()
        .flatten()
        .for_each(|path| files.keep(path));
    if let Some(path) = &args.report {
        files
            .stage(path, |file| Ok(writeln!(file, "{}", serde_json::to_string_pretty(&table)?)?))?;
    }
    files.commit()?;
    print(&table, own, out)
}

/// The quantised graph.
fn quantised(args: &Args, machine: &Machine, progress: &Progress) -> anyhow::Result<Graph> {
    let masks = args.masks.read()?;
    let Some(path) = &args.model else {
        let (Some(masks), Some(head_dim)) = (masks, args.head_dim) else {
            bail!("--masks and --head-dim are required without a model");
        };
        let minifloat = machine.softmax.minifloat;
        let compressed_heads = args.compressed_heads;
        let core = AttentionCore { head_dim, compressed_heads, minifloat, seed: 0 };
        return synthetic::attention_core(&masks, core).with_context(|| {
            args.masks.masks.iter().map(|path| path.display().to_string()).collect::<String>()
        });
    };
    progress.step("reading the model");
    let options = frontend::Options {
        masks: masks.as_ref(),
        host: args.host.host(),
        ..frontend::Options::default()
    };
    let imported = import::import(path, &args.import, options)?;
    let samples = args.calibration.read(&imported)?;
    let options =
        pipeline::Options { quantise: args.calibration.options(), ..pipeline::Options::default() };
    let session = Session { samples: samples.machine(), machine, options, progress };
    Ok(session.prepare(imported.graph)?.quantised.graph)
}

/// A machine with a changed number.
struct Changed {
    key: String,
    value: f64,
    /// The value that it has otherwise.
    own: f64,
    machine: Machine,
}

/// The changed machines.
fn changed(machine: &Machine, set: &[Setting]) -> anyhow::Result<Vec<Changed>> {
    let text = serde_json::to_value(machine)?;
    let mut found = Vec::new();
    if set.is_empty() {
        for setting in OPEN {
            let setting: Setting = setting.parse().map_err(|error: String| anyhow!(error))?;
            // A machine that lacks the number has nothing to compare, and some values are none.
            let Some(own) = number(&text, &setting.key) else { continue };
            for change in &setting.values {
                found.extend(
                    change_one(machine, &text, &setting.key, own, *change)
                        .ok()
                        .filter(|changed| changed.value != own),
                );
            }
        }
        return Ok(found);
    }
    for setting in set {
        let own = number(&text, &setting.key).ok_or_else(|| {
            let keys = numbers(&text);
            let help = did_you_mean(&setting.key, keys.iter().map(String::as_str));
            let help = help.map_or(String::new(), |help| format!("; {help}"));
            anyhow!("--set {}: {} states no such number{help}", setting.key, machine.name)
        })?;
        for change in &setting.values {
            found.push(change_one(machine, &text, &setting.key, own, *change)?);
        }
    }
    Ok(found)
}

/// The machine with another value of a number.
fn change_one(
    machine: &Machine,
    text: &Value,
    key: &str,
    own: f64,
    change: Change,
) -> anyhow::Result<Changed> {
    let value = match change {
        Change::To(value) => value,
        Change::By(factor) => own * factor,
    };
    let place = pointer(key);
    let mut text = text.clone();
    let slot = text.pointer_mut(&place).expect("the number has been read");
    // Counts are integers.
    *slot = match slot.is_u64() && value.fract() == 0.0 && value >= 0.0 {
        true => Value::from(value as u64),
        false => Value::from(value),
    };
    let refused = || format!("--set {key}={value}");
    let changed: Machine = serde_json::from_value(text).with_context(refused)?;
    let toml = changed.to_toml();
    let mut changed = Machine::from_toml(&toml).map_err(|problems| {
        anyhow!("{}\n\n{}", refused(), problems.render("the machine", &toml))
    })?;
    changed.name = format!("{}, {key}={value}", machine.name);
    Ok(Changed { key: key.to_owned(), value, own, machine: changed })
}

/// A key as a JSON pointer.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

fn number(text: &Value, key: &str) -> Option<f64> {
    text.pointer(&pointer(key))?.as_f64()
}

/// All numbers of a machine, in dotted form.
fn numbers(text: &Value) -> Vec<String> {
    let Value::Object(fields) = text else { return Vec::new() };
    let keys = fields.iter().flat_map(|(name, value)| match value {
        Value::Number(_) => vec![name.clone()],
        value => numbers(value).iter().map(|key| format!("{name}.{key}")).collect(),
    });
    keys.collect()
}

fn print(table: &Table, own: Cost, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        " {:?} on {} and on machines that differ in a number\n",
        table.model, table.machine
    )?;
    let mut text = plain(&[
        "changed",
        "from",
        "to",
        "cycles",
        "difference",
        "energy uJ",
        "difference",
        "DRAM B",
        "difference",
    ]);
    left(&mut text, 0);
    let percent = |value: f64, own: f64| {
        // No sign of zero.
        let change = (1000.0 * (value / own - 1.0)).round() / 10.0 + 0.0;
        if change == 0.0 { "0.0 %".to_owned() } else { format!("{change:+.1} %") }
    };
    let mut errors = String::new();
    for row in &table.machines {
        let value = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let name = row.key.clone().unwrap_or_else(|| "nothing".to_owned());
        let mut cells = vec![name.clone(), value(row.own_value), value(row.value)];
        match &row.cost {
            Some(cost) => {
                let energy = cost.energy_pj.zip(own.energy_pj);
                let is_own = row.key.is_none();
                let difference = |text: String| if is_own { String::new() } else { text };
                cells.extend([
                    grouped(cost.cycles),
                    difference(percent(cost.cycles as f64, own.cycles as f64)),
                    energy.map_or(String::new(), |(pj, _)| format!("{:.1}", pj / 1e6)),
                    difference(energy.map_or(String::new(), |(pj, own)| percent(pj, own))),
                    grouped(cost.dram_bytes),
                    difference(percent(cost.dram_bytes as f64, own.dram_bytes as f64)),
                ]);
            }
            None => {
                cells.push("none".to_owned());
                let error = row.error.as_deref().unwrap_or_default();
                let _ = writeln!(errors, " {name}={}: {error}", value(row.value));
            }
        }
        text.add_row(cells);
    }
    writeln!(out, "{}\n", text.trim_fmt())?;
    if !errors.is_empty() {
        writeln!(out, " There is no program for:\n{errors}")?;
    }
    Ok(())
}
