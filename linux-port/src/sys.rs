//! The only module of this package with `unsafe`: one small safe wrapper per system call that std does not
//! offer. Nothing here decides anything about VRRP; what the sockets mean is in [`crate::socket`] and
//! [`crate::netlink`].

pub mod background;
pub mod client;
pub mod clock;
pub mod epoll;
pub mod event;
pub mod fifo;
pub mod filter;
pub mod inotify;
pub mod local;
pub mod message;
pub mod option;
pub mod poll;
pub mod process;
pub mod rights;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod urgency;

use std::io;

/// The result of a system call that says -1 for an error.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
