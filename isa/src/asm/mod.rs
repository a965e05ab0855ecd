//! Assembly: a program as text, and back.
//!
//! `docs/assembly.md` describes the language for those who write it. The printed form
//! ([`Program::listing`]) holds the whole program: reading it gives the same program, and printing
//! that gives the same text. A line is read by a grammar that knows no instruction; the
//! [instruction table](crate::instr::TABLE) says what its words mean, so an instruction that is
//! added there can be written at once.
//!
//! The text may come from anywhere. Every mistake is reported with its place, one at most for each
//! argument. Memory is bounded by a small multiple of the text and of the files that it names, and
//! nothing is recursive.

mod arguments;
mod code;
mod data;
mod directives;
mod draft;
mod lexer;
mod machine;
mod print;
mod symbols;
mod syntax;
#[cfg(test)]
mod tests;
mod text;

pub use directives::{Files, MAX_SEEDED_BYTES};
pub use draft::{Draft, Kind, Operands, Places, Short};
pub use print::{DraftListing, Listing, Sections};

use crate::check::{self, Place};
use crate::program::Program;
use vitcod_support::diagnostics::Diagnostic;
use vitcod_support::problems::{Collector, Problems};

/// What is wrong with a text; [`Problems::render`] shows it.
pub type AssemblyError = Problems<Diagnostic>;

/// A program with the places in its text.
#[derive(Debug)]
pub struct Assembly {
    /// The program.
    pub program: Program,
    places: Places,
}

impl Assembly {
    /// Reads a program, of which only the form is looked at. `files` reads a file beside the text.
    ///
    /// # Errors
    /// Everything that was found, in the order of the text. Reading stops when there are
    /// [`KEPT`](vitcod_support::problems::KEPT) mistakes: to look for what was meant by each takes time.
    pub fn parse(text: &str, files: &Files<'_>) -> Result<Assembly, AssemblyError> {
        let (draft, places) = Draft::parse(text, Kind::Program, files)?;
        Ok(Assembly { program: draft.program, places })
    }

    /// Checks the program by [`check::check`].
    ///
    /// # Errors
    /// Everything that was found, at the line that it is about.
    pub fn check(&self) -> Result<(), AssemblyError> {
        let Err(found) = check::check(&self.program) else { return Ok(()) };
        let mut problems = Collector::new();
        for problem in found.kept() {
            let span = match &problem.place {
                Place::Instruction { index, .. } => self.places.code.get(*index).cloned(),
                Place::Buffer { index, .. } => self.places.buffers.get(*index).cloned(),
                Place::Binding { index, .. } => self.places.bindings.get(*index).cloned(),
                Place::Program => None,
            };
            problems.push(|| Diagnostic { span, message: problem.message.clone(), help: None });
        }
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        problems.add_omitted(found.omitted());
        problems.finish()
    }
}
