//! A file as memory: words that are in the file as soon as they are stored, also when this process is killed the moment
//! after. What they mean is decided elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// The words of a file, shared with whoever else has mapped it. The file must not become shorter.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory belongs to this value alone until it is dropped, and is reached only through atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// The first `count` words of a file, which is made that long; what is new is 0.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn map(file: &File, count: usize) -> io::Result<Self> {
        let bytes = count * size_of::<AtomicU64>();
        file.set_len(bytes as u64)?;
        // SAFETY: a new mapping, at an address of the kernel's choice, touches no memory of ours.
        let start = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            libc::mmap(std::ptr::null_mut(), bytes, access, kind, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, count })
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `count` words long, readable and writable, and stays until the drop;
        // every bit pattern is a valid AtomicU64.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and nobody borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let path = std::env::temp_dir().join(format!("steadfast-shared-{}", std::process::id()));
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let words = SharedWords::map(&open(), 3).unwrap();
        assert_eq!(words.words().len(), 3);
        words.words()[1].store(u64::from_ne_bytes(*b"steadily"), Relaxed);
        assert_eq!(&std::fs::read(&path).unwrap()[8..16], b"steadily");
        let again = SharedWords::map(&open(), 3).unwrap();
        drop(words);
        assert_eq!(again.words()[1].load(Relaxed), u64::from_ne_bytes(*b"steadily"));
        std::fs::remove_file(&path).unwrap();
    }
}
