//! Whether the TAP device is up: the kernel tells of every change of a link by netlink, and then the device is looked
//! at again. What the messages say is not read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

/// RTMGRP_LINK (linux/rtnetlink.h).
const LINK_GROUP: u32 = 1;

/// Hears of links.
#[derive(Debug)]
pub(crate) struct Links {
    socket: OwnedFd,
}

impl Links {
    /// Begins to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
        Ok(Self { socket })
    }

    /// Whether something has been told since the last call.
    pub(crate) fn changed(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let mut told = false;
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(_) | Err(nix::Error::ENOBUFS) => told = true,
                Err(_) => return told,
            }
        }
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the device called `name` is there and up.
pub(crate) fn is_up(name: &str) -> bool {
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    getifaddrs().is_ok_and(|mut all| all.any(|one| one.interface_name == name && one.flags.contains(wanted)))
}
