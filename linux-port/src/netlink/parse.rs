//! Reading what the kernel says of links and addresses. Only the attributes that we use are looked at, so
//! that an odd one of a newer kernel cannot make a whole message unreadable.

use std::io;

use netlink_packet_core::{NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator, Parseable, parse_string, parse_u32};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressFlags, AddressHeader};
use netlink_packet_route::link::{LinkFlags, LinkHeader, MacVlanMode};

use super::{Address, Link};
use steadfast_core::types::MacAddr;

const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

// Attributes that libc does not name on every target (if_addr.h, if_link.h).
const IFA_FLAGS: u16 = 8;
pub(super) const IFA_PROTO: u16 = 11;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;

// Of errors, likewise (netlink.h).
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The messages in one datagram: header and payload of each, up to the first that does not fit.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (NetlinkHeader, &[u8])> {
    std::iter::from_fn(move || {
        let header = NetlinkHeader::parse(&NetlinkBuffer::new_checked(bytes).ok()?).ok()?;
        let length = header.length as usize;
        let payload = bytes.get(16..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((header, payload))
    })
}

/// What the payload of an NLMSG_ERROR says: the error, or `Ok` for an acknowledgement.
pub(crate) fn verdict(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What the kernel says to an error, from its head's flags and its payload (NETLINK_EXT_ACK).
pub(super) fn complaint(flags: u16, payload: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // The error's number, and the request: its head, or all of it.
    let request = payload.get(4..)?;
    let length = if flags & NLM_F_CAPPED != 0 {
        16
    } else {
        let length = request.first_chunk().map(|length| u32::from_ne_bytes(*length))?;
        usize::try_from(length).ok()?.checked_next_multiple_of(4)?
    };
    let text = attributes(request.get(length..)?).find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
    parse_string(text.value()).ok()
}

/// The message type of the request that an NLMSG_ERROR is about.
pub(super) fn request_type(payload: &[u8]) -> Option<u16> {
    payload.get(8..10)?.first_chunk().map(|kind| u16::from_ne_bytes(*kind))
}

/// A link, from the payload of RTM_NEWLINK or RTM_DELLINK. `None` if it is not about a link as such: a
/// bridge says the same of its ports.
pub(super) fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        index: header.index,
        name: String::new(),
        up: header.flags.contains(LinkFlags::Up),
        running: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        multicast: header.flags.contains(LinkFlags::Multicast),
        mac: None,
        mtu: 0,
        parent: None,
        controller: None,
        kind: None,
        macvlan_mode: None,
    };
    for attribute in attributes(payload.get(LINK_HEADER..)?) {
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => link.name = parse_string(value).ok()?,
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddr),
            libc::IFLA_MTU => link.mtu = parse_u32(value).unwrap_or(0),
            libc::IFLA_LINK => link.parent = parse_u32(value).ok(),
            libc::IFLA_MASTER => link.controller = parse_u32(value).ok(),
            libc::IFLA_LINKINFO => kind(value, &mut link),
            _ => {}
        }
    }
    Some(link)
}

/// What kind of link it is.
fn kind(nested: &[u8], link: &mut Link) {
    for attribute in attributes(nested) {
        match attribute.kind() {
            IFLA_INFO_KIND => link.kind = parse_string(attribute.value()).ok(),
            // Comes after the kind, which says how to read it.
            IFLA_INFO_DATA if link.kind.as_deref() == Some("macvlan") => {
                link.macvlan_mode = attributes(attribute.value())
                    .find(|data| data.kind() == IFLA_MACVLAN_MODE)
                    .and_then(|data| parse_u32(data.value()).ok())
                    .map(MacVlanMode::from);
            }
            _ => {}
        }
    }
}

/// An address, from the payload of RTM_NEWADDR or RTM_DELADDR. `None` if it is of neither family.
pub(super) fn address(payload: &[u8]) -> Option<Address> {
    let header = AddressHeader::parse(payload).ok()?;
    let (mut local, mut remote) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(header.flags.bits()));
    let mut label = None;
    let mut protocol = 0;
    for attribute in attributes(payload.get(ADDRESS_HEADER..)?) {
        let value = attribute.value();
        match attribute.kind() {
            libc::IFA_LOCAL => local = netlink_packet_core::parse_ip(value).ok(),
            libc::IFA_ADDRESS => remote = netlink_packet_core::parse_ip(value).ok(),
            libc::IFA_LABEL => label = parse_string(value).ok(),
            IFA_FLAGS => flags = parse_u32(value).map_or(flags, AddressFlags::from_bits_retain),
            IFA_PROTO => protocol = value.first().copied().unwrap_or(0),
            _ => {}
        }
    }
    // On a point-to-point link the local address is beside the other end's; for IPv6 it is often alone.
    let ip = local.or(remote)?;
    let family_fits = match header.family {
        AddressFamily::Inet => ip.is_ipv4(),
        AddressFamily::Inet6 => ip.is_ipv6(),
        _ => false,
    };
    let (interface, prefix_len, scope) = (header.index, header.prefix_len, header.scope.into());
    family_fits.then_some(Address { interface, ip, prefix_len, scope, flags, label, protocol })
}

/// The attributes that can be read.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::super::{AddressSpec, message};
    use super::*;
    use netlink_packet_route::RouteNetlinkMessage as Request;

    /// A request for an address as the kernel would repeat it.
    fn train() -> Vec<u8> {
        let mut bytes = Vec::new();
        for ip in ["10.0.0.1", "2001:db8::1"] {
            let mut spec = AddressSpec::new(7, ip.parse().unwrap(), 24);
            spec.label = Some("eth0:1".into());
            message::append(&mut bytes, Request::NewAddress(message::address(&spec)), 0, 5);
        }
        bytes
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = train();
        let read: Vec<_> = messages(&bytes).filter_map(|(_, payload)| address(payload)).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].ip.to_string().as_str(), read[0].label.as_deref()), ("10.0.0.1", Some("eth0:1")));
        assert_eq!((read[1].ip.to_string().as_str(), read[1].label.as_deref()), ("2001:db8::1", None));
        assert!(read.iter().all(|address| (address.interface, address.prefix_len, address.protocol) == (7, 24, 18)));
    }

    #[test]
    fn the_kernels_words_to_an_error_are_found() {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        payload.extend(20_u32.to_ne_bytes());
        payload.extend([0; 12 + 4]);
        payload.extend([12_u16, 2].map(u16::to_ne_bytes).concat());
        payload.extend([0; 8]);
        payload.extend([8_u16, 1].map(u16::to_ne_bytes).concat());
        payload.extend(b"no!\0");
        assert_eq!(complaint(0x200, &payload).as_deref(), Some("no!"));
        assert_eq!(complaint(0, &payload), None);
        payload.drain(20..24);
        assert_eq!(complaint(0x300, &payload).as_deref(), Some("no!"));
        assert_eq!(verdict(&payload).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn no_cut_and_no_flipped_byte_does_harm() {
        let bytes = train();
        let read = |bytes: &[u8]| {
            for (_, payload) in messages(bytes) {
                let _ = (address(payload), link(payload), verdict(payload).is_ok(), request_type(payload));
                for flags in [0, 0x200, 0x300] {
                    let _ = complaint(flags, payload);
                }
            }
        };
        for end in 0..bytes.len() {
            read(&bytes[..end]);
        }
        for index in 0..bytes.len() {
            for value in [0, 1, 3, 4, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[index] = value;
                read(&bytes);
            }
        }
    }
}
