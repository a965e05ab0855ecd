//! Directives for data.

use super::text::signed;
use crate::instr::Field as _;
use crate::instr::field::integer;
use crate::numerics::Scale;
use vitcod_support::random::SplitMix64;

/// The most bytes that all seeds of a text may generate.
pub const MAX_SEEDED_BYTES: usize = 96 << 20;

/// A kind of data.
pub(super) struct Kind {
    name: &'static str,
    /// Bytes of an integer; `None` if the values are not integers.
    integer: Option<usize>,
    /// The expected syntax of a value.
    pub(super) expected: &'static str,
    /// Appends the bytes of a value.
    pub(super) append: fn(&str, &mut Vec<u8>) -> Option<()>,
}

/// A kind whose values have a fixed number of bytes, little-endian.
macro_rules! fixed {
    ($name:literal, $integer:expr, $expected:literal, $parse:expr) => {
        Kind {
            name: $name,
            integer: $integer,
            expected: $expected,
            append: |text, bytes| {
                bytes.extend($parse(text)?);
                Some(())
            },
        }
    };
}

const KINDS: [Kind; 8] = [
    fixed!(".i8", Some(1), "an integer from -128 to 127", |text| signed(text).map(i8::to_le_bytes)),
    fixed!(".u8", Some(1), "an integer from 0 to 255", |text| integer(text).map(u8::to_le_bytes)),
    fixed!(".i16", Some(2), "an integer of 16 bits", |text| signed(text).map(i16::to_le_bytes)),
    fixed!(".u16", Some(2), "an integer from 0 to 65535", |text| integer(text)
        .map(u16::to_le_bytes)),
    fixed!(".i32", Some(4), "an integer of 32 bits", |text| signed(text).map(i32::to_le_bytes)),
    fixed!(".u32", Some(4), "an integer from 0 to 4294967295", |text| integer(text)
        .map(u32::to_le_bytes)),
    fixed!(".scale", None, "a multiplier", |text| Scale::parse(text).map(Scale::to_bytes)),
    Kind {
        name: ".hex",
        integer: None,
        expected: "an even number of hexadecimal digits",
        append: hex,
    },
];

impl Kind {
    /// `count` uniform integers from a seed. Deducts their bytes from `room`, the number of bytes
    /// that may still be generated.
    pub(super) fn random(
        &self,
        seed: u64,
        count: usize,
        room: &mut usize,
    ) -> Result<Vec<u8>, String> {
        let Some(width) = self.integer else {
            return Err(format!("`{}` takes no seed", self.name));
        };
        let bytes = count.checked_mul(width).filter(|bytes| bytes <= room);
        let bytes = bytes
            .ok_or_else(|| format!("seeds make at most {MAX_SEEDED_BYTES} bytes in a text"))?;
        *room -= bytes;
        let mut random = SplitMix64::new(seed);
        Ok((0..count).flat_map(|_| random.bits().to_le_bytes().into_iter().take(width)).collect())
    }
}

/// The kind of a directive.
pub(super) fn kind(directive: &str) -> Option<&'static Kind> {
    const { &KINDS }.iter().find(|kind| kind.name == directive)
}

/// Names of the directives.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    const { &KINDS }.iter().map(|kind| kind.name)
}

fn hex(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(())
}
