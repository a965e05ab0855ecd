//! The static checks of a program: what must hold before a machine runs it.
//!
//! # What is checked
//!
//! - *Structure*: exactly one `halt`, at the end; one layer per instruction, each in the table of layers; DRAM within the
//!   range of addresses and large enough for the image.
//! - *Operands* of each instruction, as [`effects`](crate::effects) states them: none is empty (so counts are at least 1);
//!   each lies inside the scratchpad of the program's machine or the DRAM of the program; addresses and strides are aligned;
//!   the rows of one that is written do not overlap; one that is written overlaps no other of the instruction, but for those
//!   that may be [updated in place](crate::effects::in_place); none that is written lies in the image.
//! - *Limits*: MAC lines exist on the machine; rows of LayerNorm are no wider than
//!   [`MAX_LAYER_NORM_WIDTH`](crate::numerics::MAX_LAYER_NORM_WIDTH); lists have no more queries than they can number; `spmm_list`
//!   has a list or a block, no entries without the one and no columns without the other. The sum of one instruction always fits
//!   its accumulator, since its length has 16 bits, as have entries and columns of a row.
//! - *Tokens*: for each ordered pair of units as many signals as waits; every instruction gets to start, found by a run
//!   without timing (the order of units does not matter for that, because each token has one sender and one receiver, both
//!   in order); none on `barrier` and `halt`.
//! - *Bindings*: names differ among inputs and among outputs; shapes are not empty; regions lie in DRAM behind the image and
//!   overlap no other; steps are positive and finite.
//!
//! # What is not checked
//!
//! - *Races*: that tokens order every two accesses that conflict, of different units or of one unit whose instruction
//!   completes after the next one starts.
//! - *Data*: indices of a gather and of keys, lists and their `steps` (what the instruction table says stops the machine),
//!   parameters in the image (a scale without a meaning stops the machine), whether bytes were written before they are read.
//! - *Accumulators that several instructions continue*: whether the sum of all their lengths stays within
//!   [`max_accumulation_depth`](crate::numerics::max_accumulation_depth), and biases within
//!   [`BIAS_LIMIT`](crate::numerics::BIAS_LIMIT). Beyond, sums wrap; the result is still one and the same everywhere.
//! - *Meaning*: that the program computes the model.

mod bindings;
mod flow;
mod operands;
mod order;
mod redundant;
mod shadow;
mod sums;
#[cfg(test)]
mod tests;
mod tokens;

pub use redundant::remove_redundant_tokens;
pub use tokens::{Token, tokens};

use std::fmt;

use crate::instr::field::MAX_DRAM;
use crate::instr::{Instr, Op};
use crate::problems::{Collector, Problems};
use crate::program::Program;
use order::{Clock, Order};

/// A program that must not run: everything that is wrong with it.
pub type CheckError = Problems<CheckProblem>;

/// One thing that is wrong with a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckProblem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The program as a whole.
    Program,
    /// An instruction.
    Instruction {
        /// Its index.
        index: usize,
        /// Its assembly.
        text: String,
    },
    /// An input or output.
    Binding {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for CheckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Program => f.write_str(&self.message),
            Place::Instruction { index, text } => write!(f, "instruction {index}: {}: `{text}`", self.message),
            Place::Binding { name } => write!(f, "binding {name:?}: {}", self.message),
        }
    }
}

/// Checks a program; the module's documentation lists what for.
///
/// # Errors
/// Everything that was found.
pub fn check(program: &Program) -> Result<(), CheckError> {
    verify(program).map(|_| ())
}

/// [`check`]; returns what was worked out: the order of the instructions and, for each, what has to have completed when it starts.
fn verify(program: &Program) -> Result<(Order, Vec<Clock>), CheckError> {
    let mut problems = Report::new();
    let proof = match form(program, &mut problems) {
        Some(order) if problems.0.is_empty() => {
            let needed = flow::check(program, &order, &mut problems);
            (order, needed)
        }
        _ => Default::default(),
    };
    problems.0.finish().map(|()| proof)
}

/// Checks all but the flow of data, which has a meaning only where the rest is sound. Returns the order of the instructions if each
/// of them gets to start.
fn form(program: &Program, problems: &mut Report) -> Option<Order> {
    structure(program, problems);
    for (index, instr) in program.code.iter().enumerate() {
        operands::check(program, index, instr, problems);
    }
    tokens::check(&program.code, problems);
    bindings::check(program, problems);
    Order::new(&program.code, problems)
}

fn structure(program: &Program, problems: &mut Report) {
    let Program { header, code, layer_of, image, .. } = program;
    if !matches!(code.last(), Some(Instr { op: Op::Halt(_), .. })) {
        problems.program(|| "the last instruction is not halt".to_owned());
    }
    for (index, instr) in code.iter().enumerate() {
        if matches!(instr.op, Op::Halt(_)) && index + 1 < code.len() {
            problems.instruction(index, instr, || "halt before the end".to_owned());
        }
    }
    if layer_of.len() != code.len() {
        problems.program(|| format!("{} layer indices for {} instructions", layer_of.len(), code.len()));
    }
    for ((index, instr), layer) in code.iter().enumerate().zip(layer_of) {
        if *layer as usize >= header.layers.len() {
            problems.instruction(index, instr, || format!("layer {layer} of {}", header.layers.len()));
        }
    }
    if header.dram_bytes > MAX_DRAM {
        problems.program(|| format!("{} bytes of DRAM; addresses reach {MAX_DRAM}", header.dram_bytes));
    }
    if image.len() as u64 > header.dram_bytes {
        problems.program(|| format!("the image has {} bytes, DRAM {}", image.len(), header.dram_bytes));
    }
}

/// Gathers problems by place.
struct Report(Collector<CheckProblem>);

impl Report {
    fn new() -> Report {
        Report(Collector::new())
    }

    fn program(&mut self, message: impl FnOnce() -> String) {
        self.0.push(|| CheckProblem { place: Place::Program, message: message() });
    }

    fn instruction(&mut self, index: usize, instr: &Instr, message: impl FnOnce() -> String) {
        self.0
            .push(|| CheckProblem { place: Place::Instruction { index, text: instr.to_string() }, message: message() });
    }

    fn binding(&mut self, name: &str, message: impl FnOnce() -> String) {
        self.0.push(|| CheckProblem { place: Place::Binding { name: name.to_owned() }, message: message() });
    }
}
