//! Reading files, and output files that appear only if the whole command succeeds.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tempfile::NamedTempFile;
use vitcod_isa::program::Program;
use vitcod_support::sibling_files::{self, PathError};

/// Size limit of arrays, programs and IR texts. ViT-Huge with inline weights takes half.
const MAX_DATA: u64 = 8 << 30;

/// Size limit of files that people write by hand.
const MAX_SETTINGS: u64 = 1 << 20;

/// Reads a regular file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_within(path, MAX_DATA)
}

/// Reads a text of settings.
pub(crate) fn read_settings(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_within(path, MAX_SETTINGS)?)
        .with_context(|| format!("{} is not UTF-8 text", path.display()))
}

/// Reads a file that a text refers to, which must be in the folder of the text or below.
pub(crate) fn read_beside(text: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let folder = text.parent().unwrap_or(Path::new(""));
    let path = sibling_files::relative(name);
    let path =
        path.with_context(|| format!("{name:?} is not in the folder of the text or below"))?;
    match sibling_files::follow(folder, &path) {
        Err(PathError::Outside(target)) => {
            bail!(
                "{name:?} is not in the folder of the text or below: it leads to {}",
                target.display()
            )
        }
        // A path that does not exist is reported like an unreadable file.
        Ok(_) | Err(PathError::Io(_)) => read(&folder.join(path)),
    }
}

fn read_within(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let fits = |bytes: u64| {
        ensure!(bytes <= limit, "{} is too large: at most {limit} bytes are read", path.display());
        Ok(())
    };
    fits(fs::metadata(path).map_or(0, |metadata| metadata.len()))?;
    // The size in the metadata may be wrong.
    let bytes = head(path, limit + 1)?;
    fits(bytes.len() as u64)?;
    Ok(bytes)
}

/// Whether a regular file starts with these bytes.
pub(crate) fn starts_with(path: &Path, magic: &[u8]) -> anyhow::Result<bool> {
    Ok(head(path, magic.len() as u64)? == magic)
}

/// Reads the first bytes of a regular file, at most `limit`.
fn head(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let read = || {
        // Check before opening: opening a pipe blocks, and a device may never end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a program without verifying it.
pub(crate) fn read_program(path: &Path) -> anyhow::Result<Program> {
    let bytes = Bytes::from(read(path)?);
    Program::from_bytes(bytes).with_context(|| format!("{} is not a valid program", path.display()))
}

/// Output files: until commit, their contents are in temporary files beside them.
#[derive(Default)]
pub(crate) struct Outputs {
    staged: Vec<Staged>,
    /// Input files, which no output may replace.
    inputs: Vec<PathBuf>,
}

struct Staged {
    path: PathBuf,
    /// The destination, with symbolic links resolved.
    target: PathBuf,
    content: Content,
}

enum Content {
    /// A temporary file that replaces the target by renaming.
    Beside(NamedTempFile),
    /// The contents for pipes and devices, which must not be replaced.
    Direct(Vec<u8>),
}

impl Outputs {
    /// Protects an input file from replacement.
    pub(crate) fn keep(&mut self, input: &Path) {
        // A path that cannot be resolved was not read.
        self.inputs.extend(fs::canonicalize(input));
    }

    /// Stages a file whose contents `write` produces. Nothing is visible at `path` before
    /// [`Outputs::commit`].
    pub(crate) fn stage(
        &mut self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let staged =
            self.staged(path, write).with_context(|| format!("cannot write {}", path.display()))?;
        ensure!(
            self.staged.iter().all(|other| other.target != staged.target),
            "{} would be written twice",
            path.display()
        );
        ensure!(
            !self.inputs.contains(&staged.target),
            "{} is an input: choose another output",
            path.display()
        );
        self.staged.push(staged);
        Ok(())
    }

    fn staged(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<Staged> {
        let target = fs::canonicalize(path).or_else(|_| absolute(path))?;
        let content = match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => bail!("it is a directory"),
            Ok(metadata) if !metadata.is_file() => {
                let mut bytes = Vec::new();
                write(&mut bytes)?;
                Content::Direct(bytes)
            }
            _ => {
                let mut file = temporary(target.parent().unwrap_or(Path::new("/")))?;
                let mut buffered = io::BufWriter::new(&mut file);
                write(&mut buffered)?;
                buffered.flush()?;
                drop(buffered);
                Content::Beside(file)
            }
        };
        Ok(Staged { path: path.to_owned(), target, content })
    }

    /// Renames all files to their targets.
    pub(crate) fn commit(self) -> anyhow::Result<()> {
        for Staged { path, target, content } in self.staged {
            let done = match content {
                Content::Beside(file) => {
                    file.persist(&target).map(drop).map_err(|error| error.error)
                }
                Content::Direct(bytes) => {
                    File::options().write(true).open(&target).and_then(|mut f| f.write_all(&bytes))
                }
            };
            done.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// The path with its folder, which must exist, resolved.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::canonicalize(folder)?.join(name))
}

/// A new file in a folder with default permissions, which is deleted when it is dropped. A killed
/// process leaves it behind; its name identifies the origin.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vitcod-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
