//! Reading captured frames, independently of the code under test: Advertisements, and what a frame teaches a listener
//! about the hardware address of an IP address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::clock::Stamp;

/// One captured Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When the kernel saw it.
    pub at: Stamp,
    /// The machine that sent it.
    pub host: usize,
    /// The whole frame, without checksum.
    pub bytes: Vec<u8>,
}

/// A captured Advertisement; fields as they are on the wire, unchecked.
#[derive(Clone, Debug)]
pub struct Advert {
    /// When the kernel saw it.
    pub at: Stamp,
    /// The machine that sent it.
    pub host: usize,
    /// The Ethernet source.
    pub source_mac: [u8; 6],
    /// The IP source.
    pub source: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Version of the protocol.
    pub version: u8,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Priority, 0 for a farewell.
    pub priority: u8,
    /// The interval in milliseconds.
    pub interval_ms: u32,
}

/// A hardware address as `ip` writes it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The virtual MAC of an IPv4 or IPv6 Virtual Router (RFC 9568 section 7.3).
pub fn virtual_mac(v6: bool, vrid: u8) -> [u8; 6] {
    [0, 0, 0x5e, 0, if v6 { 2 } else { 1 }, vrid]
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes.get(at).copied().unwrap_or(0), bytes.get(at + 1).copied().unwrap_or(0)])
}

fn mac_at(bytes: &[u8], at: usize) -> Option<[u8; 6]> {
    bytes.get(at..at + 6)?.try_into().ok()
}

fn v4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets).into())
}

fn v6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(Ipv6Addr::from(octets).into())
}

/// Whether the capture keeps this frame: VRRP, ARP, ICMPv6 other than echoes, and datagrams to be discarded.
pub(super) fn is_kept(bytes: &[u8]) -> bool {
    match word(bytes, 12) {
        0x0806 => true,
        0x0800 => matches!(bytes.get(23), Some(112 | 51)) || discard(bytes).is_some(),
        0x86dd => match bytes.get(20) {
            Some(112) => true,
            Some(17) => discard(bytes).is_some(),
            Some(58) => !matches!(bytes.get(54), Some(128 | 129)),
            _ => false,
        },
        _ => false,
    }
}

/// The Advertisement in a frame, if it holds one of type 1 in version 2 or 3.
pub fn advert(frame: &Frame) -> Option<Advert> {
    let bytes = &frame.bytes;
    let (source, ttl, start) = match word(bytes, 12) {
        0x0800 if matches!(bytes.get(23), Some(112 | 51)) => {
            // An Authentication Header has 24 bytes.
            let more = if bytes.get(23) == Some(&51) { 24 } else { 0 };
            (v4_at(bytes, 26)?, *bytes.get(22)?, 14 + usize::from(bytes.get(14)? & 15) * 4 + more)
        }
        0x86dd if bytes.get(20) == Some(&112) => (v6_at(bytes, 22)?, *bytes.get(21)?, 54),
        _ => return None,
    };
    let vrrp = bytes.get(start..start + 8)?;
    let (version, kind) = (vrrp[0] >> 4, vrrp[0] & 15);
    if kind != 1 || !(2..=3).contains(&version) {
        return None;
    }
    let interval_ms = if version == 2 { u32::from(vrrp[5]) * 1000 } else { u32::from(word(vrrp, 4) & 0x0fff) * 10 };
    Some(Advert {
        at: frame.at,
        host: frame.host,
        source_mac: mac_at(bytes, 6)?,
        source,
        ttl,
        version,
        vrid: vrrp[1],
        priority: vrrp[2],
        interval_ms,
    })
}

/// What a frame teaches: (IP address, hardware address) of its ARP sender, or of its ND option.
pub fn binding(frame: &Frame) -> Option<(IpAddr, [u8; 6])> {
    let bytes = &frame.bytes;
    match word(bytes, 12) {
        0x0806 => Some((v4_at(bytes, 28)?, mac_at(bytes, 22)?)),
        0x86dd if bytes.get(20) == Some(&58) => {
            // A solicitation speaks of its source (option 1), an advertisement of its target (option 2).
            let (address, wanted) = match bytes.get(54)? {
                133 | 135 => (v6_at(bytes, 22)?, 1),
                134 => (v6_at(bytes, 22)?, 1),
                136 => (v6_at(bytes, 62)?, 2),
                _ => return None,
            };
            let mut at = match bytes.get(54)? {
                133 => 62,
                134 => 70,
                _ => 78,
            };
            while let (Some(&kind), Some(&eighths)) = (bytes.get(at), bytes.get(at + 1)) {
                if kind == wanted {
                    return Some((address, mac_at(bytes, at + 2)?));
                }
                if eighths == 0 {
                    return None;
                }
                at += usize::from(eighths) * 8;
            }
            None
        }
        _ => None,
    }
}

/// The TTL or hop limit of a datagram to the discard port, by which tests follow a packet.
pub fn discard(bytes: &[u8]) -> Option<u8> {
    const DISCARD: u16 = 9;
    let (protocol, ttl, port) = match word(bytes, 12) {
        0x0800 => (23, 22, 14 + usize::from(bytes.get(14)? & 15) * 4 + 2),
        0x86dd => (20, 21, 56),
        _ => return None,
    };
    (bytes.get(protocol) == Some(&17) && word(bytes, port) == DISCARD).then(|| bytes.get(ttl).copied())?
}

/// The largest pause between the Advertisements of machine `host`, in ms, with the edges of the window as pauses too.
pub fn largest_pause(adverts: &[Advert], host: usize, from: Stamp, to: Stamp) -> f64 {
    let mut last = from;
    let mut largest = 0.0_f64;
    for advert in adverts.iter().filter(|advert| advert.host == host && advert.at >= from && advert.at <= to) {
        largest = largest.max(advert.at.ms_since(last));
        last = advert.at;
    }
    largest.max(to.ms_since(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(hex: &str) -> Frame {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes =
            digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        Frame { at: Stamp(0), host: 0, bytes }
    }

    #[test]
    fn gratuitous_arp_teaches_its_sender() {
        let arp =
            frame("ffffffffffff 00005e000133 0806 0001 0800 06 04 0001 00005e000133 0a090064 ffffffffffff 0a090064");
        assert_eq!(binding(&arp), Some(("10.9.0.100".parse().unwrap(), virtual_mac(false, 0x33))));
    }

    #[test]
    fn version_2_interval_is_in_seconds() {
        let advert = advert(&frame(
            "01005e000012 025f00000001 0800 45c0 0028 0001 0000 ff70 0000 0a090001 e0000012 \
             21 33 64 01 00 01 0000 0a090064 0000000000000000",
        ))
        .unwrap();
        assert_eq!((advert.version, advert.vrid, advert.priority, advert.interval_ms), (2, 0x33, 100, 1000));
    }
}
