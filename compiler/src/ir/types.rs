//! Tensor types.

use std::fmt;

use serde::{Deserialize, Serialize};
use vitcod_isa::numerics::{Interpolation, ProbabilityFormat};
use vitcod_isa::operands::Channel;

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Elem {
    /// 32-bit float.
    F32,
    /// 64-bit integer: indices and shapes of imported graphs.
    I64,
    /// 8-bit integer, in units of the type's step.
    I8,
    /// A probability as a minifloat
    /// ([`ProbabilityFormat`](vitcod_isa::numerics::ProbabilityFormat)).
    E3m5,
    /// 16-bit integer, in units of the type's step.
    I16,
    /// Unsigned 16-bit integer: a row number of a table.
    U16,
    /// Unsigned 32-bit integer: row sums of softmax.
    U32,
    /// A byte of a structured parameter (LayerNorm parameters, lookup tables), or eight bits of a
    /// mask.
    Byte,
    /// Bias and multiplier of an output channel ([`Channel`]).
    Channel,
}

impl Elem {
    /// Every element type.
    pub const ALL: [Elem; 9] = [
        Elem::F32,
        Elem::I64,
        Elem::I8,
        Elem::E3m5,
        Elem::I16,
        Elem::U16,
        Elem::U32,
        Elem::Byte,
        Elem::Channel,
    ];

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Elem::F32 | Elem::U32 => 4,
            Elem::I64 => 8,
            Elem::I8 | Elem::E3m5 | Elem::Byte => 1,
            Elem::I16 | Elem::U16 => 2,
            Elem::Channel => Channel::BYTES,
        }
    }

    /// Name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Elem::F32 => "f32",
            Elem::I64 => "i64",
            Elem::I8 => "i8",
            Elem::E3m5 => "e3m5",
            Elem::I16 => "i16",
            Elem::U16 => "u16",
            Elem::U32 => "u32",
            Elem::Byte => "byte",
            Elem::Channel => "channel",
        }
    }
}

/// Bytes of a lookup table for elements of a type: a value for each of them, or those between which
/// a function of 16 bits is interpolated.
pub const fn table_bytes(elem: Elem) -> usize {
    match elem {
        Elem::I16 => Interpolation::BYTES,
        _ => 256,
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element type, shape (row-major) and, for integers that represent real numbers, the step.
///
/// Text form: `f32[197,192]`, `i8[197,192]*0.0125`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorType {
    /// The element type.
    pub elem: Elem,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Real value of one step of an integer. For a float tensor the step in which the model itself
    /// quantises it to int8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
}

impl TensorType {
    /// A type without step.
    pub fn new(elem: Elem, shape: impl Into<Vec<usize>>) -> TensorType {
        TensorType { elem, shape: shape.into(), step: None }
    }

    /// A float tensor.
    pub fn f32(shape: impl Into<Vec<usize>>) -> TensorType {
        TensorType::new(Elem::F32, shape)
    }

    /// Integers with a step.
    pub fn quantised(elem: Elem, shape: impl Into<Vec<usize>>, step: f64) -> TensorType {
        TensorType { elem, shape: shape.into(), step: Some(step) }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements. Shapes are checked against overflow where they enter the compiler.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the contiguous tensor.
    pub fn bytes(&self) -> usize {
        self.elements() * self.elem.bytes()
    }

    /// The format of its elements, if they are probabilities.
    pub fn probabilities(&self) -> Option<ProbabilityFormat> {
        match self.elem {
            Elem::I8 => Some(ProbabilityFormat::Int8),
            Elem::E3m5 => Some(ProbabilityFormat::Minifloat),
            _ => None,
        }
    }

    /// Rows and columns of a matrix.
    ///
    /// # Panics
    /// The tensor is not a matrix: an invariant of the stage is violated.
    pub fn matrix(&self) -> (usize, usize) {
        match self.shape[..] {
            [rows, columns] => (rows, columns),
            _ => panic!("{self} is not a matrix"),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.elem)?;
        for (i, extent) in self.shape.iter().enumerate() {
            write!(f, "{}{extent}", if i > 0 { "," } else { "" })?;
        }
        f.write_str("]")?;
        self.step.map_or(Ok(()), |step| write!(f, "*{step:?}"))
    }
}
