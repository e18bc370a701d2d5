//! Asking a gateway whether it answers an echo (ICMP, ICMPv6); and reading what comes back, also from the question who
//! has its address (ARP, Neighbour Discovery). When to ask is decided in [`crate::tracking`].

use core::net::IpAddr;

use steadfast_core::types::MacAddr;
use steadfast_core::wire::HOP_LIMIT;
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::ip::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_HEADER, IPV6_HEADER, emit_ethernet,
};

use crate::bytes::{ICMPV6, NEIGHBOUR_ADVERTISEMENT, byte, ipv4_at, ipv6_at, octets, put, word_at};

/// The IP protocol number of ICMP.
const ICMP: u8 = 1;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// The length of an echo without data.
const ECHO: usize = 8;
/// The longest frame that is written here.
pub(crate) const LONGEST: usize = ETHERNET_HEADER + IPV6_HEADER + ECHO;

/// An echo: whose it is, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
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
            put(buffer, PACKET, [0x60, 0, 0, 0, 0, ECHO as u8, ICMPV6, HOP_LIMIT])?;
            put(buffer, PACKET + 8, source.octets())?;
            put(buffer, PACKET + 24, target.octets())?;
            let pseudo = pseudo_header(source.into(), target.into(), ICMPV6, ECHO as u16);
            (PACKET + IPV6_HEADER, ECHO_REQUEST_V6, pseudo)
        }
        _ => return None,
    };
    put(buffer, body, [kind, 0, 0, 0])?;
    put(buffer, body.saturating_add(4), echo.identifier.to_be_bytes())?;
    put(buffer, body.saturating_add(6), echo.sequence.to_be_bytes())?;
    let end = body.saturating_add(ECHO);
    let checksum = pseudo.plus(buffer.get(body..end)?).checksum();
    put(buffer, body.saturating_add(2), checksum.to_be_bytes())?;
    Some(end)
}

/// Who says in an ARP reply that it has which address.
pub(crate) fn arp_reply(packet: &[u8]) -> Option<(IpAddr, MacAddr)> {
    if octets(packet, 0)? != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    // Whole, up to whom it is said to.
    ipv4_at(packet, 24)?;
    Some((ipv4_at(packet, 14)?.into(), MacAddr(octets(packet, 8)?)))
}

/// Who says in a Neighbour Advertisement that it has which address, if it says its MAC address.
pub(crate) fn neighbour_advertisement(packet: &[u8]) -> Option<(IpAddr, MacAddr)> {
    const OPTIONS: usize = 24;
    let message = icmpv6(packet)?;
    if byte(packet, 7)? != HOP_LIMIT || octets(message, 0)? != [NEIGHBOUR_ADVERTISEMENT, 0] {
        return None;
    }
    // The option is the only one that an Advertisement has.
    let known = octets(message, OPTIONS)? == [2, 1];
    known.then_some((ipv6_at(message, 8)?.into(), MacAddr(octets(message, OPTIONS.saturating_add(2))?)))
}

/// From whom an IPv4 packet that is an echo reply comes, to whom, and which.
pub(crate) fn echo_reply_v4(packet: &[u8]) -> Option<(IpAddr, IpAddr, Echo)> {
    let echo = echo(message_v4(packet, ICMP)?, ECHO_REPLY_V4)?;
    Some((ipv4_at(packet, 12)?.into(), ipv4_at(packet, 16)?.into(), echo))
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

/// The message of this protocol in an IPv4 packet that is no fragment, if its checksum, which is over all of it, is right.
pub(crate) fn message_v4(packet: &[u8], protocol: u8) -> Option<&[u8]> {
    let header = usize::from(byte(packet, 0)? & 0x0f).saturating_mul(4);
    let message = packet.get(header..usize::from(word_at(packet, 2)?))?;
    let is_whole = byte(packet, 9)? == protocol && word_at(packet, 6)? & 0x3fff == 0;
    (is_whole && Sum::of(message).is_valid()).then_some(message)
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
