//! Instructions: one table, and everything that is derived from it.
//!
//! The manual (`docs/isa.md`, made by [`manual`](crate::manual)) quotes the sections that follow.
//!
//! # Encoding
//!
//! An instruction is a word of 64 bytes, little-endian. The opcode is in bits 0..8, the units it
//! waits for in bits 8..20, the units it signals in bits 20..32, one bit per unit; operands follow
//! at the positions that the instruction's table states. Bits that no field covers are zero, so
//! each instruction has exactly one encoding.
//!
//! # Synchronisation
//!
//! Units run concurrently, each in program order. For every ordered pair of units there is a token
//! counter, zero at the start. An instruction with unit `p` in its *wait* set starts only after it
//! has taken one token that `p` sent to its own unit; an instruction with unit `c` in its *signal*
//! set sends one token to `c` when it completes. A pair has one sender and one receiver, both in
//! order, so the i-th wait always takes the i-th token: who waits for whom is known without running
//! anything. A unit starts and completes its instructions in order. It starts one when the last one
//! has read all its operands, which is before that one has completed; to read what the last one
//! writes, it waits for a token that it sends to itself. That tokens order all accesses that
//! conflict is proved of each program before it runs: see [the verifier](verifier.md).
//!
//! MAC lines need no tokens: an instruction that names lines which another unit has taken starts
//! when all of its lines are free. Lines are not reserved; of two that could start at once, the
//! unit with the lower number does.

#[cfg(test)]
pub(crate) mod arbitrary;
mod derive;
pub mod field;
mod resources;
pub mod table;
#[cfg(test)]
pub(crate) mod tests;
mod transfers;
pub mod unit;

pub use field::{Dram, Engine, Entries, Field, LineSet, Shift, Sram, Traffic, Width};
pub use table::{Op, TABLE};
pub use unit::{Unit, UnitSet};

use std::fmt;

/// Bytes of an instruction word.
pub const WORD_BYTES: usize = 64;

/// Bits of an instruction word.
pub const WORD_BITS: u32 = WORD_BYTES as u32 * 8;

/// First bit of the operands; below are opcode, wait set and signal set.
pub const OPERAND_BIT: u32 = 32;

/// First bit of the wait set.
pub(crate) const WAIT_BIT: u32 = 8;

/// First bit of the signal set.
pub(crate) const SIGNAL_BIT: u32 = 20;

/// An instruction: what to do, and which units to wait for and to signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instr {
    /// Units whose token must have arrived before the instruction starts.
    pub wait: UnitSet,
    /// Units that get a token when the instruction completes.
    pub signal: UnitSet,
    /// The operation and its operands.
    pub op: Op,
}

/// One row of the instruction table, as data for the codec, the disassembler and the manual.
#[derive(Debug)]
pub struct Spec {
    /// The low byte of the word.
    pub opcode: u8,
    /// The name in assembly.
    pub mnemonic: &'static str,
    /// What it does, in Markdown.
    pub doc: &'static [&'static str],
    /// Its operands in the order of assembly.
    pub fields: &'static [FieldSpec],
}

/// One operand of an instruction.
#[derive(Debug)]
pub struct FieldSpec {
    /// The name in assembly.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static [&'static str],
    /// Its lowest bit in the word.
    pub bit: u32,
    /// Its width in bits.
    pub width: u32,
    /// What its type can hold.
    pub meaning: &'static str,
    /// What its text is, as messages say it; the names follow.
    pub text: &'static str,
    /// Whether bits within the width stand for a value.
    pub legal: fn(u64) -> bool,
    /// The bits of a value's text in assembly.
    pub parse: fn(&str) -> Option<u64>,
    /// The words of its text, where they are few.
    pub names: &'static [&'static str],
    /// Its bits where assembly leaves it out; `None` where it may not.
    pub default: Option<u64>,
    /// Whether it is a scratchpad address.
    pub is_sram: bool,
}

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

/// A word that is no instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No instruction has this opcode.
    #[error("opcode {0:#04x} is not in the instruction table")]
    Opcode(u8),
    /// A field holds a pattern that means nothing.
    #[error("{mnemonic}: field {field} holds {bits:#x}; expected {meaning}")]
    Field {
        /// The instruction.
        mnemonic: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        bits: u64,
        /// What it may hold.
        meaning: &'static str,
    },
    /// A reserved bit is set.
    #[error("{mnemonic}: reserved bit {bit} is set")]
    Reserved {
        /// The instruction.
        mnemonic: &'static str,
        /// The first such bit.
        bit: u32,
    },
}

/// A word of the instruction stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word(pub [u8; WORD_BYTES]);

impl Word {
    /// The `width` bits from bit `bit`.
    fn get(&self, bit: u32, width: u32) -> u64 {
        let mut bits = 0u128;
        let first = bit / 8;
        for byte in (first..(bit + width).div_ceil(8)).rev() {
            bits = bits << 8 | u128::from(self.0[byte as usize]);
        }
        ((bits >> (bit % 8)) & ((1u128 << width) - 1)) as u64
    }

    /// Sets bits that are zero so far.
    pub(crate) fn set(&mut self, bit: u32, bits: u64) {
        let first = (bit / 8) as usize;
        let shifted = u128::from(bits) << (bit % 8);
        for (byte, part) in self.0[first..].iter_mut().zip(shifted.to_le_bytes()) {
            *byte |= part;
        }
    }

    fn put<F: Field>(
        &mut self,
        mnemonic: &'static str,
        field: &'static str,
        bit: u32,
        value: F,
    ) -> Result<(), EncodeError> {
        let bits = value.to_bits();
        // A pattern that decodes to nothing must not leave the encoder either.
        if (F::WIDTH < 64 && bits >> F::WIDTH != 0) || F::from_bits(bits).is_none() {
            return Err(EncodeError { mnemonic, field, value: value.to_string(), width: F::WIDTH });
        }
        self.set(bit, bits);
        Ok(())
    }

    fn take<F: Field>(
        &self,
        mnemonic: &'static str,
        field: &'static str,
        bit: u32,
    ) -> Result<F, DecodeError> {
        let bits = self.get(bit, F::WIDTH);
        F::from_bits(bits).ok_or(DecodeError::Field { mnemonic, field, bits, meaning: F::MEANING })
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chunks(4).rev().try_for_each(|part| {
            write!(f, "{:08x} ", u32::from_le_bytes(part.try_into().unwrap_or_default()))
        })
    }
}

impl Instr {
    /// An instruction that neither waits nor signals.
    pub fn new(op: impl Into<Op>) -> Instr {
        Instr { wait: UnitSet::EMPTY, signal: UnitSet::EMPTY, op: op.into() }
    }

    /// The word of the instruction.
    ///
    /// # Errors
    /// An operand that its field cannot hold.
    pub fn encode(&self) -> Result<Word, EncodeError> {
        let mut word = Word([0; WORD_BYTES]);
        let spec = self.op.spec();
        word.set(0, u64::from(spec.opcode));
        word.put(spec.mnemonic, "wait", WAIT_BIT, self.wait)?;
        word.put(spec.mnemonic, "signal", SIGNAL_BIT, self.signal)?;
        self.op.put_operands(&mut word)?;
        Ok(word)
    }

    /// The instruction of a word.
    ///
    /// # Errors
    /// An unknown opcode, a field without meaning, a reserved bit that is set.
    pub fn decode(word: &Word) -> Result<Instr, DecodeError> {
        let opcode = word.0[0];
        let spec =
            TABLE.iter().find(|spec| spec.opcode == opcode).ok_or(DecodeError::Opcode(opcode))?;
        let instr = Instr {
            wait: word.take(spec.mnemonic, "wait", WAIT_BIT)?,
            signal: word.take(spec.mnemonic, "signal", SIGNAL_BIT)?,
            op: Op::take_operands(opcode, word)?,
        };
        let again = instr.encode().map_err(|_| DecodeError::Opcode(opcode))?;
        let stray = word.0.iter().zip(again.0).position(|(a, b)| *a != b);
        match stray {
            None => Ok(instr),
            Some(byte) => Err(DecodeError::Reserved {
                mnemonic: spec.mnemonic,
                bit: byte as u32 * 8 + (word.0[byte] ^ again.0[byte]).trailing_zeros(),
            }),
        }
    }
}

/// One line of assembly: `mnemonic name=value ...`, operands in table order, then `wait=` and
/// `signal=` where not empty.
impl fmt::Display for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.op.fmt(f)?;
        if !self.wait.is_empty() {
            write!(f, " wait={}", self.wait)?;
        }
        if !self.signal.is_empty() {
            write!(f, " signal={}", self.signal)?;
        }
        Ok(())
    }
}
