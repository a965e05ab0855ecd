//! The verifier: what is proved of a program before a machine runs it.
//!
//! # What is checked
//!
//! - *Structure*: exactly one `halt`, at the end; one layer per instruction, each in the table of
//!   layers; a DRAM that is addressable and holds the image.
//! - *Operands* of each instruction, as [`effects`](crate::effects) states them: they are not empty
//!   (so counts are at least 1); they lie inside the scratchpad of the machine or the DRAM of the
//!   program; addresses and strides are aligned; the rows of a written operand do not overlap; a
//!   written operand overlaps no other operand of the instruction, except for
//!   [in-place updates](crate::effects::in_place); no written operand lies in the image.
//! - *Limits*: MAC lines exist on the machine; rows of LayerNorm are at most
//!   [`MAX_LAYER_NORM_WIDTH`](crate::numerics::MAX_LAYER_NORM_WIDTH) wide; sums of `matmul` have no
//!   more products than the accumulator holds; lists have no more heads than they can number.
//! - *Tokens*: for each ordered pair of units there are as many signals as waits, and each signal
//!   precedes, in the program, the wait that takes it; `barrier` and `halt` have none. So every
//!   instruction can start, however few instructions the machine fetches ahead.
//! - *Bindings*: names of inputs are distinct, and so are names of outputs; shapes are not empty;
//!   regions lie in DRAM after the image and are disjoint; steps are positive and finite; only
//!   image inputs `[1, c, h, w]` have the layout of pixels, and only those have factors of
//!   channels, one positive and finite factor each.
//! - *Buffers*, if the program states them ([`Buffer`]): each lies in the scratchpad and is live at
//!   one instruction at least; buffers that are live at the same instruction are disjoint; every
//!   access to the scratchpad lies in one buffer that is live at the instruction.
//!
//! If all of that holds, the flow of data is checked byte by byte:
//!
//! - *Order*: of two accesses to the same byte, one of them a write, one has completed before the
//!   other starts, by the order of units and tokens, whatever the timing. Within a unit this is
//!   required only of a read after a write; all other accesses of a unit are in order, as
//!   [`effects`](crate::effects) states.
//! - *Definedness*: each byte of the scratchpad that is read was written before; with buffers, by
//!   an instruction at which the same buffer was live. Each byte of DRAM that is read lies in the
//!   image or an input, or was written before. Each byte of the outputs is written when the program
//!   ends.
//! - *Accumulators*: int32 values that an instruction continues are sums of products, which have,
//!   over all instructions, at most
//!   [`max_accumulation_depth`](crate::numerics::max_accumulation_depth) terms beside a bias, or
//!   [`ProbabilityFormat::max_keys`](crate::numerics::ProbabilityFormat::max_keys) without;
//!   likewise the row sums of softmax, of which the sum of two must fit 32 bits. The sums of one
//!   instruction on int8 always fit, because lengths and entries of a row have 16 bits.
//! - *Lists*: those that a load copied from the image as one run hold together, and instructions
//!   and segments state the cycles that they take.
//!
//! # What is not checked
//!
//! - *Values*: indices of a gather and of keys, and lists that come from elsewhere or that are many
//!   (the instruction table states when they stop the machine), and parameters (an invalid scale
//!   stops the machine; a bias beyond [`BIAS_LIMIT`](crate::numerics::BIAS_LIMIT) may overflow a
//!   sum, with the same result on every machine). An operand that values select from, such as the
//!   table of a gather, counts as read completely.
//! - *Sums from elsewhere*: row sums that `spmm` divides by are not traced back to the `softmax`
//!   that computed them.
//! - *Meaning*: that the program computes the model.
//!
//! # Cost
//!
//! Time and memory are proportional to the number of instructions and of the
//! [pieces](crate::effects::Pieces) that their operands consist of, times the logarithm of that
//! number. The rows of an operand are one piece, however many they are, if other operands lie in
//! the same bytes with the same row length; so compiled programs have a few pieces per instruction.
//! Lists add time proportional to their bytes and to the words of the rows that their queries and
//! entries name, up to 64 Mi of them in a program.
//! Only against programs that are made to be followed with difficulty there are
//! [`Limits`](crate::effects::Limits), which grow with the number of instructions.

mod bindings;
mod buffers;
mod flow;
mod lists;
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

/// The problems of an invalid program.
pub type CheckError = Problems<CheckProblem>;

/// A problem of an invalid program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckProblem {
    /// The instruction, buffer, binding or other part at fault.
    pub place: Place,
    /// What was found and what was expected.
    pub message: String,
}

/// The subject of a problem.
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
        /// Index among the inputs followed by the outputs.
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

/// Verifies a program, as the module's documentation describes.
///
/// ```
/// use vitcod_isa::asm::Assembly;
/// use vitcod_isa::check::check;
/// use vitcod_isa::instr::UnitSet;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"
///     .program "copy"
///     .machine vitcod
///     .input x i8 [1, 4] step=1
///     .output y i8 [1, 4] step=1
///     .buffer row 4
///     .layer "copy"
///         load dst=row src=x bytes=4 traffic=inputs signal=store
///         store src=row dst=y bytes=4 traffic=outputs wait=load
///         halt
/// "#;
/// let mut program = Assembly::parse(text, &|name| Err(format!("there is no {name}")))
///     .map_err(|error| error.render("copy.s", text))?
///     .program;
/// check(&program)?;
///
/// // Without the token, the store may read the row before the load has written it.
/// program.code[0].signal = UnitSet::EMPTY;
/// program.code[1].wait = UnitSet::EMPTY;
/// let error = check(&program).unwrap_err().to_string();
/// assert!(error.contains("no token orders them"), "{error}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// All problems.
pub fn check(program: &Program) -> Result<(), CheckError> {
    verify(program).map(|_| ())
}

/// Verifies a program whose instructions are executed one after the other: [`check`] without tokens
/// and order. `place` names bytes of the scratchpad in messages.
///
/// # Errors
/// All problems.
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
        flow::check(program, &order, &Touched::default(), (place, false), &mut problems);
    }
    problems.0.finish()
}

/// The default name of scratchpad bytes in messages.
fn scratchpad(bytes: Range<u64>) -> String {
    format!("{:#x}..{:#x} of the scratchpad", bytes.start, bytes.end)
}

/// [`check`], which also returns the order of the instructions and, for each, what must have
/// completed before it starts.
fn verify(program: &Program) -> Result<(Order, Vec<Clock>), CheckError> {
    let mut problems = Report::new();
    let order = form(program, &mut problems);
    let mut touched = buffers::check(program, &mut problems);
    let proof = match order {
        Some(order) if problems.0.is_empty() => {
            touched.count(program, &order);
            let needed = flow::check(program, &order, &touched, (&scratchpad, true), &mut problems);
            (order, needed)
        }
        _ => Default::default(),
    };
    problems.0.finish().map(|()| proof)
}

/// Checks everything except the flow of data, which is defined only if the rest is valid. Returns
/// the order of the instructions, if the tokens define one.
fn form(program: &Program, problems: &mut Report) -> Option<Order> {
    structure(program, problems);
    for (index, instr) in program.code.iter().enumerate() {
        operands::check(program, index, instr, problems);
    }
    let sound = tokens::check(&program.code, problems);
    bindings::check(program, problems);
    sound.then(|| Order::new(&program.code))
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

/// Collects problems by place.
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

    /// `binding` must be one of the program's.
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
