//! A Router Advertisement as an Ethernet frame (RFC 4861 section 4.2; its options: sections 4.6.1, 4.6.2, 4.6.4, and
//! RFC 8106 section 5.1). When one is sent is decided elsewhere.

use std::net::Ipv6Addr;

use steadfast_core::wire::checksum::pseudo_header;
use steadfast_core::wire::ip::{ETHERTYPE_IPV6, multicast_mac};

use super::Service;
use crate::plan::radv::Prefix;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ICMPV6: u8 = 58;
const ROUTER_ADVERTISEMENT: u8 = 134;
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const SOURCE_LINK_LAYER: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const DNS: u8 = 25;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// The frame to all nodes. `farewell`: it is no router any more.
pub(super) fn frame(service: &Service, farewell: bool) -> Vec<u8> {
    let message = message(service, farewell);
    // As many prefixes and servers as a block may have are some 700 bytes.
    let length = message.len() as u16;
    let mut frame = Vec::with_capacity(54 + message.len());
    frame.extend(multicast_mac(ALL_NODES.into()).0);
    frame.extend(service.mac.0);
    frame.extend(ETHERTYPE_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(service.source.octets());
    frame.extend(ALL_NODES.octets());
    let pseudo = pseudo_header(service.source.into(), ALL_NODES.into(), ICMPV6, length);
    let [high, low] = pseudo.plus(&message).checksum().to_be_bytes();
    frame.extend([message[0], message[1], high, low]);
    frame.extend(&message[4..]);
    frame
}

/// The message with a checksum of 0.
fn message(service: &Service, farewell: bool) -> Vec<u8> {
    let what = &service.what;
    let flags = if what.managed { MANAGED } else { 0 } | if what.other { OTHER } else { 0 };
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, what.hop_limit, flags];
    message.extend(if farewell { 0 } else { what.lifetime }.to_be_bytes());
    // Reachable time and retransmission timer: unspecified.
    message.extend([0; 8]);
    // The length of an option counts eight bytes.
    message.extend([SOURCE_LINK_LAYER, 1]);
    message.extend(service.mac.0);
    if let Some(mtu) = what.mtu {
        message.extend([MTU, 1, 0, 0]);
        message.extend(mtu.to_be_bytes());
    }
    for prefix in &what.prefixes {
        let Prefix { address, length, valid, preferred, on_link, autonomous } = *prefix;
        let flags = if on_link { ON_LINK } else { 0 } | if autonomous { AUTONOMOUS } else { 0 };
        message.extend([PREFIX, 4, length, flags]);
        message.extend(valid.to_be_bytes());
        message.extend(preferred.to_be_bytes());
        message.extend([0; 4]);
        message.extend(address.octets());
    }
    if !what.dns.is_empty() {
        message.extend([DNS, 1 + 2 * what.dns.len() as u8, 0, 0]);
        let lifetime = if farewell { 0 } else { what.dns_lifetime() };
        message.extend(lifetime.to_be_bytes());
        message.extend(what.dns.iter().flat_map(|server| server.octets()));
    }
    message
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::radv::RouterAdvertisements;
    use steadfast_core::types::{Family, Vrid};

    #[test]
    fn rfc4861_4_2_a_router_advertisement_byte_by_byte() {
        let what = RouterAdvertisements {
            lifetime: 1800,
            hop_limit: 64,
            managed: true,
            other: true,
            mtu: Some(1500),
            prefixes: vec![Prefix {
                address: "2001:db8:1::".parse().unwrap(),
                length: 64,
                valid: 7200,
                preferred: 3600,
                on_link: true,
                autonomous: true,
            }],
            dns: vec!["2001:db8:1::53".parse().unwrap()],
            ..RouterAdvertisements::default()
        };
        let mac = Vrid::new(51).unwrap().virtual_mac(Family::V6);
        let mut service = Service { interface: 1, mac, source: "fe80::64".parse().unwrap(), what: Arc::new(what) };
        let sent = frame(&service, false);
        let mut expected = vec![0x33, 0x33, 0, 0, 0, 1, 0, 0, 0x5e, 0, 2, 51, 0x86, 0xdd];
        expected.extend([0x60, 0, 0, 0, 0, 88, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x64]);
        expected.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(sent[..54], expected);
        let message = &sent[54..];
        assert_eq!(message[..2], [134, 0]);
        assert_eq!(message[4..16], [64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message[16..32], [1, 1, 0, 0, 0x5e, 0, 2, 51, 5, 1, 0, 0, 0, 0, 5, 0xdc]);
        assert_eq!(message[32..44], [3, 4, 64, 0xc0, 0, 0, 0x1c, 0x20, 0, 0, 0x0e, 0x10]);
        assert_eq!(message[44..64], [0, 0, 0, 0, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message[64..72], [25, 3, 0, 0, 0, 0, 7, 8]);
        assert_eq!(message[72..], "2001:db8:1::53".parse::<Ipv6Addr>().unwrap().octets());
        let pseudo = pseudo_header(service.source.into(), ALL_NODES.into(), ICMPV6, 88);
        assert!(pseudo.plus(message).is_valid());
        // The last one: neither a router nor a name server any more, and the prefixes stay what they are.
        let last = frame(&service, true);
        assert_eq!((&last[60..62], &last[122..126]), (&[0, 0][..], &[0; 4][..]));
        assert_eq!(last[86..118], sent[86..118]);
        service.what = Arc::default();
        assert_eq!(frame(&service, false).len(), 14 + 40 + 16 + 8);
    }
}
