//! Reading protobuf's wire format: keys, varints and delimited values, without allocation.

use std::fmt;

/// The encoding of the value after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// Seven bits per byte, least significant first, at most ten bytes.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A varint with the length, then that many bytes.
    Length,
    /// Four bytes.
    Fixed32,
}

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varint => "varint",
            Self::Fixed64 => "64-bit",
            Self::Length => "length-delimited",
            Self::Fixed32 => "32-bit",
        })
    }
}

/// Why bytes are not a message of the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// A value exceeds the enclosing message.
    #[error("expected {needed} more bytes, found {left}; the file is cut short or no ONNX model")]
    Truncated {
        /// Bytes that the value needs.
        needed: u64,
        /// Bytes left in the enclosing message.
        left: usize,
    },
    /// A varint exceeds 64 bits.
    #[error("expected a varint of at most 64 bits; the file is damaged or no ONNX model")]
    Varint,
    /// A key has field number 0, a field number above 2^29 - 1, or a wire type that is a group or
    /// unknown.
    #[error("expected a field, found the key {key:#x}; the file is damaged or no ONNX model")]
    Key {
        /// The key as read.
        key: u64,
    },
    /// A known field has the wrong wire type.
    #[error("expected a {expected} value, found a {found} one")]
    WireType {
        /// The wire type of the schema.
        expected: WireType,
        /// The wire type of the key.
        found: WireType,
    },
    /// The length of a packed list is not a multiple of the width of its values.
    #[error("expected a multiple of {width} bytes, found {found}")]
    Packed {
        /// Bytes of one value.
        width: usize,
        /// Bytes of the list.
        found: usize,
    },
    /// A string is not UTF-8.
    #[error("expected UTF-8 text")]
    Utf8,
    /// Decoding would take more memory than [`Limits`](super::Limits) allow for this file.
    #[error(
        "decoding the graph up to here takes more than the {budget} bytes of memory allowed for a file of this size"
    )]
    Budget {
        /// The budget in bytes.
        budget: u64,
    },
}

/// A position in a message of a file.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    file: &'a [u8],
    position: usize,
    /// End of the message; at most the length of the file.
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { file, position: 0, end: file.len() }
    }

    /// The offset from the start of the file.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Bytes to the end of the message.
    pub(super) fn left(&self) -> usize {
        self.end - self.position
    }

    /// The field number and wire type of the next value.
    pub(super) fn key(&mut self) -> Result<(u32, WireType), WireFault> {
        let key = self.varint()?;
        let wire_type = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Length,
            5 => WireType::Fixed32,
            _ => return Err(WireFault::Key { key }),
        };
        match u32::try_from(key) {
            Ok(key) if key >> 3 != 0 => Ok((key >> 3, wire_type)),
            _ => Err(WireFault::Key { key }),
        }
    }

    /// Skips a value.
    pub(super) fn skip(&mut self, wire_type: WireType) -> Result<(), WireFault> {
        match wire_type {
            WireType::Varint => self.varint().map(|_| ()),
            WireType::Fixed64 => self.take(8).map(|_| ()),
            WireType::Length => self.delimited().map(|_| ()),
            WireType::Fixed32 => self.take(4).map(|_| ()),
        }
    }

    /// The bytes of a length-delimited value.
    pub(super) fn delimited(&mut self) -> Result<&'a [u8], WireFault> {
        let length = self.varint()?;
        self.take(length)
    }

    /// Returns a cursor over a length-delimited value and advances this one past it.
    pub(super) fn enter(&mut self) -> Result<Self, WireFault> {
        let length = self.delimited()?.len();
        Ok(Self { position: self.position - length, end: self.position, file: self.file })
    }

    pub(super) fn varint(&mut self) -> Result<u64, WireFault> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireFault::Varint)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireFault> {
        let rest = &self.file[self.position..self.end];
        let bytes = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let bytes = bytes.ok_or(WireFault::Truncated { needed: length, left: rest.len() })?;
        self.position += bytes.len();
        Ok(bytes)
    }
}
