//! Multicast membership: which groups are said, when, and in whose language.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::*;
use steadfast_core::agent::{Link, RouterConfig};
use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr, Vrid};
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::ip::multicast_mac;
use steadfast_core::wire::ndisc::solicited_node;
use steadfast_core::wire::{GROUP_V4, GROUP_V6};

/// What a report says: its type, the type of its record (0 before IGMPv3 and MLDv2), the group.
type Said = (u8, u8, IpAddr);

fn said(frame: &[u8]) -> Option<Said> {
    let v4 = |at: usize| IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap()));
    let v6 = |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()));
    assert!(frame[6..12] != VIRTUAL_V4.0 && frame[6..12] != VIRTUAL_V6.0 || frame[23] != 2);
    match frame[12..14] {
        [8, 0] if frame[23] == 2 => {
            assert_eq!((frame[22], &frame[6..12]), (1, &STATION.0[..]));
            Some(match frame[38] {
                0x22 => (0x22, frame[46], v4(50)),
                old => (old, 0, v4(42)),
            })
        }
        [0x86, 0xdd] if frame[20] == 0 => {
            assert_eq!((frame[21], &frame[6..12]), (1, &STATION.0[..]));
            Some(match frame[62] {
                143 => (143, frame[66 + 4], v6(74)),
                old => (old, 0, v6(70)),
            })
        }
        _ => None,
    }
}

impl Bench {
    fn reports(&mut self) -> Vec<Said> {
        self.sent().iter().filter_map(|frame| said(frame)).collect()
    }
}

/// A query of IGMP: of version 3 if `newer`, which asks for an answer within a second.
fn igmp_query(newer: bool) -> Vec<u8> {
    let mut message = vec![0x11, 10, 0, 0, 0, 0, 0, 0];
    message.resize(if newer { 12 } else { 8 }, 0);
    let checksum = Sum::of(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let all = Ipv4Addr::new(224, 0, 0, 1);
    ipv4(multicast_mac(all.into()), OTHER, OTHER_V4, all, 2, &message)
}

/// The same of MLD.
fn mld_query(newer: bool) -> Vec<u8> {
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![130, 0, 0, 0, 3, 0xe8];
    message.resize(if newer { 28 } else { 24 }, 0);
    let length = message.len() as u8;
    let sum = pseudo_header(OTHER_V6.into(), all.into(), 58, length.into()).plus(&message).checksum();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let options = [58, 0, 5, 2, 0, 0, 1, 0];
    let packet =
        [&[0x60, 0, 0, 0, 0, length + 8, 0, 1][..], &OTHER_V6.octets(), &all.octets(), &options, &message].concat();
    ethernet(multicast_mac(all.into()), OTHER, 0x86dd, &packet)
}

#[test]
fn rfc3376_5_1_the_group_is_joined_when_the_link_comes_up_and_said_once_more() {
    let mut bench = Bench::new();
    bench.add(Family::V4);
    bench.poll();
    assert_eq!(bench.reports(), [(0x22, 4, GROUP_V4.into())]);
    assert!(bench.board.heard.contains(&(0, MacAddr([1, 0, 0x5e, 0, 0, 18]))));
    // Queries have to be heard too.
    assert!(bench.board.heard.contains(&(0, MacAddr([1, 0, 0x5e, 0, 0, 1]))));
    bench.run(Duration::from_millis(999));
    assert_eq!(bench.reports(), []);
    bench.run(Duration::from_millis(1));
    assert_eq!(bench.reports(), [(0x22, 4, GROUP_V4.into())]);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.reports(), []);
    bench.node.handle_link(bench.now, bench.lan, Link::Down);
    bench.run(Duration::from_secs(3));
    assert_eq!(bench.reports(), []);
    bench.node.handle_link(bench.now, bench.lan, Link::Up);
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.reports(), [(0x22, 4, GROUP_V4.into()); 2]);
}

#[test]
fn rfc3810_6_1_the_groups_of_ipv6_are_those_of_the_advertisements_and_of_the_addresses_that_are_served() {
    let mut bench = Bench::new();
    bench.add(Family::V6);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.reports(), [(143, 4, GROUP_V6.into()); 2]);
    bench.run(Duration::from_secs(5));
    let groups: BTreeSet<IpAddr> = bench.reports().into_iter().map(|(_, _, group)| group).collect();
    let solicited = [VIP_V6, GLOBAL_V6].map(|address| IpAddr::V6(solicited_node(address)));
    assert_eq!(groups, BTreeSet::from([GROUP_V6.into(), solicited[0], solicited[1]]));
    for group in solicited {
        assert!(bench.board.heard.contains(&(0, multicast_mac(group))));
    }
    // Who steps down leaves them, and stays in the group of the Advertisements.
    bench.receive(&advertisement(Family::V6, Some(200)));
    bench.poll();
    let left: BTreeSet<Said> = bench.reports().into_iter().collect();
    assert_eq!(left, solicited.map(|group| (143, 3, group)).into());
    assert!(!bench.board.heard.contains(&(0, multicast_mac(solicited[0]))));
    assert!(bench.board.heard.contains(&(0, multicast_mac(GROUP_V6.into()))));
}

#[test]
fn rfc3376_7_2_a_query_is_answered_in_its_own_version_within_its_time() {
    for (family, newer, kind, record) in [
        (Family::V4, true, 0x22, 2),
        (Family::V4, false, 0x16, 0),
        (Family::V6, true, 143, 2),
        (Family::V6, false, 131, 0),
    ] {
        let mut bench = Bench::backup(family);
        bench.run(Duration::from_secs(2));
        bench.sent();
        let query = if family == Family::V4 { igmp_query(newer) } else { mld_query(newer) };
        // The stack may have groups of its own.
        assert_eq!(bench.receive(&query).as_ref(), Some(&query));
        bench.poll();
        assert_eq!(bench.reports(), []);
        bench.run(Duration::from_millis(1000));
        let group = if family == Family::V4 { IpAddr::V4(GROUP_V4) } else { GROUP_V6.into() };
        assert_eq!(bench.reports(), [(kind, record, group)]);
        bench.run(Duration::from_millis(500));
        assert_eq!(bench.reports(), []);
    }
}

#[test]
fn rfc3376_7_2_1_an_older_querier_is_spoken_to_in_its_version_until_it_is_gone() {
    let mut bench = Bench::backup(Family::V4);
    bench.receive(&igmp_query(false));
    bench.run(Duration::from_secs(3));
    bench.sent();
    bench.receive(&igmp_query(true));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.reports(), [(0x16, 0, GROUP_V4.into())]);
    bench.run(Duration::from_secs(260));
    bench.sent();
    bench.receive(&igmp_query(true));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.reports(), [(0x22, 2, GROUP_V4.into())]);
}

#[test]
fn a_flood_of_queries_draws_a_bounded_number_of_reports() {
    let mut bench = Bench::backup(Family::V4);
    bench.run(Duration::from_secs(2));
    bench.sent();
    for _ in 0..1000 {
        let mut query = igmp_query(true);
        // Within no time at all.
        query[35] = 0;
        query[36..38].fill(0);
        let checksum = Sum::of(&query[34..]).checksum();
        query[36..38].copy_from_slice(&checksum.to_be_bytes());
        bench.receive(&query);
        bench.run(Duration::from_millis(1));
    }
    let reports = bench.reports().len();
    assert!((5..=20).contains(&reports), "{reports}");
}

#[test]
fn a_group_that_two_routers_need_is_left_with_the_last_one() {
    let mut bench = Bench::new();
    let first = bench.add(Family::V4);
    let mut settings = settings(Family::V4);
    settings.vrid = Vrid::new(8).unwrap();
    let addresses = [Ipv4Addr::new(192, 0, 2, 8).into()];
    let config = RouterConfig { interface: bench.lan, settings, addresses: &addresses, excluded: &[], peers: &[] };
    let second = bench.node.add(bench.now, &config).unwrap();
    bench.run(Duration::from_secs(2));
    // It is said once each time, not once for each router.
    assert_eq!(bench.reports().len(), 2);
    bench.node.remove(bench.now, first);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.reports(), []);
    let mac = (0, multicast_mac(GROUP_V4.into()));
    assert!(bench.board.heard.contains(&mac));
    bench.node.remove(bench.now, second);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.reports(), [(0x22, 3, GROUP_V4.into())]);
    assert!(!bench.board.heard.contains(&mac));
    assert_eq!(bench.node.agent().routers().count(), 0);
}

#[test]
fn another_group_of_the_configuration_is_joined_and_the_old_one_left() {
    let mut bench = Bench::new();
    let id = bench.add(Family::V4);
    bench.run(Duration::from_secs(2));
    bench.sent();
    let mut settings = settings(Family::V4);
    let group = Ipv4Addr::new(224, 0, 0, 200).into();
    settings.group = group;
    let addresses = [VIP_V4.into()];
    let config = RouterConfig { interface: bench.lan, settings, addresses: &addresses, excluded: &[], peers: &[] };
    bench.node.reconfigure(bench.now, id, &config, &mut bench.board).unwrap();
    bench.poll();
    assert_eq!(bench.reports(), [(0x22, 3, GROUP_V4.into()), (0x22, 4, group)]);
    assert!(bench.board.heard.contains(&(0, multicast_mac(group))));
}

#[test]
fn reports_that_the_hardware_had_no_room_for_come_a_little_later() {
    let mut bench = Bench::new();
    bench.board.refuse = 1;
    bench.add(Family::V4);
    bench.poll();
    assert_eq!(bench.reports(), []);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.reports().len(), 1);
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.reports().len(), 1);
}

#[test]
fn without_a_source_address_nothing_is_said() {
    let mut bench = Bench::new();
    bench.node.handle_source(bench.now, bench.lan, Family::V4, None);
    bench.add(Family::V4);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.reports(), []);
    bench.node.handle_source(bench.now, bench.lan, Family::V4, Some(OWN_V4.into()));
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.reports().len(), 2);
}
