//! Listening for the first frame from a MAC address: a router that hands over planned holds its addresses
//! until its successor has spoken with the virtual MAC address, which is when the switches have learned.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use steadfast_core::types::MacAddr;

use super::filter;
use crate::sys::{option, option::Flag, socket};

/// Hears the frames that come in at one interface from one MAC address, before any macvlan or bridge takes
/// them; those that this host sends are not among them.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens on the interface with this index (the parent's, for a virtual MAC address).
    ///
    /// # Errors
    ///
    /// Of the system: no such interface, interface down, no privilege (CAP_NET_RAW).
    pub fn open(interface: u32, mac: MacAddr) -> io::Result<Self> {
        let socket = socket::packet()?;
        let fd = socket.as_fd();
        option::attach_filter(fd, &filter::from_mac(mac))?;
        Flag::IGNORE_OUTGOING.set(fd, 1)?;
        socket::bind_packet(fd, interface, socket::ETHERTYPE_ALL)?;
        Ok(Self(socket))
    }

    /// The next frame heard: how much of it is in `buffer`. `None` if none waits. Never blocks.
    ///
    /// # Errors
    ///
    /// Of the system, such as an interface that went down.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        let length = socket::receive(self.0.as_fd(), buffer)?;
        Ok(length.and_then(|length| buffer.get(..length)))
    }

    /// Whether anything was heard; what was is gone then.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn heard(&self) -> io::Result<bool> {
        let mut heard = false;
        // Bounded: a flood shall not keep us here.
        for _ in 0..64 {
            if self.receive(&mut [0; 64])?.is_none() {
                break;
            }
            heard = true;
        }
        Ok(heard)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
