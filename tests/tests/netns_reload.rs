//! What else a machine does while an Active advertises every 10 ms: a reload that makes and deletes virtual MAC
//! addresses, other routers of the same process that change state, and strangers that hold the kernel's lock of all
//! network configuration. No Advertisement may come later than when nothing of it happens, in the same run; only one
//! that falls due just while addresses are changed may wait for the lock. And fifty reloads, by which nothing moves, and
//! after which nothing is left.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{Stamp, median, ms, summary, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::largest_pause;
use steadfast_tests::lab::hostile::Forge;
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::process::Process;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, thorough};

const ROUTER: usize = 0;
const RIVAL: usize = 1;
const PATIENCE: Duration = Duration::from_secs(10);
/// The VRID of the router whose Advertisements are looked at, and of the first of the others.
const FAST: u8 = 51;
const OTHERS: u8 = 61;
/// How much of a change is looked at; everything that follows from it has happened by then.
const WINDOW: Duration = Duration::from_millis(1500);
/// How much later an Advertisement may be than without a change: less than work on one interface takes.
const LEEWAY: f64 = 10.0;
/// How much later it may be for a lock that others take for some 15 ms at a time, without pause.
const LOCK: f64 = 60.0;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let runs = if thorough() { 12 } else { 5 };
    let trials = vec![
        Trial::test("reload-with-virtual-macs-delays-no-advertisement", move || {
            reload_with_virtual_macs(runs);
            Ok(())
        }),
        Trial::test("a-lock-held-by-others-delays-at-most-what-falls-due-in-a-change", move || {
            lock_held_by_others(runs);
            Ok(())
        }),
        Trial::test("fifty-reloads-under-flapping-scripts-and-a-cut-move-and-leak-nothing", || {
            fifty_reloads();
            Ok(())
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A router of 10 ms and `others` routers of 100 ms.
fn text(others: u8, vmac: bool) -> String {
    let mut text = Spec::v3(1).instance("FAST", FAST, 200, &["10.9.0.100/24"]);
    let spec = Spec::v3(10).with_vmac(vmac);
    for number in 0..others {
        let address = format!("10.9.0.{}/24", 150 + number);
        let _ = write!(text, "{}", spec.instance(&format!("R{number}"), OTHERS + number, 200, &[&address]));
    }
    text
}

/// Waits until the router is Active and holds the address of everyone in `text(others)`.
#[track_caller]
fn settle(lan: &Lan, others: u8) {
    wait_for("all addresses", PATIENCE, || {
        let held = lan.addresses(ROUTER);
        let wanted = |number: u8| held.contains(&std::net::Ipv4Addr::new(10, 9, 0, number).into());
        (wanted(100) && (0..20).all(|number| wanted(150 + number) == (number < others))).then_some(())
    });
}

/// The longest pause of the fast router during `change`, in ms.
fn pause(lan: &Lan, change: impl FnOnce()) -> f64 {
    let (mark, begun) = (lan.capture.mark(), Stamp::now());
    change();
    let end = begun + WINDOW;
    end.sleep();
    let mut adverts = lan.capture.adverts(mark);
    adverts.retain(|advert| advert.vrid == FAST);
    largest_pause(&adverts, ROUTER, begun, end)
}

fn report(what: &str, pauses: &[f64]) {
    println!("\nfigure: reload: longest pause of 10 ms, ms: {what:<46} {}", summary(pauses));
}

/// Five routers with virtual MAC addresses come and go by reload.
fn reload_with_virtual_macs(runs: usize) {
    const COUNT: u8 = 5;
    let lan = Lan::new(&["router"]);
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text(0, true));
    settle(&lan, 0);
    let (mut bare, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        bare.push(pause(&lan, || {}));
        added.push(pause(&lan, || _ = daemon.reload(&text(COUNT, true))));
        settle(&lan, COUNT);
        removed.push(pause(&lan, || _ = daemon.reload(&text(0, true))));
        settle(&lan, 0);
        wait_for("the virtual MAC interfaces to go", PATIENCE, || {
            (!lan.host(ROUTER).namespace.ip("-o link show").contains("vrrp.")).then_some(())
        });
    }
    report("nothing happens", &bare);
    report("5 virtual MAC addresses come by reload", &added);
    report("5 virtual MAC addresses go by reload", &removed);
    for (what, pauses) in [("added", &added), ("removed", &removed)] {
        let (with, without) = (median(pauses), median(&bare));
        assert!(with <= without + LEEWAY, "{what}: {with} ms, {without} ms when nothing happens");
    }
}

/// Others make and delete interfaces without pause, while twenty routers of ours change state.
fn lock_held_by_others(runs: usize) {
    const COUNT: u8 = 20;
    let lan = Lan::new(&["router", "rival"]);
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text(COUNT, false));
    settle(&lan, COUNT);
    let elsewhere = namespace::Namespace::new("elsewhere");
    elsewhere.ip("link add base type bridge");
    elsewhere.ip("link set base up");
    let batch = lan.folder().join("batch");
    // Setting it down takes the kernel some 15 ms, with the lock held.
    let turn = "link add m0 link base type macvlan\nlink set m0 up\nlink set m0 down\nlink del m0\n";
    fs::write(&batch, turn.repeat(100_000)).expect("a file can be written");
    // Somebody with a higher priority is heard once: release, and acquisition after Active_Down_Interval.
    let depose = || {
        let forge = |number| Forge::new(&Spec { vrid: OTHERS + number, ..Spec::v3(10) }, lan.host(RIVAL), 250);
        let frames: Vec<_> = (0..COUNT).map(|number| forge(number).frame()).collect();
        for _ in 0..3 {
            let (count, rate) = (frames.len() as u32, 4000);
            inject(&lan.host(RIVAL).namespace, &frames, rate, Duration::from_secs(1) * count / rate);
            (Stamp::now() + ms(450.0)).sleep();
        }
    };
    let names = ["nothing happens", "20 others change state", "the lock is held", "both"];
    let mut pauses = [const { Vec::new() }; 4];
    for _ in 0..runs {
        pauses[0].push(pause(&lan, || {}));
        pauses[1].push(pause(&lan, depose));
        let mut command = elsewhere.command("ip");
        command.arg("-batch").arg(&batch);
        let strangers = Process::start(&mut command, &lan.folder().join("batch.log"));
        pauses[2].push(pause(&lan, || {}));
        pauses[3].push(pause(&lan, depose));
        drop(strangers);
        settle(&lan, COUNT);
    }
    let status = daemon.status().expect("status answers");
    let others = status["routers"].as_array().into_iter().flatten().skip(1);
    let changes: u64 = others.filter_map(|router| router["counters"]["master-transitions"].as_u64()).sum();
    assert!(changes >= runs as u64 * 2 * u64::from(COUNT), "only {changes} changes of state");
    for (name, pauses) in names.iter().zip(&pauses) {
        report(name, pauses);
    }
    let medians = pauses.map(|pauses| median(&pauses));
    // Addresses are changed in the loop: handing the work to a thread makes every take-over later, by some 0.1 ms in
    // the middle and by milliseconds on a busy machine.
    assert!(medians[3] <= medians[0] + LOCK, "{} ms, {} ms when nothing happens", medians[3], medians[0]);
}

/// What a process and its machine hold, as far as it may grow or be forgotten.
fn belongings(lan: &Lan, daemon: &Daemon) -> Vec<String> {
    let namespace = &lan.host(ROUTER).namespace;
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.process.pid())).map_or(0, Iterator::count);
    let mut all = vec![format!("{descriptors} descriptors"), format!("{:?}", lan.addresses(ROUTER))];
    all.extend(
        ["-br link show", "route show table all", "-6 route show table all", "rule show"]
            .map(|show| namespace.ip(show)),
    );
    all
}

/// Reload upon reload, each with other routers, scripts and addresses, while a script succeeds and fails in turn and the
/// peer is away for a time: the router stays what it is, the peer takes over when it is cut off and at no other time, and
/// in the end there is what was there in the beginning.
fn fifty_reloads() {
    const RELOADS: usize = 50;
    let lan = Lan::new(&["router", "rival"]);
    let folder = lan.folder().display().to_string();
    let flag = lan.folder().join("flag");
    let mut spec = Spec::v3(10);
    spec.globals = "script_user root\n".into();
    let bare = spec.text(200);
    let text = |round: usize| {
        let mut scripts = format!(
            "vrrp_script flaps {{\n    script \"/usr/bin/test -e {folder}/flag\"\n    interval 0.05\n    weight -{}\n}}\n",
            10 + round % 2
        );
        let mut uses = "track_script {\n    flaps\n".to_owned();
        if round.is_multiple_of(2) {
            scripts += "vrrp_script works {\n    script /bin/true\n    interval 0.1\n    weight 1\n}\n";
            uses += "    works\n";
        }
        let tracked = spec.clone().with(&(uses + "}")).text(200);
        let mut text = tracked.replacen("vrrp_instance", &(scripts + "vrrp_instance"), 1);
        if round.is_multiple_of(3) {
            text += &spec.instance("MORE", OTHERS, 200, &["10.9.0.160/24", "10.9.0.161/24"]);
        }
        if round.is_multiple_of(5) {
            text += &spec.clone().with_vmac(true).instance("VIRTUAL", OTHERS + 1, 200, &["10.9.0.170/24"]);
        }
        text
    };
    let router = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &bare);
    let rival = Daemon::start(Engine::Steadfast, &lan, RIVAL, &Spec::v3(10), 100);
    router.wait_state("active", PATIENCE);
    rival.wait_state("backup", PATIENCE);
    // Whether the rival is cut off, the router has nobody above it, and keeps its address.
    let monitor = Monitor::start(&lan.host(ROUTER).namespace);
    let run = |rounds: std::ops::Range<usize>| {
        for round in rounds {
            if round.is_multiple_of(2) {
                fs::write(&flag, "").expect("a file can be written");
            } else {
                fs::remove_file(&flag).expect("a file can be removed");
            }
            if round == RELOADS / 2 {
                lan.cut(RIVAL);
            }
            router.reload_and_wait(&text(round), PATIENCE);
            if round == RELOADS / 2 {
                rival.wait_state("active", PATIENCE);
                lan.heal(RIVAL);
            }
            // Long enough for some runs of the script.
            (Stamp::now() + ms(100.0)).sleep();
        }
        router.reload_and_wait(&bare, PATIENCE);
        wait_for("the end of scripts", PATIENCE, || (router.process.family().len() == 1).then_some(()));
        wait_for("the virtual MAC interfaces to go", PATIENCE, || {
            (!lan.host(ROUTER).namespace.ip("-o link show").contains("vrrp.")).then_some(())
        });
    };
    // What is wanted once and kept is there after the first.
    run(0..10);
    let (resident, belongs) = (router.process.resident_kb(), belongings(&lan, &router));
    run(0..RELOADS);
    rival.wait_state("backup", PATIENCE);
    let grown = router.process.resident_kb().saturating_sub(resident);
    println!("\nfigure: reload: {RELOADS} reloads later {grown} KiB more");
    assert_eq!(belongings(&lan, &router), belongs);
    assert!(grown <= 128, "{grown} KiB more after {RELOADS} reloads, {resident} before");
    assert_eq!([&router, &rival].map(|daemon| daemon.counter("master-transitions")), [1, 1]);
    let vip = Spec::v3(10).vip();
    let moved: Vec<_> = monitor.changes().into_iter().filter(|change| change.address == vip && !change.added).collect();
    assert!(moved.is_empty(), "the address was taken away: {moved:?}");
}
