//! Sync groups on real interfaces: two routers between two LANs, one cable is pulled, and both virtual addresses move
//! in one instant; with Steadfast on both sides and beside keepalived. A reload that takes a group apart moves nothing.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::Lan;
use steadfast_tests::lab::clock::{Stamp, median, summary, wait_for};
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
    trials.push(Trial::test("sixty-four-members-on-eight-links-move-as-one", || {
        many_move_as_one();
        Ok(())
    }));
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
        Self::nth(lan, machines, 1)
    }

    /// The same for their `eth2` and so on.
    fn nth(lan: &Lan, machines: &[usize], nth: usize) -> Self {
        let hub = Namespace::new("inside");
        hub.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0");
        hub.ip("link set br0 up");
        for number in machines {
            let namespace = &lan.host(*number).namespace;
            hub.ip(&format!("link add q{number} type veth peer name eth{nth} netns {}", namespace.name()));
            hub.ip(&format!("link set q{number} master br0 up"));
            namespace.ip(&format!("addr add 10.8.{}.{}/24 dev eth{nth}", nth - 1, number + 1));
            namespace.ip(&format!("link set eth{nth} up"));
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

/// Eight members on each of eight links, of which one is lost: the last address is there soon after the first.
fn many_move_as_one() {
    const LINKS: usize = 8;
    const ON_EACH: usize = 8;
    let lan = Lan::new(&["low", "high"]);
    let inside: Vec<Inside> = (1..LINKS).map(|nth| Inside::nth(&lan, &[LOW, HIGH], nth)).collect();
    let vip = |link: usize, member: usize| match link {
        0 => format!("10.9.0.{}", 150 + member),
        _ => format!("10.8.{}.{}", link - 1, 150 + member),
    };
    let places: Vec<_> = (0..LINKS).flat_map(|link| (0..ON_EACH).map(move |member| (link, member))).collect();
    let vips: Vec<IpAddr> =
        places.iter().map(|(link, member)| vip(*link, *member).parse().expect("an address")).collect();
    let text = |priority: u8| {
        let spec = Spec::v3(10);
        let members = places.iter().map(|&(link, member)| {
            let vrid = u8::try_from(10 * link + member + 1).expect("few enough");
            let text = spec.instance(&format!("M{link}{member}"), vrid, priority, &[&(vip(link, member) + "/24")]);
            text.replace("interface eth0", &format!("interface eth{link}"))
        });
        let names: String = places.iter().map(|(link, member)| format!("        M{link}{member}\n")).collect();
        members.collect::<String>() + &format!("vrrp_sync_group ALL {{\n    group {{\n{names}    }}\n}}\n")
    };
    let monitors = [LOW, HIGH].map(|number| Monitor::start(&lan.host(number).namespace));
    let _daemons = [HIGH, LOW].map(|n| Daemon::start_with(Engine::Steadfast, &lan, n, &text(PRIORITIES[n])));
    let wait_all_on = |holder: usize| {
        wait_for("all addresses on one of the two", PATIENCE, || {
            let held = [LOW, HIGH].map(|number| {
                let addresses = lan.addresses(number);
                vips.iter().filter(|vip| addresses.contains(vip)).count()
            });
            (held[holder] == vips.len() && held[HIGH - holder] == 0).then_some(())
        });
    };
    wait_all_on(HIGH);
    let (mut taken, mut let_go) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let pulled = inside[2].link(HIGH, false);
        wait_all_on(LOW);
        let span = |number: usize, added: bool| {
            let times: Vec<Stamp> =
                vips.iter().map(|vip| monitors[number].wait(*vip, added, pulled, PATIENCE)).collect();
            let [first, last] = [times.iter().min(), times.iter().max()].map(|at| *at.expect("there are some"));
            last.ms_since(first)
        };
        taken.push(span(LOW, true));
        let_go.push(span(HIGH, false));
        inside[2].link(HIGH, true);
        wait_all_on(HIGH);
    }
    println!("figure: sync group of 64 on 8 links: from the first address to the last: taken {} ms", summary(&taken));
    println!("figure: sync group of 64 on 8 links: from the first address to the last: let go {} ms", summary(&let_go));
    assert!(median(&taken) < 20.0, "taken {taken:?} ms apart");
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
            daemon.reload_and_wait(&text(priority), PATIENCE);
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
