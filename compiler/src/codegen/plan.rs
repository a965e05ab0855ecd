//! The search over strategies: a graph is lowered by each, the candidates are scheduled, and the
//! best program wins.

use crate::codegen::lower::lower;
use crate::codegen::price;
use std::collections::{BTreeMap, BTreeSet};

use vitcod_isa::cost::cost;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Alternative, Decision};

use crate::codegen::builder::{Builder, Lowered};
use crate::codegen::error::CodegenError;
use crate::codegen::group::Group;
use crate::codegen::residence::constant_pool;
use crate::codegen::residence::constant_pool::{ConstantPool, LISTS};
use crate::codegen::residence::storage::Residence;
use crate::codegen::search::{Candidate, Found};
use crate::codegen::strategy::{Fusion, RESIDENT_PERCENT, Strategy, TileGrain};
use crate::codegen::{group, no_placement, search, strategy};
use crate::ir::{Graph, Op};
use crate::tiled::Tasks;

/// Of the ways to lower a graph the one with the best schedule, and that.
pub(crate) fn choose(
    graph: &Graph,
    reference: &Graph,
    machine: &Machine,
    explain: bool,
) -> Result<(Plan, Found), CodegenError> {
    let groups = group::form::form(graph).map_err(CodegenError::Unsupported)?;
    let divisions = divisions(groups, graph);
    let mut failure = None;
    let mut plans = Vec::new();
    for (fusion, groups) in &divisions {
        let mut residents = BTreeSet::new();
        let ways = RESIDENT_PERCENT
            .iter()
            .flat_map(|resident_percent| TileGrain::ALL.map(|grain| (*resident_percent, grain)));
        for (resident_percent, grain) in ways {
            let way = Strategy { fusion: *fusion, resident_percent, grain };
            let residence = way.residence(graph, machine, groups);
            // Less room may hold the same, and layers are interleaved only by way of DRAM.
            let known = !residents.insert((residence.on_chip(), grain == TileGrain::Fine));
            if known || fusion.mlps && !groups.iter().any(|group| group.may_interleave(&residence))
            {
                continue;
            }
            match Plan::new([graph, reference], machine, groups, way, residence, false) {
                Ok(plan) => plans.push(plan),
                Err(error @ CodegenError::Unsupported(_)) => return Err(error),
                // The last plan without fusion leaves all room to tiles.
                Err(error) if *fusion == Fusion::default() => failure = Some(error),
                Err(_) => {}
            }
        }
    }
    if let (true, Some(failure)) = (plans.is_empty(), failure) {
        return Err(failure);
    }
    plans.sort_by_key(|plan| plan.estimate.price());
    plans.dedup_by_key(|plan| (plan.estimate, plan.tasks.tasks.len()));
    let candidates: Vec<Candidate<'_>> = (plans.iter())
        .map(|Plan { estimate, tasks, residence, .. }| Candidate {
            price: estimate.price(),
            tasks,
            image_bytes: residence.image_bytes,
        })
        .collect();
    let found = search::run(&candidates, machine).ok_or_else(|| no_placement(machine))?;
    if explain {
        let way = plans[found.candidate].way;
        let choice = Decision {
            layer: graph.name.clone(),
            subject: "plan".to_owned(),
            chosen: way.to_string(),
            reason: format!(
                "the lowest price of {} schedules that were timed; {} were tried",
                found.timed, found.tried
            ),
            alternatives: plans.iter().map(Plan::alternative).collect(),
        };
        let groups = &divisions[&way.fusion];
        // The same once more, with a record of what is decided on the way.
        let residence = way.residence(graph, machine, groups);
        let plan = Plan::new([graph, reference], machine, groups, way, residence, true)?;
        let places = plan.residence.decisions(graph, groups);
        let decisions = [choice].into_iter().chain(places).chain(plan.decisions).collect();
        return Ok((Plan { decisions, ..plan }, found));
    }
    Ok((plans.swap_remove(found.candidate), found))
}

/// The groups of a graph, and what becomes of them by fusion.
pub(crate) fn divisions(groups: Vec<Group>, graph: &Graph) -> BTreeMap<Fusion, Vec<Group>> {
    let projections = group::fuse::with_projections(&groups, graph);
    let mlps = group::fuse::with_mlps(projections.as_ref().unwrap_or(&groups), graph);
    let fused = Fusion { projections: projections.is_some(), mlps: false };
    let mut divisions = BTreeMap::from([(Fusion::default(), groups)]);
    divisions.extend(mlps.map(|groups| (Fusion { mlps: true, ..fused }, groups)));
    divisions.extend(projections.map(|groups| (fused, groups)));
    divisions
}

/// A way to lower a graph, and what comes of it.
pub(crate) struct Plan {
    pub(crate) way: Strategy,
    pub(crate) estimate: Estimate,
    pub(crate) residence: Residence,
    pub(crate) pool: ConstantPool,
    pub(crate) tasks: Tasks,
    /// The operations that layers stand for.
    pub(crate) layers: Vec<Op>,
    /// What was decided, if that was asked for.
    pub(crate) decisions: Vec<Decision>,
}

impl Plan {
    pub(crate) fn new(
        [graph, reference]: [&Graph; 2],
        machine: &Machine,
        groups: &[Group],
        way: Strategy,
        mut residence: Residence,
        explain: bool,
    ) -> Result<Plan, CodegenError> {
        if residence.dram_bytes > LISTS {
            let message = format!(
                "the model takes {} bytes of DRAM; {LISTS} are the most",
                residence.dram_bytes
            );
            return Err(CodegenError::Unsupported(vec![message]));
        }
        let builder = Builder::new(graph, machine, &residence, way.grain);
        let builder = if explain { builder.explaining() } else { builder };
        let Lowered { mut tasks, mut pool, layers, decisions } = lower(builder, groups)?;
        pool.keep(reference, graph, &residence);
        constant_pool::place(&mut pool, &mut residence, &mut tasks);
        let estimate = Estimate::of(&tasks, machine);
        Ok(Plan { way, estimate, residence, pool, tasks, layers, decisions })
    }

    pub(crate) fn alternative(&self) -> Alternative {
        let Estimate { cycles, dram_bytes, .. } = self.estimate;
        Alternative { name: self.way.to_string(), cycles, dram_bytes }
    }
}

/// What tasks take if all that can overlap does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Those of the busier of MAC lines and DRAM channel, with a drain for each instruction of the
    /// lines, because small tiles wait for each other.
    pub(crate) cycles: u64,
    /// Cycles of the channel.
    pub(crate) channel: u64,
    /// Bytes that pass the channel, in whole bursts.
    pub(crate) dram_bytes: u64,
}

impl Estimate {
    pub(crate) fn of(tasks: &Tasks, machine: &Machine) -> Estimate {
        let (mut lines, mut dram_bytes) = (0, 0);
        for task in &tasks.tasks {
            let cost = cost(&task.op, machine);
            dram_bytes += cost.burst_bytes;
            if let Some(taken) = cost.lines {
                let share = cost.cycles * u64::from(taken.count) / u64::from(machine.lines.count);
                lines += share + 2 * strategy::drain_cycles(machine);
            }
        }
        let channel = dram_bytes * 1000 / machine.dram_millibytes_per_cycle();
        Estimate { cycles: lines.max(channel), channel, dram_bytes }
    }

    /// What plans are compared by.
    pub(crate) fn price(&self) -> u64 {
        price::of_part(self.cycles, self.channel)
    }
}
