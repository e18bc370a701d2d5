//! Sync groups on real interfaces: two routers between two LANs, one cable is pulled, and both virtual addresses move
//! in one instant; with Steadfast on both sides and beside keepalived. A reload that takes a group apart moves nothing.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::Lan;
use steadfast_tests::lab::clock::{Stamp, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine, available};
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::namespace::{self, Namespace};
use steadfast_tests::lab::spec::Spec;

const LOW: usize = 0;
const HIGH: usize = 1;
const PRIORITIES: [u8; 2] = [100, 200];
const PATIENCE: Duration = Duration::from_secs(10);
/// Which of the two addresses, the outer and the inner one, are held.
const ALL: [bool; 2] = [true; 2];
const NONE: [bool; 2] = [false; 2];

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let pairs = [
        ("steadfast-pair", [Engine::Steadfast; 2]),
        ("below-keepalived", [Engine::Steadfast, Engine::Keepalived]),
        ("above-keepalived", [Engine::Keepalived, Engine::Steadfast]),
    ];
    let mut trials = Vec::new();
    for (name, engines) in pairs {
        if engines.contains(&Engine::Keepalived)
            && let Err(why) = available(Engine::Keepalived)
        {
            println!("skipped: {name}: {why}");
            continue;
        }
        trials.push(Trial::test(format!("one-cable-moves-both-{name}"), move || {
            one_cable_moves_both(engines);
            Ok(())
        }));
    }
    trials.push(Trial::test("a-reload-takes-a-group-apart-and-puts-it-together", || {
        reload_takes_apart();
        Ok(())
    }));
    trials.push(Trial::test("a-group-with-an-error-does-not-run", || {
        error_leaves_out();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

/// A second LAN for the machines of the first, on their `eth1`.
struct Inside(Namespace);

impl Inside {
    fn new(lan: &Lan, machines: &[usize]) -> Self {
        let hub = Namespace::new("inside");
        hub.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0");
        hub.ip("link set br0 up");
        for number in machines {
            let namespace = &lan.host(*number).namespace;
            hub.ip(&format!("link add q{number} type veth peer name eth1 netns {}", namespace.name()));
            hub.ip(&format!("link set q{number} master br0 up"));
            namespace.ip(&format!("addr add 10.8.0.{}/24 dev eth1", number + 1));
            namespace.ip("link set eth1 up");
        }
        Self(hub)
    }

    /// Pulls a machine's cable, or plugs it in again. When.
    fn link(&self, number: usize, up: bool) -> Stamp {
        let begun = Stamp::now();
        self.0.ip(&format!("link set q{number} {}", if up { "up" } else { "down" }));
        begun
    }
}

fn vips() -> [IpAddr; 2] {
    [Spec::v3(10).vip(), "10.8.0.100".parse().expect("an address")]
}

fn instances(priority: u8) -> String {
    let spec = Spec::v3(10);
    let inside = spec.instance("INSIDE", 52, priority, &["10.8.0.100/24"]).replace("interface eth0", "interface eth1");
    spec.instance("OUTSIDE", 51, priority, &spec.addresses()) + &inside
}

fn grouped(priority: u8) -> String {
    instances(priority) + "vrrp_sync_group BOTH {\n    group {\n        OUTSIDE\n        INSIDE\n    }\n}\n"
}

fn held(lan: &Lan, number: usize) -> [bool; 2] {
    let addresses = lan.addresses(number);
    vips().map(|vip| addresses.contains(&vip))
}

/// Waits until the lower and the higher router hold what they should.
#[track_caller]
fn wait_held(lan: &Lan, wanted: [[bool; 2]; 2]) {
    wait_for(&format!("held: {wanted:?}"), PATIENCE, || ([LOW, HIGH].map(|n| held(lan, n)) == wanted).then_some(()));
}

fn one_cable_moves_both(engines: [Engine; 2]) {
    let lan = Lan::new(&["low", "high"]);
    let inside = Inside::new(&lan, &[LOW, HIGH]);
    let monitors = [LOW, HIGH].map(|number| Monitor::start(&lan.host(number).namespace));
    let _daemons = [HIGH, LOW].map(|n| Daemon::start_with(engines[n], &lan, n, &grouped(PRIORITIES[n])));
    wait_held(&lan, [NONE, ALL]);
    let pulled = inside.link(HIGH, false);
    wait_held(&lan, [ALL, NONE]);
    let apart = |number: usize, added: bool| {
        let [outer, inner] = vips().map(|vip| monitors[number].wait(vip, added, pulled, PATIENCE));
        if outer > inner { outer.ms_since(inner) } else { inner.ms_since(outer) }
    };
    let [taken, let_go] = [apart(LOW, true), apart(HIGH, false)];
    println!("figure: sync group of two, {engines:?}: taken {taken:.1} ms apart, let go {let_go:.1} ms apart");
    for (engine, span) in engines.into_iter().zip([taken, let_go]) {
        assert!(engine != Engine::Steadfast || span < 20.0, "{taken} and {let_go} ms apart");
    }
    inside.link(HIGH, true);
    wait_held(&lan, [NONE, ALL]);
}

fn reload_takes_apart() {
    let lan = Lan::new(&["low", "high"]);
    let inside = Inside::new(&lan, &[LOW, HIGH]);
    let monitor = Monitor::start(&lan.host(HIGH).namespace);
    let [low, high] = [LOW, HIGH].map(|n| Daemon::start_with(Engine::Steadfast, &lan, n, &grouped(PRIORITIES[n])));
    wait_held(&lan, [NONE, ALL]);
    let begun = Stamp::now();
    let reload = |text: fn(u8) -> String| {
        for (daemon, priority) in [&low, &high].into_iter().zip(PRIORITIES) {
            let said = || daemon.process.log().matches("configuration was read again").count();
            let before = said();
            daemon.reload(&text(priority));
            wait_for("a reload", PATIENCE, || (said() > before).then_some(()));
        }
    };
    reload(instances);
    assert_eq!([LOW, HIGH].map(|number| held(&lan, number)), [NONE, ALL]);
    let moved = monitor.changes().iter().filter(|change| change.at >= begun).count();
    assert_eq!(moved, 0, "a reload moves nothing");
    // Now each moves alone.
    inside.link(HIGH, false);
    wait_held(&lan, [[false, true], [true, false]]);
    // Together again, the one that is cut off takes the other with it.
    reload(grouped);
    wait_held(&lan, [ALL, NONE]);
    inside.link(HIGH, true);
    wait_held(&lan, [NONE, ALL]);
}

fn error_leaves_out() {
    let lan = Lan::new(&["only"]);
    let _inside = Inside::new(&lan, &[0]);
    let text = grouped(100).replace("virtual_router_id 52", "virtual_router_id 520");
    let third = Spec::v3(10).instance("ALONE", 53, 100, &["10.9.0.101/24"]);
    let _daemon = Daemon::start_with(Engine::Steadfast, &lan, 0, &(third + &text));
    let alone: IpAddr = "10.9.0.101".parse().expect("an address");
    wait_for("the third instance", PATIENCE, || lan.addresses(0).contains(&alone).then_some(()));
    assert_eq!(held(&lan, 0), NONE, "half a group does not move");
}
