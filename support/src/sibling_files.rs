//! Files that a file names: nothing but what lies in its own folder or below it is read.
//!
//! A model names its external data, a text its side file. Whoever sends the file must not choose
//! what of the reader's disk becomes part of a program.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a path does not lead to a file of the folder.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// A link leads out of the folder.
    #[error("it leads to {}", .0.display())]
    Outside(PathBuf),
    /// It leads nowhere.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A name as a path below a folder; `None` where it is absolute, empty, or climbs up.
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

/// Where a path below a folder leads, after links of both; the empty folder is the current one.
///
/// # Errors
/// It leads out of the folder, or nowhere.
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
