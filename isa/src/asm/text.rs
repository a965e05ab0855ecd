//! Values of directives: strings and numbers.

use super::syntax::{Atom, AtomKind, Value};
use crate::instr::field::integer;
use vitcod_support::diagnostics::Diagnostic;

/// The contents of a word or of a quoted string.
pub(crate) fn string(value: &Value<'_>) -> Result<String, Diagnostic> {
    atom_string(atom(value, "a text")?)
}

/// The strings of a list.
pub(crate) fn strings(value: &Value<'_>) -> Result<Vec<String>, Diagnostic> {
    items(value)?.iter().map(atom_string).collect()
}

/// The items of a list.
pub(crate) fn items<'a, 's>(value: &'a Value<'s>) -> Result<&'a [Atom<'s>], Diagnostic> {
    match value {
        Value::List(items, _) => Ok(items),
        Value::Atom(_) => Err(Diagnostic::at(value.span(), "expected a list in brackets")),
    }
}

/// A single value, not a list.
pub(crate) fn atom<'a, 's>(
    value: &'a Value<'s>,
    expected: &str,
) -> Result<&'a Atom<'s>, Diagnostic> {
    match value {
        Value::Atom(atom) => Ok(atom),
        Value::List(..) => {
            Err(Diagnostic::at(value.span(), format!("expected {expected}, found a list")))
        }
    }
}

/// Parses a word.
pub(crate) fn word<'s, T>(
    value: &Value<'s>,
    expected: &str,
    parse: impl FnOnce(&'s str) -> Option<T>,
) -> Result<T, Diagnostic> {
    let atom = atom(value, expected)?;
    let parsed = if atom.kind == AtomKind::Word { parse(atom.text) } else { None };
    parsed.ok_or_else(|| Diagnostic::at(atom.span.clone(), format!("expected {expected}")))
}

/// A count or size.
pub(crate) fn number<T: TryFrom<u64>>(value: &Value<'_>) -> Result<T, Diagnostic> {
    word(value, "a number that is not negative", integer)
}

/// An integer that may be negative.
pub(crate) fn signed<T: TryFrom<i64>>(text: &str) -> Option<T> {
    let value = match text.strip_prefix('-') {
        Some(digits) => -i128::from(integer::<u64>(digits)?),
        None => i128::from(integer::<u64>(text)?),
    };
    T::try_from(i64::try_from(value).ok()?).ok()
}

fn atom_string(atom: &Atom<'_>) -> Result<String, Diagnostic> {
    match atom.kind {
        AtomKind::Word => Ok(atom.text.to_owned()),
        AtomKind::Quoted => unescape(atom.text).ok_or_else(|| {
            Diagnostic::at(atom.span.clone(), "an invalid escape")
                .with_help(Some(r#"escapes are \n \r \t \0 \" \' \\ and \u{1f600}"#.to_owned()))
        }),
    }
}

/// Decodes a string that `Debug` wrote.
fn unescape(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut text = String::with_capacity(quoted.len());
    while let Some(c) = rest.next() {
        text.push(match c {
            '\\' => match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'u' => {
                    let (digits, after) = rest.as_str().strip_prefix('{')?.split_once('}')?;
                    rest = after.chars();
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                }
                c @ ('"' | '\'' | '\\') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers() {
        assert_eq!(signed("-128"), Some(-128i8));
        assert_eq!(signed("0x7f"), Some(127i8));
        assert_eq!(["-129", "128", "--1", "+1", "", "-"].map(signed::<i8>), [None; 6]);
        assert_eq!(signed("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed::<i64>("18446744073709551615"), None);
    }

    proptest! {
        #[test]
        fn quoted_texts_are_those_of_debug(text: String) {
            prop_assert_eq!(unescape(&format!("{text:?}")), Some(text));
        }

        #[test]
        fn anything_may_be_quoted(text in r#""(\\?[ \PC]){0,20}"?"#) {
            unescape(&text);
        }
    }
}
