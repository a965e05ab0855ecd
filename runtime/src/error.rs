//! Errors of loading and running programs.

use std::fmt;

use vitcod_emulator::{Fault, MemoryError};
use vitcod_isa::check::CheckError;
use vitcod_isa::program::{Binding, ProgramError};
use vitcod_isa::timing::TimingError;
use vitcod_support::problems::Problems;

/// Why a program cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not a program.
    #[error("not a program:\n{0}")]
    Format(#[from] ProgramError),
    /// The verifier rejects the program.
    #[error("the program fails its checks:\n{0}")]
    Check(#[from] CheckError),
}

/// Why a device cannot run a program, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The program cannot run to completion.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// The device has too little memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// An instruction cannot be executed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The host accessed a range that is not within DRAM.
    #[error("{bytes} bytes at {address:#x} are not within the device\'s DRAM")]
    OutOfBounds {
        /// Address of the first byte.
        address: u64,
        /// Number of bytes.
        bytes: u64,
    },
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The inputs do not match the model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Inputs that do not match the model: all problems, and the expected inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct InputError {
    /// What is wrong.
    pub problems: Problems<InputProblem>,
    /// Names and shapes of the model's inputs.
    pub expected: Vec<(String, Vec<u64>)>,
}

/// A problem of the inputs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InputProblem {
    /// An input is missing.
    #[error("input {0:?} is missing")]
    Missing(String),
    /// The model has no input of that name.
    #[error("unknown input {0:?}")]
    Unknown(String),
    /// An input occurs more than once.
    #[error("input {0:?} is given more than once")]
    Repeated(String),
    /// The shape is not that of the model, and not a multiple of it along the first axis.
    #[error("input {name:?} has shape {found:?}")]
    Shape {
        /// Name of the input.
        name: String,
        /// Shape found.
        found: Vec<usize>,
    },
    /// A number is not a row number of the table, or not 0 or 1 in a mask of keys.
    #[error("input {name:?} holds {found} at {place:?}: expected {expected}")]
    Number {
        /// Name of the input.
        name: String,
        /// The first such number.
        found: f32,
        /// Its index in the array.
        place: Vec<usize>,
        /// The expected numbers.
        expected: String,
    },
    /// A mask prunes all keys of an item, so its softmax is undefined.
    #[error("input {name:?} is {pruned} everywhere in item {item}: at least one key must count")]
    NoKey {
        /// Name of the input.
        name: String,
        /// Index of the item.
        item: usize,
        /// What prunes a key, 0 or 1.
        pruned: f32,
    },
    /// Inputs have different numbers of items.
    #[error("input {name:?} holds {items} batches, input {first:?} holds {first_items}")]
    Items {
        /// Name of the input.
        name: String,
        /// Its number of items.
        items: usize,
        /// Name of the first input.
        first: String,
        /// Number of items of the first input.
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
