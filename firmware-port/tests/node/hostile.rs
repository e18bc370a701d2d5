//! Hostile frames: nothing panics, nothing is sent because of what is not whole, and the election goes on.

use crate::common::*;
use steadfast_core::agent::State;
use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr};
use steadfast_firmware::tracking::Reachability;

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// One of each kind that the node looks into.
fn samples() -> Vec<Vec<u8>> {
    vec![
        advertisement(Family::V4, Some(200)),
        advertisement(Family::V6, Some(200)),
        who_has(VIP_V4),
        arp(STATION, 2, OTHER, OTHER_V4, OWN_V4),
        solicitation(OTHER_V6, VIP_V6),
        solicitation(OTHER_V6, GLOBAL_V6),
        neighbour(STATION, OTHER, OTHER_V6, OWN_V6, OTHER_V6),
        ipv4(VIRTUAL_V4, OTHER, OTHER_V4, VIP_V4, 1, &[8, 0, 0xf7, 0xfd, 0, 1, 0, 1]),
        icmpv6(VIRTUAL_V6, OTHER, OTHER_V6, VIP_V6, &[128, 0, 0, 0, 0, 1, 0, 1]),
        ipv4(
            MacAddr([1, 0, 0x5e, 0, 0, 1]),
            OTHER,
            OTHER_V4,
            [224, 0, 0, 1].into(),
            2,
            &[0x11, 0, 0xee, 0xff, 0, 0, 0, 0],
        ),
        tagged(&who_has(VIP_V4), 0),
    ]
}

fn both_active() -> Bench {
    let mut bench = Bench::active(Family::V4);
    bench.add(Family::V6);
    bench.node.track_gateway(bench.now, &Reachability::new(bench.lan, OTHER_V4.into())).unwrap();
    bench.run(Duration::from_secs(20));
    bench.sent();
    bench
}

#[test]
fn a_truncated_frame_of_every_length_draws_nothing() {
    let mut bench = both_active();
    // One that still holds all that is asked is whole: where padding or options may follow.
    for sample in samples() {
        let whole = sample.len().min(if sample[12..14] == [8, 6] { 42 } else { usize::MAX });
        for length in 0..whole {
            let mut frame = sample[..length].to_vec();
            bench.node.receive(bench.now, bench.lan, &mut frame);
        }
    }
    bench.poll();
    assert!(bench.node.agent().routers().all(|id| bench.node.agent().view(id).unwrap().state == State::Active));
    assert_eq!(bench.sent(), Vec::<Vec<u8>>::new());
}

#[test]
fn frames_of_random_bytes_and_changed_ones_do_no_harm() {
    let mut bench = both_active();
    let mut random = Random(7);
    let samples = samples();
    for _ in 0..200_000 {
        let mut frame = if random.below(4) == 0 {
            let length = random.below(120);
            (0..length).map(|_| random.next() as u8).collect()
        } else {
            samples[random.below(samples.len())].clone()
        };
        for _ in 0..random.below(6) {
            if !frame.is_empty() {
                let at = random.below(frame.len());
                frame[at] = random.next() as u8;
            }
        }
        frame.truncate(random.below(frame.len() + 40).min(frame.len()));
        if random.below(2) == 0 {
            bench.node.receive(bench.now, bench.lan, &mut frame);
        } else {
            let length = random.below(frame.len() + 2);
            bench.node.transmit(bench.lan, &mut frame, length);
        }
        if random.below(100) == 0 {
            bench.now = bench.now + Duration::from_micros(random.next() % 50_000);
            bench.poll();
            bench.sent();
        }
    }
}

#[test]
fn an_interface_that_is_not_there_does_no_harm() {
    let mut bench = both_active();
    let mut other = Bench::new();
    let second = other.node.add_port(STATION, None).unwrap();
    let mut frame = who_has(VIP_V4);
    assert_eq!(bench.node.receive(bench.now, second, &mut frame), steadfast_firmware::node::Received::Dropped);
    let length = frame.len();
    assert_eq!(bench.node.transmit(second, &mut frame, length), None);
}

#[test]
fn bad_advertisements_of_a_thousand_a_second_move_nothing() {
    let mut bench = Bench::active(Family::V4);
    let mut bad = advertisement(Family::V4, Some(200));
    bad[40] ^= 0xff;
    for _ in 0..5_000 {
        bench.receive(&bad);
        bench.run(Duration::from_millis(1));
    }
    assert_eq!(bench.state(), State::Active);
    let own = bench.sent().len();
    assert!((5..=6).contains(&own), "{own} Advertisements in five seconds");
}
