//! What priorities depend on: the link of another port, and gateways that are asked by frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::*;
use steadfast_core::agent::{Link, Report, RouterId, State, TrackerId, Weight};
use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::checksum::Sum;
use steadfast_firmware::tracking::Reachability;

const GATEWAY: MacAddr = OTHER;
const GATEWAY_V4: Ipv4Addr = OTHER_V4;
const GATEWAY_V6: Ipv6Addr = OTHER_V6;

impl Bench {
    fn id(&self) -> RouterId {
        self.node.agent().routers().next().unwrap()
    }

    fn priority(&self) -> u8 {
        self.node.agent().view(self.id()).unwrap().effective_priority.get()
    }

    fn report(&self, tracker: TrackerId) -> Option<Report> {
        self.node.agent().trackers(self.id()).find(|(id, ..)| *id == tracker).and_then(|(.., report)| report)
    }

    /// Lets a second pass in which the gateway answers what it is asked, as far as `answers` lets it; how often it
    /// was asked.
    fn second(&mut self, mut answers: impl FnMut(Question) -> bool) -> usize {
        let end = self.now + Duration::from_secs(1);
        let mut asked = 0;
        while self.now < end {
            let next = self.poll().unwrap_or(end);
            let sent = self.sent();
            let questions: Vec<_> = sent.iter().filter_map(|frame| question(frame)).collect();
            if questions.is_empty() {
                self.now = next.min(end);
            }
            for (question, answer) in questions {
                asked += 1;
                if answers(question) {
                    let up = self.receive(&answer);
                    assert_eq!(up.is_some(), question == Question::Who, "{question:?}");
                }
            }
        }
        asked
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Who,
    Echo,
}

/// What a frame asks the gateway, and its answer.
fn question(frame: &[u8]) -> Option<(Question, Vec<u8>)> {
    let from = MacAddr(frame[6..12].try_into().unwrap());
    let v6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    let v4 = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    match (&frame[12..14], frame.get(23)) {
        ([8, 6], _) if v4(38) == GATEWAY_V4 => Some((Question::Who, arp(from, 2, GATEWAY, GATEWAY_V4, v4(28)))),
        ([8, 0], Some(1)) => {
            assert_eq!((&frame[..6], frame[34], v4(30)), (&GATEWAY.0[..], 8, GATEWAY_V4));
            assert!(Sum::of(&frame[14..34]).is_valid() && Sum::of(&frame[34..]).is_valid());
            let mut message = frame[34..].to_vec();
            (message[0], message[2], message[3]) = (0, 0, 0);
            let checksum = Sum::of(&message).checksum();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            Some((Question::Echo, ipv4(from, GATEWAY, GATEWAY_V4, v4(26), 1, &message)))
        }
        ([0x86, 0xdd], _) if frame[20] == 58 && frame[54] == 135 => {
            assert!(icmpv6_is_valid(frame));
            assert_eq!((frame[21], v6(62), &frame[78..80]), (255, GATEWAY_V6, &[1, 1][..]));
            Some((Question::Who, neighbour(from, GATEWAY, GATEWAY_V6, v6(22), GATEWAY_V6)))
        }
        ([0x86, 0xdd], _) if frame[20] == 58 && frame[54] == 128 => {
            assert!(icmpv6_is_valid(frame));
            let mut message = frame[54..].to_vec();
            message[0] = 129;
            Some((Question::Echo, icmpv6(from, GATEWAY, GATEWAY_V6, v6(22), &message)))
        }
        _ => None,
    }
}

#[test]
fn the_link_of_another_port_bears_on_the_priority() {
    let mut bench = Bench::active(Family::V4);
    let uplink = bench.node.add_port(MacAddr([2, 0, 0, 0, 0, 3]), None).unwrap();
    let tracker = bench.node.track_link(bench.now, uplink).unwrap();
    bench.node.track(bench.now, bench.id(), tracker, Weight(-20)).unwrap();
    assert_eq!(bench.priority(), 80);
    bench.up(uplink, 3);
    assert_eq!(bench.priority(), 100);
    bench.node.handle_link(bench.now, uplink, Link::Down);
    assert_eq!(bench.priority(), 80);
}

#[test]
fn a_link_of_weight_nothing_takes_the_router_out() {
    let mut bench = Bench::active(Family::V4);
    let uplink = bench.node.add_port(MacAddr([2, 0, 0, 0, 0, 3]), None).unwrap();
    bench.up(uplink, 3);
    let tracker = bench.node.track_link(bench.now, uplink).unwrap();
    bench.node.track(bench.now, bench.id(), tracker, Weight(0)).unwrap();
    bench.poll();
    assert_eq!(bench.state(), State::Active);
    bench.node.handle_link(bench.now, uplink, Link::Down);
    bench.poll();
    assert_eq!(bench.state(), State::Initialize);
    assert!(bench.board.ours.is_empty());
    bench.node.handle_link(bench.now, uplink, Link::Up);
    bench.poll();
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_gateway_that_answers_is_reachable_and_one_that_does_not_is_not() {
    for (family, gateway) in [(Family::V4, IpAddr::V4(GATEWAY_V4)), (Family::V6, GATEWAY_V6.into())] {
        let mut bench = Bench::active(family);
        let how = Reachability::new(bench.lan, gateway);
        let tracker = bench.node.track_gateway(bench.now, &how).unwrap();
        bench.node.track(bench.now, bench.id(), tracker, Weight(30)).unwrap();
        assert_eq!((bench.report(tracker), bench.priority()), (None, 100));
        // The first answer counts.
        assert_eq!(bench.second(|_| true), 2);
        assert_eq!((bench.report(tracker), bench.priority()), (Some(Report::Up), 130));
        // It may be silent twice.
        bench.second(|_| false);
        bench.second(|_| false);
        assert_eq!(bench.report(tracker), Some(Report::Up));
        bench.second(|_| true);
        // No answer to the echo is as bad as none at all.
        for _ in 0..3 {
            assert_eq!(bench.second(|question| question == Question::Who), 2);
        }
        bench.second(|_| true);
        assert_eq!((bench.report(tracker), bench.priority()), (Some(Report::Down), 100));
        bench.second(|_| true);
        bench.second(|_| true);
        assert_eq!((bench.report(tracker), bench.priority()), (Some(Report::Up), 130));
    }
}

#[test]
fn a_gateway_that_was_never_there_is_reported_after_the_first_silence() {
    let mut bench = Bench::active(Family::V4);
    let tracker = bench.node.track_gateway(bench.now, &Reachability::new(bench.lan, GATEWAY_V4.into())).unwrap();
    bench.node.track(bench.now, bench.id(), tracker, Weight(0)).unwrap();
    bench.poll();
    assert_eq!(bench.state(), State::Initialize);
    bench.second(|_| false);
    assert_eq!(bench.report(tracker), Some(Report::Down));
    for _ in 0..3 {
        bench.second(|_| true);
    }
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn gateways_are_asked_once_in_an_interval_however_they_answer() {
    let mut bench = Bench::active(Family::V4);
    let mut how = Reachability::new(bench.lan, GATEWAY_V4.into());
    (how.interval, how.timeout) = (Duration::from_millis(200), Duration::from_millis(150));
    bench.node.track_gateway(bench.now, &how).unwrap();
    assert_eq!(bench.second(|_| true), 10);
    // The echo has a time of its own: 150 ms and 150 ms are more than the interval.
    assert_eq!(bench.second(|_| false), 5);
}

#[test]
fn an_answer_to_another_question_is_none() {
    let mut bench = Bench::active(Family::V4);
    let tracker = bench.node.track_gateway(bench.now, &Reachability::new(bench.lan, GATEWAY_V4.into())).unwrap();
    bench.node.track(bench.now, bench.id(), tracker, Weight(10)).unwrap();
    bench.poll();
    let (_, answer) = bench.sent().iter().find_map(|frame| question(frame)).unwrap();
    bench.receive(&answer);
    bench.poll();
    let (_, echo) = bench.sent().iter().find_map(|frame| question(frame)).unwrap();
    // Another type, source, destination, identifier, sequence number, or a wrong checksum.
    for at in [34, 29, 33, 38, 41, 36] {
        let mut wrong = echo.clone();
        wrong[at] ^= 1;
        bench.receive(&wrong);
        assert_eq!(bench.report(tracker), None, "byte {at}");
    }
    for length in 0..echo.len() {
        bench.receive(&echo[..length]);
        assert_eq!(bench.report(tracker), None, "{length}");
    }
    assert_eq!(bench.receive(&echo), None);
    assert_eq!(bench.report(tracker), Some(Report::Up));
    // The same again is an answer to nothing, and the stack's.
    assert!(bench.receive(&echo).is_some());
}

#[test]
fn without_a_source_address_a_gateway_cannot_be_asked_and_counts_as_unreachable() {
    let mut bench = Bench::active(Family::V4);
    bench.node.handle_source(bench.now, bench.lan, Family::V6, None);
    let tracker = bench.node.track_gateway(bench.now, &Reachability::new(bench.lan, GATEWAY_V6.into())).unwrap();
    bench.node.track(bench.now, bench.id(), tracker, Weight(10)).unwrap();
    assert_eq!(bench.second(|_| true), 0);
    assert_eq!(bench.report(tracker), Some(Report::Down));
}

#[test]
fn what_the_maker_looks_at_himself_bears_like_the_rest() {
    let mut bench = Bench::active(Family::V4);
    let tracker = bench.node.add_tracker().unwrap();
    bench.node.track(bench.now, bench.id(), tracker, Weight(-40)).unwrap();
    bench.node.handle_report(bench.now, tracker, Report::Down);
    assert_eq!(bench.priority(), 60);
    // The board of these tests has room for four.
    for _ in 0..3 {
        bench.node.add_tracker().unwrap();
    }
    assert!(bench.node.add_tracker().is_err());
    assert!(bench.node.track_link(bench.now, bench.lan).is_err());
}
