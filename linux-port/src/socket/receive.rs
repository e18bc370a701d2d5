//! Receiving Advertisements: one raw socket per interface and family, with its own queue, joined to the
//! group on that interface and filtered in the kernel.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use steadfast_core::types::Family;
use steadfast_core::wire::{self, Envelope, GROUP_V4, GROUP_V6, PROTOCOL};

use super::filter;
use crate::sys::message::{RECEIVE_BATCH, ReceiveQueue, Told};
use crate::sys::{option, option::Flag, socket};

/// Room for some 1,300 Advertisements; the default holds 256.
const QUEUE: i32 = 1 << 20;

/// Hears the Advertisements of one family on one interface.
#[derive(Debug)]
pub struct Receiver {
    fd: OwnedFd,
    family: Family,
    interface: u32,
}

/// What one [`Receiver::receive`] took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Packets handed on.
    pub packets: usize,
    /// Packets that have no readable IP header.
    pub unreadable: usize,
    /// The budget ended before the queue did: there may be more.
    pub pending: bool,
}

impl Receiver {
    /// Listens on the interface with this index, which may be down and without addresses, to what is sent to
    /// `groups` (of this family; the kernel allows 20) or to an address of this host. When the interface
    /// is deleted the socket is deaf for good: open another one for its successor.
    ///
    /// # Errors
    ///
    /// Of the system: no such interface, no privilege (CAP_NET_RAW), no IPv6.
    pub fn open(family: Family, interface: u32, groups: &BTreeSet<IpAddr>) -> io::Result<Self> {
        Self::open_for(PROTOCOL, family, interface, groups)
    }

    /// The same for packets of another IP protocol.
    ///
    /// # Errors
    ///
    /// As those of [`open`](Self::open).
    pub fn open_for(protocol: u8, family: Family, interface: u32, groups: &BTreeSet<IpAddr>) -> io::Result<Self> {
        let index = i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        let socket = socket::raw(family, protocol)?;
        let fd = socket.as_fd();
        // Filtered and bound before anything else: until then it hears every interface.
        let usual = groups.iter().all(|group| [IpAddr::V4(GROUP_V4), IpAddr::V6(GROUP_V6)].contains(group));
        match (family, usual) {
            (Family::V4, true) => option::attach_filter(fd, &filter::ADVERTISEMENTS_V4)?,
            (Family::V6, true) => option::attach_filter(fd, &filter::ADVERTISEMENTS_V6)?,
            // Which groups they are for, the core looks at.
            (_, false) => option::attach_filter(fd, &filter::FROM_OUTSIDE)?,
        }
        Flag::BIND_INTERFACE.set(fd, index)?;
        option::set_receive_buffer(fd, QUEUE)?;
        match family {
            Family::V4 => {
                Flag::ALL_GROUPS_V4.set(fd, 0)?;
            }
            Family::V6 => {
                // A kernel without the option filters by group anyway, in the program above.
                let _ = Flag::ALL_GROUPS_V6.set(fd, 0);
                Flag::TELL_HOPS_V6.set(fd, 1)?;
                Flag::TELL_DESTINATION_V6.set(fd, 1)?;
            }
        }
        for group in groups {
            option::join(fd, *group, interface)?;
        }
        Ok(Self { fd: socket, family, interface })
    }

    /// The interface it listens on.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// The family it listens for.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Takes in what waits, at most `budget` packets, and hands on the envelope and the VRRP payload of each.
    /// Never blocks.
    ///
    /// # Errors
    ///
    /// Of the system, such as an interface that went down (once; the socket is good for when it comes back).
    pub fn receive(
        &self,
        queue: &mut ReceiveQueue,
        budget: usize,
        mut hand: impl FnMut(&Envelope, &[u8]),
    ) -> io::Result<Drained> {
        self.drain(queue, budget, |bytes, told| {
            let packet = match self.family {
                Family::V4 => wire::ip::parse_ipv4(bytes),
                Family::V6 => told.destination.zip(told.hop_limit).map(|(destination, hop_limit)| {
                    (Envelope { source: told.source.into(), destination: destination.into(), hop_limit }, bytes)
                }),
            };
            packet.inspect(|(envelope, payload)| hand(envelope, payload)).is_some()
        })
    }

    /// The same with whole packets of IPv4, readable or not.
    ///
    /// # Errors
    ///
    /// As those of [`receive`](Self::receive).
    pub fn receive_packets(
        &self,
        queue: &mut ReceiveQueue,
        budget: usize,
        mut hand: impl FnMut(&[u8]),
    ) -> io::Result<Drained> {
        self.drain(queue, budget, |bytes, _| {
            hand(bytes);
            true
        })
    }

    /// `hand` says whether it could read a packet.
    fn drain(
        &self,
        queue: &mut ReceiveQueue,
        budget: usize,
        mut hand: impl FnMut(&[u8], Told) -> bool,
    ) -> io::Result<Drained> {
        let mut drained = Drained::default();
        let mut left = budget;
        while left > 0 {
            let limit = left.min(RECEIVE_BATCH);
            let count = queue.receive(self.fd.as_fd(), limit)?;
            for (bytes, told) in queue.iter() {
                if hand(bytes, told) {
                    drained.packets += 1;
                } else {
                    drained.unreadable += 1;
                }
            }
            if count < limit {
                return Ok(drained);
            }
            left -= count;
        }
        drained.pending = true;
        Ok(drained)
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
