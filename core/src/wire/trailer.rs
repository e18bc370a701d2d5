//! The trailer that `auth_hmac` puts behind an Advertisement (draft-cassen-vrrp-auth-hmac, keepalived 2.4.1): its 28
//! bytes, what its tag is made over, and the sequence number in it. The cipher is the port's, see [`Keys`]; whether a
//! trailer is believed is decided in [`crate::auth`].

use core::net::IpAddr;

use super::checksum::{Sum, pseudo_header};
use super::ip::concat;
use super::{Envelope, PROTOCOL};
use crate::types::{Family, Version, Vrid};

/// The length of a trailer.
pub const TRAILER: usize = 28;

/// What comes before the tag.
const PREFIX: usize = 12;

/// The one known type of trailer.
const HMAC_SHA256_128: u8 = 1;

/// Where the checksum of a message is.
const CHECKSUM: usize = 6;

/// The first 16 bytes of an HMAC-SHA256 (RFC 2104, RFC 4231).
pub type Tag = [u8; 16];

/// The keys of a Virtual Router, and the cipher: a port's.
pub trait Keys {
    /// The tag of these parts, one after another, under the key of this number; `None` if there is none.
    fn tag(&self, key: u8, parts: &[&[u8]]) -> Option<Tag>;
}

/// When an Advertisement was sent, and which of those that were sent then: seconds, 2^-16 of a second, and a counter,
/// in the order of RFC 1982.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence(u64);

impl Sequence {
    /// The first one of a moment of UTC, since 1970; the seconds count modulo 2^32.
    pub const fn at(seconds: u64, nanoseconds: u32) -> Self {
        let fraction = ((nanoseconds as u64) << 16) / 1_000_000_000;
        Self((seconds << 32) | ((fraction & 0xffff) << 16))
    }

    /// A mere number.
    pub(crate) const fn counted(number: u32) -> Self {
        Self(number as u64)
    }

    /// The one that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether it comes after another one (RFC 1982 section 3.2).
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// By how many whole seconds it is ahead of another one; negative if it is behind.
    pub const fn seconds_ahead_of(self, other: Self) -> i32 {
        self.seconds().wrapping_sub(other.seconds()).cast_signed()
    }

    /// The seconds of it.
    pub(crate) const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// The number of its key.
    pub(crate) key: u8,
    pub(crate) sequence: Sequence,
    pub(crate) tag: Tag,
}

impl Trailer {
    /// Reads the 28 bytes of a trailer; `None` if it is of another type, or bits are set that are reserved.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[kind, key, reserved_high, reserved_low], rest) = bytes.split_first_chunk()?;
        let (sequence, tag) = rest.split_first_chunk()?;
        let sequence = Sequence(u64::from_be_bytes(*sequence));
        let known = kind == HMAC_SHA256_128 && (reserved_high | reserved_low) == 0;
        Some(Self { key, sequence, tag: *tag.first_chunk()? }).filter(|_| known)
    }

    /// The bytes of it.
    pub(crate) fn bytes(&self) -> [u8; TRAILER] {
        concat([&prefix(self.key, self.sequence), &self.tag])
    }
}

fn prefix(key: u8, sequence: Sequence) -> [u8; PREFIX] {
    concat([&[HMAC_SHA256_128, key, 0, 0], &sequence.0.to_be_bytes()])
}

/// What a Virtual Router is on the wire, which each tag is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) family: Family,
    pub(crate) version: Version,
    /// Whether version 2 is spoken beside that: what is of which says its first byte, and each tag is bound to it.
    pub(crate) speaks_both: bool,
    pub(crate) vrid: Vrid,
}

impl Identity {
    /// The tag of a message from `source`, whatever its checksum; `None` if there is no such key.
    pub(crate) fn tag(
        self,
        keys: &impl Keys,
        key: u8,
        sequence: Sequence,
        source: IpAddr,
        message: &[u8],
    ) -> Option<Tag> {
        let family = match self.family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        let about: [u8; 4] = [family, message.first()? >> 4, self.vrid.get(), 0];
        let pseudo: [u8; 20] = match source {
            IpAddr::V4(source) => concat([&about, &source.octets()]),
            IpAddr::V6(source) => concat([&about, &source.octets()]),
        };
        let (before, rest) = message.split_first_chunk::<CHECKSUM>()?;
        let (_, after) = rest.split_first_chunk::<2>()?;
        let no_tag = [0; size_of::<Tag>()];
        keys.tag(key, &[&pseudo, before, &[0, 0], after, &prefix(key, sequence), &no_tag])
    }

    /// The messages of this Virtual Router in a payload, and the trailer behind it, if there is one. `None` if it is no
    /// such message, or of another length than it says: no [receive check](super::Discard) lets it pass.
    pub(crate) fn split(self, payload: &[u8]) -> Option<(&[u8], &[u8])> {
        let [first, _, _, count, ..] = *payload else { return None };
        let speaks = |version: &Version| first == (version.number() << 4) | 1;
        let beside = Some(Version::V2).filter(|_| self.speaks_both);
        let version = [Some(self.version), beside].into_iter().flatten().find(speaks)?;
        let address: usize = match self.family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let rest: usize = match version {
            Version::V2 => 16,
            Version::V3 => 8,
        };
        let length = usize::from(count).saturating_mul(address).saturating_add(rest);
        let split = payload.split_at_checked(length)?;
        (split.1.is_empty() || split.1.len() == TRAILER).then_some(split)
    }
}

/// Whether a payload over IPv6 is intact: its checksum is over the trailer too, since kernels make and verify it.
pub(crate) fn is_intact_v6(envelope: &Envelope, payload: &[u8]) -> bool {
    sum_v6(envelope, payload).is_valid()
}

/// Puts the checksum of a payload over IPv6 in its place.
pub(crate) fn set_checksum_v6(envelope: &Envelope, payload: &mut [u8]) {
    if let Some(place) = checksum_of(payload) {
        *place = [0, 0];
    }
    let checksum = sum_v6(envelope, payload).checksum();
    if let Some(place) = checksum_of(payload) {
        *place = checksum.to_be_bytes();
    }
}

fn checksum_of(payload: &mut [u8]) -> Option<&mut [u8; 2]> {
    payload.split_first_chunk_mut::<CHECKSUM>()?.1.first_chunk_mut()
}

fn sum_v6(envelope: &Envelope, payload: &[u8]) -> Sum {
    // No packet is longer.
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    pseudo_header(envelope.source, envelope.destination, PROTOCOL, length).plus(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_seconds_a_fraction_and_a_counter() {
        assert_eq!(Sequence::at(0x6800_0000, 500_000_000), Sequence(0x6800_0000_8000_0000));
        assert_eq!(Sequence::at(1, 999_999_999), Sequence(0x0000_0001_ffff_0000));
        // 2^32 s after 1970 it begins anew.
        assert_eq!(Sequence::at(0x1_0000_0007, 0), Sequence(0x0000_0007_0000_0000));
    }

    #[test]
    fn rfc1982_3_2_sequences_go_on_over_the_end() {
        let last = Sequence(u64::MAX);
        assert_eq!(last.next(), Sequence(0));
        assert!(last.next().is_after(last));
        assert!(!last.is_after(last.next()));
        assert!(!last.is_after(last));
        assert!(Sequence(1 << 62).is_after(last));
        assert!(!Sequence(1 << 63).is_after(Sequence(0)));
        assert_eq!(Sequence::at(2, 0).seconds_ahead_of(Sequence(u64::MAX)), 3);
        assert_eq!(Sequence(u64::MAX).seconds_ahead_of(Sequence::at(2, 0)), -3);
    }

    #[test]
    fn what_was_read_is_written_to_the_same_bytes() {
        let mut bytes = [0x5a; TRAILER];
        bytes[..4].copy_from_slice(&[1, 200, 0, 0]);
        let trailer = Trailer::parse(&bytes).unwrap();
        assert_eq!((trailer.key, trailer.sequence), (200, Sequence(0x5a5a_5a5a_5a5a_5a5a)));
        assert_eq!(trailer.bytes(), bytes);
        for length in 0..TRAILER {
            assert_eq!(Trailer::parse(&bytes[..length]), None);
        }
        for wrong in [0, 2, 3] {
            let mut bytes = bytes;
            bytes[wrong] ^= 0x80;
            assert_eq!(Trailer::parse(&bytes), None, "byte {wrong}");
        }
    }

    #[test]
    fn a_message_is_cut_off_where_its_count_says() {
        let (version, vrid) = (Version::V2, Vrid::new(1).unwrap());
        let identity = Identity { family: Family::V4, version, speaks_both: false, vrid };
        let mut payload = [0; 8 + 8 + 8 + TRAILER];
        (payload[0], payload[3]) = (0x21, 2);
        assert_eq!(identity.split(&payload).map(|(message, _)| message.len()), Some(24));
        assert_eq!(identity.split(&payload[..24]).map(|(_, trailer)| trailer.len()), Some(0));
        for length in (0..24).chain(25..52) {
            assert_eq!(identity.split(&payload[..length]), None, "{length}");
        }
        payload[0] = 0x31;
        assert_eq!(identity.split(&payload), None);
    }
}
