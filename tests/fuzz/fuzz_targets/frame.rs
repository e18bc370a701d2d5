//! An Ethernet frame from anyone: ARP, Neighbour Solicitations, IP packets with VRRP. What is read as a query is
//! answered, and the answer is no query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadfast_core::types::MacAddr;
use steadfast_core::wire::advertisement::Advertisement;
use steadfast_core::wire::{arp, ip, ndisc};

const VIRTUAL: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 1]);

fuzz_target!(|input: &[u8]| {
    let Some(frame) = ip::Ethernet::parse(input) else { return };
    // Every parser sees it, whatever the EtherType says: ports may be wrong about that.
    if let Some(query) = arp::Query::parse(frame.payload) {
        let answer = arp::reply(VIRTUAL, &query);
        assert!(arp::Query::parse(&answer[14..]).is_none());
    }
    if let Some(query) = ndisc::Solicitation::parse(frame.payload, frame.source) {
        let answer = ndisc::solicited(VIRTUAL, &query, true);
        assert!(ndisc::Solicitation::parse(&answer[14..], VIRTUAL).is_none());
    }
    // The checksum of ICMPv6 is not to be guessed, so that of a Solicitation is mended.
    if let Some(mended) = mended(frame.payload) {
        let _ = ndisc::Solicitation::parse(&mended, frame.source);
    }
    for (envelope, payload) in [ip::parse_ipv4(frame.payload), ip::parse_ipv6(frame.payload)].into_iter().flatten() {
        assert!(payload.len() < frame.payload.len());
        let _ = Advertisement::parse(payload, &envelope);
    }
});

/// The IPv6 packet with the checksum that its ICMPv6 message wants.
fn mended(packet: &[u8]) -> Option<Vec<u8>> {
    use std::net::Ipv6Addr;
    use steadfast_core::wire::checksum::pseudo_header;

    let length = u16::from_be_bytes(packet.get(4..6)?.try_into().ok()?);
    let end = usize::from(length) + 40;
    let mut packet = packet.get(..end)?.to_vec();
    let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (source, destination) = (address(8)?, address(24)?);
    packet.get_mut(42..44)?.fill(0);
    let sum = pseudo_header(source.into(), destination.into(), 58, length).plus(&packet[40..]);
    packet[42..44].copy_from_slice(&sum.checksum().to_be_bytes());
    Some(packet)
}
