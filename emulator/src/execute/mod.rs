//! The semantics of each instruction on the bytes of the memories.
//!
//! An instruction reads all its operands at its start, and writes all its results at its start or,
//! with `Core::execute_deferred`, later. Every access is checked against the memory before
//! anything is read or written, so that no program, verified or not, accesses other memory: an
//! instruction that cannot be executed is a [`Fault`]. Work and memory are bounded by the size of
//! the memories, because no instruction may write more bytes than a memory has.
//!
//! Every scalar function is that of [`vitcod_isa::numerics`]; matrix products are exact, by
//! [`crate::kernels`].

mod block;
#[cfg(any(test, feature = "testing"))]
mod deferred;
mod fault;
mod lists;
mod memory;
mod products;
mod rows;
#[cfg(test)]
mod tests;
mod transfers;

#[cfg(any(test, feature = "testing"))]
pub(crate) use deferred::Results;
pub use fault::{Fault, Reason};
pub use memory::{Memory, MemoryError};

use fault::OperandFault;
use vitcod_isa::effects::accesses;
use vitcod_isa::instr::{Instr, Op};
use vitcod_isa::machine::Machine;

use crate::kernels::Scratch;

/// Executes instructions; holds the buffers of matrix products.
#[derive(Debug)]
pub struct Core {
    machine: Machine,
    /// Whether instructions on lists state the right cycles.
    placed: bool,
    scratch: Scratch,
    /// Accumulators of the instruction being executed.
    sums: Vec<i32>,
}

impl Core {
    /// A core of a machine, with the fastest kernels of this processor.
    pub fn new(machine: &Machine) -> Core {
        Core {
            machine: machine.clone(),
            placed: true,
            scratch: Scratch::default(),
            sums: Vec::new(),
        }
    }

    /// States whether operands are at their addresses, on which the cycles of lists depend. If not,
    /// cycles that instructions state are not checked.
    pub(crate) fn set_placed(&mut self, placed: bool) {
        self.placed = placed;
    }

    /// Executes the `index`-th instruction of a program.
    ///
    /// # Errors
    /// An operand cannot be read or written. Nothing has been written then.
    pub fn execute(
        &mut self,
        index: usize,
        instr: &Instr,
        memory: &mut Memory,
    ) -> Result<(), Fault> {
        self.try_execute(&instr.op, memory).map_err(|(operand, reason)| Fault {
            index,
            instruction: instr.to_string(),
            operand,
            reason,
        })
    }

    fn try_execute(&mut self, op: &Op, memory: &mut Memory) -> Result<(), OperandFault> {
        for access in accesses(op) {
            memory.check(&access).map_err(|reason| (access.operand, reason))?;
        }
        match op {
            Op::Load(op) => transfers::load(op, memory),
            Op::Store(op) => transfers::store(op, memory),
            Op::Gather(op) => transfers::gather(op, memory)?,
            Op::Matmul(op) => self.matmul(op, &mut memory.sram)?,
            Op::Sddmm(op) => self.sddmm(op, &mut memory.sram)?,
            Op::Spmm(op) => self.spmm(op, &mut memory.sram),
            Op::Encode(op) => products::encode(op, &mut memory.sram)?,
            Op::Decode(op) => products::decode(op, &mut memory.sram)?,
            Op::SddmmList(op) => self.lists().sddmm(op, &mut memory.sram)?,
            Op::SoftmaxList(op) => self.lists().softmax(op, &mut memory.sram)?,
            Op::SpmmList(op) => self.lists().spmm(op, &mut memory.sram)?,
            Op::Softmax(op) => rows::softmax(op, &mut memory.sram),
            Op::LayerNorm(op) => rows::layer_norm(op, &mut memory.sram)?,
            Op::Add(op) => rows::add(op, &mut memory.sram),
            Op::Lut(op) => rows::lut(op, &mut memory.sram),
            Op::Interpolate(op) => rows::interpolate(op, &mut memory.sram)?,
            Op::Sync(_) | Op::Barrier(_) | Op::Halt(_) => {}
        }
        Ok(())
    }

    fn lists(&self) -> lists::Lists<'_> {
        lists::Lists { machine: &self.machine, placed: self.placed }
    }
}
