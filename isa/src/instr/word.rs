//! The encoding of instructions as words of 4 to [`MAX_WORD_BYTES`] bytes. The documentation of
//! [`instr`](super) describes it.

use std::fmt;
use std::ops::Deref;

use super::table::{MAX_OPERANDS, Op, TABLE};
use super::{Field, FieldSpec, Instr, Spec, UnitSet};

/// The length of a word is a multiple of this number of bytes.
pub const WORD_ALIGN: usize = 4;

/// The most bytes of a word.
pub const MAX_WORD_BYTES: usize = 64;

/// Operands up to this width have one form, whether assembly may omit them or not: saying that one
/// is absent would save nothing.
const FLAG_WIDTH: u32 = 4;

/// First bit of the wait set.
const WAIT_BIT: u32 = 8;

/// First bit of the signal set.
const SIGNAL_BIT: u32 = 20;

/// First bit of the forms; below are opcode, wait set and signal set.
const FORMS_BIT: u32 = 32;

/// The bits of an instruction's operands in the order of the table; the rest is 0.
pub(crate) type Operands = [u64; MAX_OPERANDS];

/// A value that its field cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mnemonic}: {field} = {value} does not fit {width} bits")]
pub struct EncodeError {
    /// The instruction.
    pub mnemonic: &'static str,
    /// The operand.
    pub field: &'static str,
    /// The operand's text.
    pub value: String,
    /// The width of the field.
    pub width: u32,
}

/// Bytes that do not begin with an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No instruction has this opcode.
    #[error("opcode {0:#04x} is not in the instruction table")]
    Opcode(u8),
    /// The bytes end within the word.
    #[error("the word ends after {bytes} bytes")]
    Truncated {
        /// Bytes that are there.
        bytes: usize,
    },
    /// An operand has a form that does not exist.
    #[error("{mnemonic}: operand {field} has no form {code}")]
    Form {
        /// The instruction.
        mnemonic: &'static str,
        /// The operand.
        field: &'static str,
        /// The form found.
        code: u64,
    },
    /// A value is stored in a form that is longer than necessary.
    #[error("{mnemonic}: operand {field} = {bits:#x} has a shorter form")]
    Long {
        /// The instruction.
        mnemonic: &'static str,
        /// The operand.
        field: &'static str,
        /// The value.
        bits: u64,
    },
    /// A field has an illegal pattern.
    #[error("{mnemonic}: field {field} holds {bits:#x}; expected {meaning}")]
    Field {
        /// The instruction.
        mnemonic: &'static str,
        /// The field.
        field: &'static str,
        /// The bits found.
        bits: u64,
        /// The legal values.
        meaning: &'static str,
    },
    /// A bit of the padding is set.
    #[error("{mnemonic}: bit {bit} of the padding is set")]
    Padding {
        /// The instruction.
        mnemonic: &'static str,
        /// The first such bit.
        bit: u32,
    },
}

/// The encoding of an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word {
    bits: Bits,
    bytes: usize,
}

impl Deref for Word {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bits.0[..self.bytes]
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The forms in which words store an operand, by their codes: the width of each, the shortest
/// first. A form without bits stands for the default; the others hold the low bits, and the
/// remaining ones are zero.
#[derive(Clone, Copy)]
pub struct Forms {
    widths: [u32; 3],
    count: usize,
}

impl Forms {
    pub(crate) const fn of(width: u32, short: Option<u32>, default: Option<u64>) -> Forms {
        let mut forms = Forms { widths: [0; 3], count: 0 };
        if default.is_some() && width > FLAG_WIDTH {
            forms.count = 1;
        }
        if let Some(short) = short {
            forms.widths[forms.count] = short;
            forms.count += 1;
        }
        forms.widths[forms.count] = width;
        forms.count += 1;
        forms
    }

    /// Whether the operand has a single form, which has no code.
    const fn is_one(&self) -> bool {
        self.count == 1
    }

    /// Whether forms are whole bytes if there are several, and the short one is shorter.
    pub(super) const fn are_sound(&self, width: u32) -> bool {
        let mut i = 0;
        while i + 1 < self.count {
            if !self.widths[i].is_multiple_of(8) || self.widths[i] >= self.widths[i + 1] {
                return false;
            }
            i += 1;
        }
        self.is_one() || width.is_multiple_of(8)
    }

    /// Bits of the code.
    const fn code_bits(&self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }

    /// The width of the form with this code.
    fn get(&self, code: u64) -> Option<u32> {
        self.widths[..self.count].get(usize::try_from(code).ok()?).copied()
    }

    /// The widths, the shortest first.
    pub(crate) fn widths(&self) -> &[u32] {
        &self.widths[..self.count]
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.widths().fmt(f)
    }
}

impl FieldSpec {
    /// The code and the width of the shortest form that holds these bits, which fit the field.
    fn shortest(&self, bits: u64) -> (u64, u32) {
        let holds = |width: u32| match width {
            0 => self.default == Some(bits),
            _ => bits >> width == 0,
        };
        let code = self.forms.widths().iter().position(|width| holds(*width));
        let code = code.unwrap_or(self.forms.count - 1);
        (code as u64, self.forms.widths[code])
    }
}

impl Spec {
    /// The most bytes of its words.
    pub(super) const fn max_word_bytes(&self) -> usize {
        let (mut fixed, mut variable, mut i) = (FORMS_BIT, 0, 0);
        while i < self.fields.len() {
            let field = &self.fields[i];
            fixed += field.forms.code_bits();
            *(if field.forms.is_one() { &mut fixed } else { &mut variable }) += field.width;
            i += 1;
        }
        bytes_of(fixed.next_multiple_of(8) + variable)
    }

    /// The first bit and the width of each operand in a word, and the number of the word's bytes,
    /// if the operands with several forms have these widths.
    fn layout(&self, widths: &[u32; MAX_OPERANDS]) -> ([(u32, u32); MAX_OPERANDS], usize) {
        let mut places = [(0, 0); MAX_OPERANDS];
        let mut end = FORMS_BIT + self.fields.iter().map(|f| f.forms.code_bits()).sum::<u32>();
        for (place, field) in places.iter_mut().zip(self.fields) {
            if field.forms.is_one() {
                *place = (end, field.width);
                end += field.width;
            }
        }
        end = end.next_multiple_of(8);
        for ((place, field), width) in places.iter_mut().zip(self.fields).zip(widths) {
            if !field.forms.is_one() {
                *place = (end, *width);
                end += width;
            }
        }
        (places, bytes_of(end))
    }

    /// The word with these operands, each of which fits its field.
    fn word(&self, wait: UnitSet, signal: UnitSet, operands: &Operands) -> Word {
        let mut bits = Bits([0; MAX_WORD_BYTES]);
        bits.set(0, self.opcode.into());
        bits.set(WAIT_BIT, wait.bits().into());
        bits.set(SIGNAL_BIT, signal.bits().into());
        let (mut widths, mut code_bit) = ([0; MAX_OPERANDS], FORMS_BIT);
        for ((field, value), width) in self.fields.iter().zip(operands).zip(&mut widths) {
            let (code, shortest) = field.shortest(*value);
            bits.set(code_bit, code);
            code_bit += field.forms.code_bits();
            *width = shortest;
        }
        let (places, bytes) = self.layout(&widths);
        for ((bit, width), value) in places.into_iter().zip(operands) {
            // An operand without bits has its default, which need not be 0.
            if width > 0 {
                bits.set(bit, *value);
            }
        }
        Word { bits, bytes }
    }
}

/// The bytes of a word whose last operand ends at bit `end`.
const fn bytes_of(end: u32) -> usize {
    (end.div_ceil(8) as usize).next_multiple_of(WORD_ALIGN)
}

/// The bits of a field's value, if the field can hold it: the encoder must not produce a pattern
/// that the decoder rejects.
pub(super) fn operand<F: Field>(
    mnemonic: &'static str,
    field: &'static str,
    value: F,
) -> Result<u64, EncodeError> {
    let bits = value.to_bits();
    if (F::WIDTH < 64 && bits >> F::WIDTH != 0) || F::from_bits(bits).is_none() {
        return Err(EncodeError { mnemonic, field, value: value.to_string(), width: F::WIDTH });
    }
    Ok(bits)
}

/// The value of a field's bits.
pub(super) fn value<F: Field>(
    mnemonic: &'static str,
    field: &'static str,
    bits: u64,
) -> Result<F, DecodeError> {
    F::from_bits(bits).ok_or(DecodeError::Field { mnemonic, field, bits, meaning: F::MEANING })
}

/// The row, the widths of the operands and the number of bytes of the word that begins `bytes`,
/// which need not be an instruction.
fn measure(bytes: &[u8]) -> Result<(&'static Spec, [u32; MAX_OPERANDS], usize), DecodeError> {
    let truncated = DecodeError::Truncated { bytes: bytes.len() };
    let opcode = *bytes.first().ok_or(truncated.clone())?;
    let spec =
        TABLE.iter().find(|spec| spec.opcode == opcode).ok_or(DecodeError::Opcode(opcode))?;
    let bits = Bits::of(bytes);
    let (mut widths, mut code_bit) = ([0; MAX_OPERANDS], FORMS_BIT);
    for (field, width) in spec.fields.iter().zip(&mut widths) {
        let code = bits.get(code_bit, field.forms.code_bits());
        code_bit += field.forms.code_bits();
        *width = field.forms.get(code).ok_or(DecodeError::Form {
            mnemonic: spec.mnemonic,
            field: field.name,
            code,
        })?;
    }
    let (_, length) = spec.layout(&widths);
    // Codes that lie behind the end of the bytes were read as 0; the word ends behind its codes.
    if length > bytes.len() { Err(truncated) } else { Ok((spec, widths, length)) }
}

/// The number of bytes of the word that begins `bytes`, which need not be an instruction.
///
/// # Errors
/// The opcode is unknown, an operand has a form that does not exist, or the bytes end within the
/// word.
pub fn word_bytes(bytes: &[u8]) -> Result<usize, DecodeError> {
    measure(bytes).map(|(_, _, length)| length)
}

impl Instr {
    /// The word of the instruction.
    ///
    /// # Errors
    /// A value does not fit its field.
    pub fn encode(&self) -> Result<Word, EncodeError> {
        Ok(self.op.spec().word(self.wait, self.signal, &self.op.operands()?))
    }

    /// Decodes the word that begins `bytes`; the instruction and the bytes behind the word.
    ///
    /// # Errors
    /// `bytes` do not begin with the word of an instruction.
    pub fn decode(bytes: &[u8]) -> Result<(Instr, &[u8]), DecodeError> {
        let (spec, widths, length) = measure(bytes)?;
        let (mnemonic, bits) = (spec.mnemonic, Bits::of(&bytes[..length]));
        let mut operands: Operands = [0; MAX_OPERANDS];
        let (places, _) = spec.layout(&widths);
        for ((field, value), (bit, width)) in spec.fields.iter().zip(&mut operands).zip(places) {
            *value = match (width, field.default) {
                (0, Some(default)) => default,
                _ => bits.get(bit, width),
            };
            if field.shortest(*value).1 != width {
                return Err(DecodeError::Long { mnemonic, field: field.name, bits: *value });
            }
        }
        let instr = Instr {
            wait: value(mnemonic, "wait", bits.get(WAIT_BIT, UnitSet::WIDTH))?,
            signal: value(mnemonic, "signal", bits.get(SIGNAL_BIT, UnitSet::WIDTH))?,
            op: Op::of_operands(spec.opcode, &operands)?,
        };
        let again = spec.word(instr.wait, instr.signal, &operands).bits;
        match bits.0.iter().zip(again.0).position(|(a, b)| *a != b) {
            None => Ok((instr, &bytes[length..])),
            Some(byte) => Err(DecodeError::Padding {
                mnemonic,
                bit: byte as u32 * 8 + (bits.0[byte] ^ again.0[byte]).trailing_zeros(),
            }),
        }
    }
}

/// The bits of a word, from the lowest bit of the first byte on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bits([u8; MAX_WORD_BYTES]);

impl Bits {
    /// The first bytes, with zeros behind them.
    fn of(bytes: &[u8]) -> Bits {
        let mut bits = Bits([0; MAX_WORD_BYTES]);
        bits.0.iter_mut().zip(bytes).for_each(|(bit, byte)| *bit = *byte);
        bits
    }

    /// The `width` bits from bit `bit`.
    fn get(&self, bit: u32, width: u32) -> u64 {
        let mut bits = 0u128;
        let first = bit / 8;
        for byte in (first..(bit + width).div_ceil(8)).rev() {
            bits = bits << 8 | u128::from(self.0[byte as usize]);
        }
        ((bits >> (bit % 8)) & ((1u128 << width) - 1)) as u64
    }

    /// Sets bits of a field that is still zero.
    fn set(&mut self, bit: u32, bits: u64) {
        let first = (bit / 8) as usize;
        let shifted = u128::from(bits) << (bit % 8);
        for (byte, part) in self.0[first..].iter_mut().zip(shifted.to_le_bytes()) {
            *byte |= part;
        }
    }
}
