//! The rules about timers (RFC 9568 section 6.1, RFC 3768 section 6.1), at the core's public API: one test a
//! rule, with its section in the name.

use steadfast_core::agent::{ChecksumMode, State};
use steadfast_core::types::{Family, Version};
use steadfast_core::wire::Discard;
use steadfast_tests::sim::bench::{Bench, Did, MS, SECOND, centiseconds, priority, seconds, sent};

/// Active_Down_Interval of version 3 as the RFC writes it, in microseconds, with its fraction.
fn down_interval(priority: u64, interval: u64) -> u64 {
    3 * interval + (256 - priority) * interval / 256
}

#[test]
fn rfc9568_6_1_active_down_interval_is_three_intervals_and_the_skew() {
    for number in [1, 50, 100, 200, 254] {
        for interval in [1_u16, 10, 100, 1_234, 4_095] {
            let bench = Bench::new(|settings| {
                settings.priority = priority(number);
                settings.interval = centiseconds(interval);
            });
            let expected = down_interval(number.into(), u64::from(interval) * 10 * MS);
            assert_eq!(bench.silence(), expected, "priority {number}, {interval} centiseconds");
        }
    }
}

#[test]
fn rfc9568_6_1_the_skew_keeps_its_fraction_at_one_centisecond() {
    // In whole centiseconds every skew would be 0, and all Backups would take over at once.
    let waits = [254, 200, 100, 1].map(|number| {
        Bench::new(|settings| {
            settings.priority = priority(number);
            settings.interval = centiseconds(1);
        })
        .silence()
    });
    assert_eq!(waits, [30_078, 32_187, 36_093, 39_960]);
}

#[test]
fn rfc9568_6_1_the_higher_priority_takes_over_first() {
    let mut last = u64::MAX;
    for number in 1..255 {
        let wait = Bench::new(|settings| settings.priority = priority(number)).silence();
        assert!(wait < last, "priority {number}");
        last = wait;
    }
}

#[test]
fn rfc3768_6_1_the_skew_of_version_2_is_of_a_second_whatever_the_interval() {
    for (interval, number) in [(1_u8, 100_u8), (3, 100), (255, 1), (10, 254)] {
        let bench = Bench::new(|settings| {
            settings.version = Version::V2;
            settings.interval = seconds(interval);
            settings.priority = priority(number);
        });
        let skew = (256 - u64::from(number)) * SECOND / 256;
        assert_eq!(bench.silence(), 3 * u64::from(interval) * SECOND + skew, "{interval} s, priority {number}");
    }
}

#[test]
fn rfc9568_6_4_1_a_backup_begins_with_its_own_interval() {
    let mut bench = Bench::new(|settings| settings.interval = centiseconds(250));
    bench.drain();
    let view = bench.agent.view(bench.id).unwrap();
    assert_eq!(view.active_interval, centiseconds(250));
    assert_eq!(bench.due_in(), Some(down_interval(100, 2_500 * MS)));
}

#[test]
fn rfc9568_6_4_2_the_interval_of_the_active_is_learned_and_skew_and_down_timer_follow() {
    for heard in [1_u16, 5, 300, 4_095] {
        let mut bench = Bench::new(|_| {});
        let mut packet = bench.packet(99, 200);
        packet.interval = heard;
        bench.give(&packet).unwrap();
        let interval = u64::from(heard) * 10 * MS;
        let view = bench.agent.view(bench.id).unwrap();
        assert_eq!(view.active_interval, centiseconds(heard));
        assert_eq!(view.skew.as_micros(), 156 * interval / 256);
        assert_eq!(view.active_down_interval.as_micros(), down_interval(100, interval));
        assert_eq!(bench.silence(), down_interval(100, interval));
    }
}

#[test]
fn rfc9568_6_4_2_a_changed_interval_is_learned_each_time() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    for heard in [100, 10, 400, 1, 100] {
        let mut packet = bench.packet(99, 200);
        packet.interval = heard;
        bench.give(&packet).unwrap();
        assert_eq!(bench.due_in(), Some(down_interval(100, u64::from(heard) * 10 * MS)));
    }
}

#[test]
fn rfc9568_6_4_2_its_own_interval_is_what_an_active_advertises_whatever_it_learned() {
    let mut bench = Bench::new(|_| {});
    let mut packet = bench.packet(99, 200);
    packet.interval = 10;
    bench.give(&packet).unwrap();
    let done = bench.pass(down_interval(100, 100 * MS) + 3 * SECOND);
    let adverts: Vec<_> = done.iter().filter(|(_, did)| matches!(did, Did::Sent(..))).collect();
    let first = down_interval(100, 100 * MS);
    let expected = [0, 1, 2, 3].map(|n| (first + n * SECOND, Did::Sent(100, SECOND)));
    assert_eq!(adverts, expected.iter().collect::<Vec<_>>());
}

#[test]
fn rfc3768_7_1_another_interval_moves_no_timer_in_version_2() {
    let mut bench = Bench::new(|settings| settings.version = Version::V2);
    bench.pass(SECOND);
    let due = bench.due_in();
    let mut packet = bench.packet(99, 200);
    packet.interval = 2;
    assert_eq!(bench.give(&packet), Err(Discard::Interval));
    assert_eq!(bench.due_in(), due);
}

#[test]
fn rfc9568_6_4_3_an_active_that_steps_down_learns_the_interval() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    let mut packet = bench.packet(99, 200);
    packet.interval = 20;
    bench.give(&packet).unwrap();
    bench.drain();
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.due_in(), Some(down_interval(100, 200 * MS)));
}

#[test]
fn rfc9568_6_4_3_the_adver_timer_is_met_at_every_interval() {
    for interval in [1_u16, 7, 100, 4_095] {
        let mut bench = Bench::new(|settings| settings.interval = centiseconds(interval));
        bench.become_active();
        let span = u64::from(interval) * 10 * MS;
        let times: Vec<_> = sent(&bench.pass(20 * span)).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times.len(), 20, "{interval} centiseconds");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == span), "{times:?}");
    }
}

#[test]
fn rfc9568_6_4_3_late_calls_do_not_shift_the_adver_timer() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    let begin = bench.now + bench.due_in().unwrap();
    for n in 0..10 {
        // The port gets to run a little late, each time by another amount.
        bench.now = begin + n * SECOND + n * 7 * MS;
        assert_eq!(bench.drain(), [Did::Sent(100, SECOND)]);
        assert_eq!(bench.now + bench.due_in().unwrap(), begin + (n + 1) * SECOND);
    }
}

/// Spoils a good Advertisement in every way that a receive check knows.
fn spoiled(bench: &Bench, number: u8) -> Vec<(&'static str, steadfast_core::wire::Envelope, Vec<u8>)> {
    let good = bench.packet(99, number);
    let version_2 = good.version == Version::V2;
    let bytes = good.payload();
    let envelope = good.envelope();
    let of = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        edit(&mut bytes);
        bytes
    };
    let packet = |edit: &dyn Fn(&mut steadfast_tests::sim::packet::Packet)| {
        let mut packet = good.clone();
        edit(&mut packet);
        packet.payload()
    };
    let mut spoiled = vec![
        ("hop limit", steadfast_core::wire::Envelope { hop_limit: 254, ..envelope }, bytes.clone()),
        ("version", envelope, of(&|bytes| bytes[0] = 0x41)),
        ("other version", envelope, of(&|bytes| bytes[0] ^= 0x10)),
        ("type", envelope, of(&|bytes| bytes[0] = bytes[0] & 0xf0 | 2)),
        ("short", envelope, of(&|bytes| bytes.truncate(9))),
        ("empty", envelope, Vec::new()),
        ("long", envelope, of(&|bytes| bytes.extend([0; 4]))),
        ("checksum", envelope, of(&|bytes| bytes[6] ^= 1)),
        ("VRID", envelope, packet(&|packet| packet.vrid = 8)),
        ("VRID 0", envelope, packet(&|packet| packet.vrid = 0)),
        ("count 0", envelope, packet(&|packet| packet.addresses.clear())),
        ("interval 0", envelope, packet(&|packet| packet.interval = 0)),
        ("our own address", bench.packet(50, number).envelope(), bench.packet(50, number).payload()),
    ];
    if version_2 {
        spoiled.push(("authentication type", envelope, packet(&|packet| packet.authentication = (1, [7; 8]))));
        spoiled.push(("unknown authentication", envelope, packet(&|packet| packet.authentication = (9, [0; 8]))));
        spoiled.push(("other interval", envelope, packet(&|packet| packet.interval = 2)));
    }
    spoiled
}

#[test]
fn rfc9568_7_1_what_fails_a_check_moves_no_timer_and_no_state() {
    for (family, version) in [(Family::V4, Version::V2), (Family::V4, Version::V3), (Family::V6, Version::V3)] {
        for active in [false, true] {
            for number in [0, 1, 100, 255] {
                let mut bench = Bench::with(family, false, |settings| {
                    settings.version = version;
                    settings.checksum = ChecksumMode::Auto;
                });
                if active {
                    bench.become_active();
                }
                bench.pass(333 * MS);
                let (state, due) = (bench.state(), bench.due_in());
                for (what, envelope, payload) in spoiled(&bench, number) {
                    let now = bench.instant();
                    let result = bench.agent.handle_advertisement(now, bench.interface, &envelope, &payload);
                    assert!(result.is_err(), "{what}");
                    assert_eq!((bench.state(), bench.due_in()), (state, due), "{what}, priority {number}");
                    assert_eq!(bench.drain(), [], "{what}, priority {number}");
                }
            }
        }
    }
}
