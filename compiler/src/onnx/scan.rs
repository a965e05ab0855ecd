//! Checks a protobuf message before anything is decoded.
//!
//! prost allocates while it decodes, and an element of a repeated message may take two bytes in the
//! file but hundreds in memory. [`scan`] walks the bytes once without allocating, guided by the
//! generated table of messages, and rejects a message that would not decode or would exceed a
//! memory budget. Every length is compared with the rest of the enclosing message. Nesting needs no
//! limit: no message of the table contains itself (the generator checks it), and unknown fields are
//! skipped by their length. A graph inside an attribute is bytes here; it is scanned when the
//! attribute is decoded.

use super::wire::{Cursor, WireFault, WireType};

/// A protobuf message as prost decodes it.
#[derive(Debug)]
pub(super) struct Message {
    /// Bytes of the Rust type.
    size: usize,
    /// The fields that prost decodes.
    fields: &'static [Field],
}

/// The most fields a message of the table has.
const MAX_FIELDS: usize = 16;

impl Message {
    pub(super) const fn new(size: usize, fields: &'static [Field]) -> Self {
        assert!(fields.len() <= MAX_FIELDS, "MAX_FIELDS is too small");
        Self { size, fields }
    }
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    number: u32,
    name: &'static str,
    repeated: bool,
    kind: Kind,
}

impl Field {
    pub(super) const fn single(number: u32, name: &'static str, kind: Kind) -> Self {
        Self { number, name, repeated: false, kind }
    }

    pub(super) const fn repeated(number: u32, name: &'static str, kind: Kind) -> Self {
        Self { number, name, repeated: true, kind }
    }
}

/// The content of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Varint32,
    Varint64,
    Fixed32,
    Fixed64,
    /// UTF-8, copied out of the file.
    Text,
    /// Shares the file's memory.
    Bytes,
    Message(&'static Message),
}

impl Kind {
    /// The wire type of one value, and the bytes that it takes inside its message or list.
    fn layout(self) -> (WireType, usize) {
        match self {
            Self::Varint32 => (WireType::Varint, 4),
            Self::Varint64 => (WireType::Varint, 8),
            Self::Fixed32 => (WireType::Fixed32, 4),
            Self::Fixed64 => (WireType::Fixed64, 8),
            Self::Text => (WireType::Length, size_of::<String>()),
            Self::Bytes => (WireType::Length, size_of::<bytes::Bytes>()),
            Self::Message(message) => (WireType::Length, message.size),
        }
    }
}

/// The position and reason of a failed scan.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScanError {
    /// Bytes from the start of the file to the key or value at fault.
    pub(super) offset: usize,
    /// The field, such as `graph.node[3].attribute[0].name`; empty for the outermost message.
    pub(super) path: String,
    pub(super) fault: WireFault,
}

/// Checks that `bytes` decode as `message` within `budget` bytes of heap, and takes what that needs
/// from the budget.
///
/// The estimate is an upper bound of prost's memory at any time, without `bytes` fields, which
/// share the file's memory. It takes time linear in the file, and no heap.
pub(super) fn scan(bytes: &[u8], message: &Message, budget: &mut u64) -> Result<(), ScanError> {
    let mut scan = Scan { budget: *budget, used: 0 };
    scan.message(Cursor::new(bytes), message)?;
    *budget -= scan.used;
    Ok(())
}

/// A `Vec` that doubles its capacity holds up to three times its elements during a move, and starts
/// with a capacity of four.
const VEC_GROWTH: u64 = 4;

/// The most bytes that an allocator adds to a block.
const BLOCK_OVERHEAD: u64 = 32;

struct Scan {
    budget: u64,
    used: u64,
}

impl Scan {
    fn message(&mut self, mut cursor: Cursor<'_>, message: &Message) -> Result<(), ScanError> {
        let mut seen = [0usize; MAX_FIELDS];
        while cursor.left() > 0 {
            let offset = cursor.position();
            let here = |fault| ScanError { offset, path: String::new(), fault };
            let (number, wire_type) = cursor.key().map_err(here)?;
            match message.fields.iter().position(|field| field.number == number) {
                None => cursor.skip(wire_type).map_err(here)?,
                Some(index) => {
                    let field = &message.fields[index];
                    self.field(&mut cursor, field, wire_type)
                        .map_err(|error| error.inside(field, seen[index]))?;
                    seen[index] += 1;
                }
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        cursor: &mut Cursor<'_>,
        field: &Field,
        found: WireType,
    ) -> Result<(), ScanError> {
        let offset = cursor.position();
        let here = |fault| ScanError { offset, path: String::new(), fault };
        let (expected, width) = field.kind.layout();
        let packed = field.repeated && expected != WireType::Length && found == WireType::Length;
        if found != expected && !packed {
            return Err(here(WireFault::WireType { expected, found }));
        }

        let mut values = 1;
        if packed {
            values =
                packed_values(&mut cursor.enter().map_err(here)?, expected, width).map_err(here)?;
        }
        let growth = if field.repeated { VEC_GROWTH } else { 1 };
        self.take(values * width as u64 * growth).map_err(here)?;

        match field.kind {
            _ if packed => {}
            Kind::Message(message) => {
                let inner = cursor.enter().map_err(here)?;
                self.message(inner, message)?;
            }
            Kind::Text => {
                let text = cursor.delimited().map_err(here)?;
                self.take(text.len() as u64 + BLOCK_OVERHEAD).map_err(here)?;
                std::str::from_utf8(text).map_err(|_| here(WireFault::Utf8))?;
            }
            _ => cursor.skip(expected).map_err(here)?,
        }
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<(), WireFault> {
        self.used = self.used.saturating_add(bytes);
        if self.used > self.budget {
            return Err(WireFault::Budget { budget: self.budget });
        }
        Ok(())
    }
}

/// Number of values in a packed list.
fn packed_values(
    list: &mut Cursor<'_>,
    wire_type: WireType,
    width: usize,
) -> Result<u64, WireFault> {
    if wire_type != WireType::Varint {
        let found = list.left();
        if !found.is_multiple_of(width) {
            return Err(WireFault::Packed { width, found });
        }
        return Ok((found / width) as u64);
    }
    let mut values = 0;
    while list.left() > 0 {
        list.varint()?;
        values += 1;
    }
    Ok(values)
}

impl ScanError {
    /// The error as seen from the message that contains `field`.
    fn inside(mut self, field: &Field, element: usize) -> Self {
        let element = if field.repeated { format!("[{element}]") } else { String::new() };
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{}{element}{dot}{}", field.name, self.path);
        self
    }
}
