//! Frames from the wire: what is answered, what the stack sees, and what nobody does.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::common::*;
use steadfast_core::agent::State;
use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr, Priority};
use steadfast_core::wire::ip::multicast_mac;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// An IPv4 packet of UDP to this address.
fn packet(to: MacAddr, target: Ipv4Addr) -> Vec<u8> {
    ipv4(to, OTHER, OTHER_V4, target, 17, &[0x30, 0x39, 0, 7, 0, 8, 0, 0])
}

/// An ICMPv6 echo request to this address.
fn echo(to: MacAddr, target: Ipv6Addr) -> Vec<u8> {
    icmpv6(to, OTHER, OTHER_V6, target, &[128, 0, 0, 0, 0, 1, 0, 1])
}

#[test]
fn rfc9568_8_1_2_an_active_answers_arp_with_the_virtual_mac() {
    let mut bench = Bench::active(Family::V4);
    let answers = bench.ask(&who_has(VIP_V4));
    assert_eq!(answers, [arp_answer(OTHER, OTHER_V4)]);
    // A probe whether the address is free is answered too (RFC 5227).
    let probe = arp(MacAddr::BROADCAST, 1, OTHER, Ipv4Addr::UNSPECIFIED, VIP_V4);
    assert_eq!(bench.ask(&probe), [arp_answer(OTHER, Ipv4Addr::UNSPECIFIED)]);
    // Somebody who wants to have it hears that it is taken.
    let claim = arp(MacAddr::BROADCAST, 1, OTHER, VIP_V4, VIP_V4);
    assert_eq!(bench.ask(&claim), [arp_answer(OTHER, VIP_V4)]);
}

fn arp_answer(to: MacAddr, asker: Ipv4Addr) -> Vec<u8> {
    let mut frame = arp(to, 2, VIRTUAL_V4, VIP_V4, asker);
    frame[32..38].copy_from_slice(&to.0);
    frame
}

#[test]
fn rfc9568_8_2_2_an_active_answers_solicitations_with_the_virtual_mac() {
    let mut bench = Bench::active(Family::V6);
    for target in [VIP_V6, GLOBAL_V6] {
        let answers = bench.ask(&solicitation(OTHER_V6, target));
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((&answer[..6], &answer[6..12]), (&OTHER.0[..], &VIRTUAL_V6.0[..]));
        // Router, Solicited, Override; the target; the target's link-layer address.
        assert_eq!((answer[54], answer[58] & 0xe0), (136, 0xe0));
        assert_eq!((&answer[62..78], &answer[78..80]), (&target.octets()[..], &[2, 1][..]));
        assert_eq!(answer[80..86], VIRTUAL_V6.0);
        assert!(icmpv6_is_valid(answer));
        // Duplicate address detection: to all nodes, not as solicited.
        let answers = bench.ask(&solicitation(Ipv6Addr::UNSPECIFIED, target));
        assert_eq!((&answers[0][..6], answers[0][58] & 0xe0), (&[0x33, 0x33, 0, 0, 0, 1][..], 0xa0));
    }
}

#[test]
fn rfc9568_6_4_2_a_backup_answers_neither_arp_nor_solicitations() {
    let mut bench = Bench::backup(Family::V4);
    assert_eq!(bench.ask(&who_has(VIP_V4)), Vec::<Vec<u8>>::new());
    let mut bench = Bench::backup(Family::V6);
    assert_eq!(bench.ask(&solicitation(OTHER_V6, VIP_V6)), Vec::<Vec<u8>>::new());
    assert_eq!(bench.ask(&solicitation(Ipv6Addr::UNSPECIFIED, VIP_V6)), Vec::<Vec<u8>>::new());
}

#[test]
fn rfc9568_6_4_3_who_steps_down_answers_no_question_that_came_before() {
    let mut bench = Bench::active(Family::V4);
    assert_eq!(bench.receive(&who_has(VIP_V4)), None);
    assert_eq!(bench.receive(&advertisement(Family::V4, Some(200))), None);
    bench.poll();
    assert_eq!(bench.state(), State::Backup);
    // Its farewell, an Advertisement, is all that it says.
    assert!(bench.sent().iter().all(|frame| frame[12..14] == [8, 0] && frame[23] == 112));
}

#[test]
fn rfc9568_6_4_1_in_initialize_neither_arp_nor_solicitations_are_answered() {
    for family in FAMILIES {
        let mut bench = Bench::new();
        bench.node.handle_source(bench.now, bench.lan, family, None);
        bench.add(family);
        bench.poll();
        bench.sent();
        assert_eq!(bench.state(), State::Initialize);
        let question = if family == Family::V4 { who_has(VIP_V4) } else { solicitation(OTHER_V6, VIP_V6) };
        assert_eq!(bench.ask(&question), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn questions_for_others_are_the_stacks() {
    let mut bench = Bench::active(Family::V4);
    for question in [who_has(OWN_V4), solicitation(OTHER_V6, OWN_V6)] {
        assert_eq!(bench.receive(&question).as_ref(), Some(&question));
    }
    bench.poll();
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
}

#[test]
fn somebody_elses_claim_to_an_address_that_is_served_is_not_handed_up() {
    let mut bench = Bench::active(Family::V4);
    assert_eq!(bench.ask(&arp(STATION, 2, OTHER, VIP_V4, OWN_V4)), Vec::<Vec<u8>>::new());
    let mut bench = Bench::active(Family::V6);
    assert_eq!(bench.ask(&neighbour(STATION, OTHER, VIP_V6, OWN_V6, VIP_V6)), Vec::<Vec<u8>>::new());
    // A Backup may learn where the Active is.
    let mut bench = Bench::backup(Family::V4);
    assert!(bench.receive(&arp(STATION, 2, VIRTUAL_V4, VIP_V4, OWN_V4)).is_some());
    let mut bench = Bench::backup(Family::V6);
    assert!(bench.receive(&neighbour(STATION, VIRTUAL_V6, VIP_V6, OWN_V6, VIP_V6)).is_some());
}

#[test]
fn its_own_announcement_that_comes_back_is_not_answered() {
    let mut bench = Bench::active(Family::V4);
    let own = arp(MacAddr::BROADCAST, 1, VIRTUAL_V4, VIP_V4, VIP_V4);
    assert_eq!(bench.ask(&own), Vec::<Vec<u8>>::new());
}

#[test]
fn a_flood_of_questions_is_bounded_and_a_question_is_answered_once() {
    let mut bench = Bench::active(Family::V4);
    for asker in 0..=255 {
        for _ in 0..3 {
            let from = MacAddr([2, 0, 0, 0, 1, asker]);
            bench.receive(&arp(MacAddr::BROADCAST, 1, from, OTHER_V4, VIP_V4));
        }
    }
    bench.poll();
    let answered = bench.sent();
    assert!((4..=16).contains(&answered.len()), "{}", answered.len());
    let askers: std::collections::BTreeSet<_> = answered.iter().map(|frame| frame[..6].to_vec()).collect();
    assert_eq!(askers.len(), answered.len());
}

#[test]
fn rfc9568_6_4_3_an_active_hands_up_what_is_routed_through_it() {
    let away = Ipv4Addr::new(203, 0, 113, 5);
    let mut bench = Bench::active(Family::V4);
    assert_eq!(bench.receive(&packet(VIRTUAL_V4, away)), Some(packet(STATION, away)));
    let away = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 5);
    let mut bench = Bench::active(Family::V6);
    assert_eq!(bench.receive(&echo(VIRTUAL_V6, away)), Some(echo(STATION, away)));
}

#[test]
fn rfc9568_6_4_2_a_backup_drops_what_is_sent_to_the_virtual_mac() {
    let mut bench = Bench::backup(Family::V4);
    assert_eq!(bench.receive(&packet(VIRTUAL_V4, Ipv4Addr::new(203, 0, 113, 5))), None);
    assert_eq!(bench.receive(&packet(VIRTUAL_V4, VIP_V4)), None);
    // Nor does it take packets to the address that come to its own.
    assert_eq!(bench.receive(&packet(STATION, VIP_V4)), None);
    assert_eq!(bench.receive(&packet(STATION, OWN_V4)), Some(packet(STATION, OWN_V4)));
}

#[test]
fn rfc9568_6_4_3_packets_to_the_address_are_taken_with_accept_mode_only() {
    for accept in [false, true] {
        let mut bench = Bench::active_with(Family::V4, |settings| settings.accept = accept);
        let up = bench.receive(&packet(VIRTUAL_V4, VIP_V4));
        assert_eq!(up, accept.then(|| packet(STATION, VIP_V4)));
        let mut bench = Bench::active_with(Family::V6, |settings| settings.accept = accept);
        let up = bench.receive(&echo(VIRTUAL_V6, GLOBAL_V6));
        assert_eq!(up, accept.then(|| echo(STATION, GLOBAL_V6)));
    }
}

#[test]
fn rfc9568_6_4_3_the_owner_takes_packets_to_its_address_without_accept_mode() {
    let mut bench = Bench::active_with(Family::V4, |settings| settings.priority = Priority::OWNER);
    assert!(bench.receive(&packet(VIRTUAL_V4, VIP_V4)).is_some());
}

#[test]
fn rfc9568_6_1_neighbour_discovery_is_not_dropped_for_want_of_accept_mode() {
    let mut bench = Bench::active(Family::V6);
    // The answer to a question that was asked from the virtual address.
    let answer = neighbour(VIRTUAL_V6, OTHER, OTHER_V6, VIP_V6, OTHER_V6);
    let up = bench.receive(&answer).expect("handed up");
    assert_eq!((&up[..6], &up[6..]), (&STATION.0[..], &answer[6..]));
    // Whether the neighbour is still there, as asked of the router.
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &OWN_V6.octets()].concat();
    assert!(bench.receive(&icmpv6(VIRTUAL_V6, OTHER, OTHER_V6, VIP_V6, &message)).is_some());
    assert!(bench.receive(&echo(VIRTUAL_V6, VIP_V6)).is_none());
}

#[test]
fn rfc9568_8_3_1_a_packet_to_the_address_that_comes_to_the_station_is_not_handed_up_either() {
    let mut bench = Bench::active(Family::V4);
    assert_eq!(bench.receive(&packet(STATION, VIP_V4)), None);
}

#[test]
fn rfc9568_7_1_an_advertisement_is_taken_and_never_handed_up() {
    for family in FAMILIES {
        let mut bench = Bench::active(family);
        assert_eq!(bench.receive(&advertisement(family, Some(200))), None);
        bench.poll();
        assert_eq!(bench.state(), State::Backup);
        let view = bench.node.agent().view(bench.node.agent().routers().next().unwrap()).unwrap();
        assert_eq!(view.counters.advertisement_rcvd, 1);
    }
}

#[test]
fn rfc9568_7_1_an_advertisement_to_another_mac_address_than_the_groups_is_dropped() {
    for to in [STATION, MacAddr::BROADCAST, VIRTUAL_V4, MacAddr([1, 0, 0x5e, 0, 0, 19])] {
        let mut bench = Bench::active(Family::V4);
        let mut frame = advertisement(Family::V4, Some(200));
        frame[..6].copy_from_slice(&to.0);
        assert_eq!(bench.receive(&frame), None);
        bench.poll();
        assert_eq!(bench.state(), State::Active, "{to}");
    }
}

#[test]
fn rfc791_3_1_a_fragment_of_protocol_112_is_dropped() {
    for (flags, offset) in [(0x20, 0), (0, 1), (0x20, 9)] {
        let mut bench = Bench::active(Family::V4);
        let mut frame = advertisement(Family::V4, Some(200));
        (frame[20], frame[21]) = (flags, offset);
        frame[24..26].fill(0);
        let checksum = steadfast_core::wire::checksum::Sum::of(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(bench.receive(&frame), None);
        bench.poll();
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn rfc9568_7_1_an_advertisement_is_read_at_the_true_length_of_its_ip_header() {
    let mut bench = Bench::active(Family::V4);
    let mut frame = advertisement(Family::V4, Some(200));
    // A Router Alert.
    frame.splice(34..34, [0x94, 4, 0, 0]);
    frame[14] = 0x46;
    frame[17] += 4;
    frame[24..26].fill(0);
    let checksum = steadfast_core::wire::checksum::Sum::of(&frame[14..38]).checksum();
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    bench.receive(&frame);
    bench.poll();
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn rfc9568_1_1_ipv4_and_ipv6_of_one_vrid_are_two_routers_with_two_mac_addresses() {
    let mut bench = Bench::new();
    let (v4, v6) = (bench.add(Family::V4), bench.add(Family::V6));
    bench.run(Duration::from_secs(15));
    assert!(bench.board.ours.contains(&(0, VIRTUAL_V4)) && bench.board.ours.contains(&(0, VIRTUAL_V6)));
    bench.receive(&advertisement(Family::V6, Some(200)));
    bench.poll();
    let state = |id| bench.node.agent().view(id).unwrap().state;
    assert_eq!((state(v4), state(v6)), (State::Active, State::Backup));
    assert!(bench.board.ours.contains(&(0, VIRTUAL_V4)) && !bench.board.ours.contains(&(0, VIRTUAL_V6)));
    let away = Ipv4Addr::new(203, 0, 113, 5);
    assert!(bench.receive(&packet(VIRTUAL_V4, away)).is_some());
    assert!(bench.receive(&packet(VIRTUAL_V6, away)).is_none());
}

#[test]
fn frames_of_another_vlan_are_not_ours() {
    let mut bench = Bench::with_vlan(Some(20));
    bench.add(Family::V4);
    bench.run(Duration::from_secs(15));
    bench.sent();
    for elsewhere in [who_has(VIP_V4), tagged(&who_has(VIP_V4), 21), tagged(&who_has(VIP_V4), 0)] {
        assert_eq!(bench.ask(&elsewhere), Vec::<Vec<u8>>::new());
    }
    let answers = bench.ask(&tagged(&who_has(VIP_V4), 20));
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0][12..14], &answers[0][14..18]), (&[0x81, 0][..], &[0xc0, 20, 8, 6][..]));
    // What is handed up has no tag.
    let own = packet(STATION, OWN_V4);
    assert_eq!(bench.receive(&tagged(&own, 20)), Some(own.clone()));
    assert_eq!(bench.receive(&tagged(&own, 0xe014)), Some(own));
    assert_eq!(bench.receive(&tagged(&advertisement(Family::V4, Some(200)), 20)), None);
    bench.poll();
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_port_without_vlan_takes_no_tagged_frames_but_those_that_only_tell_a_priority() {
    let mut bench = Bench::active(Family::V4);
    assert_eq!(bench.ask(&tagged(&who_has(VIP_V4), 1)), Vec::<Vec<u8>>::new());
    assert_eq!(bench.ask(&tagged(&who_has(VIP_V4), 0xe000)).len(), 1);
}

#[test]
fn other_protocols_and_groups_are_the_stacks() {
    let mut bench = Bench::active(Family::V4);
    let lldp = ethernet(MacAddr([1, 0x80, 0xc2, 0, 0, 14]), OTHER, 0x88cc, &[1; 46]);
    let mdns = packet(multicast_mac(Ipv4Addr::new(224, 0, 0, 251).into()), Ipv4Addr::new(224, 0, 0, 251));
    let everybody = packet(MacAddr::BROADCAST, Ipv4Addr::BROADCAST);
    for frame in [lldp, mdns, everybody] {
        assert_eq!(bench.receive(&frame), Some(frame));
    }
}

#[test]
fn rfc9568_6_4_3_it_serves_until_its_successor_has_been_heard() {
    let mut bench = Bench::active(Family::V4);
    bench.node.shutdown(bench.now);
    bench.poll();
    assert_eq!(bench.state(), State::Initialize);
    // It has resigned, nobody else is there yet: traffic goes on.
    assert_eq!(bench.ask(&who_has(VIP_V4)).len(), 1);
    assert!(bench.board.ours.contains(&(0, VIRTUAL_V4)));
    let traffic = |to, from, source, target| ipv4(to, from, source, target, 17, &[0x30, 0x39, 0, 7, 0, 8, 0, 0]);
    let (question, answer) = (traffic(VIRTUAL_V4, OTHER, OTHER_V4, OWN_V4), traffic(OTHER, STATION, VIP_V4, OTHER_V4));
    assert!(bench.receive(&question).is_some());
    // Not from the virtual MAC address: a frame that is late must not turn the switches back to here.
    let sent = bench.transmit(&answer).unwrap();
    assert_eq!((&sent[6..12], &sent[14..]), (&STATION.0[..], &answer[14..]));
    // But who asks which that is hears of no other.
    let asks = arp(MacAddr::BROADCAST, 1, STATION, VIP_V4, OTHER_V4);
    let sent = bench.transmit(&asks).unwrap();
    assert_eq!((&sent[6..12], &sent[22..28]), (&VIRTUAL_V4.0[..], &VIRTUAL_V4.0[..]));
    // From then on not a frame more, be it in a queue already: it would turn the switches back.
    bench.receive(&advertisement(Family::V4, Some(50)));
    assert_eq!((bench.receive(&question), bench.transmit(&answer)), (None, None));
    bench.poll();
    assert!(bench.board.ours.is_empty());
    assert_eq!(bench.ask(&who_has(VIP_V4)), Vec::<Vec<u8>>::new());
    assert!(bench.node.agent().is_idle());
}
