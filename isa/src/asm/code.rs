//! Parses a line of assembly as an instruction, by the instruction table.

use super::kind::{Kind, Operands};
use super::symbols::{Resolved, Symbols};
use super::syntax::{Argument, AtomKind, Line, Value};
use crate::effects::accesses;
use crate::instr::field::{Field, bits_of};
use crate::instr::table::MAX_OPERANDS;
use crate::instr::{FieldSpec, Forms, Instr, Op, Spec, TABLE, UnitSet};
use vitcod_support::diagnostics::{Diagnostic, closest, did_you_mean, question};
use vitcod_support::problems::Collector;

/// The fields of every instruction in addition to those of its row.
static TOKENS: [FieldSpec; 2] = [token_field("wait"), token_field("signal")];

const fn token_field(name: &'static str) -> FieldSpec {
    FieldSpec {
        name,
        doc: &[],
        width: UnitSet::WIDTH,
        forms: Forms::of(UnitSet::WIDTH, None, None),
        meaning: UnitSet::MEANING,
        text: UnitSet::TEXT,
        legal: |bits| UnitSet::from_bits(bits as u16).is_some(),
        parse: bits_of::<UnitSet>,
        names: UnitSet::NAMES,
        default: Some(0),
        is_sram: false,
    }
}

/// Parses an instruction of a program or task listing, with the buffers of its operands. Reports
/// all mistakes of the line to `problems`.
pub(crate) fn instruction(
    line: &Line<'_>,
    symbols: &Symbols<'_>,
    kind: Kind,
    problems: &mut Collector<Diagnostic>,
) -> Option<(Instr, Operands)> {
    let head = &line.head;
    let Some(spec) = TABLE.iter().find(|spec| spec.mnemonic == head.text) else {
        let help = did_you_mean(head.text, TABLE.iter().map(|spec| spec.mnemonic));
        problems.push(|| {
            Diagnostic::at(head.span.clone(), format!("no instruction `{}`", head.text))
                .with_help(help)
        });
        return None;
    };
    let tokens = if kind == Kind::Program { &TOKENS[..] } else { &[] };
    let fields = || spec.fields.iter().chain(tokens);
    // Bits by field; `None` for a missing or invalid one.
    let mut bits = vec![None; fields().count()];
    let mut operands = Operands::default();
    let mut given = vec![false; bits.len()];
    let mut sound = true;
    // The operands that misspelt names probably meant.
    let mut meant = Vec::new();
    for argument in &line.arguments {
        if problems.is_full() {
            return None;
        }
        let done = find(spec, argument, fields(), &mut meant).and_then(|(index, field)| {
            if std::mem::replace(&mut given[index], true) {
                return Err(Diagnostic::at(
                    argument.span(),
                    format!("`{}` is given twice", field.name),
                ));
            }
            bits[index] = Some(match value(field, &argument.value, symbols, kind)? {
                Given::Bits(bits) => bits,
                Given::InBuffer { number, offset } => {
                    let operand = spec.fields[..index].iter().filter(|field| field.is_sram).count();
                    operands[operand] = Some(number);
                    offset.into()
                }
                Given::Broken => {
                    sound = false;
                    return Ok(());
                }
            });
            Ok(())
        });
        if let Err(problem) = done {
            sound = false;
            problems.push(|| problem);
        }
    }
    let lacking: Vec<String> = fields()
        .zip(&given)
        .filter(|(field, given)| {
            !**given && field.default.is_none() && !meant.contains(&field.name)
        })
        .map(|(field, _)| format!("`{}`", field.name))
        .collect();
    if !lacking.is_empty() {
        problems.push(|| {
            Diagnostic::at(
                head.span.clone(),
                format!("`{}` lacks {}", head.text, lacking.join(", ")),
            )
        });
        return None;
    }
    if !sound {
        return None;
    }

    let bits: Vec<u64> = fields()
        .zip(bits)
        .map(|(field, bits)| bits.or(field.default).unwrap_or_default())
        .collect();
    let (bits, tokens) = bits.split_at(spec.fields.len());
    let mut operands_bits = [0; MAX_OPERANDS];
    operands_bits[..bits.len()].copy_from_slice(bits);
    let units = |token: usize| tokens.get(token).map_or(Some(0), |bits| u16::try_from(*bits).ok());
    // Every field is legal, so this is an instruction.
    let instr = Instr {
        wait: UnitSet::from_bits(units(0)?)?,
        signal: UnitSet::from_bits(units(1)?)?,
        op: Op::of_operands(spec.opcode, &operands_bits).ok()?,
    };
    let touched = accesses(&instr.op);
    for (field, _) in fields().zip(given).filter(|(_, given)| !given) {
        if touched.iter().any(|access| access.operand == field.name) {
            sound = false;
            problems.push(|| {
                Diagnostic::at(
                    head.span.clone(),
                    format!("`{}` needs `{}` here", head.text, field.name),
                )
            });
        }
    }
    sound.then_some((instr, operands))
}

/// The value of a field.
enum Given {
    Bits(u64),
    /// An offset in a buffer of a task listing.
    InBuffer {
        number: u32,
        offset: u32,
    },
    /// A name whose invalid definition has been reported.
    Broken,
}

/// The field that an argument sets, with its position. If its name is unknown, the closest field is
/// added to `meant`.
fn find(
    spec: &Spec,
    argument: &Argument<'_>,
    fields: impl Iterator<Item = &'static FieldSpec> + Clone,
    meant: &mut Vec<&'static str>,
) -> Result<(usize, &'static FieldSpec), Diagnostic> {
    let Some(name) = &argument.name else {
        return Err(Diagnostic::at(argument.span(), "expected `operand=value`"));
    };
    fields.clone().enumerate().find(|(_, field)| field.name == name.text).ok_or_else(|| {
        let near = closest(name.text, fields.map(|field| field.name));
        meant.extend(near);
        Diagnostic::at(
            name.span.clone(),
            format!("`{}` has no operand `{}`", spec.mnemonic, name.text),
        )
        .with_help(near.map(question))
    })
}

/// The value of a field. Text that is a valid value is not looked up as a name. In a task listing,
/// scratchpad operands are not addresses.
fn value(
    field: &FieldSpec,
    value: &Value<'_>,
    symbols: &Symbols<'_>,
    kind: Kind,
) -> Result<Given, Diagnostic> {
    let on_buffers = kind != Kind::Program && field.is_sram;
    let expected = match field.names {
        _ if on_buffers => "a place in a buffer, as `b0+0x40`".to_owned(),
        [] => field.text.to_owned(),
        names => format!("{} {}", field.text, names.join(", ")),
    };
    let parse = |text: &str| if on_buffers { None } else { (field.parse)(text) };
    let text = match value {
        Value::Atom(atom) if atom.kind == AtomKind::Word => atom.text,
        _ => {
            return Err(Diagnostic::at(
                value.span(),
                format!("`{}`: expected {expected}", field.name),
            ));
        }
    };
    if let Some(bits) = parse(text) {
        return Ok(Given::Bits(bits));
    }
    let resolved = symbols.resolve(text, &value.span())?;
    match &resolved {
        Some(Resolved::InBuffer { number, offset }) if on_buffers => {
            return Ok(Given::InBuffer { number: *number, offset: *offset });
        }
        Some(Resolved::Broken) => return Ok(Given::Broken),
        Some(Resolved::Text(text)) => {
            if let Some(bits) = parse(text) {
                return Ok(Given::Bits(bits));
            }
        }
        _ => {}
    }
    let help = match &resolved {
        Some(Resolved::Text(resolved)) => Some(format!("`{text}` is `{resolved}`")),
        Some(Resolved::InBuffer { .. }) => Some(format!("`{text}` is a place in a buffer")),
        Some(Resolved::Broken) => None,
        None if field.names.is_empty() => symbols.near(text),
        None => {
            let unknown = text.split('|').find(|part| !field.names.contains(part)).unwrap_or(text);
            did_you_mean(unknown, field.names.iter().copied())
        }
    };
    let message = format!("`{}`: expected {expected}, found `{text}`", field.name);
    Err(Diagnostic::at(value.span(), message).with_help(help))
}
