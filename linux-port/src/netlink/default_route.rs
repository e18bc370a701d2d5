//! Whether there is a default route that leads somewhere: asked with a dump, of which nothing is kept, and told when it
//! may be worth asking again. That is also when a link goes: the kernel does not tell of the IPv4 routes that go with it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::parse_u32;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Request};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use steadfast_core::types::Family;

use super::client::receive;
use super::{Client, parse};
use crate::sys::filter::Instruction as I;
use crate::sys::option;

/// What came is not read, so this is all that is needed of it.
const PIECE: usize = 32;

/// `struct rtmsg`.
const HEADER: usize = 12;

// Flags of a next hop (linux/rtnetlink.h), which libc does not name.
const DEAD: u32 = 1;
const LINK_DOWN: u32 = 16;

/// A message type as a filter's load gives it.
const fn loaded(message_type: u16) -> u32 {
    u16::from_be_bytes(message_type.to_ne_bytes()) as u32
}

/// Lets through what may add or remove a default route: news of links, of addresses that are removed, and of routes
/// that are default ones. A router that learns a million others has nothing to do.
const WORTHWHILE: [I; 9] = [
    I::load_half(4),
    I::if_equal(loaded(libc::RTM_NEWADDR), 6, 0),
    I::if_equal(loaded(libc::RTM_NEWROUTE), 2, 0),
    I::if_equal(loaded(libc::RTM_DELROUTE), 1, 0),
    I::ACCEPT,
    // The length of the destination's prefix.
    I::load_byte(16 + 1),
    I::if_equal(0, 0, 1),
    I::ACCEPT,
    I::REJECT,
];

/// What there is of default routes in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DefaultRoute {
    /// None.
    Missing,
    /// Only over links that are down.
    Down,
    /// At least one that leads somewhere.
    There,
}

/// Hears of what may change that, and finds out.
#[derive(Debug)]
pub(crate) struct DefaultRoutes {
    socket: Socket,
    client: Client,
}

impl DefaultRoutes {
    /// In the network namespace of the calling thread.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        // Without it there is only more to hear.
        let _ = option::attach_filter(socket.as_fd(), &WORTHWHILE);
        let routes = libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE;
        let groups = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | routes).cast_unsigned();
        socket.bind(&SocketAddr::new(0, groups))?;
        Ok(Self { socket, client: Client::open()? })
    }

    /// Takes in what has been told; never waits. Whether something may have changed.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn take_in(&self) -> io::Result<bool> {
        let mut told = false;
        loop {
            match receive(&self.socket, &mut [0; PIECE], 0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(told),
                // That some of it is lost is told too.
                Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => return Err(error),
                _ => told = true,
            }
        }
    }

    /// What there is now.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn find(&mut self, family: Family) -> io::Result<DefaultRoute> {
        let request = || {
            let mut message = RouteMessage::default();
            message.header.address_family = match family {
                Family::V4 => AddressFamily::Inet,
                Family::V6 => AddressFamily::Inet6,
            };
            Request::GetRoute(message)
        };
        let found = self.client.dump(request, |payload| default_route(payload, family))?;
        Ok(found.into_iter().max().unwrap_or(DefaultRoute::Missing))
    }
}

impl AsFd for DefaultRoutes {
    /// Readable when there is something to take in.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The payload of an RTM_NEWROUTE, if it is a default route of the main table that is no rejection.
fn default_route(payload: &[u8], of: Family) -> Option<DefaultRoute> {
    let [family, 0, 0, _, table, _, _, libc::RTN_UNICAST, flags @ ..] = *payload.first_chunk::<HEADER>()? else {
        return None;
    };
    let expected = match of {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    if libc::c_int::from(family) != expected {
        return None;
    }
    let mut table = u32::from(table);
    let works = |flags: u32| flags & (DEAD | LINK_DOWN) == 0;
    let mut leads = works(u32::from_ne_bytes(flags));
    for attribute in parse::attributes(payload.get(HEADER..)?) {
        match attribute.kind() {
            libc::RTA_TABLE => table = parse_u32(attribute.value()).unwrap_or(table),
            libc::RTA_MULTIPATH => leads = next_hops(attribute.value()).any(|flags| works(flags.into())),
            _ => {}
        }
    }
    let route = if leads { DefaultRoute::There } else { DefaultRoute::Down };
    (table == u32::from(libc::RT_TABLE_MAIN)).then_some(route)
}

/// The flags of several next hops (`struct rtnexthop`: length, flags, weight, interface, attributes).
fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let [low, high, flags, _] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        // One without a length would be there for ever.
        bytes = bytes.get(length.max(8).next_multiple_of(4)..).unwrap_or(&[]);
        Some(flags)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route's payload: family, prefix length, table, type, flags, and attributes.
    fn route(family: i32, length: u8, table: u8, kind: u8, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(family).unwrap(), length, 0, 0, table, 3, 0, kind];
        bytes.extend_from_slice(&flags.to_ne_bytes());
        for (kind, value) in attributes {
            bytes.extend_from_slice(&u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(value);
        }
        bytes
    }

    #[test]
    fn default_routes_are_told_from_others() {
        use DefaultRoute::{Down, There};
        let v4 = |length, table, kind, flags, attributes: &[(u16, &[u8])]| {
            default_route(&route(libc::AF_INET, length, table, kind, flags, attributes), Family::V4)
        };
        let main = libc::RT_TABLE_MAIN;
        assert_eq!(v4(0, main, 1, 0, &[]), Some(There));
        assert_eq!(v4(0, main, 1, LINK_DOWN, &[]), Some(Down));
        assert_eq!(v4(0, main, 1, DEAD, &[]), Some(Down));
        assert_eq!(v4(24, main, 1, 0, &[]), None);
        assert_eq!(v4(0, 255, 1, 0, &[]), None);
        // RTN_UNREACHABLE: the kernel's own one for IPv6, or somebody's.
        assert_eq!(v4(0, main, 7, 0, &[]), None);
        // Tables above 255 have their number in an attribute.
        assert_eq!(v4(0, 252, 1, 0, &[(libc::RTA_TABLE, &1000_u32.to_ne_bytes())]), None);
        assert_eq!(v4(0, 252, 1, 0, &[(libc::RTA_TABLE, &254_u32.to_ne_bytes())]), Some(There));
        let hop = |flags: u8| [&8_u16.to_ne_bytes()[..], &[flags, 0, 2, 0, 0, 0]].concat();
        let several = |hops: &[u8]| v4(0, main, 1, 0, &[(libc::RTA_MULTIPATH, hops)]);
        assert_eq!(several(&[hop(16), hop(0)].concat()), Some(There));
        assert_eq!(several(&[hop(16), hop(1)].concat()), Some(Down));
        let v6 = route(libc::AF_INET6, 0, main, 1, 0, &[]);
        assert_eq!(default_route(&v6, Family::V6), Some(There));
        // A kernel without IPv6 answers with what it has.
        assert_eq!(default_route(&route(libc::AF_INET, 0, main, 1, 0, &[]), Family::V6), None);
    }

    #[test]
    fn no_cut_and_no_flipped_byte_does_harm() {
        let hop = [0, 0, 16, 0, 2, 0, 0, 0];
        let whole = route(libc::AF_INET, 0, 254, 1, 0, &[(libc::RTA_MULTIPATH, &[hop, hop].concat())]);
        for end in 0..whole.len() {
            let _ = default_route(&whole[..end], Family::V4);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 8, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = default_route(&bytes, Family::V4);
            }
        }
    }

    #[test]
    fn the_kernel_answers() {
        let mut routes = DefaultRoutes::open().unwrap();
        assert!(routes.find(Family::V4).is_ok());
        assert!(routes.find(Family::V6).is_ok());
        assert!(routes.take_in().is_ok());
    }
}
