//! Files that a file refers to: only files in its own folder or below may be read.
//!
//! A model refers to external data, a text to a side file. The sender of the file must not be able
//! to choose which files of the reader become part of a program.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a path does not lead to a file in the folder.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// A link leads out of the folder.
    #[error("it leads to {}", .0.display())]
    Outside(PathBuf),
    /// The path cannot be resolved.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A name as a path below a folder; `None` if it is absolute, empty, or contains `..`.
pub fn relative(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// Resolves a path below a folder, following links of both. The empty folder is the current one.
///
/// # Errors
/// The path leads out of the folder or cannot be resolved.
pub fn follow(folder: &Path, path: &Path) -> Result<PathBuf, PathError> {
    let folder =
        if folder.as_os_str().is_empty() { Path::new(".") } else { folder }.canonicalize()?;
    let target = folder.join(path).canonicalize()?;
    if target.starts_with(&folder) { Ok(target) } else { Err(PathError::Outside(target)) }
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn names_stay_below_their_folder() {
        let path = |name| relative(name).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(path("./a//b/./c.bin").as_deref(), Some("a/b/c.bin"));
        for name in ["", ".", "..", "a/..", "a/../../b", "/a", "/"] {
            assert_eq!(path(name), None, "{name}");
        }
    }
}
