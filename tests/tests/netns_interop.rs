//! Steadfast beside keepalived and FRR on a LAN of network namespaces, from the same configuration file where the peer
//! reads it: who is Active after a start, a partition, its end and a planned stop; tshark's word on every Advertisement
//! of ours; and that, with the virtual MAC, nothing of ours binds a virtual address to another MAC. Each case is one
//! test; those at 0.01 s want a machine to themselves (`--skip 0.01s`, then `0.01s --test-threads=1`).

#![forbid(unsafe_code)]

use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::capture::Mark;
use steadfast_tests::lab::clock::{Stamp, ms, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine, available, frr_link};
use steadfast_tests::lab::frames::{self, mac_text};
use steadfast_tests::lab::probe::Prober;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::tshark::{self, Preference};
use steadfast_tests::lab::{Lan, namespace};

const LOW: usize = 0;
const HIGH: usize = 1;
const CLIENT: usize = 2;
const PRIORITIES: [u8; 2] = [100, 200];

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&["tshark"]) {
        println!("skipped: {why}");
        return;
    }
    // Without Steadfast's own binary they fail, of course.
    let missing = |engine: Engine| engine != Engine::Steadfast && available(engine).is_err();
    for engine in [Engine::Keepalived, Engine::Frr] {
        if let Err(why) = available(engine) {
            println!("skipped: beside {engine:?}: {why}");
        }
    }
    let mut trials = Vec::new();
    if !missing(Engine::Keepalived) {
        trials.push(Trial::test("lab-sees-keepalived-leak-its-mac", || {
            leak_check_can_fail();
            Ok(())
        }));
    }
    for spec in specs() {
        let mut peers = vec![Engine::Keepalived];
        if spec.version == 3 && spec.centiseconds >= 10 && !spec.unicast {
            peers.push(Engine::Frr);
        }
        peers.push(Engine::Steadfast);
        peers.retain(|&peer| !missing(peer));
        for peer in peers {
            let pairs: &[[Engine; 2]] = match peer {
                Engine::Steadfast => &[[Engine::Steadfast, Engine::Steadfast]],
                _ => &[[peer, Engine::Steadfast], [Engine::Steadfast, peer]],
            };
            for &pair in pairs {
                let spec = spec.clone();
                let name = format!("{}-{:?}-below-{:?}", spec.name(), pair[LOW], pair[HIGH]).to_lowercase();
                trials.push(Trial::test(name, move || {
                    duel(&spec, pair);
                    Ok(())
                }));
            }
        }
    }
    if !missing(Engine::Keepalived) {
        for vmac in [false, true] {
            let name =
                format!("rfc9568_8_4_2_both_versions_beside_keepalived_of_either{}", if vmac { "-vmac" } else { "" });
            trials.push(Trial::test(name, move || {
                both_versions(vmac);
                Ok(())
            }));
        }
    }
    // The laboratory's own proof: the peers alone pass the same scenario.
    for (spec, peer) in
        [(Spec::v2(), Engine::Keepalived), (Spec::v6(10), Engine::Keepalived), (Spec::v3(10), Engine::Frr)]
    {
        if missing(peer) {
            continue;
        }
        let name = format!("lab-{}-{peer:?}-below-{peer:?}", spec.name()).to_lowercase();
        trials.push(Trial::test(name, move || {
            duel(&spec, [peer, peer]);
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn specs() -> Vec<Spec> {
    let mut all = Vec::new();
    for vmac in [false, true] {
        all.push(Spec::v2().with_vmac(vmac));
        all.push(Spec { pass: true, ..Spec::v2() }.with_vmac(vmac));
        for centiseconds in [100, 10, 1] {
            all.push(Spec::v3(centiseconds).with_vmac(vmac));
            all.push(Spec::v6(centiseconds).with_vmac(vmac));
        }
    }
    let with_header = Spec { ah: true, ..Spec::v2() };
    for spec in [Spec::v2(), Spec::v3(10), Spec::v6(10), with_header.clone()] {
        all.push(Spec { unicast: true, ..spec });
    }
    all.extend([with_header.clone(), with_header.with_vmac(true)]);
    all
}

/// What a busy machine may add to a deadline, in ms. The figures themselves are the business of `netns_takeover.rs`.
const SLACK: f64 = 1500.0;

fn duel(spec: &Spec, pair: [Engine; 2]) {
    let lan = Lan::new(&["low", "high", "client"]);
    let low = Daemon::start(pair[LOW], &lan, LOW, &spec.on(LOW), PRIORITIES[LOW]);
    let election = ms(spec.down_ms(PRIORITIES[LOW]) + SLACK + 4000.0);
    lan.capture.wait_advert(lan.capture.mark(), LOW, election, |advert| advert.priority == PRIORITIES[LOW]);
    visit(&lan, spec, pair, LOW);

    // Higher priority preempts.
    let high = Daemon::start(pair[HIGH], &lan, HIGH, &spec.on(HIGH), PRIORITIES[HIGH]);
    lan.capture.wait_advert(lan.capture.mark(), HIGH, election, |advert| advert.priority == PRIORITIES[HIGH]);
    settle(&lan, spec, HIGH);
    visit(&lan, spec, pair, HIGH);

    // Cut off, silently: the other takes over, not early.
    let before = Stamp::now();
    let mark = lan.capture.mark();
    lan.cut(HIGH);
    let deadline = ms(spec.down_ms(PRIORITIES[LOW]) + SLACK);
    let taken = lan.capture.wait_advert(mark, LOW, deadline, |advert| advert.priority == PRIORITIES[LOW]);
    let adverts = lan.capture.adverts(start());
    let heard = adverts.iter().rev().find(|advert| advert.host == HIGH && advert.at < before);
    let silence = taken.at.ms_since(heard.expect("the Active had been heard").at);
    // FRR computes its skew in whole centiseconds.
    let early = if pair[LOW] == Engine::Frr { 10.0 } else { 1.5 };
    let bound = spec.down_ms(PRIORITIES[LOW]);
    assert!(silence >= bound - early, "taken over after {silence} ms of silence, before {bound} ms");
    visit(&lan, spec, pair, LOW);

    // The partition heals: the higher priority is the only Active again, and clients reach it.
    lan.heal(HIGH);
    settle(&lan, spec, HIGH);
    visit(&lan, spec, pair, HIGH);

    // A planned stop: farewell, and the other takes over within its skew.
    let mark = lan.capture.mark();
    high.terminate();
    let farewell = lan.capture.wait_advert(mark, HIGH, ms(SLACK), |advert| advert.priority == 0);
    if pair[HIGH] == Engine::Frr {
        lan.host(HIGH).namespace.ip(&format!("link set {} down", frr_link(spec)));
    }
    let taken =
        lan.capture.wait_advert(mark, LOW, ms(spec.skew_ms(PRIORITIES[LOW]) + SLACK), |advert| advert.priority > 0);
    let after = taken.at.ms_since(farewell.at);
    assert!(after >= spec.skew_ms(PRIORITIES[LOW]) - early, "taken over {after} ms after the farewell");
    settle(&lan, spec, LOW);
    visit(&lan, spec, pair, LOW);
    drop(low);

    for host in [LOW, HIGH] {
        if pair[host] == Engine::Steadfast {
            verdict(&lan, spec, host);
        }
    }
}

/// Ours speaks versions 2 and 3, between a keepalived of version 2 and one of version 3, which do not hear each other.
fn both_versions(vmac: bool) {
    const OURS: usize = 2;
    /// Version 2's and version 3's.
    const PEERS: [(usize, u8); 2] = [(0, 100), (1, 150)];
    let old = Spec { pass: true, ..Spec::v2() }.with_vmac(vmac);
    let new = Spec::v3(100).with_vmac(vmac);
    let both = Spec { pass: true, ..new.clone() }.with("both_versions");
    let lan = Lan::new(&["old", "new", "ours"]);
    let patience = ms(both.down_ms(1) + SLACK + 3000.0);
    // Each falls silent when it hears the other's version, so it is its first one that counts.
    let mark = lan.capture.mark();
    let _older = Daemon::start(Engine::Keepalived, &lan, 0, &old, PEERS[0].1);
    let newer = Daemon::start(Engine::Keepalived, &lan, 1, &new, PEERS[1].1);
    for (peer, priority) in PEERS {
        lan.capture.wait_advert(mark, peer, patience, |advert| advert.priority == priority);
    }
    // Both yield to it, and are silent as long as it is there.
    let ours = Daemon::start(Engine::Steadfast, &lan, OURS, &both, 200);
    ours.wait_state("active", patience);
    settle(&lan, &both, OURS);
    let begun = Stamp::now();
    wait_for("two Active_Down_Intervals", patience * 3, || (Stamp::now() > begun + ms(8000.0)).then_some(()));
    let adverts = lan.capture.adverts(start());
    let since: Vec<_> = adverts.iter().filter(|advert| advert.at > begun).collect();
    assert!(since.iter().all(|advert| advert.host == OURS), "{since:#?}");
    for version in [2, 3] {
        let count = since.iter().filter(|advert| advert.version == version).count();
        assert!((7..=9).contains(&count), "{count} Advertisements of version {version} in 8 s");
    }
    assert_eq!(ours.counter("version-errors"), 0);
    // It resigns in both, and each peer takes over after its skew.
    let mark = lan.capture.mark();
    let stopped = ours.terminate();
    for (peer, priority) in PEERS {
        let taken = lan.capture.wait_advert(mark, peer, patience, |advert| advert.priority == priority);
        let after = taken.at.ms_since(stopped);
        assert!(after < new.skew_ms(priority) + SLACK, "taken over {after} ms after the farewell");
    }
    drop(ours);
    // A Backup of version 2's Active.
    drop(newer);
    let ours = Daemon::start(Engine::Steadfast, &lan, OURS, &both, 50);
    ours.wait_state("backup", patience);
    let mark = lan.capture.mark();
    let begun = Stamp::now();
    wait_for("two Active_Down_Intervals", patience * 3, || (Stamp::now() > begun + ms(8000.0)).then_some(()));
    assert!(lan.capture.adverts(mark).iter().all(|advert| advert.host == 0));
    assert_eq!(ours.status().map(|status| status["routers"][0]["active_address"].clone()), Some("10.9.0.1".into()));
}

/// Waits until machine `host` alone has advertised for more than two intervals.
#[track_caller]
fn settle(lan: &Lan, spec: &Spec, host: usize) {
    let window = ms(spec.interval_ms() * 2.5);
    let patience = ms(spec.down_ms(1) * 2.0 + 3000.0);
    let begun = Stamp::now();
    wait_for("a single Active", patience, || {
        let now = Stamp::now();
        if now < begun + window {
            return None;
        }
        let adverts = lan.capture.adverts(start());
        let recent: Vec<_> = adverts.iter().filter(|advert| advert.at + window > now).collect();
        (!recent.is_empty() && recent.iter().all(|advert| advert.host == host)).then_some(())
    });
}

/// The client reaches the virtual address on machine `host`, although both have forgotten each other.
#[track_caller]
fn visit(lan: &Lan, spec: &Spec, pair: [Engine; 2], host: usize) {
    let (router, client) = (&lan.host(host).namespace, &lan.host(CLIENT).namespace);
    router.ip("neigh flush all");
    client.ip("neigh flush all");
    let prober = Prober::start(client, spec.vip(), Duration::from_millis(10));
    prober.wait_answer(Stamp::now(), ms(SLACK + 2000.0));
    drop(prober);
    let table = client.ip(&format!("neigh show {}", spec.vip()));
    let expected = match pair[host] {
        _ if spec.vmac => spec.virtual_mac(),
        Engine::Frr => spec.virtual_mac(),
        _ => lan.host(host).mac,
    };
    // keepalived and FRR leak another address of theirs now and then: only ours is held to it.
    if pair[host] == Engine::Steadfast {
        assert!(table.contains(&mac_text(expected)), "the client knows {table}, expected {}", mac_text(expected));
    }
}

/// tshark's and our own word on everything that machine `host` sent.
#[track_caller]
fn verdict(lan: &Lan, spec: &Spec, host: usize) {
    let frames: Vec<_> = lan.capture.all().into_iter().filter(|frame| frame.host == host).collect();
    let (judged, complaints) =
        tshark::complaints(lan.folder(), "ours", &frames, spec.destination(host), Preference::PseudoHeader);
    assert!(judged > 0, "there were Advertisements to judge");
    assert!(complaints.is_empty(), "tshark: {complaints:#?}");
    let expected = if spec.vmac { spec.virtual_mac() } else { lan.host(host).mac };
    for advert in frames.iter().filter_map(frames::advert) {
        assert_eq!(advert.ttl, 255);
        assert_eq!(advert.source_mac, expected, "source MAC of an Advertisement");
        assert_eq!((advert.version, advert.vrid), (spec.version, spec.vrid));
        let machine = lan.host(host);
        let source: std::net::IpAddr = match (spec.v6, spec.unicast) {
            (true, true) => machine.v6.into(),
            (true, false) => machine.link_local.into(),
            (false, _) => machine.v4.into(),
        };
        assert_eq!(advert.source, source, "source address of an Advertisement");
    }
    if spec.vmac {
        let leaks = leaks(lan, spec, host);
        assert!(leaks.is_empty(), "the virtual address was bound to another MAC: {leaks:#?}");
    }
}

/// Every frame of machine `host` that binds a virtual address to another MAC than the virtual one.
fn leaks(lan: &Lan, spec: &Spec, host: usize) -> Vec<String> {
    let virtual_addresses: Vec<std::net::IpAddr> =
        spec.addresses().iter().filter_map(|text| text.split('/').next()?.parse().ok()).collect();
    let frames = lan.capture.all();
    let bindings = frames.iter().filter(|frame| frame.host == host).filter_map(|frame| {
        let (address, mac) = frames::binding(frame)?;
        let wrong = virtual_addresses.contains(&address) && mac != spec.virtual_mac();
        wrong.then(|| format!("{address} at {}: {:02x?}", mac_text(mac), frame.bytes))
    });
    bindings.collect()
}

/// The check for leaked hardware addresses finds the one that keepalived is known for: it can fail.
fn leak_check_can_fail() {
    let spec = Spec::v3(10).with_vmac(true);
    let lan = Lan::new(&["low", "high", "client"]);
    let daemon = Daemon::start(Engine::Keepalived, &lan, LOW, &spec, 100);
    lan.capture.wait_advert(lan.capture.mark(), LOW, Duration::from_secs(6), |advert| advert.priority == 100);
    visit(&lan, &spec, [Engine::Keepalived; 2], LOW);
    drop(daemon);
    assert!(!leaks(&lan, &spec, LOW).is_empty(), "keepalived's own ARP requests were expected to leak its MAC");
}

fn start() -> Mark {
    Mark::default()
}
