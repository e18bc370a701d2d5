//! ARP over Ethernet for IPv4 (RFC 826), as much as a virtual address needs: the gratuitous request that
//! an Active announces itself with, reading a query, and answering it. Whether to answer is decided by the
//! port: only an Active does (RFC 9568 section 8.1.2).

use core::net::Ipv4Addr;

use nom::{IResult, Parser};

use super::ip::{ETHERTYPE_ARP, ETHERTYPE_IPV4, concat, ethernet_header, ipv4_address, mac, word};
use crate::types::MacAddr;

/// The length of an ARP message in an Ethernet frame, without padding.
pub const FRAME: usize = 42;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET: u16 = 1;
const LENGTHS: u16 = 0x0604;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// A request for the MAC address of `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks.
    pub sender_mac: MacAddr,
    /// Its address; 0.0.0.0 when it probes for a duplicate (RFC 5227 section 2.1.1).
    pub sender: Ipv4Addr,
    /// The address asked for; that of the sender in a gratuitous request.
    pub target: Ipv4Addr,
}

impl Query {
    /// Reads the payload of an Ethernet frame of type ARP, which may be padded. `None` if it is not a
    /// request for an IPv4 address over Ethernet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (_, (operation, query)) = message(packet).ok()?;
        (operation == REQUEST).then_some(query)
    }
}

/// The Ethernet frame, without padding, by which an Active announces a virtual address: a broadcast
/// request whose sender and target are `address`, sender and target hardware address `mac`
/// (RFC 9568 sections 6.4.1 and 8.1.2 with errata 7947 and 7949).
pub fn gratuitous(mac: MacAddr, address: Ipv4Addr) -> [u8; FRAME] {
    frame(MacAddr::BROADCAST, REQUEST, mac, address, mac, address)
}

/// The Ethernet frame, without padding, by which the station at `mac` that has the address `sender` asks for `target`.
pub fn request(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> [u8; FRAME] {
    frame(MacAddr::BROADCAST, REQUEST, mac, sender, MacAddr([0; 6]), target)
}

/// The Ethernet frame, without padding, that answers `query`: its target is at `mac`.
pub fn reply(mac: MacAddr, query: &Query) -> [u8; FRAME] {
    frame(query.sender_mac, REPLY, mac, query.target, query.sender_mac, query.sender)
}

fn frame(
    destination: MacAddr,
    operation: u16,
    sender_mac: MacAddr,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> [u8; FRAME] {
    concat([
        &ethernet_header(destination, sender_mac, ETHERTYPE_ARP),
        &ETHERNET.to_be_bytes(),
        &ETHERTYPE_IPV4.to_be_bytes(),
        &LENGTHS.to_be_bytes(),
        &operation.to_be_bytes(),
        &sender_mac.0,
        &sender.octets(),
        &target_mac.0,
        &target.octets(),
    ])
}

/// The operation and the addresses of a message about IPv4 over Ethernet.
fn message(packet: &[u8]) -> IResult<&[u8], (u16, Query), ()> {
    let (rest, kind) = (word, word, word).parse(packet)?;
    if kind != (ETHERNET, ETHERTYPE_IPV4, LENGTHS) {
        return Err(nom::Err::Error(()));
    }
    let (rest, (operation, sender_mac, sender, _, target)) =
        (word, mac, ipv4_address, mac, ipv4_address).parse(rest)?;
    Ok((rest, (operation, Query { sender_mac, sender, target })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIRTUAL: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 7]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

    #[test]
    fn a_gratuitous_request_byte_by_byte() {
        let mut expected = [0xff; 42];
        expected[6..12].copy_from_slice(&VIRTUAL.0);
        expected[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
        expected[22..28].copy_from_slice(&VIRTUAL.0);
        expected[28..32].copy_from_slice(&[10, 0, 0, 7]);
        expected[32..38].copy_from_slice(&VIRTUAL.0);
        expected[38..].copy_from_slice(&[10, 0, 0, 7]);
        assert_eq!(gratuitous(VIRTUAL, ADDRESS), expected);
    }

    #[test]
    fn a_query_is_read_and_answered() {
        let asker = MacAddr([2, 0, 0, 0, 0, 9]);
        let sender = Ipv4Addr::new(10, 0, 0, 9);
        let asked = request(asker, sender, ADDRESS);
        assert_eq!((&asked[..6], &asked[32..38]), (&[0xff; 6][..], &[0; 6][..]));
        let query = Query::parse(&asked[14..]).unwrap();
        assert_eq!(query, Query { sender_mac: asker, sender, target: ADDRESS });
        assert_eq!(reply(VIRTUAL, &query), frame(asker, REPLY, VIRTUAL, ADDRESS, asker, sender));
    }

    #[test]
    fn what_is_no_query_is_refused() {
        let frame = gratuitous(VIRTUAL, ADDRESS);
        assert!(Query::parse(&frame[14..]).is_some());
        for length in 0..28 {
            assert_eq!(Query::parse(&frame[14..14 + length]), None, "truncated to {length}");
        }
        for at in 0..8 {
            let mut frame = frame;
            frame[14 + at] ^= 4;
            assert_eq!(Query::parse(&frame[14..]), None, "byte {at}");
        }
        let reply = reply(VIRTUAL, &Query { sender_mac: VIRTUAL, sender: ADDRESS, target: ADDRESS });
        assert_eq!(Query::parse(&reply[14..]), None);
    }
}
