//! What can go wrong between a program's file and its outputs.

use std::fmt;

use vitcod_emulator::{Fault, MemoryError};
use vitcod_isa::check::CheckError;
use vitcod_isa::program::{Binding, ProgramError};
use vitcod_isa::timing::TimingError;
use vitcod_support::problems::Problems;

/// A program that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no program.
    #[error("not a program:\n{0}")]
    Format(#[from] ProgramError),
    /// The program must not run.
    #[error("the program fails its checks:\n{0}")]
    Check(#[from] CheckError),
}

/// A device that cannot run a program, or stopped while it ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The program cannot run to its end.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// The device has not the memory that the program needs.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// An instruction cannot be executed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The host reached outside of DRAM.
    #[error("{bytes} bytes at {address:#x} do not lie in the device's DRAM")]
    OutOfBounds {
        /// The first byte.
        address: u64,
        /// How many.
        bytes: u64,
    },
}

/// Inputs that cannot be run, or a device that failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The inputs do not fit the model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Inputs that do not fit the model: everything that is wrong with them, and what is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct InputError {
    /// What is wrong.
    pub problems: Problems<InputProblem>,
    /// Names and shapes of the model's inputs.
    pub expected: Vec<(String, Vec<u64>)>,
}

/// One thing that is wrong with the inputs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InputProblem {
    /// An input is not given.
    #[error("input {0:?} is missing")]
    Missing(String),
    /// The model has no input of that name.
    #[error("there is no input {0:?}")]
    Unknown(String),
    /// An input is given more than once.
    #[error("input {0:?} is given more than once")]
    Repeated(String),
    /// A shape is not that of the model, nor a multiple of it along the first axis.
    #[error("input {name:?} has shape {found:?}")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A number that is none of a table's rows, or says neither that a key counts nor that it does
    /// not.
    #[error("input {name:?} holds {found} at {place:?}: expected {expected}")]
    Number {
        /// The input.
        name: String,
        /// The first such number.
        found: f32,
        /// Where it is.
        place: Vec<usize>,
        /// What could be there.
        expected: String,
    },
    /// No key of an item counts: attention would have nothing to average.
    #[error("input {name:?} is 0 everywhere in item {item}: at least one key must count")]
    NoKey {
        /// The input.
        name: String,
        /// The item, from 0.
        item: usize,
    },
    /// Inputs hold different numbers of items.
    #[error("input {name:?} holds {items} batches, input {first:?} holds {first_items}")]
    Items {
        /// The input.
        name: String,
        /// How many times the model's shape it holds.
        items: usize,
        /// The first input.
        first: String,
        /// How many it holds.
        first_items: usize,
    },
}

impl InputError {
    pub(crate) fn new(problems: Problems<InputProblem>, inputs: &[Binding]) -> InputError {
        let expected =
            inputs.iter().map(|binding| (binding.name.clone(), binding.shape.clone())).collect();
        InputError { problems, expected }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.problems)?;
        f.write_str("the model's inputs (the first axis may be a multiple):")?;
        self.expected.iter().try_for_each(|(name, shape)| write!(f, " {name:?} {shape:?}"))
    }
}

impl std::error::Error for InputError {}
