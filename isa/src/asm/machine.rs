//! The machine of a program in text: a preset, a preset with changes, or all values.

use toml::{Table, Value as Toml};

use super::arguments::Arguments;
use super::syntax::{Atom, AtomKind, Value};
use super::text::{atom, string};
use crate::machine::text::{self, Given};
use crate::machine::{Machine, PRESETS};
use vitcod_support::diagnostics::{Diagnostic, did_you_mean};
use vitcod_support::problems::Collector;

/// Reads the machine that `.machine` describes. Named arguments are the keys of the TOML form.
/// Returns the first of several mistakes; the others are added to `problems`.
pub(super) fn read(
    mut arguments: Arguments<'_>,
    problems: &mut Collector<Diagnostic>,
) -> Result<Machine, Diagnostic> {
    let head = arguments.head.span.clone();
    let mut table = match arguments.next_if_any() {
        None => Table::new(),
        Some(value) => {
            let name = string(&value)?;
            let Some(machine) = Machine::preset(&name) else {
                let help = did_you_mean(&name, PRESETS.map(|(name, _)| name));
                return Err(
                    Diagnostic::at(value.span(), format!("no machine `{name}`")).with_help(help)
                );
            };
            machine
                .to_toml()
                .parse()
                .map_err(|error| Diagnostic::at(head.clone(), format!("{error}")))?
        }
    };
    let digest = arguments.named("digest");
    let keys = arguments.all_named();
    arguments.end()?;

    let mut mistakes = keys.iter().filter_map(|(key, value)| set(&mut table, key, value).err());
    if let Some(first) = mistakes.next() {
        mistakes.for_each(|problem| problems.push(|| problem));
        return Err(first);
    }
    let is_true = |units: &str, name: &str| {
        let flag = section(&table, units).and_then(|section| section.get(name));
        flag.and_then(Toml::as_bool).unwrap_or_default()
    };
    let stated = text::Stated::new(is_true, |section| table.contains_key(section));
    let is_there = |key: &str| match key.rsplit_once('.') {
        None => table.contains_key(key),
        Some((name, key)) => match section(&table, name) {
            None => {
                let (outer, inner) = name.rsplit_once('.').unwrap_or(("", name));
                stated.is_optional(outer, inner) || stated.is_optional(name, key)
            }
            Some(section) => section.contains_key(key) || stated.is_optional(name, key),
        },
    };
    let lacking: Vec<String> =
        text::keys().filter(|key| !is_there(key)).map(|key| format!("`{key}=`")).collect();
    if !lacking.is_empty() {
        let help =
            Some("name a preset to change only some: `.machine vitcod lines.count=32`".to_owned());
        return Err(Diagnostic::at(head, format!("`.machine` lacks {}", lacking.join(", ")))
            .with_help(help));
    }
    let machine: Machine = Toml::Table(table).try_into().map_err(|error: toml::de::Error| {
        Diagnostic::at(head.clone(), error.message().trim_end())
    })?;
    if let Some((_, message)) = machine.contradiction() {
        return Err(Diagnostic::at(head, message));
    }
    if let Some(digest) = digest {
        let found = machine.digest();
        if string(&digest)? != found {
            return Err(Diagnostic::at(digest.span(), format!("the machine's digest is {found}")));
        }
    }
    Ok(machine)
}

/// Sets a value of the TOML form, if the key accepts it.
fn set(table: &mut Table, key: &Atom<'_>, value: &Value<'_>) -> Result<(), Diagnostic> {
    let given = toml_of(value)?;
    let (section, name) = key.text.rsplit_once('.').unwrap_or(("", key.text));
    match text::check(section, name, &given_by(&given)) {
        Some(Ok(())) => {}
        Some(Err(message)) => return Err(Diagnostic::at(value.span(), message)),
        None => {
            let keys: Vec<String> = text::keys().collect();
            let help = did_you_mean(key.text, keys.iter().map(String::as_str));
            return Err(Diagnostic::at(
                key.span.clone(),
                format!("a machine has no `{}`", key.text),
            )
            .with_help(help));
        }
    }
    let mut table = Some(table);
    for name in section.split('.').filter(|name| !name.is_empty()) {
        table = table.and_then(|table| {
            table.entry(name).or_insert_with(|| Table::new().into()).as_table_mut()
        });
    }
    if let Some(table) = table {
        table.insert(name.to_owned(), given);
    }
    Ok(())
}

/// The section with a dotted name.
fn section<'t>(table: &'t Table, name: &str) -> Option<&'t Table> {
    name.split('.').try_fold(table, |table, name| table.get(name)?.as_table())
}

fn given_by(value: &Toml) -> Given<'_> {
    match value {
        Toml::String(text) => Given::Text(text),
        Toml::Integer(value) => Given::Integer(*value),
        Toml::Float(value) => Given::Number(*value),
        Toml::Boolean(value) => Given::Flag(*value),
        value => Given::Other(value.type_str()),
    }
}

fn toml_of(value: &Value<'_>) -> Result<Toml, Diagnostic> {
    let atom = atom(value, "a number, true, false or a quoted text")?;
    if atom.kind == AtomKind::Quoted {
        return Ok(Toml::String(string(value)?));
    }
    let integer = atom.text.parse().ok().map(Toml::Integer);
    let number = integer.or_else(|| atom.text.parse().ok().map(Toml::Float));
    let plain = number.or_else(|| atom.text.parse().ok().map(Toml::Boolean));
    plain.ok_or_else(|| {
        Diagnostic::at(atom.span.clone(), "expected a number, true, false or a quoted text")
    })
}

/// Prints the arguments of `.machine`: the preset and its digest, or all values.
pub(super) fn print(machine: &Machine) -> String {
    if PRESETS.iter().any(|(name, _)| Machine::preset(name).as_ref() == Some(machine)) {
        return format!("{:?} digest={}", machine.name, machine.digest());
    }
    let table: Table = machine.to_toml().parse().unwrap_or_default();
    let mut arguments = Vec::new();
    print_values("", &table, &mut arguments);
    arguments.join(" ")
}

fn print_values(section: &str, table: &Table, arguments: &mut Vec<String>) {
    for (key, value) in table {
        let key = format!("{section}{key}");
        match value {
            Toml::Table(inner) => print_values(&format!("{key}."), inner, arguments),
            value => arguments.push(format!("{key}={}", printed(value))),
        }
    }
}

fn printed(value: &Toml) -> String {
    match value {
        Toml::String(text) => format!("{text:?}"),
        Toml::Float(number) => format!("{number:?}"),
        value => value.to_string(),
    }
}
