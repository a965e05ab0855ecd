//! Programs before they are programs: tiled, and then scheduled.
//!
//! What follows the [split graph](crate::ir::Stage::Split) is no graph of tensors. It is a sequence
//! of *tasks*: instructions of the machine, each on pieces of tensors that fit the scratchpad.
//!
//! - **tiled** ([`Tiled`]): operands in the scratchpad lie in *buffers* that have a size and no
//!   address. The DRAM is laid out: the image of constants from address 0, then inputs, outputs,
//!   and tensors that leave the chip. Tasks stand in the order of the model's operations.
//! - **scheduled** ([`Scheduled`]): tasks stand in the order in which each unit gets its own, and
//!   buffers have addresses.
//!
//! In both, the order of tasks alone defines the result: executed one by one, they compute the
//! graph. There are no tokens: those follow from the order and from what the instructions touch
//! ([`vitcod_isa::effects`]), and make it a program ([`codegen::emit`](crate::codegen::emit)).
//!
//! # Invariants (checked by [`Tiled::verify`] and [`Scheduled::verify`])
//!
//! 1. An operand in the scratchpad lies in a buffer of the program, all of it, at a multiple of the
//!    operand's alignment. One that is not touched lies in none.
//! 2. A task touches memory: `sync`, `barrier` and `halt` are none.
//! 3. Every buffer has bytes and is touched by a task. The buffers of a task fit the scratchpad
//!    together, each in whole multiples of [`BUFFER_ALIGN`].
//! 4. Executed one by one, tasks and bindings are what the
//!    [verifier of programs](vitcod_isa::check) asks for without tokens: shapes and lines that the
//!    machine has, DRAM accesses inside the DRAM and none that writes the image, bytes written
//!    before they are read (where no two buffers share any), sums that fit, outputs written.
//! 5. Tiled: tasks stand in the order of their groups.
//! 6. Scheduled: buffers lie inside the scratchpad at multiples of [`BUFFER_ALIGN`], and those that
//!    live at the same time do not overlap. A buffer lives from the first to the last task that
//!    touches it.
//!
//! Not checked: that the tasks compute the graph, and that a schedule is a permutation of what was
//! tiled. `vitcod interp` runs both.

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

/// Buffers start at multiples of this and take whole multiples of it, in bytes: the alignment of
/// the widest element and of the ports.
pub(crate) const BUFFER_ALIGN: u64 = 16;

/// A piece of the scratchpad, live from the first to the last task that touches it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buffer(u32);
entity_impl!(Buffer, "b");

/// The buffers of an instruction's scratchpad operands, in the order of the instruction table; none
/// for those that are not used.
pub type Buffers = [PackedOption<Buffer>; MAX_SRAM_OPERANDS];

/// An instruction on buffers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// The instruction. Its scratchpad addresses are offsets in [`buffers`](Task::buffers).
    pub op: Op,
    /// Where its scratchpad operands lie.
    pub buffers: Buffers,
    /// The layer that it belongs to, by its index in the header.
    pub layer: u32,
    /// The group that it belongs to: operations that were tiled together, as a linear layer with
    /// its activation, in the order of the graph.
    pub group: u32,
}

impl Task {
    /// The buffers of its operands, one after the other.
    pub fn buffers(&self) -> impl Iterator<Item = Buffer> {
        self.buffers.into_iter().filter_map(PackedOption::expand)
    }

    /// What it touches; where that is in a buffer, the region starts at the offset in it.
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

    /// The task with operands nowhere that it does not touch.
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

    /// The instruction with its buffers at addresses.
    pub fn at(&self, address: impl Fn(Buffer) -> u32) -> Op {
        let mut op = self.op;
        for (at, buffer) in op.sram_operands().into_iter().zip(self.buffers) {
            *at = buffer.expand().map_or(Sram(0), |buffer| Sram(address(buffer) + at.0));
        }
        op
    }
}

/// What an instruction touches, with the numbers of operands in the scratchpad.
fn numbered_accesses(mut op: Op) -> Vec<(Access, Option<usize>)> {
    // An operand's region starts at its address: with the operand's number there, it is known which
    // it is.
    op.sram_operands().into_iter().zip(0..).for_each(|(at, number)| at.0 = number);
    let number =
        |access: &Access| (access.space == Space::Sram).then_some(access.region.base as usize);
    accesses(&op).into_iter().map(|access| (access, number(&access))).collect()
}

/// Tasks in their order, and the buffers that they are on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Bytes of every buffer.
    pub buffers: PrimaryMap<Buffer, u64>,
    /// Bytes at the start of DRAM that no task writes: those of the image.
    pub image_bytes: u64,
}

/// First and last task of buffers; none for those that no task touches.
pub type Lifetimes = SecondaryMap<Buffer, Option<(usize, usize)>>;

impl Tasks {
    /// The first and the last task that touch each buffer.
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

/// Where buffers start in the scratchpad.
pub type Addresses = SecondaryMap<Buffer, u32>;

/// A tiled program.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiled {
    /// Name, size of DRAM, bindings, layers.
    pub header: Header,
    /// The machine that it is tiled for.
    pub machine: Machine,
    /// Constants, from DRAM address 0 on.
    pub image: Bytes,
    /// The graph that it computes, as a program carries it ([`SavedGraph`](crate::ir::SavedGraph)).
    pub ir: Option<SavedIr>,
    /// What is executed, one task after the other.
    pub tasks: Tasks,
    /// The schedule for which it was tiled; without one, the best is searched for.
    pub attempt: Option<Attempt>,
}

/// A scheduled program: one whose tasks have their final order, and buffers their places.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// The program in its new order.
    pub tiled: Tiled,
    /// Where buffers start.
    pub addresses: Addresses,
}
