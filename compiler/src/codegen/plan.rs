//! The search over strategies: a graph is lowered by each, the candidates are scheduled, and the
//! best program wins.

use std::collections::{BTreeMap, BTreeSet};

use vitcod_isa::cost::cost;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::Options;
use crate::codegen::builder::{Builder, Lowered};
use crate::codegen::error::CodegenError;
use crate::codegen::group::Group;
use crate::codegen::lower::context::Planner;
use crate::codegen::lower::{GroupPlan, Lists, Memo};
use crate::codegen::residence::constant_pool::{self, ConstantPool, POOL_START};
use crate::codegen::residence::storage::Residence;
use crate::codegen::schedule::{self, Candidate, Found};
use crate::codegen::strategy::{
    Fusion, RESIDENT_PERCENT, SPARE_GROUPS, Strategy, TileGrain, drain_cycles,
};
use crate::codegen::{group, lower};
use crate::estimate::Estimate;
use crate::ir::{Graph, Op, OpKind};
use crate::tiled::Tasks;

/// Lowers a graph by every strategy and returns the plan with the best schedule.
///
/// # Errors
/// The graph holds operations that no instruction computes, not even the smallest tiles of a group
/// fit, or no schedule can be placed.
pub(crate) fn choose(
    graph: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<(Plan, Found), CodegenError> {
    let graph = &group::views::planes_removed(graph);
    let groups = group::form::form(graph).map_err(CodegenError::Unsupported)?;
    let fusions = fusions(groups, graph);
    let mut lists = Lists::new(options.packing);
    let mut failure = None;
    let mut plans = Vec::new();
    for (fusion, groups) in &fusions {
        let mut residents = BTreeSet::new();
        let strategies = RESIDENT_PERCENT
            .iter()
            .flat_map(|percent| TileGrain::ALL.map(|grain| (*percent, grain)));
        for (resident_percent, grain) in strategies {
            let strategy = Strategy { fusion: *fusion, resident_percent, grain, spare_groups: 0 };
            let residence = strategy.residence(graph, machine, groups);
            // A smaller share may select the same resident tensors. The layers of an MLP are
            // interleaved only if the tensor between them is spilled.
            let storages = residence.resident_storages();
            let is_known = !residents.insert((storages, grain == TileGrain::Fine));
            if is_known || fusion.mlps && !may_interleave(groups, &residence) {
                continue;
            }
            let mut tilings = Vec::new();
            for spare_groups in spare_groups(graph, machine) {
                let strategy = Strategy { spare_groups: *spare_groups, ..strategy };
                let residence = strategy.residence(graph, machine, groups);
                let mut planner =
                    Planner::new(graph, machine, &residence, grain, strategy.spare_groups);
                // More groups that may be left are not always left.
                let tiling = lower::sparse_tilings(&mut planner, &mut lists, groups).ok();
                if tiling.is_some() && tilings.contains(&tiling) {
                    continue;
                }
                tilings.push(tiling);
                match Lowering::new(graph, machine, groups, strategy, residence, &mut lists) {
                    Ok(lowering) => plans.push(lowering),
                    Err(error @ CodegenError::Unsupported(_)) => return Err(error),
                    // The last plan without fusion leaves the whole scratchpad to tiles.
                    Err(error) if *fusion == Fusion::default() => failure = Some(error),
                    Err(_) => {}
                }
            }
        }
    }
    if let (true, Some(failure)) = (plans.is_empty(), failure) {
        return Err(failure);
    }
    plans.sort_by_key(|lowering| lowering.estimate.weighted_cycles());
    plans.dedup_by_key(|lowering| (lowering.estimate, lowering.tasks.tasks.len()));
    let candidates: Vec<Candidate<'_>> = (plans.iter())
        .map(|Lowering { estimate, tasks, .. }| Candidate {
            weighted_cycles: estimate.weighted_cycles(),
            tasks,
        })
        .collect();
    let found =
        schedule::run(&candidates, machine).ok_or_else(|| CodegenError::no_placement(machine))?;
    let decisions = if options.explain { decisions(graph, &plans, &found) } else { Vec::new() };
    let Lowering { residence, pool, tasks, layers, .. } = plans.swap_remove(found.candidate);
    Ok((Plan { residence, pool, tasks, layers, decisions }, found))
}

/// The numbers of groups of lines that lists may leave to other units, see [`Strategy`].
fn spare_groups(graph: &Graph, machine: &Machine) -> &'static [u16] {
    let is_list = |op: &Op| matches!(graph.op(*op).kind, OpKind::CscSddmm { .. });
    let limited = machine.organisation().is_some() && graph.order.iter().any(is_list);
    if limited { &SPARE_GROUPS } else { &SPARE_GROUPS[..1] }
}

/// Whether a group is an MLP whose layers may be interleaved: the tensor between them is spilled.
fn may_interleave(groups: &[Group], residence: &Residence) -> bool {
    groups.iter().filter_map(Group::mlp).any(|mlp| !residence.on_chip(mlp.first.result))
}

/// The decisions of the winning lowering, and the choice among strategies.
fn decisions(graph: &Graph, plans: &[Lowering<'_>], found: &Found) -> Vec<Decision> {
    let best = &plans[found.candidate];
    let choice = Decision {
        layer: graph.name.clone(),
        subject: "plan".to_owned(),
        chosen: best.strategy.to_string(),
        reason: format!(
            "lowest energy-delay product of {} timed schedules; {} were tried",
            found.timed, found.tried
        ),
        alternatives: plans.iter().map(Lowering::alternative).collect(),
    };
    let places = best.residence.decisions(graph, best.groups);
    let groups = best.group_plans.iter().flat_map(|plan| plan.decisions(graph));
    [choice].into_iter().chain(places).chain(groups).collect()
}

/// The groups without fusion, and each fusion that changes them.
fn fusions(groups: Vec<Group>, graph: &Graph) -> BTreeMap<Fusion, Vec<Group>> {
    let projections = group::fuse::with_projections(&groups, graph);
    let mlps = group::fuse::with_mlps(projections.as_ref().unwrap_or(&groups), graph);
    let fused = Fusion { projections: projections.is_some(), mlps: false };
    let mut fusions = BTreeMap::from([(Fusion::default(), groups)]);
    fusions.extend(mlps.map(|groups| (Fusion { mlps: true, ..fused }, groups)));
    fusions.extend(projections.map(|groups| (fused, groups)));
    fusions
}

/// The plan of a graph: its tasks in program order, and the residence of their operands.
pub(crate) struct Plan {
    pub(crate) residence: Residence,
    pub(crate) pool: ConstantPool,
    pub(crate) tasks: Tasks,
    /// The operation of each layer.
    pub(crate) layers: Vec<Op>,
    /// The decisions, if they were requested.
    pub(crate) decisions: Vec<Decision>,
}

/// A graph lowered by a strategy.
struct Lowering<'g> {
    strategy: Strategy,
    groups: &'g [Group],
    group_plans: Vec<GroupPlan<'g>>,
    estimate: Estimate,
    residence: Residence,
    pool: ConstantPool,
    tasks: Tasks,
    layers: Vec<Op>,
}

impl<'g> Lowering<'g> {
    fn new(
        graph: &Graph,
        machine: &Machine,
        groups: &'g [Group],
        strategy: Strategy,
        mut residence: Residence,
        lists: &mut Lists,
    ) -> Result<Lowering<'g>, CodegenError> {
        if residence.dram_bytes > POOL_START {
            let bytes = residence.dram_bytes;
            let message =
                format!("the model needs {bytes} bytes of DRAM, expected at most {POOL_START}");
            return Err(CodegenError::Unsupported(message.into()));
        }
        let mut planner =
            Planner::new(graph, machine, &residence, strategy.grain, strategy.spare_groups);
        let mut memo = Memo::default();
        let choose = |(index, group): (usize, &'g Group)| {
            planner.enter(index);
            lower::choose(&planner, &mut memo, lists, group)
        };
        let mut group_plans: Vec<GroupPlan<'g>> =
            groups.iter().enumerate().map(choose).collect::<Result<_, _>>()?;
        lower::share_lines(&mut group_plans, graph);
        let mut builder = Builder::new(graph, machine, &residence);
        for (index, plan) in group_plans.iter().enumerate() {
            builder.enter(index);
            lower::emit(&mut builder, plan);
        }
        let Lowered { mut tasks, mut pool, layers } = builder.finish();
        constant_pool::place(&mut pool, &mut residence, &mut tasks);
        tasks.image_bytes = residence.image_bytes;
        let estimate = estimate(&tasks, machine);
        Ok(Lowering { strategy, groups, group_plans, estimate, residence, pool, tasks, layers })
    }

    fn alternative(&self) -> Alternative {
        let Estimate { cycles, dram_bytes, .. } = self.estimate;
        Alternative { name: self.strategy.to_string(), cycles, dram_bytes }
    }
}

/// Estimates tasks under the assumption that everything overlaps: the cycles of the busier of MAC
/// lines and DRAM channel, with two drains for each instruction on the lines, because small tiles
/// wait for each other.
fn estimate(tasks: &Tasks, machine: &Machine) -> Estimate {
    let (mut lines, mut dram_bytes) = (0, 0);
    for task in &tasks.tasks {
        let cost = cost(&task.op, machine);
        dram_bytes += cost.burst_bytes;
        if let Some(taken) = cost.lines {
            let share = cost.cycles * u64::from(taken.count) / u64::from(machine.lines.count);
            lines += share + 2 * drain_cycles(machine);
        }
    }
    Estimate::new(machine, lines.max(machine.transfer_cycles(dram_bytes)), dram_bytes)
}
