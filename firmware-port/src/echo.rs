//! Asking a gateway: who has its address (ARP, Neighbour Solicitation), and whether it answers an echo (ICMP,
//! ICMPv6); and reading what comes back. When to ask is decided in [`crate::tracking`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::types::MacAddr;
use steadfast_core::wire::HOP_LIMIT;
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::ip::{
    ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV6_HEADER, emit_ethernet,
    multicast_mac,
};
use steadfast_core::wire::ndisc::solicited_node;

use crate::bytes::{
    ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, byte, ipv4_at, ipv6_at, octets, put, word_at,
};

/// The IP protocol number of ICMP.
pub(crate) const ICMP: u8 = 1;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// The length of an echo without data.
const ECHO: usize = 8;
/// The length of a Neighbour Solicitation with one option.
const SOLICITATION: usize = 32;
/// The longest frame that is written here.
pub(crate) const LONGEST: usize = ETHERNET_HEADER + IPV6_HEADER + SOLICITATION;

/// An echo: whose it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
}

/// Writes a frame that asks who has `target`; its length.
pub(crate) fn emit_question(mac: MacAddr, source: IpAddr, target: IpAddr, buffer: &mut [u8; LONGEST]) -> Option<usize> {
    const PACKET: usize = ETHERNET_HEADER;
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            emit_ethernet(MacAddr::BROADCAST, mac, ETHERTYPE_ARP, buffer).ok()?;
            put(buffer, PACKET, [0, 1, 8, 0, 6, 4, 0, 1])?;
            put(buffer, PACKET + 8, mac.0)?;
            put(buffer, PACKET + 14, source.octets())?;
            put(buffer, PACKET + 18, [0; 6])?;
            put(buffer, PACKET + 24, target.octets())?;
            Some(PACKET + 28)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            const BODY: usize = PACKET + IPV6_HEADER;
            let group = solicited_node(target);
            emit_ethernet(multicast_mac(group.into()), mac, ETHERTYPE_IPV6, buffer).ok()?;
            emit_ipv6(source, group, SOLICITATION as u16, buffer)?;
            put(buffer, BODY, [NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0])?;
            put(buffer, BODY + 8, target.octets())?;
            put(buffer, BODY + 24, [1, 1])?;
            put(buffer, BODY + 26, mac.0)?;
            let pseudo = pseudo_header(source.into(), group.into(), ICMPV6, SOLICITATION as u16);
            seal(buffer, BODY, BODY + SOLICITATION, pseudo)
        }
        _ => None,
    }
}

/// Writes a frame with an echo request to `target`, which is at `to`; its length.
pub(crate) fn emit_echo(
    mac: MacAddr,
    to: MacAddr,
    source: IpAddr,
    target: IpAddr,
    echo: Echo,
    buffer: &mut [u8; LONGEST],
) -> Option<usize> {
    const PACKET: usize = ETHERNET_HEADER;
    let (body, kind, pseudo) = match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            emit_ethernet(to, mac, ETHERTYPE_IPV4, buffer).ok()?;
            let total = (IPV4_HEADER + ECHO) as u8;
            put(buffer, PACKET, [0x45, 0, 0, total, 0, 0, 0x40, 0, 64, ICMP, 0, 0])?;
            put(buffer, PACKET + 12, source.octets())?;
            put(buffer, PACKET + 16, target.octets())?;
            let header = Sum::of(buffer.get(PACKET..PACKET + IPV4_HEADER)?).checksum();
            put(buffer, PACKET + 10, header.to_be_bytes())?;
            (PACKET + IPV4_HEADER, ECHO_REQUEST_V4, Sum::ZERO)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            emit_ethernet(to, mac, ETHERTYPE_IPV6, buffer).ok()?;
            emit_ipv6(source, target, ECHO as u16, buffer)?;
            let pseudo = pseudo_header(source.into(), target.into(), ICMPV6, ECHO as u16);
            (PACKET + IPV6_HEADER, ECHO_REQUEST_V6, pseudo)
        }
        _ => return None,
    };
    put(buffer, body, [kind, 0, 0, 0])?;
    put(buffer, body.saturating_add(4), echo.identifier.to_be_bytes())?;
    put(buffer, body.saturating_add(6), echo.sequence.to_be_bytes())?;
    seal(buffer, body, body.saturating_add(ECHO), pseudo)
}

fn emit_ipv6(source: Ipv6Addr, destination: Ipv6Addr, length: u16, buffer: &mut [u8; LONGEST]) -> Option<()> {
    const PACKET: usize = ETHERNET_HEADER;
    let [high, low] = length.to_be_bytes();
    put(buffer, PACKET, [0x60, 0, 0, 0, high, low, ICMPV6, HOP_LIMIT])?;
    put(buffer, PACKET + 8, source.octets())?;
    put(buffer, PACKET + 24, destination.octets())
}

/// Puts the checksum in; the end.
fn seal(buffer: &mut [u8], body: usize, end: usize, pseudo: Sum) -> Option<usize> {
    let checksum = pseudo.plus(buffer.get(body..end)?).checksum();
    put(buffer, body.saturating_add(2), checksum.to_be_bytes())?;
    Some(end)
}

/// Who says in an ARP reply that it has which address.
pub(crate) fn arp_reply(packet: &[u8]) -> Option<(Ipv4Addr, MacAddr)> {
    if octets(packet, 0)? != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    // Whole, up to whom it is said to.
    ipv4_at(packet, 24)?;
    Some((ipv4_at(packet, 14)?, MacAddr(octets(packet, 8)?)))
}

/// Who says in a Neighbour Advertisement that it has which address, if it says its MAC address.
pub(crate) fn neighbour_advertisement(packet: &[u8]) -> Option<(Ipv6Addr, MacAddr)> {
    const OPTIONS: usize = 24;
    let message = icmpv6(packet)?;
    if byte(packet, 7)? != HOP_LIMIT || octets(message, 0)? != [NEIGHBOUR_ADVERTISEMENT, 0] {
        return None;
    }
    // The option is the only one that an Advertisement has.
    let known = octets(message, OPTIONS)? == [2, 1];
    known.then_some((ipv6_at(message, 8)?, MacAddr(octets(message, OPTIONS.saturating_add(2))?)))
}

/// From whom an IPv4 packet that is an echo reply comes, to whom, and which.
pub(crate) fn echo_reply_v4(packet: &[u8]) -> Option<(IpAddr, IpAddr, Echo)> {
    let header = usize::from(byte(packet, 0)? & 0x0f).saturating_mul(4);
    let message = packet.get(header..usize::from(word_at(packet, 2)?))?;
    // A fragment is none.
    if byte(packet, 9)? != ICMP || word_at(packet, 6)? & 0x3fff != 0 || !Sum::of(message).is_valid() {
        return None;
    }
    echo(message, ECHO_REPLY_V4).and_then(|echo| Some((ipv4_at(packet, 12)?.into(), ipv4_at(packet, 16)?.into(), echo)))
}

/// The same for an IPv6 packet.
pub(crate) fn echo_reply_v6(packet: &[u8]) -> Option<(IpAddr, IpAddr, Echo)> {
    let echo = echo(icmpv6(packet)?, ECHO_REPLY_V6)?;
    Some((ipv6_at(packet, 8)?.into(), ipv6_at(packet, 24)?.into(), echo))
}

fn echo(message: &[u8], kind: u8) -> Option<Echo> {
    let expected = octets(message, 0)? == [kind, 0];
    expected.then_some(Echo { identifier: word_at(message, 4)?, sequence: word_at(message, 6)? })
}

/// The ICMPv6 message right behind the header of an IPv6 packet, if its checksum is right.
fn icmpv6(packet: &[u8]) -> Option<&[u8]> {
    if byte(packet, 6)? != ICMPV6 {
        return None;
    }
    let length = word_at(packet, 4)?;
    let message = packet.get(IPV6_HEADER..)?.get(..usize::from(length))?;
    let pseudo = pseudo_header(ipv6_at(packet, 8)?.into(), ipv6_at(packet, 24)?.into(), ICMPV6, length);
    pseudo.plus(message).is_valid().then_some(message)
}
