//! Why a graph cannot become a program.

use vitcod_isa::check::CheckError;
use vitcod_isa::machine::Machine;

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
    /// Operations and tensors that no instruction computes or holds, all of them.
    #[error("the model cannot be lowered:\n{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// Not even the smallest tiles of a layer fit.
    #[error(
        "{machine} is too small for {layer}: its smallest tiles take {needed} bytes of the scratchpad's {capacity}"
    )]
    TooSmall {
        /// The machine.
        machine: String,
        /// The layer, by its ONNX node.
        layer: String,
        /// Bytes that the smallest tiles take.
        needed: u64,
        /// Bytes that there are.
        capacity: u64,
    },
    /// Buffers that fit one by one leave no room for each other, whatever stays on chip.
    #[error("no placement of the program's buffers in the {capacity} bytes of {machine} was found")]
    NoPlacement {
        /// The machine.
        machine: String,
        /// Bytes that there are.
        capacity: u64,
    },
    /// A fault of the compiler: buffers overlap that live at the same time.
    #[error(
        "the placement of the program's buffers is wrong; this is a fault of the compiler:\n{0}"
    )]
    Misplaced(tiled::VerifyError),
    /// A fault of the compiler: the verifier refuses what it made.
    #[error("the compiled program must not run; this is a fault of the compiler:\n{0}")]
    Rejected(#[from] CheckError),
}

impl CodegenError {
    /// The error of a machine for which no placement was found.
    pub(crate) fn no_placement(machine: &Machine) -> CodegenError {
        let capacity = machine.sram.bytes.into();
        CodegenError::NoPlacement { machine: machine.name.clone(), capacity }
    }
}
