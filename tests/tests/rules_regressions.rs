//! Bugs found in other implementations, as tests of ours: each name carries the section of the rule that was
//! broken, and who broke it. What concerns bytes alone is in `wire_rules`.

use steadfast_core::agent::{ChecksumMode, Link, State};
use steadfast_core::types::{Family, Interval, Version};
use steadfast_core::wire::Discard;
use steadfast_tests::sim::bench::{Bench, Did, MS, SECOND, centiseconds, host, priority, sent};

const DOWN: u64 = 3 * SECOND + 156 * SECOND / 256;

// holo

#[test]
fn rfc9568_5_2_7_holo_the_interval_on_the_wire_is_the_one_that_is_kept() {
    for interval in [1, 10, 100, 4_095] {
        let mut bench = Bench::new(|settings| settings.interval = centiseconds(interval));
        bench.become_active();
        let span = u64::from(interval) * 10 * MS;
        let done = bench.pass(10 * span);
        let adverts: Vec<_> = done.iter().filter(|(_, did)| matches!(did, Did::Sent(..))).collect();
        assert!(adverts.iter().all(|(_, did)| *did == Did::Sent(100, span)));
        assert_eq!(adverts.len(), 10);
    }
}

#[test]
fn rfc9568_6_1_holo_a_skew_below_a_second_is_not_zero() {
    let near = Bench::new(|settings| settings.priority = priority(200)).silence();
    let far = Bench::new(|settings| settings.priority = priority(199)).silence();
    assert_eq!((near, far), (3_218_750, 3_222_656));
}

#[test]
fn rfc9568_7_1_holo_another_interval_is_learned_not_dropped() {
    let mut bench = Bench::new(|_| {});
    let mut packet = bench.packet(99, 200);
    packet.interval = 500;
    assert!(bench.give(&packet).is_ok());
    bench.drain();
    assert_eq!(bench.due_in(), Some(5 * DOWN));
}

#[test]
fn rfc9568_5_1_1_3_holo_a_hop_limit_of_254_is_discarded() {
    for family in [Family::V4, Family::V6] {
        let mut bench = Bench::with(family, false, |_| {});
        bench.become_active();
        let packet = bench.packet(99, 255);
        let mut envelope = packet.envelope();
        envelope.hop_limit = 254;
        let now = bench.instant();
        let result = bench.agent.handle_advertisement(now, bench.interface, &envelope, &packet.payload());
        assert_eq!(result, Err(Discard::HopLimit));
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn rfc9568_6_4_1_holo_a_packet_after_the_interface_went_down_is_harmless() {
    for active in [false, true] {
        let mut bench = Bench::new(|_| {});
        if active {
            bench.become_active();
        }
        bench.agent.handle_link(bench.instant(), bench.interface, Link::Down);
        for number in [0, 1, 255] {
            let _ = bench.give(&bench.packet(99, number));
        }
        bench.drain();
        assert_eq!(bench.state(), State::Initialize);
        assert_eq!(bench.pass(10 * SECOND), []);
    }
}

#[test]
fn rfc9568_5_2_8_holo_both_checksum_forms_are_understood_by_default() {
    for pseudo_header in [true, false] {
        let mut bench = Bench::new(|_| {});
        let mut packet = bench.packet(99, 200);
        packet.pseudo_header = pseudo_header;
        assert!(bench.give(&packet).is_ok());
    }
}

#[test]
fn rfc9568_5_2_8_two_actives_of_different_checksum_forms_are_answered_in_both() {
    let mut bench = Bench::new(|settings| settings.checksum = ChecksumMode::Auto);
    bench.become_active();
    let mut packet = bench.packet(99, 50);
    packet.pseudo_header = false;
    bench.give(&packet).unwrap();
    let adverts = bench.drain().iter().filter(|did| matches!(did, Did::Sent(..))).count();
    assert_eq!(adverts, 2);
}

#[test]
fn rfc9568_5_2_8_auto_takes_over_the_form_of_an_active_that_it_has_accepted() {
    // An Active of the same form is answered once, one of the other form in both.
    let answers = |earlier: Option<bool>| {
        let mut bench = Bench::new(|settings| settings.checksum = ChecksumMode::Auto);
        if let Some(accepted) = earlier {
            let mut packet = bench.packet(99, 200);
            packet.pseudo_header = false;
            packet.interval = if accepted { 100 } else { 0 };
            assert_eq!(bench.give(&packet).is_ok(), accepted);
        }
        bench.become_active();
        let mut packet = bench.packet(99, 50);
        packet.pseudo_header = false;
        bench.give(&packet).unwrap();
        bench.drain().iter().filter(|did| matches!(did, Did::Sent(..))).count()
    };
    assert_eq!([None, Some(true), Some(false)].map(answers), [2, 1, 2]);
}

// vrrp-rs

#[test]
fn rfc9568_5_2_7_vrrp_rs_a_second_is_a_hundred_centiseconds() {
    assert_eq!(Interval::from_seconds(1).unwrap().centiseconds(), 100);
    assert_eq!(Interval::DEFAULT.duration().as_micros(), SECOND);
}

#[test]
fn rfc9568_6_1_vrrp_rs_the_longest_interval_does_not_overflow() {
    let bench = Bench::new(|settings| {
        settings.interval = centiseconds(4_095);
        settings.priority = priority(1);
    });
    assert_eq!(bench.silence(), 3 * 40_950 * MS + 255 * 40_950 * MS / 256);
    let bench = Bench::new(|settings| {
        settings.version = Version::V2;
        settings.interval = Interval::from_seconds(255).unwrap();
        settings.priority = priority(1);
    });
    assert_eq!(bench.silence(), 765 * SECOND + 255 * SECOND / 256);
}

#[test]
fn rfc9568_6_4_2_vrrp_rs_a_second_startup_does_not_make_a_backup_active() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    let due = bench.due_in();
    let now = bench.instant();
    bench.agent.handle_link(now, bench.interface, Link::Up);
    bench.agent.handle_source(now, bench.interface, Family::V4, Some(host(Family::V4, 50)));
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.due_in(), due);
    assert_eq!(bench.drain(), []);
}

// failover_vr

#[test]
fn rfc9568_6_4_3_failover_vr_a_stop_says_priority_zero() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.agent.shutdown(bench.instant());
    assert_eq!(sent(&bench.pass(10 * SECOND)), [(0, 0)]);
}

#[test]
fn rfc9568_6_4_3_failover_vr_equal_priorities_do_not_both_yield() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.hear(49, 100);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn rfc9568_6_4_2_failover_vr_a_lower_priority_does_not_make_a_backup_active_at_once() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    assert_eq!(bench.hear(99, 1), []);
    assert_eq!(bench.state(), State::Backup);
    // When it preempts in its time, it says so and announces.
    let done = bench.pass(DOWN);
    assert_eq!(sent(&done), [(DOWN, 100)]);
    assert!(done.iter().any(|(_, did)| matches!(did, Did::Announce(_))));
}

// seesaw-rust and seesaw

#[test]
fn rfc9568_6_4_2_seesaw_preempt_mode_is_the_right_way_round() {
    for (preempt, expected) in [(true, State::Active), (false, State::Backup)] {
        let mut bench = Bench::new(|settings| settings.preempt = preempt);
        for _ in 0..20 {
            bench.hear(99, 50);
            bench.pass(SECOND);
        }
        assert_eq!(bench.state(), expected, "preempt = {preempt}");
    }
}

#[test]
fn rfc9568_6_4_2_seesaw_priority_zero_leads_to_a_takeover_after_the_skew() {
    let mut bench = Bench::new(|_| {});
    bench.hear(99, 200);
    bench.hear(99, 0);
    assert_eq!(bench.pass(156 * SECOND / 256 - 1), []);
    assert_eq!(bench.state(), State::Backup);
    bench.pass(1);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn rfc9568_5_2_5_seesaw_an_advertisement_without_addresses_is_ignored() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    bench.pass(SECOND);
    let mut packet = bench.packet(99, 255);
    packet.addresses.clear();
    assert_eq!(bench.give(&packet), Err(Discard::Count));
    assert_eq!(bench.due_in(), Some(DOWN - SECOND));
}

// FRR

#[test]
fn rfc9568_5_2_7_frr_keepalived_an_interval_of_zero_is_discarded() {
    for version in [Version::V2, Version::V3] {
        let mut bench = Bench::new(|settings| settings.version = version);
        bench.hear(99, 200);
        bench.pass(SECOND);
        let mut packet = bench.packet(99, 255);
        packet.interval = 0;
        assert_eq!(bench.give(&packet), Err(Discard::Interval));
        assert_eq!(bench.due_in(), Some(DOWN - SECOND));
        assert_eq!(bench.pass(DOWN - SECOND - 1), [], "no takeover before its time");
    }
}

#[test]
fn rfc9568_6_4_3_frr_a_lower_priority_is_not_passed_over_in_silence() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    assert_eq!(bench.hear(99, 1)[0], Did::Sent(100, SECOND));
}

#[test]
fn rfc9568_7_1_frr_an_owner_hears_another_owner() {
    let mut bench = Bench::new(|settings| settings.priority = priority(255));
    bench.become_active();
    bench.hear(99, 255);
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn rfc9568_6_4_2_frr_a_backup_holds_nothing_after_its_interface_has_flapped() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    for _ in 0..3 {
        for link in [Link::Down, Link::Up] {
            bench.agent.handle_link(bench.instant(), bench.interface, link);
        }
    }
    assert!(bench.drain().contains(&Did::Release));
    bench.hear(99, 200);
    assert_eq!(bench.state(), State::Backup);
    assert!(!bench.agent.view(bench.id).unwrap().holds);
    assert_eq!(bench.pass(SECOND), []);
}

// keepalived

#[test]
fn rfc9568_7_1_keepalived_garbage_does_not_silence_the_active() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    let mut garbage = bench.packet(99, 250).payload();
    garbage[6] ^= 0xff;
    let envelope = bench.packet(99, 250).envelope();
    let mut adverts = 0;
    for _ in 0..100 {
        let now = bench.instant();
        let result = bench.agent.handle_advertisement(now, bench.interface, &envelope, &garbage);
        assert_eq!(result, Err(Discard::Checksum));
        adverts += sent(&bench.pass(100 * MS)).len();
    }
    assert_eq!(adverts, 10);
}

#[test]
fn rfc9568_6_4_1_keepalived_an_owner_keeps_the_addresses_that_it_finds() {
    let mut bench = Bench::with(Family::V4, true, |settings| settings.priority = priority(255));
    let done = bench.drain();
    assert!(!done.contains(&Did::Release), "{done:?}");
    assert!(done.contains(&Did::Acquire), "they are looked after: {done:?}");
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn rfc9568_6_4_2_addresses_that_an_owner_found_do_not_stay_when_it_yields() {
    let mut bench = Bench::with(Family::V4, true, |settings| settings.priority = priority(255));
    bench.give(&bench.packet(99, 255)).unwrap();
    assert!(bench.drain().contains(&Did::Release));
    assert_eq!(bench.state(), State::Backup);
    assert!(!bench.agent.view(bench.id).unwrap().holds);
}

// Vrrpd

#[test]
fn rfc9568_6_4_3_vrrpd_the_rightful_active_announces_again_after_a_split() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.pass(60 * SECOND);
    let is_announcement = |did: &Did| matches!(did, Did::Announce(_));
    let at_once = bench.hear(99, 50).into_iter().filter(is_announcement).count();
    let later = bench.pass(20 * MS).iter().filter(|(_, did)| is_announcement(did)).count();
    assert_eq!((at_once, later), (2, 8), "as often as a new Active");
}

// What the simulator found in ours.

#[test]
fn rfc9568_6_4_3_a_farewell_carries_the_interval_of_the_winner() {
    // Others that learn the loser's short interval from its farewell would take over before the winner's
    // next Advertisement, and with three such routers that never ended.
    let mut bench = Bench::new(|settings| settings.interval = centiseconds(1));
    bench.become_active();
    let mut packet = bench.packet(99, 200);
    packet.interval = 100;
    bench.give(&packet).unwrap();
    assert_eq!(bench.drain()[0], Did::Sent(100, SECOND));
}
