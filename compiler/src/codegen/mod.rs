//! From a quantised graph to a program: lowering to tile-sized tasks, scheduling, emission.
//!
//! ```text
//! quantised graph          within what instructions can hold   (limits)
//!   -> split graph         masked attention as tasks for the two engines   (crate::split)
//!   -> groups     operations that share tiles (a linear layer with its activation and its residual add, attention)
//!   -> storage    where every tensor between groups lives: in the scratchpad or in DRAM
//!   -> tiled      tile-sized instructions on buffers that have no address yet, in program order   (linear, attention, rows)
//!   -> search     tasks are ordered, buffers placed, conflicting accesses ordered by tokens; the lowest price wins
//!        prefetch   program order, loads as far ahead of their use as memory allows, or
//!        schedule   tasks as they can start
//!        place      addresses by lifetimes
//!   -> scheduled  the same instructions in another order, buffers at addresses
//!   -> Program    conflicting accesses of different units ordered by tokens   (tokens)
//! ```
//!
//! Tiled and scheduled programs are [stages](crate::tiled) that can be looked at, written and run:
//! [`tile`], [`schedule`] and [`emit`] go from one to the next. [`compile`] looks at several
//! tilings before it decides for one.
//!
//! The program order alone defines the result: executed one by one, the tasks compute the graph.
//! Every later step keeps that result: prefetch moves a load only over tasks that do not touch what
//! it touches, placement gives buffers that live at the same time different addresses, and tokens
//! order all that conflicts, by [`vitcod_isa::effects`].
//!
//! Memory is shared out by two budgets: for tensors that stay on chip, and for loads ahead of their
//! use. If placement finds no room, smaller ones are tried: more travels and more waits, but each
//! machine with room for the smallest tiles compiles.

mod attention;
mod coder;
mod frame;
mod groups;
mod left;
mod limits;
mod linear;
mod lists;
mod map;
mod moves;
mod place;
mod prefetch;
mod price;
mod product;
mod ring;
mod rows;
mod schedule;
mod search;
mod split;
mod storage;
mod task;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vitcod_isa::check::{CheckError, remove_redundant_tokens};
use vitcod_isa::cost::cost;
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Alternative, Decision, Program};

use crate::ir::{Graph, Op, OpKind, Stage, VerifyError};
use crate::split::{self as engines, GlobalTokens, Polarised, SplitError};
use crate::tiled::{self, Scheduled, Tasks, Tiled};
use groups::Group;
use lists::{LISTS, Lists};
use search::{Candidate, Found};
use storage::Storages;
use task::{Builder, Grain, Lowered};

/// Why a graph cannot become a program.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CodegenError {
    /// The graph is not quantised.
    #[error("the graph is {0}, not quantised")]
    Stage(Stage),
    /// The graph breaks an invariant of its stage.
    #[error(transparent)]
    Malformed(#[from] VerifyError),
    /// Masked attention that cannot be divided between the engines.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Operations and tensors that no instruction computes or holds, all of them.
    #[error("the model cannot be lowered:\n{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// Not even the smallest tiles of a layer fit.
    #[error(
        "{machine} is too small for {layer}: its smallest tiles take {needed} bytes of the scratchpad's {capacity}"
    )]
    TooSmall {
        /// The machine.
        machine: String,
        /// The layer, by its ONNX node.
        layer: String,
        /// Bytes that the smallest tiles take.
        needed: u64,
        /// Bytes that there are.
        capacity: u64,
    },
    /// Buffers that fit one by one leave no room for each other, whatever stays on chip.
    #[error("no placement of the program's buffers in the {capacity} bytes of {machine} was found")]
    NoPlacement {
        /// The machine.
        machine: String,
        /// Bytes that there are.
        capacity: u64,
    },
    /// A fault of the compiler: buffers overlap that live at the same time.
    #[error(
        "the placement of the program's buffers is wrong; this is a fault of the compiler:\n{0}"
    )]
    Misplaced(tiled::VerifyError),
    /// A fault of the compiler: the verifier refuses what it made.
    #[error("the compiled program must not run; this is a fault of the compiler:\n{0}")]
    Rejected(#[from] CheckError),
}

/// Percentages of the scratchpad that tensors between groups may fill. Each is lowered; the best by
/// [`estimate`] is taken first.
const RESIDENT_PERCENT: [u64; 7] = [100, 85, 70, 55, 40, 20, 0];

/// What the user decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which keys of masked attention make the denser engine's blocks.
    pub globals: GlobalTokens,
    /// Whether the program says for every layer what was costed.
    pub explain: bool,
}

/// Compiles a quantised graph for a machine.
///
/// The program carries the graph, its constants by reference into the program's image.
///
/// # Errors
/// The graph is not a well-formed quantised graph, holds what no instruction computes, or does not
/// fit the machine.
pub fn compile(
    graph: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<Program, CodegenError> {
    if graph.stage != Stage::Quantised {
        return Err(CodegenError::Stage(graph.stage));
    }
    graph.verify()?;
    let problems = limits::check(graph);
    if !problems.is_empty() {
        return Err(CodegenError::Unsupported(problems));
    }
    let (split, polarised) = engines::run(graph, machine, options.globals)?;
    let (price, mut program) = generate(&split, graph, machine, options)?;
    program.header.decisions.splice(0..0, polarised.iter().map(Polarised::decision));
    // The cost model of one layer does not see how layers overlap, the program does.
    if options.globals == GlobalTokens::Auto && polarised.iter().any(Polarised::has_globals) {
        let (split, polarised) = engines::run(graph, machine, GlobalTokens::NONE)?;
        if let Ok((price_without, mut without)) = generate(&split, graph, machine, options)
            && price_without < price
        {
            let reason = "a program without global tokens has a lower product of energy and time than one with those that the cost model finds";
            let decision =
                |layer: &Polarised| Decision { reason: reason.to_owned(), ..layer.decision() };
            without.header.decisions.splice(0..0, polarised.iter().map(decision));
            return Ok(without);
        }
    }
    Ok(program)
}

/// The program of a split graph, and what decides between programs; `reference` is the quantised
/// one, which the program carries.
fn generate(
    graph: &Graph,
    reference: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<(u128, Program), CodegenError> {
    let (plan, found) = choose(graph, reference, machine, options.explain)?;
    let price = found.price;
    let scheduled = found.apply(frame::tiled([graph, reference], machine, plan));
    debug_assert_eq!(scheduled.verify(), Ok(()));
    let program = emit(&scheduled)?;
    // What was timed with all tokens takes as long with those that it needs.
    debug_assert_eq!(price::of_program(&program.code, machine), price);
    Ok((price, program))
}

/// Tiles a split graph for a machine: of several ways the one whose best schedule has the lowest
/// price.
///
/// # Errors
/// The graph is not a well-formed split graph, holds what no instruction computes, or does not fit
/// the machine.
pub fn tile(graph: &Graph, machine: &Machine) -> Result<Tiled, CodegenError> {
    graph.verify()?;
    let problems = limits::check(graph);
    if !problems.is_empty() {
        return Err(CodegenError::Unsupported(problems));
    }
    let (plan, _) = choose(graph, graph, machine, false)?;
    Ok(frame::tiled([graph, graph], machine, plan))
}

/// Orders the tasks of a program and places its buffers: of several ways the one of the lowest
/// price.
///
/// # Errors
/// No placement was found.
pub fn schedule(tiled: Tiled) -> Result<Scheduled, CodegenError> {
    let candidate =
        Candidate { price: 1, tasks: &tiled.tasks, image_bytes: tiled.image.len() as u64 };
    let found =
        search::run(&[candidate], &tiled.machine).ok_or_else(|| no_placement(&tiled.machine))?;
    Ok(found.apply(tiled))
}

/// The program of a schedule: its instructions with the tokens that they need and no others.
///
/// # Errors
/// Buffers that live at the same time overlap, or the verifier refuses the program: the schedule is
/// unsound. Both are checked in every build.
pub fn emit(scheduled: &Scheduled) -> Result<Program, CodegenError> {
    scheduled.verify_placement().map_err(CodegenError::Misplaced)?;
    let Scheduled { tiled: Tiled { header, machine, image, ir, tasks }, addresses } = scheduled;
    let mut layer_of: Vec<u32> = tasks.tasks.iter().map(|task| task.layer).collect();
    // The end belongs to the last one.
    layer_of.push(header.layers.len().saturating_sub(1) as u32);
    let mut program = Program {
        header: header.clone(),
        machine: machine.clone(),
        code: tokens::insert(&tasks.tasks, addresses, image.len() as u64),
        layer_of,
        image: image.clone(),
        ir: ir.clone(),
    };
    // Which is to say that it is verified: what the compiler emits is sound, or it is not emitted.
    remove_redundant_tokens(&mut program)?;
    Ok(program)
}

fn no_placement(machine: &Machine) -> CodegenError {
    CodegenError::NoPlacement { machine: machine.name.clone(), capacity: machine.sram.bytes.into() }
}

/// Of the ways to lower a graph the one with the best schedule, and that.
fn choose(
    graph: &Graph,
    reference: &Graph,
    machine: &Machine,
    explain: bool,
) -> Result<(Plan, Found), CodegenError> {
    let groups = groups::form(graph).map_err(CodegenError::Unsupported)?;
    let divisions = divisions(groups, graph);
    let mut failure = None;
    let mut plans = Vec::new();
    for (fusion, groups) in &divisions {
        let mut residents = BTreeSet::new();
        let ways =
            RESIDENT_PERCENT.iter().flat_map(|percent| Grain::ALL.map(|grain| (*percent, grain)));
        for (percent, grain) in ways {
            let way = Way { fusion: *fusion, percent, grain };
            let storages = way.storages(graph, machine, groups);
            // Less room may hold the same, and layers are interleaved only by way of DRAM.
            let known = !residents.insert((storages.on_chip(), grain == Grain::Fine));
            if known || fusion.mlps && !groups.iter().any(|group| group.may_interleave(&storages)) {
                continue;
            }
            match Plan::new([graph, reference], machine, groups, way, storages, false) {
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
        .map(|Plan { estimate, tasks, storages, .. }| Candidate {
            price: estimate.price(),
            tasks,
            image_bytes: storages.image_bytes,
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
        let storages = way.storages(graph, machine, groups);
        let plan = Plan::new([graph, reference], machine, groups, way, storages, true)?;
        let places = plan.storages.decisions(graph, groups);
        let decisions = [choice].into_iter().chain(places).chain(plan.decisions).collect();
        return Ok((Plan { decisions, ..plan }, found));
    }
    Ok((plans.swap_remove(found.candidate), found))
}

/// The groups of a graph, and what becomes of them by fusion.
fn divisions(groups: Vec<Group>, graph: &Graph) -> BTreeMap<Fusion, Vec<Group>> {
    let projections = groups::with_projections(&groups, graph);
    let mlps = groups::with_mlps(projections.as_ref().unwrap_or(&groups), graph);
    let fused = Fusion { projections: projections.is_some(), mlps: false };
    let mut divisions = BTreeMap::from([(Fusion::default(), groups)]);
    divisions.extend(mlps.map(|groups| (Fusion { mlps: true, ..fused }, groups)));
    divisions.extend(projections.map(|groups| (fused, groups)));
    divisions
}

/// Groups that are lowered as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fusion {
    /// Projections of queries, keys and values with their attention.
    projections: bool,
    /// Both layers of an MLP.
    mlps: bool,
}

/// What a graph is lowered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    fusion: Fusion,
    /// Percentage of the scratchpad that tensors between groups may fill.
    percent: u64,
    grain: Grain,
}

impl Way {
    /// Where tensors live.
    fn storages(&self, graph: &Graph, machine: &Machine, groups: &[Group]) -> Storages {
        Storages::plan(graph, groups, u64::from(machine.sram.bytes) * self.percent / 100)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grain = match self.grain {
            Grain::Coarse => "coarse",
            Grain::Fine => "fine",
        };
        let projections =
            if self.fusion.projections { ", projections within attention" } else { "" };
        let mlps = if self.fusion.mlps { ", layers of MLPs interleaved" } else { "" };
        write!(
            f,
            "{grain} tiles, tensors in {} % of the scratchpad{projections}{mlps}",
            self.percent
        )
    }
}

/// A way to lower a graph, and what comes of it.
struct Plan {
    way: Way,
    estimate: Estimate,
    storages: Storages,
    lists: Lists,
    tasks: Tasks,
    /// The operations that layers stand for.
    layers: Vec<Op>,
    /// What was decided, if that was asked for.
    decisions: Vec<Decision>,
}

impl Plan {
    fn new(
        [graph, reference]: [&Graph; 2],
        machine: &Machine,
        groups: &[Group],
        way: Way,
        mut storages: Storages,
        explain: bool,
    ) -> Result<Plan, CodegenError> {
        if storages.dram_bytes > LISTS {
            let message = format!(
                "the model takes {} bytes of DRAM; {LISTS} are the most",
                storages.dram_bytes
            );
            return Err(CodegenError::Unsupported(vec![message]));
        }
        let builder = Builder::new(graph, machine, &storages, way.grain);
        let builder = if explain { builder.explaining() } else { builder };
        let Lowered { mut tasks, mut lists, layers, decisions } = lower(builder, groups)?;
        lists.keep(reference, graph, &storages);
        lists::place(&mut lists, &mut storages, &mut tasks);
        let estimate = Estimate::of(&tasks, machine);
        Ok(Plan { way, estimate, storages, lists, tasks, layers, decisions })
    }

    fn alternative(&self) -> Alternative {
        let Estimate { cycles, dram_bytes, .. } = self.estimate;
        Alternative { name: self.way.to_string(), cycles, dram_bytes }
    }
}

/// The tasks of all groups in program order.
fn lower(mut builder: Builder<'_>, groups: &[Group]) -> Result<Lowered, CodegenError> {
    for (index, group) in groups.iter().enumerate() {
        builder.enter(index);
        match group {
            Group::Linear(group) => linear::lower(&mut builder, group)?,
            Group::Mlp(group) => linear::lower_mlp(&mut builder, group)?,
            Group::Attention(group) => attention::lower(&mut builder, group)?,
            Group::Product(op) => product::lower(&mut builder, *op)?,
            Group::Split(group) => split::lower(&mut builder, group)?,
            Group::Coder(op) => coder::lower(&mut builder, *op)?,
            Group::Rows(op) => match builder.graph.op(*op).kind {
                OpKind::QEmbed {} => rows::embed(&mut builder, *op)?,
                _ => rows::lower(&mut builder, *op)?,
            },
            Group::Move(op) => moves::lower(&mut builder, *op)?,
            Group::Copy(copy) => rows::copy(&mut builder, copy)?,
        }
    }
    Ok(builder.finish())
}

/// What tasks take if all that can overlap does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Estimate {
    /// Those of the busier of MAC lines and DRAM channel, with a drain for each instruction of the
    /// lines, because small tiles wait for each other.
    cycles: u64,
    /// Cycles of the channel.
    channel: u64,
    /// Bytes that pass the channel, in whole bursts.
    dram_bytes: u64,
}

impl Estimate {
    fn of(tasks: &Tasks, machine: &Machine) -> Estimate {
        let (mut lines, mut dram_bytes) = (0, 0);
        for task in &tasks.tasks {
            let cost = cost(&task.op, machine);
            dram_bytes += cost.burst_bytes;
            if let Some(taken) = cost.lines {
                let share = cost.cycles * u64::from(taken.count) / u64::from(machine.lines.count);
                lines += share + 2 * task::turnaround(machine);
            }
        }
        let channel = dram_bytes * 1000 / machine.dram_millibytes_per_cycle();
        Estimate { cycles: lines.max(channel), channel, dram_bytes }
    }

    /// What plans are compared by.
    fn price(&self) -> u64 {
        price::of_part(self.cycles, self.channel)
    }
}
