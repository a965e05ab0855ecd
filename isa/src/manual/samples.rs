//! The accesses and units of an instruction under each setting of its flags, sampled from the code
//! that defines them.

use std::collections::BTreeSet;

use crate::effects::{Access, accesses};
use crate::instr::table::MAX_OPERANDS;
use crate::instr::{FieldSpec, Op, Spec, UnitSet};

/// Fields up to this width are flags, whose settings are enumerated.
const FLAG_WIDTH: u32 = 4;

/// An access of an instruction, and the settings of the flags under which it occurs.
pub(super) struct Touch {
    pub(super) access: Access,
    pub(super) condition: String,
}

/// The units that may execute an instruction.
pub(super) fn units(spec: &'static Spec) -> UnitSet {
    samples(spec).iter().flat_map(|op| op.units().iter().collect::<Vec<_>>()).collect()
}

/// The accesses of an instruction, with operands in the order of the table. Accesses of one operand
/// that differ in mode or alignment are separate; their regions are those of a sample and have no
/// meaning.
pub(super) fn touches(spec: &'static Spec) -> Vec<Touch> {
    let samples = samples(spec);
    let mut touches = Vec::new();
    for field in spec.fields {
        let done: Vec<Option<Access>> = samples
            .iter()
            .map(|op| accesses(op).into_iter().find(|access| access.operand == field.name))
            .collect();
        let mut kinds: Vec<Access> = Vec::new();
        for access in done.iter().flatten() {
            if !kinds.iter().any(|kind| same(kind, access)) {
                kinds.push(*access);
            }
        }
        for access in kinds {
            let made: Vec<bool> =
                done.iter().map(|done| done.is_some_and(|done| same(&done, &access))).collect();
            touches.push(Touch { access, condition: condition(spec, &samples, &made) });
        }
    }
    touches
}

fn same(a: &Access, b: &Access) -> bool {
    (a.space, a.mode, a.align) == (b.space, b.mode, b.align)
}

/// Describes the samples for which a condition holds.
fn condition(spec: &'static Spec, samples: &[Op], holds: &[bool]) -> String {
    let texts: Vec<Vec<String>> = samples.iter().map(|op| values(spec, op)).collect();
    let apart = |a: &[String], b: &[String]| {
        (0..a.len()).filter(|flag| a[*flag] != b[*flag]).collect::<Vec<_>>()
    };
    // A flag is decisive if it alone distinguishes two samples.
    let mut deciding = BTreeSet::new();
    for (a, a_holds) in texts.iter().zip(holds) {
        for (b, b_holds) in texts.iter().zip(holds) {
            if let [flag] = apart(a, b)[..]
                && a_holds != b_holds
            {
                deciding.insert(flag);
            }
        }
    }
    if deciding.is_empty() {
        return "always".to_owned();
    }
    let settings = |wanted: bool| -> BTreeSet<String> {
        let setting = |values: &Vec<String>| {
            deciding
                .iter()
                .map(|flag| format!("`{}`", values[*flag]))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        texts
            .iter()
            .zip(holds)
            .filter(|(_, holds)| **holds == wanted)
            .map(|(values, _)| setting(values))
            .collect()
    };
    let (with, without) = (settings(true), settings(false));
    let (word, list) =
        if without.len() < with.len() { ("not with", without) } else { ("with", with) };
    format!("{word} {}", list.into_iter().collect::<Vec<_>>().join(", or "))
}

/// `flag=value` for each flag of an operation, as in assembly.
fn values(spec: &'static Spec, op: &Op) -> Vec<String> {
    let text = op.to_string();
    let names: Vec<String> = flags(spec).map(|flag| format!("{}=", flag.name)).collect();
    let words = text.split(' ');
    words
        .filter(|word| names.iter().any(|name| word.starts_with(name)))
        .map(str::to_owned)
        .collect()
}

fn flags(spec: &'static Spec) -> impl Iterator<Item = &'static FieldSpec> {
    spec.fields.iter().filter(|field| field.width <= FLAG_WIDTH)
}

/// The operation under every setting of its flags; all other operands are as small as possible.
fn samples(spec: &'static Spec) -> Vec<Op> {
    let mut samples = vec![[0; MAX_OPERANDS]];
    for (index, field) in spec.fields.iter().enumerate() {
        let legal = (0..=u64::MAX >> (64 - field.width)).filter(|bits| (field.legal)(*bits));
        let choices: Vec<u64> =
            if field.width <= FLAG_WIDTH { legal.collect() } else { legal.take(1).collect() };
        samples = samples
            .iter()
            .flat_map(|operands| {
                choices.iter().map(|bits| {
                    let mut operands = *operands;
                    operands[index] = *bits;
                    operands
                })
            })
            .collect();
    }
    let op = |operands| Op::of_operands(spec.opcode, operands).expect("every field is legal");
    samples.iter().map(op).collect()
}
