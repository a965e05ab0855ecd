//! Faults of execution.

use vitcod_isa::lists::ListError;
use vitcod_isa::numerics::NumericsError;

/// An instruction that cannot be executed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("instruction {index}, `{instruction}`: operand {operand} {reason}")]
pub struct Fault {
    /// Index in the program.
    pub index: usize,
    /// The instruction in assembly.
    pub instruction: String,
    /// Name of the operand in the instruction table.
    pub operand: &'static str,
    /// The fault of the operand.
    pub reason: Reason,
}

/// The fault of an operand.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The operand exceeds the memory.
    #[error("ends at {end:#x}, beyond the {bytes} bytes of the {memory}")]
    OutOfBounds {
        /// The address after its last byte.
        end: u64,
        /// Size of the memory.
        bytes: u64,
        /// Name of the memory.
        memory: &'static str,
    },
    /// The address or a stride is not a multiple of the alignment.
    #[error("is not aligned to {0} bytes")]
    Misaligned(u64),
    /// The operand writes more bytes than the memory has, so its rows overlap.
    #[error("writes {written} bytes with overlapping rows into the {bytes} bytes of the {memory}")]
    Overlap {
        /// Bytes written.
        written: u64,
        /// Size of the memory.
        bytes: u64,
        /// Name of the memory.
        memory: &'static str,
    },
    /// The operand overlaps the program's image.
    #[error("writes to {0:#x} in the constant image")]
    Constant(u64),
    /// An index of a gather or of a key is out of range.
    #[error("has index {index} at position {position}, expected less than {limit}")]
    Index {
        /// Position among the indices, from 0.
        position: usize,
        /// The index that the instruction read.
        index: u16,
        /// Number of rows of the table.
        limit: usize,
    },
    /// A list does not hold together, or takes other cycles than are stated.
    #[error(transparent)]
    List(#[from] ListError),
    /// Parameters do not decode.
    #[error("cannot be read: {0}")]
    Parameters(#[from] NumericsError),
}

/// An operand's name and its fault.
pub(super) type OperandFault = (&'static str, Reason);

/// Checks that every index is below the limit.
pub(super) fn below(
    operand: &'static str,
    mut indices: impl Iterator<Item = u16>,
    limit: usize,
) -> Result<(), OperandFault> {
    let mut position = 0;
    let beyond = indices.find(|index| {
        position += 1;
        usize::from(*index) >= limit
    });
    match beyond {
        None => Ok(()),
        Some(index) => Err((operand, Reason::Index { position: position - 1, index, limit })),
    }
}
