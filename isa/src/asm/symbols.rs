//! Names of a program for addresses and values.

use std::collections::BTreeMap;
use std::ops::Range;

use super::syntax::Atom;
use crate::effects::Space;
use crate::instr::field::{MAX_SRAM, integer};
use crate::instr::{Dram, Sram};
use vitcod_support::diagnostics::{Diagnostic, did_you_mean};

/// The meaning of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Symbol<'s> {
    /// Text that replaces the name.
    Text(&'s str),
    /// A region of a memory. `bytes` is `None` if it has no end.
    Region { space: Space, address: u64, bytes: Option<u64> },
    /// A buffer of a task listing, by its number.
    Buffer { number: u32, bytes: u32 },
    /// Several tensors have this name.
    Ambiguous,
    /// The definition is invalid.
    Broken,
}

/// The meaning of a word.
#[derive(Clone, Debug)]
pub(crate) enum Resolved {
    /// Text that replaces the word.
    Text(String),
    /// An offset in a buffer of a task listing.
    InBuffer { number: u32, offset: u32 },
    /// A name whose definition is invalid.
    Broken,
}

/// The names of a program.
#[derive(Debug, Default)]
pub(crate) struct Symbols<'s>(BTreeMap<String, Symbol<'s>>);

impl<'s> Symbols<'s> {
    /// Defines a new name; a duplicate is an error.
    pub(crate) fn define(&mut self, name: &Atom<'_>, symbol: Symbol<'s>) -> Result<(), Diagnostic> {
        if !is_name(name.text) {
            let message = "a name starts with a letter and has letters, digits, `_` and `.`";
            return Err(Diagnostic::at(name.span.clone(), message));
        }
        if !matches!(self.0.get(name.text), None | Some(Symbol::Broken)) {
            return Err(Diagnostic::at(
                name.span.clone(),
                format!("`{}` is already defined", name.text),
            ));
        }
        self.0.insert(name.text.to_owned(), symbol);
        Ok(())
    }

    /// Marks a name as invalidly defined, so that its uses are not reported as well.
    pub(crate) fn poison(&mut self, name: &str) {
        if is_name(name) {
            self.0.entry(name.to_owned()).or_insert(Symbol::Broken);
        }
    }

    /// Defines the name of a tensor, if it is a valid one. Several tensors may have the same name.
    pub(crate) fn define_tensor(&mut self, name: &str, symbol: Symbol<'s>) {
        if is_name(name) {
            let entry = self.0.entry(name.to_owned()).or_insert(Symbol::Broken);
            *entry = if matches!(entry, Symbol::Broken) { symbol } else { Symbol::Ambiguous };
        }
    }

    /// The meaning of `name` or `name+offset`; `None` if the name is unknown.
    pub(crate) fn resolve(
        &self,
        text: &str,
        span: &Range<usize>,
    ) -> Result<Option<Resolved>, Diagnostic> {
        let (name, offset) =
            text.split_once('+').map_or((text, None), |(name, offset)| (name, Some(offset)));
        let Some(symbol) = self.0.get(name) else { return Ok(None) };
        let wrong = |message: String| Err(Diagnostic::at(span.clone(), message));
        let bytes = match (*symbol, offset) {
            (Symbol::Broken, _) => return Ok(Some(Resolved::Broken)),
            (Symbol::Ambiguous, _) => {
                return wrong(format!("`{name}` is the name of several tensors"));
            }
            (Symbol::Text(value), None) => return Ok(Some(Resolved::Text(value.to_owned()))),
            (Symbol::Text(_), Some(_)) => {
                return wrong(format!(
                    "expected an address before `+`, found the constant `{name}`"
                ));
            }
            (Symbol::Region { bytes, .. }, _) => bytes,
            (Symbol::Buffer { bytes, .. }, _) => Some(bytes.into()),
        };
        let Some(offset) = offset.map_or(Some(0), integer::<u64>) else {
            return wrong(format!("expected a number of bytes after `{name}+`"));
        };
        if let Some(bytes) = bytes.filter(|bytes| offset >= *bytes) {
            return wrong(format!("`{name}` has only {bytes} bytes"));
        }
        let resolved = match *symbol {
            Symbol::Region { space, address, .. } => {
                address.checked_add(offset).and_then(|address| {
                    Some(Resolved::Text(match space {
                        Space::Sram => Sram(u32::try_from(address).ok()?).to_string(),
                        Space::Dram => Dram(address).to_string(),
                    }))
                })
            }
            Symbol::Buffer { number, .. } => {
                let offset = u32::try_from(offset).ok().filter(|offset| *offset < MAX_SRAM);
                offset.map(|offset| Resolved::InBuffer { number, offset })
            }
            Symbol::Text(_) | Symbol::Ambiguous | Symbol::Broken => None,
        };
        match resolved {
            Some(resolved) => Ok(Some(resolved)),
            None => wrong("the address is too large".to_owned()),
        }
    }

    /// Suggests the closest known name. Only a limited number of names is compared.
    pub(crate) fn near(&self, text: &str) -> Option<String> {
        did_you_mean(
            text.split('+').next().unwrap_or(text),
            self.0.keys().map(String::as_str).take(1000),
        )
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}
