//! The Advertisement, the one message of VRRP (RFC 9568 section 5.2; RFC 3768 section 5.3 for version 2):
//! parsing with every check that needs nothing but the packet, and emitting. Checks that need to know the
//! Virtual Router (authentication, interval of version 2, address list) are made in [`crate::agent`].

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::slice;

use nom::{IResult, Parser};

use super::checksum::{Sum, pseudo_header};
use super::ip::{byte, word};
use super::{Discard, Envelope, Full, HOP_LIMIT, PROTOCOL};
use crate::types::{Family, Interval, Priority, Version, Vrid};

/// The only type of message (RFC 9568 section 5.2.2).
const ADVERTISEMENT: u8 = 1;

/// The bytes before the addresses.
const HEADER: usize = 8;

/// The bytes of authentication data that end every message of version 2 (RFC 3768 section 5.3.10).
const AUTH_DATA: usize = 8;

/// The twelve bits of the Max Advertise Interval; the four above are reserved (RFC 9568 section 5.2.6).
const INTERVAL: u16 = 0x0fff;

/// The checksum form in which version 3 over IPv4 is sent. Version 2 is always plain and IPv6 always has
/// the pseudo-header, whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With the pseudo-header, as RFC 5798 was understood by keepalived, FRR and MikroTik.
    PseudoHeader,
    /// Over the message alone (RFC 9568 section 5.2.8).
    Plain,
    /// Plain, and not version 3 at all: what a Virtual Router that speaks both versions says in version 2.
    #[cfg(feature = "both-versions")]
    Version2,
}

/// The checksum forms that a received Advertisement fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Only with the pseudo-header.
    PseudoHeader,
    /// Only over the message alone.
    Plain,
    /// Either: the pseudo-header of these two addresses sums to nothing, so the sender's form is unknown.
    Both,
}

/// What version 2 authenticates with (RFC 3768 section 5.3.6). Version 3 has none. A password is nowhere shown, not even
/// by `Debug`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Type 0.
    #[default]
    None,
    /// Type 1, a password in the clear, padded with zeros (RFC 2338 section 5.3.6.2).
    Simple([u8; 8]),
    /// Type 2, an IP Authentication Header (RFC 2338 section 5.3.6.3) with this key, padded with zeros. The port sees to
    /// it, see [`crate::auth`].
    #[cfg(feature = "authentication")]
    Header([u8; 8]),
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Simple(_) => "Simple(..)",
            #[cfg(feature = "authentication")]
            Self::Header(_) => "Header(..)",
        })
    }
}

impl Authentication {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Simple(_) => 1,
            #[cfg(feature = "authentication")]
            Self::Header(_) => 2,
        }
    }

    /// The authentication data on the wire; zeros for none.
    pub const fn data(self) -> [u8; 8] {
        match self {
            Self::None => [0; 8],
            Self::Simple(data) => data,
            #[cfg(feature = "authentication")]
            Self::Header(_) => [0; 8],
        }
    }
}

/// A received Advertisement that passed every check of [`parse`](Self::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement<'a> {
    /// 2 or 3.
    pub version: Version,
    /// The Virtual Router.
    pub vrid: Vrid,
    /// The sender's priority; `None` is the 0 of an Active that resigns.
    pub priority: Option<Priority>,
    /// The sender's Advertisement_Interval.
    pub interval: Interval,
    /// The checksum forms that fit.
    pub fit: Fit,
    /// Version 2's authentication type; 0 in version 3.
    pub auth_type: u8,
    /// Version 2's authentication data; zeros in version 3.
    pub auth_data: [u8; 8],
    /// The virtual addresses, at least one.
    pub addresses: Addresses<'a>,
}

impl<'a> Advertisement<'a> {
    /// Reads an Advertisement from the payload of an IP packet, trimmed to the length that the IP header
    /// gives.
    ///
    /// # Errors
    ///
    /// The first check that failed, of `HopLimit`, `Version` (version 2 lives over IPv4 only), `Type`,
    /// `Length` (exactly what version and count ask for), `Checksum`, `Vrid` (zero), `Count` (zero) and
    /// `Interval` (zero), in this order.
    pub fn parse(payload: &'a [u8], envelope: &Envelope) -> Result<Self, Discard> {
        if envelope.hop_limit != HOP_LIMIT {
            return Err(Discard::HopLimit);
        }
        let family = Family::of(&envelope.source);
        let first = *payload.first().ok_or(Discard::Length)?;
        let version = match (first >> 4, family) {
            (2, Family::V4) => Version::V2,
            (3, _) => Version::V3,
            _ => return Err(Discard::Version),
        };
        if first & 0x0f != ADVERTISEMENT {
            return Err(Discard::Type);
        }

        let (body, header) = header(payload).map_err(|_| Discard::Length)?;
        let (list, auth_data) = match version {
            Version::V2 => body.split_last_chunk::<AUTH_DATA>().map(|(list, data)| (list, *data)),
            Version::V3 => Some((body, [0; AUTH_DATA])),
        }
        .ok_or(Discard::Length)?;
        let addresses = Addresses::split(list, family).ok_or(Discard::Length)?;
        if addresses.len() != usize::from(header.count) {
            return Err(Discard::Length);
        }

        let fit = fit(payload, version, envelope).ok_or(Discard::Checksum)?;
        let vrid = Vrid::new(header.vrid).ok_or(Discard::Vrid)?;
        if addresses.is_empty() {
            return Err(Discard::Count);
        }
        let [auth_type, seconds] = header.interval.to_be_bytes();
        let (auth_type, interval) = match version {
            Version::V2 => (auth_type, Interval::from_seconds(seconds)),
            Version::V3 => (0, Interval::from_centiseconds(header.interval & INTERVAL)),
        };
        Ok(Self {
            version,
            vrid,
            priority: Priority::new(header.priority),
            interval: interval.ok_or(Discard::Interval)?,
            fit,
            auth_type,
            auth_data,
            addresses,
        })
    }
}

/// The VRID byte of a message that may be malformed, to say whose it was when it is discarded.
pub fn vrid_of(payload: &[u8]) -> Option<Vrid> {
    payload.get(1).and_then(|&number| Vrid::new(number))
}

/// The virtual addresses of a received Advertisement, still in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses<'a>(List<'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List<'a> {
    V4(&'a [[u8; 4]]),
    V6(&'a [[u8; 16]]),
}

impl<'a> Addresses<'a> {
    /// `None` if the bytes are no whole number of addresses.
    fn split(bytes: &'a [u8], family: Family) -> Option<Self> {
        let (list, rest) = match family {
            Family::V4 => {
                let (list, rest) = bytes.as_chunks();
                (List::V4(list), rest)
            }
            Family::V6 => {
                let (list, rest) = bytes.as_chunks();
                (List::V6(list), rest)
            }
        };
        rest.is_empty().then_some(Self(list))
    }

    /// The family of all of them, which is that of the IP header.
    pub const fn family(&self) -> Family {
        match self.0 {
            List::V4(_) => Family::V4,
            List::V6(_) => Family::V6,
        }
    }

    /// How many there are, 1 to 255.
    pub const fn len(&self) -> usize {
        match self.0 {
            List::V4(list) => list.len(),
            List::V6(list) => list.len(),
        }
    }

    /// Whether there are none; never so in an [`Advertisement`].
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The addresses in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + Clone + use<'a> {
        match self.0 {
            List::V4(list) => Iter::V4(list.iter()),
            List::V6(list) => Iter::V6(list.iter()),
        }
    }
}

#[derive(Clone)]
enum Iter<'a> {
    V4(slice::Iter<'a, [u8; 4]>),
    V6(slice::Iter<'a, [u8; 16]>),
}

impl Iterator for Iter<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        match self {
            Self::V4(list) => list.next().map(|&octets| Ipv4Addr::from(octets).into()),
            Self::V6(list) => list.next().map(|&octets| Ipv6Addr::from(octets).into()),
        }
    }
}

/// An Advertisement to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// 2 or 3.
    pub version: Version,
    /// The Virtual Router.
    pub vrid: Vrid,
    /// The priority; `None` resigns.
    pub priority: Option<Priority>,
    /// The interval. What the version cannot carry is brought into its range: version 2 rounds up to
    /// whole seconds, version 3 sends 4095 centiseconds at most.
    pub interval: Interval,
    /// Version 2's authentication; version 3 ignores it.
    pub authentication: Authentication,
    /// The virtual addresses, in order, all of the family of the source.
    pub addresses: &'a [IpAddr],
}

impl Outgoing<'_> {
    /// Writes the message, without an IP header, to the start of `buffer` and returns its length.
    ///
    /// The family is that of `source`; an address of the other one is left out. `form` counts only in
    /// version 3 over IPv4.
    ///
    /// # Errors
    ///
    /// `Full` if `buffer` is too small or there are more than 255 addresses.
    pub fn emit(&self, source: IpAddr, destination: IpAddr, form: Form, buffer: &mut [u8]) -> Result<usize, Full> {
        let family = Family::of(&source);
        let ours = self.addresses.iter().filter(|address| Family::of(address) == family);
        let count = ours.fold(0_u16, |count, _| count.saturating_add(1));
        let count = u8::try_from(count).map_err(|_| Full)?;
        let length = self.length(family, count);
        let message = buffer.get_mut(..usize::from(length)).ok_or(Full)?;

        let (header, body) = message.split_first_chunk_mut::<HEADER>().ok_or(Full)?;
        let [high, low] = match self.version {
            Version::V2 => [self.authentication.number(), self.seconds()],
            Version::V3 => self.interval.centiseconds().min(INTERVAL).to_be_bytes(),
        };
        let kind = (self.version.number() << 4) | ADVERTISEMENT;
        let priority = self.priority.map_or(0, Priority::get);
        *header = [kind, self.vrid.get(), priority, count, high, low, 0, 0];

        let list = match self.version {
            Version::V2 => {
                let (list, data) = body.split_last_chunk_mut::<AUTH_DATA>().ok_or(Full)?;
                *data = self.authentication.data();
                list
            }
            Version::V3 => body,
        };
        match family {
            Family::V4 => {
                let addresses = self.addresses.iter().filter_map(|address| match address {
                    IpAddr::V4(address) => Some(address.octets()),
                    IpAddr::V6(_) => None,
                });
                list.as_chunks_mut().0.iter_mut().zip(addresses).for_each(|(slot, octets)| *slot = octets);
            }
            Family::V6 => {
                let addresses = self.addresses.iter().filter_map(|address| match address {
                    IpAddr::V4(_) => None,
                    IpAddr::V6(address) => Some(address.octets()),
                });
                list.as_chunks_mut().0.iter_mut().zip(addresses).for_each(|(slot, octets)| *slot = octets);
            }
        }

        let sum = match (self.version, family, form) {
            (Version::V2, ..) | (Version::V3, Family::V4, Form::Plain) => Sum::ZERO,
            _ => pseudo_header(source, destination, PROTOCOL, length),
        };
        let checksum = sum.plus(message).checksum().to_be_bytes();
        if let Some([.., high, low]) = message.first_chunk_mut::<HEADER>() {
            [*high, *low] = checksum;
        }
        Ok(length.into())
    }

    /// The length of the whole message; 4,096 at most, so nothing saturates.
    fn length(&self, family: Family, count: u8) -> u16 {
        let address = match family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let trailer = match self.version {
            Version::V2 => AUTH_DATA as u16,
            Version::V3 => 0,
        };
        u16::from(count).saturating_mul(address).saturating_add(trailer).saturating_add(HEADER as u16)
    }

    fn seconds(&self) -> u8 {
        u8::try_from(self.interval.centiseconds().div_ceil(100)).unwrap_or(u8::MAX)
    }
}

/// The fields before the addresses that are not known yet when they are read.
struct Header {
    vrid: u8,
    priority: u8,
    count: u8,
    /// Version 3: four reserved bits and centiseconds; version 2: authentication type and seconds.
    interval: u16,
}

fn header(payload: &[u8]) -> IResult<&[u8], Header, ()> {
    let (body, (_, vrid, priority, count, interval, _)) = (byte, byte, byte, byte, word, word).parse(payload)?;
    Ok((body, Header { vrid, priority, count, interval }))
}

/// The checksum forms that a message fits, of those that its version and family allow.
fn fit(payload: &[u8], version: Version, envelope: &Envelope) -> Option<Fit> {
    let message = Sum::of(payload);
    if version == Version::V2 {
        return message.is_valid().then_some(Fit::Plain);
    }
    let length = u16::try_from(payload.len()).ok()?;
    let pseudo = pseudo_header(envelope.source, envelope.destination, PROTOCOL, length);
    let with_pseudo = message.plus_sum(pseudo).is_valid();
    match (Family::of(&envelope.source), with_pseudo, message.is_valid()) {
        (Family::V4, true, true) => Some(Fit::Both),
        (_, true, _) => Some(Fit::PseudoHeader),
        (Family::V4, false, true) => Some(Fit::Plain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GROUP_V4, GROUP_V6};
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
    const ENVELOPE: Envelope = Envelope { source: SOURCE, destination: IpAddr::V4(GROUP_V4), hop_limit: 255 };

    /// keepalived 2.2.7, version 3, VRID 14, priority 200, 1 s, 10.99.0.14.
    const V3: [u8; 12] = [0x31, 14, 200, 1, 0, 100, 0x11, 0x28, 10, 99, 0, 14];
    /// keepalived 2.2.7, version 2, VRID 11, priority 150, 1 s, two addresses, password "abcdefgh".
    const V2: [u8; 24] = [
        0x21, 11, 150, 2, 1, 1, 0xa1, 0x1b, 10, 99, 0, 11, 10, 99, 0, 111, b'a', b'b', b'c', b'd', b'e', b'f', b'g',
        b'h',
    ];

    #[test]
    fn version_3_is_read_field_by_field() {
        let advertisement = Advertisement::parse(&V3, &ENVELOPE).unwrap();
        assert_eq!(advertisement.version, Version::V3);
        assert_eq!(advertisement.vrid.get(), 14);
        assert_eq!(advertisement.priority, Priority::new(200));
        assert_eq!(advertisement.interval.centiseconds(), 100);
        assert_eq!(advertisement.fit, Fit::PseudoHeader);
        assert_eq!((advertisement.auth_type, advertisement.auth_data), (0, [0; 8]));
        assert!(advertisement.addresses.iter().eq([IpAddr::from([10, 99, 0, 14])]));
    }

    #[test]
    fn version_2_is_read_field_by_field() {
        let advertisement = Advertisement::parse(&V2, &ENVELOPE).unwrap();
        assert_eq!(advertisement.version, Version::V2);
        assert_eq!(advertisement.interval.seconds(), Some(1));
        assert_eq!(advertisement.fit, Fit::Plain);
        assert_eq!((advertisement.auth_type, &advertisement.auth_data), (1, b"abcdefgh"));
        assert_eq!((advertisement.addresses.len(), advertisement.addresses.family()), (2, Family::V4));
    }

    #[test]
    fn what_was_read_is_emitted_to_the_same_bytes() {
        let mut buffer = [0xee; 64];
        for packet in [&V3[..], &V2] {
            let read = Advertisement::parse(packet, &ENVELOPE).unwrap();
            let addresses: heapless::Vec<IpAddr, 2> = read.addresses.iter().collect();
            let authentication = match read.auth_type {
                0 => Authentication::None,
                _ => Authentication::Simple(read.auth_data),
            };
            let Advertisement { version, vrid, priority, interval, .. } = read;
            let outgoing = Outgoing { version, vrid, priority, interval, authentication, addresses: &addresses };
            let length = outgoing.emit(SOURCE, GROUP_V4.into(), Form::PseudoHeader, &mut buffer).unwrap();
            assert_eq!(&buffer[..length], packet);
        }
    }

    #[test]
    fn every_truncation_is_a_wrong_length() {
        for packet in [&V3[..], &V2] {
            for length in 0..packet.len() {
                assert_eq!(Advertisement::parse(&packet[..length], &ENVELOPE), Err(Discard::Length));
            }
        }
    }

    #[test]
    fn emitting_into_too_little_room_is_full_and_writes_nothing() {
        let addresses = [IpAddr::V6(GROUP_V6); 3];
        let outgoing = Outgoing {
            version: Version::V3,
            vrid: Vrid::new(1).unwrap(),
            priority: None,
            interval: Interval::DEFAULT,
            authentication: Authentication::None,
            addresses: &addresses,
        };
        let mut buffer = [0; 56];
        for length in 0..56 {
            let room = &mut buffer[..length];
            assert_eq!(outgoing.emit(addresses[0], GROUP_V6.into(), Form::Plain, room), Err(Full));
        }
        assert_eq!(buffer, [0; 56]);
        assert_eq!(outgoing.emit(addresses[0], GROUP_V6.into(), Form::Plain, &mut buffer), Ok(56));
    }

    #[test]
    fn an_interval_that_the_version_cannot_carry_is_brought_into_range() {
        let outgoing = Outgoing {
            version: Version::V2,
            vrid: Vrid::new(1).unwrap(),
            priority: None,
            interval: Interval::from_centiseconds(101).unwrap(),
            authentication: Authentication::None,
            addresses: &[SOURCE],
        };
        let mut buffer = [0; 64];
        outgoing.emit(SOURCE, SOURCE, Form::Plain, &mut buffer).unwrap();
        assert_eq!(buffer[5], 2);
        let interval = Interval::from_seconds(255).unwrap();
        let outgoing = Outgoing { version: Version::V3, interval, ..outgoing };
        outgoing.emit(SOURCE, SOURCE, Form::Plain, &mut buffer).unwrap();
        assert_eq!(buffer[4..6], [0x0f, 0xff]);
    }

    #[test]
    fn the_vrid_of_a_malformed_message() {
        assert_eq!(vrid_of(&[0xff, 7]), Vrid::new(7));
        assert_eq!(vrid_of(&[0x31, 0]), None);
        assert_eq!(vrid_of(&[0x31]), None);
    }
}
