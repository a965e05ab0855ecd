//! Sections of bytes: from data directives, or from a file beside the text.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::arguments::Arguments;
use super::syntax::{Atom, Value};
use super::text::{number, string};
use crate::program::Program;
use vitcod_support::diagnostics::Diagnostic;

/// Reads a file beside the text, by name.
pub type Files<'f> = dyn Fn(&str) -> Result<Bytes, String> + 'f;

/// Destination of data directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Image,
    Ir,
    IrConstants,
    Host,
    HostConstants,
}

/// Bytes from data directives or from a file.
#[derive(Default)]
pub(super) struct Section {
    data: Vec<u8>,
    file: Option<Bytes>,
}

impl Section {
    pub(super) fn len(&self) -> u64 {
        self.file.as_ref().map_or(self.data.len(), Bytes::len) as u64
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.file.unwrap_or_else(|| self.data.into())
    }

    pub(super) fn data(&mut self, head: &Atom<'_>) -> Result<&mut Vec<u8>, Diagnostic> {
        match self.file {
            None => Ok(&mut self.data),
            Some(_) => Err(Diagnostic::at(
                head.span.clone(),
                "this section is read from a file, so it takes no other data",
            )),
        }
    }

    /// Reads the bytes of a file if a directive names one; they are the whole section.
    pub(super) fn read(
        &mut self,
        arguments: &mut Arguments<'_>,
        target: Target,
        files: &Files<'_>,
    ) -> Result<(), Diagnostic> {
        if let Some(file) = arguments.next_if_any() {
            if !self.data(&arguments.head)?.is_empty() {
                return Err(Diagnostic::at(
                    file.span(),
                    "these bytes are in the text: they take no file",
                ));
            }
            let wrong = |message: String| Diagnostic::at(file.span(), message);
            let mut bytes =
                part_of(read(files, &string(&file)?).map_err(wrong)?, target).map_err(wrong)?;
            let mut count =
                |name| arguments.named(name).map(|value| number::<usize>(&value)).transpose();
            let (at, length) = (count("at")?, count("bytes")?);
            if at.is_some() || length.is_some() {
                let start = at.unwrap_or(0);
                let end = length.map_or(Some(bytes.len()), |length| start.checked_add(length));
                let Some(end) = end.filter(|end| start <= *end && *end <= bytes.len()) else {
                    return Err(wrong(format!("this has only {} bytes", bytes.len())));
                };
                bytes = bytes.slice(start..end);
            }
            check_digest(arguments.named("sha256"), &bytes)?;
            self.file = Some(bytes);
        } else if let Some(digest) = arguments.named("sha256") {
            let message = "only the digest of these bytes is there: this text is for reading";
            return Err(Diagnostic::at(digest.span(), message));
        }
        Ok(())
    }
}

/// Checks the digest of bytes, if one is stated.
pub(super) fn check_digest(stated: Option<Value<'_>>, bytes: &[u8]) -> Result<(), Diagnostic> {
    let Some(stated) = stated else { return Ok(()) };
    let found = sha256(bytes);
    if string(&stated)? == found {
        return Ok(());
    }
    Err(Diagnostic::at(stated.span(), format!("the digest of these bytes is {found}")))
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file beside the text. A text is untrusted and must not reach other folders.
fn read(files: &Files<'_>, name: &str) -> Result<Bytes, String> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', ':', '\0']) {
        return Err("expected the name of a file beside the text, without folder".to_owned());
    }
    files(name)
}

/// The section of a program file; the whole of any other file.
fn part_of(bytes: Bytes, target: Target) -> Result<Bytes, String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(bytes);
    }
    let program = Program::from_bytes(bytes).map_err(|error| error.to_string())?;
    let ir = program.ir.ok_or_else(|| "that program has no IR".to_owned());
    let host = program.host.ok_or_else(|| "that program has no part for the host".to_owned());
    match target {
        Target::Image => Ok(program.image),
        Target::Ir => Ok(ir?.graph),
        Target::IrConstants => Ok(ir?.constants),
        Target::Host => Ok(host?.graph),
        Target::HostConstants => Ok(host?.constants),
    }
}
