//! Multicast membership on the wire: reports and leaves of IGMPv2 (RFC 2236), IGMPv3 (RFC 3376), MLDv1 (RFC 2710)
//! and MLDv2 (RFC 3810), each about one group, and the queries that ask for them. When to send which is decided
//! in the node.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::time::Duration;
use steadfast_core::types::MacAddr;
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::ip::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, emit_ethernet, multicast_mac};

use crate::bytes::{ICMPV6, byte, ipv4_at, ipv6_at, octets, put, word_at};
use crate::echo::message_v4;

/// The IP protocol number of IGMP.
const IGMP: u8 = 2;

/// The groups that queries go to.
pub(crate) const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ALL_ROUTERS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const ALL_ROUTERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const IGMPV3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

const IGMP_QUERY: u8 = 0x11;
const IGMPV2_REPORT: u8 = 0x16;
const IGMPV2_LEAVE: u8 = 0x17;
const IGMPV3_REPORT: u8 = 0x22;
const MLD_QUERY: u8 = 130;
const MLDV1_REPORT: u8 = 131;
const MLDV1_DONE: u8 = 132;
const MLDV2_REPORT: u8 = 143;

/// The Router Alert option of IPv4 (RFC 2113), and the Hop-by-Hop header with that of IPv6 (RFC 2711) for MLD.
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
const HOP_BY_HOP: [u8; 8] = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];

/// Internetwork Control, as core's own packets.
const CONTROL: u8 = 0xc0;

/// The longest frame that is written here: a report of MLDv2.
pub(crate) const LONGEST: usize = ETHERNET_HEADER + 40 + 8 + 28;

/// A query, as far as it matters to who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// Of IGMPv2 or MLDv1; who asks would not understand a newer report.
    pub(crate) older: bool,
    /// The answer is to be there after this time.
    pub(crate) within: Duration,
}

/// What is said of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Somebody here listens now.
    Join,
    /// Somebody here listens, as asked.
    Current,
    /// Nobody here listens any more.
    Leave,
}

impl Message {
    /// The record type of IGMPv3 and MLDv2: CHANGE_TO_EXCLUDE_MODE and MODE_IS_EXCLUDE of no source, and
    /// CHANGE_TO_INCLUDE_MODE.
    const fn record(self) -> u8 {
        match self {
            Self::Join => 4,
            Self::Current => 2,
            Self::Leave => 3,
        }
    }
}

/// Writes a frame that says this of a group, from this station; its length.
pub(crate) fn emit(
    station: MacAddr,
    source: IpAddr,
    group: IpAddr,
    message: Message,
    older: bool,
    buffer: &mut [u8; LONGEST],
) -> Option<usize> {
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => emit_v4(station, source, group, message, older, buffer),
        (IpAddr::V6(source), IpAddr::V6(group)) => emit_v6(station, source, group, message, older, buffer),
        _ => None,
    }
}

fn emit_v4(
    station: MacAddr,
    source: Ipv4Addr,
    group: Ipv4Addr,
    message: Message,
    older: bool,
    buffer: &mut [u8; LONGEST],
) -> Option<usize> {
    const HEADER: usize = 24;
    const IP: usize = ETHERNET_HEADER;
    const BODY: usize = IP + HEADER;
    let (kind, destination, length) = match (older, message) {
        (false, _) => (IGMPV3_REPORT, IGMPV3_ROUTERS, 16_u8),
        (true, Message::Leave) => (IGMPV2_LEAVE, ALL_ROUTERS_V4, 8),
        (true, _) => (IGMPV2_REPORT, group, 8),
    };
    emit_ethernet(multicast_mac(destination.into()), station, ETHERTYPE_IPV4, buffer).ok()?;
    let total = length.saturating_add(HEADER as u8);
    put(buffer, IP, [0x46, CONTROL, 0, total, 0, 0, 0x40, 0, 1, IGMP, 0, 0])?;
    put(buffer, IP + 12, source.octets())?;
    put(buffer, IP + 16, destination.octets())?;
    put(buffer, IP + 20, ROUTER_ALERT)?;
    put(buffer, BODY, [kind, 0, 0, 0])?;
    if older {
        put(buffer, BODY + 4, group.octets())?;
    } else {
        put(buffer, BODY + 4, [0, 0, 0, 1, message.record(), 0, 0, 0])?;
        put(buffer, BODY + 12, group.octets())?;
    }
    let end = BODY.saturating_add(usize::from(length));
    let header = Sum::of(buffer.get(IP..BODY)?).checksum();
    put(buffer, IP + 10, header.to_be_bytes())?;
    let body = Sum::of(buffer.get(BODY..end)?).checksum();
    put(buffer, BODY + 2, body.to_be_bytes())?;
    Some(end)
}

fn emit_v6(
    station: MacAddr,
    source: Ipv6Addr,
    group: Ipv6Addr,
    message: Message,
    older: bool,
    buffer: &mut [u8; LONGEST],
) -> Option<usize> {
    const IP: usize = ETHERNET_HEADER;
    const OPTIONS: usize = IP + 40;
    const BODY: usize = OPTIONS + HOP_BY_HOP.len();
    let (kind, destination, length) = match (older, message) {
        (false, _) => (MLDV2_REPORT, MLDV2_ROUTERS, 28_u8),
        (true, Message::Leave) => (MLDV1_DONE, ALL_ROUTERS_V6, 24),
        (true, _) => (MLDV1_REPORT, group, 24),
    };
    emit_ethernet(multicast_mac(destination.into()), station, ETHERTYPE_IPV6, buffer).ok()?;
    let payload = length.saturating_add(HOP_BY_HOP.len() as u8);
    put(buffer, IP, [0x60 | (CONTROL >> 4), 0, 0, 0, 0, payload, 0, 1])?;
    put(buffer, IP + 8, source.octets())?;
    put(buffer, IP + 24, destination.octets())?;
    put(buffer, OPTIONS, HOP_BY_HOP)?;
    put(buffer, BODY, [kind, 0, 0, 0])?;
    if older {
        put(buffer, BODY + 4, [0; 4])?;
        put(buffer, BODY + 8, group.octets())?;
    } else {
        put(buffer, BODY + 4, [0, 0, 0, 1, message.record(), 0, 0, 0])?;
        put(buffer, BODY + 12, group.octets())?;
    }
    let end = BODY.saturating_add(usize::from(length));
    let pseudo = pseudo_header(source.into(), destination.into(), ICMPV6, u16::from(length));
    let checksum = pseudo.plus(buffer.get(BODY..end)?).checksum();
    put(buffer, BODY + 2, checksum.to_be_bytes())?;
    Some(end)
}

/// Reads an IPv4 packet, which may be padded, if it is a query of IGMP.
pub(crate) fn igmp_query(packet: &[u8]) -> Option<Query> {
    let message = message_v4(packet, IGMP)?;
    let [kind, code] = octets(message, 0)?;
    ipv4_at(message, 4)?;
    if kind != IGMP_QUERY {
        return None;
    }
    let older = message.len() < 12;
    // Tenths of a second; 0 is a query of version 1, which means ten seconds.
    let tenths = match code {
        0 if older => 100,
        128.. if !older => (u64::from(code & 0x0f) | 0x10) << ((code >> 4 & 0x07).saturating_add(3)),
        linear => u64::from(linear),
    };
    Some(Query { older, within: Duration::from_millis(tenths.saturating_mul(100)) })
}

/// Reads an IPv6 packet, which may be padded, if it is a query of MLD.
pub(crate) fn mld_query(packet: &[u8]) -> Option<Query> {
    const HEADER: usize = 40;
    const BODY: usize = HEADER + HOP_BY_HOP.len();
    // A Hop-by-Hop header of eight bytes with the Router Alert, and nothing else before the message.
    if byte(packet, 6)? != 0 || octets(packet, HEADER)? != [ICMPV6, 0] {
        return None;
    }
    let end = HEADER.saturating_add(usize::from(word_at(packet, 4)?));
    let message = packet.get(BODY..end)?;
    if byte(message, 0)? != MLD_QUERY {
        return None;
    }
    ipv6_at(message, 8)?;
    let source = ipv6_at(packet, 8)?;
    let pseudo = pseudo_header(source.into(), ipv6_at(packet, 24)?.into(), ICMPV6, u16::try_from(message.len()).ok()?);
    if !source.is_unicast_link_local() || byte(packet, 7)? != 1 || !pseudo.plus(message).is_valid() {
        return None;
    }
    let older = message.len() < 28;
    let millis = match word_at(message, 4)? {
        code @ 0x8000.. if !older => (u64::from(code & 0x0fff) | 0x1000) << ((code >> 12 & 0x07).saturating_add(3)),
        linear => u64::from(linear),
    };
    Some(Query { older, within: Duration::from_millis(millis) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
    const GROUP_V4: IpAddr = IpAddr::V4(steadfast_core::wire::GROUP_V4);
    const GROUP_V6: IpAddr = IpAddr::V6(steadfast_core::wire::GROUP_V6);

    fn frame(source: IpAddr, group: IpAddr, message: Message, older: bool) -> std::vec::Vec<u8> {
        let mut buffer = [0; LONGEST];
        let length = emit(STATION, source, group, message, older, &mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn rfc3376_4_2_a_report_of_version_3_byte_by_byte() {
        let report = frame(SOURCE_V4, GROUP_V4, Message::Join, false);
        assert_eq!(report[..14], [1, 0, 0x5e, 0, 0, 22, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(report[14..18], [0x46, 0xc0, 0, 40]);
        assert_eq!(report[22..24], [1, 2]);
        assert!(Sum::of(&report[14..38]).is_valid());
        assert_eq!(report[26..38], [192, 0, 2, 2, 224, 0, 0, 22, 0x94, 4, 0, 0]);
        assert_eq!(report[38..40], [0x22, 0]);
        assert_eq!(report[42..], [0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 18]);
        assert!(Sum::of(&report[38..]).is_valid());
        assert_eq!(frame(SOURCE_V4, GROUP_V4, Message::Current, false)[46], 2);
        assert_eq!(frame(SOURCE_V4, GROUP_V4, Message::Leave, false)[46], 3);
    }

    #[test]
    fn rfc2236_2_a_report_and_a_leave_of_version_2() {
        let report = frame(SOURCE_V4, GROUP_V4, Message::Join, true);
        assert_eq!(report[..6], [1, 0, 0x5e, 0, 0, 18]);
        assert_eq!((report[16..18].to_vec(), report[30..34].to_vec()), (vec![0, 32], vec![224, 0, 0, 18]));
        assert_eq!((report[38], &report[42..]), (0x16, &[224, 0, 0, 18][..]));
        assert!(Sum::of(&report[38..]).is_valid());
        let leave = frame(SOURCE_V4, GROUP_V4, Message::Leave, true);
        assert_eq!((leave[38], leave[30..34].to_vec(), leave[5]), (0x17, vec![224, 0, 0, 2], 2));
    }

    #[test]
    fn rfc3810_5_2_a_report_of_version_2_byte_by_byte() {
        let report = frame(SOURCE_V6, GROUP_V6, Message::Join, false);
        assert_eq!(report.len(), LONGEST);
        assert_eq!(report[..6], [0x33, 0x33, 0, 0, 0, 0x16]);
        assert_eq!(report[14..22], [0x6c, 0, 0, 0, 0, 36, 0, 1]);
        assert_eq!(report[54..62], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!((report[62], report[66..74].to_vec()), (143, vec![0, 0, 0, 1, 4, 0, 0, 0]));
        assert_eq!(report[74..90], steadfast_core::wire::GROUP_V6.octets());
        let pseudo = pseudo_header(SOURCE_V6, MLDV2_ROUTERS.into(), 58, 28);
        assert!(pseudo.plus(&report[62..]).is_valid());
    }

    #[test]
    fn rfc2710_3_a_report_and_a_done_of_version_1() {
        let report = frame(SOURCE_V6, GROUP_V6, Message::Current, true);
        assert_eq!((report[..6].to_vec(), report[62], report.len()), (vec![0x33, 0x33, 0, 0, 0, 0x12], 131, 86));
        assert_eq!(report[70..], steadfast_core::wire::GROUP_V6.octets());
        let done = frame(SOURCE_V6, GROUP_V6, Message::Leave, true);
        assert_eq!((done[..6].to_vec(), done[62]), (vec![0x33, 0x33, 0, 0, 0, 2], 132));
        let pseudo = pseudo_header(SOURCE_V6, ALL_ROUTERS_V6.into(), 58, 24);
        assert!(pseudo.plus(&done[62..]).is_valid());
    }

    /// A query of IGMP with this code and so many bytes.
    fn igmp(code: u8, length: usize) -> std::vec::Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 24 + length as u8, 0, 0, 0, 0, 1, 2, 0, 0, 192, 0, 2, 9, 224, 0, 0, 1];
        packet.extend(ROUTER_ALERT);
        let mut message = vec![0; length];
        (message[0], message[1]) = (IGMP_QUERY, code);
        let sum = Sum::of(&message).checksum();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        packet.extend(message);
        packet
    }

    #[test]
    fn rfc3376_7_1_the_version_of_a_query_is_that_of_its_length() {
        let within = |tenths: u64| Duration::from_millis(tenths * 100);
        assert_eq!(igmp_query(&igmp(0, 8)), Some(Query { older: true, within: within(100) }));
        assert_eq!(igmp_query(&igmp(200, 8)), Some(Query { older: true, within: within(200) }));
        assert_eq!(igmp_query(&igmp(100, 12)), Some(Query { older: false, within: within(100) }));
        // RFC 3376 section 4.1.1: mantissa 5, exponent 2.
        assert_eq!(igmp_query(&igmp(0xa5, 12)), Some(Query { older: false, within: within(0x15 << 5) }));
    }

    #[test]
    fn what_is_no_query_is_none() {
        let good = igmp(100, 12);
        for length in 0..good.len() {
            assert_eq!(igmp_query(&good[..length]), None, "{length}");
        }
        for at in 24..good.len() {
            let mut packet = good.clone();
            packet[at] ^= 1;
            assert_eq!(igmp_query(&packet), None, "{at}");
        }
        let report = frame(SOURCE_V4, GROUP_V4, Message::Join, false);
        assert_eq!(igmp_query(&report[14..]), None);
        assert_eq!(mld_query(&frame(SOURCE_V6, GROUP_V6, Message::Join, false)[14..]), None);
    }

    /// A query of MLD with this code and so many bytes.
    fn mld(code: u16, length: usize) -> std::vec::Vec<u8> {
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
        let mut message = vec![0; length];
        message[0] = MLD_QUERY;
        message[4..6].copy_from_slice(&code.to_be_bytes());
        let sum = pseudo_header(source.into(), ALL_NODES.into(), 58, length as u16).plus(&message).checksum();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![0x60, 0, 0, 0, 0, 8 + length as u8, 0, 1];
        packet.extend(source.octets());
        packet.extend(ALL_NODES.octets());
        packet.extend(HOP_BY_HOP);
        packet.extend(message);
        packet
    }

    #[test]
    fn rfc3810_8_1_the_version_of_a_query_is_that_of_its_length() {
        let within = Duration::from_millis;
        assert_eq!(mld_query(&mld(1000, 24)), Some(Query { older: true, within: within(1000) }));
        assert_eq!(mld_query(&mld(0x9001, 24)), Some(Query { older: true, within: within(0x9001) }));
        assert_eq!(mld_query(&mld(1000, 28)), Some(Query { older: false, within: within(1000) }));
        assert_eq!(mld_query(&mld(0x9001, 28)), Some(Query { older: false, within: within(0x1001 << 4) }));
        let good = mld(1000, 28);
        for length in 0..good.len() {
            assert_eq!(mld_query(&good[..length]), None, "{length}");
        }
        for at in (6..24).chain(48..good.len()) {
            let mut packet = good.clone();
            packet[at] ^= 1;
            assert_eq!(mld_query(&packet), None, "{at}");
        }
    }
}
