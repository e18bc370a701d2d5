//! Sending Advertisements: one raw socket per family for all interfaces. For IPv4 the header is our own, so
//! that the source may be any address; for IPv6 the kernel writes it. Frames that must come from the virtual
//! MAC address go through [`super::FrameSender`] instead.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};

use steadfast_core::types::Family;
use steadfast_core::wire::{Full, HOP_LIMIT, PROTOCOL, ip};

use super::filter;
use crate::sys::message::{Destination, SendQueue, Sent};
use crate::sys::{option, option::Flag, socket};

/// Internetwork Control (CS6), which routers queue first.
const TRAFFIC_CLASS: i32 = 0xc0;

/// Sends the Advertisements of one family, at most 64 in one system call.
#[derive(Debug)]
pub struct AdvertSender {
    fd: OwnedFd,
    family: Family,
    queue: SendQueue,
    sent: Sent,
}

impl AdvertSender {
    /// A socket for one family.
    ///
    /// # Errors
    ///
    /// Of the system: no privilege (CAP_NET_RAW), no IPv6.
    pub fn open(family: Family) -> io::Result<Self> {
        let fd = match family {
            Family::V4 => {
                let fd = socket::raw(family, socket::SEND_ONLY)?;
                Flag::OWN_HEADER_V4.set(fd.as_fd(), 1)?;
                Flag::LOOP_V4.set(fd.as_fd(), 0)?;
                fd
            }
            Family::V6 => {
                let socket = socket::raw(family, PROTOCOL)?;
                let fd = socket.as_fd();
                option::attach_filter(fd, &filter::NOTHING)?;
                Flag::LOOP_V6.set(fd, 0)?;
                Flag::MULTICAST_HOPS_V6.set(fd, HOP_LIMIT.into())?;
                Flag::UNICAST_HOPS_V6.set(fd, HOP_LIMIT.into())?;
                Flag::TRAFFIC_CLASS_V6.set(fd, TRAFFIC_CLASS)?;
                // A parent's link-local address as the source on a macvlan is refused otherwise.
                Flag::ANY_SOURCE_V6.set(fd, 1)?;
                socket
            }
        };
        Ok(Self { fd, family, queue: SendQueue::default(), sent: Sent::default() })
    }

    /// Queues one Advertisement out of `interface`; `payload` writes it into the buffer lent to it and returns
    /// its length. When 64 wait they are sent first; see [`flush`](Self::flush) for what becomes of them.
    ///
    /// # Errors
    ///
    /// `Full` if `payload` says so, or an address is not of this family; nothing is queued then.
    pub fn push(
        &mut self,
        interface: u32,
        source: IpAddr,
        destination: IpAddr,
        payload: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
    ) -> Result<(), Full> {
        make_room(&mut self.queue, &self.fd, &mut self.sent);
        match (self.family, source, destination) {
            (Family::V4, IpAddr::V4(_), IpAddr::V4(address)) => self.queue.push(|buffer| {
                let length = ip::emit_packet(source, destination, buffer, payload)?;
                Ok((length, Destination::V4 { interface, address }))
            }),
            (Family::V6, IpAddr::V6(source), IpAddr::V6(address)) => {
                self.queue.push(|buffer| Ok((payload(buffer)?, Destination::V6 { interface, source, address })))
            }
            _ => Err(Full),
        }
    }

    /// Queues one packet of IPv4 out of `interface`, whose header is in what `packet` writes; as [`push`](Self::push).
    ///
    /// # Errors
    ///
    /// `Full` if `packet` says so; nothing is queued then.
    pub fn push_packet(
        &mut self,
        interface: u32,
        address: Ipv4Addr,
        packet: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
    ) -> Result<(), Full> {
        make_room(&mut self.queue, &self.fd, &mut self.sent);
        self.queue.push(|buffer| Ok((packet(buffer)?, Destination::V4 { interface, address })))
    }

    /// Sends everything queued; what became of it and of what was sent since the last flush. Never blocks.
    pub fn flush(&mut self) -> Sent {
        if !self.queue.is_empty() {
            self.sent.add(self.queue.flush(self.fd.as_fd()));
        }
        std::mem::take(&mut self.sent)
    }
}

/// Sends a full queue, so that there is room for another message of any length.
pub(super) fn make_room(queue: &mut SendQueue, fd: &OwnedFd, sent: &mut Sent) {
    if !queue.has_room() {
        sent.add(queue.flush(fd.as_fd()));
    }
}
