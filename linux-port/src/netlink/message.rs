//! Writing requests: frames of netlink in a buffer, and the messages of rtnetlink that we send. Nothing here
//! sends or waits.

use std::net::IpAddr;

use netlink_packet_core::{Emitable, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{ADDRESS_PROTOCOL, AddressSpec};

/// Appends one request to `buffer`.
pub(super) fn append(buffer: &mut Vec<u8>, request: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let start = buffer.len();
    buffer.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut buffer[start..]);
}

/// Appends one request whose body is ready.
pub(super) fn append_body(buffer: &mut Vec<u8>, kind: u16, body: &[u8], flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    header.flags = flags;
    header.sequence_number = sequence;
    let start = buffer.len();
    let head = header.buffer_len();
    let length = head + body.len();
    // A line of a file is never as long as that.
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    buffer.resize(start + length.next_multiple_of(4), 0);
    header.emit(&mut buffer[start..start + head]);
    buffer[start + head..start + length].copy_from_slice(body);
}

/// The message that stands for an address, to be added or removed.
pub(super) fn address(spec: &AddressSpec) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match spec.ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = spec.prefix_len;
    message.header.scope = spec.scope.into();
    message.header.index = spec.interface;
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(spec.ip));
    attributes.push(AddressAttribute::Address(spec.peer.unwrap_or(spec.ip)));
    if let (Some(broadcast), true) = (spec.broadcast, spec.ip.is_ipv4()) {
        attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if let (Some(label), true) = (&spec.label, spec.ip.is_ipv4()) {
        attributes.push(AddressAttribute::Label(label.clone()));
    }
    attributes.push(AddressAttribute::Flags(spec.flags));
    attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL)));
    if spec.preferred_lft.is_some() || spec.valid_lft.is_some() {
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = spec.valid_lft.unwrap_or(u32::MAX);
        // The kernel refuses an address that is preferred for longer than it is valid.
        lifetimes.ifa_preferred = spec.preferred_lft.unwrap_or(u32::MAX).min(lifetimes.ifa_valid);
        attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    message
}

/// The message that stands for a route to one address over an interface.
pub(super) fn host_route(interface: u32, ip: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, length, address) = match ip {
        IpAddr::V4(ip) => (AddressFamily::Inet, 32, RouteAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(ip)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(ADDRESS_PROTOCOL);
    message.header.scope = if ip.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Destination(address));
    message.attributes.push(RouteAttribute::Oif(interface));
    message
}

/// The message that stands for a link with this index.
pub(super) fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// The message that sets a link up or down.
pub(super) fn link_state(index: u32, up: bool) -> LinkMessage {
    let mut message = link(index);
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.header.change_mask = LinkFlags::Up;
    message
}
