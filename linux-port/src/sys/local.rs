//! Users: who is at the other end of a Unix socket, and who we are.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The user id of the process at the other end of the Unix stream socket `fd`, as of its connect.
pub fn peer_user(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the option's value is a ucred, `length` holds its size, and both outlive the call.
    let result = unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut peer).cast(), &raw mut length)
    };
    super::check(result)?;
    Ok(peer.uid)
}

/// The effective user id of this process.
pub fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_peer_of_a_pair_is_ourselves() {
        let (left, _right) = UnixStream::pair().unwrap();
        assert_eq!(peer_user(left.as_fd()).unwrap(), user());
    }
}
