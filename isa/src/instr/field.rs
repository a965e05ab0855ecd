//! The types of instruction fields: legal values, width, text.
//!
//! Widths are constants of the ISA. A machine narrows the legal values (a smaller scratchpad, fewer
//! lines); the program verifier checks that, the codec does not.

use std::fmt;

use super::unit::{Unit, UnitSet};
use crate::numerics::{MAX_SCORE_SHIFT, Scale};

/// Bytes of scratchpad that an address field can address.
pub const MAX_SRAM: u32 = 1 << Sram::WIDTH;

/// Bytes of DRAM that an address field can address.
pub const MAX_DRAM: u64 = 1 << Dram::WIDTH;

/// Number of MAC lines that a line set can name.
pub const MAX_LINES: u32 = 256;

/// A type of instruction fields.
///
/// `to_bits` and `from_bits` are inverse: every legal bit pattern is the encoding of exactly one
/// value. `parse` reads what `Display` writes.
pub trait Field: Copy + fmt::Display {
    /// Width in bits, at most 64.
    const WIDTH: u32;
    /// Width in bits of its short form, if it has one: whole bytes, as `WIDTH` then is.
    const SHORT: Option<u32> = None;
    /// Description of the type in the reference, with units and legal values.
    const MEANING: &'static str;
    /// The expected syntax in messages; the [`NAMES`](Field::NAMES) follow.
    const TEXT: &'static str = Self::MEANING;
    /// Zero, or the first choice, or the smallest set that is legal.
    const ZERO: Self;
    /// The bits of the value; an excessive value sets bits beyond `WIDTH`.
    fn to_bits(self) -> u64;
    /// The value of the bits; `None` if they are not a legal pattern.
    fn from_bits(bits: u64) -> Option<Self>;
    /// The words of its text, if it is one of a set.
    const NAMES: &'static [&'static str] = &[];
    /// Parses a text; integers may be decimal or hexadecimal. The value may exceed `WIDTH`.
    fn parse(text: &str) -> Option<Self>;
    /// Whether it is a scratchpad address.
    const IS_SRAM: bool = false;
    /// The address itself, if the field is a scratchpad address.
    fn as_sram(&mut self) -> Option<&mut Sram> {
        None
    }
}

/// The bits of a text, if it is a legal value.
pub(crate) fn bits_of<F: Field>(text: &str) -> Option<u64> {
    let bits = F::parse(text)?.to_bits();
    (bits >> F::WIDTH == 0 && F::from_bits(bits).is_some()).then_some(bits)
}

/// An integer that is not negative: decimal, or hexadecimal after `0x`.
pub(crate) fn integer<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` would accept signs.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    T::try_from(u64::from_str_radix(digits, radix).ok()?).ok()
}

/// A byte address in the scratchpad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sram(pub u32);

impl Field for Sram {
    const WIDTH: u32 = 24;
    const ZERO: Self = Sram(0);
    const MEANING: &'static str = "scratchpad byte address";
    const TEXT: &'static str = "a place in the scratchpad, as `sram:0x40` or `buffer+16`";
    fn to_bits(self) -> u64 {
        u64::from(self.0)
    }
    fn from_bits(bits: u64) -> Option<Self> {
        Some(Sram(bits as u32))
    }
    const IS_SRAM: bool = true;
    fn as_sram(&mut self) -> Option<&mut Sram> {
        Some(self)
    }
    fn parse(text: &str) -> Option<Self> {
        integer(text.strip_prefix("sram:")?).map(Sram)
    }
}

impl fmt::Display for Sram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sram:{:#x}", self.0)
    }
}

/// A byte address in DRAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dram(pub u64);

impl Field for Dram {
    const WIDTH: u32 = 40;
    const SHORT: Option<u32> = Some(24);
    const ZERO: Self = Dram(0);
    const MEANING: &'static str = "DRAM byte address";
    const TEXT: &'static str = "a place in DRAM, as `dram:0x40` or `tensor+16`";
    fn to_bits(self) -> u64 {
        self.0
    }
    fn from_bits(bits: u64) -> Option<Self> {
        Some(Dram(bits))
    }
    fn parse(text: &str) -> Option<Self> {
        integer(text.strip_prefix("dram:")?).map(Dram)
    }
}

impl fmt::Display for Dram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dram:{:#x}", self.0)
    }
}

impl Field for u16 {
    const WIDTH: u32 = 16;
    const SHORT: Option<u32> = Some(8);
    const ZERO: Self = 0;
    const MEANING: &'static str = "count";
    fn to_bits(self) -> u64 {
        u64::from(self)
    }
    fn from_bits(bits: u64) -> Option<Self> {
        u16::try_from(bits).ok()
    }
    fn parse(text: &str) -> Option<Self> {
        integer(text)
    }
}

impl Field for u32 {
    const WIDTH: u32 = 32;
    const SHORT: Option<u32> = Some(16);
    const ZERO: Self = 0;
    const MEANING: &'static str = "number of bytes";
    fn to_bits(self) -> u64 {
        u64::from(self)
    }
    fn from_bits(bits: u64) -> Option<Self> {
        u32::try_from(bits).ok()
    }
    fn parse(text: &str) -> Option<Self> {
        integer(text)
    }
}

impl Field for bool {
    const WIDTH: u32 = 1;
    const ZERO: Self = false;
    const MEANING: &'static str = "true or false";
    const TEXT: &'static str = "one of";
    const NAMES: &'static [&'static str] = &["false", "true"];
    fn to_bits(self) -> u64 {
        u64::from(self)
    }
    fn from_bits(bits: u64) -> Option<Self> {
        Some(bits != 0)
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Multiplier of a rescaled add; a negative one subtracts.
impl Field for i32 {
    const WIDTH: u32 = 32;
    const ZERO: Self = 0;
    const MEANING: &'static str = "integer multiplier";
    fn to_bits(self) -> u64 {
        u64::from(self.cast_unsigned())
    }
    fn from_bits(bits: u64) -> Option<Self> {
        u32::try_from(bits).ok().map(u32::cast_signed)
    }
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('-') {
            Some(digits) => {
                integer(digits).and_then(|magnitude: i64| i32::try_from(-magnitude).ok())
            }
            None => integer(text),
        }
    }
}

/// Defines a number of something.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident, $width:literal, $short:expr, $meaning:literal;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl Field for $name {
            const WIDTH: u32 = $width;
            const SHORT: Option<u32> = $short;
            const ZERO: Self = $name(0);
            const MEANING: &'static str = $meaning;
            fn to_bits(self) -> u64 {
                u64::from(self.0)
            }
            fn from_bits(bits: u64) -> Option<Self> {
                Some($name(bits as u32))
            }
            fn parse(text: &str) -> Option<Self> {
                integer(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+ };
}

counts! {
    /// A number of entries of a sparse pattern.
    Entries, 24, None, "number of entries";
    /// A number of cycles that an instruction states.
    Cycles, 32, Some(16), "number of cycles";
    /// A number of bytes of the scratchpad.
    SramBytes, 24, None, "number of scratchpad bytes";
}

/// Right shift of a rescaled add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift(pub u8);

impl Field for Shift {
    const WIDTH: u32 = 6;
    const ZERO: Self = Shift(0);
    const MEANING: &'static str = "right shift, 0 to 62";
    fn to_bits(self) -> u64 {
        u64::from(self.0)
    }
    fn from_bits(bits: u64) -> Option<Self> {
        (bits <= 62).then_some(Shift(bits as u8))
    }
    fn parse(text: &str) -> Option<Self> {
        integer(text).map(Shift)
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much coarser the unit of scores is than log2 / 256: by `2^shift`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoreShift(pub u8);

impl Field for ScoreShift {
    const WIDTH: u32 = 4;
    const ZERO: Self = ScoreShift(0);
    const MEANING: &'static str = "shift of scores, 0 to 8";
    fn to_bits(self) -> u64 {
        u64::from(self.0)
    }
    fn from_bits(bits: u64) -> Option<Self> {
        (bits <= MAX_SCORE_SHIFT.into()).then_some(ScoreShift(bits as u8))
    }
    fn parse(text: &str) -> Option<Self> {
        integer(text).map(ScoreShift)
    }
}

impl fmt::Display for ScoreShift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A requantisation multiplier: mantissa in the low 31 bits, shift in the next 6.
impl Field for Scale {
    const WIDTH: u32 = 37;
    const ZERO: Self = Scale::ZERO;
    const MEANING: &'static str = "multiplier mantissa / 2^shift: mantissa in the low 31 bits, shift in the high 6; 0, or mantissa at least 2^30 and shift at most 62";
    const TEXT: &'static str = "a number that is not negative and below 2^31";
    fn to_bits(self) -> u64 {
        u64::from(self.mantissa() as u32) | u64::from(self.shift()) << 31
    }
    fn from_bits(bits: u64) -> Option<Self> {
        let [a, b, c, d] = ((bits & 0x7fff_ffff) as u32).to_le_bytes();
        Scale::from_bytes([a, b, c, d, (bits >> 31) as u8, 0, 0, 0]).ok()
    }
    fn parse(text: &str) -> Option<Self> {
        Scale::from_f64(text.parse().ok()?).ok()
    }
}

/// A run of consecutive MAC lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineSet {
    /// The first line.
    pub first: u16,
    /// Number of lines, at least one.
    pub count: u16,
}

impl LineSet {
    /// The line after the last one.
    pub fn end(self) -> u32 {
        u32::from(self.first) + u32::from(self.count)
    }
}

impl Field for LineSet {
    const WIDTH: u32 = 17;
    const ZERO: Self = LineSet { first: 0, count: 1 };
    const MEANING: &'static str = "run of MAC lines: the first in the low 8 bits, their count in the high 9; at least 1, none beyond 255";
    const TEXT: &'static str =
        "MAC lines, as `16+48`: the first and how many, none beyond line 255";
    fn to_bits(self) -> u64 {
        // A first line beyond 8 bits must not overlap the count: it has to fail the width check.
        if self.first > 0xff {
            u64::MAX
        } else {
            u64::from(self.first) | u64::from(self.count) << 8
        }
    }
    fn from_bits(bits: u64) -> Option<Self> {
        let lines = LineSet { first: (bits & 0xff) as u16, count: (bits >> 8) as u16 };
        (lines.count > 0 && lines.end() <= MAX_LINES).then_some(lines)
    }
    fn parse(text: &str) -> Option<Self> {
        let (first, count) = text.split_once('+')?;
        Some(LineSet { first: integer(first)?, count: integer(count)? })
    }
}

impl fmt::Display for LineSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first, self.count)
    }
}

impl Field for UnitSet {
    const WIDTH: u32 = 12;
    const ZERO: Self = UnitSet::EMPTY;
    const MEANING: &'static str = "set of units";
    const TEXT: &'static str = "units, as `load|vector`:";
    const NAMES: &'static [&'static str] = Unit::NAMES;
    fn to_bits(self) -> u64 {
        u64::from(self.bits())
    }
    fn from_bits(bits: u64) -> Option<Self> {
        UnitSet::from_bits(u16::try_from(bits).ok()?)
    }
    fn parse(text: &str) -> Option<Self> {
        text.split('|').map(Unit::parse).collect()
    }
}

const UNIT_NAMES: [&str; Unit::COUNT] = {
    let mut names = [""; Unit::COUNT];
    let mut unit = 0;
    while unit < Unit::COUNT {
        names[unit] = Unit::ALL[unit].name();
        unit += 1;
    }
    names
};

impl Field for Unit {
    const WIDTH: u32 = 4;
    const ZERO: Self = Unit::ALL[0];
    const MEANING: &'static str = "number of a unit";
    const TEXT: &'static str = "one of";
    const NAMES: &'static [&'static str] = &UNIT_NAMES;
    fn to_bits(self) -> u64 {
        self.index() as u64
    }
    fn from_bits(bits: u64) -> Option<Self> {
        Unit::ALL.get(bits as usize).copied()
    }
    fn parse(text: &str) -> Option<Self> {
        Unit::ALL.into_iter().find(|unit| unit.name() == text)
    }
}

/// Defines an enumeration whose variants are the legal patterns of a field.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident, $width:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every choice, by its bits.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The text of the choice.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl Field for $name {
            const WIDTH: u32 = $width;
            const ZERO: Self = Self::ALL[0];
            const MEANING: &'static str = concat!("choice, from 0:" $(, " ", $text)+);
            const TEXT: &'static str = "one of";
            fn to_bits(self) -> u64 { self as u64 }
            fn from_bits(bits: u64) -> Option<Self> { Self::ALL.get(bits as usize).copied() }
            const NAMES: &'static [&'static str] = &[$($text),+];
            fn parse(text: &str) -> Option<Self> { Self::ALL.iter().copied().find(|choice| choice.name() == text) }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.name()) }
        }
    };
}

choices! {
    /// Which of the two engines executes.
    Engine, 1 {
        /// The engine for dense blocks.
        Denser = "denser",
        /// The engine for scattered non-zeros.
        Sparser = "sparser",
    }
}

choices! {
    /// Width of the integers that an instruction writes.
    Width, 2 {
        /// Requantised to 8 bits.
        I8 = "i8",
        /// Requantised to 16 bits.
        I16 = "i16",
        /// Raw 32-bit accumulators, to be continued by another instruction.
        I32 = "i32",
    }
}

impl Width {
    /// Bytes of one element.
    pub const fn bytes(self) -> u32 {
        match self {
            Width::I8 => 1,
            Width::I16 => 2,
            Width::I32 => 4,
        }
    }
}

choices! {
    /// The kind of data of a transfer, by which reports count traffic.
    Traffic, 3 {
        /// Weight matrices.
        Weights = "weights",
        /// Biases, multipliers, tables, embeddings.
        Params = "params",
        /// Indices of non-zeros.
        Indices = "indices",
        /// Inputs of the model.
        Inputs = "inputs",
        /// Outputs of the model.
        Outputs = "outputs",
        /// Intermediate tensors that are spilled to DRAM.
        Activations = "activations",
    }
}
