//! Frames of the node and of the stack on their way out: which MAC address they have, everywhere in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::*;
use steadfast_core::agent::{RouterConfig, State};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr};

const AWAY_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

fn from_stack_v4(source: Ipv4Addr) -> Vec<u8> {
    ipv4(OTHER, STATION, source, AWAY_V4, 17, &[0x30, 0x39, 0, 7, 0, 8, 0, 0])
}

/// A message of Neighbour Discovery from the stack, with a link-layer option behind `length` bytes.
fn from_stack_v6(source: Ipv6Addr, kind: u8, target: Option<Ipv6Addr>, length: usize) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.iter().flat_map(Ipv6Addr::octets));
    message.resize(length, 0);
    // An option before it that is none of these: the MTU.
    message.extend([5, 1, 0, 0, 0, 0, 5, 220]);
    message.extend([if kind == 136 { 2 } else { 1 }, 1]);
    message.extend(STATION.0);
    icmpv6(OTHER, STATION, source, OTHER_V6, &message)
}

#[test]
fn rfc9568_7_3_advertisements_leave_with_the_virtual_mac() {
    for (family, mac, group) in
        [(Family::V4, VIRTUAL_V4, [1, 0, 0x5e, 0, 0, 18]), (Family::V6, VIRTUAL_V6, [0x33, 0x33, 0, 0, 0, 0x12])]
    {
        let mut bench = Bench::active(family);
        bench.run(Duration::from_secs(1));
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((&sent[0][..6], &sent[0][6..12]), (&group[..], &mac.0[..]));
        // From the interface's own address.
        match family {
            Family::V4 => assert_eq!(sent[0][26..30], OWN_V4.octets()),
            Family::V6 => assert_eq!(sent[0][22..38], OWN_V6.octets()),
        }
    }
}

#[test]
fn rfc9568_6_4_1_an_active_announces_its_addresses_with_the_virtual_mac() {
    let mut bench = Bench::new();
    bench.add(Family::V4);
    bench.add(Family::V6);
    bench.run(Duration::from_secs(4));
    let sent = bench.sent();
    let own = arp(MacAddr::BROADCAST, 1, VIRTUAL_V4, VIP_V4, VIP_V4);
    let arps: Vec<_> = sent.iter().filter(|frame| frame[12..14] == [8, 6]).collect();
    assert_eq!(arps.len(), 5);
    assert!(arps.iter().all(|frame| frame[..32] == own[..32] && frame[38..] == own[38..]));
    let neighbours: Vec<_> = sent.iter().filter(|frame| frame[20] == 58 && frame[54] == 136).collect();
    assert_eq!(neighbours.len(), 10);
    for frame in neighbours {
        assert_eq!((&frame[..6], &frame[6..12]), (&[0x33, 0x33, 0, 0, 0, 1][..], &VIRTUAL_V6.0[..]));
        assert_eq!((frame[58], &frame[80..86]), (0xa0, &VIRTUAL_V6.0[..]));
    }
}

#[test]
fn rfc9568_8_1_2_nothing_is_announced_before_filter_and_hook_were_told() {
    let mut bench = Bench::new();
    bench.add_with(Family::V4, |settings| settings.accept = true);
    bench.poll();
    while bench.state() != State::Active {
        assert!(bench.board.ours.is_empty() && bench.board.addresses.is_empty());
        bench.now = bench.poll().unwrap();
        bench.node.poll(bench.now, &mut bench.board);
    }
    assert!(bench.board.heard.contains(&(0, VIRTUAL_V4)));
    assert_eq!(bench.board.addresses.iter().collect::<Vec<_>>(), [&IpAddr::V4(VIP_V4)]);
}

#[test]
fn rfc9568_8_1_2_what_the_stack_sends_from_the_address_leaves_with_the_virtual_mac() {
    let mut bench = Bench::active(Family::V4);
    let sent = bench.transmit(&from_stack_v4(VIP_V4)).unwrap();
    assert_eq!(sent, ipv4(OTHER, VIRTUAL_V4, VIP_V4, AWAY_V4, 17, &[0x30, 0x39, 0, 7, 0, 8, 0, 0]));
    assert_eq!(bench.transmit(&from_stack_v4(OWN_V4)), Some(from_stack_v4(OWN_V4)));
    // "Who has the other, tell the virtual address": its ARP entry for us shall be the virtual MAC address.
    let question = |from, sender| arp(MacAddr::BROADCAST, 1, from, sender, OTHER_V4);
    assert_eq!(bench.transmit(&question(STATION, VIP_V4)), Some(question(VIRTUAL_V4, VIP_V4)));
    assert_eq!(bench.transmit(&question(STATION, OWN_V4)), Some(question(STATION, OWN_V4)));
    let probe = |from| arp(MacAddr::BROADCAST, 1, from, Ipv4Addr::UNSPECIFIED, VIP_V4);
    assert_eq!(bench.transmit(&probe(STATION)), Some(probe(VIRTUAL_V4)));
}

#[test]
fn rfc9568_8_2_2_neighbour_discovery_of_the_stack_says_the_virtual_mac_everywhere() {
    let mut bench = Bench::active(Family::V6);
    for (kind, source, target, length) in [
        (133, VIP_V6, None, 8),
        (134, VIP_V6, None, 16),
        (135, VIP_V6, Some(OTHER_V6), 24),
        (136, VIP_V6, Some(VIP_V6), 24),
        // An Advertisement for the virtual address from the station's own.
        (136, OWN_V6, Some(GLOBAL_V6), 24),
    ] {
        let frame = from_stack_v6(source, kind, target, length);
        let sent = bench.transmit(&frame).unwrap();
        assert_eq!(sent[6..12], VIRTUAL_V6.0, "{kind}");
        assert_eq!(sent[sent.len() - 6..], VIRTUAL_V6.0, "{kind}");
        assert!(icmpv6_is_valid(&sent), "{kind}");
        assert_eq!(sent.len(), frame.len());
    }
    // The station's own business stays its own.
    for (kind, target, length) in [(134, None, 16), (135, Some(OTHER_V6), 24), (136, Some(OWN_V6), 24)] {
        let frame = from_stack_v6(OWN_V6, kind, target, length);
        assert_eq!(bench.transmit(&frame), Some(frame));
    }
}

#[test]
fn rfc9568_6_4_2_a_backup_sends_nothing_from_the_address() {
    let mut bench = Bench::backup(Family::V4);
    assert_eq!(bench.transmit(&from_stack_v4(VIP_V4)), None);
    assert_eq!(bench.transmit(&arp(MacAddr::BROADCAST, 1, STATION, VIP_V4, OTHER_V4)), None);
    assert_eq!(bench.transmit(&arp(OTHER, 2, STATION, VIP_V4, OTHER_V4)), None);
    assert!(bench.transmit(&from_stack_v4(OWN_V4)).is_some());
    let mut bench = Bench::backup(Family::V6);
    assert_eq!(bench.transmit(&from_stack_v6(VIP_V6, 134, None, 16)), None);
    assert_eq!(bench.transmit(&from_stack_v6(OWN_V6, 136, Some(VIP_V6), 24)), None);
    assert!(bench.transmit(&from_stack_v6(OWN_V6, 134, None, 16)).is_some());
}

#[test]
fn frames_leave_with_the_tag_of_their_vlan() {
    let mut bench = Bench::with_vlan(Some(300));
    bench.add(Family::V4);
    bench.run(Duration::from_secs(5));
    let sent = bench.sent();
    assert!(sent.len() > 5);
    assert!(sent.iter().all(|frame| frame[12..16] == [0x81, 0, 0xc1, 0x2c]));
    let own = from_stack_v4(OWN_V4);
    assert_eq!(bench.transmit(&own), Some(tagged(&own, 300)));
    // Without room for the tag nothing leaves.
    let mut exact = own.clone();
    assert_eq!(bench.node.transmit(bench.lan, &mut exact, own.len()), None);
}

#[test]
fn frames_of_the_stack_of_every_length_do_no_harm() {
    let mut bench = Bench::active(Family::V6);
    bench.add(Family::V4);
    bench.run(Duration::from_secs(5));
    let frames = [
        from_stack_v4(VIP_V4),
        arp(OTHER, 2, STATION, VIP_V4, OTHER_V4),
        from_stack_v6(VIP_V6, 136, Some(VIP_V6), 24),
        from_stack_v6(VIP_V6, 134, None, 16),
    ];
    for frame in frames {
        for length in 0..frame.len() {
            if let Some(sent) = bench.transmit(&frame[..length]) {
                // Whatever can be seen to be of the virtual address is not the station's.
                assert_eq!(sent.len(), length);
            }
        }
    }
    // More than the buffer has.
    assert_eq!(bench.node.transmit(bench.lan, &mut [0; 60], 61), None);
    assert_eq!(bench.node.transmit(bench.lan, &mut [0; 60], usize::MAX), None);
}

#[test]
fn an_option_of_length_nothing_is_not_sent() {
    let mut bench = Bench::active(Family::V6);
    let mut frame = from_stack_v6(VIP_V6, 134, None, 16);
    frame[54 + 17] = 0;
    assert_eq!(bench.transmit(&frame), None);
}

#[test]
fn a_frame_that_the_hardware_has_no_room_for_is_counted_and_the_next_one_sent() {
    let mut bench = Bench::active(Family::V4);
    bench.board.refuse = 1;
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.node.refused(), 1);
}

#[test]
fn the_stack_holds_the_addresses_only_where_packets_to_them_are_accepted() {
    for accept in [false, true] {
        let mut bench = Bench::active_with(Family::V6, |settings| settings.accept = accept);
        assert_eq!(bench.board.addresses.len(), if accept { 2 } else { 0 });
        bench.receive(&advertisement(Family::V6, Some(200)));
        bench.poll();
        assert!(bench.board.addresses.is_empty() && bench.board.ours.is_empty());
        assert!(!bench.board.heard.contains(&(0, VIRTUAL_V6)));
    }
}

#[test]
fn another_configuration_changes_what_the_stack_holds_without_a_change_of_state() {
    let mut bench = Bench::active_with(Family::V4, |settings| settings.accept = true);
    let id = bench.node.agent().routers().next().unwrap();
    let mut settings = settings(Family::V4);
    settings.accept = true;
    let other: IpAddr = Ipv4Addr::new(192, 0, 2, 77).into();
    let put = |bench: &mut Bench, settings, addresses: &[IpAddr]| {
        let config = RouterConfig { interface: bench.lan, settings, addresses, excluded: &[], peers: &[] };
        let result = bench.node.reconfigure(bench.now, id, &config, &mut bench.board);
        bench.poll();
        result
    };
    put(&mut bench, settings, &[other]).unwrap();
    assert_eq!(bench.board.addresses.iter().collect::<Vec<_>>(), [&other]);
    // It is somebody else's now.
    assert!(bench.receive(&who_has(VIP_V4)).is_some());
    // What is refused changes nothing.
    let too_many = [VIP_V4.into(); 20];
    assert!(put(&mut bench, settings, &too_many).is_err());
    assert_eq!(bench.board.addresses.iter().collect::<Vec<_>>(), [&other]);
    settings.accept = false;
    put(&mut bench, settings, &[other]).unwrap();
    assert!(bench.board.addresses.is_empty());
    assert_eq!(bench.state(), State::Active);
    assert!(bench.board.ours.contains(&(0, VIRTUAL_V4)));
}

#[test]
fn several_ports_have_their_own_routers() {
    let mut bench = Bench::new();
    let second = bench.node.add_port(MacAddr([2, 0, 0, 0, 0, 3]), None).unwrap();
    bench.up(second, 3);
    bench.add(Family::V4);
    let first = bench.lan;
    bench.lan = second;
    bench.add(Family::V4);
    bench.run(Duration::from_secs(5));
    let of =
        |port: usize| bench.board.sent.iter().filter(move |(on, frame)| *on == port && frame[6..12] == VIRTUAL_V4.0);
    assert!(of(0).count() > 5 && of(1).count() > 5);
    assert!(of(1).all(|(_, frame)| frame[12..14] == [8, 6] || frame[26..30] == [192, 0, 2, 3]));
    // One that hears another Active on one port is Active on the other.
    bench.receive(&advertisement(Family::V4, Some(200)));
    bench.poll();
    assert_eq!(bench.board.ours.iter().collect::<Vec<_>>(), [&(0, VIRTUAL_V4)]);
    bench.lan = first;
    assert_eq!(bench.ask(&who_has(VIP_V4)).len(), 1);
    // There is no fourth port.
    bench.node.add_port(STATION, None).unwrap();
    assert!(bench.node.add_port(STATION, None).is_err());
}

#[test]
fn take_over_is_at_the_deadline_and_not_later() {
    let mut bench = Bench::backup(Family::V4);
    bench.receive(&advertisement(Family::V4, Some(200)));
    let heard = bench.now;
    bench.run(Duration::from_secs(3));
    assert!(bench.board.sent.iter().all(|(_, frame)| frame[6..12] != VIRTUAL_V4.0));
    let at = bench.poll().unwrap();
    bench.sent();
    assert_eq!(at.since(heard), Duration::from_micros(3_609_375));
    bench.now = at;
    bench.poll();
    assert_eq!(bench.sent()[0][6..12], VIRTUAL_V4.0);
    assert!(at > Instant::from_micros(0));
}
