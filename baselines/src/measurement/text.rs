//! The text form of measurements: JSON whose values are checked where they are read, so that every
//! error has a position.

use serde::{Deserialize, Serialize};
use vitcod_support::diagnostics::Diagnostic;

use super::Measurement;

/// The version of the form.
const FORM: u32 = 1;

/// The most characters of a name and of a text.
const NAME: usize = 200;
const TEXT: usize = 2000;

/// The longest time: a day.
const MOST_MILLISECONDS: f64 = 86_400_000.0;

/// The version of the form, 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub(super) struct Form;

impl TryFrom<u32> for Form {
    type Error = String;

    fn try_from(version: u32) -> Result<Form, String> {
        if version == FORM { Ok(Form) } else { Err(format!("form {version}: expected {FORM}")) }
    }
}

impl From<Form> for u32 {
    fn from(_: Form) -> u32 {
        FORM
    }
}

/// A number of things, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub(super) struct Count(u32);

impl Count {
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Count {
    type Error = &'static str;

    fn try_from(count: u32) -> Result<Count, &'static str> {
        if count > 0 { Ok(Count(count)) } else { Err("0: expected at least 1") }
    }
}

impl From<Count> for u32 {
    fn from(count: Count) -> u32 {
        count.0
    }
}

/// A time: above 0 and at most a day.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Milliseconds(f64);

impl Milliseconds {
    pub(super) fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Milliseconds {
    type Error = String;

    fn try_from(milliseconds: f64) -> Result<Milliseconds, String> {
        if milliseconds > 0.0 && milliseconds <= MOST_MILLISECONDS {
            Ok(Milliseconds(milliseconds))
        } else {
            Err(format!(
                "{milliseconds:?} milliseconds: expected a number above 0, at most \
                 {MOST_MILLISECONDS}"
            ))
        }
    }
}

impl From<Milliseconds> for f64 {
    fn from(milliseconds: Milliseconds) -> f64 {
        milliseconds.0
    }
}

/// A line of text for a column of a table.
pub(super) type Name = Bounded<NAME>;

/// A line of text.
pub(super) type Text = Bounded<TEXT>;

/// A line of at most `N` characters, none of which controls a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Bounded<const N: usize>(String);

impl<const N: usize> Bounded<N> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> TryFrom<String> for Bounded<N> {
    type Error = String;

    fn try_from(text: String) -> Result<Bounded<N>, String> {
        let is_legal = (1..=N).contains(&text.chars().count()) && !text.contains(char::is_control);
        if is_legal {
            Ok(Bounded(text))
        } else {
            Err(format!("expected a text of 1 to {N} printable characters"))
        }
    }
}

impl<const N: usize> From<Bounded<N>> for String {
    fn from(text: Bounded<N>) -> String {
        text.0
    }
}

/// Parses a result file.
pub(super) fn read(text: &str) -> Result<Measurement, Diagnostic> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message).trim_end();
        let start = offset(text, error.line(), error.column());
        Diagnostic::at(start..start + 1, message)
    })
}

/// The byte at a line, from 1, and a column, from 1 in bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    before + column.saturating_sub(1)
}
