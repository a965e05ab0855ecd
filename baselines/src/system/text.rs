//! The text form of a system: the legal values of its keys, and the problems of a text.
//!
//! Text is untrusted. Every mistake is reported with its position; of a text that is not TOML only
//! the syntax errors are reported.

use std::fmt;

use toml::de::{DeTable, DeValue};
use vitcod_support::diagnostics::{Diagnostic, closest, did_you_mean, question};
use vitcod_support::problems::{Collector, KEPT, Problems};

use super::System;
use crate::{authors, sanger, spatten, systolic};

/// The legal values of a key.
pub(crate) enum Kind {
    /// An integer in this range.
    Integer(u32, u32),
    /// A number in this range.
    Number(f64, f64),
    /// True or false.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A name for reports.
    Name,
}

/// A rate: a clock in MHz, or bytes per cycle.
pub(crate) const RATE: Kind = Kind::Number(0.001, 1e6);

/// Bits of an element.
pub(crate) const ELEMENT_BITS: Kind = Kind::Integer(1, 16);

/// Extents of arrays. They and [`MAX_PRODUCTS`](crate::workload::MAX_PRODUCTS) bound all cycles.
pub(crate) const SIDE: Kind = Kind::Integer(1, 1024);

/// The keys of every system.
const COMMON: &[(&str, Kind)] = &[("name", Kind::Name), ("clock_mhz", RATE)];

/// The key that names the model, with the keys of each.
const SYSTEM: &str = "system";
const MODELS: [(&str, &[(&str, Kind)]); 4] = [
    ("sanger", sanger::FIELDS),
    ("spatten", spatten::FIELDS),
    ("systolic-array", systolic::FIELDS),
    ("authors-simulator", authors::FIELDS),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Integer(low, high) => write!(f, "an integer from {low} to {high}"),
            Kind::Number(low, high) => write!(f, "a number from {low} to {high}"),
            Kind::Flag => write!(f, "true or false"),
            Kind::Choice(words) => f.write_str(&alternatives(words.iter().copied())),
            Kind::Name => write!(f, "a text of 1 to 64 printable characters"),
        }
    }
}

impl Kind {
    fn holds(&self, value: &DeValue<'_>) -> bool {
        match (self, value) {
            (Kind::Integer(low, high), DeValue::Integer(_)) => integer(value)
                .is_some_and(|value| (i64::from(*low)..=i64::from(*high)).contains(&value)),
            (Kind::Number(low, high), DeValue::Integer(_)) => {
                integer(value).is_some_and(|value| (*low..=*high).contains(&(value as f64)))
            }
            (Kind::Number(low, high), DeValue::Float(float)) => {
                float.as_str().parse().is_ok_and(|value| (*low..=*high).contains(&value))
            }
            (Kind::Flag, DeValue::Boolean(_)) => true,
            (Kind::Choice(words), DeValue::String(text)) => words.contains(&text.as_ref()),
            (Kind::Name, DeValue::String(text)) => {
                (1..=64).contains(&text.len()) && !text.contains(char::is_control)
            }
            _ => false,
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(integer) = value else { return None };
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A value in a message.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.len() <= 64 => format!("{text:?}"),
        DeValue::String(text) => format!("a text of {} bytes", text.len()),
        DeValue::Integer(_) => integer(value)
            .map_or("an integer of more than 64 bits".to_owned(), |value| value.to_string()),
        DeValue::Float(float) if float.as_str().len() <= 64 => float.as_str().to_owned(),
        DeValue::Float(_) => "a float".to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Parses the TOML description of a system.
pub(super) fn read(text: &str) -> Result<System, Problems<Diagnostic>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut problems = Collector::new();
    for error in errors.iter().take(KEPT) {
        let message = error.message().trim_end().replace('\n', ", ");
        problems.push(|| Diagnostic { span: error.span(), message, help: None });
    }
    problems.add_omitted(errors.len().saturating_sub(KEPT));
    if problems.is_empty() {
        problems = check(root.get_ref());
    }
    problems.sort_by_key(|problem: &Diagnostic| problem.span.as_ref().map(|span| span.start));
    problems.finish()?;
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        Problems::from(Diagnostic { span: error.span(), message, help: None })
    })
}

fn check(table: &DeTable<'_>) -> Collector<Diagnostic> {
    let mut problems = Collector::new();
    let Some(system) = table.get(SYSTEM) else {
        problems.push(|| Diagnostic::of_text(format!("`{SYSTEM}` is missing: {}", models())));
        return problems;
    };
    let word = match system.get_ref() {
        DeValue::String(word) => word.as_ref(),
        _ => "",
    };
    let Some((_, fields)) = MODELS.iter().find(|(name, _)| *name == word) else {
        let message = format!("{SYSTEM} = {}: {}", shown(system.get_ref()), models());
        let help = did_you_mean(word, MODELS.iter().map(|(name, _)| *name));
        problems.push(|| Diagnostic::at(system.span(), message).with_help(help));
        return problems;
    };
    let fields = || COMMON.iter().chain(*fields);
    let mut meant = Vec::new();
    for (key, value) in table {
        // Locating each key and searching for its intended name takes time.
        if problems.is_full() {
            break;
        }
        let name = key.get_ref().as_ref();
        let problem = match fields().find(|(field, _)| *field == name) {
            None if name == SYSTEM => None,
            None => {
                let near = closest(name, fields().map(|(field, _)| *field));
                meant.extend(near);
                let message = format!("a system of the kind {word:?} has no `{name}`");
                Some(Diagnostic::at(key.span(), message).with_help(near.map(question)))
            }
            Some((_, kind)) if !kind.holds(value.get_ref()) => {
                let message = format!("{name} = {}: expected {kind}", shown(value.get_ref()));
                Some(Diagnostic::at(value.span(), message))
            }
            Some(_) => None,
        };
        problems.extend(problem);
    }
    for (name, _) in fields() {
        // A misspelt key is not missing.
        let optional = *name == spatten::TOKEN_SHARE;
        if !table.contains_key(*name) && !meant.contains(name) && !optional {
            problems.push(|| Diagnostic::of_text(format!("`{name}` is missing")));
        }
    }
    problems
}

/// Which systems there are.
fn models() -> String {
    format!("expected {}", alternatives(MODELS.iter().map(|(name, _)| *name)))
}

/// Words of which one is expected.
fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The problems of a text, with their lines.
    fn problems(text: &str) -> Vec<(Option<usize>, String)> {
        let found = System::from_toml(text).unwrap_err();
        found.kept().iter().map(|p| (p.line(text), p.message.clone())).collect()
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let text = "system = \"systolic-array\"\nname = \"\"\nclock_mhz = 0\nrows = 1025\n\
                    colums = 32\ndataflow = \"input-stationary\"\nelement_bits = 8.5\n";
        let expected = [
            (None, "`bytes_per_cycle` is missing"),
            (Some(2), "name = \"\": expected a text of 1 to 64 printable characters"),
            (Some(3), "clock_mhz = 0: expected a number from 0.001 to 1000000"),
            (Some(4), "rows = 1025: expected an integer from 1 to 1024"),
            (Some(5), "a system of the kind \"systolic-array\" has no `colums`"),
            (
                Some(6),
                "dataflow = \"input-stationary\": expected \"output-stationary\" or \
                 \"weight-stationary\"",
            ),
            (Some(7), "element_bits = 8.5: expected an integer from 1 to 16"),
        ];
        assert_eq!(problems(text), expected.map(|(line, message)| (line, message.to_owned())));
        let shown = System::from_toml(text).unwrap_err().render("a.toml", text);
        assert!(shown.contains("a.toml:5:1") && shown.contains("did you mean `columns`?"));
    }

    #[test]
    fn the_kind_of_a_system_is_stated() {
        let kinds = "expected \"sanger\" or \"spatten\" or \"systolic-array\" or \
                     \"authors-simulator\"";
        assert_eq!(problems(""), [(None, format!("`system` is missing: {kinds}"))]);
        assert_eq!(
            problems("system = \"sangr\""),
            [(Some(1), format!("system = \"sangr\": {kinds}"))]
        );
        assert_eq!(problems("\nsystem = 3"), [(Some(2), format!("system = 3: {kinds}"))]);
    }

    #[test]
    fn of_a_text_that_is_no_toml_the_syntax_is_reported() {
        let found = problems("name = \"a\"\nsystem = sanger\nrows = = 3\n");
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [Some(2), Some(3), Some(3)]
        );
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let preset = System::preset("sanger").unwrap().to_toml();
        for number in ["nan", "inf", "-1.0", "99999999999999999999", "1979-05-27", "[1]"] {
            let text = preset.replace("bytes_per_cycle = 153.6", "bytes_per_cycle = NUMBER");
            let found = problems(&text.replace("NUMBER", number));
            assert!(found[0].1.ends_with(": expected a number from 0.001 to 1000000"), "{found:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            system in "(system = \"(sanger|spatten|systolic-array)\"\n)?",
            keys in "([a-z_]{1,9} = [0-9\\[\"-]{1,4}\n?){0,9}",
        ) {
            let _ = System::from_toml(&(system + &keys));
        }
    }
}
