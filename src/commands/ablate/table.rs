//! The table as text.

use std::io::Write;

use vitcod_report::table::{grouped, percent, plain};

use super::STEPS;
use super::measure::{Ablation, Unit};
use super::{organisations, parts};

/// Prints an ablation.
pub(super) fn print(ablation: &Ablation, out: &mut dyn Write) -> anyhow::Result<()> {
    let Ablation { model, machine, masks, steps, comparisons, parts, organisations } = ablation;
    writeln!(out, " {model:?} on {}: {} MACs", machine.name, grouped(machine.macs))?;
    let (kept, entries) = (grouped(masks.kept_entries as u64), grouped(masks.entries as u64));
    writeln!(
        out,
        " {kept} of {entries} attention entries kept: {:.2} % sparse\n",
        100.0 * masks.sparsity
    )?;

    let mut table = plain(&[
        "step",
        "cycles",
        "of attention",
        "dense / this",
        "previous / this",
        "MACs used",
        "DRAM B",
        "channel busy",
        "cycles / bound",
    ]);
    for step in steps {
        table.add_row([
            step.step.clone(),
            grouped(step.cycles),
            grouped(step.attention_cycles),
            format!("{:.2}", step.factor_to_dense),
            format!("{:.2}", step.factor_to_previous),
            percent(step.mac_utilisation),
            grouped(step.dram_bytes),
            percent(step.dram_busy_share),
            step.bound_ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        ]);
    }
    writeln!(out, "{}\n", table.trim_fmt())?;
    writeln!(
        out,
        " Reordering alone makes every key a global token, so it costs what dense costs."
    )?;
    if steps.len() < STEPS.len() {
        writeln!(out, " There is no auto-encoder: --compressed-heads E adds its step.")?;
    }

    let mut table = plain(&["core attention", "ours", "paper, mean", "paper, 90 % sparse"]);
    for comparison in comparisons {
        let text = |figure: f64| match comparison.unit {
            Unit::Factor => format!("{figure:.2}"),
            Unit::Share => percent(figure),
        };
        let at_90_percent = comparison.paper_at_90_percent.map_or_else(String::new, text);
        table.add_row([
            comparison.of.to_owned(),
            text(comparison.ours),
            text(comparison.paper_mean),
            at_90_percent,
        ]);
    }
    writeln!(out, "\n{}\n", table.trim_fmt())?;
    writeln!(
        out,
        " Factors: how many times as long attention takes without the step. Data movement: of the paper's latency, the"
    )?;
    writeln!(
        out,
        " share in which data move; of our whole run, the share in which the DRAM channel is busy, computing meanwhile."
    )?;
    if !(parts.is_empty() && organisations.is_empty()) {
        writeln!(out)?;
    }
    parts::print(parts, out)?;
    organisations::print(organisations, out)
}
