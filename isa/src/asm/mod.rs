//! Assembly: a program as text, and back.
//!
//! `docs/assembly.md` describes the language for those who write it. The printed form ([`Program::listing`]) holds the whole program:
//! reading it gives the same program, and printing that gives the same text. A line is read by a grammar that knows no instruction; the
//! [instruction table](crate::instr::TABLE) says what its words mean, so an instruction that is added there can be written at once.
//!
//! The text may come from anywhere. Every mistake is reported with its place, one at most for each argument. Memory is bounded by a
//! small multiple of the text and of the files that it names, and nothing is recursive.

mod arguments;
mod code;
mod data;
mod directives;
mod lexer;
mod machine;
mod print;
mod symbols;
mod syntax;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;

pub use directives::Files;
pub use print::Listing;

use crate::check::{self, Place};
use crate::diagnostics::Diagnostic;
use crate::effects::Space;
use crate::problems::{Collector, Problems};
use crate::program::{Header, Program};
use directives::{Definitions, Tensor};
use symbols::{Symbol, Symbols};

/// What is wrong with a text; [`Problems::render`] shows it.
pub type AssemblyError = Problems<Diagnostic>;

/// A program with the places in its text.
#[derive(Debug)]
pub struct Assembly {
    /// The program.
    pub program: Program,
    /// Where each instruction stands: its mnemonic.
    code: Vec<Range<usize>>,
    /// Where each input and output stands.
    bindings: Vec<(String, Range<usize>)>,
}

impl Assembly {
    /// Reads a program, of which only the form is looked at. `files` reads a file beside the text.
    ///
    /// # Errors
    /// Everything that was found, in the order of the text. Reading stops when there are [`KEPT`](crate::problems::KEPT) mistakes: to look for
    /// what was meant by each takes time.
    pub fn parse(text: &str, files: &Files<'_>) -> Result<Assembly, AssemblyError> {
        let mut definitions = Definitions::new(files);
        // Names may be used before they are defined: directives first, and instructions when all names are known.
        let mut layer_of = Vec::new();
        for line in syntax::lines(text) {
            if definitions.problems.is_full() {
                break;
            }
            match line {
                Ok(line) if line.head.text.starts_with('.') => {
                    if let Err(problem) = definitions.apply(line) {
                        definitions.problems.push(|| problem);
                    }
                }
                Ok(line) => {
                    // A `.layer` with a mistake is not missing.
                    if definitions.current.is_none() && definitions.problems.is_empty() {
                        definitions.problems.push(|| {
                            Diagnostic::at(line.head.span, "this instruction belongs to no layer")
                                .with_help(Some("write `.layer \"a name\"` before it".to_owned()))
                        });
                    }
                    layer_of.push(*definitions.current.get_or_insert(0));
                }
                Err(problem) => definitions.problems.push(|| problem),
            }
        }
        let bindings = definitions.tensors.iter().map(|t| (t.binding.name.clone(), t.span.clone())).collect();
        let dram_bytes = place(&mut definitions);
        let (mut code, mut spans) = (Vec::new(), Vec::new());
        for line in syntax::lines(text).flatten().filter(|line| !line.head.text.starts_with('.')) {
            if definitions.problems.is_full() {
                break;
            }
            code.extend(code::instruction(&line, &definitions.symbols, &mut definitions.problems));
            spans.push(line.head.span);
        }
        let (name, machine) = (definitions.name.take(), definitions.machine.take());
        for (is_missing, directive) in [(name.is_none(), ".program"), (machine.is_none(), ".machine")] {
            // A directive with a mistake is not missing.
            if is_missing && definitions.problems.is_empty() {
                definitions.problems.push(|| Diagnostic::of_text(format!("there is no `{directive}`")));
            }
        }
        definitions.problems.sort_by_key(|problem: &Diagnostic| problem.span.as_ref().map(|span| span.start));
        definitions.problems.finish()?;

        let (inputs, outputs): (Vec<Tensor>, Vec<Tensor>) =
            definitions.tensors.into_iter().partition(|tensor| tensor.is_input);
        let bound = |tensors: Vec<Tensor>| tensors.into_iter().map(|tensor| tensor.binding).collect();
        let header = Header {
            name: name.unwrap_or_default(),
            dram_bytes,
            inputs: bound(inputs),
            outputs: bound(outputs),
            layers: definitions.layers,
            decisions: definitions.decisions,
        };
        let machine = machine.expect("without a machine there is a problem");
        let (image, ir) = (definitions.image.into_bytes(), definitions.ir.map(|section| section.into_bytes()));
        Ok(Assembly { program: Program { header, machine, code, layer_of, image, ir }, code: spans, bindings })
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
                Place::Instruction { index, .. } => self.code.get(*index).cloned(),
                Place::Binding { name } => {
                    self.bindings.iter().find(|(other, _)| other == name).map(|(_, span)| span.clone())
                }
                Place::Program => None,
            };
            problems.push(|| Diagnostic { span, message: problem.message.clone(), help: None });
        }
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        problems.add_omitted(found.omitted());
        problems.finish()
    }
}

/// Places the tensors that have no address behind all that has one, and names all. Returns the size of DRAM.
fn place(definitions: &mut Definitions<'_, '_>) -> u64 {
    let mut end = definitions.image.len();
    let placed = definitions.tensors.iter().filter(|tensor| tensor.is_placed);
    for tensor in placed.clone() {
        end = end.max(tensor.binding.address.saturating_add(tensor.binding.bytes().unwrap_or(u64::MAX)));
    }
    for tensor in definitions.tensors.iter_mut().filter(|tensor| !tensor.is_placed) {
        let start = end.checked_next_multiple_of(directives::PLACED_AT);
        match start.and_then(|start| Some((start, start.checked_add(tensor.binding.bytes()?)?))) {
            Some((start, after)) => (tensor.binding.address, end) = (start, after),
            None => {
                definitions.problems.push(|| Diagnostic::at(tensor.span.clone(), "there is no place for this tensor"))
            }
        }
    }
    let symbols: &mut Symbols<'_> = &mut definitions.symbols;
    for Tensor { binding, .. } in &definitions.tensors {
        let region = Symbol::Region { space: Space::Dram, address: binding.address, bytes: binding.bytes() };
        symbols.define_tensor(&binding.name, region);
    }
    definitions.dram_bytes.unwrap_or(end)
}
