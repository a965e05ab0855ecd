//! Instructions that cannot be executed.

use vitcod_isa::numerics::NumericsError;

/// An instruction that cannot be executed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("instruction {index}, `{instruction}`: operand {operand} {reason}")]
pub struct Fault {
    /// Its index in the program.
    pub index: usize,
    /// The instruction in assembly.
    pub instruction: String,
    /// The operand, as the instruction table names it.
    pub operand: &'static str,
    /// What is wrong with the operand.
    pub reason: Reason,
}

/// What is wrong with an operand.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It does not lie in the memory.
    #[error("ends at {end:#x}, beyond the {bytes} bytes of the {memory}")]
    OutOfBounds {
        /// The address after its last byte.
        end: u64,
        /// Size of the memory.
        bytes: u64,
        /// Name of the memory.
        memory: &'static str,
    },
    /// Its address or a stride is not a multiple of its element.
    #[error("is not aligned to {0} bytes")]
    Misaligned(u64),
    /// It writes more bytes than there are.
    #[error("writes {written} bytes over each other, into the {bytes} bytes of the {memory}")]
    Overlap {
        /// Bytes written.
        written: u64,
        /// Size of the memory.
        bytes: u64,
        /// Name of the memory.
        memory: &'static str,
    },
    /// It writes into the program's image.
    #[error("writes at {0:#x}, where the program's constants are")]
    Constant(u64),
    /// An index of a row that its table does not have: of a gather, of a key, of a query.
    #[error("holds {index} at position {position}, where only {limit} can be named")]
    Index {
        /// Which index, from 0.
        position: usize,
        /// The index that the instruction read.
        index: u16,
        /// The indices below it are rows of the table.
        limit: usize,
    },
    /// A list that names a query again, and so leaves out another.
    #[error("names query {query} a second time at position {position}")]
    Repeated {
        /// Which row of the list, from 0.
        position: usize,
        /// The query that the row list repeats.
        query: u16,
    },
    /// Entries of a list or columns of blocks that are not as many as the instruction states.
    #[error("adds up to {found}, not to the {stated} that are stated")]
    Total {
        /// The sum of the counts in the list or block mask.
        found: u64,
        /// What the instruction states.
        stated: u64,
    },
    /// Steps of a product that are not those its busiest group of lines takes.
    #[error("is {stated}; the busiest group takes {found}")]
    Steps {
        /// What the group takes.
        found: u64,
        /// What the instruction states.
        stated: u32,
    },
    /// Bytes that are no parameters.
    #[error("cannot be read: {0}")]
    Parameters(#[from] NumericsError),
}

/// An operand's name and what is wrong with it.
pub(super) type OperandFault = (&'static str, Reason);

/// Whether every index is below the limit.
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
