//! Tiled and scheduled programs: the levels between graphs and programs.
//!
//! The successor of the [split graph](crate::ir::Stage::Split) is a sequence of *tasks*:
//! instructions of the machine, each on tiles that fit the scratchpad.
//!
//! - **tiled** ([`Tiled`]): scratchpad operands lie in *buffers*, which have a size but no address.
//!   The DRAM is laid out: the constant image from address 0, then inputs, outputs and spilled
//!   tensors. Tasks are in the order of the model's operations.
//! - **scheduled** ([`Scheduled`]): each unit executes its tasks in the order of the program, and
//!   buffers have addresses.
//!
//! At both levels, the order of tasks alone defines the result: executed one by one, they compute
//! the graph. There are no synchronisation tokens; these follow from the order and from the memory
//! accesses ([`vitcod_isa::effects`]) and are inserted by [`codegen::emit`](crate::codegen::emit).
//!
//! # Invariants (checked by [`Tiled::verify`] and [`Scheduled::verify`])
//!
//! 1. A scratchpad operand lies completely in a buffer of the program, at a multiple of the
//!    operand's alignment. An unused operand has no buffer.
//! 2. A task accesses memory: `sync`, `barrier` and `halt` are not tasks.
//! 3. Every buffer has a size above 0 and is accessed by a task. The buffers of a task fit the
//!    scratchpad together, each rounded up to a multiple of [`BUFFER_ALIGN`].
//! 4. Executed one by one, tasks and bindings satisfy the [program verifier](vitcod_isa::check),
//!    tokens aside: the machine supports shapes and lines; DRAM accesses are within the DRAM and do
//!    not write the image; bytes are written before they are read (with buffers that do not
//!    overlap); sums fit the accumulator; outputs are written.
//! 5. Tiled: tasks are in the order of their groups.
//! 6. Scheduled: buffers lie inside the scratchpad at multiples of [`BUFFER_ALIGN`], and buffers
//!    with overlapping live ranges do not share bytes. The live range of a buffer extends from the
//!    first to the last task that accesses it.
//!
//! Not checked: that the tasks compute the graph, and that a schedule is a permutation of the tiled
//! tasks. `vitcod interp` runs both.

mod text;
mod verify;

use bytes::Bytes;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};
use vitcod_isa::asm::Attempt;
use vitcod_isa::effects::{Access, Space, accesses};
use vitcod_isa::instr::table::MAX_SRAM_OPERANDS;
use vitcod_isa::instr::{Op, Sram};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::{Header, SavedIr};

pub use verify::{Defect, Place, VerifyError};

/// Alignment and granularity of buffers in bytes: the alignment of the widest element and of the
/// ports.
pub const BUFFER_ALIGN: u64 = 16;

/// Alignment of buffers on a machine: [`BUFFER_ALIGN`], and a word of its banks, so that the words
/// that an operand takes do not depend on where its buffer is.
pub(crate) fn word_align(machine: &Machine) -> u64 {
    let word = machine.organisation().map_or(1, |of| u64::from(of.banks.word_bytes));
    least_common_multiple(BUFFER_ALIGN, word)
}

fn least_common_multiple(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b.max(1));
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b.max(1)
}

/// A part of the scratchpad, live from the first to the last task that accesses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buffer(u32);
entity_impl!(Buffer, "b");

/// The buffers of an instruction's scratchpad operands, in the order of the instruction table; none
/// for unused operands.
pub type Buffers = [PackedOption<Buffer>; MAX_SRAM_OPERANDS];

/// An instruction on buffers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// The instruction. Its scratchpad addresses are offsets in [`buffers`](Task::buffers).
    pub op: Op,
    /// The buffers of its scratchpad operands.
    pub buffers: Buffers,
    /// The index of its layer in the header.
    pub layer: u32,
    /// The group that it belongs to: operations that were tiled together, such as a linear layer
    /// with its activation. Groups are in the order of the graph.
    pub group: u32,
}

impl Task {
    /// The buffers of its operands, in order.
    pub fn buffers(&self) -> impl Iterator<Item = Buffer> {
        self.buffers.into_iter().filter_map(PackedOption::expand)
    }

    /// The memory accesses; the region of an access to a buffer starts at the offset in it.
    pub fn accesses(&self) -> impl Iterator<Item = (Access, Option<Buffer>)> {
        let mut op = self.op;
        let offsets: Vec<u32> = op.sram_operands().into_iter().map(|at| at.0).collect();
        let buffers = self.buffers;
        numbered_accesses(op).into_iter().map(move |(mut access, number)| match number {
            Some(number) => {
                access.region.base = offsets[number].into();
                (access, buffers[number].expand())
            }
            None => (access, None),
        })
    }

    /// Clears the operands that the task does not access.
    pub(crate) fn without_unused(mut self) -> Task {
        let used: Vec<usize> =
            numbered_accesses(self.op).into_iter().filter_map(|(_, number)| number).collect();
        for (number, (at, buffer)) in
            self.op.sram_operands().into_iter().zip(&mut self.buffers).enumerate()
        {
            if !used.contains(&number) {
                (*at, *buffer) = (Sram(0), PackedOption::default());
            }
        }
        self
    }

    /// The instruction with the addresses of its buffers.
    pub fn at(&self, address: impl Fn(Buffer) -> u32) -> Op {
        let mut op = self.op;
        for (at, buffer) in op.sram_operands().into_iter().zip(self.buffers) {
            *at = buffer.expand().map_or(Sram(0), |buffer| Sram(address(buffer) + at.0));
        }
        op
    }
}

/// The memory accesses of an instruction, with the index of the operand of each scratchpad access.
fn numbered_accesses(mut op: Op) -> Vec<(Access, Option<usize>)> {
    // The region of an operand starts at its address, so the index takes the place of the address.
    op.sram_operands().into_iter().zip(0..).for_each(|(at, number)| at.0 = number);
    let number =
        |access: &Access| (access.space == Space::Sram).then_some(access.region.base as usize);
    accesses(&op).into_iter().map(|access| (access, number(&access))).collect()
}

/// A sequence of tasks and their buffers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Bytes of every buffer.
    pub buffers: PrimaryMap<Buffer, u64>,
    /// Bytes at the start of DRAM that no task writes: the constant image.
    pub image_bytes: u64,
}

/// The alignment of each buffer: a word of the banks unless lists need more.
pub type Alignments = SecondaryMap<Buffer, u64>;

impl Tasks {
    /// The alignments of buffers with which instructions take the same cycles wherever buffers are:
    /// whole words. If queries and keys of scores are in different
    /// buffers, both begin in bank 0, because words of both are read at the same time.
    pub fn alignments(&self, machine: &Machine) -> Alignments {
        let word = word_align(machine);
        let mut alignments = Alignments::with_default(word);
        let Some(organisation) = machine.organisation() else { return alignments };
        let all_banks = u64::from(organisation.banks.count) * word;
        for task in &self.tasks {
            if let Op::SddmmList(_) = task.op {
                let fields = task.op.spec().fields.iter().filter(|field| field.is_sram);
                let of = |name: &str| {
                    let mut fields = fields.clone().zip(task.buffers);
                    fields.find(|(field, _)| field.name == name)?.1.expand()
                };
                if let (Some(q), Some(k)) = (of("q"), of("k"))
                    && q != k
                {
                    (alignments[q], alignments[k]) = (all_banks, all_banks);
                }
            }
        }
        alignments
    }
}

/// First and last task of each buffer; `None` for buffers that no task accesses.
pub type Lifetimes = SecondaryMap<Buffer, Option<(usize, usize)>>;

impl Tasks {
    /// The first and the last task that access each buffer.
    pub fn lives(&self) -> Lifetimes {
        let mut lives = Lifetimes::new();
        for (index, task) in self.tasks.iter().enumerate() {
            for buffer in task.buffers() {
                let life = &mut lives[buffer];
                *life = Some(life.map_or((index, index), |(first, _)| (first, index)));
            }
        }
        lives
    }
}

/// The addresses of buffers in the scratchpad.
pub type Addresses = SecondaryMap<Buffer, u32>;

/// A tiled program.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiled {
    /// Name, size of DRAM, bindings and layers.
    pub header: Header,
    /// The machine that it is tiled for.
    pub machine: Machine,
    /// Constants, starting at DRAM address 0.
    pub image: Bytes,
    /// The graph that it computes, as a program carries it ([`SavedGraph`](crate::ir::SavedGraph)).
    pub ir: Option<SavedIr>,
    /// The tasks in program order.
    pub tasks: Tasks,
    /// The schedule for which it was tiled; if `None`, scheduling searches for the best.
    pub attempt: Option<Attempt>,
}

/// A scheduled program: tasks have their final order, and buffers their addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// The program, with its tasks in the final order.
    pub tiled: Tiled,
    /// The address of each buffer.
    pub addresses: Addresses,
}
