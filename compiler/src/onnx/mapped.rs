//! Files as [`Bytes`]: small ones read, large ones mapped into memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// Files up to this many bytes are read, so that what others do to them later does not matter.
const READ_UP_TO: u64 = 1 << 20;

/// The bytes of a regular file.
///
/// A file above 1 MiB is mapped, not read: pages come from the disk as they are touched, and no
/// copy is made. While such a mapping lives, nobody may write to the file or shorten it: changed
/// bytes show through, and touching a page that is gone ends the process with SIGBUS. Replacing the
/// file by renaming another one over it is harmless.
///
/// # Errors
/// What the operating system says, and [`io::ErrorKind::InvalidInput`] where the path names
/// something else than a regular file.
pub(super) fn open(path: &Path) -> io::Result<Bytes> {
    // Before opening, because opening a pipe waits for its other end.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    if metadata.len() > READ_UP_TO {
        return map(&file);
    }
    let mut bytes = Vec::new();
    file.take(READ_UP_TO).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

#[allow(
    unsafe_code,
    reason = "Weights are hundreds of megabytes; mapping them is the only way not to copy them. The \
              caller of `open` is told what must not happen to the file. No invariant of this crate \
              rests on mapped bytes staying the same: every length is checked where it is used, and \
              text is copied before it is checked."
)]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the mapping is read-only; `open` documents that the file must not change under it.
    let mapping = unsafe { Mmap::map(file) }?;
    Ok(Bytes::from_owner(mapping))
}
