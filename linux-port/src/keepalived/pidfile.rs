//! Pid files: how init systems, scripts and a second agent find the one that runs. A file that nobody's process
//! stands behind is taken over.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sys::process;

/// The names that an agent's process may have.
const NAMES: [&str; 2] = ["keepalived", "steadfast"];

/// A pid file with the number of this process; removed when it is dropped, if it is still the same file.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    /// Locked for as long as it is open.
    file: File,
}

/// Why a pid file cannot be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is that of an agent that runs.
    Running(u32),
    /// What the system says.
    System(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl PidFile {
    /// Writes the number of this process into the file at `path`; makes its directory if that is missing.
    pub(super) fn take(path: &Path) -> Result<Self, Refused> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(flags);
        let mut file = file.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file").into());
        }
        let mut text = String::new();
        // What is no number is nobody's.
        let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
        let other = text.trim().parse().unwrap_or(0);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refused::Running(other)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // keepalived does not lock its own.
        if other != std::process::id() && process::exists(other) && is_agent(other) {
            return Err(Refused::Running(other));
        }
        file.set_len(0)?;
        io::Seek::rewind(&mut file)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path: path.to_owned(), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let identity = |known: fs::Metadata| (known.dev(), known.ino());
        let ours = self.file.metadata().map(identity);
        if let (Ok(ours), Ok(there)) = (ours, fs::symlink_metadata(&self.path).map(identity))
            && ours == there
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a process goes by the name of an agent; without /proc it may.
fn is_agent(pid: u32) -> bool {
    let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) else { return true };
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    NAMES.contains(&name.trim()) || name == own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("steadfast-pid-{}-{name}", std::process::id())).join("sub/x.pid")
    }

    #[test]
    fn the_file_holds_our_number_and_goes_with_us() {
        let path = path("own");
        let file = PidFile::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        // Another one is told who has it.
        assert!(matches!(PidFile::take(&path), Err(Refused::Running(pid)) if pid == std::process::id()));
        drop(file);
        assert!(!path.exists());
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_no_agent_stands_behind_is_taken_over() {
        let path = path("stale");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // No number, none that can be, and a process that is no agent.
        for text in ["", "nonsense", "4294967295", "1\n"] {
            fs::write(&path, text).unwrap();
            PidFile::take(&path).unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(matches!(PidFile::take(&path), Err(Refused::System(_))), "a link is not followed");
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }
}
