//! Files as [`Bytes`]: small ones read, large ones mapped into memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;

/// Files up to this size are read rather than mapped, so that later changes of the file do not
/// matter.
const READ_UP_TO: u64 = 1 << 20;

/// The bytes of a regular file.
///
/// A file above 1 MiB is mapped: pages are read when they are accessed, and nothing is copied.
/// While the mapping lives, nobody may write to the file or shorten it: changes are visible in the
/// mapping, and access to a removed page ends the process with SIGBUS. Replacing the file by
/// renaming another one over it is harmless.
///
/// # Errors
/// The operating system's error, or [`io::ErrorKind::InvalidInput`] if the path is not a regular
/// file.
pub(crate) fn open(path: &Path) -> io::Result<Bytes> {
    // Check before opening: opening a pipe blocks until its other end is opened.
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
    let mapping = Arc::new(unsafe { Mmap::map(file) }?);
    let mut mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    mappings.retain(|known| known.strong_count() > 0);
    mappings.push(Arc::downgrade(&mapping));
    Ok(Bytes::from_owner(Owner(mapping)))
}

/// The mappings in use, among which [`release`] finds that of a slice.
static MAPPINGS: Mutex<Vec<Weak<Mmap>>> = Mutex::new(Vec::new());

struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lets the pages of bytes go that will hardly be read again, if they are those of a mapped file.
/// Pages count as memory of the process from the first access on; the next one reads them again.
#[cfg_attr(unix, allow(unsafe_code, reason = "a file and a copy of it exceed the memory goal"))]
pub(crate) fn release(bytes: &[u8]) {
    let mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let start = bytes.as_ptr().addr();
    for mapping in mappings.iter().filter_map(Weak::upgrade) {
        let offset = start.wrapping_sub(mapping.as_ptr().addr());
        if offset.checked_add(bytes.len()).is_some_and(|end| end <= mapping.len()) {
            #[cfg(unix)]
            // SAFETY: the mapping is read-only and that of a file, so its pages hold nothing that
            // is not in the file. If the system refuses, the pages stay.
            let _ = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                mapping.unchecked_advise_range(advice, offset, bytes.len())
            };
        }
    }
}
