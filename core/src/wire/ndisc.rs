//! Neighbour Discovery for IPv6 (RFC 4861), as much as a virtual address needs: the unsolicited Neighbour
//! Advertisement that an Active announces itself with, reading a Neighbour Solicitation, and answering it.
//! Whether to answer is decided by the port: only an Active does (RFC 9568 section 8.2.2).

use core::net::Ipv6Addr;

use nom::{IResult, Parser};

use super::HOP_LIMIT;
use super::checksum::pseudo_header;
use super::ip::{
    ETHERTYPE_IPV6, byte, concat, ethernet_header, ipv6_address, ipv6_header, ipv6_payload, mac, multicast_mac, octets,
    word,
};
use crate::types::MacAddr;

/// The length of a Neighbour Advertisement or Solicitation with one option in an Ethernet frame.
pub const FRAME: usize = 86;

/// The same without Ethernet and IPv6 headers.
const MESSAGE_LEN: u16 = 32;

const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A Neighbour Solicitation: a request for the MAC address of `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; unspecified when it probes for a duplicate (RFC 4862 section 5.4.2).
    pub source: Ipv6Addr,
    /// The MAC address that the answer goes to: that of the option, else that of the frame.
    pub sender_mac: MacAddr,
    /// The address asked for.
    pub target: Ipv6Addr,
}

impl Solicitation {
    /// Reads an IPv6 packet, which may be padded, from a frame that came from `sender`. `None` if it is
    /// not a Neighbour Solicitation or fails one of the checks of RFC 4861 section 7.1.1.
    pub fn parse(packet: &[u8], sender: MacAddr) -> Option<Self> {
        let (header, message) = ipv6_payload(packet, ICMPV6)?;
        let length = u16::try_from(message.len()).ok()?;
        let pseudo = pseudo_header(header.source.into(), header.destination.into(), ICMPV6, length);
        let (options, (kind, code, target)) = fields(message).ok()?;
        let valid = header.hop_limit == HOP_LIMIT
            && (kind, code) == (NEIGHBOUR_SOLICITATION, 0)
            && !target.is_multicast()
            && pseudo.plus(message).is_valid();
        if !valid {
            return None;
        }
        let option = source_link_layer(options)?;
        let probe = header.source.is_unspecified();
        if probe && (option.is_some() || header.destination != solicited_node(target)) {
            return None;
        }
        Some(Self { source: header.source, sender_mac: option.unwrap_or(sender), target })
    }
}

/// The group that Solicitations for `address` go to, ff02::1:ff00:0/104 and its low 24 bits (RFC 4291
/// section 2.7.1). An Active joins it for each of its addresses.
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, u16::from_be_bytes([b, c]))
}

/// The Ethernet frame by which an Active announces a virtual address: an unsolicited Neighbour
/// Advertisement from `address` to all nodes, Override set, Router as asked for (RFC 9568 section 6.4.1
/// wants it set; a host that does not forward must not), target link-layer address `mac`.
pub fn unsolicited(mac: MacAddr, address: Ipv6Addr, router: bool) -> [u8; FRAME] {
    let kind = Kind::Advertisement(flags(router) | OVERRIDE);
    frame(kind, mac, address, address, multicast_mac(ALL_NODES.into()), ALL_NODES)
}

/// The Ethernet frame that answers a Solicitation: its target is at `mac`. Sent to all nodes, and not as
/// solicited, if the source was unspecified (RFC 4861 section 7.2.4).
pub fn solicited(mac: MacAddr, query: &Solicitation, router: bool) -> [u8; FRAME] {
    if query.source.is_unspecified() {
        return unsolicited(mac, query.target, router);
    }
    let kind = Kind::Advertisement(flags(router) | SOLICITED | OVERRIDE);
    frame(kind, mac, query.target, query.target, query.sender_mac, query.source)
}

/// The Ethernet frame by which the station at `mac` that has the address `source` asks for `target`.
pub fn solicitation(mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> [u8; FRAME] {
    let group = solicited_node(target);
    frame(Kind::Solicitation, mac, source, target, multicast_mac(group.into()), group)
}

#[derive(Clone, Copy)]
enum Kind {
    Solicitation,
    /// With these flags.
    Advertisement(u8),
}

const fn flags(router: bool) -> u8 {
    if router { ROUTER } else { 0 }
}

fn frame(
    kind: Kind,
    mac: MacAddr,
    source: Ipv6Addr,
    target: Ipv6Addr,
    to: MacAddr,
    destination: Ipv6Addr,
) -> [u8; FRAME] {
    let (kind, flags, option) = match kind {
        Kind::Solicitation => (NEIGHBOUR_SOLICITATION, 0, SOURCE_LINK_LAYER),
        Kind::Advertisement(flags) => (NEIGHBOUR_ADVERTISEMENT, flags, TARGET_LINK_LAYER),
    };
    let message = |checksum: u16| -> [u8; MESSAGE_LEN as usize] {
        concat([
            &[kind, 0],
            &checksum.to_be_bytes(),
            &[flags, 0, 0, 0],
            &target.octets(),
            // The length of an option counts eight bytes.
            &[option, 1],
            &mac.0,
        ])
    };
    let pseudo = pseudo_header(source.into(), destination.into(), ICMPV6, MESSAGE_LEN);
    let checksum = pseudo.plus(&message(0)).checksum();
    concat([
        &ethernet_header(to, mac, ETHERTYPE_IPV6),
        &ipv6_header(source, destination, 0, ICMPV6, MESSAGE_LEN),
        &message(checksum),
    ])
}

fn fields(message: &[u8]) -> IResult<&[u8], (u8, u8, Ipv6Addr), ()> {
    let (options, (kind, code, _checksum, _reserved, target)) =
        (byte, byte, word, octets::<4>, ipv6_address).parse(message)?;
    Ok((options, (kind, code, target)))
}

/// The source link-layer address among the options, if there is one; `None` if an option is truncated or
/// has length zero. Each round consumes eight bytes at least.
fn source_link_layer(mut options: &[u8]) -> Option<Option<MacAddr>> {
    let mut found = None;
    while !options.is_empty() {
        let (_, (kind, units, address)) = (byte, byte, mac).parse(options).ok()?;
        if units == 0 {
            return None;
        }
        if (kind, units) == (SOURCE_LINK_LAYER, 1) && found.is_none() {
            found = Some(address);
        }
        options = options.get(usize::from(units).saturating_mul(8)..)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::checksum::Sum;
    use super::*;

    const VIRTUAL: MacAddr = MacAddr([0, 0, 0x5e, 0, 2, 7]);
    const ASKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x1234, 0x5678);
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

    /// A Solicitation with these options, its checksum right.
    fn packet<const N: usize>(source: Ipv6Addr, destination: Ipv6Addr, options: &[u8]) -> [u8; N] {
        let length = u16::try_from(options.len()).unwrap().saturating_add(24);
        let message = |checksum: u16| -> [u8; 64] {
            concat([&[135, 0], &checksum.to_be_bytes(), &[0; 4], &ADDRESS.octets(), options])
        };
        let sum = pseudo_header(source.into(), destination.into(), 58, length).plus(&message(0));
        concat([&ipv6_header(source, destination, 0, 58, length), &message(sum.checksum())])
    }

    fn asked() -> [u8; 72] {
        packet(SOURCE, solicited_node(ADDRESS), &[1, 1, 2, 0, 0, 0, 0, 8])
    }

    #[test]
    fn an_unsolicited_advertisement_byte_by_byte() {
        let frame = unsolicited(VIRTUAL, ADDRESS, true);
        assert_eq!(frame[..14], [0x33, 0x33, 0, 0, 0, 1, 0, 0, 0x5e, 0, 2, 7, 0x86, 0xdd]);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(frame[22..38], ADDRESS.octets());
        assert_eq!(frame[38..54], ALL_NODES.octets());
        assert_eq!(frame[54..56], [136, 0]);
        assert_eq!(frame[58..62], [0xa0, 0, 0, 0]);
        assert_eq!(frame[62..78], ADDRESS.octets());
        assert_eq!(frame[78..], [2, 1, 0, 0, 0x5e, 0, 2, 7]);
        let pseudo = pseudo_header(ADDRESS.into(), ALL_NODES.into(), 58, 32);
        assert!(pseudo.plus(&frame[54..]).is_valid());
        assert_eq!(unsolicited(VIRTUAL, ADDRESS, false)[58], 0x20);
    }

    #[test]
    fn a_solicitation_is_read_and_answered() {
        let query = Solicitation::parse(&asked(), ASKER).unwrap();
        assert_eq!(query.sender_mac, MacAddr([2, 0, 0, 0, 0, 8]));
        assert_eq!((query.source, query.target), (SOURCE, ADDRESS));
        let frame = solicited(VIRTUAL, &query, true);
        assert_eq!(frame[..6], [2, 0, 0, 0, 0, 8]);
        assert_eq!(frame[38..54], SOURCE.octets());
        assert_eq!(frame[58], 0xe0);
    }

    #[test]
    fn a_solicitation_is_written_as_it_is_read() {
        let frame = solicitation(ASKER, SOURCE, ADDRESS);
        assert_eq!(frame[..14], [0x33, 0x33, 0xff, 0x34, 0x56, 0x78, 2, 0, 0, 0, 0, 9, 0x86, 0xdd]);
        assert_eq!(frame[38..54], solicited_node(ADDRESS).octets());
        let read = Solicitation::parse(&frame[14..], VIRTUAL);
        assert_eq!(read, Some(Solicitation { source: SOURCE, sender_mac: ASKER, target: ADDRESS }));
    }

    #[test]
    fn without_the_option_the_answer_goes_to_the_sender_of_the_frame() {
        let plain: [u8; 64] = packet(SOURCE, ADDRESS, &[]);
        assert_eq!(Solicitation::parse(&plain, ASKER).unwrap().sender_mac, ASKER);
    }

    #[test]
    fn a_duplicate_address_probe_is_answered_to_all_nodes() {
        let probe: [u8; 64] = packet(Ipv6Addr::UNSPECIFIED, solicited_node(ADDRESS), &[]);
        let query = Solicitation::parse(&probe, ASKER).unwrap();
        assert_eq!(solicited(VIRTUAL, &query, true), unsolicited(VIRTUAL, ADDRESS, true));

        let elsewhere: [u8; 64] = packet(Ipv6Addr::UNSPECIFIED, ADDRESS, &[]);
        assert_eq!(Solicitation::parse(&elsewhere, ASKER), None);
        let with_option: [u8; 72] = packet(Ipv6Addr::UNSPECIFIED, solicited_node(ADDRESS), &[1, 1, 2, 0, 0, 0, 0, 8]);
        assert_eq!(Solicitation::parse(&with_option, ASKER), None);
    }

    #[test]
    fn options_are_walked_and_malformed_ones_refused() {
        let unknown: [u8; 80] = packet(SOURCE, ADDRESS, &[14, 1, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 8]);
        assert_eq!(Solicitation::parse(&unknown, ASKER).unwrap().sender_mac, MacAddr([2, 0, 0, 0, 0, 8]));
        let zero: [u8; 72] = packet(SOURCE, ADDRESS, &[14, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Solicitation::parse(&zero, ASKER), None);
        let beyond: [u8; 72] = packet(SOURCE, ADDRESS, &[14, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Solicitation::parse(&beyond, ASKER), None);
    }

    #[test]
    fn any_flipped_bit_of_the_message_is_refused() {
        let packet = asked();
        for bit in 40 * 8..72 * 8 {
            let mut packet = packet;
            packet[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Solicitation::parse(&packet, ASKER), None, "bit {bit}");
        }
        for length in 0..72 {
            assert_eq!(Solicitation::parse(&packet[..length], ASKER), None);
        }
        let mut routed = packet;
        routed[7] = 254;
        assert_eq!(Solicitation::parse(&routed, ASKER), None);
        assert!(Sum::of(&packet[40..]).fold() != 0);
    }
}
