//! What is believed and what is not, with a cipher that is none: the vectors are tested where the cipher is.

use core::net::{IpAddr, Ipv4Addr};
use std::vec::Vec;

use super::*;
use crate::types::{Interval, Priority, Version, Vrid};
use crate::wire::advertisement::{Advertisement, Authentication, Form, Outgoing};
use crate::wire::{GROUP_V4, GROUP_V6};

extern crate std;

/// Keys 1 and 2, if they are there. Every bit of the input moves the tag.
struct Sums(&'static [u8]);

impl Keys for Sums {
    fn tag(&self, key: u8, parts: &[&[u8]]) -> Option<Tag> {
        self.0.contains(&key).then(|| {
            let mut sum = 0xcbf2_9ce4_8422_2325_6c62_272e_07bb_0142_u128 ^ u128::from(key);
            for byte in parts.iter().copied().flatten() {
                sum = (sum ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
            }
            sum.to_be_bytes()
        })
    }
}

const BOTH: Sums = Sums(&[1, 2]);
const TIME: Policy = Policy { mode: Mode::Enforce, active_key: 1, window: Some(5) };
const MONOTONIC: Policy = Policy { window: None, ..TIME };

fn at(seconds: u64) -> Sequence {
    Sequence::at(seconds, 0)
}

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn envelope(source: IpAddr) -> Envelope {
    let destination = if source.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() };
    Envelope { source, destination, hop_limit: 255 }
}

fn settings(family: Family, version: Version) -> Settings {
    Settings { version, ..Settings::new(family, Vrid::new(51).unwrap()) }
}

fn router(policy: Policy) -> Authenticator<Vec<PeerMark>> {
    Authenticator::new(&settings(Family::V4, Version::V3), policy, Vec::new())
}

fn message(settings: &Settings, envelope: &Envelope) -> Vec<u8> {
    let mut buffer = [0; 128];
    let addresses =
        if envelope.source.is_ipv4() { [IpAddr::from([192, 0, 2, 100])] } else { ["fe80::100".parse().unwrap()] };
    let outgoing = Outgoing {
        version: settings.version,
        vrid: settings.vrid,
        priority: Priority::new(200),
        interval: Interval::DEFAULT,
        authentication: Authentication::None,
        addresses: &addresses,
    };
    let length = outgoing.emit(envelope.source, envelope.destination, Form::PseudoHeader, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// A packet of another router of these settings.
fn sealed(sender: &mut Authenticator<Vec<PeerMark>>, keys: &Sums, clock: Sequence, source: IpAddr) -> Vec<u8> {
    let Identity { family, version, .. } = sender.identity;
    let envelope = envelope(source);
    let mut buffer = message(&settings(family, version), &envelope);
    let length = buffer.len();
    buffer.resize(length + TRAILER, 0);
    let whole = sender.seal(keys, clock, &envelope, &mut buffer, length).unwrap();
    buffer.truncate(whole);
    buffer
}

/// Takes in a packet as a port does, whose agent takes everything.
fn hear(
    receiver: &mut Authenticator<Vec<PeerMark>>,
    clock: Sequence,
    source: IpAddr,
    payload: &[u8],
) -> Result<(), Unauthentic> {
    let mut room = [0; 128];
    let opened = receiver.open(&BOTH, clock, &envelope(source), payload, &mut room)?;
    if let Some(sequence) = opened.sequence {
        receiver.mark(source, sequence);
    }
    Ok(())
}

#[test]
fn what_one_seals_another_opens_and_the_agent_understands() {
    let v6: IpAddr = "fe80::10".parse().unwrap();
    for (family, version, source) in
        [(Family::V4, Version::V2, host(1)), (Family::V4, Version::V3, host(1)), (Family::V6, Version::V3, v6)]
    {
        let settings = settings(family, version);
        let mut sender = Authenticator::new(&settings, TIME, Vec::new());
        let mut receiver = Authenticator::new(&settings, TIME, Vec::new());
        let payload = sealed(&mut sender, &BOTH, at(100), source);
        let plain = message(&settings, &envelope(source));
        assert_eq!(payload.len(), plain.len() + TRAILER);
        // Over IPv4 the message is as it was.
        assert_eq!(family == Family::V4, payload.starts_with(&plain));
        let mut room = [0; 128];
        let opened = receiver.open(&BOTH, at(101), &envelope(source), &payload, &mut room).unwrap();
        assert_eq!((opened.message, opened.sequence), (&plain[..], Some(at(100))));
        assert!(Advertisement::parse(opened.message, &envelope(source)).is_ok());
        assert_eq!(receiver.counters().verified, 1);
    }
}

#[test]
fn every_flipped_bit_is_discarded_before_or_by_the_agent() {
    let v6: IpAddr = "fe80::10".parse().unwrap();
    for (family, version, source) in
        [(Family::V4, Version::V2, host(1)), (Family::V4, Version::V3, host(1)), (Family::V6, Version::V3, v6)]
    {
        let settings = settings(family, version);
        let payload = sealed(&mut Authenticator::new(&settings, MONOTONIC, Vec::new()), &BOTH, at(100), source);
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut receiver = Authenticator::new(&settings, MONOTONIC, Vec::new());
            let mut room = [0; 128];
            let opened = receiver.open(&BOTH, at(100), &envelope(source), &flipped, &mut room);
            let accepted = opened.is_ok_and(|opened| {
                Advertisement::parse(opened.message, &envelope(source)).is_ok_and(|read| read.vrid == settings.vrid)
            });
            assert!(!accepted, "{family:?} {version:?}: bit {bit}");
        }
        // Nor is it another's.
        let mut receiver = Authenticator::new(&settings, MONOTONIC, Vec::new());
        let other = if source.is_ipv4() { host(2) } else { "fe80::11".parse().unwrap() };
        assert_eq!(hear(&mut receiver, at(100), other, &payload), Err(Unauthentic::Mismatch));
        receiver.identity.vrid = Vrid::new(52).unwrap();
        assert_eq!(hear(&mut receiver, at(100), source, &payload), Err(Unauthentic::Mismatch));
    }
}

#[test]
fn no_length_lets_an_unsigned_message_pass() {
    let settings = settings(Family::V4, Version::V3);
    let mut payload = message(&settings, &envelope(host(1)));
    payload.resize(80, 0x31);
    for count in 0..=255 {
        payload[3] = count;
        for length in 0..payload.len() {
            let mut room = [0; 128];
            let opened = router(TIME).open(&BOTH, at(9), &envelope(host(1)), &payload[..length], &mut room);
            assert!(opened.is_err() || Advertisement::parse(&payload[..length], &envelope(host(1))).is_err());
        }
    }
}

#[test]
fn an_unsigned_message_is_a_matter_of_the_mode() {
    let plain = message(&settings(Family::V4, Version::V3), &envelope(host(1)));
    for (mode, expected) in
        [(Mode::Enforce, Err(Unauthentic::Missing)), (Mode::Permissive, Ok(())), (Mode::ReceiveOnly, Ok(()))]
    {
        let mut receiver = router(Policy { mode, ..TIME });
        assert_eq!(hear(&mut receiver, at(9), host(1), &plain), expected);
        assert_eq!(receiver.counters().missing + receiver.counters().unsigned, 1);
        // A wrong trailer is wrong in every mode.
        let mut wrong = sealed(&mut router(TIME), &BOTH, at(9), host(1));
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(hear(&mut receiver, at(9), host(1), &wrong), Err(Unauthentic::Mismatch));
        // And a right one is looked at in each.
        let right = sealed(&mut router(TIME), &BOTH, at(9), host(1));
        assert_eq!(hear(&mut receiver, at(9), host(1), &right), Ok(()));
        assert_eq!(hear(&mut receiver, at(9), host(1), &right), Err(Unauthentic::Replayed));
        // Who only receives sends as if there were no authentication.
        let sent = sealed(&mut router(Policy { mode, ..TIME }), &BOTH, at(9), host(1));
        assert_eq!(sent.len() == plain.len(), mode == Mode::ReceiveOnly);
    }
}

#[test]
fn keys_are_rotated_one_side_after_the_other() {
    let mut receiver = router(TIME);
    let mut sender = router(TIME);
    let old = sealed(&mut sender, &BOTH, at(10), host(1));
    sender.reconfigure(&settings(Family::V4, Version::V3), Policy { active_key: 2, ..TIME }, Vec::new());
    let new = sealed(&mut sender, &BOTH, at(11), host(1));
    assert_eq!(hear(&mut receiver, at(10), host(1), &old), Ok(()));
    assert_eq!(hear(&mut receiver, at(11), host(1), &new), Ok(()));
    // The new key does not make an old packet young.
    assert_eq!(hear(&mut receiver, at(11), host(1), &old), Err(Unauthentic::Replayed));
    let mut room = [0; 128];
    let opened = router(TIME).open(&Sums(&[1]), at(11), &envelope(host(1)), &new, &mut room);
    assert_eq!(opened, Err(Unauthentic::UnknownKey));
    let mut buffer = [0; 128];
    assert_eq!(sender.seal(&Sums(&[1]), at(11), &envelope(host(1)), &mut buffer, 12), Err(Full));
    assert_eq!(sender.seal(&BOTH, at(11), &envelope(host(1)), &mut buffer[..39], 12), Err(Full));
}

#[test]
fn the_window_is_as_wide_as_it_says_on_both_sides() {
    for (ours, expected) in [(94, false), (95, true), (100, true), (105, true), (106, false)] {
        let payload = sealed(&mut router(TIME), &BOTH, at(100), host(1));
        let mut receiver = router(TIME);
        let heard = hear(&mut receiver, at(ours), host(1), &payload);
        assert_eq!(heard, if expected { Ok(()) } else { Err(Unauthentic::Stale) }, "{ours}");
        assert_eq!(receiver.counters().stale, usize::from(!expected));
        // More than half of it is told of while it still does no harm.
        assert_eq!(receiver.counters().skewed, usize::from(expected && ours != 100));
        // Without a clock nothing of it counts.
        assert_eq!(hear(&mut router(MONOTONIC), at(ours), host(1), &payload), Ok(()));
    }
}

#[test]
fn a_sequence_only_grows() {
    for policy in [TIME, MONOTONIC] {
        let mut sender = router(policy);
        // Three in one instant, and one after the clock was set back a little.
        let packets = [100, 100, 100, 98].map(|clock| sealed(&mut sender, &BOTH, at(clock), host(1)));
        let mut receiver = router(policy);
        for packet in &packets {
            assert_eq!(hear(&mut receiver, at(100), host(1), packet), Ok(()));
        }
        for packet in &packets {
            assert_eq!(hear(&mut receiver, at(100), host(1), packet), Err(Unauthentic::Replayed));
        }
        assert_eq!(receiver.counters().replayed, 4);
    }
}

#[test]
fn a_clock_that_was_far_ahead_is_followed_in_time_mode_only() {
    let mut sender = router(TIME);
    let mut receiver = router(TIME);
    let early = sealed(&mut sender, &BOTH, at(4000), host(1));
    assert_eq!(hear(&mut receiver, at(4000), host(1), &early), Ok(()));
    // Both clocks are put right: the sender begins anew, and the mark of the receiver orders nothing any more.
    let late = sealed(&mut sender, &BOTH, at(400), host(1));
    assert_eq!(hear(&mut receiver, at(400), host(1), &late), Ok(()));
    assert_eq!(hear(&mut receiver, at(400), host(1), &late), Err(Unauthentic::Replayed));
    // Without a window it goes on growing.
    let (mut sender, mut receiver) = (router(MONOTONIC), router(MONOTONIC));
    for clock in [4000, 400] {
        let packet = sealed(&mut sender, &BOTH, at(clock), host(1));
        assert_eq!(hear(&mut receiver, at(7), host(1), &packet), Ok(()));
    }
    // Somebody who begins anew does not get past his own mark.
    let restarted = sealed(&mut router(MONOTONIC), &BOTH, at(400), host(1));
    assert_eq!(hear(&mut receiver, at(7), host(1), &restarted), Err(Unauthentic::Replayed));
}

#[test]
fn rfc1982_the_end_of_the_seconds_is_not_noticed() {
    let end = u64::from(u32::MAX);
    for policy in [TIME, MONOTONIC] {
        let (mut sender, mut receiver) = (router(policy), router(policy));
        for clock in [end - 1, end, end + 1, end + 2] {
            let packet = sealed(&mut sender, &BOTH, at(clock), host(1));
            assert_eq!(hear(&mut receiver, at(clock + 1), host(1), &packet), Ok(()));
            assert_eq!(hear(&mut receiver, at(clock + 1), host(1), &packet), Err(Unauthentic::Replayed));
        }
    }
}

#[test]
fn the_last_four_senders_of_a_group_are_remembered() {
    let mut receiver = router(TIME);
    let packets: Vec<_> =
        (1..=5).map(|number| (host(number), sealed(&mut router(TIME), &BOTH, at(50), host(number)))).collect();
    for (source, packet) in &packets[..4] {
        assert_eq!(hear(&mut receiver, at(50), *source, packet), Ok(()));
    }
    // The first one speaks again, so the second is the one that has been silent for longest when a fifth comes.
    let again = sealed(&mut router(TIME), &BOTH, at(51), host(1));
    assert_eq!(hear(&mut receiver, at(51), host(1), &again), Ok(()));
    assert_eq!(hear(&mut receiver, at(51), host(5), &packets[4].1), Ok(()));
    for number in [0, 2, 3, 4] {
        let (source, packet) = &packets[number];
        assert_eq!(hear(&mut receiver, at(51), *source, packet), Err(Unauthentic::Replayed), "{source}");
    }
    assert_eq!(receiver.marks.of(host(2)), None);
}

#[test]
fn peers_are_remembered_whoever_else_speaks_and_over_a_reload() {
    let settings = settings(Family::V4, Version::V3);
    let peers: Vec<_> = (1..=6).map(|number| PeerMark::new(host(number))).collect();
    let mut receiver = Authenticator::new(&settings, TIME, peers.clone());
    let packets: Vec<_> =
        (1..=12).map(|number| (host(number), sealed(&mut router(TIME), &BOTH, at(50), host(number)))).collect();
    for (source, packet) in &packets {
        assert_eq!(hear(&mut receiver, at(50), *source, packet), Ok(()));
    }
    for (source, packet) in &packets[..6] {
        assert_eq!(hear(&mut receiver, at(50), *source, packet), Err(Unauthentic::Replayed), "{source}");
    }
    receiver.reconfigure(&settings, Policy { active_key: 2, ..TIME }, peers[..5].to_vec());
    for (source, packet) in &packets[..5] {
        assert_eq!(hear(&mut receiver, at(50), *source, packet), Err(Unauthentic::Replayed), "{source}");
    }
}

#[test]
fn a_message_that_the_agent_did_not_take_may_come_again() {
    // Somebody on the way breaks its checksum, or sends it from afar; the true one comes after it.
    let packet = sealed(&mut router(TIME), &BOTH, at(50), host(1));
    let mut receiver = router(TIME);
    let mut room = [0; 128];
    assert!(receiver.open(&BOTH, at(50), &envelope(host(1)), &packet, &mut room).is_ok());
    assert_eq!(hear(&mut receiver, at(50), host(1), &packet), Ok(()));
}

#[test]
fn with_headers_sequences_grow_over_all_routers() {
    let group = envelope(host(1));
    let peers = Vec::<PeerMark>::new;
    let (mut ours, mut theirs) = (HeaderAuthenticator::new(peers()), HeaderAuthenticator::new(peers()));
    let message = |room: &mut [u8]| {
        room.iter_mut().zip(b"message").for_each(|(to, from)| *to = *from);
        Ok(7)
    };
    /// The key of headers is number 0.
    const KEY: Sums = Sums(&[0]);
    let mut buffer = [0; 64];
    let length = ours.emit(&KEY, at(1000), &group, &mut buffer, message).unwrap();
    let first = Packet::parse(&buffer[..length]).unwrap();
    assert_eq!((first.sequence, first.message), (1000, &b"message"[..]));
    assert_eq!(theirs.verify(&KEY, &first), Ok(()));
    // It counts only once it was taken.
    assert_eq!(theirs.verify(&KEY, &first), Ok(()));
    theirs.mark(&first);
    assert_eq!(theirs.verify(&KEY, &first), Err(Unauthentic::Replayed));
    assert_eq!(theirs.verify(&Sums(&[]), &first), Err(Unauthentic::Mismatch));
    let mut wrong = first;
    wrong.has_own_index = false;
    assert_eq!(theirs.verify(&KEY, &wrong), Err(Unauthentic::Malformed));
    // Whoever takes over goes on from there, whatever his clock.
    let mut other = [0; 64];
    let length = theirs.emit(&KEY, at(3), &envelope(host(2)), &mut other, message).unwrap();
    assert_eq!(Packet::parse(&other[..length]).unwrap().sequence, 1001);
    for bit in 0..length * 8 {
        let mut flipped = other;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let packet = Packet::parse(&flipped[..length]);
        assert!(packet.is_none_or(|packet| ours.verify(&KEY, &packet).is_err()), "bit {bit}");
    }
    assert_eq!(theirs.missing(), Unauthentic::Missing);
    let AuthCounters { verified, replayed, mismatches, malformed, missing, .. } = *theirs.counters();
    assert_eq!((verified, replayed, mismatches, malformed, missing), (2, 1, 1, 1, 1));
}

/// RFC 9568 section 8.4.2: each version has its own tag, and neither is a way around the other.
#[cfg(feature = "both-versions")]
#[test]
fn who_speaks_both_versions_authenticates_both() {
    let both = Settings { both_versions: true, ..settings(Family::V4, Version::V3) };
    let from = envelope(host(1));
    let seal = |sender: &mut Authenticator<Vec<PeerMark>>, version| {
        let mut buffer = message(&settings(Family::V4, version), &from);
        let length = buffer.len();
        buffer.resize(length + TRAILER, 0);
        sender.seal(&BOTH, at(100), &from, &mut buffer, length).unwrap();
        buffer
    };
    let mut sender = Authenticator::new(&both, MONOTONIC, Vec::new());
    let mut receiver = Authenticator::new(&both, MONOTONIC, Vec::new());
    let twins = [Version::V3, Version::V2].map(|version| (version, seal(&mut sender, version)));
    for (version, payload) in &twins {
        assert_eq!(hear(&mut receiver, at(100), host(1), payload), Ok(()), "{version:?}");
        // So does who speaks this one only.
        let mut one = Authenticator::new(&settings(Family::V4, *version), MONOTONIC, Vec::new());
        assert_eq!(hear(&mut one, at(100), host(1), payload), Ok(()), "{version:?}");
        assert_eq!(one.counters().verified, 1);
        // And is believed.
        let payload = seal(&mut Authenticator::new(&settings(Family::V4, *version), TIME, Vec::new()), *version);
        let mut receiver = Authenticator::new(&both, MONOTONIC, Vec::new());
        assert_eq!(hear(&mut receiver, at(100), host(1), &payload), Ok(()), "{version:?}");
        assert_eq!(receiver.counters().verified, 1);
        // Without a tag neither passes, nor with that of the other version.
        assert_eq!(
            hear(&mut receiver, at(101), host(1), &payload[..payload.len() - TRAILER]),
            Err(Unauthentic::Missing)
        );
        let mut changed = payload.clone();
        changed[2] = 255;
        assert_eq!(hear(&mut receiver, at(101), host(1), &changed), Err(Unauthentic::Mismatch));
    }
    assert_eq!(receiver.counters().verified, 2);
    for (_, payload) in &twins {
        assert_eq!(hear(&mut receiver, at(100), host(1), payload), Err(Unauthentic::Replayed));
    }
}

#[test]
fn a_reload_may_change_the_version() {
    let [old, new] = [Version::V2, Version::V3].map(|version| settings(Family::V4, version));
    let mut receiver = Authenticator::new(&old, MONOTONIC, Vec::new());
    let payload = sealed(&mut Authenticator::new(&old, MONOTONIC, Vec::new()), &BOTH, at(100), host(1));
    assert_eq!(hear(&mut receiver, at(100), host(1), &payload), Ok(()));
    receiver.reconfigure(&new, MONOTONIC, Vec::new());
    for (seconds, heard) in [(100, Err(Unauthentic::Replayed)), (101, Ok(()))] {
        let payload = sealed(&mut Authenticator::new(&new, MONOTONIC, Vec::new()), &BOTH, at(seconds), host(1));
        assert_eq!(hear(&mut receiver, at(100), host(1), &payload), heard);
    }
}
