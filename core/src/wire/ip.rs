//! Ethernet and IP headers around an Advertisement: whole frames for ports that send from the virtual MAC,
//! and the way back from a frame to the [`Envelope`] and the VRRP payload. No fragments, no IPv4 options
//! of ours, no IPv6 extension headers: none of them belongs around an Advertisement.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nom::combinator::map;
use nom::{IResult, Parser};

use super::checksum::Sum;
use super::{Envelope, Full, HOP_LIMIT, PROTOCOL};
use crate::types::MacAddr;

/// The EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// The EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// The EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The length of an Ethernet header without a tag.
pub const ETHERNET_HEADER: usize = 14;
/// The length of the IPv4 header that we send.
pub const IPV4_HEADER: usize = 20;
/// The length of the IPv6 header.
pub const IPV6_HEADER: usize = 40;

/// The TOS or traffic class of what we send: Internetwork Control (CS6), which routers queue first.
const CONTROL: u8 = 0xc0;

/// The Ethernet header of a frame, and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<'a> {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    /// What is in it.
    pub ethertype: u16,
    /// The rest of the frame, with padding if it is short.
    pub payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// Splits a frame; `None` if it is shorter than its header.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (payload, (destination, source, ethertype)) = (mac, mac, word).parse(frame).ok()?;
        Some(Self { destination, source, ethertype, payload })
    }
}

/// The Ethernet address that frames to a multicast group go to: 01-00-5E and the low 23 bits
/// (RFC 1112 section 6.4), or 33-33 and the low 32 bits (RFC 2464 section 7).
pub const fn multicast_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddr([0x33, 0x33, a, b, c, d])
        }
    }
}

/// Writes an Ethernet header, 14 bytes, to the start of `buffer` and returns its length.
///
/// # Errors
///
/// `Full` if `buffer` is too small.
pub fn emit_ethernet(destination: MacAddr, source: MacAddr, ethertype: u16, buffer: &mut [u8]) -> Result<usize, Full> {
    put(&ethernet_header(destination, source, ethertype), buffer)
}

/// Writes the IPv4 header, 20 bytes, of an Advertisement of `payload_len` bytes to the start of `buffer`
/// and returns its length: TOS 0xc0, TTL 255, protocol 112, never fragmented, header checksum in place.
///
/// # Errors
///
/// `Full` if `buffer` is too small or the packet would exceed 65,535 bytes.
pub fn emit_ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    payload_len: usize,
    buffer: &mut [u8],
) -> Result<usize, Full> {
    let total = payload_len.checked_add(IPV4_HEADER).and_then(|total| u16::try_from(total).ok()).ok_or(Full)?;
    let [total_high, total_low] = total.to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    // Identification 0 and Don't Fragment: an atomic packet (RFC 6864 section 4.1).
    let header = |high, low| {
        [
            0x45, CONTROL, total_high, total_low, 0, 0, 0x40, 0, HOP_LIMIT, PROTOCOL, high, low, s0, s1, s2, s3, d0,
            d1, d2, d3,
        ]
    };
    let [high, low] = Sum::of(&header(0, 0)).checksum().to_be_bytes();
    put(&header(high, low), buffer)
}

/// Writes the IPv6 header, 40 bytes, of an Advertisement of `payload_len` bytes to the start of `buffer`
/// and returns its length: traffic class 0xc0, hop limit 255, next header 112.
///
/// # Errors
///
/// `Full` if `buffer` is too small or the payload exceeds 65,535 bytes.
pub fn emit_ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload_len: usize,
    buffer: &mut [u8],
) -> Result<usize, Full> {
    let length = u16::try_from(payload_len).map_err(|_| Full)?;
    put(&ipv6_header(source, destination, CONTROL, PROTOCOL, length), buffer)
}

/// Writes an IP packet to the start of `buffer` and returns its length: the header for these addresses,
/// and what `payload` writes after it (it returns how much).
///
/// # Errors
///
/// `Full` if `buffer` is too small, or the addresses are of two families.
pub fn emit_packet(
    source: IpAddr,
    destination: IpAddr,
    buffer: &mut [u8],
    payload: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
) -> Result<usize, Full> {
    let header = match source {
        IpAddr::V4(_) => IPV4_HEADER,
        IpAddr::V6(_) => IPV6_HEADER,
    };
    let (head, room) = buffer.split_at_mut_checked(header).ok_or(Full)?;
    let length = payload(room)?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => emit_ipv4(source, destination, length, head)?,
        (IpAddr::V6(source), IpAddr::V6(destination)) => emit_ipv6(source, destination, length, head)?,
        _ => return Err(Full),
    };
    length.checked_add(header).ok_or(Full)
}

/// Writes a whole Ethernet frame to the start of `buffer` and returns its length: from the MAC address
/// `from` to `to` (that of the group if `None`), the IP header for these addresses, and what `payload`
/// writes after it (it returns how much). Nothing is padded: drivers pad short frames.
///
/// # Errors
///
/// `Full` if `buffer` is too small, or the addresses are of two families.
pub fn emit_frame(
    from: MacAddr,
    to: Option<MacAddr>,
    source: IpAddr,
    destination: IpAddr,
    buffer: &mut [u8],
    payload: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
) -> Result<usize, Full> {
    let ethertype = match source {
        IpAddr::V4(_) => ETHERTYPE_IPV4,
        IpAddr::V6(_) => ETHERTYPE_IPV6,
    };
    let (head, room) = buffer.split_at_mut_checked(ETHERNET_HEADER).ok_or(Full)?;
    let length = emit_packet(source, destination, room, payload)?;
    emit_ethernet(to.unwrap_or(multicast_mac(destination)), from, ethertype, head)?;
    length.checked_add(ETHERNET_HEADER).ok_or(Full)
}

/// The envelope and the payload of an IPv4 packet that carries VRRP, which may have options and may be
/// followed by padding. `None` if it is of another protocol, a fragment, truncated, or its header checksum
/// is wrong.
pub fn parse_ipv4(packet: &[u8]) -> Option<(Envelope, &[u8])> {
    let (rest, header) = ipv4(packet).ok()?;
    let header_len = usize::from(header.version_ihl & 0x0f).saturating_mul(4);
    let options = header_len.checked_sub(IPV4_HEADER)?;
    let payload_len = usize::from(header.total).checked_sub(header_len)?;
    // More Fragments or an offset.
    if header.version_ihl >> 4 != 4 || header.fragment & 0x3fff != 0 || header.protocol != PROTOCOL {
        return None;
    }
    if !Sum::of(packet.get(..header_len)?).is_valid() {
        return None;
    }
    let payload = rest.get(options..)?.get(..payload_len)?;
    let Ipv4 { source, destination, ttl: hop_limit, .. } = header;
    Some((Envelope { source: source.into(), destination: destination.into(), hop_limit }, payload))
}

/// The envelope and the payload of an IPv6 packet that carries VRRP and may be followed by padding. `None`
/// if the next header is another one, or the packet is truncated.
pub fn parse_ipv6(packet: &[u8]) -> Option<(Envelope, &[u8])> {
    ipv6_payload(packet, PROTOCOL).map(|(header, payload)| (header.envelope(), payload))
}

/// The header of a received IPv6 packet, as far as it matters here.
#[derive(Clone, Copy)]
pub(super) struct Ipv6 {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    version: u8,
    length: u16,
    next_header: u8,
}

impl Ipv6 {
    fn envelope(&self) -> Envelope {
        Envelope { source: self.source.into(), destination: self.destination.into(), hop_limit: self.hop_limit }
    }
}

/// The header and payload of an IPv6 packet that carries `protocol` and nothing before it.
pub(super) fn ipv6_payload(packet: &[u8], protocol: u8) -> Option<(Ipv6, &[u8])> {
    let (rest, header) = ipv6(packet).ok()?;
    if header.version >> 4 != 6 || header.next_header != protocol {
        return None;
    }
    Some((header, rest.get(..usize::from(header.length))?))
}

/// An Ethernet header.
pub(super) const fn ethernet_header(destination: MacAddr, source: MacAddr, ethertype: u16) -> [u8; ETHERNET_HEADER] {
    let [d0, d1, d2, d3, d4, d5] = destination.0;
    let [s0, s1, s2, s3, s4, s5] = source.0;
    let [high, low] = ethertype.to_be_bytes();
    [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low]
}

/// An IPv6 header with hop limit 255.
pub(super) fn ipv6_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    traffic_class: u8,
    next_header: u8,
    length: u16,
) -> [u8; IPV6_HEADER] {
    let [high, low] = length.to_be_bytes();
    let first = [0x60 | (traffic_class >> 4), traffic_class << 4, 0, 0, high, low, next_header, HOP_LIMIT];
    concat([&first, &source.octets(), &destination.octets()])
}

/// The parts one after another, cut off or filled up with zeros to `N` bytes.
pub(super) fn concat<const N: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; N] {
    let mut whole = [0; N];
    fill(&mut whole, &parts);
    whole
}

fn fill(whole: &mut [u8], parts: &[&[u8]]) {
    let bytes = parts.iter().copied().flatten();
    whole.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
}

/// A MAC address.
pub(super) fn mac(input: &[u8]) -> IResult<&[u8], MacAddr, ()> {
    map(octets, MacAddr).parse(input)
}

/// An IPv4 address.
pub(super) fn ipv4_address(input: &[u8]) -> IResult<&[u8], Ipv4Addr, ()> {
    map(octets::<4>, Ipv4Addr::from).parse(input)
}

/// An IPv6 address.
pub(super) fn ipv6_address(input: &[u8]) -> IResult<&[u8], Ipv6Addr, ()> {
    map(octets::<16>, Ipv6Addr::from).parse(input)
}

/// A byte.
pub(super) fn byte(input: &[u8]) -> IResult<&[u8], u8, ()> {
    map(octets, |[byte]| byte).parse(input)
}

/// A word of 16 bits in network order.
pub(super) fn word(input: &[u8]) -> IResult<&[u8], u16, ()> {
    map(octets, u16::from_be_bytes).parse(input)
}

/// `N` bytes. Every parser here is made of this one: nom's own `take` and `be_u16` split by an index, which
/// leaves a panic in the binary wherever the optimizer cannot prove it away.
pub(super) fn octets<const N: usize>(input: &[u8]) -> IResult<&[u8], [u8; N], ()> {
    match input.split_first_chunk() {
        Some((octets, rest)) => Ok((rest, *octets)),
        None => Err(nom::Err::Error(())),
    }
}

fn put<const N: usize>(bytes: &[u8; N], buffer: &mut [u8]) -> Result<usize, Full> {
    *buffer.first_chunk_mut().ok_or(Full)? = *bytes;
    Ok(N)
}

struct Ipv4 {
    version_ihl: u8,
    total: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

fn ipv4(packet: &[u8]) -> IResult<&[u8], Ipv4, ()> {
    let (rest, (version_ihl, _tos, total, _identification, fragment, ttl, protocol, _checksum)) =
        (byte, byte, word, word, word, byte, byte, word).parse(packet)?;
    let (rest, (source, destination)) = (ipv4_address, ipv4_address).parse(rest)?;
    Ok((rest, Ipv4 { version_ihl, total, fragment, ttl, protocol, source, destination }))
}

fn ipv6(packet: &[u8]) -> IResult<&[u8], Ipv6, ()> {
    let (rest, (version, _, length, next_header, hop_limit)) = (byte, octets::<3>, word, byte, byte).parse(packet)?;
    let (rest, (source, destination)) = (ipv6_address, ipv6_address).parse(rest)?;
    Ok((rest, Ipv6 { source, destination, hop_limit, version, length, next_header }))
}

#[cfg(test)]
mod tests {
    use super::super::{GROUP_V4, GROUP_V6};
    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x0a01);

    #[test]
    fn the_group_addresses_map_to_their_frames() {
        assert_eq!(multicast_mac(GROUP_V4.into()), MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]));
        assert_eq!(multicast_mac(GROUP_V6.into()), MacAddr([0x33, 0x33, 0x00, 0x00, 0x00, 0x12]));
        assert_eq!(multicast_mac(Ipv4Addr::new(239, 255, 1, 2).into()).0[3], 0x7f);
    }

    #[test]
    fn the_ipv4_header_is_that_of_a_captured_packet() {
        // keepalived's, but for identification 0 and Don't Fragment: 0001 0000 d036 there.
        let mut header = [0; 20];
        assert_eq!(emit_ipv4(SOURCE, GROUP_V4, 12, &mut header), Ok(20));
        assert_eq!(header[..10], [0x45, 0xc0, 0x00, 0x20, 0, 0, 0x40, 0, 255, 112]);
        assert_eq!(header[10..12], [0x90, 0x37]);
        assert_eq!(header[12..], [10, 99, 0, 1, 224, 0, 0, 18]);
    }

    #[test]
    fn the_ipv6_header_is_that_of_a_captured_packet() {
        let mut header = [0; 40];
        assert_eq!(emit_ipv6(LINK_LOCAL, GROUP_V6, 24, &mut header), Ok(40));
        assert_eq!(header[..8], [0x6c, 0, 0, 0, 0, 24, 112, 255]);
        assert_eq!(header[8..24], LINK_LOCAL.octets());
        assert_eq!(header[24..], GROUP_V6.octets());
    }

    #[test]
    fn a_frame_that_was_emitted_is_read_back() {
        let from = MacAddr([0, 0, 0x5e, 0, 1, 7]);
        let mut buffer = [0; 128];
        let pairs: [(IpAddr, IpAddr, u16); 2] =
            [(SOURCE.into(), GROUP_V4.into(), ETHERTYPE_IPV4), (LINK_LOCAL.into(), GROUP_V6.into(), ETHERTYPE_IPV6)];
        for (source, destination, ethertype) in pairs {
            let length = emit_frame(from, None, source, destination, &mut buffer, |room| {
                room[..4].copy_from_slice(b"VRRP");
                Ok(4)
            })
            .unwrap();
            // A short frame arrives with padding.
            let frame = Ethernet::parse(&buffer[..length + 18]).unwrap();
            assert_eq!((frame.destination, frame.source), (multicast_mac(destination), from));
            assert_eq!(frame.ethertype, ethertype);
            let (envelope, payload) = match ethertype {
                ETHERTYPE_IPV4 => parse_ipv4(frame.payload),
                _ => parse_ipv6(frame.payload),
            }
            .unwrap();
            assert_eq!(envelope, Envelope { source, destination, hop_limit: 255 });
            assert_eq!(payload, b"VRRP");
        }
    }

    #[test]
    fn too_little_room_is_full() {
        let mut buffer = [0; 54 + 4];
        let emit = |room: &mut [u8]| {
            emit_frame(MacAddr::BROADCAST, None, LINK_LOCAL.into(), GROUP_V6.into(), room, |room| {
                room.get(..4).map(|_| 4).ok_or(Full)
            })
        };
        for length in 0..58 {
            assert_eq!(emit(&mut buffer[..length]), Err(Full));
        }
        assert_eq!(emit(&mut buffer), Ok(58));
        let mixed = emit_packet(SOURCE.into(), GROUP_V6.into(), &mut buffer, |_| Ok(0));
        assert_eq!(mixed, Err(Full));
        assert_eq!(emit_ipv4(SOURCE, GROUP_V4, usize::MAX, &mut buffer), Err(Full));
        assert_eq!(emit_ipv4(SOURCE, GROUP_V4, 65_516, &mut buffer), Err(Full));
        assert_eq!(emit_ipv6(LINK_LOCAL, GROUP_V6, 65_536, &mut buffer), Err(Full));
    }

    /// An IPv4 packet with `edit` applied and its header checksum made right again.
    fn edited(edit: impl FnOnce(&mut [u8; 36])) -> [u8; 36] {
        let mut packet = [0; 36];
        emit_ipv4(SOURCE, GROUP_V4, 16, &mut packet).unwrap();
        edit(&mut packet);
        let header = usize::from(packet[0] & 0x0f) * 4;
        packet[10..12].fill(0);
        let checksum = Sum::of(&packet[..header]).checksum();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    #[test]
    fn options_are_skipped_and_padding_is_cut() {
        let packet = edited(|packet| packet[0] = 0x46);
        assert_eq!(parse_ipv4(&packet).unwrap().1.len(), 12);
        let packet = edited(|packet| packet[3] = 24);
        assert_eq!(parse_ipv4(&packet).unwrap().1.len(), 4);
    }

    #[test]
    fn what_is_no_whole_vrrp_packet_is_refused() {
        assert!(parse_ipv4(&edited(|_| ())).is_some());
        assert!(parse_ipv4(&edited(|packet| packet[0] = 0x65)).is_none(), "version");
        assert!(parse_ipv4(&edited(|packet| packet[0] = 0x44)).is_none(), "header length");
        assert!(parse_ipv4(&edited(|packet| packet[3] = 19)).is_none(), "total within the header");
        assert!(parse_ipv4(&edited(|packet| packet[3] = 37)).is_none(), "truncated");
        assert!(parse_ipv4(&edited(|packet| packet[6] = 0x20)).is_none(), "more fragments");
        assert!(parse_ipv4(&edited(|packet| packet[7] = 1)).is_none(), "fragment offset");
        assert!(parse_ipv4(&edited(|packet| packet[9] = 17)).is_none(), "protocol");
        let mut packet = edited(|_| ());
        packet[8] = 254;
        assert!(parse_ipv4(&packet).is_none(), "header checksum");
        for length in 0..36 {
            assert!(parse_ipv4(&edited(|_| ())[..length]).is_none());
        }
    }

    #[test]
    fn a_wrong_ttl_is_told_not_refused() {
        let packet = edited(|packet| packet[8] = 254);
        assert_eq!(parse_ipv4(&packet).unwrap().0.hop_limit, 254);
    }
}
