//! Pairs with `auth_hmac` or `auth_type AH`: packets that are replayed, altered, cut off, of another key, late, or not authenticated at
//! all, at 1,000 a second, change nothing, delay nothing and are counted by name; keys are rotated without an election; a
//! reload lets nobody play again what was heard before it.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use steadfast_tests::lab::clock::{ms, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::{Frame, advert};
use steadfast_tests::lab::hostile::Forge;
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, steadfast_binary};

use super::{ATTACKER, HIGH, LOW, PRIORITIES, Scene};

const PATIENCE: Duration = Duration::from_secs(10);

/// The same with `auth_hmac`: two keys, one of them active.
fn authenticated(spec: &Spec, active: u8, more: &str) -> Spec {
    let hex = "00112233445566778899aabbccddeeff".repeat(2);
    spec.clone().with(&format!(
        "auth_hmac {{\n    key 1 hex:{hex}\n    key 2 \"a pass phrase of more than 32 characters\"\n    \
         active_key {active}\n    time_window 60\n    {more}\n}}"
    ))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// 28 bytes of a trailer from `ago` seconds ago, of somebody who has no key.
fn trailer(key: u8, ago: u64) -> Vec<u8> {
    let mut bytes = vec![1, key, 0, 0];
    bytes.extend(((now() - ago) as u32).to_be_bytes());
    bytes.extend([0x80, 0, 0, 0]);
    bytes.extend([0xa5; 16]);
    bytes
}

/// The last Advertisement of the Active in a version, as the attacker sends it again.
fn captured(lan: &Lan, version: u8) -> Vec<u8> {
    let of_active = |frame: &Frame| frame.host == HIGH && advert(frame).is_some_and(|advert| advert.version == version);
    let mut frame = lan.capture.all().into_iter().rev().find(of_active).expect("an Advertisement").bytes;
    // The switch shall not believe that the Active has moved.
    frame[6..12].copy_from_slice(&lan.host(ATTACKER).mac);
    frame
}

/// Everything that is not authentic, in turn.
pub(crate) fn flood(plain: &Spec, duration: Duration) {
    let spec = if plain.ah { plain.clone() } else { authenticated(plain, 1, "") };
    let mut scene = Scene::start(Engine::Steadfast, &spec);
    let forge = Forge::new(plain, scene.lan.host(ATTACKER), 254);
    let with = |trailer: Vec<u8>| forge.clone().but(|forge| forge.trailer.extend(trailer));
    let reserved = vec![1, 1, 0, 1].into_iter().chain([0; 24]).collect();
    let replayed = captured(&scene.lan, plain.version);
    let message = match (plain.v6, plain.ah) {
        (true, _) => 54,
        (false, true) => 34 + 24,
        (false, false) => 34,
    };
    let mut altered = replayed.clone();
    altered[message + 2] = 255;
    let mut kinds = vec![
        ("steadfast-hmac-missing", forge.frame()),
        ("steadfast-hmac-mismatches", altered),
        ("steadfast-hmac-replayed", replayed),
    ];
    if !plain.ah {
        let mismatch = with(trailer(1, 0));
        let length = mismatch.frame().len() - message;
        kinds.extend([
            ("steadfast-hmac-mismatches", mismatch.frame()),
            ("steadfast-hmac-unknown-key", with(trailer(3, 0)).frame()),
            ("steadfast-hmac-stale", with(trailer(1, 100)).frame()),
            ("steadfast-hmac-malformed", with(reserved).frame()),
            ("packet-length-errors", mismatch.but(|forge| forge.length = Some(length - 1)).frame()),
        ]);
    }
    let frames: Vec<_> = kinds.iter().map(|(_, frame)| frame.clone()).collect();
    let (sent, broken) = scene.endure(&frames, 1000, duration);
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(scene.high.state().as_deref(), Some("active"));
    assert_eq!(scene.low.state().as_deref(), Some("backup"));
    let counted = scene.low.counters();
    for (counter, _) in &kinds {
        let share = kinds.iter().filter(|(other, _)| other == counter).count() * sent / kinds.len();
        let count = counted.get(*counter).copied().unwrap_or(0);
        // A full receive queue may drop some of a flood.
        assert!(count as f64 >= share as f64 * 0.9, "{counter}: {count} of {share}: {counted:#?}");
    }
    assert!(counted["steadfast-hmac-verified"] > 0 && counted["master-transitions"] == 0, "{counted:#?}");
    println!("\nfigure: hostile: {}, authenticated: {sent} packets of {} kinds", plain.name(), kinds.len());
    // Who has heard all this takes over as if nothing had been.
    let mark = scene.lan.capture.mark();
    scene.high.kill();
    let patience = ms(spec.down_ms(PRIORITIES[LOW]) + 1500.0);
    scene.lan.capture.wait_advert(mark, LOW, patience, |advert| advert.priority == PRIORITIES[LOW]);
}

/// Unicast peers go from one key to the other, one side after the other; then the Active is gone, and its last
/// Advertisement does not bring it back, not even after a reload.
pub(crate) fn rotation(wait: Duration) {
    let plain = Spec { unicast: true, ..Spec::v3(10) };
    let [first, second] = [1, 2].map(|active| authenticated(&plain, active, "anti_replay time"));
    let lan = Lan::new(&["low", "high", "attacker"]);
    let mut high = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &first.on(HIGH).text(PRIORITIES[HIGH]));
    high.wait_state("active", PATIENCE);
    let low = Daemon::start_with(Engine::Steadfast, &lan, LOW, &first.on(LOW).text(PRIORITIES[LOW]));
    low.wait_state("backup", PATIENCE);
    for (daemon, host) in [(&high, HIGH), (&low, LOW)] {
        daemon.reload(&second.on(host).text(PRIORITIES[host]));
        std::thread::sleep(wait);
    }
    let key = |frame: &Frame| frame.bytes.get(14 + 20 + 12 + 1).copied().filter(|_| frame.host == HIGH);
    let mark = lan.capture.mark();
    lan.capture.wait(mark, "the second key", PATIENCE, |frame| (key(frame) == Some(2)).then_some(()));
    assert_eq!(low.state().as_deref(), Some("backup"));
    let counted = low.counters();
    assert_eq!((counted["master-transitions"], counted["steadfast-hmac-mismatches"]), (0, 0), "{counted:#?}");

    high.kill();
    low.wait_state("active", PATIENCE);
    let again = captured(&lan, plain.version);
    low.reload(&first.on(LOW).text(PRIORITIES[LOW] + 1));
    wait_for("the reload", PATIENCE, || {
        let status = low.status()?;
        (status["routers"][0]["priority"] == u64::from(PRIORITIES[LOW] + 1)).then_some(())
    });
    let sent = inject(&lan.host(ATTACKER).namespace, &[again], 100, wait) as u64;
    wait_for("all of them", PATIENCE, || (low.counter("steadfast-hmac-replayed") >= sent).then_some(()));
    assert_eq!(low.state().as_deref(), Some("active"));
}

/// One with `mode permissive` beside an Active that authenticates nothing.
pub(crate) fn permissive(wait: Duration) {
    let plain = Spec::v3(10);
    let lan = Lan::new(&["low", "high", "attacker"]);
    let high = Daemon::start(Engine::Steadfast, &lan, HIGH, &plain, PRIORITIES[HIGH]);
    high.wait_state("active", PATIENCE);
    let spec = authenticated(&plain, 1, "mode permissive");
    let low = Daemon::start(Engine::Steadfast, &lan, LOW, &spec, PRIORITIES[LOW]);
    low.wait_state("backup", PATIENCE);
    std::thread::sleep(wait);
    assert_eq!(low.state().as_deref(), Some("backup"));
    assert!(low.counter("steadfast-hmac-unsigned") > 0, "{:?}", low.counters());
    // To one that enforces it, the same Active is a stranger.
    low.reload(&authenticated(&plain, 1, "mode enforce").text(PRIORITIES[LOW]));
    low.wait_state("active", PATIENCE);
    assert!(low.counter("steadfast-hmac-missing") > 0, "{:?}", low.counters());
}

/// CRC-32 as Ethernet has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

/// The seconds of the number of an Advertisement of version 3 over IPv4 of a machine.
fn seconds_of(frame: &Frame, host: usize) -> Option<u64> {
    let bytes = frame.bytes.get(14 + 20 + 12 + 4..)?.first_chunk()?;
    (frame.host == host && advert(frame).is_some()).then(|| u32::from_be_bytes(*bytes).into())
}

/// An agent whose clock was set back, or that has none, is killed: what it sends when it is back is believed, though it
/// has sent higher numbers than its clock says, and it goes on from them.
pub(crate) fn crash(wait: Duration) {
    let spec = authenticated(&Spec::v3(10), 1, "anti_replay monotonic");
    let lan = Lan::new(&["low", "high", "attacker"]);
    // As the run before this one has left it: an hour ahead of the clock that is right now.
    let folder = lan.folder().join(format!("run{HIGH}"));
    let file = folder.join("control.sock.numbers");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let before = now() + 3600;
    let line = format!("{before}\n");
    fs::write(&file, format!("SFNumbr1 {:08x}\n{line}", crc32(line.as_bytes()))).expect("a file can be written");

    let mut high = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec, PRIORITIES[HIGH]);
    high.wait_state("active", PATIENCE);
    let low = Daemon::start(Engine::Steadfast, &lan, LOW, &spec, PRIORITIES[LOW]);
    low.wait_state("backup", PATIENCE);
    let mut sent = Vec::new();
    for run in 0..3 {
        if run > 0 {
            high.kill();
            high = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec, PRIORITIES[HIGH]);
        }
        let mark = lan.capture.mark();
        let of_high = |frame: &Frame| seconds_of(frame, HIGH);
        sent.push(lan.capture.wait(mark, "an Advertisement", PATIENCE, of_high));
        high.wait_state("active", PATIENCE);
        low.wait_state("backup", PATIENCE);
        std::thread::sleep(wait);
        assert_eq!(low.counter("steadfast-hmac-replayed"), 0, "run {run}: {sent:?}: {:?}", low.counters());
        assert_eq!(low.state().as_deref(), Some("backup"));
    }
    assert!(sent[0] >= before, "{sent:?} after {before}");
    assert!(sent.is_sorted_by(|a, b| a < b), "{sent:?}");
    println!("\nfigure: hostile: seconds of the first numbers of three runs, of which two were killed: {sent:?}");
    // The planned end: nothing is reserved any more, and the next run goes on from there.
    high.terminate();
    high.process.wait(PATIENCE);
    let text = fs::read_to_string(&file).expect("there is a file");
    let end: u64 = text.lines().nth(1).and_then(|line| line.parse().ok()).expect("a number");
    assert_eq!(end, sent[2] + 1, "{text}");
}

/// Two that speak both versions, and one of version 2 beside them: each version is authenticated by itself, and neither
/// lets anything pass that is not authentic.
pub(crate) fn both_versions(duration: Duration) {
    const OLD: usize = 3;
    let plain = Spec::v3(100).with("both_versions");
    let both = authenticated(&plain, 1, "anti_replay monotonic");
    let old = authenticated(&Spec::v2(), 1, "anti_replay monotonic");
    let lan = Lan::new(&["low", "high", "attacker", "old"]);
    let start = |host, spec: &Spec, priority| Daemon::start(Engine::Steadfast, &lan, host, spec, priority);
    let mut high = start(HIGH, &both, PRIORITIES[HIGH]);
    high.wait_state("active", PATIENCE);
    let [mut low, old] = [start(LOW, &both, PRIORITIES[LOW]), start(OLD, &old, 50)];
    for daemon in [&low, &old] {
        daemon.wait_state("backup", PATIENCE);
    }
    let heard = |daemon: &Daemon| Some(daemon.status()?["routers"][0]["heard_version"].clone());
    wait_for("version 3", PATIENCE, || (heard(&low)? == 3).then_some(()));
    let versions = |daemon: &Daemon| daemon.status().expect("a status")["routers"][0]["versions"].clone();
    assert_eq!((versions(&low), versions(&old)), (serde_json::json!([3, 2]), serde_json::Value::Null));

    let attacker = lan.host(ATTACKER);
    let mut frames = Vec::new();
    for spec in [Spec::v2(), Spec::v3(100)] {
        let forge = Forge::new(&spec, attacker, 254);
        let trailed = forge.clone().but(|forge| forge.trailer.extend(trailer(1, 0)));
        frames.extend([forge.frame(), trailed.frame(), captured(&lan, spec.version)]);
    }
    inject(&attacker.namespace, &frames, 1000, duration);
    let states = || [&high, &low, &old].map(|daemon| daemon.state().unwrap_or_default());
    assert_eq!(states(), ["active", "backup", "backup"]);
    for daemon in [&low, &old] {
        let counted = daemon.counters();
        assert_eq!(counted["master-transitions"], 0, "{counted:#?}");
        for counter in ["verified", "missing", "mismatches", "replayed"] {
            assert!(counted[&*format!("steadfast-hmac-{counter}")] > 0, "{counter}: {counted:#?}");
        }
    }
    // Nothing of the Active's is refused.
    let refused = || low.counter("steadfast-hmac-mismatches") + old.counter("steadfast-hmac-mismatches");
    let before = refused();
    std::thread::sleep(duration);
    assert_eq!(refused(), before);

    // Each takes over in its turn, and whoever comes back is followed, also by the one of version 2.
    high.kill();
    low.wait_state("active", PATIENCE);
    assert_eq!(old.state().as_deref(), Some("backup"));
    low.kill();
    old.wait_state("active", PATIENCE);
    let low = start(LOW, &both, PRIORITIES[LOW]);
    wait_for("version 2", PATIENCE, || (heard(&low)? == 2 || low.state()? == "active").then_some(()));
    low.wait_state("active", PATIENCE);
    old.wait_state("backup", PATIENCE);
}

/// Of keys and passwords nothing is seen: not in what is said about a file, right or wrong, not in a log, not in what the
/// agent shows of itself or writes down.
pub(crate) fn secrets(wait: Duration) {
    let lan = Lan::new(&["low", "high", "attacker"]);
    let (key, digits, password) = ("correct-horse-battery-staple-0123", "5ec4e75ec4e7".repeat(6), "hunter22");
    let hmac = Spec::v3(10).with(&format!(
        "auth_hmac {{\n    key 1 {key}\n    key 2 hex:{digits}\n    active_key 1\n    anti_replay monotonic\n}}"
    ));
    let pass = format!("authentication {{\n    auth_type PASS\n    auth_pass {password}\n}}");
    let second = Spec::v2().with(&pass).instance("PASS", 61, 200, &["10.9.0.101/24"]);
    let ah = Spec::v2().with(&pass.replace("PASS", "AH")).instance("AH", 62, 200, &["10.9.0.102/24"]);
    let tls = format!("SSL {{\n    password {password}\n}}\n");
    let good = format!("{}{second}{ah}{tls}", hmac.text(200));
    let command = |daemon: &Daemon, words: &[&str]| {
        let mut command = Command::new(steadfast_binary());
        let output = command.args(words).arg("--control").arg(daemon.control()).output().expect("it runs");
        format!("{words:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    // What people do to such lines.
    let mut texts = vec![good.clone()];
    for (from, to) in [
        (format!("key 1 {key}"), format!("key 1 \"{key}")),
        (format!("key 1 {key}"), format!("key 1\n{key}")),
        (format!("key 1 {key}"), format!("{key} 1")),
        (format!("key 1 {key}"), format!("key {key} {key}")),
        (format!("key 1 {key}"), format!("key 1 {key} {key}")),
        (format!("key 1 {key}"), format!("key 1 {key} {{\n{key}\n}}")),
        (format!("key 1 {key}"), format!("active_key {key}\nkey 1 {key}")),
        (format!("key 1 {key}"), format!("kee 1 {key}")),
        (format!("key 2 hex:{digits}"), format!("key 2\nhex:{digits}")),
        (format!("key 2 hex:{digits}"), format!("key 2 hex:{digits}x")),
        (format!("auth_pass {password}"), format!("auth_pass \"{password}")),
        (format!("auth_pass {password}"), format!("auth_pass x {password}")),
        (format!("auth_pass {password}"), format!("auth_pass \"x\n{password}\"")),
        (format!("auth_pass {password}"), format!("auth_type {password}")),
        (format!("auth_pass {password}"), format!("auth_type PASS {password}")),
        (format!("auth_pass {password}"), format!("auth_pass x{password}x{password}")),
        (format!("auth_pass {password}"), password.to_owned()),
        (format!("auth_pass {password}"), format!("auth_passwort {password}")),
        (format!("    password {password}"), format!("    password x {password}")),
        (format!("    password {password}"), format!("    password \"{password}")),
        (format!("    password {password}"), format!("    {password}")),
        ("global_defs".to_owned(), format!("$KEY={password}\n$K-Y={password}\n$K Y={password}\nglobal_defs")),
    ] {
        assert!(good.contains(&from), "no `{from}` in {good}");
        texts.push(good.replace(&from, &to));
    }
    let mut shown = String::new();
    let file = lan.folder().join("checked.conf");
    for text in &texts {
        fs::write(&file, text).expect("a file can be written");
        for words in [vec!["check"], vec!["check", "--json"]] {
            let output = Command::new(steadfast_binary()).args(words).arg(&file).output().expect("it runs");
            shown += &String::from_utf8_lossy(&output.stdout);
            shown += &String::from_utf8_lossy(&output.stderr);
        }
    }
    assert!(shown.lines().count() > texts.len(), "{shown}");
    let high = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &good);
    high.wait_state("active", PATIENCE);
    // One that has another password, and another key.
    let other = good.replace(key, &key.replace("horse", "mouse")).replace(password, "hunter33");
    let low = Daemon::start_with(Engine::Steadfast, &lan, LOW, &other);
    wait_for("a refusal", PATIENCE, || (low.counter("steadfast-hmac-mismatches") > 0).then_some(()));
    for text in &texts {
        high.reload(text);
        std::thread::sleep(wait / 20);
    }
    high.reload_and_wait(&good, PATIENCE);
    for daemon in [&high, &low] {
        for words in [&["status"][..], &["status", "--json"], &["counters"], &["explain", "VI"], &["explain", "AH"]] {
            shown += &command(daemon, words);
        }
        shown += &daemon.process.log();
        let folder = daemon.control().parent().expect("a folder");
        for entry in fs::read_dir(folder).expect("it can be read").flatten() {
            shown += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default());
        }
    }
    for secret in [&key[..8], "battery", "mouse-", &digits[..12], "hunter"] {
        let lines: Vec<_> = shown.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret}: {lines:#?}");
    }
}
