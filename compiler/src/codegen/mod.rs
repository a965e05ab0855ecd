//! From a split graph to a program: lowering to tile-sized tasks, scheduling, emission.
//!
//! ```text
//! split graph          checked against what instructions can hold
//!   -> groups          operations that share tiles: a linear layer with its activation and
//! residual
//!                      add, attention, an MLP
//!   -> residence       which tensors between groups stay in the scratchpad; the layout of DRAM
//!   -> plans           per group: tiles, dataflow, declared buffers
//!   -> tiled           instructions on buffers that have no address yet, in program order
//!   -> scheduled       the same instructions in the order of each unit, buffers at addresses
//!   -> Program         conflicting accesses of different units ordered by tokens
//! ```
//!
//! The parts, from the ground up. Each imports from those listed before it and from no other; a
//! test reads this list and the imports of every file, and finds circles between files.
//!
//! - `limits`: what no tiling makes fit an instruction, found before anything is planned;
//! - `error`: why a graph cannot become a program;
//! - `objective`: what programs and their parts are compared by;
//! - `estimate`: what a part of a program is estimated to take;
//! - `group`: operations that are lowered together;
//! - `residence`: where tensors live;
//! - `strategy`: the knobs of a whole graph: fusion, share of resident tensors, size of tiles;
//! - `builder`: emission of tasks;
//! - `lower`: how a group is lowered: choose a plan, then emit it;
//! - `schedule`: order of tasks, addresses of buffers, tokens; it knows nothing of graphs;
//! - `plan`: the search over strategies;
//! - `emit`: header, constant image and program.
//!
//! Tiled and scheduled programs are [stages](crate::tiled) that can be looked at, written and run:
//! [`tile`], [`schedule()`] and [`emit()`] go from one to the next.
//!
//! The program order alone defines the result: executed one by one, the tasks compute the graph.
//! Every later step keeps that result. Prefetch moves a load only over tasks that do not access
//! what it accesses, placement gives buffers that live at the same time different addresses, and
//! tokens order all conflicting accesses, by [`vitcod_isa::effects`].
//!
//! Two budgets share out the scratchpad: one for tensors that stay on chip, one for loads ahead of
//! their use. If placement fails, smaller budgets are tried. They cost traffic and time, but every
//! machine that can hold the smallest tiles gets a program.

mod builder;
mod emit;
mod error;
mod estimate;
mod group;
mod limits;
mod lower;
mod objective;
mod plan;
mod residence;
mod schedule;
mod strategy;

use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Decision, Program};

use crate::ir::{Graph, Stage};
use crate::split::{self as engines, GlobalTokens, Polarised};
use crate::tiled::{Scheduled, Tiled};

pub use emit::emit;
pub use error::CodegenError;

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
/// The program carries the split graph, its constants by reference into the program's image as far
/// as tasks load them.
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
    let (price, mut program) = generate(&split, machine, options)?;
    program.header.decisions.splice(0..0, polarised.iter().map(Polarised::decision));
    // The cost model of one layer does not see how layers overlap, the program does.
    if options.globals == GlobalTokens::Auto && polarised.iter().any(Polarised::has_globals) {
        let (split, polarised) = engines::run(graph, machine, GlobalTokens::NONE)?;
        if let Ok((price_without, mut without)) = generate(&split, machine, options)
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

/// The program of a split graph, and what decides between programs.
fn generate(
    graph: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<(u128, Program), CodegenError> {
    let (plan, found) = plan::choose(graph, machine, options.explain)?;
    let price = found.energy_delay;
    let scheduled = found.apply(emit::tiled(graph, machine, plan));
    debug_assert_eq!(scheduled.verify(), Ok(()));
    let program = emit(&scheduled)?;
    // What was timed with all tokens takes as long with those that it needs.
    debug_assert_eq!(objective::energy_delay(&program.code, machine), price);
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
    let (plan, _) = plan::choose(graph, machine, false)?;
    Ok(emit::tiled(graph, machine, plan))
}

/// Orders the tasks of a program and places its buffers: of several ways the one of the lowest
/// price.
///
/// # Errors
/// No placement was found.
pub fn schedule(tiled: Tiled) -> Result<Scheduled, CodegenError> {
    let candidate = schedule::Candidate { weighted_cycles: 1, tasks: &tiled.tasks };
    let found = schedule::run(&[candidate], &tiled.machine)
        .ok_or_else(|| CodegenError::no_placement(&tiled.machine))?;
    Ok(found.apply(tiled))
}
