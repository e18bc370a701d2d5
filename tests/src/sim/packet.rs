//! Advertisements as bytes, made and read by hand from the RFC's figures: an oracle beside the core's own
//! wire code, so that a mistake there does not hide here. Valid by default; a test breaks one field.

use std::net::IpAddr;

use steadfast_core::types::Version;
use steadfast_core::wire::{Envelope, GROUP_V4, GROUP_V6};

/// The longest payload that the simulator carries.
pub const LONGEST: usize = 96;

/// An Advertisement to be made; the fields are the wire's.
#[derive(Clone, Debug)]
pub struct Packet {
    /// 2 or 3.
    pub version: Version,
    /// The VRID, 0 too.
    pub vrid: u8,
    /// The priority, 0 too.
    pub priority: u8,
    /// Centiseconds in version 3 (12 bits), seconds in version 2 (8 bits).
    pub interval: u16,
    /// The sender.
    pub source: IpAddr,
    /// Whether a version 3 checksum over IPv4 covers the pseudo-header (always over IPv6, never in version 2).
    pub pseudo_header: bool,
    /// Version 2: authentication type and data.
    pub authentication: (u8, [u8; 8]),
    /// The advertised addresses.
    pub addresses: Vec<IpAddr>,
}

impl Packet {
    /// Version 3 with a pseudo-header checksum, VRID 7, interval 1 s.
    pub fn v3(priority: u8, source: IpAddr, addresses: &[IpAddr]) -> Self {
        Self {
            version: Version::V3,
            vrid: 7,
            priority,
            interval: 100,
            source,
            pseudo_header: true,
            authentication: (0, [0; 8]),
            addresses: addresses.to_vec(),
        }
    }

    /// Version 2 without authentication, VRID 7, interval 1 s.
    pub fn v2(priority: u8, source: IpAddr, addresses: &[IpAddr]) -> Self {
        Self { version: Version::V2, interval: 1, ..Self::v3(priority, source, addresses) }
    }

    /// The IP header's view of it: from `source` to the group, hop limit 255.
    pub fn envelope(&self) -> Envelope {
        envelope(self.source)
    }

    /// The VRRP payload, checksum filled in (RFC 9568 section 5.1, RFC 3768 section 5.1).
    pub fn payload(&self) -> Vec<u8> {
        let [high, low] = self.interval.to_be_bytes();
        let mut bytes = vec![self.version.number() << 4 | 1, self.vrid, self.priority, self.addresses.len() as u8];
        match self.version {
            Version::V3 => bytes.extend([high & 0x0f, low, 0, 0]),
            Version::V2 => bytes.extend([self.authentication.0, low, 0, 0]),
        }
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        if self.version == Version::V2 {
            bytes.extend(self.authentication.1);
        }
        let with_pseudo = self.version == Version::V3 && (self.pseudo_header || self.source.is_ipv6());
        let pseudo = if with_pseudo { pseudo_header(self.source, bytes.len()) } else { Vec::new() };
        let sum = checksum(&[pseudo, bytes.clone()].concat());
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// The envelope of a multicast Advertisement from `source`.
pub fn envelope(source: IpAddr) -> Envelope {
    let destination = if source.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() };
    Envelope { source, destination, hop_limit: 255 }
}

/// What the simulator's checks need to know of a payload on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heard {
    /// The VRID.
    pub vrid: u8,
    /// The priority, 0 too.
    pub priority: u8,
    /// The advertised interval in microseconds.
    pub interval: u64,
}

/// Reads a payload; `None` if it is too short to be an Advertisement of version 2 or 3.
pub fn read(payload: &[u8]) -> Option<Heard> {
    let &[first, vrid, priority, _, high, low, ..] = payload else { return None };
    let interval = match first {
        0x31 => u64::from(u16::from_be_bytes([high & 0x0f, low])) * 10_000,
        0x21 => u64::from(low) * 1_000_000,
        _ => return None,
    };
    Some(Heard { vrid, priority, interval })
}

/// Puts another priority into a payload and mends its checksum (RFC 1624, equation 3).
pub fn set_priority(payload: &mut [u8], priority: u8) {
    let sum = u32::from(!u16::from_be_bytes([payload[6], payload[7]]))
        + u32::from(!(u16::from(payload[2]) << 8))
        + (u32::from(priority) << 8);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    payload[2] = priority;
    payload[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Puts another TTL into an IPv4 header, and its checksum.
pub fn set_ttl(header: &mut [u8], ttl: u8) {
    header[8] = ttl;
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn pseudo_header(source: IpAddr, length: usize) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => {
            let [high, low] = (length as u16).to_be_bytes();
            [&source.octets()[..], &GROUP_V4.octets(), &[0, 112, high, low]].concat()
        }
        IpAddr::V6(source) => {
            let length = (length as u32).to_be_bytes();
            [&source.octets()[..], &GROUP_V6.octets(), &length, &[0, 0, 0, 112]].concat()
        }
    }
}

/// RFC 1071, written for clarity: every part here has an even length.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_priority_keeps_the_checksum_right() {
        let source = "192.0.2.1".parse().unwrap();
        let mut payload = Packet::v3(200, source, &[source]).payload();
        set_priority(&mut payload, 7);
        assert_eq!(payload, Packet::v3(7, source, &[source]).payload());
    }

    #[test]
    fn a_packet_reads_back() {
        let source = "192.0.2.1".parse().unwrap();
        let vip = "192.0.2.100".parse().unwrap();
        let heard = read(&Packet::v3(200, source, &[vip]).payload()).unwrap();
        assert_eq!(heard, Heard { vrid: 7, priority: 200, interval: 1_000_000 });
        let heard = read(&Packet::v2(0, source, &[vip]).payload()).unwrap();
        assert_eq!(heard, Heard { vrid: 7, priority: 0, interval: 1_000_000 });
        assert_eq!(read(&[0x31, 1, 1]), None);
        assert_eq!(read(&[0x41, 1, 1, 1, 0, 1, 0, 0]), None);
    }
}
