//! Passes: what turns one graph into another.
//!
//! Every pass is a [`Pass`] in [`PASSES`]: its name, what it does, the stage that it takes and the stage that it gives, what else it
//! needs, and what of the results it keeps. [`run`] runs some of them in the order given and verifies the graph after each.
//! Nothing else orders passes: a pass that needs another one to have run before says so by its stage.

mod canonicalise;
mod cone;
mod context;
mod cse;
mod demand;
mod error;
mod gelu;
mod layer_norm;
mod polynomial;
mod registry;
mod steps;
#[cfg(test)]
mod tests;

use std::fmt;

pub use context::{Context, Need};
pub use error::{PassError, Problem};
pub use registry::{CANONICALISE, PASSES, pipeline, table};
use vitcod_isa::diagnostics::did_you_mean;

use crate::ir::{Graph, Stage};

/// A pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Name on the command line and in errors.
    pub name: &'static str,
    /// What it does, in a paragraph.
    pub doc: &'static str,
    /// The stage of the graphs that it takes.
    pub requires: Stage,
    /// The stage of the graphs that it gives.
    pub establishes: Stage,
    /// What it needs besides the graph.
    pub needs: &'static [Need],
    /// What of the results of a graph it keeps.
    pub keeps: Keeps,
    run: fn(&Graph, &Context<'_>) -> Result<Graph, Failure>,
}

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
enum Failure {
    /// Parts of the model have no form that it knows.
    Unrecognised(Vec<Problem>),
    /// What it needs is not there.
    Needs(Need),
    /// Any other reason.
    Refused(String),
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
    /// The graph is of another stage; or the context lacks what the pass needs; or the graph holds what the pass cannot express, with all
    /// such places; or the result is malformed, which is a defect of the pass.
    pub fn run(&self, graph: &Graph, context: &Context<'_>) -> Result<Graph, PassError> {
        if graph.stage != self.requires {
            return Err(PassError::Stage { pass: self.name, requires: self.requires, found: graph.stage });
        }
        let result = (self.run)(graph, context).map_err(|failure| match failure {
            Failure::Unrecognised(problems) => PassError::Unrecognised { pass: self.name, problems },
            Failure::Needs(need) => PassError::Needs { pass: self.name, need },
            Failure::Refused(message) => PassError::Refused { pass: self.name, message },
        })?;
        result.verify().map_err(|source| PassError::Malformed { pass: self.name, source })?;
        debug_assert_eq!(result.stage, self.establishes);
        Ok(result)
    }
}

/// Runs passes by name, and calls `after` with each pass and its result.
///
/// # Errors
/// A name is unknown (nothing runs then), or the first pass that fails, as [`Pass::run`].
pub fn run(
    graph: &Graph,
    names: &[&str],
    context: &Context<'_>,
    mut after: impl FnMut(&Pass, &Graph),
) -> Result<Graph, PassError> {
    let passes = names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let mut current = graph.clone();
    for pass in passes {
        current = pass.run(&current, context)?;
        after(pass, &current);
    }
    Ok(current)
}
