//! Hearing of changes of files (inotify): what is watched are directories, so that files which come, go or are replaced
//! are heard of too.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Room for a few events with the longest names.
const ROOM: usize = 4096;

/// The head of an event: watch, mask, cookie and the length of the name, four bytes each (inotify(7)).
const HEAD: usize = 16;

/// A watched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch(i32);

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A file of this name was written to and closed, or was moved there, or is there no longer.
    File(Watch, &'a OsStr),
    /// The directory is gone or somewhere else; nothing more is heard of it.
    Gone(Watch),
    /// So much has happened that some of it is lost.
    Overflow,
}

/// An inotify instance.
#[derive(Debug)]
pub struct Inotify(OwnedFd);

impl Inotify {
    /// One that watches nothing yet.
    ///
    /// # Errors
    /// Of the system, as everywhere here.
    pub fn new() -> io::Result<Self> {
        // SAFETY: inotify_init1 takes an integer and touches no memory.
        let fd = super::check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches a directory; the same one again is the same watch.
    pub fn watch(&self, directory: &Path) -> io::Result<Watch> {
        let path = CString::new(directory.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let files = libc::IN_CLOSE_WRITE | libc::IN_MOVED_FROM | libc::IN_MOVED_TO | libc::IN_DELETE;
        let itself = libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_ONLYDIR;
        // SAFETY: the path is a string that outlives the call.
        let watch = unsafe { libc::inotify_add_watch(self.0.as_raw_fd(), path.as_ptr(), files | itself) };
        super::check(watch).map(Watch)
    }

    /// Watches a directory no longer.
    pub fn forget(&self, watch: Watch) {
        // SAFETY: inotify_rm_watch takes two integers. That the watch is gone already is no error.
        unsafe { libc::inotify_rm_watch(self.0.as_raw_fd(), watch.0) };
    }

    /// Hands on what has happened; never waits.
    pub fn read(&self, mut hand: impl FnMut(Change<'_>)) -> io::Result<()> {
        let mut buffer = [0_u8; ROOM];
        loop {
            // SAFETY: the buffer is valid for its length and exclusively borrowed.
            let length = unsafe { libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let Ok(length) = usize::try_from(length) else {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(()),
                    io::ErrorKind::Interrupted => continue,
                    _ => Err(error),
                };
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((event, after)) = event(rest) {
                rest = after;
                if let Some(change) = event {
                    hand(change);
                }
            }
        }
    }
}

/// The first event of these bytes, if it is of interest, and the bytes after it.
fn event(bytes: &[u8]) -> Option<(Option<Change<'_>>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let number = |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let (watch, mask, length) = (Watch(number(0)?.cast_signed()), number(4)?, usize::try_from(number(12)?).ok()?);
    let (name, rest) = rest.split_at_checked(length)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let change = if mask & libc::IN_Q_OVERFLOW != 0 {
        Some(Change::Overflow)
    } else if mask & (libc::IN_IGNORED | libc::IN_MOVE_SELF) != 0 {
        Some(Change::Gone(watch))
    } else {
        (!name.is_empty() && mask & libc::IN_ISDIR == 0).then(|| Change::File(watch, OsStr::from_bytes(name)))
    };
    Some((change, rest))
}

impl AsFd for Inotify {
    /// Readable when something has happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn changes(inotify: &Inotify) -> Vec<String> {
        let mut found = Vec::new();
        inotify.read(|change| found.push(format!("{change:?}"))).unwrap();
        found
    }

    #[test]
    fn files_come_change_and_go() {
        let folder = std::env::temp_dir().join(format!("steadfast-inotify-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let inotify = Inotify::new().unwrap();
        let watch = inotify.watch(&folder).unwrap();
        assert_eq!(inotify.watch(&folder).unwrap(), watch);
        assert_eq!(changes(&inotify), [""; 0]);
        let file = |name: &str| format!("{:?}", Change::File(watch, OsStr::new(name)));
        fs::write(folder.join("a"), "1").unwrap();
        assert_eq!(changes(&inotify), [file("a")]);
        fs::create_dir(folder.join("d")).unwrap();
        fs::rename(folder.join("a"), folder.join("b")).unwrap();
        fs::remove_file(folder.join("b")).unwrap();
        assert_eq!(changes(&inotify), [file("a"), file("b"), file("b")]);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(changes(&inotify), [format!("{:?}", Change::Gone(watch))]);
        assert!(inotify.watch(&folder).is_err());
    }
}
