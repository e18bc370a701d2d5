//! Maintenance on real interfaces: `steadfast drain` hands over without a lost probe and stays out, whatever happens, until
//! `steadfast resume`; and what an instance asks of the loop itself: to listen after a pause, to ignore others as the owner,
//! to heed an interface only after a while, and to stay out without its source address or a peer. A pair goes from version
//! 2 to version 3 by reloads.

#![forbid(unsafe_code)]

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Output};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;
use steadfast_tests::lab::clock::{Stamp, ms, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::hostile::Forge;
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::probe::Prober;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, frames, namespace, steadfast_binary};

const HIGH: usize = 0;
const LOW: usize = 1;
const CLIENT: usize = 2;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let mut trials = Vec::new();
    for spec in [Spec::v3(30), Spec::v3(30).with_vmac(true), Spec::v6(30)] {
        trials.push(Trial::test(format!("a-drain-loses-nothing-and-lasts-{}", spec.name()), move || {
            drain_lasts(&spec);
            Ok(())
        }));
    }
    let tests: [(&str, fn()); 10] = [
        ("a-pair-goes-from-version-2-to-3-and-nothing-moves", upgraded),
        ("who-does-not-preempt-is-resumed-as-backup", resumed_as_backup),
        ("a-sync-group-drains-with-its-member", group_drains),
        ("all-are-drained-also-those-to-come", all_drained),
        ("a-drain-is-told-as-fault-once-the-addresses-are-off", told),
        ("who-stood-still-does-not-take-back-what-another-has", stands_back),
        ("an-owner-ignores-others-if-asked-to", owner_ignores),
        ("an-interface-counts-as-down-and-up-after-its-delay", delayed),
        ("announcements-of-a-group-wait-for-each-other", paced),
        ("without-its-source-or-a-peer-an-instance-stays-out", stays_out),
    ];
    for (name, test) in tests {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Runs `steadfast WORDS --control …` for an agent.
fn ask(daemon: &Daemon, words: &[&str]) -> Output {
    let mut command = Command::new(steadfast_binary());
    command.args(words).arg("--control").arg(daemon.control()).output().expect("it runs")
}

/// The same, where it has to succeed; what it prints.
#[track_caller]
fn say(daemon: &Daemon, words: &[&str]) -> String {
    let output = ask(daemon, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first Virtual Router in the status.
fn router(daemon: &Daemon) -> Value {
    daemon.status().expect("a status")["routers"][0].clone()
}

fn holds(lan: &Lan, host: usize, vip: IpAddr) -> bool {
    lan.addresses(host).contains(&vip)
}

#[track_caller]
fn wait_holds(lan: &Lan, host: usize, vip: IpAddr, wanted: bool) {
    let what = format!("machine {host} {} {vip}", if wanted { "to hold" } else { "without" });
    wait_for(&what, PATIENCE, || (holds(lan, host, vip) == wanted).then_some(()));
}

/// A pair of which the first is Active.
fn pair(high: &Spec, low: &Spec) -> (Lan, [Daemon; 2]) {
    let lan = Lan::new(&["high", "low", "client"]);
    let first = Daemon::start(Engine::Steadfast, &lan, HIGH, high, 200);
    first.wait_state("active", PATIENCE);
    let second = Daemon::start(Engine::Steadfast, &lan, LOW, low, 100);
    second.wait_state("backup", PATIENCE);
    wait_holds(&lan, HIGH, high.vip(), true);
    (lan, [first, second])
}

/// Drained it stays, over a reload, a crash, a planned restart and the end of its peer.
fn drain_lasts(spec: &Spec) {
    let (lan, [mut high, low]) = pair(spec, spec);
    let prober = Prober::start(&lan.host(CLIENT).namespace, spec.vip(), ms(1.0));
    let begun = prober.wait_answer(Stamp::now(), PATIENCE);
    assert_eq!(say(&high, &["drain", "VI"]), "VI: hands over, and stays out until it is resumed\n");
    low.wait_state("active", PATIENCE);
    wait_holds(&lan, HIGH, spec.vip(), false);
    std::thread::sleep(ms(5.0 * spec.interval_ms()));
    let until = Stamp::now();
    let probes = prober.stop();
    let (sent, lost) = (probes.sent(begun, until), probes.lost(begun, until));
    println!("\nfigure: drain: {}: {lost} of {sent} probes lost", spec.name());
    assert_eq!(lost, 0);
    let is_out = |daemon: &Daemon| {
        let router = router(daemon);
        assert_eq!((&router["state"], &router["kept_out"]), (&"initialize".into(), &"drained".into()));
        assert!(!holds(&lan, HIGH, spec.vip()));
    };
    is_out(&high);
    assert_eq!(router(&high)["last_transition"]["reason"], "drained");
    assert!(say(&high, &["status"]).contains("it is drained, until `steadfast resume VI`"));
    assert!(say(&high, &["explain", "VI"]).contains("lets it in   `steadfast resume VI`"));
    // As what changes much: with another address, and as the owner.
    high.reload_and_wait(&spec.text(200), PATIENCE);
    is_out(&high);
    let text = spec.text(255);
    high.reload_and_wait(&text, PATIENCE);
    is_out(&high);
    let mark = lan.capture.mark();
    high.kill();
    high = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &text);
    wait_for("the agent", PATIENCE, || high.state());
    is_out(&high);
    high.terminate();
    assert_eq!(high.process.wait(PATIENCE), Some(0));
    high = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &spec.text(200));
    wait_for("the agent", PATIENCE, || high.state());
    is_out(&high);
    // Nobody is there to take over, and still it stays out.
    lan.cut(LOW);
    std::thread::sleep(ms(5.0 * spec.interval_ms()));
    is_out(&high);
    lan.heal(LOW);
    let spoken = lan.capture.adverts(mark).iter().filter(|advert| advert.host == HIGH).count();
    assert_eq!(spoken, 0, "it has said nothing at all");
    assert_eq!(say(&high, &["resume", "VI"]), "VI: takes part again\n");
    high.wait_state("active", PATIENCE);
    wait_holds(&lan, HIGH, spec.vip(), true);
    wait_holds(&lan, LOW, spec.vip(), false);
    assert!(router(&high)["kept_out"].is_null());
    high.terminate();
    assert_eq!(high.process.wait(PATIENCE), Some(0));
    let folder = high.control().parent().expect("a folder");
    let left: Vec<_> = fs::read_dir(folder).expect("it can be read").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn resumed_as_backup() {
    let spec = Spec::v3(10);
    let (lan, [high, low]) = pair(&spec.clone().with("nopreempt"), &spec);
    say(&high, &["drain", "--all"]);
    low.wait_state("active", PATIENCE);
    wait_holds(&lan, HIGH, spec.vip(), false);
    say(&high, &["resume", "--all"]);
    high.wait_state("backup", PATIENCE);
    std::thread::sleep(ms(10.0 * spec.interval_ms()));
    assert_eq!((high.state().as_deref(), low.state().as_deref()), (Some("backup"), Some("active")));
}

/// Two instances that move together.
fn grouped(priority: u8) -> String {
    let spec = Spec::v3(10);
    spec.instance("A", 51, priority, &["10.9.0.100/24"])
        + &spec.instance("B", 52, priority, &["10.9.0.101/24"])
        + "vrrp_sync_group BOTH {\n    group {\n        A\n        B\n    }\n}\n"
}

fn group_drains() {
    let lan = Lan::new(&["high", "low"]);
    let start = |host, priority| Daemon::start_with(Engine::Steadfast, &lan, host, &grouped(priority));
    let (high, low) = (start(HIGH, 200), start(LOW, 100));
    let states = |daemon: &Daemon| {
        let status = daemon.status().unwrap_or_default();
        let of = |number: usize| status["routers"][number]["state"].as_str().unwrap_or("").to_owned();
        [of(0), of(1)]
    };
    let wait = |daemon: &Daemon, state: &str| {
        wait_for(&format!("both {state}"), PATIENCE, || (states(daemon) == [state; 2]).then_some(()));
    };
    wait(&high, "active");
    wait(&low, "backup");
    let status = high.status().expect("a status");
    assert_eq!(status["groups"][0]["name"], "BOTH");
    assert_eq!(status["groups"][0]["state"], "active");
    assert_eq!(status["groups"][0]["members"], serde_json::json!(["A", "B"]));
    assert_eq!(status["routers"][1]["sync_group"], "BOTH");
    assert!(say(&high, &["status"]).contains("BOTH        active  A, B"));
    assert!(say(&high, &["explain", "A"]).contains("sync group   BOTH: A and B, active"));
    let lines = say(&high, &["drain", "B"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    wait(&high, "initialize");
    wait(&low, "active");
    let status = high.status().expect("a status");
    assert_eq!([&status["routers"][0]["kept_out"], &status["routers"][1]["kept_out"]], ["drained"; 2]);
    // Also where the group is taken apart meanwhile.
    let apart = grouped(200);
    high.reload_and_wait(&apart[..apart.find("vrrp_sync_group").expect("a group")], PATIENCE);
    assert_eq!(states(&high), ["initialize"; 2]);
    high.reload_and_wait(&apart, PATIENCE);
    say(&high, &["resume", "A"]);
    wait(&high, "active");
    wait(&low, "backup");
}

fn all_drained() {
    let lan = Lan::new(&["only"]);
    let spec = Spec::v3(10);
    let more = spec.instance("MORE", 52, 100, &["10.9.0.101/24"]);
    let mut daemon = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec, 100);
    daemon.wait_state("active", PATIENCE);
    assert_eq!(ask(&daemon, &["drain", "NOBODY"]).status.code(), Some(1));
    assert_eq!(ask(&daemon, &["drain"]).status.code(), Some(64));
    say(&daemon, &["drain", "--all"]);
    let both = spec.text(100) + &more;
    daemon.reload_and_wait(&both, PATIENCE);
    let kept_out = |daemon: &Daemon| {
        let status = daemon.status().unwrap_or_default();
        let routers = status["routers"].as_array().cloned().unwrap_or_default();
        routers.iter().map(|router| router["kept_out"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kept_out(&daemon), ["drained"; 2]);
    // Under another name it is the same one.
    daemon.reload_and_wait(&both.replace("vrrp_instance VI", "vrrp_instance RENAMED"), PATIENCE);
    say(&daemon, &["resume", "MORE"]);
    wait_for("one of them", PATIENCE, || (kept_out(&daemon) == ["drained", ""]).then_some(()));
    daemon.kill();
    daemon = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &both.replace("VI {", "RENAMED {"));
    wait_for("the agent", PATIENCE, || daemon.state());
    assert_eq!(kept_out(&daemon), ["drained", ""]);
    // What is damaged is not believed, and that is said.
    daemon.kill();
    let mut note = daemon.control().clone().into_os_string();
    note.push(".drained");
    let whole = fs::read(&note).expect("the note");
    fs::write(&note, &whole[..whole.len() - 1]).expect("it can be written");
    daemon = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &both);
    daemon.wait_state("active", PATIENCE);
    assert!(daemon.process.log().contains("it is damaged, and not believed"), "{}", daemon.process.log());
}

fn told() {
    let lan = Lan::new(&["only"]);
    let fifo = lan.folder().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec cat <>{}", fifo.display())]);
    let reader = steadfast_tests::lab::process::Process::start(&mut command, &lan.folder().join("lines"));
    let said = lan.folder().join("said");
    let script = lan.folder().join("script");
    let text =
        format!("#!/bin/sh\necho \"$@\" $(ip -o addr show dev eth0 | grep -c 10.9.0.100) >>{}\n", said.display());
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let mut spec = Spec::v3(50).with(&format!("notify \"{}\"", script.display()));
    spec.globals = format!("script_user root\nvrrp_notify_fifo {}\n", fifo.display());
    let mut daemon = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec, 100);
    daemon.wait_state("active", PATIENCE);
    say(&daemon, &["drain", "VI"]);
    let line = |line: &str, count: usize| {
        let found = || reader.log().lines().filter(|found| *found == format!("INSTANCE \"VI\" {line} 100")).count();
        wait_for(&format!("{count} times {line}"), PATIENCE, || (found() == count).then_some(()));
    };
    line("FAULT", 1);
    assert!(!holds(&lan, HIGH, spec.vip()));
    say(&daemon, &["resume", "VI"]);
    line("MASTER", 2);
    // Drained from its begin it is told of once, as it is.
    say(&daemon, &["drain", "VI"]);
    line("FAULT", 2);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0));
    line("STOP", 1);
    daemon = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec, 100);
    line("FAULT", 3);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0));
    line("STOP", 2);
    let states: Vec<_> = reader.log().lines().map(|line| line.split(' ').nth(2).unwrap_or("").to_owned()).collect();
    let expected = "BACKUP MASTER FAULT BACKUP MASTER FAULT STOP FAULT STOP";
    assert_eq!(states.join(" "), expected);
    let said = fs::read_to_string(said).expect("what the script has said");
    let faults: Vec<_> = said.lines().filter(|line| line.contains("FAULT")).collect();
    assert_eq!(faults, ["INSTANCE VI FAULT 100 0"; 3], "the addresses are off by then");
}

/// Stopped for longer than its peer waits, and continued.
fn stands_back() {
    let spec = Spec::v3(20);
    let cautious = spec.clone().with("nopreempt").with("timer_expired_backup 100");
    let (lan, [high, low]) = pair(&cautious, &spec);
    high.process.signal(Signal::SIGSTOP);
    low.wait_state("active", PATIENCE);
    wait_holds(&lan, LOW, spec.vip(), true);
    std::thread::sleep(ms(3.0 * spec.interval_ms()));
    let transitions = low.counter("master-transitions");
    let mark = lan.capture.mark();
    high.process.signal(Signal::SIGCONT);
    high.wait_state("backup", PATIENCE);
    assert_eq!(router(&high)["last_transition"]["reason"], "late");
    wait_holds(&lan, HIGH, spec.vip(), false);
    std::thread::sleep(ms(10.0 * spec.interval_ms()));
    assert_eq!(lan.capture.adverts(mark).iter().filter(|advert| advert.host == HIGH).count(), 0, "not a word");
    assert_eq!((low.state().as_deref(), low.counter("master-transitions")), (Some("active"), transitions));
    assert!(high.process.log().contains("another may have taken over"));
    // A pause that its peer waits out changes nothing.
    drop(low);
    high.wait_state("active", PATIENCE);
    let transitions = high.counter("master-transitions");
    high.process.signal(Signal::SIGSTOP);
    std::thread::sleep(ms(1.5 * spec.interval_ms()));
    high.process.signal(Signal::SIGCONT);
    std::thread::sleep(ms(3.0 * spec.interval_ms()));
    assert_eq!((high.state().as_deref(), high.counter("master-transitions")), (Some("active"), transitions));
}

/// Another owner with a higher address, which one that hears it yields to.
fn owner_ignores() {
    let spec = Spec::v3(10);
    for (line, yields) in [("owner_ignore_adverts off", true), ("owner_ignore_adverts", false)] {
        let lan = Lan::new(&["owner", "rival"]);
        let owner = Daemon::start(Engine::Steadfast, &lan, HIGH, &spec.clone().with(line), 255);
        owner.wait_state("active", PATIENCE);
        let frame = Forge::new(&spec, lan.host(LOW), 255).frame();
        inject(&lan.host(LOW).namespace, &[frame], 50, ms(400.0));
        let yielded = || owner.process.log().contains("active -> backup (higher-priority)");
        if yields {
            wait_for("it to yield", PATIENCE, || yielded().then_some(()));
        }
        assert_eq!(yielded(), yields, "{line}");
    }
}

fn delayed() {
    let lan = Lan::new(&["only"]);
    let spec = Spec::v3(100);
    let text = spec.text(100) + "interface_up_down_delays {\n    eth0 1 0.5\n}\n";
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &text);
    daemon.wait_state("active", PATIENCE);
    let link_is = |up: bool| {
        let status = daemon.status().unwrap_or_default();
        (status["interfaces"][0]["up"] == up).then_some(())
    };
    // One that is down for a moment.
    lan.link(HIGH, false);
    std::thread::sleep(ms(400.0));
    lan.link(HIGH, true);
    std::thread::sleep(ms(1000.0));
    assert_eq!((daemon.state().as_deref(), daemon.counter("master-transitions")), (Some("active"), 1));
    let down = Stamp::now();
    lan.link(HIGH, false);
    wait_for("the link to count as down", PATIENCE, || link_is(false));
    let after = Stamp::now().ms_since(down);
    assert!(after >= 1000.0, "after {after} ms");
    assert_eq!(daemon.state().as_deref(), Some("initialize"));
    let up = Stamp::now();
    lan.link(HIGH, true);
    wait_for("the link to count as up", PATIENCE, || link_is(true));
    let after = Stamp::now().ms_since(up);
    assert!(after >= 500.0, "after {after} ms");
    daemon.wait_state("active", PATIENCE);
}

/// Two instances on one interface: their announcements are as far apart as the file says, all of them.
fn paced() {
    let lan = Lan::new(&["only"]);
    let text = "garp_group {\n    garp_interval 0.05\n    interface eth0\n}\n".to_owned() + &grouped(100);
    let mark = lan.capture.mark();
    let _daemon = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &text);
    let vips: [IpAddr; 2] = ["10.9.0.100", "10.9.0.101"].map(|vip| vip.parse().expect("an address"));
    let announced = || -> Vec<(IpAddr, Stamp)> {
        let frames = lan.capture.since(mark);
        let of = |frame: &frames::Frame| Some((frames::binding(frame)?.0, frame.at));
        frames.iter().filter_map(of).filter(|(address, _)| vips.contains(address)).collect()
    };
    let all = wait_for("all announcements", PATIENCE, || Some(announced()).filter(|all| all.len() >= 10));
    let first = &all[..10];
    for vip in vips {
        assert_eq!(first.iter().filter(|(address, _)| *address == vip).count(), 5, "{first:?}");
    }
    // A busy machine may be late with one, but not early with the next for long.
    let span = first[9].1.ms_since(first[0].1);
    assert!(span >= 8.0 * 50.0, "ten within {span} ms");
}

fn stays_out() {
    let lan = Lan::new(&["only"]);
    let namespace = &lan.host(HIGH).namespace;
    let spec = Spec::v3(10).with("mcast_src_ip 10.9.0.50").with("track_src_ip");
    let peerless = Spec::v3(10).with("unicast_peer {\n}").with("unicast_fault_no_peer");
    let text = spec.text(100) + &peerless.instance("PEERLESS", 52, 100, &["10.9.0.101/24"]);
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, HIGH, &text);
    wait_for("the agent", PATIENCE, || daemon.state());
    let mark = lan.capture.mark();
    assert_eq!(router(&daemon)["kept_out"], "tracker");
    namespace.ip("addr add 10.9.0.50/24 dev eth0");
    daemon.wait_state("active", PATIENCE);
    let explained = say(&daemon, &["explain", "VI"]);
    assert!(explained.contains("source 10.9.0.50 on eth0: up, weight 0"), "{explained}");
    namespace.ip("addr del 10.9.0.50/24 dev eth0");
    daemon.wait_state("initialize", PATIENCE);
    wait_holds(&lan, HIGH, spec.vip(), false);
    assert_eq!(daemon.status().expect("a status")["routers"][1]["kept_out"], "tracker");
    assert!(say(&daemon, &["explain", "PEERLESS"]).contains("peers unicast_peer: down, weight 0"));
    let spoken = lan.capture.adverts(mark).iter().filter(|advert| advert.vrid == 52).count();
    assert_eq!(spoken, 0, "not even to the group");
    daemon.reload_and_wait(&text.replace("unicast_peer {\n    }", "unicast_peer {\n        10.9.0.2\n    }"), PATIENCE);
    wait_for("the other instance", PATIENCE, || (daemon.status()?["routers"][1]["state"] == "active").then_some(()));
}

/// One machine after the other speaks both versions, then only the new one (RFC 9568 section 8.4.2): no election, no
/// address that moves, no probe that is lost.
fn upgraded() {
    let [old, new] = [Spec::v2(), Spec::v3(100)];
    let both = new.clone().with("both_versions");
    let lan = Lan::new(&["high", "low", "client"]);
    let high = Daemon::start(Engine::Steadfast, &lan, HIGH, &old, 200);
    high.wait_state("active", PATIENCE);
    let low = Daemon::start(Engine::Steadfast, &lan, LOW, &old, 100);
    low.wait_state("backup", PATIENCE);
    let monitors = [HIGH, LOW].map(|host| Monitor::start(&lan.host(host).namespace));
    let prober = Prober::start(&lan.host(CLIENT).namespace, old.vip(), ms(1.0));
    let begun = prober.wait_answer(Stamp::now(), PATIENCE);
    for (daemon, spec, priority) in [(&low, &both, 100), (&high, &both, 200), (&low, &new, 100), (&high, &new, 200)] {
        daemon.reload_and_wait(&spec.text(priority), PATIENCE);
        // Longer than a Backup waits.
        std::thread::sleep(ms(old.down_ms(100) + 500.0));
    }
    let until = Stamp::now();
    let probes = prober.stop();
    assert_eq!(probes.lost(begun, until), 0, "of {}", probes.sent(begun, until));
    for monitor in monitors {
        assert!(monitor.changes().is_empty(), "{:?}", monitor.changes());
    }
    assert_eq!([&high, &low].map(|daemon| daemon.counter("master-transitions")), [1, 0]);
    assert_eq!([&high, &low].map(Daemon::state), ["active", "backup"].map(|state| Some(state.to_owned())));
    assert_eq!([&high, &low].map(|daemon| router(daemon)["version"].clone()), [3, 3]);
}
