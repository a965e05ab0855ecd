//! What can be wrong with a program file.

use std::fmt;

use crate::instr::EncodeError;
use crate::machine::MachineError;
use vitcod_support::problems::Problems;

/// Bytes that are no program: everything that is wrong with them.
pub type ProgramError = Problems<Problem>;

/// One thing that is wrong with the bytes of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The section; "ELF" for the file as a whole.
    pub section: &'static str,
    /// Offset in the section, in bytes.
    pub offset: u64,
    /// The instruction that is concerned.
    pub instruction: Option<usize>,
    /// What is wrong.
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

/// A program that has no file form.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// An instruction holds a value that its field cannot.
    #[error("instruction {index}: {error}")]
    Instruction {
        /// Its index.
        index: usize,
        /// The value.
        error: EncodeError,
    },
    /// The machine is not valid.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Not one layer per instruction.
    #[error("{layers} layer indices for {instructions} instructions")]
    Layers {
        /// Instructions of the program.
        instructions: usize,
        /// Entries of `layer_of`.
        layers: usize,
    },
    /// A step that JSON cannot hold.
    #[error("binding {binding}: the step {step} is not finite")]
    Step {
        /// Name of the tensor.
        binding: String,
        /// Its step.
        step: f64,
    },
    /// The container cannot hold the program.
    #[error("{0}")]
    Format(String),
}
