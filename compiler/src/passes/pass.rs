//! The description of a pass, and the function that runs passes.

use std::fmt;

use vitcod_isa::program::Program;
use vitcod_support::diagnostics::did_you_mean;
use vitcod_support::problems::Problems;

use super::{Context, Level, Module, Need, PASSES, PassError, Problem};
use crate::ir::Graph;
use crate::tiled::{Scheduled, Tiled};

/// A pass of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Name on the command line and in errors.
    pub name: &'static str,
    /// Description for documentation, one paragraph.
    pub doc: &'static str,
    /// The level of the modules that it takes.
    pub requires: Level,
    /// The level of the modules that it returns.
    pub establishes: Level,
    /// The other inputs that it needs.
    pub needs: &'static [Need],
    /// The pass without which it is of no use. A [pipeline](super::pipeline) runs both or neither.
    pub prepares: Option<&'static str>,
    /// How far it preserves the results of a graph.
    pub keeps: Keeps,
    /// The function, by what it takes and returns.
    pub(super) run: Run,
}

/// The function of a pass, by what it takes and returns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    Graph(Step<Graph, Graph>),
    Tile(Step<Graph, Tiled>),
    Schedule(Step<Tiled, Scheduled>),
    Emit(Step<Scheduled, Program>),
}

pub(super) type Step<From, To> = fn(From, &Context<'_>) -> Result<To, Failure>;

/// How far a pass preserves the results of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Bit for bit.
    Bits,
    /// In real arithmetic: only rounding changes.
    Reals,
    /// Approximately: the pass trades accuracy for speed or size.
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

/// Why a pass returned no module.
pub(super) enum Failure {
    /// Parts of the model have no form that it knows.
    Unrecognised(Problems<Problem>),
    /// What it needs is not there.
    Needs(Need),
    /// Any other reason.
    Refused(String),
}

impl Failure {
    /// The failure that an error of the compiler stands for.
    pub(super) fn new(error: impl std::error::Error) -> Failure {
        Failure::Refused(error.to_string())
    }
}

/// Finds a pass by name.
///
/// # Errors
/// The name is unknown.
pub fn find(name: &str) -> Result<&'static Pass, PassError> {
    PASSES.iter().find(|pass| pass.name == name).ok_or_else(|| PassError::Unknown {
        name: name.to_string(),
        known: PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>().join(", "),
        help: did_you_mean(name, PASSES.iter().map(|pass| pass.name)),
    })
}

impl Pass {
    /// Runs the pass and verifies its result.
    ///
    /// # Errors
    /// The module is at another level; the context lacks an input; the module holds forms that the
    /// pass does not support (all of them are listed); or the result is invalid, which is a defect
    /// of the pass.
    pub fn run(&self, module: Module, context: &Context<'_>) -> Result<Module, PassError> {
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
/// ```
/// use vitcod_compiler::ir::{Stage, text};
/// use vitcod_compiler::passes::{Context, Level, Module, pipeline, run};
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
/// let machine = Machine::preset("vitcod").ok_or("a preset")?;
/// let context = Context { machine: Some(&machine), ..Context::default() };
///
/// let names = pipeline(Stage::Canonical, Level::Program, &context);
/// let mut levels = Vec::new();
/// let result = run(graph.into(), &names, &context, |_, module| levels.push(module.level()))?;
/// assert!(matches!(result, Module::Program(_)));
/// assert!(levels.is_sorted() && levels.contains(&Level::Scheduled));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// A name is unknown (then no pass runs), or a pass fails as in [`Pass::run`].
pub fn run(
    module: Module,
    names: &[&str],
    context: &Context<'_>,
    mut after: impl FnMut(&Pass, &Module),
) -> Result<Module, PassError> {
    let passes = names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut current = module;
    for pass in passes {
        current = pass.run(current, context)?;
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
