//! Waiting for thousands of descriptors (epoll): each has a token of the caller's choice. Closing a descriptor
//! takes it out. The few descriptors of the Advertisement loop wait in [`super::poll`], whose timeouts are finer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use steadfast_core::time::Duration;

/// Events that one wait hands on.
const BATCH: usize = 256;

/// The set of descriptors that are waited for.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Readable, again and again until it has been read.
    pub const READABLE: Self = Self(libc::EPOLLIN as u32);
    /// Once, and then nothing until it is changed: that a connection is there, or is not to be had.
    pub const CONNECTION: Self = Self(libc::EPOLLOUT as u32 | libc::EPOLLONESHOT as u32);
    /// Each time that something arrives: once per change, so that whoever does not read to the end has to remember it.
    pub const ARRIVALS: Self = Self(libc::EPOLLIN as u32 | libc::EPOLLET as u32);
    /// Each time that something arrives or room to write appears: once per change, so that whoever does not read or
    /// write to the end has to remember it.
    pub const CHANGES: Self =
        Self(libc::EPOLLIN as u32 | libc::EPOLLOUT as u32 | libc::EPOLLRDHUP as u32 | libc::EPOLLET as u32);
}

/// What a wait has found, at most a batch.
pub struct Events {
    list: Vec<libc::epoll_event>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("count", &self.list.len()).finish()
    }
}

/// What a descriptor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token that it was added with.
    pub token: u64,
    /// It failed (EPOLLERR), or both ends are closed (EPOLLHUP).
    pub failed: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { list: Vec::with_capacity(BATCH) }
    }
}

impl Events {
    /// Whether there may be more than were handed on.
    pub fn is_full(&self) -> bool {
        self.list.len() == self.list.capacity()
    }

    /// What was found.
    pub fn iter(&self) -> impl Iterator<Item = Ready> {
        self.list.iter().map(|event| {
            // Copied out: the structure is packed on some targets.
            let (events, token) = (event.events, event.u64);
            Ready { token, failed: events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0 }
        })
    }
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 takes an integer and touches no memory.
        let fd = super::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for `fd` from now on, until it is closed.
    pub fn add(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest, token)
    }

    /// Waits for something else of `fd`, which was added before.
    pub fn change(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest, token)
    }

    fn control(&self, what: libc::c_int, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.0, u64: token };
        // SAFETY: both descriptors are open, and the event is valid during the call, which only reads it.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &raw mut event) };
        super::check(result).map(drop)
    }

    /// Waits until something happens, or for `timeout` (`None`: without end), rounded up to milliseconds, or for a
    /// signal; what happened is in `events`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let millis = timeout.map_or(-1, |timeout| {
            libc::c_int::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(libc::c_int::MAX)
        });
        events.list.clear();
        let room = events.list.spare_capacity_mut();
        let most = libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `room` is valid for writing as many events as are asked for, and exclusively borrowed.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), room.as_mut_ptr().cast(), most, millis) };
        match super::check(count) {
            Ok(count) => {
                // SAFETY: the kernel has filled in that many, which is no more than there was room for.
                unsafe { events.list.set_len(usize::try_from(count).unwrap_or(0)) };
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Epoll {
    /// Readable while one of the descriptors has something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn found(epoll: &Epoll, timeout: Option<Duration>) -> Vec<Ready> {
        let mut events = Events::default();
        epoll.wait(&mut events, timeout).unwrap();
        events.iter().collect()
    }

    #[test]
    fn tokens_come_back_once_per_change() {
        let epoll = Epoll::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        epoll.add(near.as_fd(), Interest::CHANGES, 1 << 40).unwrap();
        let ready = Ready { token: 1 << 40, failed: false };
        assert_eq!(found(&epoll, None), [ready]);
        assert_eq!(found(&epoll, Some(Duration::ZERO)), []);
        far.write_all(b"x").unwrap();
        assert_eq!(found(&epoll, None), [ready]);
        // It was not read, and is not told again.
        assert_eq!(found(&epoll, Some(Duration::from_micros(1))), []);
        drop(far);
        assert_eq!(found(&epoll, None), [Ready { token: 1 << 40, failed: true }]);
        drop(near);
        assert_eq!(found(&epoll, Some(Duration::ZERO)), []);
    }

    #[test]
    fn readable_is_told_until_it_is_read() {
        let epoll = Epoll::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        epoll.add(near.as_fd(), Interest::READABLE, 7).unwrap();
        assert_eq!(found(&epoll, Some(Duration::ZERO)), []);
        far.write_all(b"x").unwrap();
        for _ in 0..2 {
            assert_eq!(found(&epoll, None), [Ready { token: 7, failed: false }]);
        }
        near.read_exact(&mut [0]).unwrap();
        assert_eq!(found(&epoll, Some(Duration::ZERO)), []);
    }
}
