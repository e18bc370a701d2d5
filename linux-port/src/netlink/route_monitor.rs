//! What becomes of routes that are marked as ours, and of rules: only that one is removed, by whomever. A filter in the
//! kernel passes over all other news, so that a table of a million routes costs nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::client::receive;
use super::routing::{RoutingKey, key};
use super::{ADDRESS_PROTOCOL, parse};
use crate::sys::filter::Instruction as I;
use crate::sys::option;

const DATAGRAM: usize = 8 * 1024;

/// The multicast groups: RTNLGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE and _IPV6_RULE.
const GROUPS: u32 = 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18;

/// Where the head of a message has its type, and that of a route the number of whoever made it.
const TYPE: i32 = 4;
const PROTOCOL: i32 = 16 + 5;

const fn type_of(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()) as u32
}

/// Accepts removals only: of rules, and of routes that are ours.
const REMOVALS: [I; 7] = [
    I::load_half(TYPE),
    I::if_equal(type_of(libc::RTM_DELRULE), 3, 0),
    I::if_equal(type_of(libc::RTM_DELROUTE), 0, 3),
    I::load_byte(PROTOCOL),
    I::if_equal(ADDRESS_PROTOCOL as u32, 0, 1),
    I::ACCEPT,
    I::REJECT,
];

/// Something was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// This.
    Of(RoutingKey),
    /// So much that some of it is lost.
    Overrun,
}

/// Hears of removals in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteMonitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl RouteMonitor {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        option::attach_filter(socket.as_fd(), &REMOVALS)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Hands on what was removed, at most about `budget`. Never blocks.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn receive(&mut self, budget: usize, mut hand: impl FnMut(Removal)) -> io::Result<()> {
        for _ in 0..budget {
            let length = match receive(&self.socket, &mut self.buffer, 0) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    hand(Removal::Overrun);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (header, body) in parse::messages(&self.buffer[..length]) {
                let is_rule = match header.message_type {
                    libc::RTM_DELRULE => true,
                    libc::RTM_DELROUTE => false,
                    _ => continue,
                };
                if let Some(key) = key(is_rule, body) {
                    hand(Removal::Of(key));
                }
            }
        }
        Ok(())
    }
}

impl AsFd for RouteMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
