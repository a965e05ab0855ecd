//! Task listings: instructions on named buffers, without synchronisation tokens, in the language of
//! assembly.
//!
//! They are the text of the compiler's stages before a program. In a `.tiled` text, buffers have a
//! size; in a `.scheduled` text they also have an address. Other differences from a program's text:
//!
//! - Scratchpad operands are `buffer` or `buffer+offset`. Printed text numbers buffers in the order
//!   of their definitions: `b0`, `b1`.
//! - Instructions have neither `wait=` nor `signal=`, and there is no `halt`: they are executed one
//!   after the other.
//! - `.in LAYER group=N` also states the group of the instructions that follow.

use std::fmt;
use std::ops::Range;

use super::attempt::Attempt;
use super::directives::{Definitions, Tensor};
use super::kind::{Kind, Operands};
use super::section::{Files, Section};
use super::symbols::{Symbol, Symbols};
use super::{AssemblyError, code, directives, syntax};
use crate::effects::Space;
use crate::instr::Op;
use crate::program::{Buffer, Header, Program, SavedIr};
use vitcod_support::diagnostics::Diagnostic;

/// The instructions of a tiled or scheduled program with their buffers, as its text states them.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskListing {
    /// The stage of the text.
    pub kind: Kind,
    /// Header, code and constants. Scratchpad operands are offsets in their buffers.
    pub program: Program,
    /// The buffers by number: bytes, and for a scheduled task listing the address.
    pub buffers: Vec<(u32, Option<u32>)>,
    /// For each instruction, the buffers of its scratchpad operands.
    pub operands: Vec<Operands>,
    /// For each instruction, the group of operations that it was lowered from.
    pub groups: Vec<u32>,
    /// The schedule of a tiled program, if it states one.
    pub attempt: Option<Attempt>,
}

/// The positions of a listing's parts in the text.
#[derive(Debug, Default)]
pub struct Places {
    /// The mnemonic of each instruction.
    pub code: Vec<Range<usize>>,
    /// Each input, followed by each output.
    pub bindings: Vec<Range<usize>>,
    /// The name of each buffer of a task listing, or its directive in a program.
    pub buffers: Vec<Range<usize>>,
}

impl TaskListing {
    /// Parses a task listing and checks only its form. `files` reads a file beside the text.
    ///
    /// # Errors
    /// As for [`Assembly::parse`](super::Assembly::parse).
    pub fn parse(
        text: &str,
        kind: Kind,
        files: &Files<'_>,
    ) -> Result<(TaskListing, Places), AssemblyError> {
        let mut definitions = Definitions::new(files, kind);
        // Names may be used before they are defined: process directives first, then instructions.
        let (mut layer_of, mut groups) = (Vec::new(), Vec::new());
        for line in syntax::lines(text) {
            if definitions.problems.is_full() {
                break;
            }
            match line {
                Ok(line) if line.head.text.starts_with('.') => {
                    definitions.apply(line);
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
                    groups.push(definitions.group);
                }
                Err(problem) => definitions.problems.push(|| problem),
            }
        }
        let of =
            |is_input| definitions.tensors.iter().filter(move |tensor| tensor.is_input == is_input);
        let bindings = of(true).chain(of(false)).map(|tensor| tensor.span.clone()).collect();
        let dram_bytes = place(&mut definitions);
        let mut places = Places { code: Vec::new(), bindings, buffers: Vec::new() };
        let (mut code, mut operands) = (Vec::new(), Vec::new());
        for line in syntax::lines(text).flatten().filter(|line| !line.head.text.starts_with('.')) {
            if definitions.problems.is_full() {
                break;
            }
            let read =
                code::instruction(&line, &definitions.symbols, kind, &mut definitions.problems);
            if let Some((instr, lies_in)) = read {
                code.push(instr);
                operands.push(lies_in);
            }
            places.code.push(line.head.span);
        }
        let (name, machine) = (definitions.name.take(), definitions.machine.take());
        for (is_missing, directive) in
            [(name.is_none(), kind.directive()), (machine.is_none(), ".machine")]
        {
            // A directive with a mistake is not missing.
            if is_missing && definitions.problems.is_empty() {
                definitions.problems.push(|| Diagnostic::of_text(format!("missing `{directive}`")));
            }
        }
        for (graph, constants, message) in [
            (&definitions.ir, &definitions.ir_constants, "`.ir_constants` without `.ir`"),
            (&definitions.host, &definitions.host_constants, "`.host_constants` without `.host`"),
        ] {
            if graph.is_none() && constants.is_some() {
                definitions.problems.push(|| Diagnostic::of_text(message.to_owned()));
            }
        }
        definitions
            .problems
            .sort_by_key(|problem: &Diagnostic| problem.span.as_ref().map(|span| span.start));
        definitions.problems.finish()?;

        let (inputs, outputs): (Vec<Tensor>, Vec<Tensor>) =
            definitions.tensors.into_iter().partition(|tensor| tensor.is_input);
        let bound =
            |tensors: Vec<Tensor>| tensors.into_iter().map(|tensor| tensor.binding).collect();
        let header = Header {
            name: name.unwrap_or_default(),
            dram_bytes,
            inputs: bound(inputs),
            outputs: bound(outputs),
            layers: definitions.layers,
            decisions: definitions.decisions,
        };
        let attempt = definitions.attempt;
        let machine = machine.expect("without a machine there is a problem");
        let image = definitions.image.into_bytes();
        let saved = |graph: Option<Section>, constants: Option<Section>| {
            let graph = graph?.into_bytes();
            Some(SavedIr { graph, constants: constants.unwrap_or_default().into_bytes() })
        };
        let ir = saved(definitions.ir, definitions.ir_constants);
        let host = saved(definitions.host, definitions.host_constants);
        let (live, lives_at): (Vec<Buffer>, Vec<Range<usize>>) =
            definitions.live.into_iter().unzip();
        places.buffers = lives_at;
        let program = Program { header, machine, code, layer_of, buffers: live, image, ir, host };
        let mut buffers = Vec::new();
        for (bytes, address, span) in definitions.buffers {
            buffers.push((bytes, address));
            places.buffers.push(span);
        }
        Ok((TaskListing { kind, program, buffers, operands, groups, attempt }, places))
    }

    /// The text of instruction `index`.
    pub fn instruction(&self, index: usize) -> String {
        Short { op: &self.program.code[index].op, operands: &self.operands[index] }.to_string()
    }
}

/// The shortest text of an operation on buffers: defaults are omitted.
#[derive(Debug)]
pub struct Short<'a> {
    /// The operation. Its scratchpad addresses are offsets in buffers.
    pub op: &'a Op,
    /// The buffers of its operands.
    pub operands: &'a Operands,
}

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut op = *self.op;
        let offsets: Vec<u32> = op.sram_operands().into_iter().map(|at| at.0).collect();
        self.op.write_short(f, &|number| {
            let buffer = self.operands[number]?;
            Some(match offsets[number] {
                0 => format!("b{buffer}"),
                offset => format!("b{buffer}+{offset:#x}"),
            })
        })
    }
}

/// Places the tensors without addresses after all others, and defines the names of all. Returns the
/// size of DRAM.
fn place(definitions: &mut Definitions<'_, '_>) -> u64 {
    let mut end = definitions.image.len();
    let placed = definitions.tensors.iter().filter(|tensor| tensor.is_placed);
    for tensor in placed.clone() {
        end = end
            .max(tensor.binding.address.saturating_add(tensor.binding.bytes().unwrap_or(u64::MAX)));
    }
    for tensor in definitions.tensors.iter_mut().filter(|tensor| !tensor.is_placed) {
        let start = end.checked_next_multiple_of(directives::PLACED_AT);
        match start.and_then(|start| Some((start, start.checked_add(tensor.binding.bytes()?)?))) {
            Some((start, after)) => (tensor.binding.address, end) = (start, after),
            None => definitions
                .problems
                .push(|| Diagnostic::at(tensor.span.clone(), "this tensor exceeds the DRAM")),
        }
    }
    let symbols: &mut Symbols<'_> = &mut definitions.symbols;
    for Tensor { binding, .. } in &definitions.tensors {
        let region =
            Symbol::Region { space: Space::Dram, address: binding.address, bytes: binding.bytes() };
        symbols.define_tensor(&binding.name, region);
    }
    definitions.dram_bytes.unwrap_or(end)
}
