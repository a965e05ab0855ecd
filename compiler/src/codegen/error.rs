//! Errors of code generation.

use vitcod_isa::check::CheckError;
use vitcod_isa::machine::Machine;
use vitcod_support::problems::Problems;

use crate::ir::{Stage, VerifyError};
use crate::split::SplitError;
use crate::tiled;

/// Why a graph cannot become a program.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CodegenError {
    /// The graph is not quantised.
    #[error("the graph is {0}, not quantised")]
    Stage(Stage),
    /// The graph breaks an invariant of its stage.
    #[error(transparent)]
    Malformed(#[from] VerifyError),
    /// Masked attention that cannot be divided between the engines.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// All operations and tensors that no instruction computes or holds.
    #[error("the model cannot be lowered:\n{0}")]
    Unsupported(Problems<String>),
    /// Not even the smallest tiles of a layer fit.
    #[error(
        "{machine} is too small for {layer}: the smallest tiles take {needed} bytes; the scratchpad \
         has {capacity}"
    )]
    TooSmall {
        /// The machine.
        machine: String,
        /// The layer, by its ONNX node.
        layer: String,
        /// Bytes of the smallest tiles.
        needed: u64,
        /// Bytes of the scratchpad.
        capacity: u64,
    },
    /// Each group fits by itself, but no strategy has a schedule whose buffers can be placed.
    #[error(
        "found no placement of the buffers in the {capacity} bytes of the scratchpad of {machine}"
    )]
    NoPlacement {
        /// The machine.
        machine: String,
        /// Bytes of the scratchpad.
        capacity: u64,
    },
    /// A fault of the compiler: buffers with overlapping live ranges share bytes.
    #[error("fault of the compiler: buffers are placed wrongly:\n{0}")]
    Misplaced(tiled::VerifyError),
    /// A fault of the compiler: the verifier rejects the program.
    #[error("fault of the compiler: the verifier rejects the program:\n{0}")]
    Rejected(#[from] CheckError),
}

impl CodegenError {
    /// The error of a machine for which no placement was found.
    pub(crate) fn no_placement(machine: &Machine) -> CodegenError {
        let capacity = machine.sram.bytes.into();
        CodegenError::NoPlacement { machine: machine.name.clone(), capacity }
    }
}
