//! `vitcod bound`: what no program for some masks can beat.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use vitcod_compiler::bound::{CoreBound, Limits, ListCycles, core_bound};
use vitcod_compiler::synthetic::AttentionCore;
use vitcod_report::table::{grouped, left, plain};

use crate::files::Outputs;
use crate::machines::MachineArg;
use crate::sparsity_args::PolarityArg;

/// Print what no program for attention masks can beat on a machine
///
/// For each layer of the attention core of `vitcod attention`: the cycles of the MAC lines, of the
/// ports that read irregular rows, and of both with the best division between dense blocks and
/// lists; of requantisers, dividers, softmax and DRAM. The largest is the bound. Beside it: what
/// one list of all entries takes on all lines, and how much longer if queries and keys come in
/// order, or if a row serves one query each time. Nothing is compiled.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Attention mask, [layers, heads, queries, keys], bool or 0 and 1, in the format of `vitcod
    /// prune` and of the authors
    #[arg(long, value_name = "M.npy")]
    masks: PathBuf,

    #[command(flatten)]
    polarity: PolarityArg,

    /// Features per head
    #[arg(long, value_name = "D")]
    head_dim: usize,

    /// Compressed heads of queries and keys in DRAM, decoded to the heads of the masks [default: no
    /// auto-encoder]
    #[arg(long, value_name = "E")]
    compressed_heads: Option<usize>,

    #[command(flatten)]
    machine: MachineArg,

    /// Write the tables as JSON
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,
}

/// The tables in JSON; the names of its fields are stable.
#[derive(Serialize)]
struct Report<'a> {
    machine: &'a str,
    /// Digest of the machine's configuration.
    machine_digest: String,
    #[serde(flatten)]
    bound: &'a CoreBound,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let masks = args.polarity.read(&args.masks)?;
    let &Args { head_dim, compressed_heads, .. } = args;
    let minifloat = machine.softmax.minifloat;
    let core = AttentionCore { head_dim, compressed_heads, minifloat, seed: 0 };
    let bound =
        core_bound(&masks, core, &machine).with_context(|| args.masks.display().to_string())?;
    let mut files = Outputs::default();
    args.machine.keep(&mut files);
    files.keep(&args.masks);
    if let Some(path) = &args.report {
        let report =
            Report { machine: &machine.name, machine_digest: machine.digest(), bound: &bound };
        files.stage(path, |file| {
            Ok(writeln!(file, "{}", serde_json::to_string_pretty(&report)?)?)
        })?;
    }
    files.commit()?;
    print(&bound, &machine.name, out)
}

fn print(bound: &CoreBound, machine: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let CoreBound { layers, limits, bound_cycles, limited_by, layer_by_layer_cycles } = bound;
    writeln!(
        out,
        " On {machine} the attention core takes at least {} cycles, those of its {limited_by};",
        grouped(*bound_cycles)
    )?;
    writeln!(
        out,
        " {} if each layer waits for the one before, as in a model.\n",
        grouped(*layer_by_layer_cycles)
    )?;
    let mut table = plain(&[
        "layer",
        "kept entries",
        "lines",
        "row ports",
        "best division",
        "requantisers",
        "dividers",
        "softmax",
        "DRAM",
        "bound",
        "by",
    ]);
    let last = table.column_count() - 1;
    left(&mut table, last);
    let mut row = |name: String, kept: usize, limits: &Limits, (bound, by): (u64, &str)| {
        let cycles = |cycles: f64| grouped(cycles.ceil() as u64);
        table.add_row([
            name,
            grouped(kept as u64),
            cycles(limits.line_cycles),
            cycles(limits.row_port_cycles),
            grouped(limits.array_cycles),
            cycles(limits.requantiser_cycles),
            cycles(limits.divider_cycles),
            cycles(limits.softmax_cycles),
            cycles(limits.dram_cycles),
            grouped(bound),
            by.to_owned(),
        ]);
    };
    let mut kept = 0;
    for (number, layer) in layers.iter().enumerate() {
        kept += layer.kept_entries;
        let bound = (layer.bound_cycles, layer.limited_by);
        row(number.to_string(), layer.kept_entries, &layer.limits, bound);
    }
    row("all".to_owned(), kept, limits, (*bound_cycles, *limited_by));
    writeln!(out, "{}\n", table.trim_fmt())?;
    writeln!(
        out,
        " Lines and row ports as if all entries were in lists; the best division puts keys into dense blocks where that"
    )?;
    writeln!(out, " lowers the larger of both. docs/algorithm.md derives the limits.\n")?;

    let mut table = plain(&[
        "list of layer",
        "rows read",
        "cycles",
        "in order: rows",
        "cycles",
        "without sharing: rows",
        "cycles",
    ]);
    let mut sums = [ListCycles::default(); 3];
    let mut row = |name: String, lists: [ListCycles; 3]| {
        let cells = lists.iter().flat_map(|list| [list.rows as u64, list.cycles()]).map(grouped);
        table.add_row([name].into_iter().chain(cells));
    };
    for (number, layer) in layers.iter().enumerate() {
        let lists = [layer.list, layer.list_in_order, layer.list_without_sharing];
        for (sum, list) in sums.iter_mut().zip(&lists) {
            sum.score_cycles += list.score_cycles;
            sum.product_cycles += list.product_cycles;
            sum.rows += list.rows;
        }
        row(number.to_string(), lists);
    }
    row("all".to_owned(), sums);
    writeln!(out, "{}\n", table.trim_fmt())?;
    writeln!(
        out,
        " One list of the entries of each layer on all lines, scores and product, without queries that keep nearly all keys."
    )?;
    writeln!(
        out,
        " In order: queries and keys in rising order. Without sharing: a row serves one query each time it is read."
    )?;
    Ok(())
}
