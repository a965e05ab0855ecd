//! What a pass is, and how passes are run.

use std::fmt;

use vitcod_isa::program::Program;
use vitcod_support::diagnostics::did_you_mean;
use vitcod_support::problems::Problems;

use super::{Context, Level, Module, Need, PASSES, PassError, Problem};
use crate::ir::Graph;
use crate::tiled::{Scheduled, Tiled};

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Name on the command line and in errors.
    pub name: &'static str,
    /// What it does, in a paragraph.
    pub doc: &'static str,
    /// The level of what it takes.
    pub requires: Level,
    /// The level of what it gives.
    pub establishes: Level,
    /// What it needs besides.
    pub needs: &'static [Need],
    /// What of the results of a graph it keeps.
    pub keeps: Keeps,
    /// The function.
    pub(super) run: Run,
}

/// What a pass does, by what it takes and gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    Graph(Step<Graph, Graph>),
    Tile(Step<Graph, Tiled>),
    Schedule(Step<Tiled, Scheduled>),
    Emit(Step<Scheduled, Program>),
}

pub(super) type Step<From, To> = fn(&From, &Context<'_>) -> Result<To, Failure>;

/// What of the results of a graph a pass keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Every bit.
    Bits,
    /// What they are in real numbers: only rounding changes.
    Reals,
    /// What they are about: the pass is there to trade accuracy.
    Approximately,
}

impl fmt::Display for Keeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Keeps::Bits => "bits",
            Keeps::Reals => "real numbers",
            Keeps::Approximately => "approximately",
        })
    }
}

/// Why a pass gave no graph.
pub(super) enum Failure {
    /// Parts of the model have no form that it knows.
    Unrecognised(Problems<Problem>),
    /// What it needs is not there.
    Needs(Need),
    /// Any other reason.
    Refused(String),
}

impl Failure {
    /// What a step of the compiler says.
    pub(super) fn new(error: impl std::error::Error) -> Failure {
        Failure::Refused(error.to_string())
    }
}

/// The pass of a name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<&'static Pass, PassError> {
    PASSES.iter().find(|pass| pass.name == name).ok_or_else(|| PassError::Unknown {
        name: name.to_string(),
        known: PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>().join(", "),
        help: did_you_mean(name, PASSES.iter().map(|pass| pass.name)),
    })
}

impl Pass {
    /// Runs the pass and verifies what it gives.
    ///
    /// # Errors
    /// The module is of another level; or the context lacks what the pass needs; or the module
    /// holds what the pass cannot express, with all such places; or the result is malformed, which
    /// is a defect of the pass.
    pub fn run(&self, module: &Module, context: &Context<'_>) -> Result<Module, PassError> {
        let found = module.level();
        let other = PassError::Level { pass: self.name, requires: self.requires, found };
        if found != self.requires {
            return Err(other);
        }
        let result = match (self.run, module) {
            (Run::Graph(run), Module::Graph(graph)) => run(graph, context).map(Module::Graph),
            (Run::Tile(run), Module::Graph(graph)) => run(graph, context).map(Module::Tiled),
            (Run::Schedule(run), Module::Tiled(tiled)) => {
                run(tiled, context).map(Module::Scheduled)
            }
            (Run::Emit(run), Module::Scheduled(scheduled)) => {
                run(scheduled, context).map(Module::Program)
            }
            _ => return Err(other),
        };
        let result = result.map_err(|failure| match failure {
            Failure::Unrecognised(problems) => {
                PassError::Unrecognised { pass: self.name, problems }
            }
            Failure::Needs(need) => PassError::Needs { pass: self.name, need },
            Failure::Refused(message) => PassError::Refused { pass: self.name, message },
        })?;
        result.verify().map_err(|source| PassError::Malformed { pass: self.name, source })?;
        debug_assert_eq!(result.level(), self.establishes);
        Ok(result)
    }
}

/// Runs passes by name, and calls `after` with each pass and its result.
///
/// # Errors
/// A name is unknown (nothing runs then), or the first pass that fails, as [`Pass::run`].
pub fn run(
    module: Module,
    names: &[&str],
    context: &Context<'_>,
    mut after: impl FnMut(&Pass, &Module),
) -> Result<Module, PassError> {
    let passes = names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut current = module;
    for pass in passes {
        current = pass.run(&current, context)?;
        after(pass, &current);
    }
    Ok(current)
}

/// [`run`] with passes that turn graphs into graphs.
///
/// # Errors
/// As for [`run`].
pub fn run_on_graph(
    graph: &Graph,
    names: &[&str],
    context: &Context<'_>,
) -> Result<Graph, PassError> {
    match run(graph.clone().into(), names, context, |_, _| {})? {
        Module::Graph(graph) => Ok(graph),
        module => Err(PassError::NoGraph { level: module.level() }),
    }
}
