//! The costs of steps, compared with published results.

use serde::Serialize;
use vitcod_compiler::masks::Masks;
use vitcod_emulator::Report;
use vitcod_isa::machine::Machine;

use super::organisations::OrganisationReport;
use super::parts::PartReport;
use crate::paper_results;

/// The table in JSON; the names of its fields are stable.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ablation {
    /// Name of the model.
    pub(super) model: String,
    pub(super) machine: AblatedMachine,
    pub(super) masks: AblatedMasks,
    /// The cost of each step, the dense one first.
    pub(super) steps: Vec<StepReport>,
    /// Gains of the steps.
    pub(super) comparisons: Vec<Comparison>,
    /// Gains of the parts of the method; empty unless requested.
    pub(super) parts: Vec<PartReport>,
    /// Gains on other machines; empty unless requested.
    pub(super) organisations: Vec<OrganisationReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AblatedMachine {
    pub(super) name: String,
    /// Digest of the configuration.
    pub(super) digest: String,
    pub(super) macs: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AblatedMasks {
    pub(super) layers: usize,
    pub(super) entries: usize,
    pub(super) kept_entries: usize,
    /// Share of the entries that are pruned.
    pub(super) sparsity: f64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct StepReport {
    pub(super) step: String,
    pub(super) cycles: u64,
    /// Cycles of the attention layers.
    pub(super) attention_cycles: u64,
    /// Cycles divided by those of the dense step.
    pub(super) factor_to_dense: f64,
    /// Cycles divided by those of the step before.
    pub(super) factor_to_previous: f64,
    /// Needed multiplications divided by MAC slots.
    pub(super) mac_utilisation: f64,
    /// Bytes read and written.
    pub(super) dram_bytes: u64,
    /// Share of the cycles in which the DRAM channel is busy.
    pub(super) dram_busy_share: f64,
    /// The larger of the lower bounds of MACs and DRAM.
    pub(super) bound_cycles: f64,
    /// Cycles divided by the bound; absent if that is 0.
    pub(super) bound_ratio: Option<f64>,
}

/// Our result and that of the paper.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) of: &'static str,
    pub(super) unit: Unit,
    pub(super) ours: f64,
    /// The paper's mean.
    pub(super) paper_mean: f64,
    /// The paper's result at 90 % sparsity, if stated.
    pub(super) paper_at_90_percent: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Attention cycles without the step divided by those with it.
    Factor,
    /// A share of 1.
    Share,
}

impl Ablation {
    /// The table of the reports of [`STEPS`](super::STEPS), of which the last may be missing.
    pub(super) fn new(
        model: &str,
        machine: &Machine,
        masks: &Masks,
        reports: &[(&'static str, Report)],
    ) -> Ablation {
        let mut steps: Vec<StepReport> = Vec::new();
        for (name, report) in reports {
            let (dense, previous) = (steps.first(), steps.last());
            steps.push(StepReport::new(name, report, machine, dense, previous));
        }
        Ablation {
            model: model.to_owned(),
            machine: AblatedMachine {
                name: machine.name.clone(),
                digest: machine.digest(),
                macs: machine.macs_per_cycle(),
            },
            masks: AblatedMasks {
                layers: masks.layers().len(),
                entries: masks.entries(),
                kept_entries: masks.kept(),
                sparsity: masks.sparsity(),
            },
            comparisons: comparisons(&steps),
            steps,
            parts: Vec::new(),
            organisations: Vec::new(),
        }
    }
}

impl StepReport {
    fn new(
        name: &str,
        report: &Report,
        machine: &Machine,
        dense: Option<&StepReport>,
        previous: Option<&StepReport>,
    ) -> StepReport {
        let Report { cycles, macs, dram, bound, instructions, .. } = report;
        let fetched = instructions.fetch.map_or(0, |fetch| fetch.burst_bytes);
        let bursts = dram.burst_read_bytes + dram.burst_write_bytes + fetched;
        let factor = |other: Option<&StepReport>| {
            other.map_or(1.0, |other| ratio(other.cycles, cycles.total))
        };
        StepReport {
            step: name.to_owned(),
            cycles: cycles.total,
            attention_cycles: cycles.attention,
            factor_to_dense: factor(dense),
            factor_to_previous: factor(previous),
            mac_utilisation: macs.utilisation,
            dram_bytes: dram.read_bytes + dram.write_bytes,
            dram_busy_share: bursts as f64 / machine.dram_capacity(cycles.total),
            bound_cycles: bound.of.compute_cycles.max(bound.of.dram_cycles),
            bound_ratio: bound.ratio,
        }
    }
}

/// The paper's results on core attention, and ours.
fn comparisons(steps: &[StepReport]) -> Vec<Comparison> {
    let [_, reordered, pruned, both, rest @ ..] = steps else { return Vec::new() };
    let factor = |of, without: &StepReport, paper: paper_results::Factors| Comparison {
        of,
        unit: Unit::Factor,
        ours: ratio(without.attention_cycles, both.attention_cycles),
        paper_mean: paper.mean,
        paper_at_90_percent: Some(paper.at_90_percent),
    };
    let movement = |of, step: &StepReport, share| Comparison {
        of,
        unit: Unit::Share,
        ours: step.dram_busy_share,
        paper_mean: share,
        paper_at_90_percent: None,
    };
    let mut comparisons = vec![
        factor("pruning, on top of reordering", reordered, paper_results::PRUNING),
        factor("reordering, on top of pruning", pruned, paper_results::REORDERING),
    ];
    if let [coded] = rest {
        let [without, with] = paper_results::DATA_MOVEMENT;
        comparisons.push(movement("data movement, without the auto-encoder", both, without));
        comparisons.push(movement("data movement, with the auto-encoder", coded, with));
    }
    comparisons
}

pub(super) fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}
