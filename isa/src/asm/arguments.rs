//! The arguments of a directive.

use std::vec;

use super::syntax::{Argument, Atom, Line, Value};
use vitcod_support::diagnostics::{Diagnostic, did_you_mean};
use vitcod_support::problems::Collector;

/// The arguments of a directive, to be taken one by one.
pub(crate) struct Arguments<'s> {
    /// The directive.
    pub(crate) head: Atom<'s>,
    unnamed: vec::IntoIter<Value<'s>>,
    named: Vec<(Atom<'s>, Value<'s>)>,
}

impl<'s> Arguments<'s> {
    /// Splits the arguments of a line; a name may occur only once.
    pub(crate) fn new(line: Line<'s>) -> Result<Arguments<'s>, Diagnostic> {
        let mut unnamed = Vec::new();
        let mut named: Vec<(Atom<'s>, Value<'s>)> = Vec::new();
        for Argument { name, value } in line.arguments {
            match name {
                None => unnamed.push(value),
                Some(name) if named.iter().any(|(other, _)| other.text == name.text) => {
                    return Err(Diagnostic::at(
                        name.span,
                        format!("`{}` is given twice", name.text),
                    ));
                }
                // Few arguments have names. Without a limit, the search for duplicates would take
                // quadratic time.
                Some(name) if named.len() == MOST_NAMED => {
                    return Err(Diagnostic::at(name.span, "too many arguments"));
                }
                Some(name) => named.push((name, value)),
            }
        }
        Ok(Arguments { head: line.head, unnamed: unnamed.into_iter(), named })
    }

    /// Takes the next unnamed value.
    pub(crate) fn next(&mut self, expected: &str) -> Result<Value<'s>, Diagnostic> {
        self.unnamed.next().ok_or_else(|| {
            Diagnostic::at(self.head.span.clone(), format!("`{}` needs {expected}", self.head.text))
        })
    }

    /// Takes the next unnamed value, if there is one.
    pub(crate) fn next_if_any(&mut self) -> Option<Value<'s>> {
        self.unnamed.next()
    }

    /// Takes all remaining unnamed values.
    pub(crate) fn unnamed(&mut self) -> impl Iterator<Item = Value<'s>> {
        self.unnamed.by_ref()
    }

    /// Takes the value of a name, if present.
    pub(crate) fn named(&mut self, name: &str) -> Option<Value<'s>> {
        let at = self.named.iter().position(|(other, _)| other.text == name)?;
        Some(self.named.remove(at).1)
    }

    /// Takes the value of a required name.
    pub(crate) fn required(&mut self, name: &str) -> Result<Value<'s>, Diagnostic> {
        self.named(name).ok_or_else(|| {
            Diagnostic::at(self.head.span.clone(), format!("`{}` needs `{name}=`", self.head.text))
        })
    }

    /// Takes all remaining named values.
    pub(crate) fn all_named(&mut self) -> Vec<(Atom<'s>, Value<'s>)> {
        std::mem::take(&mut self.named)
    }

    /// Removes the arguments with unknown names and reports them.
    pub(crate) fn take_unknown(&mut self, names: &[&str], problems: &mut Collector<Diagnostic>) {
        for (name, _) in self.named.extract_if(.., |(name, _)| !names.contains(&name.text)) {
            let message = format!("`{}` takes no `{}=`", self.head.text, name.text);
            let help = did_you_mean(name.text, names.iter().copied());
            problems.push(|| Diagnostic::at(name.span, message).with_help(help));
        }
    }

    /// Checks that no argument is left.
    pub(crate) fn end(self) -> Result<(), Diagnostic> {
        let Arguments { head, mut unnamed, named } = self;
        if let Some(value) = unnamed.next() {
            return Err(Diagnostic::at(
                value.span(),
                format!("`{}` takes no such argument", head.text),
            ));
        }
        match named.into_iter().next() {
            Some((name, _)) => Err(Diagnostic::at(
                name.span,
                format!("`{}` takes no `{}=` here", head.text, name.text),
            )),
            None => Ok(()),
        }
    }
}

const MOST_NAMED: usize = 100;
