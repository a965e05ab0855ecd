//! Instructions that cannot be executed.

use vitcod_isa::numerics::NumericsError;

/// An instruction that cannot be executed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("instruction {index}, `{instruction}`: operand {operand} {reason}")]
pub struct Fault {
    /// Its index in the program.
    pub index: usize,
    /// Its text.
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
    /// A row of a gather that the table does not have.
    #[error("is {index} for row {row}; the table has {limit} rows")]
    Index {
        /// The row that is gathered.
        row: usize,
        /// Its index.
        index: u16,
        /// Rows of the table.
        limit: u16,
    },
    /// Bytes that are no parameters.
    #[error("cannot be read: {0}")]
    Parameters(#[from] NumericsError),
}
