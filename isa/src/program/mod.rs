//! A program: instructions with everything that is needed to run them and to report on the run.

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
use crate::numerics::normalise_channels;

/// A compiled model.
///
/// DRAM starts with `image` at address 0, followed by the regions of the bindings and by space for
/// intermediate tensors, up to `dram_bytes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Everything except instructions and constants.
    pub header: Header,
    /// The target machine.
    pub machine: Machine,
    /// The instructions, in program order.
    pub code: Vec<Instr>,
    /// Per instruction, the index of the layer it belongs to.
    pub layer_of: Vec<u32>,
    /// The buffers in the scratchpad; empty if unknown, as in hand-written assembly.
    pub buffers: Vec<Buffer>,
    /// Constants: weights and parameters.
    pub image: Bytes,
    /// The graph that the program computes; absent in a stripped program.
    pub ir: Option<SavedIr>,
    /// What the host computes before and after the program, if anything. The compiler owns its
    /// format.
    pub host: Option<SavedIr>,
}

/// A part of the scratchpad with its live range.
///
/// # Invariants (checked by [`check`](crate::check), in a program that has any buffers)
///
/// 1. A buffer has a size above 0, lies in the scratchpad, and is live at one instruction at least.
/// 2. Buffers that are live at the same instruction are disjoint.
/// 3. Each access of an instruction to the scratchpad lies completely in one buffer that is live at
///    the instruction.
/// 4. At the first instruction of a buffer, its bytes count as unwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Address in the scratchpad.
    pub address: u32,
    /// Size in bytes.
    pub bytes: u32,
    /// Index of the first instruction at which it is live.
    pub first: u32,
    /// Index of the last instruction at which it is live.
    pub last: u32,
}

impl Buffer {
    /// The range of addresses.
    pub fn range(&self) -> Range<u64> {
        u64::from(self.address)..u64::from(self.address) + u64::from(self.bytes)
    }
}

/// Graphs that a program carries.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedIr {
    /// The graphs as JSON. Their constants are offsets into the program's image or into
    /// `constants`.
    pub graph: Bytes,
    /// Constants that no instruction reads and that are therefore not in DRAM.
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
    /// The decisions of the compiler, for reports; omitted in the file if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

/// An input or output tensor in DRAM, contiguous. [`Element`] describes the layout of masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Name in the model.
    pub name: String,
    /// Shape in the model.
    pub shape: Vec<u64>,
    /// Order of the elements; omitted in the file if it is row-major.
    #[serde(default, skip_serializing_if = "Layout::is_row_major")]
    pub layout: Layout,
    /// Kind of the elements.
    pub element: Element,
    /// Real value of one step; 1 if the integers are not quantised numbers.
    pub step: f64,
    /// Factors of the channels of an image, by which the runtime divides before it quantises: the
    /// real value of one step of a channel is `step` times its factor. Omitted in the file if
    /// empty, when all are 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<f32>,
    /// Offsets of the channels of an image, which the runtime subtracts before it divides by the
    /// factors. Omitted in the file if empty, when all are 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<f32>,
    /// Address of the first element.
    pub address: u64,
    /// The ratio of signal to quantisation noise in decibels, against the float model, that the
    /// compiler measured on an output; omitted in the file if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_sqnr_db: Option<f64>,
}

impl Binding {
    /// Number of elements; `None` on overflow.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim))
    }

    /// Bytes in DRAM; `None` on overflow.
    pub fn bytes(&self) -> Option<u64> {
        match self.element {
            Element::I8 => self.elements(),
            Element::I16 | Element::Row { .. } => self.elements()?.checked_mul(2),
            Element::Bits { rows, .. } => self.elements()?.div_ceil(8).checked_mul(rows.into()),
        }
    }

    /// The number of channels of an image, which are its last dimension if its layout is that of
    /// its shape; `None` for any other tensor.
    pub fn channels(&self) -> Option<u64> {
        match (self.layout, &self.shape[..]) {
            (Layout::Pixels, &[1, channels, _] | &[1, channels, _, _]) => Some(channels),
            (Layout::RowMajor, &[1, _, _, channels]) => Some(channels),
            _ => None,
        }
    }

    /// Normalises the channels of an item of an image.
    pub fn normalise(&self, image: &mut [f32]) {
        let channels_last = self.layout == Layout::RowMajor;
        normalise_channels(image, &self.offsets, &self.factors, channels_last);
    }

    /// Rearranges elements from the order of the shape to their order in DRAM.
    pub fn arranged(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.transposed(bytes, |channels, pixels| [channels, pixels])
    }

    /// Rearranges elements from their order in DRAM to the order of the shape.
    pub fn restored(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.transposed(bytes, |channels, pixels| [pixels, channels])
    }

    /// Transposes the elements of pixels as a matrix, whose rows and columns are given by the
    /// numbers of channels and of pixels.
    fn transposed(&self, bytes: Vec<u8>, extents: fn(usize, usize) -> [usize; 2]) -> Vec<u8> {
        let channels = self.shape.get(1).copied().unwrap_or(1).max(1) as usize;
        let element = if self.element == Element::I8 { 1 } else { 2 };
        match self.layout {
            Layout::RowMajor => bytes,
            Layout::Pixels => {
                let [rows, columns] = extents(channels, bytes.len() / element / channels);
                let places = (0..columns)
                    .flat_map(|column| (0..rows).map(move |row| row * columns + column));
                let at = |place: usize| bytes.get(place * element..(place + 1) * element);
                places.flat_map(|place| at(place).unwrap_or_default()).copied().collect()
            }
        }
    }
}

/// Order of the elements of a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The order of the shape.
    #[default]
    RowMajor,
    /// For an image `[1, channels, height, width]`, or `[1, channels, length]`: pixels in row-major
    /// order, each with its channels side by side.
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

    /// Whether it is the order of the shape.
    pub fn is_row_major(&self) -> bool {
        *self == Layout::RowMajor
    }
}

/// The elements of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 8 bits, signed.
    I8,
    /// 16 bits, signed, little-endian.
    I16,
    /// Row numbers of tables: 16 bits, unsigned, little-endian. Only for inputs.
    Row {
        /// Number of rows of the smallest table, a bound for the row numbers.
        below: u32,
    },
    /// A mask of keys for `sddmm`: 0 and 1, one bit each. The tensor is one row, padded to bytes
    /// ([`mask_row`](crate::operands::mask_row)) and repeated for every query. Only for inputs.
    Bits {
        /// How often the row is repeated.
        rows: u32,
        /// Whether the tensor holds 1 for the keys that do not count, so that the runtime inverts
        /// it.
        inverted: bool,
    },
}

impl Element {
    /// Whether the integers represent real numbers.
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

/// A layer: the instructions that compute one operation of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Name in reports: that of the operation's first ONNX node.
    pub name: String,
    /// The operation of the saved graph.
    pub operation: String,
    /// The ONNX nodes that it computes.
    pub nodes: Vec<String>,
    /// Multiplications of the operation, without padding.
    pub needed_macs: u64,
    /// DRAM bytes that no schedule can avoid: its weights, parameters and indices, and the model's
    /// inputs and outputs that it reads or writes.
    pub compulsory_bytes: u64,
}

/// A choice of the compiler for a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Name of the layer.
    pub layer: String,
    /// The subject of the choice, such as "auto-encoder".
    pub subject: String,
    /// The chosen alternative.
    pub chosen: String,
    /// The reason for the choice.
    pub reason: String,
    /// All alternatives with their costs, including the chosen one; omitted in the file unless
    /// requested by `--explain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

impl Decision {
    /// A choice without the costs of its alternatives.
    pub fn new(
        layer: impl Into<String>,
        subject: impl Into<String>,
        chosen: impl Into<String>,
        reason: impl Into<String>,
    ) -> Decision {
        Decision {
            layer: layer.into(),
            subject: subject.into(),
            chosen: chosen.into(),
            reason: reason.into(),
            alternatives: Vec::new(),
        }
    }
}

/// An alternative of a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// Name of the alternative.
    pub name: String,
    /// Cycles by the estimate that decided.
    pub cycles: u64,
    /// DRAM bytes in whole bursts by that estimate.
    pub dram_bytes: u64,
}
