//! The firmware in real elections: the process on a TAP device, the C example and the board's image, beside Steadfast
//! on Linux, keepalived and each other. Who is Active after a start, a partition, its end and a planned stop; how late
//! a take-over is; what a client sees of it; that no virtual address is ever bound to a station's MAC address; and that
//! the hostile LAN changes nothing. Those named `timing` want a machine to themselves.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::capture::Mark;
use steadfast_tests::lab::clock::{Stamp, median, ms, summary, wait_for};
use steadfast_tests::lab::engine::Engine;
use steadfast_tests::lab::firmware::{Board, Party, Running, Tcpdump, permitted};
use steadfast_tests::lab::frames::{self, Frame, largest_pause, mac_text};
use steadfast_tests::lab::hostile::{kinds, names};
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::namespace::Namespace;
use steadfast_tests::lab::probe::Prober;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::tshark::{self, Preference};
use steadfast_tests::lab::{Lan, thorough};

const LOW: usize = 0;
const HIGH: usize = 1;
const CLIENT: usize = 2;
const PRIORITIES: [u8; 2] = [100, 200];

/// What a busy machine may add to a deadline, in ms. Figures are the business of the tests named `timing`.
const SLACK: f64 = 1500.0;
/// How late a take-over may be, in ms, on a machine that does nothing else.
const LATE: f64 = 10.0;

const STEADFAST: Party = Party::Linux(Engine::Steadfast);
const KEEPALIVED: Party = Party::Linux(Engine::Keepalived);
const TAP: Party = Party::Firmware(Board::Tap);
const C: Party = Party::Firmware(Board::C);
const SANITIZED: Party = Party::Firmware(Board::Sanitized);
const IMAGE: Party = Party::Firmware(Board::Image);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = permitted() {
        println!("skipped: {why}");
        return;
    }
    for party in [KEEPALIVED, IMAGE] {
        if let Err(why) = party.available() {
            println!("skipped: {}: {why}", party.name());
        }
    }
    let mut trials = Vec::new();
    let mut add = |name: String, test: Box<dyn FnOnce() + Send>| {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    };
    for pair in pairs() {
        for spec in specs(pair) {
            let names = pair.map(Party::name);
            let name = format!("{}-{}-below-{}", spec.name(), names[LOW], names[HIGH]);
            add(name, Box::new(move || duel(&spec, pair)));
        }
    }
    let firmware = [TAP, C, IMAGE].into_iter().filter(|&party| party != IMAGE || IMAGE.available().is_ok());
    for party in firmware {
        for spec in [Spec::v3(10), Spec::v6(10)] {
            let name = format!("{}-{}", spec.name(), party.name());
            let (one, two) = (spec.clone(), spec.clone());
            add(format!("answers-{name}"), Box::new(move || answers(&one, party)));
            add(format!("timing-takeover-{name}"), Box::new(move || takeover(&two, party)));
        }
        for spec in [Spec::v2(), Spec::v3(100), Spec::v6(100)] {
            let name = format!("{}-{}", spec.name(), party.name());
            add(format!("hostile-{name}"), Box::new(move || hostile(&spec, party)));
        }
    }
    let ours = [STEADFAST, TAP, C, IMAGE].into_iter().filter(|party| party.available().is_ok());
    for (low, high) in ours.clone().flat_map(|low| ours.clone().map(move |high| (low, high))) {
        for spec in [Spec::v3(10), Spec::v6(10)] {
            let name = format!("timing-planned-stop-{}-{}-below-{}", spec.name(), low.name(), high.name());
            add(name, Box::new(move || planned_stop(&spec, [low, high])));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Who meets whom: (below, above).
fn pairs() -> Vec<[Party; 2]> {
    let mut all = Vec::new();
    for firmware in [TAP, C, IMAGE] {
        for other in [STEADFAST, KEEPALIVED] {
            all.extend([[firmware, other], [other, firmware]]);
        }
    }
    all.extend([[TAP, C], [C, TAP], [TAP, IMAGE], [IMAGE, C], [SANITIZED, STEADFAST], [STEADFAST, SANITIZED]]);
    // Without what was built for these tests they fail, of course.
    all.retain(|pair| pair.iter().all(|&party| ![KEEPALIVED, IMAGE].contains(&party) || party.available().is_ok()));
    all
}

fn specs(pair: [Party; 2]) -> Vec<Spec> {
    if pair.contains(&SANITIZED) {
        return [Spec::v3(10), Spec::v6(10)].map(|spec| spec.with_vmac(true)).to_vec();
    }
    let all = vec![Spec::v2(), Spec::v3(10), Spec::v6(10)];
    // The firmware always uses the virtual MAC; its peer is asked to.
    let all = all.into_iter().map(|spec| spec.with_vmac(true));
    // keepalived with and without.
    let extra = (pair.contains(&KEEPALIVED)).then(|| Spec::v3(10));
    all.chain(extra).collect()
}

/// A LAN with a client, on which the parties get TAP devices where they want them.
fn lan(pair: [Party; 2]) -> Lan {
    for party in pair {
        if let Err(why) = party.available() {
            panic!("{}: {why}", party.name());
        }
    }
    let taps: Vec<usize> = [LOW, HIGH].into_iter().filter(|&host| pair[host].on_tap()).collect();
    Lan::with_taps(&["low", "high", "client"], &taps)
}

/// Election, preemption, partition, its end, planned stop.
fn duel(spec: &Spec, pair: [Party; 2]) {
    let lan = lan(pair);
    let election = ms(spec.down_ms(PRIORITIES[LOW]) + SLACK + 4000.0);
    let mut low = Running::start(pair[LOW], &lan, LOW, spec, PRIORITIES[LOW]);
    lan.capture.wait_advert(Mark::default(), LOW, election, |advert| advert.priority == PRIORITIES[LOW]);
    visit(&lan, spec, pair, LOW);

    // Higher priority preempts.
    let mark = lan.capture.mark();
    let mut high = Running::start(pair[HIGH], &lan, HIGH, spec, PRIORITIES[HIGH]);
    lan.capture.wait_advert(mark, HIGH, election, |advert| advert.priority == PRIORITIES[HIGH]);
    settle(&lan, spec, HIGH);
    visit(&lan, spec, pair, HIGH);

    // Cut off, silently: the other takes over, not early.
    let late = cut_once(&lan, spec);
    assert!((-early(pair[LOW])..SLACK).contains(&late), "taken over {late} ms after the theoretical interval");
    visit(&lan, spec, pair, LOW);

    // The partition heals: the higher priority is the only Active again, and clients reach it.
    lan.heal(HIGH);
    settle(&lan, spec, HIGH);
    visit(&lan, spec, pair, HIGH);

    // A planned stop: farewell, and the other takes over within its skew.
    let mark = lan.capture.mark();
    high.terminate();
    let farewell = lan.capture.wait_advert(mark, HIGH, ms(SLACK), |advert| advert.priority == 0);
    let patience = ms(spec.skew_ms(PRIORITIES[LOW]) + SLACK);
    let taken = lan.capture.wait_advert(mark, LOW, patience, |advert| advert.priority > 0);
    let after = taken.at.ms_since(farewell.at);
    let skew = spec.skew_ms(PRIORITIES[LOW]);
    assert!(after >= skew - early(pair[LOW]), "taken over {after} ms after the farewell");
    let code = high.wait(Duration::from_secs(5));
    assert!(!pair[HIGH].on_tap() || code == Some(0), "the end of the firmware: {code:?}\n{}", high.log());
    settle(&lan, spec, LOW);
    visit(&lan, spec, pair, LOW);

    assert!(low.is_running(), "{}", low.log());
    for host in [LOW, HIGH] {
        if pair[host].is_ours() {
            verdict(&lan, spec, host);
        }
    }
}

/// How early a party may be, in ms: the reading of clocks, and of two time stamps.
fn early(party: Party) -> f64 {
    if party.is_ours() { 1.5 } else { 3.0 }
}

/// Cuts HIGH off at a moment at which it does not advertise; how long after the theoretical interval LOW advertises, in
/// ms. HIGH stays cut off.
fn cut_once(lan: &Lan, spec: &Spec) -> f64 {
    for _ in 0..8 {
        let patience = ms(spec.interval_ms() * 3.0 + 500.0);
        lan.capture.wait_advert(lan.capture.mark(), HIGH, patience, |_| true);
        (Stamp::now() + ms(spec.interval_ms() * 0.3)).sleep();
        let (mark, before) = (lan.capture.mark(), Stamp::now());
        let after = lan.cut(HIGH);
        let deadline = ms(spec.down_ms(PRIORITIES[LOW]) + SLACK);
        let taken = lan.capture.wait_advert(mark, LOW, deadline, |advert| advert.priority == PRIORITIES[LOW]);
        let adverts = lan.capture.adverts(Mark::default());
        let mut of_high = adverts.iter().rev().filter(|advert| advert.host == HIGH && advert.at <= after);
        let last = of_high.next().expect("the Active had been heard").at;
        // An Advertisement at the very moment of the cut: nobody knows whether it came through.
        if last < before {
            return taken.at.ms_since(last) - spec.down_ms(PRIORITIES[LOW]);
        }
        lan.heal(HIGH);
        settle(lan, spec, HIGH);
    }
    panic!("an Advertisement at the very moment of every cut");
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
        let adverts = lan.capture.adverts(Mark::default());
        let recent: Vec<_> = adverts.iter().filter(|advert| advert.at + window > now).collect();
        (!recent.is_empty() && recent.iter().all(|advert| advert.host == host)).then_some(())
    });
}

/// The client reaches the virtual address on machine `host`, although it has forgotten where it is.
#[track_caller]
fn visit(lan: &Lan, spec: &Spec, pair: [Party; 2], host: usize) {
    let client = &lan.host(CLIENT).namespace;
    if !pair[host].on_tap() {
        lan.host(host).namespace.ip("neigh flush all");
    }
    client.ip("neigh flush all");
    let prober = Prober::start(client, spec.vip(), Duration::from_millis(10));
    prober.wait_answer(Stamp::now(), ms(SLACK + 2000.0));
    drop(prober);
    if pair[host].is_ours() {
        let (table, expected) = (client.ip(&format!("neigh show {}", spec.vip())), mac_text(spec.virtual_mac()));
        let plain = pair[host] == STEADFAST && !spec.vmac;
        assert!(plain || table.contains(&expected), "the client knows {table}, expected {expected}");
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
    let source: IpAddr = if spec.v6 { lan.host(host).link_local.into() } else { lan.host(host).v4.into() };
    for advert in frames.iter().filter_map(frames::advert) {
        assert_eq!((advert.version, advert.vrid, advert.ttl), (spec.version, spec.vrid, 255));
        assert_eq!(advert.source, source, "source address of an Advertisement");
        if spec.vmac {
            assert_eq!(advert.source_mac, spec.virtual_mac(), "source MAC of an Advertisement");
        }
    }
    if spec.vmac {
        let leaks = leaks(lan, spec, host);
        assert!(leaks.is_empty(), "a virtual address was bound to another MAC: {leaks:#?}");
    }
}

fn virtual_addresses(spec: &Spec) -> Vec<IpAddr> {
    spec.addresses().iter().filter_map(|text| text.split('/').next()?.parse().ok()).collect()
}

/// Every frame of machine `host` that binds a virtual address to another MAC than the virtual one, or says something of
/// it and leaves from another MAC.
fn leaks(lan: &Lan, spec: &Spec, host: usize) -> Vec<String> {
    let addresses = virtual_addresses(spec);
    let complaint = |frame: &Frame| {
        let (address, mac) = frames::binding(frame)?;
        let source = frame.bytes.get(6..12)?;
        let wrong = addresses.contains(&address) && (mac != spec.virtual_mac() || source != spec.virtual_mac());
        wrong.then(|| format!("{address} at {}: {:02x?}", mac_text(mac), frame.bytes))
    };
    lan.capture.all().iter().filter(|frame| frame.host == host).filter_map(complaint).collect()
}

/// Programs that ask in the client's namespace, and what they say.
fn ask(client: &Namespace, words: &str) -> String {
    let mut words = words.split_whitespace();
    let mut command: Command = client.command(words.next().unwrap_or("true"));
    let output = command.args(words).output().expect("the program runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether an address answers one of some echoes.
fn answered(client: &Namespace, address: &str) -> bool {
    !ask(client, &format!("ping -n -c 5 -i 0.2 -W 1 {address}")).contains(" 0 received")
}

/// Who has the virtual address: ARP or Neighbour Discovery.
fn who_has(client: &Namespace, spec: &Spec) -> String {
    let vip = spec.vip();
    if spec.v6 {
        ask(client, &format!("ndisc6 -1 -n -r 1 -w 500 {vip} eth0"))
    } else {
        ask(client, &format!("arping -c 1 -w 1 -i eth0 {vip}"))
    }
}

/// How many frames machine `host` has sent so far, of whatever kind.
fn said(lan: &Lan, host: usize) -> u64 {
    let text = lan.hub().ip(&format!("-s -j link show p{host}"));
    let links: serde_json::Value = serde_json::from_str(&text).expect("ip writes JSON");
    links[0]["stats64"]["rx"]["packets"].as_u64().expect("a count of packets")
}

/// While Active: ARP or NS answered with the virtual MAC, an echo only with Accept_Mode. While Backup: neither. tcpdump
/// watches at the client.
fn answers(spec: &Spec, party: Party) {
    for accept in [true, false] {
        let spec = spec.clone().with_vmac(true).with(if accept { "accept" } else { "no_accept" });
        let lan = lan([STEADFAST, party]);
        let client = &lan.host(CLIENT).namespace;
        let watch = Tcpdump::start(&lan, CLIENT);
        let high = Running::start(party, &lan, HIGH, &spec, PRIORITIES[HIGH]);
        let patience = ms(spec.down_ms(PRIORITIES[HIGH]) + SLACK + 2000.0);
        lan.capture.wait_advert(Mark::default(), HIGH, patience, |advert| advert.priority == PRIORITIES[HIGH]);

        let (found, expected) = (who_has(client, &spec), mac_text(spec.virtual_mac()));
        assert!(found.to_lowercase().contains(&expected), "who has {}: {found}\n{}", spec.vip(), high.log());
        let echo = ask(client, &format!("ping -n -c 3 -i 0.2 -W 1 {}", spec.vip()));
        let replied = !echo.contains(" 0 received");
        assert_eq!(replied, accept, "Accept_Mode is {accept}:\n{echo}\n{}", high.log());
        // Its own addresses are answered for by its own MAC, as before.
        let own: IpAddr = if spec.v6 { lan.host(HIGH).link_local.into() } else { lan.host(HIGH).v4.into() };
        let scope = if spec.v6 { "%eth0" } else { "" };
        assert!(answered(client, &format!("{own}{scope}")), "its own address:\n{}", high.log());
        drop(high);

        // As a Backup it says nothing at all, although every question reaches it; the Active answers.
        let mark = lan.capture.mark();
        let above = Running::start(STEADFAST, &lan, LOW, &spec, 250);
        lan.capture.wait_advert(mark, LOW, patience, |advert| advert.priority == 250);
        let below = Running::start(party, &lan, HIGH, &spec, PRIORITIES[HIGH]);
        lan.flood();
        (Stamp::now() + ms(spec.down_ms(PRIORITIES[HIGH]) * 1.5)).sleep();
        let (mark, before) = (lan.capture.mark(), said(&lan, HIGH));
        client.ip("neigh flush all");
        let found = who_has(client, &spec);
        assert!(found.to_lowercase().contains(&expected), "who has {}: {found}\n{}", spec.vip(), above.log());
        ask(client, &format!("ping -n -c 8 -i 0.1 -W 1 {}", spec.vip()));
        let more = said(&lan, HIGH) - before;
        // It may repeat the report of its multicast groups.
        assert!(more <= 2, "a Backup sent {more} frames\n{}", below.log());
        let frames = lan.capture.since(mark);
        let of_it = frames.iter().filter(|frame| frame.host == HIGH && frames::binding(frame).is_some());
        assert_eq!(of_it.count(), 0, "a Backup spoke of an address: {frames:#?}");
        drop((above, below));

        let lines = watch.stop();
        let (station, vip) = (mac_text(lan.host(HIGH).mac), spec.vip().to_string());
        let wrong: Vec<&String> = lines
            .iter()
            .filter(|line| line.contains(&format!(" {station} > ")))
            .filter(|line| line.contains(&format!(" {vip} > ")) || line.contains(&format!("{vip} is-at")))
            .collect();
        assert!(!lines.is_empty() && wrong.is_empty(), "the station's MAC for the virtual address: {wrong:#?}");
        let replies = lines.iter().any(|line| line.contains("echo reply") && line.contains(&format!(" {vip} > ")));
        assert!(replies || !accept, "tcpdump saw no echo replies of {vip}: {lines:#?}");
        for host in [LOW, HIGH] {
            let leaks = leaks(&lan, &spec, host);
            assert!(leaks.is_empty(), "a virtual address was bound to another MAC: {leaks:#?}");
        }
    }
}

fn figure(spec: &Spec, party: Party, what: &str, values: &[f64]) {
    // After the name of the test, which has no end of line yet.
    println!("\nfigure: {:<20} {:<8} {:<44} {}", spec.name(), party.name(), what, summary(values));
}

/// Last Advertisement heard → first one sent, less the theoretical interval, as the capture stamps them.
fn takeover(spec: &Spec, party: Party) {
    let spec = spec.clone().with_vmac(true);
    let pair = [party, STEADFAST];
    let lan = lan(pair);
    let _high = Running::start(STEADFAST, &lan, HIGH, &spec, PRIORITIES[HIGH]);
    let low = Running::start(party, &lan, LOW, &spec, PRIORITIES[LOW]);
    let mut late = Vec::new();
    for _ in 0..if thorough() { 20 } else { 5 } {
        settle(&lan, &spec, HIGH);
        late.push(cut_once(&lan, &spec));
        lan.heal(HIGH);
    }
    figure(&spec, party, "take-over later than theory, ms", &late);
    if party == IMAGE {
        // On a machine that QEMU shares, what counts is what the board's own timer says.
        late = own_stamps(&low.log()).into_iter().map(|took| took - spec.down_ms(PRIORITIES[LOW])).collect();
        figure(&spec, party, "the same by its own clock, ms", &late);
        assert!(late.len() >= 5, "{}", low.log());
    }
    assert!(late.iter().all(|&late| late >= -early(party)), "too early: {late:?}");
    assert!(median(&late) <= LATE, "too late: {late:?}");
}

/// What a board says of its take-overs: from the last Advertisement that it heard to its first, in ms.
fn own_stamps(transcript: &str) -> Vec<f64> {
    let stamp = |line: &str, word: &str| {
        let (_, rest) = line.rsplit_once(word)?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    let took = |line: &str| Some((stamp(line, "sent at")? - stamp(line, "heard at")?) / 1e3);
    transcript.lines().filter(|line| line.contains("no-response")).filter_map(took).collect()
}

/// A planned stop loses at most one probe of 1 ms, each time.
fn planned_stop(spec: &Spec, pair: [Party; 2]) {
    const STOPS: usize = 5;
    let spec = spec.clone().with_vmac(true);
    let lan = lan(pair);
    let client = &lan.host(CLIENT).namespace;
    let _low = Running::start(pair[LOW], &lan, LOW, &spec, PRIORITIES[LOW]);
    let mut high = Running::start(pair[HIGH], &lan, HIGH, &spec, PRIORITIES[HIGH]);
    let (mut lost, mut when) = (Vec::new(), Vec::new());
    for _ in 0..STOPS {
        settle(&lan, &spec, HIGH);
        let prober = Prober::start(client, spec.vip(), Duration::from_millis(1));
        prober.wait_answer(Stamp::now(), Duration::from_secs(3));
        let (mark, begun) = (lan.capture.mark(), high.terminate());
        let taken = lan.capture.wait_advert(mark, LOW, ms(SLACK), |advert| advert.priority > 0);
        high.wait(Duration::from_secs(5));
        prober.wait_answer(Stamp::now(), Duration::from_secs(2));
        let end = Stamp::now();
        let probes = prober.stop();
        lost.push(probes.lost(begun, end) as f64);
        let announced =
            lan.capture.since(mark).into_iter().find(|frame| frame.host == LOW && frames::binding(frame).is_some());
        let announced = announced.map(|frame| frame.at.ms_since(taken.at));
        when.push((announced, probes.unanswered(begun, end).map(|sent| sent.ms_since(taken.at)).collect::<Vec<_>>()));
        high.resume(pair[HIGH], &lan, HIGH, &spec, PRIORITIES[HIGH]);
    }
    figure(&spec, pair[LOW], &format!("planned stop, below {}: lost probes", pair[HIGH].name()), &lost);
    let most = lost.iter().copied().fold(0.0, f64::max);
    assert!(most <= 1.0, "first announcement and lost probes, in ms after the successor's Advertisement: {when:?}");
}

/// Every bad packet at 2 and at 1,000 a second against a pair of the firmware.
fn hostile(spec: &Spec, party: Party) {
    let lan = lan([party, party]);
    let mut low = Running::start(party, &lan, LOW, spec, PRIORITIES[LOW]);
    let mut high = Running::start(party, &lan, HIGH, spec, PRIORITIES[HIGH]);
    settle(&lan, spec, HIGH);
    let attacker = &lan.host(CLIENT).namespace;
    let mut broken = Vec::new();
    for kind in kinds(spec, lan.host(CLIENT), lan.host(HIGH)) {
        for (rate, seconds) in [(1000, 1.5), (2, 1.5)] {
            let seconds = if thorough() { 10.0 } else { seconds };
            let (mark, begun) = (lan.capture.mark(), Stamp::now());
            inject(attacker, std::slice::from_ref(&kind.frame), rate, Duration::from_secs_f64(seconds));
            let end = Stamp::now();
            let adverts = lan.capture.adverts(mark);
            let pause = largest_pause(&adverts, HIGH, begun, end);
            if pause > spec.interval_ms() + 250.0 {
                broken.push(format!("{} at {rate} a second: the Active was silent for {pause} ms", kind.name));
            }
            if adverts.iter().any(|advert| advert.host == LOW) {
                broken.push(format!("{} at {rate} a second: the Backup took over", kind.name));
            }
        }
    }
    println!("\nfigure: hostile: {} kinds against {} at {}", names(spec).len(), party.name(), spec.name());
    assert!(broken.is_empty(), "{broken:#?}\n{}\n{}", low.log(), high.log());
    assert!(low.is_running() && high.is_running(), "{}\n{}", low.log(), high.log());
}
