//! Constant tensors: element type, shape and little-endian elements.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use half::{bf16, f16};
use zerocopy::FromBytes;

/// The supported element types of ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// 8 bits, two's complement.
    I8,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits, two's complement.
    I32,
    /// 64 bits, two's complement.
    I64,
    /// 8 bits, unsigned.
    U8,
    /// 16 bits, unsigned.
    U16,
    /// 32 bits, unsigned.
    U32,
    /// 64 bits, unsigned.
    U64,
    /// One byte, true unless zero.
    Bool,
}

impl DataType {
    /// Bytes of one element.
    pub fn width(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Bool => "bool",
        })
    }
}

/// Why a tensor is invalid, or not of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorFault {
    /// The element type is not supported; named as in ONNX.
    #[error(
        "expected elements of a float type of 16 to 64 bits, an integer type of 8 to 64 bits or BOOL, found {found}"
    )]
    Unsupported {
        /// The name of the type, or its number if ONNX 1.23 has no name for it.
        found: String,
    },
    /// The rank exceeds [`Limits::rank`](super::Limits::rank).
    #[error("expected at most {limit} dimensions, found {found}")]
    Rank {
        /// The limit.
        limit: usize,
        /// Dimensions of the tensor.
        found: usize,
    },
    /// A dimension is negative.
    #[error("expected no negative dimension, found {found} as dimension {axis}")]
    Dimension {
        /// Index of the dimension.
        axis: usize,
        /// The dimension found.
        found: i64,
    },
    /// The size in bytes exceeds the address space.
    #[error("a tensor of shape {dims:?} is too large")]
    TooLarge {
        /// The shape.
        dims: Vec<usize>,
    },
    /// The length of the data does not match the shape.
    #[error("expected {expected} bytes for shape {dims:?} of {data_type}, found {found}")]
    Length {
        /// Bytes that the shape and the element type require.
        expected: usize,
        /// Bytes found.
        found: usize,
        /// The shape.
        dims: Vec<usize>,
        /// The element type.
        data_type: DataType,
    },
    /// The data is in a field of another element type, or in several fields.
    #[error("expected data of {data_type} in raw_data or {expected}, found {found}")]
    Storage {
        /// The element type.
        data_type: DataType,
        /// The typed field for this element type.
        expected: &'static str,
        /// The fields that hold data, separated by commas.
        found: String,
    },
    /// A value in `int32_data` or `uint64_data` exceeds the narrower element type.
    #[error("expected values of {data_type}, found {found} as element {index}")]
    Value {
        /// The element type.
        data_type: DataType,
        /// The value found.
        found: i128,
        /// Row-major index of the element.
        index: usize,
    },
    /// The element type is not the one that the caller needs.
    #[error("expected a tensor of {expected}, found {found}")]
    Elements {
        /// The expected element type.
        expected: &'static str,
        /// The tensor's element type.
        found: DataType,
    },
}

/// A constant: dense, row-major, of one element type.
///
/// Clones share the data. A tensor also shares the memory of the file if that stores little-endian
/// bytes (`raw_data`, external data).
#[derive(Clone, PartialEq)]
pub struct Tensor {
    data_type: DataType,
    dims: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// A tensor of `data`, little-endian elements in row-major order. The empty shape is a scalar.
    ///
    /// # Errors
    /// [`TensorFault::TooLarge`] and [`TensorFault::Length`].
    pub fn new(data_type: DataType, dims: Vec<usize>, data: Bytes) -> Result<Self, TensorFault> {
        let expected = byte_count(data_type, &dims)?;
        if data.len() != expected {
            return Err(TensorFault::Length { expected, found: data.len(), dims, data_type });
        }
        Ok(Self { data_type, dims, data })
    }

    /// An empty tensor in place of one that cannot be read, so that checking can continue.
    pub(super) fn empty() -> Self {
        Self { data_type: DataType::Bool, dims: vec![0], data: Bytes::new() }
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The shape, outermost dimension first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.data.len() / self.data_type.width()
    }

    /// The elements as little-endian bytes, [`DataType::width`] each.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The elements of a float tensor; f64 is rounded to the nearest f32. Borrowed if the data is
    /// f32, aligned, and in the host's byte order.
    ///
    /// # Errors
    /// [`TensorFault::Elements`] if the tensor holds integers or booleans.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>, TensorFault> {
        Ok(Cow::Owned(match self.data_type {
            DataType::F32 => {
                if cfg!(target_endian = "little")
                    && let Ok(aligned) = <[f32]>::ref_from_bytes(&self.data)
                {
                    return Ok(Cow::Borrowed(aligned));
                }
                self.map(f32::from_le_bytes)
            }
            DataType::F64 => self.map(|bytes| f64::from_le_bytes(bytes) as f32),
            DataType::F16 => self.map(|bytes| f16::from_le_bytes(bytes).to_f32()),
            DataType::Bf16 => self.map(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            found => {
                return Err(TensorFault::Elements { expected: "floats", found });
            }
        }))
    }

    /// The elements of an integer or boolean tensor; true is 1.
    ///
    /// # Errors
    /// [`TensorFault::Elements`] if the tensor holds floats, [`TensorFault::Value`] for a u64 above
    /// `i64::MAX`.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorFault> {
        Ok(match self.data_type {
            DataType::I8 => self.map(|bytes| i8::from_le_bytes(bytes).into()),
            DataType::I16 => self.map(|bytes| i16::from_le_bytes(bytes).into()),
            DataType::I32 => self.map(|bytes| i32::from_le_bytes(bytes).into()),
            DataType::I64 => self.map(i64::from_le_bytes),
            DataType::U8 => self.map(|bytes| u8::from_le_bytes(bytes).into()),
            DataType::U16 => self.map(|bytes| u16::from_le_bytes(bytes).into()),
            DataType::U32 => self.map(|bytes| u32::from_le_bytes(bytes).into()),
            DataType::U64 => {
                let values = self.map(u64::from_le_bytes).into_iter().enumerate();
                let narrow = |(index, value): (usize, u64)| {
                    i64::try_from(value).map_err(|_| TensorFault::Value {
                        data_type: DataType::I64,
                        found: value.into(),
                        index,
                    })
                };
                values.map(narrow).collect::<Result<_, _>>()?
            }
            DataType::Bool => self.map(|[byte]| (byte != 0).into()),
            DataType::F32 | DataType::F64 | DataType::F16 | DataType::Bf16 => {
                let found = self.data_type;
                return Err(TensorFault::Elements { expected: "integers or booleans", found });
            }
        })
    }

    /// Applies `read` to every element; `N` is the width of the element type.
    fn map<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (elements, _) = self.data.as_chunks::<N>();
        elements.iter().map(|&bytes| read(bytes)).collect()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}{:?})", self.data_type, self.dims)
    }
}

/// Bytes of a tensor.
///
/// # Errors
/// [`TensorFault::TooLarge`] if that exceeds `isize::MAX`.
pub(super) fn byte_count(data_type: DataType, dims: &[usize]) -> Result<usize, TensorFault> {
    if dims.contains(&0) {
        return Ok(0);
    }
    dims.iter()
        .try_fold(data_type.width(), |bytes, &dim| bytes.checked_mul(dim))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| TensorFault::TooLarge { dims: dims.to_vec() })
}
