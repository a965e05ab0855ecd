//! Code derived from the rows of the [table](super::table).

use super::{MAX_WORD_BYTES, Spec};

macro_rules! instructions {
    ($(
        $(#[doc = $doc:literal])+
        $opcode:literal $mnemonic:literal $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident : $ty:ident $(or $default:literal)? ),* $(,)?
        }
    )*) => {
        use std::fmt;

        use $crate::instr::derive::{assert_sound, most, one, optional};
        use $crate::instr::field::bits_of;
        use $crate::instr::word::{Operands, operand, value};
        use $crate::instr::{DecodeError, EncodeError, Field, FieldSpec, Forms, Spec};

        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq)]
            pub struct $name {
                $( $(#[doc = $field_doc])+ pub $field: $ty ),*
            }

            impl $name {
                /// Every operand zero, its first choice, or the smallest set that is legal.
                pub const ZERO: $name = $name { $( $field: <$ty as Field>::ZERO ),* };
            }

            impl From<$name> for Op {
                fn from(operands: $name) -> Op { Op::$name(operands) }
            }
        )*

        /// An operation with its operands.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Op {
            $( $(#[doc = $doc])+ $name($name) ),*
        }

        /// The rows of the table, by opcode.
        pub static TABLE: &[Spec] = ROWS;

        /// The most scratchpad addresses of an instruction.
        pub const MAX_SRAM_OPERANDS: usize = most(&[$( 0 $( + <$ty as Field>::IS_SRAM as usize )* ),*]);

        /// The most operands of an instruction.
        pub(crate) const MAX_OPERANDS: usize = most(&[$( 0 $( + one(stringify!($field)) )* ),*]);

        const ROWS: &[Spec] = &[$(
            Spec {
                opcode: $opcode,
                mnemonic: $mnemonic,
                doc: &[$($doc),+],
                fields: &[$( FieldSpec {
                    name: stringify!($field),
                    doc: &[$($field_doc),+],
                    width: <$ty as Field>::WIDTH,
                    forms: Forms::of(
                        <$ty as Field>::WIDTH,
                        <$ty as Field>::SHORT,
                        optional(&[$($default)?]),
                    ),
                    meaning: <$ty as Field>::MEANING,
                    text: <$ty as Field>::TEXT,
                    legal: |bits| <$ty as Field>::from_bits(bits).is_some(),
                    parse: bits_of::<$ty>,
                    names: <$ty as Field>::NAMES,
                    default: optional(&[$($default)?]),
                    is_sram: <$ty as Field>::IS_SRAM,
                } ),*],
            }
        ),*];

        // The table is checked at compile time.
        const _: () = assert_sound(ROWS);

        impl Op {
            /// The row of the table.
            pub fn spec(&self) -> &'static Spec {
                let opcode: u8 = match self { $( Op::$name(_) => $opcode ),* };
                TABLE.iter().find(|spec| spec.opcode == opcode).expect("every variant has a row")
            }

            /// Its scratchpad addresses, in table order, at most [`MAX_SRAM_OPERANDS`]; the
            /// compiler relocates them.
            pub fn sram_operands(&mut self) -> Vec<&mut Sram> {
                match self { $( Op::$name(_operands) => {
                    let operands: Vec<Option<&mut Sram>> = vec![$( _operands.$field.as_sram() ),*];
                    operands.into_iter().flatten().collect()
                } )* }
            }

            /// The bits of its operands.
            pub(super) fn operands(&self) -> Result<Operands, EncodeError> {
                let mut bits = Operands::default();
                match self { $( Op::$name(_operands) => {
                    let operands = [$( operand($mnemonic, stringify!($field), _operands.$field)? ),*];
                    bits[..operands.len()].copy_from_slice(&operands);
                } )* }
                Ok(bits)
            }

            /// The operation with these operands.
            pub(crate) fn of_operands(opcode: u8, operands: &Operands) -> Result<Op, DecodeError> {
                let mut _operands = operands.iter().copied();
                let mut _next = || _operands.next().unwrap_or_default();
                match opcode {
                    $( $opcode => Ok(Op::$name($name {
                        $( $field: value($mnemonic, stringify!($field), _next())? ),*
                    })), )*
                    _ => Err(DecodeError::Opcode(opcode)),
                }
            }
        }

        impl fmt::Display for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $( Op::$name(_operands) => {
                    f.write_str($mnemonic)?;
                    $( write!(f, concat!(" ", stringify!($field), "={}"), _operands.$field)?; )*
                } )* }
                Ok(())
            }
        }

        impl Op {
            /// Writes the instruction with each scratchpad operand as `place` names it. `place`
            /// takes the operand's number in table order. Operands for which it returns `None`, and
            /// operands that equal the default of assembly, are omitted.
            pub(crate) fn write_short(
                &self,
                f: &mut fmt::Formatter<'_>,
                place: &dyn Fn(usize) -> Option<String>,
            ) -> fmt::Result {
                let mut _places = 0;
                match self { $( Op::$name(_operands) => {
                    f.write_str($mnemonic)?;
                    $(
                        let text = if <$ty as Field>::IS_SRAM {
                            _places += 1;
                            place(_places - 1)
                        } else if optional(&[$($default)?]) == Some(_operands.$field.to_bits()) {
                            None
                        } else {
                            Some(_operands.$field.to_string())
                        };
                        if let Some(text) = text {
                            write!(f, concat!(" ", stringify!($field), "={}"), text)?;
                        }
                    )*
                } )* }
                Ok(())
            }
        }
    };
}

pub(super) use instructions;

pub(super) const fn optional(default: &[u64]) -> Option<u64> {
    match default {
        [bits] => Some(*bits),
        _ => None,
    }
}

/// Counts a field.
pub(super) const fn one(_: &str) -> usize {
    1
}

pub(super) const fn most(counts: &[usize]) -> usize {
    let (mut most, mut i) = (0, 0);
    while i < counts.len() {
        if counts[i] > most {
            most = counts[i];
        }
        i += 1;
    }
    most
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Asserts the invariants that hold across the rows of the table.
pub(super) const fn assert_sound(rows: &[Spec]) {
    let mut i = 0;
    while i < rows.len() {
        let row = &rows[i];
        let mut j = 0;
        while j < i {
            assert!(rows[j].opcode < row.opcode, "opcodes rise, so none is used twice");
            assert!(!same(rows[j].mnemonic, row.mnemonic), "a mnemonic is used twice");
            j += 1;
        }
        assert!(row.max_word_bytes() <= MAX_WORD_BYTES, "a word is too long");
        let mut f = 0;
        while f < row.fields.len() {
            let field = &row.fields[f];
            if let Some(bits) = field.default {
                assert!(bits >> field.width == 0, "a default does not fit its field");
            }
            assert!(
                field.forms.are_sound(field.width),
                "a field with several forms is whole bytes"
            );
            f += 1;
        }
        i += 1;
    }
}
