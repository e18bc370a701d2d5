//! Going into the background, as daemons do: a child goes on, and its parent waits until that has started, so that
//! whoever called the program learns whether it did.

use std::fs::{self, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Side {
    /// The one that was called: it waits for what the other says, and ends.
    Parent(Awaited),
    /// The one that goes on, in a session of its own.
    Child(Starting),
}

/// The child as its parent sees it.
#[derive(Debug)]
pub struct Awaited(PipeReader);

impl Awaited {
    /// The exit status that the child says; 1 if it ends without a word.
    pub fn exit_status(mut self) -> u8 {
        let mut status = [1];
        match self.0.read(&mut status) {
            Ok(1) => status[0],
            _ => 1,
        }
    }
}

/// The parent as its child sees it. Dropped without a word, the parent ends with 1.
#[derive(Debug)]
pub struct Starting(PipeWriter);

impl Starting {
    /// The start is over: lets the parent end with this exit status.
    pub fn over(mut self, status: u8) {
        // The parent may have been killed, which changes nothing here.
        let _ = self.0.write_all(&[status]);
    }
}

/// Makes the two processes. Only where there is one thread: a child has no others, and what they held stays held.
///
/// # Errors
/// There are other threads (`WouldBlock`), or the system has no room for another process.
pub fn divide() -> io::Result<Side> {
    if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "there are threads already"));
    }
    let (reader, writer) = pipe()?;
    // SAFETY: there is one thread, so no lock and no memory of another is left behind in the child.
    if super::check(unsafe { libc::fork() })? > 0 {
        return Ok(Side::Parent(Awaited(reader)));
    }
    // SAFETY: setsid touches no memory. It fails for the leader of a group of processes, which a new process is not.
    unsafe { libc::setsid() };
    Ok(Side::Child(Starting(writer)))
}

/// Has stdin, stdout and, unless it is where the log goes, stderr speak to nobody.
///
/// # Errors
/// There is no /dev/null.
pub fn close_streams(keep_stderr: bool) -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let replace = |stream: BorrowedFd<'_>| {
        // SAFETY: both descriptors are open for the call; what had the second number is closed, and nobody's own.
        super::check(unsafe { libc::dup2(null.as_raw_fd(), stream.as_raw_fd()) }).map(drop)
    };
    replace(io::stdin().as_fd())?;
    replace(io::stdout().as_fd())?;
    if keep_stderr { Ok(()) } else { replace(io::stderr().as_fd()) }
}
