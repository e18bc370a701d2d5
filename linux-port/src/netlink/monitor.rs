//! What changes on its own: links that come, go, or lose their carrier, and addresses that somebody adds or
//! removes (we among them). Only news; the state at the start comes from [`super::Client`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::client::receive;
use super::{ADDRESS_PROTOCOL, Address, Link, parse};
use crate::sys::filter::{ATTRIBUTE, Instruction as I};
use crate::sys::option;

/// Room for some thousand changes at once; the default would lose them in a reconfiguration of many links.
const QUEUE: i32 = 1 << 21;
const DATAGRAM: usize = 16 * 1024;

/// Rejects the news that the lifetime of an address of ours was renewed: it is marked as ours, and was told of since
/// it was made. On a kernel that does not tell whose it is (before 5.18) all news passes.
const NO_RENEWALS: [I; 21] = [
    I::load_half(4),
    I::if_equal(u16::from_be_bytes(libc::RTM_NEWADDR.to_ne_bytes()) as u32, 0, 18),
    I::load(ATTRIBUTES),
    I::index(parse::IFA_PROTO as u32),
    I::load_word(ATTRIBUTE),
    I::if_equal(0, 14, 0),
    I::TO_INDEX,
    I::load_byte_after(4),
    I::if_equal(ADDRESS_PROTOCOL as u32, 0, 11),
    I::load(ATTRIBUTES),
    I::index(libc::IFA_CACHEINFO as u32),
    I::load_word(ATTRIBUTE),
    I::if_equal(0, 7, 0),
    I::TO_INDEX,
    // When it was made, and when it was last changed; after the attribute's head and two lifetimes.
    I::load_word_after(12),
    I::KEEP,
    I::load_word_after(16),
    I::INDEX_KEPT,
    I::if_index(1, 0),
    I::REJECT,
    I::ACCEPT,
];

/// Where the attributes of a message about an address begin.
const ATTRIBUTES: u32 = 16 + 8;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new, or something about it is.
    Link(Link),
    /// A link is gone, or has left this namespace; its index may be given to another one.
    LinkGone(Link),
    /// An address was added, or its flags changed. Of an address of ours only that it was added.
    AddressAdded(Address),
    /// An address was removed.
    AddressRemoved(Address),
    /// So much changed that some of it is lost: ask for everything again.
    Overrun,
}

/// Hears of changes in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Listens from now on. Open it before the first dump: nothing is missed then.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let groups = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR).cast_unsigned();
        option::set_receive_buffer(socket.as_fd(), QUEUE)?;
        socket.set_non_blocking(true)?;
        // Without it more is heard, and nothing comes of it.
        let _ = option::attach_filter(socket.as_fd(), &NO_RENEWALS);
        socket.bind(&SocketAddr::new(0, groups))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Hands on what has changed, at most about `budget` changes; whether there may be more. Never blocks.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn receive(&mut self, budget: usize, mut hand: impl FnMut(Event)) -> io::Result<bool> {
        let mut handed = 0;
        while handed < budget {
            let length = match receive(&self.socket, &mut self.buffer, 0) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    handed += 1;
                    hand(Event::Overrun);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (header, payload) in parse::messages(&self.buffer[..length]) {
                let event = match header.message_type {
                    libc::RTM_NEWLINK => parse::link(payload).map(Event::Link),
                    libc::RTM_DELLINK => parse::link(payload).map(Event::LinkGone),
                    libc::RTM_NEWADDR => parse::address(payload).map(Event::AddressAdded),
                    libc::RTM_DELADDR => parse::address(payload).map(Event::AddressRemoved),
                    _ => None,
                };
                if let Some(event) = event {
                    handed += 1;
                    hand(event);
                }
            }
        }
        Ok(true)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
