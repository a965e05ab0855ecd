//! Errors of encoding and decoding program files.

use std::fmt;

use crate::instr::EncodeError;
use crate::machine::MachineError;
use vitcod_support::problems::Problems;

/// The problems of bytes that are not a valid program.
pub type ProgramError = Problems<Problem>;

/// A problem of the bytes of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The section; "ELF" for the file as a whole.
    pub section: &'static str,
    /// Offset in the section, in bytes.
    pub offset: u64,
    /// Index of the instruction at fault, if there is one.
    pub instruction: Option<usize>,
    /// What was found and what was expected.
    pub message: String,
}

impl Problem {
    pub(super) fn new(section: &'static str, offset: u64, message: String) -> Problem {
        Problem { section, offset, instruction: None, message }
    }

    pub(super) fn of_file(message: String) -> Problem {
        Problem::new("ELF", 0, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}: ", self.section, self.offset)?;
        if let Some(index) = self.instruction {
            write!(f, "instruction {index}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why a program cannot be encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// A value of an instruction does not fit its field.
    #[error("instruction {index}: {error}")]
    Instruction {
        /// Index of the instruction.
        index: usize,
        /// The value and its field.
        error: EncodeError,
    },
    /// The machine is invalid.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The number of layers differs from the number of instructions.
    #[error("{layers} layer indices for {instructions} instructions")]
    Layers {
        /// Number of instructions.
        instructions: usize,
        /// Number of entries of `layer_of`.
        layers: usize,
    },
    /// A factor of a channel is not finite, which JSON cannot represent.
    #[error("binding {binding}: the factor {factor} is not finite")]
    Factor {
        /// Name of the tensor.
        binding: String,
        /// The factor.
        factor: f32,
    },
    /// A step is not finite, which JSON cannot represent.
    #[error("binding {binding}: the step {step} is not finite")]
    Step {
        /// Name of the tensor.
        binding: String,
        /// Step of the tensor.
        step: f64,
    },
    /// The program exceeds the limits of the container.
    #[error("{0}")]
    Format(String),
}
