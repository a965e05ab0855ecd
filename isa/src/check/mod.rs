//! The verifier: what is proved of a program before a machine runs it.
//!
//! # What is checked
//!
//! - *Structure*: exactly one `halt`, at the end; one layer per instruction, each in the table of
//!   layers; DRAM within the range of addresses and large enough for the image.
//! - *Operands* of each instruction, as [`effects`](crate::effects) states them: none is empty (so
//!   counts are at least 1); each lies inside the scratchpad of the program's machine or the DRAM
//!   of the program; addresses and strides are aligned; the rows of one that is written do not
//!   overlap; one that is written overlaps no other of the instruction, but for those that may be
//!   [updated in place](crate::effects::in_place); none that is written lies in the image.
//! - *Limits*: MAC lines exist on the machine; rows of LayerNorm are no wider than
//!   [`MAX_LAYER_NORM_WIDTH`](crate::numerics::MAX_LAYER_NORM_WIDTH); sums of `matmul` have no more
//!   products than the accumulator holds; lists have no more queries than they can number;
//!   `spmm_list` has a list or a block, no entries without the one and no columns without the
//!   other.
//! - *Tokens*: for each ordered pair of units as many signals as waits; none on `barrier` and
//!   `halt`; every instruction gets to start. A circle of waits is named with its instructions.
//! - *Bindings*: names differ among inputs and among outputs; shapes are not empty; regions lie in
//!   DRAM behind the image and overlap no other; steps are positive and finite; only images
//!   `[1, c, h, w]` that are inputs are laid out as pixels.
//!
//! - *Buffers*, in a program that states them ([`Buffer`]): each lies in the scratchpad and lives
//!   at one instruction at least; those that live at the same instruction share no byte; every
//!   access to the scratchpad lies in one buffer that lives at the instruction.
//!
//! Where all that holds, the flow of data is followed, byte by byte:
//!
//! - *Order*: of two accesses that touch the same byte, one of them a write, one has completed
//!   before the other starts, by the order of units and tokens and whatever instructions take.
//!   Within a unit that is asked only of a read of what the unit wrote; all else is in order there,
//!   as [`effects`](crate::effects) says.
//! - *Definedness*: each byte of the scratchpad that is read was written before, and where there
//!   are buffers by an instruction at which the same buffer lives; each byte of DRAM lies in the
//!   image or an input, or was written before. So is each byte of the outputs when the program
//!   ends.
//! - *Accumulators*: the int32 that an instruction continues hold sums of products, and those have,
//!   all instructions together, at most
//!   [`max_accumulation_depth`](crate::numerics::max_accumulation_depth) terms; likewise row sums
//!   of softmax, of which two fit 32 bits together. What one instruction sums always fits, since
//!   its length has 16 bits, as have entries and columns of a row.
//!
//! # What is not checked
//!
//! - *Values*: indices of a gather and of keys, lists and their `steps` (what the instruction table
//!   says stops the machine), parameters (a scale without a meaning stops the machine; a bias
//!   beyond [`BIAS_LIMIT`](crate::numerics::BIAS_LIMIT) may make a sum wrap, with one and the same
//!   result everywhere). An operand that values select from, as the table of a gather, counts as
//!   read as a whole.
//! - *Sums from elsewhere*: row sums that `spmm` divides by are not traced back to the `softmax`
//!   that made them.
//! - *Meaning*: that the program computes the model.
//!
//! # Cost
//!
//! Time is in proportion to the instructions and the pieces of memory that their operands consist
//! of, nearly: 2 microseconds an instruction on compiled models. A program whose operands are
//! scattered over so many pieces that it would take longer than 8192 steps per instruction, or
//! memory for more than 2^20 pieces, is refused. Memory is bounded by that and the length of the
//! program.

mod bindings;
mod buffers;
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
use std::ops::Range;

use crate::instr::field::MAX_DRAM;
use crate::instr::{Instr, Op, Sram};
use crate::program::{Binding, Buffer, Header, Program};
use buffers::Touched;
use order::{Clock, Order};
use vitcod_support::problems::{Collector, Problems};

/// A program that must not run: everything that is wrong with it.
pub type CheckError = Problems<CheckProblem>;

/// One thing that is wrong with a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckProblem {
    /// The instruction, buffer, binding or other part at fault.
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
        /// Index in the program's list.
        index: usize,
        /// The instruction in assembly.
        text: String,
    },
    /// A buffer.
    Buffer {
        /// Index in the program's list.
        index: usize,
        /// Address, size and live range.
        buffer: Buffer,
    },
    /// An input or output.
    Binding {
        /// Its index among inputs and, behind them, outputs.
        index: usize,
        /// Name of the input or output.
        name: String,
    },
}

impl fmt::Display for CheckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Program => f.write_str(&self.message),
            Place::Instruction { index, text } => {
                write!(f, "instruction {index}: {}: `{text}`", self.message)
            }
            Place::Buffer { index, buffer: Buffer { address, bytes, first, last } } => write!(
                f,
                "buffer {index} ({bytes} bytes at {}, instructions {first} to {last}): {}",
                Sram(*address),
                self.message
            ),
            Place::Binding { name, .. } => write!(f, "binding {name:?}: {}", self.message),
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

/// Checks a program whose instructions are executed one after the other: [`check`] without tokens
/// and order. `place` says how messages name bytes of the scratchpad.
///
/// # Errors
/// Everything that was found.
pub fn check_sequence(
    program: &Program,
    place: &dyn Fn(Range<u64>) -> String,
) -> Result<(), CheckError> {
    let mut problems = Report::new();
    structure(program, &mut problems);
    for (index, instr) in program.code.iter().enumerate() {
        operands::check(program, index, instr, &mut problems);
    }
    bindings::check(program, &mut problems);
    if problems.0.is_empty() {
        let order = Order::sequential(&program.code);
        flow::check(program, &order, &Touched::default(), place, &mut problems);
    }
    problems.0.finish()
}

/// How messages name bytes of the scratchpad.
fn scratchpad(bytes: Range<u64>) -> String {
    format!("{:#x}..{:#x} of the scratchpad", bytes.start, bytes.end)
}

/// [`check`]; returns what was worked out: the order of the instructions and, for each, what has to
/// have completed when it starts.
fn verify(program: &Program) -> Result<(Order, Vec<Clock>), CheckError> {
    let mut problems = Report::new();
    let order = form(program, &mut problems);
    let mut touched = buffers::check(program, &mut problems);
    let proof = match order {
        Some(order) if problems.0.is_empty() => {
            touched.count(program, &order);
            let needed = flow::check(program, &order, &touched, &scratchpad, &mut problems);
            (order, needed)
        }
        _ => Default::default(),
    };
    problems.0.finish().map(|()| proof)
}

/// Checks all but the flow of data, which has a meaning only where the rest is sound. Returns the
/// order of the instructions if each of them gets to start.
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
        problems.program(|| {
            format!("{} layer indices for {} instructions", layer_of.len(), code.len())
        });
    }
    for ((index, instr), layer) in code.iter().enumerate().zip(layer_of) {
        if *layer as usize >= header.layers.len() {
            problems
                .instruction(index, instr, || format!("layer {layer} of {}", header.layers.len()));
        }
    }
    if header.dram_bytes > MAX_DRAM {
        problems
            .program(|| format!("{} bytes of DRAM; addresses reach {MAX_DRAM}", header.dram_bytes));
    }
    if image.len() as u64 > header.dram_bytes {
        problems
            .program(|| format!("the image has {} bytes, DRAM {}", image.len(), header.dram_bytes));
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
        self.0.push(|| CheckProblem {
            place: Place::Instruction { index, text: instr.to_string() },
            message: message(),
        });
    }

    fn buffer(&mut self, index: usize, buffer: &Buffer, message: impl FnOnce() -> String) {
        let buffer = *buffer;
        self.0.push(|| CheckProblem { place: Place::Buffer { index, buffer }, message: message() });
    }

    /// `binding` is one of the program.
    fn binding(&mut self, program: &Program, binding: &Binding, message: impl FnOnce() -> String) {
        let Header { inputs, outputs, .. } = &program.header;
        self.0.push(|| {
            let index = inputs.iter().chain(outputs).position(|other| std::ptr::eq(other, binding));
            let place =
                Place::Binding { index: index.unwrap_or_default(), name: binding.name.clone() };
            CheckProblem { place, message: message() }
        });
    }
}
