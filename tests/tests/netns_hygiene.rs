//! What Steadfast leaves behind and what it holds on to: nothing after a planned stop; a killed predecessor's addresses
//! are taken over; a broken file changes nothing; an address that somebody deletes comes back; a cable that is pulled
//! and plugged in again. And what whoever started it is told meanwhile ([`supervised`]).

#![forbid(unsafe_code)]

#[path = "netns_hygiene/metrics.rs"]
mod metrics;
#[path = "netns_hygiene/supervised.rs"]
mod supervised;

use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{Stamp, ms, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::largest_pause;
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::probe::Prober;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace};

const ROUTER: usize = 0;
const OTHER: usize = 1;
const PATIENCE: Duration = Duration::from_secs(5);

/// One test of a spec.
type Test = fn(&Spec);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let mut trials = Vec::new();
    for spec in [Spec::v2(), Spec::v3(10), Spec::v6(10)] {
        for vmac in [false, true] {
            let spec = spec.clone().with_vmac(vmac);
            let tests: [(&str, Test); 7] = [
                ("sigterm-leaves-nothing", sigterm_leaves_nothing),
                ("told-twice", told_twice),
                ("killed-then-restarted", killed_then_restarted),
                ("killed-then-backup", killed_then_backup),
                ("broken-file-changes-nothing", broken_file_changes_nothing),
                ("deleted-address-comes-back", deleted_address_comes_back),
                ("cable-pulled-and-plugged-in", cable_pulled),
            ];
            for (name, test) in tests {
                // Of version 2, which waits for seconds, a stop is enough; and only there is one long enough to be
                // cut short.
                if (spec.version == 2) != (name == "told-twice") && name != "sigterm-leaves-nothing" {
                    continue;
                }
                let spec = spec.clone();
                trials.push(Trial::test(format!("{name}-{}", spec.name()), move || {
                    test(&spec);
                    Ok(())
                }));
            }
        }
    }
    trials.push(Trial::test("two-agents-with-sockets-in-one-folder", || {
        two_agents_in_one_folder();
        Ok(())
    }));
    trials.push(Trial::test("use-vmac-addr", || {
        virtual_macs_elsewhere();
        Ok(())
    }));
    trials.push(Trial::test("metrics-are-served-where-they-are-asked-for", || {
        metrics::page();
        Ok(())
    }));
    trials.push(Trial::test("status-has-its-schema", || {
        status_has_its_schema();
        Ok(())
    }));
    let supervised: [(&str, fn()); 3] = [
        ("a-supervisor-hears-of-a-life", supervised::a_life),
        ("a-supervisor-hears-who-is-the-agent", supervised::in_the_background),
        ("a-supervisor-hears-why-not", supervised::not_ready),
    ];
    for (name, test) in supervised {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Everything of a machine that a daemon may touch.
#[derive(Debug, PartialEq)]
struct Snapshot {
    addresses: Vec<String>,
    links: Vec<String>,
    routes: Vec<String>,
    sysctls: Vec<(String, String)>,
}

fn snapshot(lan: &Lan) -> Snapshot {
    let namespace = &lan.host(ROUTER).namespace;
    let lines = |text: String| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let links = lines(namespace.ip("-o link show"));
    let mut routes = lines(namespace.ip("route show table all"));
    routes.extend(lines(namespace.ip("-6 route show table all")));
    routes.sort();
    let mut addresses = lines(namespace.ip("-o addr show"));
    addresses.sort();
    // Counters of the kernel, not settings.
    let volatile = ["conntrack_count", "/route/flush", "file-nr"];
    let mut sysctls = namespace.sysctls();
    sysctls.retain(|(name, _)| !volatile.iter().any(|part| name.contains(part)));
    Snapshot { addresses, links, routes, sysctls }
}

/// What differs, in words.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    fn compare<T: PartialEq + std::fmt::Debug>(what: &str, before: &[T], after: &[T], found: &mut Vec<String>) {
        found.extend(before.iter().filter(|item| !after.contains(item)).map(|item| format!("{what} gone: {item:?}")));
        found.extend(after.iter().filter(|item| !before.contains(item)).map(|item| format!("{what} new: {item:?}")));
    }
    let mut found = Vec::new();
    compare("address", &before.addresses, &after.addresses, &mut found);
    compare("link", &before.links, &after.links, &mut found);
    compare("route", &before.routes, &after.routes, &mut found);
    compare("sysctl", &before.sysctls, &after.sysctls, &mut found);
    found
}

fn start(lan: &Lan, host: usize, spec: &Spec, priority: u8) -> Daemon {
    Daemon::start(Engine::Steadfast, lan, host, spec, priority)
}

/// Starts on `host` and waits until it is Active and holds the address.
#[track_caller]
fn start_active(lan: &Lan, host: usize, spec: &Spec, priority: u8) -> Daemon {
    let daemon = start(lan, host, spec, priority);
    daemon.wait_state("active", ms(spec.down_ms(priority)) + PATIENCE);
    wait_for("the virtual address", PATIENCE, || lan.addresses(host).contains(&spec.vip()).then_some(()));
    daemon
}

/// How many times a machine holds the virtual address.
fn held(lan: &Lan, host: usize, spec: &Spec) -> usize {
    lan.addresses(host).iter().filter(|&&address| address == spec.vip()).count()
}

fn sigterm_leaves_nothing(spec: &Spec) {
    let lan = Lan::new(&["router"]);
    let before = snapshot(&lan);
    let mut daemon = start_active(&lan, ROUTER, spec, 200);
    assert_ne!(before.addresses, snapshot(&lan).addresses, "the snapshot sees the virtual address");
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    let left = differences(&before, &snapshot(&lan));
    assert!(left.is_empty(), "left behind: {left:#?}");
    let adverts = lan.capture.adverts(steadfast_tests::lab::capture::Mark::default());
    assert_eq!(adverts.last().map(|advert| advert.priority), Some(0), "the last Advertisement is a farewell");
    assert_eq!(adverts.iter().filter(|advert| advert.priority == 0).count(), 1, "one farewell");
}

/// Addresses on another interface, and of the other family, are at virtual MAC addresses of their own; and nothing is left
/// of those when it is killed, started without them, and stopped.
fn virtual_macs_elsewhere() {
    let lan = Lan::new(&["router", "client"]);
    let (router, client) = (&lan.host(ROUTER).namespace, &lan.host(1).namespace);
    router.ip("link add eth1 type veth peer name far");
    for name in ["eth1", "far"] {
        router.ip(&format!("link set {name} addrgenmode none"));
        router.ip(&format!("link set {name} up"));
    }
    let before = snapshot(&lan);
    let excluded = "virtual_ipaddress_excluded {\n    10.8.0.100/24 dev eth1\n    fd09::65/64\n}";
    let plain = Spec::v3(10).with_vmac(true).with(excluded);
    let spec = plain.clone().with("use_vmac_addr");
    let mut daemon = start_active(&lan, ROUTER, &spec, 200);
    let at = |address: &str| -> IpAddr { address.parse().expect("an address") };
    wait_for("all addresses", PATIENCE, || lan.addresses(ROUTER).contains(&at("fd09::65")).then_some(()));
    // Which MAC address an address is at, by the interface that it is on.
    let mac_of = |address: &str| {
        let addresses = router.ip("-o addr show");
        let line = addresses.lines().find(|line| line.contains(address)).expect("the address is there");
        let name = line.split_whitespace().nth(1).and_then(|name| name.split('@').next()).expect("a name");
        let link = router.ip(&format!("-o link show {name}"));
        let mac = link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("a MAC address");
        (link.contains("@eth1"), mac.to_owned())
    };
    assert_eq!(mac_of(" 10.9.0.100/"), (false, "00:00:5e:00:01:33".into()));
    assert_eq!(mac_of(" 10.8.0.100/"), (true, "00:00:5e:00:01:33".into()));
    assert_eq!(mac_of(" fd09::65/"), (false, "00:00:5e:00:02:33".into()));
    client.ip("neigh flush all");
    let prober = Prober::start(client, at("fd09::65"), ms(10.0));
    prober.wait_answer(Stamp::now(), PATIENCE);
    drop(prober);
    let neighbour = client.ip("neigh show fd09::65");
    assert!(neighbour.contains("00:00:5e:00:02:33"), "{neighbour}");
    daemon.kill();
    drop(daemon);
    let mut daemon = start_active(&lan, ROUTER, &plain, 200);
    wait_for("all addresses", PATIENCE, || lan.addresses(ROUTER).contains(&at("fd09::65")).then_some(()));
    assert_eq!(router.ip("-o link show type macvlan").lines().count(), 1);
    daemon.reload(&spec.text(200));
    wait_for("virtual MAC addresses", PATIENCE, || {
        (router.ip("-o link show type macvlan").lines().count() == 3).then_some(())
    });
    daemon.wait_state("active", ms(spec.down_ms(200)) + PATIENCE);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    let left = differences(&before, &snapshot(&lan));
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// Told a second time it does not wait for a successor any longer, and leaves as little behind.
fn told_twice(spec: &Spec) {
    let lan = Lan::new(&["router"]);
    let before = snapshot(&lan);
    let mut daemon = start_active(&lan, ROUTER, spec, 200);
    let begun = daemon.terminate();
    wait_for("its resignation", PATIENCE, || {
        lan.capture.adverts(Default::default()).iter().any(|advert| advert.priority == 0).then_some(())
    });
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    assert!(Stamp::now() < begun + ms(spec.interval_ms()), "as long as the handover takes without a second word");
    let left = differences(&before, &snapshot(&lan));
    assert!(left.is_empty(), "left behind: {left:#?}");
}

fn killed_then_restarted(spec: &Spec) {
    let lan = Lan::new(&["router"]);
    let before = snapshot(&lan);
    let mut daemon = start_active(&lan, ROUTER, spec, 200);
    daemon.kill();
    assert_eq!(held(&lan, ROUTER, spec), 1, "a killed agent leaves its address");
    drop(daemon);
    let mut daemon = start_active(&lan, ROUTER, spec, 200);
    assert_eq!(held(&lan, ROUTER, spec), 1, "taken over, not duplicated");
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    assert_eq!(held(&lan, ROUTER, spec), 0);
    let after = snapshot(&lan);
    assert_eq!((before.addresses, before.links), (after.addresses, after.links), "left behind");
}

/// The killed one comes back with a lower priority than the one that took over: what it had left must go.
fn killed_then_backup(spec: &Spec) {
    let lan = Lan::new(&["router", "other"]);
    let mut daemon = start_active(&lan, ROUTER, spec, 200);
    let other = start(&lan, OTHER, spec, 100);
    other.wait_state("backup", PATIENCE);
    daemon.kill();
    other.wait_state("active", ms(spec.down_ms(100)) + PATIENCE);
    drop(daemon);
    assert_eq!(held(&lan, ROUTER, spec), 1);
    let daemon = start(&lan, ROUTER, spec, 50);
    daemon.wait_state("backup", PATIENCE);
    wait_for("the leftovers to go", PATIENCE, || (held(&lan, ROUTER, spec) == 0).then_some(()));
    assert_eq!(other.state().as_deref(), Some("active"));
}

/// Whether the kernel reports groups of the link.
const IGMP: &str = "/igmp_link_local_mcast_reports";

/// Two machines that share /run: what each has changed is noted apart, and undone where it was changed.
fn two_agents_in_one_folder() {
    let lan = Lan::new(&["router", "other"]);
    let spec = Spec { globals: "disable_local_igmp\n".into(), ..Spec::v3(10).with_vmac(true) };
    lan.host(ROUTER).namespace.sysctl("net/ipv4/conf/eth0/arp_announce", "1");
    let machines = [(ROUTER, 200), (OTHER, 100)];
    let settings = |host: usize| {
        let mut all = lan.host(host).namespace.sysctls();
        all.retain(|(name, _)| name.starts_with("/proc/sys/net/ipv4/conf/") || name.ends_with(IGMP));
        all
    };
    let before = machines.map(|(host, _)| settings(host));
    let start = || {
        let daemons = machines.map(|(host, priority)| {
            let control = lan.folder().join(format!("{host}.sock"));
            Daemon::start_at(Engine::Steadfast, &lan, host, &spec.text(priority), &control)
        });
        daemons[ROUTER].wait_state("active", PATIENCE);
        daemons[OTHER].wait_state("backup", PATIENCE);
        for (host, _) in machines {
            let now = settings(host);
            let igmp = now.iter().find(|(name, _)| name.ends_with(IGMP)).map(|(_, value)| value.trim());
            assert_eq!(igmp, Some("0"), "disable_local_igmp on machine {host}");
        }
        daemons
    };
    for mut daemon in start() {
        daemon.kill();
    }
    for mut daemon in start() {
        daemon.terminate();
        assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    }
    for (host, _) in machines {
        let after = settings(host);
        let changed: Vec<_> = after.iter().filter(|setting| !before[host].contains(setting)).collect();
        assert!(changed.is_empty(), "machine {host}: {changed:?}");
        assert!(!lan.host(host).namespace.ip("-o link show").contains("vrrp."), "machine {host}");
    }
}

fn broken_file_changes_nothing(spec: &Spec) {
    let lan = Lan::new(&["router", "other"]);
    let daemon = start_active(&lan, ROUTER, spec, 200);
    let good = spec.text(200);
    let (mark, begun) = (lan.capture.mark(), Stamp::now());
    let logged = daemon.process.log().lines().count();
    for broken in
        [good.replace("virtual_router_id 51", "virtual_router_id 300"), good.replacen('}', "", 2), "\0{{{\n".to_owned()]
    {
        let lines = daemon.process.log().lines().count();
        daemon.reload(&broken);
        wait_for("a word about the broken file", PATIENCE, || {
            (daemon.process.log().lines().count() > lines).then_some(())
        });
        assert_eq!(daemon.state().as_deref(), Some("active"), "after {broken:?}");
        assert_eq!(held(&lan, ROUTER, spec), 1, "after {broken:?}");
    }
    assert!(daemon.process.log().lines().count() > logged);
    // A good file with one more address: that one is added, nothing else happens.
    let (line, more) = if spec.v6 { ("fd09::64/64", "fd09::65/64") } else { ("10.9.0.100/24", "10.9.0.101/24") };
    daemon.reload(&good.replace(line, &format!("{line}\n        {more}")));
    let added = more.split('/').next().and_then(|text| text.parse().ok()).expect("an address");
    wait_for("the added address", PATIENCE, || lan.addresses(ROUTER).contains(&added).then_some(()));
    assert_eq!(held(&lan, ROUTER, spec), 1);
    // And gone again, that one alone.
    daemon.reload(&good);
    wait_for("the added address to go", PATIENCE, || (!lan.addresses(ROUTER).contains(&added)).then_some(()));
    assert_eq!(held(&lan, ROUTER, spec), 1);
    let end = Stamp::now();
    let adverts = lan.capture.adverts(mark);
    let pause = largest_pause(&adverts, ROUTER, begun, end);
    assert!(pause < spec.interval_ms() * 2.0 + 50.0, "silent for {pause} ms");
    assert!(adverts.iter().all(|advert| advert.priority == 200), "no farewell");
}

fn deleted_address_comes_back(spec: &Spec) {
    let lan = Lan::new(&["router"]);
    let monitor = Monitor::start(&lan.host(ROUTER).namespace);
    let daemon = start_active(&lan, ROUTER, spec, 200);
    let namespace = &lan.host(ROUTER).namespace;
    let listing = namespace.ip("-o addr show");
    let place = listing.lines().find(|line| line.contains(&format!("{}/", spec.vip()))).expect("the address is held");
    let words: Vec<&str> = place.split_whitespace().collect();
    let (device, address) = (words[1].to_owned(), words[3].to_owned());
    let (mark, begun) = (lan.capture.mark(), Stamp::now());
    namespace.ip(&format!("addr del {address} dev {device}"));
    monitor.wait(spec.vip(), true, begun, Duration::from_secs(2));
    assert!(daemon.counter("steadfast-addresses-lost") >= 1, "{:?}", daemon.counters());
    // Somebody keeps deleting it: putting back is bounded in rate, and the Advertisements go on.
    let deletions = Stamp::now();
    let over = deletions + Duration::from_secs(2);
    while Stamp::now() < over {
        let mut command = namespace.command("ip");
        let _ = command.args(["addr", "del", &address, "dev", &device]).stderr(std::process::Stdio::null()).status();
    }
    let back = monitor.changes().iter().filter(|change| change.added && change.at >= deletions).count();
    println!("\nfigure: hygiene: an address deleted without pause for 2 s was put back {back} times");
    assert!(back <= 40, "put back {back} times in 2 s");
    wait_for("the address again", PATIENCE, || (held(&lan, ROUTER, spec) == 1).then_some(()));
    let pause = largest_pause(&lan.capture.adverts(mark), ROUTER, begun, Stamp::now());
    assert!(pause < spec.interval_ms() * 2.0 + 50.0, "silent for {pause} ms");
}

fn cable_pulled(spec: &Spec) {
    let lan = Lan::new(&["router", "other"]);
    let daemon = start_active(&lan, ROUTER, spec, 200);
    let other = start(&lan, OTHER, spec, 100);
    other.wait_state("backup", PATIENCE);
    lan.link(ROUTER, false);
    daemon.wait_state("initialize", PATIENCE);
    wait_for("the address to go", PATIENCE, || (held(&lan, ROUTER, spec) == 0).then_some(()));
    other.wait_state("active", ms(spec.down_ms(100)) + PATIENCE);
    lan.link(ROUTER, true);
    daemon.wait_state("active", ms(spec.down_ms(200)) + PATIENCE);
    other.wait_state("backup", PATIENCE);
    wait_for("the address to come back", PATIENCE, || (held(&lan, ROUTER, spec) == 1).then_some(()));
}

fn status_has_its_schema() {
    let lan = Lan::new(&["router"]);
    let spec = Spec::v3(10);
    let daemon = start_active(&lan, ROUTER, &spec, 200);
    let status = daemon.status().expect("status answers");
    assert_eq!(status["schema"], 1);
    let router = &status["routers"][0];
    for field in [
        "name",
        "interface",
        "vrid",
        "family",
        "version",
        "state",
        "priority",
        "effective_priority",
        "active_address",
        "advertisement_interval_ms",
        "active_down_interval_ms",
        "skew_ms",
        "virtual_mac",
        "addresses",
        "last_transition",
        "counters",
    ] {
        assert!(router.get(field).is_some(), "{field} in {router}");
    }
    for field in ["at", "from", "to", "reason"] {
        assert!(router["last_transition"].get(field).is_some(), "{field} in {}", router["last_transition"]);
    }
    assert_eq!(router["vrid"], 51);
    assert_eq!(router["priority"], 200);
    assert_eq!(router["advertisement_interval_ms"].as_f64(), Some(100.0));
    assert!(status["interfaces"].is_array());
    assert!(status["global"]["counters"].is_object());
}
