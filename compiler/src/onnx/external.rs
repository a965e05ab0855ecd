//! Tensor data in files beside the model.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use vitcod_support::sibling_files::{self, PathError};

use super::proto::StringStringEntryProto;
use super::quoted::Quoted;
use crate::mapped;

/// Why external data is not available.
#[derive(Debug, thiserror::Error)]
pub enum ExternalFault {
    /// The model was given as bytes, so there is no folder.
    #[error("expected data inside the model, found external data and no folder to look for it")]
    NoFolder,
    /// The `location` entry is missing.
    #[error("expected external data with a location, found none")]
    NoLocation,
    /// The location is absolute, empty, or contains `..`.
    #[error("expected external data at a path inside the model's folder, found {}", Quoted(.location))]
    Location {
        /// The location as written.
        location: String,
    },
    /// The location is a link out of the model's folder.
    #[error("expected external data inside the model's folder, found that {} leads to {}", Quoted(.location), .target.display())]
    Escape {
        /// The location as written.
        location: String,
        /// The target of the link.
        target: PathBuf,
    },
    /// The file cannot be read. Reported for the first tensor that needs it.
    #[error("cannot read external data {}: {source}", Quoted(.location))]
    Io {
        /// The location as written.
        location: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// An offset or length is not a number.
    #[error("expected a number of bytes as {key} of external data, found {}", Quoted(.found))]
    Number {
        /// `offset` or `length`.
        key: &'static str,
        /// The value as written.
        found: String,
    },
    /// The stated length does not match the shape.
    #[error("expected {expected} bytes of external data, found a length of {found}")]
    Length {
        /// Bytes that the shape and the element type require.
        expected: usize,
        /// The length stated.
        found: u64,
    },
    /// The file is too short.
    #[error("expected {expected} bytes at offset {offset} of {}, found a file of {found} bytes", Quoted(.location))]
    Range {
        /// The location as written.
        location: String,
        /// Bytes that the tensor takes.
        expected: usize,
        /// Offset of the tensor in the file.
        offset: u64,
        /// Bytes of the file.
        found: usize,
    },
}

/// The files of one model, each opened once.
#[derive(Debug)]
pub(super) struct ExternalFiles<'a> {
    folder: Option<&'a Path>,
    /// By path inside the folder; `None` where opening failed.
    files: BTreeMap<PathBuf, Option<Bytes>>,
}

impl<'a> ExternalFiles<'a> {
    pub(super) fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, files: BTreeMap::new() }
    }

    /// The `expected` bytes that the entries of a tensor's `external_data` name; `None` if the
    /// error of opening the file was returned before.
    pub(super) fn fetch(
        &mut self,
        entries: &[StringStringEntryProto],
        expected: usize,
    ) -> Result<Option<Bytes>, ExternalFault> {
        let entry = |key: &str| {
            let found = entries.iter().find(|entry| entry.key() == key);
            found.map(StringStringEntryProto::value)
        };
        let number = |key: &'static str| {
            let parse = |text: &str| {
                text.parse::<u64>()
                    .map_err(|_| ExternalFault::Number { key, found: text.to_owned() })
            };
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or(ExternalFault::NoLocation)?;
        let offset = number("offset")?.unwrap_or(0);
        if let Some(found) = number("length")?
            && found != expected as u64
        {
            return Err(ExternalFault::Length { expected, found });
        }

        let Some(file) = self.file(location)? else {
            return Ok(None);
        };
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(expected)?));
        match range.filter(|range| range.end <= file.len()) {
            Some(range) => Ok(Some(file.slice(range))),
            None => Err(ExternalFault::Range {
                location: location.to_owned(),
                expected,
                offset,
                found: file.len(),
            }),
        }
    }

    fn file(&mut self, location: &str) -> Result<Option<Bytes>, ExternalFault> {
        let folder = self.folder.ok_or(ExternalFault::NoFolder)?;
        let Some(path) = sibling_files::relative(location) else {
            return Err(ExternalFault::Location { location: location.to_owned() });
        };
        match self.files.entry(path) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(new) => {
                let opened = open(folder, new.key(), location);
                new.insert(opened.as_ref().ok().cloned());
                opened.map(Some)
            }
        }
    }
}

/// Opens a file after following links, both of the folder and of the file.
fn open(folder: &Path, path: &Path, location: &str) -> Result<Bytes, ExternalFault> {
    let io = |source| ExternalFault::Io { location: location.to_owned(), source };
    match sibling_files::follow(folder, path) {
        Ok(target) => mapped::open(&target).map_err(io),
        Err(PathError::Outside(target)) => {
            Err(ExternalFault::Escape { location: location.to_owned(), target })
        }
        Err(PathError::Io(source)) => Err(io(source)),
    }
}
