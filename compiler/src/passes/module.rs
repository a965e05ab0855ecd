//! What passes transform: a graph, tasks, or a program.

use std::fmt;

use vitcod_isa::asm::Sections;
use vitcod_isa::program::Program;

use crate::ir::{Graph, Stage, VerifyError};
use crate::tiled::{self, Scheduled, Tiled};

/// A model at some level between graph and program.
#[derive(Clone, Debug)]
pub enum Module {
    /// A graph of tensors.
    Graph(Graph),
    /// Tasks on buffers.
    Tiled(Tiled),
    /// Tasks in their final order, on buffers with addresses.
    Scheduled(Scheduled),
    /// A program.
    Program(Program),
}

/// The levels of a module, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A graph at a stage.
    Graph(Stage),
    /// [`Module::Tiled`].
    Tiled,
    /// [`Module::Scheduled`].
    Scheduled,
    /// [`Module::Program`].
    Program,
}

/// Why a module is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// A graph violates an invariant of its stage.
    #[error(transparent)]
    Graph(#[from] VerifyError),
    /// Tasks violate an invariant of their level.
    #[error(transparent)]
    Tasks(#[from] tiled::VerifyError),
    /// The program verifier rejects a program.
    #[error(transparent)]
    Program(#[from] vitcod_isa::check::CheckError),
}

impl Module {
    /// The module's level.
    pub fn level(&self) -> Level {
        match self {
            Module::Graph(graph) => Level::Graph(graph.stage),
            Module::Tiled(_) => Level::Tiled,
            Module::Scheduled(_) => Level::Scheduled,
            Module::Program(_) => Level::Program,
        }
    }

    /// Verifies the invariants of the module's level.
    ///
    /// # Errors
    /// The violated invariant.
    pub fn verify(&self) -> Result<(), ModuleError> {
        match self {
            Module::Graph(graph) => Ok(graph.verify()?),
            Module::Tiled(tiled) => Ok(tiled.verify()?),
            Module::Scheduled(scheduled) => Ok(scheduled.verify()?),
            Module::Program(program) => Ok(vitcod_isa::check::check(program)?),
        }
    }

    /// The graph, if it is one.
    pub fn graph(&self) -> Option<&Graph> {
        match self {
            Module::Graph(graph) => Some(graph),
            _ => None,
        }
    }
}

/// A summary for readers: long constants are digests.
impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Module::Graph(graph) => graph.fmt(f),
            Module::Tiled(tiled) => tiled.fmt(f),
            Module::Scheduled(scheduled) => scheduled.fmt(f),
            Module::Program(program) => program.listing().with_sections(Sections::Digest).fmt(f),
        }
    }
}

impl Level {
    /// Every level, in order.
    pub const ALL: [Level; 7] = [
        Level::Graph(Stage::Imported),
        Level::Graph(Stage::Canonical),
        Level::Graph(Stage::Quantised),
        Level::Graph(Stage::Split),
        Level::Tiled,
        Level::Scheduled,
        Level::Program,
    ];

    /// Name on the command line and in documentation.
    pub fn name(self) -> &'static str {
        match self {
            Level::Graph(stage) => stage.name(),
            Level::Tiled => "tiled",
            Level::Scheduled => "scheduled",
            Level::Program => "program",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Stage> for Level {
    fn from(stage: Stage) -> Level {
        Level::Graph(stage)
    }
}

impl From<Graph> for Module {
    fn from(graph: Graph) -> Module {
        Module::Graph(graph)
    }
}
