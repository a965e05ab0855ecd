//! The machine of a program in text: a preset, what differs from it, or all of it.

use toml::{Table, Value as Toml};

use super::arguments::Arguments;
use super::syntax::{AtomKind, Value};
use super::text::{atom, string};
use crate::diagnostics::{Diagnostic, did_you_mean};
use crate::machine::{Machine, PRESETS};

/// The machine that `.machine` describes. Named arguments are the keys of the TOML form.
pub(super) fn read(mut arguments: Arguments<'_>) -> Result<Machine, Diagnostic> {
    let head = arguments.head.span.clone();
    let mut table = match arguments.next_if_any() {
        None => Table::new(),
        Some(value) => {
            let name = string(&value)?;
            let Some(machine) = Machine::preset(&name) else {
                let help = did_you_mean(&name, PRESETS.map(|(name, _)| name));
                return Err(Diagnostic::at(value.span(), format!("no machine `{name}`")).with_help(help));
            };
            machine.to_toml().parse().map_err(|error| Diagnostic::at(head.clone(), format!("{error}")))?
        }
    };
    let digest = arguments.named("digest");
    let keys = arguments.all_named();
    for (key, value) in &keys {
        let value = toml_of(value)?;
        let old = match key.text.split_once('.') {
            None => table.insert(key.text.to_owned(), value),
            Some((section, field)) => {
                let section = table.entry(section).or_insert_with(|| Table::new().into()).as_table_mut();
                section.and_then(|section| section.insert(field.to_owned(), value))
            }
        };
        drop(old);
    }
    arguments.end(&[])?;

    let blame = |message: &str| {
        let field = |key: &str| message.find(key.rsplit('.').next().unwrap_or(key));
        let named = keys.iter().filter_map(|(key, _)| Some((field(key.text)?, key))).min_by_key(|(at, _)| *at);
        named.map_or(head.clone(), |(_, key)| key.span.clone())
    };
    let machine: Machine = Toml::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| Diagnostic::at(blame(error.message()), error.message().trim_end()))?;
    if let Err(error) = machine.validate() {
        return Err(Diagnostic::at(blame(&error.to_string()), error.to_string()));
    }
    if let Some(digest) = digest {
        let found = machine.digest();
        if string(&digest)? != found {
            return Err(Diagnostic::at(digest.span(), format!("the machine's digest is {found}")));
        }
    }
    Ok(machine)
}

fn toml_of(value: &Value<'_>) -> Result<Toml, Diagnostic> {
    let atom = atom(value, "a number or a quoted text")?;
    if atom.kind == AtomKind::Quoted {
        return Ok(Toml::String(string(value)?));
    }
    let integer = atom.text.parse().ok().map(Toml::Integer);
    let number = integer.or_else(|| atom.text.parse().ok().map(Toml::Float));
    number.ok_or_else(|| Diagnostic::at(atom.span.clone(), "expected a number or a quoted text"))
}

/// The arguments of `.machine`: the preset and its digest, or everything.
pub(super) fn print(machine: &Machine) -> String {
    if PRESETS.iter().any(|(name, _)| Machine::preset(name).as_ref() == Some(machine)) {
        return format!("{:?} digest={}", machine.name, machine.digest());
    }
    let table: Table = machine.to_toml().parse().unwrap_or_default();
    let mut arguments = Vec::new();
    for (key, value) in &table {
        match value {
            Toml::Table(section) => {
                arguments.extend(section.iter().map(|(field, value)| format!("{key}.{field}={}", printed(value))));
            }
            value => arguments.push(format!("{key}={}", printed(value))),
        }
    }
    arguments.join(" ")
}

fn printed(value: &Toml) -> String {
    match value {
        Toml::String(text) => format!("{text:?}"),
        Toml::Float(number) => format!("{number:?}"),
        value => value.to_string(),
    }
}
