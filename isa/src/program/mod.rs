//! A program: instructions with all that is needed to run them and to explain what they did.

mod container;
mod error;
#[cfg(test)]
mod tests;

pub use container::{ELF_MACHINE, FORMAT};
pub use error::{Problem, ProgramError, WriteError};

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::instr::Instr;
use crate::machine::Machine;

/// A compiled model.
///
/// DRAM starts with `image` at address 0, followed by the regions of the bindings and by space for
/// intermediate tensors, up to `dram_bytes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Facts about the program other than its instructions and constants.
    pub header: Header,
    /// The machine that it was made for.
    pub machine: Machine,
    /// The instructions, in program order.
    pub code: Vec<Instr>,
    /// Per instruction, the index of the layer it belongs to.
    pub layer_of: Vec<u32>,
    /// What the scratchpad holds when; empty where nobody says, as in assembly written by hand.
    pub buffers: Vec<Buffer>,
    /// Constants: weights and parameters.
    pub image: Bytes,
    /// The graph that the program computes; absent in a stripped program.
    pub ir: Option<SavedIr>,
}

/// A part of the scratchpad that holds one thing for some time.
///
/// # Invariants (checked by [`check`](crate::check), in a program that has any buffers)
///
/// 1. A buffer has bytes, lies in the scratchpad, and lives at one instruction at least.
/// 2. Two buffers that live at the same instruction share no byte.
/// 3. Each access of an instruction to the scratchpad lies, all of it, in one buffer that lives at
///    the instruction.
/// 4. At the first instruction of a buffer, its bytes count as unwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Where it starts in the scratchpad.
    pub address: u32,
    /// How many bytes it has.
    pub bytes: u32,
    /// Index of the first instruction at which it lives.
    pub first: u32,
    /// Index of the last.
    pub last: u32,
}

impl Buffer {
    /// Its bytes.
    pub fn range(&self) -> Range<u64> {
        u64::from(self.address)..u64::from(self.address) + u64::from(self.bytes)
    }
}

/// A graph that a program carries.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedIr {
    /// The graph as JSON. Its constants are places of the program's image or of `constants`.
    pub graph: Bytes,
    /// Constants that no instruction reads, so that they have no place in DRAM.
    pub constants: Bytes,
}

/// Facts about a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name of the model.
    pub name: String,
    /// Bytes of DRAM that the program uses.
    pub dram_bytes: u64,
    /// The model's inputs.
    pub inputs: Vec<Binding>,
    /// The model's outputs.
    pub outputs: Vec<Binding>,
    /// The layers, in program order.
    pub layers: Vec<Layer>,
    /// What the compiler chose where it had a choice, for reports; absent in the file where there
    /// is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

/// An input or output tensor in DRAM, contiguous; a mask lies there as its [`Element`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Name in the model.
    pub name: String,
    /// Shape in the model.
    pub shape: Vec<u64>,
    /// Order of the elements; absent in the file where it is row-major.
    #[serde(default, skip_serializing_if = "Layout::is_row_major")]
    pub layout: Layout,
    /// What the integers are.
    pub element: Element,
    /// Real value of one step; 1 where the integers stand for themselves.
    pub step: f64,
    /// Address of the first element.
    pub address: u64,
}

impl Binding {
    /// Number of elements; `None` where it does not fit.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim))
    }

    /// Bytes in DRAM; `None` where they do not fit.
    pub fn bytes(&self) -> Option<u64> {
        match self.element {
            Element::I8 => self.elements(),
            Element::I16 | Element::Row { .. } => self.elements()?.checked_mul(2),
            Element::Bits { rows } => self.elements()?.div_ceil(8).checked_mul(rows.into()),
        }
    }

    /// The bytes of elements in the order of the shape as they lie in DRAM.
    pub fn arranged(&self, bytes: Vec<u8>) -> Vec<u8> {
        let channels = self.shape.get(1).copied().unwrap_or(1) as usize;
        let element = if self.element == Element::I8 { 1 } else { 2 };
        match self.layout {
            Layout::RowMajor => bytes,
            Layout::Pixels => {
                let plane = (bytes.len() / channels.max(1)).max(1);
                let pixels = (0..plane).step_by(element);
                let starts = pixels
                    .flat_map(|pixel| (0..channels).map(move |channel| channel * plane + pixel));
                starts
                    .flat_map(|start| bytes.get(start..start + element).unwrap_or_default())
                    .copied()
                    .collect()
            }
        }
    }
}

/// Order of the elements of a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// That of the shape.
    #[default]
    RowMajor,
    /// Of an image `[1, channels, height, width]`: row by row, pixel by pixel, the channels of a
    /// pixel side by side.
    Pixels,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 2] = [Layout::RowMajor, Layout::Pixels];

    /// Name in assembly and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::RowMajor => "row_major",
            Layout::Pixels => "pixels",
        }
    }

    /// Whether it is that of the shape.
    pub fn is_row_major(&self) -> bool {
        *self == Layout::RowMajor
    }
}

/// Integers of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 8 bits, signed.
    I8,
    /// 16 bits, signed, little-endian.
    I16,
    /// Numbers of rows of tables: 16 bits, unsigned, little-endian. Only inputs are.
    Row {
        /// Rows of the smallest table; each number is below.
        below: u32,
    },
    /// Which keys of attention count, as a mask of `sddmm` says it: 0 and 1, one bit each, the
    /// whole tensor as one row padded to bytes ([`mask_row`](crate::operands::mask_row)), repeated
    /// for every query. Only inputs are.
    Bits {
        /// How many times the row is there.
        rows: u32,
    },
}

impl Element {
    /// Whether the integers stand for real numbers, in steps.
    pub fn is_number(self) -> bool {
        matches!(self, Element::I8 | Element::I16)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Element::I8 => "i8",
            Element::I16 => "i16",
            Element::Row { .. } => "row",
            Element::Bits { .. } => "bits",
        })
    }
}

/// A layer: the instructions that came from one operation of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Name in reports: that of the operation's first ONNX node.
    pub name: String,
    /// The operation of the quantised IR.
    pub operation: String,
    /// The ONNX nodes that it stands for.
    pub nodes: Vec<String>,
    /// Multiplications that the operation needs, without padding.
    pub needed_macs: u64,
    /// DRAM bytes that no schedule can avoid: its weights and parameters, the model's inputs and
    /// outputs it reads or writes, indices.
    pub compulsory_bytes: u64,
}

/// A choice that the compiler made for a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Name of the layer.
    pub layer: String,
    /// What was to be decided, as "auto-encoder".
    pub subject: String,
    /// What was chosen.
    pub chosen: String,
    /// Why.
    pub reason: String,
    /// What was costed, the chosen one among it; absent in the file unless the compiler was asked
    /// to explain itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// Something that the compiler could have chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// What it is.
    pub name: String,
    /// Cycles by the estimate that chose.
    pub cycles: u64,
    /// Bytes that pass the DRAM channel by that estimate.
    pub dram_bytes: u64,
}
