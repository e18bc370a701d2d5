//! A counter that wakes a waiting loop (eventfd): how another thread says that it has left something.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A non-blocking eventfd.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, not raised.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes two integers and touches no memory.
        let fd = super::check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable. Raising it twice before it is read is the same as once.
    pub fn raise(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer is valid for its length. The only failure is a full counter, which is readable.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes it back; whether it was raised.
    pub fn lower(&self) -> bool {
        let mut count = [0; 8];
        // SAFETY: the buffer is valid for its length and exclusively borrowed.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) > 0 }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raised_until_lowered() {
        let event = EventFd::new().unwrap();
        assert!(!event.lower());
        event.raise();
        event.raise();
        assert!(event.lower());
        assert!(!event.lower());
    }
}
