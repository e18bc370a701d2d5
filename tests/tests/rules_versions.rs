//! Versions 2 and 3 side by side (RFC 9568 section 8.4): a router of one version, and one that speaks both, at the core's
//! public API.

use steadfast_core::agent::{Action, RouterConfig, State};
use steadfast_core::types::{Family, Version};
use steadfast_core::wire::Discard;
use steadfast_core::wire::advertisement::{Authentication, Form};
use steadfast_tests::sim::bench::{Bench, Did, MS, SECOND, centiseconds, sent};
use steadfast_tests::sim::packet::Packet;

#[test]
fn rfc9568_8_4_2_a_router_of_one_version_is_deaf_to_the_other() {
    for (ours, theirs) in [(Version::V2, Version::V3), (Version::V3, Version::V2)] {
        let mut bench = Bench::new(|settings| settings.version = ours);
        bench.become_active();
        let mut packet = bench.packet(99, 255);
        packet.version = theirs;
        assert_eq!(bench.give(&packet), Err(Discard::Version));
        assert_eq!(bench.state(), State::Active);
    }
}

/// One that speaks both versions, at an interval of 100 ms, on the bench; the versions by their intervals on the wire.
fn both_versions() -> Bench {
    Bench::new(|settings| {
        settings.both_versions = true;
        settings.interval = centiseconds(10);
    })
}

const IN_VERSION_3: u64 = 100 * MS;
const IN_VERSION_2: u64 = SECOND;

/// An Advertisement of version 2 for it.
fn old(bench: &Bench, from: u8, number: u8, interval: u16) -> Packet {
    Packet { version: Version::V2, interval, ..bench.packet(from, number) }
}

/// One of version 3.
fn new(bench: &Bench, from: u8, number: u8, interval: u16) -> Packet {
    Packet { interval, ..bench.packet(from, number) }
}

#[test]
fn rfc9568_8_4_2_an_active_of_both_versions_sends_both_at_its_interval() {
    let mut bench = both_versions();
    bench.become_active();
    let before = bench.counter("advertisement-sent");
    let said: Vec<_> = bench.pass(SECOND).into_iter().filter(|(_, did)| matches!(did, Did::Sent(..))).collect();
    assert_eq!(said.len(), 20);
    for (number, pair) in said.chunks(2).enumerate() {
        let at = pair[0].0;
        assert_eq!(pair, [(at, Did::Sent(100, IN_VERSION_3)), (at, Did::Sent(100, IN_VERSION_2))]);
        assert_eq!(at - said[0].0, number as u64 * 100 * MS);
    }
    assert_eq!(bench.counter("advertisement-sent"), before + 20);
    bench.agent.shutdown(bench.instant());
    let farewell = bench.drain();
    assert_eq!(farewell[..2], [Did::Sent(0, IN_VERSION_3), Did::Sent(0, IN_VERSION_2)]);
    assert_eq!(bench.counter("priority-zero-pkts-sent"), 2);
}

#[test]
fn rfc9568_8_4_2_a_backup_of_both_versions_times_out_by_the_interval_of_a_version_2_active() {
    let mut bench = both_versions();
    bench.drain();
    let packet = old(&bench, 99, 200, 2);
    bench.give(&packet).unwrap();
    assert_eq!(bench.due_in(), Some(6 * SECOND + 156 * 2 * SECOND / 256));
    assert_eq!(bench.counter("steadfast-interval-mismatches"), 0);
    bench.pass(8 * SECOND);
    assert_eq!(bench.state(), State::Active);
    // One of less right is answered in both, and one of more right obeyed.
    let packet = old(&bench, 99, 50, 1);
    bench.give(&packet).unwrap();
    let done = bench.drain();
    assert!(done.contains(&Did::Sent(100, IN_VERSION_3)) && done.contains(&Did::Sent(100, IN_VERSION_2)), "{done:?}");
    let packet = old(&bench, 99, 200, 1);
    bench.give(&packet).unwrap();
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn rfc9568_8_4_2_version_2_of_an_active_that_speaks_version_3_is_ignored() {
    let mut bench = both_versions();
    bench.drain();
    let give = |bench: &mut Bench, packet: Packet| {
        bench.give(&packet).unwrap();
        bench.due_in().unwrap()
    };
    let down = 300 * MS + 156 * 100 * MS / 256;
    let packet = new(&bench, 99, 200, 10);
    assert_eq!(give(&mut bench, packet), down);
    bench.now += 90 * MS;
    // Not the timer, not the interval, and not the resignation.
    for (priority, interval) in [(200, 1), (0, 1)] {
        let packet = old(&bench, 99, priority, interval);
        assert_eq!(give(&mut bench, packet), down - 90 * MS);
    }
    // It has stopped speaking version 3: before it counts as down, version 2 counts again.
    bench.now += 120 * MS;
    let packet = old(&bench, 99, 200, 1);
    assert_eq!(give(&mut bench, packet), 3 * SECOND + 156 * SECOND / 256);
    // Another Active is another Active, whatever it speaks.
    let packet = new(&bench, 99, 200, 10);
    assert_eq!(give(&mut bench, packet), down);
    let packet = old(&bench, 98, 210, 1);
    assert_eq!(give(&mut bench, packet), 3 * SECOND + 156 * SECOND / 256);
    // Also for one that has just stepped down.
    let mut bench = both_versions();
    bench.become_active();
    let packet = new(&bench, 99, 200, 10);
    bench.give(&packet).unwrap();
    let packet = old(&bench, 99, 200, 1);
    bench.give(&packet).unwrap();
    bench.drain();
    assert_eq!(bench.due_in(), Some(down));
}

#[test]
fn rfc9568_8_4_2_version_2_says_nothing_of_the_checksum_of_version_3() {
    let mut bench = both_versions();
    bench.drain();
    // As Backup, and as Active.
    let packet = old(&bench, 99, 200, 1);
    bench.give(&packet).unwrap();
    bench.become_active();
    bench.pass(SECOND);
    let packet = old(&bench, 99, 50, 1);
    bench.give(&packet).unwrap();
    bench.pass(SECOND);
    let mut forms = Vec::new();
    while forms.is_empty() {
        bench.now += bench.due_in().unwrap();
        while let Some(action) = bench.agent.poll(bench.instant()) {
            forms.extend(if let Action::Advertise { form, .. } = action { Some(form) } else { None });
        }
    }
    assert_eq!(forms, [Form::PseudoHeader, Form::Version2]);
}

#[test]
fn rfc9568_8_4_2_version_2_has_its_authentication_beside_version_3() {
    let mut bench = Bench::new(|settings| {
        settings.both_versions = true;
        settings.authentication = Authentication::Simple(*b"secret\0\0");
    });
    let packet = old(&bench, 99, 200, 1);
    assert_eq!(bench.give(&packet), Err(Discard::AuthTypeMismatch));
    assert!(bench.give(&Packet { authentication: (1, *b"secret\0\0"), ..packet }).is_ok());
    assert!(bench.give(&bench.packet(99, 200)).is_ok());
    // Over IPv6 there is no version 2.
    let mut bench = Bench::with(Family::V6, false, |settings| settings.both_versions = true);
    bench.become_active();
    assert_eq!(sent(&bench.pass(SECOND)).len(), 1);
}

/// Gives the router on the bench another version, as a reload does.
fn upgrade(bench: &mut Bench, version: Version, both: bool) {
    let mut settings = *bench.agent.view(bench.id).unwrap().settings;
    (settings.version, settings.both_versions) = (version, both);
    let addresses = Bench::addresses(Family::V4);
    let config =
        RouterConfig { interface: bench.interface, settings, addresses: &addresses, excluded: &[], peers: &[] };
    bench.agent.reconfigure(bench.instant(), bench.id, &config).unwrap();
}

#[test]
fn rfc9568_8_4_2_an_active_goes_from_version_to_version_without_letting_go() {
    let mut bench = Bench::new(|settings| settings.version = Version::V2);
    bench.become_active();
    for (version, both, each) in [(Version::V3, true, 2), (Version::V3, false, 1), (Version::V2, false, 1)] {
        upgrade(&mut bench, version, both);
        let done = bench.pass(2 * SECOND);
        // No resignation, no announcement, no Advertisement later than an interval after the last.
        assert_eq!(done.len(), 2 * each, "{version:?}: {done:?}");
        assert!(done.iter().all(|(_, did)| *did == Did::Sent(100, SECOND)), "{version:?}: {done:?}");
        assert_eq!(bench.state(), State::Active);
        bench.give(&bench.packet(99, 50)).unwrap();
        bench.pass(6 * SECOND);
    }
}

#[test]
fn rfc9568_8_4_2_a_backup_goes_from_version_to_version_and_follows_its_active() {
    let mut bench = Bench::new(|settings| settings.version = Version::V2);
    bench.drain();
    bench.give(&bench.packet(99, 200)).unwrap();
    upgrade(&mut bench, Version::V3, true);
    let heard = |bench: &Bench| bench.agent.view(bench.id).unwrap().heard_version;
    let due = |bench: &Bench| bench.due_in().unwrap();
    assert_eq!(due(&bench), 3 * SECOND + 156 * SECOND / 256);
    // The Active has not been upgraded yet.
    bench.now += SECOND;
    let packet = old(&bench, 99, 200, 1);
    bench.give(&packet).unwrap();
    assert_eq!((due(&bench), heard(&bench)), (3 * SECOND + 156 * SECOND / 256, Some(Version::V2)));
    // Now it has; what it says in version 2 as well is not what was heard.
    bench.now += SECOND;
    let packet = new(&bench, 99, 200, 10);
    bench.give(&packet).unwrap();
    let packet = old(&bench, 99, 200, 1);
    bench.give(&packet).unwrap();
    assert_eq!((due(&bench), heard(&bench)), (300 * MS + 156 * 100 * MS / 256, Some(Version::V3)));
    upgrade(&mut bench, Version::V3, false);
    assert_eq!((due(&bench), heard(&bench)), (300 * MS + 156 * 100 * MS / 256, None));
    assert_eq!(bench.state(), State::Backup);
}
