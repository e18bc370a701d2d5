//! The IP Authentication Header (RFC 2402) around an Advertisement of version 2 over IPv4, as `auth_type AH` of
//! keepalived has it: HMAC-MD5-96 (RFC 2403), the source address for a Security Parameters Index. The cipher is the
//! port's, see [`Keys`]; whether a packet is believed is decided in [`crate::auth`].

use core::net::{IpAddr, Ipv4Addr};

use super::checksum::Sum;
use super::ip::{IPV4_HEADER, concat, emit_ipv4};
use super::trailer::{Keys, Tag};
use super::{Envelope, Full, PROTOCOL};

/// The IP protocol number of the Authentication Header.
pub const PROTOCOL_AH: u8 = 51;

/// Its length, with an integrity check value of 96 bits.
const HEADER: usize = 24;

/// What comes before that value.
const PREFIX: usize = 12;

/// The same in words of 32 bits, without two of them (RFC 2402 section 2.2).
const LENGTH: u8 = 4;

/// The integrity check value: the first 96 bits of a tag.
type Icv = [u8; HEADER - PREFIX];

/// A packet with an Authentication Header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What its IP header says.
    pub envelope: Envelope,
    /// The VRRP message.
    pub message: &'a [u8],
    /// Its number among those of its sender.
    pub(crate) sequence: u32,
    pub(crate) icv: Icv,
    /// The Security Parameters Index is the source address.
    pub(crate) has_own_index: bool,
    /// The IP header with zeros for what changes on the way (RFC 2402 section 3.3.3.1.1).
    header: [u8; IPV4_HEADER],
    options: &'a [u8],
    prefix: &'a [u8; PREFIX],
}

impl<'a> Packet<'a> {
    /// Reads an IPv4 packet, which may be followed by padding. `None` if it carries no VRRP behind an Authentication
    /// Header, is a fragment or truncated, or its header checksum is wrong.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<IPV4_HEADER>()?;
        let [kind, _, total_high, total_low, _, _, fragment_high, fragment_low, hop_limit, protocol, ..] = *header;
        let header_len = usize::from(kind & 0x0f).saturating_mul(4);
        let whole = Sum::of(packet.get(..header_len)?).is_valid() && ((fragment_high & 0x3f) | fragment_low) == 0;
        if kind >> 4 != 4 || protocol != PROTOCOL_AH || !whole {
            return None;
        }
        let body_len = usize::from(u16::from_be_bytes([total_high, total_low])).checked_sub(IPV4_HEADER)?;
        let (options, body) = rest.get(..body_len)?.split_at_checked(header_len.checked_sub(IPV4_HEADER)?)?;
        let (prefix, body) = body.split_first_chunk::<PREFIX>()?;
        let (icv, message) = body.split_first_chunk()?;
        let [next, length, _, _, index @ .., n0, n1, n2, n3] = *prefix;
        if next != PROTOCOL || length != LENGTH {
            return None;
        }
        let mut header = *header;
        let [.., high, low, s0, s1, s2, s3, d0, d1, d2, d3] = &mut header;
        [*high, *low] = [0, 0];
        let [source, destination] = [[*s0, *s1, *s2, *s3], [*d0, *d1, *d2, *d3]];
        let [_, service, _, _, _, _, fragment_high, fragment_low, ..] = &mut header;
        [*service, *fragment_high, *fragment_low] = [0; 3];
        Some(Self {
            envelope: Envelope { source: source.into(), destination: destination.into(), hop_limit },
            message,
            sequence: u32::from_be_bytes([n0, n1, n2, n3]),
            icv: *icv,
            has_own_index: index == source,
            header,
            options,
            prefix,
        })
    }

    /// The integrity check value that it has to have; `None` without a key. That of a packet to the group is over its
    /// TTL too, which nobody on the way changes.
    pub(crate) fn right_icv(&self, keys: &impl Keys) -> Option<Icv> {
        let mut header = self.header;
        let [_, _, _, _, _, _, _, _, hop_limit, ..] = &mut header;
        if !self.envelope.destination.is_multicast() {
            *hop_limit = 0;
        }
        let none: Icv = [0; HEADER - PREFIX];
        let tag: Tag = keys.tag(0, &[&header, self.options, self.prefix, &none, self.message])?;
        tag.first_chunk().copied()
    }
}

/// Writes an IPv4 packet to the start of `buffer` and returns its length: the IP header, the Authentication Header, and
/// what `payload` writes after them (it returns how much).
///
/// # Errors
///
/// `Full` if `buffer` is too small, there is no key, or an address is of IPv6.
pub(crate) fn emit_packet(
    keys: &impl Keys,
    sequence: u32,
    envelope: &Envelope,
    buffer: &mut [u8],
    payload: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
) -> Result<usize, Full> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (envelope.source, envelope.destination) else {
        return Err(Full);
    };
    let (header, rest) = buffer.split_first_chunk_mut::<IPV4_HEADER>().ok_or(Full)?;
    let (authentication, room) = rest.split_first_chunk_mut::<HEADER>().ok_or(Full)?;
    let inner = payload(room)?.checked_add(HEADER).ok_or(Full)?;
    emit_header(source, destination, inner, header)?;
    *authentication = concat([&[PROTOCOL, LENGTH, 0, 0], &source.octets(), &sequence.to_be_bytes()]);
    let length = inner.checked_add(IPV4_HEADER).ok_or(Full)?;
    let packet = buffer.get_mut(..length).ok_or(Full)?;
    let icv = Packet::parse(packet).and_then(|packet| packet.right_icv(keys)).ok_or(Full)?;
    let place = packet.split_first_chunk_mut::<{ IPV4_HEADER + PREFIX }>().and_then(|(_, rest)| rest.first_chunk_mut());
    *place.ok_or(Full)? = icv;
    Ok(length)
}

/// Our IPv4 header, for another protocol.
fn emit_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    length: usize,
    header: &mut [u8; IPV4_HEADER],
) -> Result<(), Full> {
    emit_ipv4(source, destination, length, header)?;
    let [_, _, _, _, _, _, _, _, _, protocol, high, low, ..] = header;
    [*protocol, *high, *low] = [PROTOCOL_AH, 0, 0];
    let checksum = Sum::of(header).checksum().to_be_bytes();
    let [.., high, low, _, _, _, _, _, _, _, _] = header;
    [*high, *low] = checksum;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last bytes of what goes into it.
    struct Last;

    impl Keys for Last {
        fn tag(&self, _: u8, parts: &[&[u8]]) -> Option<Tag> {
            let mut tag: Tag = [0; 16];
            for byte in parts.iter().copied().flatten() {
                tag.rotate_left(1);
                tag[15] = tag[15].wrapping_add(tag[0]) ^ *byte;
            }
            Some(tag)
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut buffer = [0xee; 64];
        for destination in [[224, 0, 0, 18], [10, 0, 0, 2]] {
            let envelope = Envelope { source: [10, 0, 0, 1].into(), destination: destination.into(), hop_limit: 255 };
            let payload = |room: &mut [u8]| {
                room[..3].copy_from_slice(b"abc");
                Ok(3)
            };
            assert_eq!(emit_packet(&Last, 7, &envelope, &mut buffer, payload), Ok(47));
            let packet = Packet::parse(&buffer).unwrap();
            assert_eq!((packet.envelope, packet.message, packet.sequence), (envelope, &b"abc"[..], 7));
            assert!(packet.has_own_index);
            assert_eq!(packet.right_icv(&Last), Some(packet.icv));
            // On the way some of it may change: that of a packet to a peer more than that of one to the group.
            let mut changed = buffer;
            changed[1] = 0;
            changed[8] = 7;
            let sum = Sum::of(&changed[..10]).plus(&[0, 0]).plus(&changed[12..20]).checksum().to_be_bytes();
            changed[10..12].copy_from_slice(&sum);
            let packet = Packet::parse(&changed).unwrap();
            assert_eq!(packet.right_icv(&Last) == Some(packet.icv), destination[0] == 10);
            for length in 0..47 {
                assert_eq!(Packet::parse(&buffer[..length]), None);
                assert_eq!(emit_packet(&Last, 7, &envelope, &mut [0; 64][..length.min(46)], |_| Ok(3)), Err(Full));
            }
        }
    }
}
