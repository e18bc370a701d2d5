//! What a process can do to itself: leave namespaces, enter others, die with its parent, choose the mode of
//! the files it makes; and what it may do.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Kinds of namespaces to leave; combine with [`Namespaces::and`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces(libc::c_int);

impl Namespaces {
    /// Interfaces, addresses, routes, sockets.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET);
    /// User ids and capabilities; with it the others need no privilege, where the kernel allows it.
    pub const USER: Self = Self(libc::CLONE_NEWUSER);
    /// Mount points.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Moves the calling thread (for [`Namespaces::USER`]: a process of one thread) into new namespaces.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: unshare takes an integer and touches no memory.
    super::check(unsafe { libc::unshare(namespaces.0) }).map(drop)
}

/// Moves the calling thread into the namespace that `namespace` (an open `/proc/PID/ns/net`) stands for.
pub fn enter(namespace: impl AsFd) -> io::Result<()> {
    // SAFETY: setns takes a descriptor and an integer; 0 accepts whatever kind it is.
    super::check(unsafe { libc::setns(namespace.as_fd().as_raw_fd(), 0) }).map(drop)
}

/// Makes what `command` will start be killed (SIGKILL) when the thread that starts it ends, however it ends.
pub fn kill_with_parent(command: &mut Command) -> &mut Command {
    let ask = || {
        // SAFETY: PR_SET_PDEATHSIG takes one unsigned long and touches no memory of ours.
        super::check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) }).map(drop)
    };
    // SAFETY: between fork and exec the closure makes one system call, which is async-signal-safe, and
    // allocates nothing (an error of the system is a number).
    unsafe { command.pre_exec(ask) }
}

/// Makes the calling thread, and what it will start, nicer by `by` (nice(2)): when processors are short, others go
/// first.
pub fn be_nice(by: i32) -> io::Result<()> {
    // SAFETY: setpriority takes three integers; 0 is the calling thread.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, by) }).map(drop)
}

/// Lets go of the pages of this program's code and constants that were needed so far, as at its start. What is needed
/// again comes back by itself from the file's pages in memory; what is not, the grammar for one, does not count as
/// resident.
pub fn release_code() -> io::Result<()> {
    let here = release_code as *const () as usize;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    // `from-to permissions offset device inode path`
    let mappings = || {
        maps.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
            Some((range, words.next()?, words.next()?, words.nth(1)?))
        })
    };
    let file = mappings().find(|(range, ..)| range.contains(&here)).map(|(.., inode)| inode);
    let file = file.ok_or(io::ErrorKind::NotFound)?;
    for (range, permissions, offset, inode) in mappings() {
        // The constants that are the same wherever the program is loaded are the file's beginning; others of them were
        // written to when it was.
        let unwritten = permissions == "r-xp" || permissions == "r--p" && offset.bytes().all(|digit| digit == b'0');
        if inode == file && unwritten {
            let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(range.start);
            // SAFETY: the range is a whole private mapping of this program's file that nothing ever writes to: a page
            // that is let go of is read anew as it was.
            super::check(unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) })?;
        }
    }
    Ok(())
}

/// Gives the kernel back what the C library keeps of freed memory, and has it keep little from now on: of the start there
/// is much, and of a large configuration.
pub fn release_heap() {
    // Other C libraries than GNU's keep little, and have no such calls.
    #[cfg(target_env = "gnu")]
    // SAFETY: they may be called at any time, by any thread.
    unsafe {
        // What it begins with; unless told so, it keeps more after something large was freed.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
        libc::malloc_trim(0);
    }
}

/// Lets this process open as many files as it may at all.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing during the call.
    super::check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid during the call, which only reads it.
    super::check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

/// Whether there is a process `pid`, whoever's it is.
pub fn exists(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: kill takes two integers; with 0 it sends nothing.
    let sent = super::check(unsafe { libc::kill(pid, 0) });
    sent.map_or_else(|error| error.kind() == io::ErrorKind::PermissionDenied, |_| true)
}

/// Sends SIGTERM to the process `pid`.
pub fn terminate(pid: u32) -> io::Result<()> {
    send_signal(pid, libc::SIGTERM)
}

/// Sends SIGKILL to the process `pid`.
pub fn kill(pid: u32) -> io::Result<()> {
    send_signal(pid, libc::SIGKILL)
}

fn send_signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // 0 and negative numbers mean groups of processes, which is nobody's intention here.
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: kill takes two integers and touches no memory.
    super::check(unsafe { libc::kill(pid, signal) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_or_not() {
        assert!(exists(std::process::id()) && !exists(0) && !exists(u32::MAX));
    }

    #[test]
    fn signals_go_to_one_process_only() {
        assert_eq!(terminate(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(kill(u32::MAX).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_child_dies_with_the_thread_that_started_it() {
        let mut child = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            kill_with_parent(command.arg("60")).spawn().unwrap()
        })
        .join()
        .unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
