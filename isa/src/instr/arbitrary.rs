//! Random instructions, made from the table.

use proptest::prelude::*;

use super::*;

/// Any row of the table.
pub(crate) fn spec() -> impl Strategy<Value = &'static Spec> {
    (0..TABLE.len()).prop_map(|row| &TABLE[row])
}

/// Any word that is an instruction.
pub(crate) fn word() -> impl Strategy<Value = Word> {
    spec().prop_flat_map(word_of)
}

/// Any word of one row of the table.
pub(crate) fn word_of(spec: &'static Spec) -> impl Strategy<Value = Word> {
    let operands: Vec<_> =
        spec.fields.iter().map(|field| bits(field.width, field.legal).boxed()).collect();
    let units = || bits(UnitSet::WIDTH, |bits| UnitSet::from_bits(bits as u16).is_some());
    (units(), units(), operands).prop_map(|(wait, signal, operands)| {
        let mut word = Word([0; WORD_BYTES]);
        word.set(0, spec.opcode.into());
        word.set(WAIT_BIT, wait);
        word.set(SIGNAL_BIT, signal);
        for (field, bits) in spec.fields.iter().zip(operands) {
            word.set(field.bit, bits);
        }
        word
    })
}

/// Any instruction.
pub(crate) fn instr() -> impl Strategy<Value = Instr> {
    word().prop_map(|word| Instr::decode(&word).expect("every field is legal"))
}

/// Legal bits of a field, small ones more often than they are among all.
fn bits(width: u32, legal: fn(u64) -> bool) -> impl Strategy<Value = u64> {
    let all = u64::MAX >> (64 - width);
    prop_oneof![0..=all, 0..=all.min(64), Just(0), Just(all)]
        .prop_filter("a legal pattern", move |bits| legal(*bits))
}
