//! Waiting for one of a few descriptors or a deadline, to the nanosecond (ppoll): one system call per
//! wake-up, and none to change what is waited for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use steadfast_core::time::Duration;

/// The descriptors that a loop waits for. It does not own them: remove one before it is closed, or it
/// counts as ready for ever (POLLNVAL) and, worse, its number may be given to another file.
#[derive(Debug, Default)]
pub struct PollSet {
    fds: Vec<libc::pollfd>,
}

impl PollSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for `fd` to be readable from now on. Once per descriptor.
    pub fn add(&mut self, fd: BorrowedFd<'_>) {
        self.add_for(fd, libc::POLLIN);
    }

    /// Waits for `fd` to be writable from now on. Once per descriptor.
    pub fn add_writable(&mut self, fd: BorrowedFd<'_>) {
        self.add_for(fd, libc::POLLOUT);
    }

    /// Waits for the end of `fd` alone from now on. Once per descriptor.
    pub fn add_end(&mut self, fd: BorrowedFd<'_>) {
        self.add_for(fd, 0);
    }

    fn add_for(&mut self, fd: BorrowedFd<'_>, events: libc::c_short) {
        self.fds.push(libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    }

    /// Waits for `fd` no longer.
    pub fn remove(&mut self, fd: BorrowedFd<'_>) {
        self.fds.retain(|entry| entry.fd != fd.as_raw_fd());
    }

    /// Whether the last [`wait`](Self::wait) found `fd` readable (or writable, if that is what was waited for),
    /// failed, or at its end.
    pub fn is_ready(&self, fd: BorrowedFd<'_>) -> bool {
        self.fds.iter().any(|entry| entry.fd == fd.as_raw_fd() && entry.revents != 0)
    }

    /// The descriptors that the last [`wait`](Self::wait) found ready.
    pub fn ready(&self) -> impl Iterator<Item = RawFd> {
        self.fds.iter().filter(|entry| entry.revents != 0).map(|entry| entry.fd)
    }

    /// Waits until a descriptor is ready, or for `timeout` (`None`: without end), or for a signal; returns
    /// how many are ready.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut span = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let span = match timeout {
            None => std::ptr::null(),
            Some(timeout) => {
                let micros = timeout.as_micros();
                span.tv_sec = libc::time_t::try_from(micros / 1_000_000).unwrap_or(libc::time_t::MAX);
                span.tv_nsec = (micros % 1_000_000 * 1_000) as _;
                &raw const span
            }
        };
        // SAFETY: the vector is valid for its length and exclusively borrowed; `span` is null or points to a
        // timespec that outlives the call; a null mask leaves the signals alone.
        let ready =
            unsafe { libc::ppoll(self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t, span, std::ptr::null()) };
        match super::check(ready) {
            Ok(ready) => Ok(usize::try_from(ready).unwrap_or(0)),
            Err(error) => {
                self.fds.iter_mut().for_each(|entry| entry.revents = 0);
                if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::super::clock::now;
    use super::super::event::EventFd;
    use super::*;

    #[test]
    fn waits_for_a_descriptor_or_the_deadline() {
        let (one, two) = (EventFd::new().unwrap(), EventFd::new().unwrap());
        let mut set = PollSet::new();
        set.add(one.as_fd());
        set.add(two.as_fd());
        let before = now();
        assert_eq!(set.wait(Some(Duration::from_micros(300))).unwrap(), 0);
        assert!(now().since(before) >= Duration::from_micros(300));
        two.raise();
        assert_eq!(set.wait(None).unwrap(), 1);
        assert!(!set.is_ready(one.as_fd()) && set.is_ready(two.as_fd()));
        assert_eq!(set.ready().collect::<Vec<_>>(), [two.as_fd().as_raw_fd()]);
        set.remove(two.as_fd());
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
    }

    #[test]
    fn waits_for_room_or_the_end() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut writable, mut end) = (PollSet::new(), PollSet::new());
        writable.add_writable(near.as_fd());
        end.add_end(near.as_fd());
        assert_eq!(writable.wait(None).unwrap(), 1);
        assert_eq!(end.wait(Some(Duration::ZERO)).unwrap(), 0);
        drop(far);
        assert_eq!(end.wait(None).unwrap(), 1);
        assert!(end.is_ready(near.as_fd()));
    }
}
