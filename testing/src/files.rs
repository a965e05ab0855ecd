//! Files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository")
}

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    repository().join(path)
}

/// A file of `tests/models`.
pub fn model(name: &str) -> PathBuf {
    repository().join("tests/models").join(name)
}

/// The files of a folder of the repository whose names have this suffix, sorted.
pub fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(file(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.map(|entry| entry.expect("folders can be listed").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    assert!(!paths.is_empty(), "{folder} holds no *{suffix}");
    paths.sort();
    paths
}
