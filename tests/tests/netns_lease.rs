//! The lease of virtual addresses: an agent that is killed, stopped or starved as Active no longer holds them when its
//! peer takes over, or within 2.1 s where the interval is shorter than a second; one that goes on after standing still
//! puts them on again only if it is still Active; and none runs out while the agent works, however busy the machine.
//! Whoever holds the kernel's lock for changes of addresses delays these, and no Advertisement.
//! One that is killed and started again before its peers have missed it goes on as if nothing had happened.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::Signal;
use steadfast_tests::lab::clock::{Stamp, ms, summary, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::largest_pause;
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::probe::Prober;
use steadfast_tests::lab::process::Process;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, thorough};

const ACTIVE: usize = 0;
const PEER: usize = 1;
const PATIENCE: Duration = Duration::from_secs(10);
/// Within which an address is gone where the interval is shorter than a second, in ms.
const SOON: f64 = 2100.0;
/// The processor of an agent that is to be starved.
const CPU: &str = "0";

/// Held while somebody takes all the time of a processor from everybody else: what shall not be starved then waits.
static PROCESSORS: Mutex<()> = Mutex::new(());

/// What befalls the Active.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Killed,
    Stopped,
    Starved,
}

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let specs = [
        (Spec::v3(100), Fate::Killed),
        (Spec::v3(100), Fate::Stopped),
        (Spec::v3(100), Fate::Starved),
        (Spec::v2().with_vmac(true), Fate::Killed),
        (Spec::v6(100), Fate::Killed),
        (Spec::v6(100).with_vmac(true), Fate::Stopped),
        (Spec::v3(150), Fate::Killed),
        (Spec::v3(10), Fate::Killed),
        (Spec::v6(10), Fate::Stopped),
        (Spec::v3(90).with_vmac(true), Fate::Starved),
    ];
    let mut trials = Vec::new();
    for (spec, fate) in specs {
        // Each time at another moment between two Advertisements.
        let rounds = if thorough() { 10 } else { 1 };
        trials.push(Trial::test(format!("{fate:?}-{}", spec.name()).to_lowercase(), move || {
            let margins: Vec<_> = (0..rounds).map(|round| gone_in_time(&spec, fate, round)).collect();
            let what = if spec.centiseconds < 100 { "after that" } else { "before the peer takes over" };
            println!("\nfigure: lease: {fate:?} {}: gone {} ms {what}", spec.name(), summary(&margins));
            Ok(())
        }));
    }
    for spec in [Spec::v3(30), Spec::v3(30).with_vmac(true), Spec::v6(30), Spec::v2()] {
        let rounds = if thorough() { 10 } else { 1 };
        trials.push(Trial::test(format!("crash-and-restart-{}", spec.name()), move || {
            (0..rounds).for_each(|round| crash(&spec, round));
            Ok(())
        }));
    }
    let tests: [(&str, fn()); 7] = [
        ("advertises-while-others-hold-the-kernels-lock", kernels_lock),
        ("goes-on-as-backup-without-them", goes_on_as_backup),
        ("goes-on-as-active-with-them", goes_on_as_active),
        ("restart-too-late-as-backup", restarted_too_late),
        ("none-runs-out-on-a-busy-machine", busy),
        ("lifetimes-are-as-configured", lifetimes),
        ("without-a-lease-they-stay", without_a_lease),
    ];
    for (name, test) in tests {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// The addresses of the instances beside the first.
const MORE: [&str; 2] = ["10.9.0.101", "10.9.0.102"];

/// The first instance, and two more with an address each.
fn staggered(spec: &Spec, priority: u8, more: usize) -> String {
    let mut text = spec.text(priority);
    let v4 = Spec { v6: false, ..spec.clone() };
    for (number, address) in (0_u8..).zip(&MORE[..more]) {
        text.push_str(&v4.instance(&format!("MORE_{number}"), 60 + number, priority, &[&format!("{address}/24")]));
    }
    text
}

fn vips(spec: &Spec) -> Vec<IpAddr> {
    let more = MORE.map(|address| address.parse().expect("an address"));
    [spec.vip()].into_iter().chain(more).collect()
}

fn holds(lan: &Lan, host: usize, vips: &[IpAddr]) -> bool {
    let held = lan.addresses(host);
    vips.iter().all(|vip| held.contains(vip))
}

#[track_caller]
fn wait_holds(lan: &Lan, host: usize, vips: &[IpAddr]) {
    wait_for(&format!("{vips:?} on machine {host}"), PATIENCE, || holds(lan, host, vips).then_some(()));
}

/// An Active of priority 100 that has addresses of three instances, which advertise each at its own moment, and a
/// Backup of priority 254 that waits for it to end.
fn scene(spec: &Spec) -> (Lan, Daemon, Daemon) {
    let lan = Lan::new(&["active", "peer"]);
    let vips = vips(spec);
    let active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, spec, 100);
    for more in 1..=MORE.len() {
        wait_holds(&lan, ACTIVE, &vips[..more]);
        std::thread::sleep(ms(0.29 * spec.interval_ms()));
        active.reload(&staggered(spec, 100, more));
    }
    wait_holds(&lan, ACTIVE, &vips);
    let peer = Daemon::start_with(Engine::Steadfast, &lan, PEER, &staggered(&spec.clone().with("nopreempt"), 254, 2));
    wait_for("the peer", PATIENCE, || {
        let status = peer.status()?;
        let routers = status["routers"].as_array()?;
        (routers.len() == 3 && routers.iter().all(|router| router["state"] == "backup")).then_some(())
    });
    (lan, active, peer)
}

/// Something that takes all the time of a processor.
fn spin(lan: &Lan, number: usize, prefix: &[&str]) -> Process {
    let words = [prefix, &["sh", "-c", "while :; do :; done"]].concat();
    Process::start(Command::new(words[0]).args(&words[1..]), &lan.folder().join(format!("spin{number}.log")))
}

/// Gives all threads of a process no time but what nobody else wants on one processor, and has somebody want it.
fn starve(lan: &Lan, daemon: &Daemon) -> Process {
    let pid = daemon.process.pid().to_string();
    for words in [["taskset", "-a", "-p", "-c", CPU, &pid].as_slice(), &["chrt", "-a", "-i", "-p", "0", &pid]] {
        let done = Command::new(words[0]).args(&words[1..]).output().expect("util-linux is there");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    spin(lan, 0, &["nice", "-n", "-20", "taskset", "-c", CPU])
}

/// By how many milliseconds an address was gone before the peer took over, the least of three; below an interval of a
/// second, how long after the Active's end, or what it did last, it was gone, the longest.
fn gone_in_time(spec: &Spec, fate: Fate, round: u32) -> f64 {
    let (lan, mut active, _peer) = scene(spec);
    let monitors = [ACTIVE, PEER].map(|host| Monitor::start(&lan.host(host).namespace));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody else's address has a lifetime too, and makes the kernel look at another moment.
        let other = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let namespace = &lan.host(ACTIVE).namespace;
                namespace.ip("addr replace 10.9.0.77/24 dev eth0 valid_lft 4 preferred_lft 3");
                std::thread::sleep(ms(1370.0));
            }
        });
        let _alone = (fate == Fate::Starved).then(|| PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::sleep(ms(f64::from(round) * 137.0 + 61.0));
        let begun = Stamp::now();
        let mut spinner = None;
        match fate {
            Fate::Killed => _ = active.kill(),
            Fate::Stopped => _ = active.process.signal(Signal::SIGSTOP),
            Fate::Starved => spinner = Some(starve(&lan, &active)),
        }
        let ended_at = Stamp::now();
        let margins = vips(spec).into_iter().map(|vip| {
            let gone = monitors[ACTIVE].wait(vip, false, begun, PATIENCE);
            let taken = monitors[PEER].wait(vip, true, begun, PATIENCE);
            // One that is starved gets a moment now and then, and is not at its end before it has had the last.
            let last = monitors[ACTIVE].renewed(vip, gone).filter(|_| fate == Fate::Starved);
            let ended_at = last.map_or(ended_at, |last| last.max(ended_at));
            if spec.centiseconds < 100 { gone.ms_since(ended_at) } else { taken.ms_since(gone) }
        });
        let margins = catch_unwind(AssertUnwindSafe(|| margins.collect::<Vec<f64>>()));
        drop(spinner);
        ended.store(true, Ordering::Relaxed);
        other.join().expect("an address is renewed");
        let margins = margins.unwrap_or_else(|panic| resume_unwind(panic));
        if spec.centiseconds < 100 {
            let longest = margins.iter().copied().fold(0.0, f64::max);
            assert!(longest <= SOON, "gone after {margins:?} ms");
            longest
        } else {
            let least = margins.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(least > 0.0, "gone {margins:?} ms before the peer took over");
            least
        }
    })
}

/// Stopped for longer than its peer waits, and continued, while the peer has more right.
fn goes_on_as_backup() {
    let spec = Spec::v3(100);
    let (lan, active, _peer) = scene(&spec);
    let monitor = Monitor::start(&lan.host(ACTIVE).namespace);
    active.process.signal(Signal::SIGSTOP);
    wait_holds(&lan, PEER, &vips(&spec));
    let gone = !vips(&spec).iter().any(|vip| lan.addresses(ACTIVE).contains(vip));
    assert!(gone, "{:?}", lan.addresses(ACTIVE));
    let continued = active.process.signal(Signal::SIGCONT);
    active.wait_state("backup", PATIENCE);
    std::thread::sleep(ms(1500.0));
    let added = monitor.changes().into_iter().filter(|change| change.added && change.at >= continued).count();
    assert_eq!(added, 0, "addresses of the peer's were put on");
}

/// The same while the peer has less right: the addresses are back at once, and the peer lets go.
fn goes_on_as_active() {
    for spec in [Spec::v3(100), Spec::v6(20)] {
        let lan = Lan::new(&["active", "peer"]);
        let active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, &spec, 200);
        wait_holds(&lan, ACTIVE, &[spec.vip()]);
        let _peer = Daemon::start(Engine::Steadfast, &lan, PEER, &spec, 100);
        active.process.signal(Signal::SIGSTOP);
        wait_holds(&lan, PEER, &[spec.vip()]);
        wait_for("the end of the lease", PATIENCE, || (!holds(&lan, ACTIVE, &[spec.vip()])).then_some(()));
        let monitor = Monitor::start(&lan.host(ACTIVE).namespace);
        let continued = active.process.signal(Signal::SIGCONT);
        let back = monitor.wait(spec.vip(), true, continued, PATIENCE).ms_since(continued);
        println!("\nfigure: lease: {}: back {back:.1} ms after standing still", spec.name());
        wait_for("the peer to let go", PATIENCE, || (!holds(&lan, PEER, &[spec.vip()])).then_some(()));
        assert_eq!(active.state().as_deref(), Some("active"));
        let log = active.process.log();
        assert!(log.contains("ran out while this agent stood still"), "{log}");
    }
}

/// Killed, and started again within 200 ms: no probe is lost, the peer notices nothing, no address moves.
fn crash(spec: &Spec, round: u32) {
    const CLIENT: usize = 2;
    let lan = Lan::new(&["active", "peer", "client"]);
    let mut active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, spec, 100);
    wait_holds(&lan, ACTIVE, &[spec.vip()]);
    let peer = Daemon::start(Engine::Steadfast, &lan, PEER, &spec.clone().with("nopreempt"), 254);
    peer.wait_state("backup", PATIENCE);
    let monitors = [ACTIVE, PEER].map(|host| Monitor::start(&lan.host(host).namespace));
    let prober = Prober::start(&lan.host(CLIENT).namespace, spec.vip(), ms(1.0));
    let begun = prober.wait_answer(Stamp::now(), PATIENCE);
    std::thread::sleep(ms(f64::from(round) * 13.0 + 61.0));
    let killed = active.kill();
    (killed + ms(100.0)).sleep();
    let active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, spec, 100);
    active.wait_state("active", PATIENCE);
    let back = Stamp::now().ms_since(killed);
    std::thread::sleep(ms(4.0 * spec.interval_ms() + 500.0));
    let until = Stamp::now();
    let probes = prober.stop();
    let (sent, lost) = (probes.sent(begun, until), probes.lost(begun, until));
    println!("\nfigure: restart: {}: {lost} of {sent} probes lost, known as Active after {back:.0} ms", spec.name());
    assert_eq!(lost, 0);
    for monitor in monitors {
        assert!(monitor.changes().is_empty(), "{:?}", monitor.changes());
    }
    assert_eq!((active.state().as_deref(), peer.state().as_deref()), (Some("active"), Some("backup")));
    assert_eq!(peer.counter("master-transitions"), 0);
    assert!(active.process.log().contains("goes on as Active"));
}

/// Its peer has taken over.
fn restarted_too_late() {
    let spec = Spec::v3(10);
    let lan = Lan::new(&["active", "peer"]);
    let mut active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, &spec, 100);
    wait_holds(&lan, ACTIVE, &[spec.vip()]);
    let peer = Daemon::start(Engine::Steadfast, &lan, PEER, &spec.clone().with("nopreempt"), 254);
    peer.wait_state("backup", PATIENCE);
    active.kill();
    wait_holds(&lan, PEER, &[spec.vip()]);
    active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, &spec, 100);
    active.wait_state("backup", PATIENCE);
    wait_for("the address to go", PATIENCE, || (!holds(&lan, ACTIVE, &[spec.vip()])).then_some(()));
    assert!(!active.process.log().contains("goes on as Active"));
    assert_eq!(active.counter("master-transitions"), 0);
    active.terminate();
    active.process.wait(PATIENCE);
    let folder = active.control().parent().expect("a folder");
    let left: Vec<_> = std::fs::read_dir(folder).expect("it can be read").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Every processor is wanted by two others.
fn busy() {
    let _alone = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    let lan = Lan::new(&["active"]);
    let spec = Spec::v3(100);
    let mut text = staggered(&spec, 100, 2);
    let (v6, fast) = (Spec::v6(100), Spec::v3(10));
    text.push_str(&v6.instance("SIX", 70, 100, &["fe80::70/64", "fd09::70/64"]));
    for number in 0..30 {
        text.push_str(&fast.instance(&format!("FAST_{number}"), 80 + number, 100, &[&format!("10.9.1.{number}/32")]));
    }
    let active = Daemon::start_with(Engine::Steadfast, &lan, ACTIVE, &text);
    wait_for("all addresses", PATIENCE, || (lan.addresses(ACTIVE).len() >= 3 + 3 + 2 + 30).then_some(()));
    let monitor = Monitor::start(&lan.host(ACTIVE).namespace);
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let spinners: Vec<_> = (0..2 * processors).map(|number| spin(&lan, number, &["nice", "-n", "0"])).collect();
    std::thread::sleep(Duration::from_secs(if thorough() { 60 } else { 8 }));
    drop(spinners);
    let lost: Vec<_> = monitor.changes().into_iter().filter(|change| !change.added).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(active.counter("addresses-lost"), 0);
}

/// Somebody removes thousands of interfaces at once, which takes the lock that every change of an address needs, while
/// the agent takes over a second address: the Advertisements about the first go on.
fn kernels_lock() {
    const BUSY: usize = 2;
    const LINKS: u32 = 2500;
    let lan = Lan::new(&["active", "peer", "busy"]);
    let spec = Spec::v3(1);
    // It is taken over some 200 ms after its Active has died: in the midst of it.
    let slow = Spec::v3(6);
    let second = |priority| slow.instance("SECOND", 60, priority, &[&format!("{}/24", MORE[0])]);
    let _active = Daemon::start_with(Engine::Steadfast, &lan, ACTIVE, &(spec.text(200) + &second(100)));
    let mut peer = Daemon::start_with(Engine::Steadfast, &lan, PEER, &(spec.text(100) + &second(200)));
    wait_holds(&lan, ACTIVE, &vips(&spec)[..1]);
    wait_holds(&lan, PEER, &vips(&spec)[1..2]);
    let namespace = &lan.host(BUSY).namespace;
    let batch = lan.folder().join("links");
    let links = (0..LINKS).map(|number| format!("link add many{number} group 7 type veth peer name more{number}\n"));
    let links: String = links.collect();
    std::fs::write(&batch, links).expect("a file can be written");
    namespace.ip(&format!("-batch {}", batch.display()));
    let monitor = Monitor::start(&lan.host(ACTIVE).namespace);
    let mark = lan.capture.mark();
    let begun = peer.kill();
    namespace.ip("link del group 7");
    let end = Stamp::now();
    let held = end.ms_since(begun);
    let taken = monitor.wait(vips(&spec)[1], true, begun, PATIENCE).ms_since(begun);
    let mut adverts = lan.capture.adverts(mark);
    adverts.retain(|advert| advert.vrid == 51);
    let pause = largest_pause(&adverts, ACTIVE, begun, end);
    println!(
        "\nfigure: the kernel's lock held for {held:.0} ms: taken over after {taken:.0} ms, longest pause of another \
         router's Advertisements {pause:.1} ms"
    );
    assert!(taken > 0.5 * held && held > 300.0, "the lock was not held: {held} ms, {taken} ms");
    assert!(pause < 0.3 * held, "no Advertisement for {pause} ms while the lock was held for {held} ms");
}

/// The lifetimes of an address: seconds of validity and of preference; `None` for ever.
fn lifetime(lan: &Lan, address: &str) -> [Option<u64>; 2] {
    let text = lan.host(ACTIVE).namespace.ip("-j addr show");
    let links: serde_json::Value = serde_json::from_str(&text).expect("ip prints JSON");
    let all =
        links.as_array().into_iter().flatten().flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    let found = all.into_iter().find(|info| info["local"] == address).unwrap_or_else(|| panic!("no {address}: {text}"));
    ["valid_life_time", "preferred_life_time"]
        .map(|name| found[name].as_u64().filter(|seconds| *seconds < u64::from(u32::MAX)))
}

/// Preferred for as long as it is valid, unless configured otherwise; what the owner has by himself has no lease, and
/// neither has an address that somebody else put there for ever.
fn lifetimes() {
    let lan = Lan::new(&["active"]);
    let namespace = &lan.host(ACTIVE).namespace;
    namespace.ip("addr add 10.9.0.200/24 dev eth0");
    let spec = Spec::v3(100).with(
        "virtual_ipaddress_excluded {\n10.9.0.103/24 preferred_lft 0\n10.9.0.104/24 preferred_lft 1000\n10.9.0.105/24\n\
         fd09::103/64\nfd09::104/128\n}",
    );
    let owner = spec.instance("OWNER", 52, 255, &["10.9.0.200/24", "10.9.0.201/24"]);
    let owner = owner.replace(&spec.extra.replace('\n', "\n    "), "");
    let text = spec.text(100) + &owner;
    let active = Daemon::start_with(Engine::Steadfast, &lan, ACTIVE, &text);
    wait_for("the start", PATIENCE, || active.state());
    namespace.ip("addr add 10.9.0.105/24 dev eth0");
    wait_holds(&lan, ACTIVE, &[spec.vip(), "fd09::104".parse().expect("an address")]);
    // Renewed twice at least.
    std::thread::sleep(ms(2300.0));
    for address in ["10.9.0.100", "10.9.0.104", "fd09::103", "10.9.0.201"] {
        let [valid, preferred] = lifetime(&lan, address);
        assert!(valid.is_some_and(|seconds| seconds <= 1), "{address}: {valid:?}");
        assert_eq!(valid, preferred, "{address}");
    }
    for address in ["10.9.0.103", "fd09::104"] {
        let [valid, preferred] = lifetime(&lan, address);
        assert!(valid.is_some_and(|seconds| seconds <= 1) && preferred == Some(0), "{address}");
    }
    for address in ["10.9.0.200", "10.9.0.105"] {
        assert_eq!(lifetime(&lan, address), [None; 2], "{address}");
    }
}

/// `no_lease`, for one and for all; a reload with it and without moves nothing.
fn without_a_lease() {
    let lan = Lan::new(&["active"]);
    let mut spec = Spec::v3(10);
    let mut active = Daemon::start(Engine::Steadfast, &lan, ACTIVE, &spec.clone().with("no_lease"), 100);
    wait_holds(&lan, ACTIVE, &[spec.vip()]);
    assert_eq!(lifetime(&lan, "10.9.0.100"), [None; 2]);
    let monitor = Monitor::start(&lan.host(ACTIVE).namespace);
    active.reload(&spec.text(100));
    wait_for("a lease", PATIENCE, || lifetime(&lan, "10.9.0.100")[0]);
    spec.globals.push_str("no_lease\n");
    active.reload(&spec.text(100));
    wait_for("no lease", PATIENCE, || lifetime(&lan, "10.9.0.100")[0].is_none().then_some(()));
    // One that is renewed in the hundredth of a second in which it was put on looks as if it were put on again.
    let lost = monitor.changes().into_iter().filter(|change| !change.added).count();
    assert_eq!(lost, 0);
    active.kill();
    std::thread::sleep(ms(SOON));
    assert!(holds(&lan, ACTIVE, &[spec.vip()]));
}
