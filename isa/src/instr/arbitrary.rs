//! Random instructions, made from the table.

use proptest::prelude::*;

use super::table::MAX_OPERANDS;
use super::*;

/// Any row of the table.
pub(crate) fn spec() -> impl Strategy<Value = &'static Spec> {
    (0..TABLE.len()).prop_map(|row| &TABLE[row])
}

/// Any instruction.
pub(crate) fn instr() -> impl Strategy<Value = Instr> {
    spec().prop_flat_map(instr_of)
}

/// Any instruction of one row of the table.
pub(crate) fn instr_of(spec: &'static Spec) -> impl Strategy<Value = Instr> {
    let operands: Vec<_> =
        spec.fields.iter().map(|field| bits(field.width, field.legal).boxed()).collect();
    let units = || bits(UnitSet::WIDTH, |bits| UnitSet::from_bits(bits as u16).is_some());
    let units = move || units().prop_filter_map("units", |bits| UnitSet::from_bits(bits as u16));
    (units(), units(), operands).prop_map(|(wait, signal, bits)| {
        let mut operands = [0; MAX_OPERANDS];
        operands[..bits.len()].copy_from_slice(&bits);
        let op = Op::of_operands(spec.opcode, &operands).expect("every field is legal");
        Instr { wait, signal, op }
    })
}

/// Legal bits of a field, small ones more often than they are among all.
fn bits(width: u32, legal: fn(u64) -> bool) -> impl Strategy<Value = u64> {
    let all = u64::MAX >> (64 - width);
    prop_oneof![
        0..=all,
        0..=all.min(64),
        0..=all.min(0x1ff),
        0..=all.min(0x1ffff),
        Just(0),
        Just(all)
    ]
    .prop_filter("a legal pattern", move |bits| legal(*bits))
}
