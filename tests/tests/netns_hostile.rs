//! A hostile LAN: every packet of `lab::hostile` at 2 and at 1,000 a second against a pair. The Active misses no
//! Advertisement, the Backup never takes over, the packets are counted by name, the log stays quiet. keepalived under
//! the same packets falls silent, and the same judge says so. With `auth_hmac` ([`authenticated`])
//! nothing that is not authentic changes anything either.

#![forbid(unsafe_code)]

#[path = "netns_hostile/authenticated.rs"]
mod authenticated;

use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{Stamp, ms};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::{binding, largest_pause};
use steadfast_tests::lab::hostile::{Forge, Kind, kinds, lower_priority, names};
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, thorough};

const LOW: usize = 0;
const HIGH: usize = 1;
const ATTACKER: usize = 2;
const PRIORITIES: [u8; 2] = [100, 200];
/// Log lines a minute that a flood may cause.
const LINES: usize = 20;

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&["keepalived"]) {
        println!("skipped: {why}");
        return;
    }
    let seconds = |few: u64| Duration::from_secs(if thorough() { 10 } else { few });
    let mut trials = Vec::new();
    // The longest first: the others fill the gaps.
    let mut add = |name: &str, test: fn(Duration), duration: Duration| {
        trials.push(Trial::test(name, move || {
            test(duration);
            Ok(())
        }));
    };
    add("all-kinds-for-a-minute", all_kinds, Duration::from_secs(if thorough() { 60 } else { 20 }));
    add("lab-sees-keepalived-fall-silent", keepalived_falls_silent, Duration::from_secs(10));
    add("lower-priority-flood-is-not-amplified", lower_priority_flood, seconds(5));
    add("initialize-counts-and-ignores", initialize_ignores, seconds(2));
    add("priority-0-of-a-stranger-is-answered", priority_zero, seconds(3));
    add("priority-255-of-a-stranger-passes", priority_255, seconds(3));
    add("authenticated-keys-are-rotated-and-marks-outlive-a-reload", authenticated::rotation, seconds(1));
    add("authenticated-mode-permissive-beside-one-without", authenticated::permissive, seconds(1));
    add("authenticated-numbers-outlive-a-crash", authenticated::crash, seconds(1));
    add("authenticated-both-versions", authenticated::both_versions, seconds(2));
    add("no-secret-is-shown", authenticated::secrets, seconds(1));
    for spec in [Spec::v2(), Spec::v3(10), Spec::v6(10), Spec { ah: true, ..Spec::v2() }] {
        let (name, duration) = (format!("authenticated-{}", spec.name()), seconds(4));
        trials.push(Trial::test(name, move || {
            authenticated::flood(&spec, duration);
            Ok(())
        }));
    }
    let pass = Spec { pass: true, ..Spec::v2() };
    for spec in [Spec::v2(), pass, Spec::v3(100), Spec::v6(100)] {
        for name in names(&spec) {
            for rate in [2, 1000] {
                // The short run throws everything fast, and at version 2 slowly as well.
                if !thorough() && rate == 2 && (spec.version == 3 || spec.pass) {
                    continue;
                }
                let (spec, duration) = (spec.clone(), seconds(3));
                trials.push(Trial::test(format!("{}-{name}-{rate}-a-second", spec.name()), move || {
                    one_kind(&spec, name, rate, duration);
                    Ok(())
                }));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

struct Scene {
    low: Daemon,
    high: Daemon,
    spec: Spec,
    lan: Lan,
}

impl Scene {
    fn start(engine: Engine, spec: &Spec) -> Self {
        let lan = Lan::new(&["low", "high", "attacker"]);
        let high = Daemon::start(engine, &lan, HIGH, spec, PRIORITIES[HIGH]);
        let low = Daemon::start(engine, &lan, LOW, spec, PRIORITIES[LOW]);
        let patience = ms(spec.down_ms(PRIORITIES[HIGH]) + 5000.0);
        lan.capture.wait_advert(lan.capture.mark(), HIGH, patience, |advert| advert.priority == PRIORITIES[HIGH]);
        if engine == Engine::Steadfast {
            low.wait_state("backup", Duration::from_secs(5));
        }
        Self { low, high, spec: spec.clone(), lan }
    }

    /// Throws frames, then says what broke: silence of the Active, a takeover, chatter in the log.
    fn endure(&self, frames: &[Vec<u8>], rate: u32, duration: Duration) -> (usize, Vec<String>) {
        let lan = &self.lan;
        let lines = |daemon: &Daemon| daemon.process.log().lines().count();
        let before = [lines(&self.low), lines(&self.high)];
        let (mark, begun) = (lan.capture.mark(), Stamp::now());
        let sent = inject(&lan.host(ATTACKER).namespace, frames, rate, duration);
        let end = Stamp::now();
        let adverts = lan.capture.adverts(mark);
        let mut broken = Vec::new();
        let pause = largest_pause(&adverts, HIGH, begun, end);
        if pause > self.spec.interval_ms() + 250.0 {
            broken.push(format!("the Active was silent for {pause} ms"));
        }
        if adverts.iter().any(|advert| advert.host == LOW && advert.at <= end) {
            broken.push("the Backup took over".to_owned());
        }
        for (name, daemon, before) in [("Backup", &self.low, before[0]), ("Active", &self.high, before[1])] {
            let more = lines(daemon) - before;
            if more >= LINES {
                broken.push(format!("the {name} logged {more} lines in {duration:?}"));
            }
        }
        (sent, broken)
    }
}

fn kind_of(scene: &Scene, name: &str) -> Kind {
    let all = kinds(&scene.spec, scene.lan.host(ATTACKER), scene.lan.host(HIGH));
    all.into_iter().find(|kind| kind.name == name).expect("a kind of that name")
}

fn one_kind(spec: &Spec, name: &str, rate: u32, duration: Duration) {
    let scene = Scene::start(Engine::Steadfast, spec);
    let kind = kind_of(&scene, name);
    let before = kind.counter.map_or(0, |counter| scene.high.counter(counter));
    let (sent, broken) = scene.endure(&[kind.frame], rate, duration);
    assert!(broken.is_empty(), "{name}: {broken:#?}");
    assert_eq!(scene.high.state().as_deref(), Some("active"));
    assert_eq!(scene.low.state().as_deref(), Some("backup"));
    if let Some(counter) = kind.counter {
        let counted = scene.high.counter(counter) - before;
        // A full receive queue may drop some of a flood.
        assert!(
            counted as f64 >= sent as f64 * 0.9,
            "{sent} packets sent, {counter} counted {counted}: {:?}",
            scene.high.counters()
        );
    }
}

/// Everything in turn at 1,000 a second: the log's bound holds for the whole.
fn all_kinds(duration: Duration) {
    let scene = Scene::start(Engine::Steadfast, &Spec::v2());
    let frames: Vec<_> =
        kinds(&scene.spec, scene.lan.host(ATTACKER), scene.lan.host(HIGH)).into_iter().map(|kind| kind.frame).collect();
    let (sent, broken) = scene.endure(&frames, 1000, duration);
    println!("\nfigure: hostile: {sent} packets of {} kinds, log of the Active:", frames.len());
    println!("{}", scene.high.process.log());
    assert!(broken.is_empty(), "{broken:#?}");
}

/// keepalived, two packets with a wrong checksum a second: silent, and taken over. The judge can say no.
fn keepalived_falls_silent(duration: Duration) {
    let scene = Scene::start(Engine::Keepalived, &Spec::v2());
    let kind = kind_of(&scene, "bad-checksum");
    let (sent, broken) = scene.endure(&[kind.frame], 2, duration);
    println!(
        "\nfigure: hostile: keepalived, {sent} packets with a wrong checksum at 2 a second: {}",
        broken.join("; ")
    );
    assert!(broken.iter().any(|complaint| complaint.contains("silent")), "{broken:?}");
    assert!(broken.iter().any(|complaint| complaint.contains("took over")), "{broken:?}");
}

/// 1,000 valid Advertisements of a lower priority a second draw at most ten answers a second.
fn lower_priority_flood(duration: Duration) {
    let scene = Scene::start(Engine::Steadfast, &Spec::v3(100));
    let frame = lower_priority(&scene.spec, scene.lan.host(ATTACKER));
    let mark = scene.lan.capture.mark();
    let (sent, broken) = scene.endure(&[frame], 1000, duration);
    let answers = scene.lan.capture.adverts(mark).iter().filter(|advert| advert.host == HIGH).count();
    let frames = scene.lan.capture.since(mark);
    let announced = frames.iter().filter(|frame| frame.host == HIGH && binding(frame).is_some()).count();
    let seconds = duration.as_secs_f64();
    println!(
        "\nfigure: hostile: {sent} valid Advertisements of a lower priority in {seconds} s drew {answers} \
         Advertisements and {announced} announcements"
    );
    assert!(broken.is_empty(), "{broken:#?}");
    // Ten answers and the regular one a second; one of each at the edges.
    assert!(answers as f64 <= 11.0 * seconds + 2.0, "{answers} answers in {seconds} s");
    assert!(announced as f64 <= 50.0 * seconds + 5.0, "{announced} announcements in {seconds} s");
}

/// While the startup delay runs, Advertisements are counted and ignored.
fn initialize_ignores(duration: Duration) {
    let spec = Spec { globals: "vrrp_startup_delay 30\n".to_owned(), ..Spec::v3(10) };
    let lan = Lan::new(&["low", "high", "attacker"]);
    let daemon = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec, 200);
    daemon.wait_state("initialize", Duration::from_secs(5));
    let forge = Forge::new(&spec, lan.host(ATTACKER), 254);
    let sent = inject(&lan.host(ATTACKER).namespace, &[forge.frame()], 20, duration);
    assert_eq!(daemon.state().as_deref(), Some("initialize"));
    assert_eq!(daemon.counter("steadfast-not-running"), sent as u64, "{:?}", daemon.counters());
}

/// Priority 0 of a stranger: valid, and the Active's immediate answer keeps the Backup from taking over.
fn priority_zero(duration: Duration) {
    let scene = Scene::start(Engine::Steadfast, &Spec::v3(100));
    let forge = Forge::new(&scene.spec, scene.lan.host(ATTACKER), 0);
    let (sent, broken) = scene.endure(&[forge.frame()], 5, duration);
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(scene.high.counter("priority-zero-pkts-rcvd"), sent as u64);
}

/// Priority 255 of a stranger deposes, as it must without authentication; when it ends, the Active returns.
fn priority_255(duration: Duration) {
    let spec = Spec::v3(10);
    let scene = Scene::start(Engine::Steadfast, &spec);
    let forge = Forge::new(&spec, scene.lan.host(ATTACKER), 255);
    let (_, broken) = scene.endure(&[forge.frame()], 10, duration);
    assert!(broken.iter().any(|complaint| complaint.contains("silent")), "the Active had to step down: {broken:?}");
    scene.high.wait_state("active", ms(spec.down_ms(PRIORITIES[HIGH]) + 1500.0));
    scene.low.wait_state("backup", ms(spec.down_ms(PRIORITIES[LOW]) + 1500.0));
}
