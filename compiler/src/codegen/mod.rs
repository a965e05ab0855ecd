//! From a split graph to a program: lowering to tile-sized tasks, scheduling, emission.
//!
//! ```text
//! split graph          checked against the fields of instructions
//!   -> groups          operations that share tiles: a linear layer with its activation and
//!                      residual add, attention, an MLP
//!   -> residence       resident and spilled tensors between groups; the layout of DRAM
//!   -> plans           per group: tiles, dataflow, declared buffers
//!   -> tiled           instructions on buffers that have no address yet, in program order
//!   -> scheduled       the same instructions in the order of each unit, buffers at addresses
//!   -> Program         conflicting accesses that could overlap, ordered by tokens
//! ```
//!
//! The parts, from the ground up. Each imports only from those listed before it. A test compares
//! this list with the imports of every file, and finds import cycles between files.
//!
//! - `limits`: operations that exceed the fields of instructions, found before planning;
//! - `error`: errors of code generation;
//! - `objective`: the objective by which programs are compared;
//! - `group`: operations that are lowered together;
//! - `residence`: where tensors live;
//! - `strategy`: the choices for a whole graph: fusion, share of resident tensors, size of tiles;
//! - `builder`: emission of tasks;
//! - `lower`: lowering of a group: choose a plan, then emit it;
//! - `schedule`: order of tasks, addresses of buffers, tokens; it knows nothing of graphs;
//! - `plan`: the search over strategies;
//! - `emit`: header, constant image and program.
//!
//! Tiled and scheduled programs are [stages](crate::tiled) with a text form that can be verified
//! and executed: [`tile`], [`schedule()`] and [`emit()`] go from one to the next.
//!
//! The program order alone defines the result: executed one by one, the tasks compute the graph.
//! Every later step preserves it. Prefetch moves a load only past tasks with which it has no
//! conflicting access, placement assigns disjoint addresses to buffers with overlapping live
//! ranges, and tokens order all conflicting accesses, by [`vitcod_isa::effects`].
//!
//! Two budgets divide the scratchpad: one for resident tensors, one for loads ahead of their use.
//! If placement fails, smaller budgets are tried. They cost traffic and time, but every machine
//! that can hold the smallest tiles gets a program.

mod builder;
mod emit;
mod error;
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
use crate::split::{self as split_pass, GlobalTokens, Packing, Polarised};
use crate::tiled::{Scheduled, Tiled};

/// Packing of lists, for bounds.
pub(crate) use lower::packing;

pub use emit::emit;
pub use error::CodegenError;

/// Options of code generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How global tokens are chosen.
    pub globals: GlobalTokens,
    /// How lists are packed.
    pub packing: Packing,
    /// Whether the program records the alternatives of each decision.
    pub explain: bool,
}

/// Compiles a quantised graph for a machine: [`split`], [`tile`], [`schedule`] and [`emit`].
///
/// ```
/// use vitcod_compiler::codegen::{Options, compile};
/// use vitcod_compiler::ir::text;
/// use vitcod_compiler::passes::{Context, run_on_graph};
/// use vitcod_isa::check::check;
/// use vitcod_isa::machine::Machine;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"graph "layer" canonical {
///     v0 = input "x" : f32[2,2]
///     v1 = const "w" : f32[3,2] = [1, 0, 0, 1, 1, 1]
///     v2 = const "b" : f32[3] = [0, 10, -1]
///     v3 = linear(v0, v1, v2)
///     output "y" [2,3] = v3
/// }"#;
/// let graph = text::parse(text, &mut |name| Err(format!("there is no {name}")))
///     .map_err(|error| error.render("layer.vir", text))?;
/// let quantised = run_on_graph(&graph, &["quantise"], &Context::default())?;
/// let machine = Machine::preset("vitcod").ok_or("a preset")?;
/// let program = compile(&quantised, &machine, Options::default())?;
/// check(&program)?;
/// assert_eq!(program.header.outputs[0].name, "y");
/// # Ok(())
/// # }
/// ```
///
/// The program carries the split graph; constants that tasks load are references into the program's
/// image.
///
/// # Errors
/// The graph is not a valid quantised graph, holds operations that no instruction computes, or does
/// not fit the machine.
pub fn compile(
    graph: &Graph,
    machine: &Machine,
    options: Options,
) -> Result<Program, CodegenError> {
    let split = split(graph, machine, options)?;
    let tiled = tile(&split, machine, options)?;
    emit(&schedule(&tiled)?)
}

/// Splits the masked attention of a quantised graph. The cost model that chooses global tokens does
/// not see how layers overlap, so the program without them is compiled as well, and the better one
/// decides.
///
/// # Errors
/// The graph is not a valid quantised graph or holds operations that no instruction computes; or,
/// if programs are compared, it does not fit the machine.
pub fn split(graph: &Graph, machine: &Machine, options: Options) -> Result<Graph, CodegenError> {
    let Options { globals, packing, .. } = options;
    let options = Options { explain: false, ..options };
    if graph.stage != Stage::Quantised {
        return Err(CodegenError::Stage(graph.stage));
    }
    lowerable(graph, machine)?;
    let (mut split, polarised) = split_pass::run(graph, machine, globals, packing)?;
    if globals == GlobalTokens::Auto && polarised.iter().any(Polarised::has_globals) {
        let (_, found) = plan::choose(&split, machine, options)?;
        let (mut without, layers) = split_pass::run(graph, machine, GlobalTokens::NONE, packing)?;
        if let Ok((_, found_without)) = plan::choose(&without, machine, options)
            && found_without.energy_delay < found.energy_delay
        {
            let reason = "a program without global tokens has a lower product of energy and time than one with those that the cost model finds";
            let decision =
                |layer: &Polarised| Decision { reason: reason.to_owned(), ..layer.decision() };
            without.decisions.extend(layers.iter().map(decision));
            return Ok(without);
        }
    }
    split.decisions.extend(polarised.iter().map(Polarised::decision));
    Ok(split)
}

/// Tiles a split graph for a machine: of several strategies, by the one whose best schedule has the
/// lowest energy-delay product. The tiled program records that schedule and, with `explain`, the
/// alternatives of each decision.
///
/// # Errors
/// The graph is not a valid split graph, holds operations that no instruction computes, or does not
/// fit the machine.
pub fn tile(graph: &Graph, machine: &Machine, options: Options) -> Result<Tiled, CodegenError> {
    lowerable(graph, machine)?;
    let (plan, found) = plan::choose(graph, machine, options)?;
    Ok(emit::tiled(graph, machine, plan, found.attempt))
}

/// Orders the tasks of a program and places its buffers: by the schedule that the program records,
/// or else by the best of several.
///
/// # Errors
/// No placement was found.
pub fn schedule(tiled: &Tiled) -> Result<Scheduled, CodegenError> {
    schedule::schedule(tiled).ok_or_else(|| CodegenError::no_placement(&tiled.machine))
}

/// Checks that a graph is valid and that instructions of the machine compute all of its operations.
fn lowerable(graph: &Graph, machine: &Machine) -> Result<(), CodegenError> {
    graph.verify()?;
    limits::check(graph, machine).map_err(CodegenError::Unsupported)
}
