//! Programs before they are programs: tiled, and then scheduled.
//!
//! What follows the [split graph](crate::ir::Stage::Split) is no graph of tensors. It is a sequence of *tasks*: instructions of the machine,
//! each on pieces of tensors that fit the scratchpad.
//!
//! - **tiled** ([`Tiled`]): operands in the scratchpad lie in *buffers* that have a size and no address. The DRAM is laid out: the image of
//!   constants from address 0, then inputs, outputs, and tensors that leave the chip. Tasks stand in the order of the model's operations.
//! - **scheduled** ([`Scheduled`]): tasks stand in the order in which each unit gets its own, and buffers have addresses.
//!
//! In both, the order of tasks alone defines the result: executed one by one, they compute the graph. There are no tokens: those follow from the
//! order and from what the instructions touch ([`vitcod_isa::effects`]), and make it a program ([`codegen::emit`](crate::codegen::emit)).

use bytes::Bytes;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};
use vitcod_isa::effects::{Access, Space, accesses};
use vitcod_isa::instr::table::MAX_SRAM_OPERANDS;
use vitcod_isa::instr::{Op, Sram};
use vitcod_isa::machine::Machine;
use vitcod_isa::program::Header;

/// A piece of the scratchpad, live from the first to the last task that touches it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buffer(u32);
entity_impl!(Buffer, "b");

/// The buffers of an instruction's scratchpad operands, in the order of the instruction table; none for those that are not used.
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
    /// The group that it belongs to: operations that were tiled together, as a linear layer with its activation, in the order of the graph.
    pub group: u32,
}

impl Task {
    /// The buffers of its operands, one after the other.
    pub fn buffers(&self) -> impl Iterator<Item = Buffer> {
        self.buffers.into_iter().filter_map(PackedOption::expand)
    }

    /// What it touches; where that is in a buffer, the region starts at the offset in it.
    pub fn accesses(&self) -> impl Iterator<Item = (Access, Option<Buffer>)> {
        // An operand's region starts at its address: with the operand's number there, it is known which it is.
        let mut numbered = self.op;
        let mut offsets = [0; MAX_SRAM_OPERANDS];
        for (number, (at, offset)) in numbered.sram_operands().into_iter().zip(&mut offsets).enumerate() {
            *offset = std::mem::replace(&mut at.0, number as u32);
        }
        let buffers = self.buffers;
        accesses(&numbered).into_iter().map(move |mut access| {
            if access.space != Space::Sram {
                return (access, None);
            }
            let number = access.region.base as usize;
            access.region.base = offsets[number].into();
            (access, buffers[number].expand())
        })
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

/// Tasks in their order, and the buffers that they are on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Bytes of every buffer.
    pub buffers: PrimaryMap<Buffer, u64>,
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
    pub ir: Option<Bytes>,
    /// What is executed, one task after the other.
    pub tasks: Tasks,
}

/// A scheduled program: one whose tasks have their final order, and buffers their places.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// The program in its new order.
    pub tiled: Tiled,
    /// Where buffers start.
    pub addresses: Addresses,
}
