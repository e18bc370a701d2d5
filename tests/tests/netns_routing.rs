//! Routes and rules: what a file says comes to the kernel as `ip route` and `ip rule` would have put it, and as keepalived
//! puts it, on whoever is Active and on nobody else; through planned stops, crashes, reloads and losses. What is static is
//! there whoever is Active. What the kernel refuses holds nothing up.

#![forbid(unsafe_code)]

use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use steadfast_tests::lab::clock::{ms, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine, available};
use steadfast_tests::lab::namespace::Namespace;
use steadfast_tests::lab::process::Process;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace};

const ROUTER: usize = 0;
const PEER: usize = 1;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let tests: [(&str, fn()); 9] = [
        ("routes-are-those-of-ip-route", routes_of_ip_route),
        ("rules-are-those-of-ip-rule", rules_of_ip_rule),
        ("beside-keepalived", beside_keepalived),
        ("killed-and-restarted", killed_and_restarted),
        ("reload-writes-what-differs", reload),
        ("removed-by-somebody-else", removed_by_somebody_else),
        ("refused-by-the-kernel", refused),
        ("interface-of-a-route-goes-down", interface_down),
        ("static-ones-stay", statics),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// A LAN whose machines have one more interface, `lan1`, with an address.
fn lan(names: &[&str]) -> Lan {
    let lan = Lan::new(names);
    for host in 0..names.len() {
        let namespace = &lan.host(host).namespace;
        namespace.ip("link add lan1 type veth peer name far1");
        namespace.ip("link set far1 up");
        namespace.ip("link set lan1 up");
        namespace.ip(&format!("addr add 192.0.2.{}/24 dev lan1", host + 1));
        namespace.ip(&format!("addr add fd0a::{}/64 dev lan1", host + 1));
    }
    lan
}

fn block(keyword: &str, lines: &[&str]) -> String {
    format!("{keyword} {{\n    {}\n}}", lines.join("\n    "))
}

/// What is marked as keepalived's: routes and rules of both families, a line each.
fn routing(namespace: &Namespace) -> Vec<String> {
    let mut all = Vec::new();
    for arguments in ["-4 route show table all", "-6 route show table all", "-4 rule show", "-6 rule show"] {
        let text = namespace.ip(&format!("-d {arguments}"));
        let ours = text.lines().filter(|line| line.contains("proto keepalived"));
        all.extend(ours.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    all
}

#[track_caller]
fn wait_routing(namespace: &Namespace, count: usize) -> Vec<String> {
    wait_for(&format!("{count} routes and rules"), PATIENCE, || {
        Some(routing(namespace)).filter(|all| all.len() == count)
    })
}

/// A document of `ip -j`, as far as it is of keepalived's, sorted.
fn documents(namespace: &Namespace, arguments: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for arguments in arguments {
        let text = namespace.ip(&format!("-d -j {arguments}"));
        let list: Value = serde_json::from_str(&text).expect("JSON");
        all.extend(list.as_array().cloned().unwrap_or_default());
    }
    all.retain(|one| one["protocol"] == "keepalived");
    // Counts down.
    all.iter_mut().filter_map(Value::as_object_mut).for_each(|one| _ = one.remove("expires"));
    all.sort_by_key(ToString::to_string);
    all
}

/// Puts lines on with `ip` on one machine; those that this kernel takes.
fn taken<'a>(namespace: &Namespace, command: &str, lines: &[&'a str]) -> Vec<&'a str> {
    let add = |line: &&&str| {
        let line = line.replace(" order ", " priority ").replace(" no_track", "");
        let family = if line.contains("fd0") || line.starts_with("inet6") { "-6" } else { "-4" };
        let line = line.strip_prefix("inet6 ").unwrap_or(&line);
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let end = words.iter().position(|word| matches!(*word, "nexthop" | "encap")).unwrap_or(words.len());
        words.splice(end..end, ["protocol", "keepalived"]);
        let mut ip = Command::new("ip");
        ip.args(["-n", namespace.name(), family, command, "add"]).args(&words);
        let output = ip.output().expect("ip runs");
        if !output.status.success() {
            println!("\nnot here: {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        output.status.success()
    };
    lines.iter().filter(add).copied().collect()
}

const ROUTES: [&str; 24] = [
    "10.1.0.0/16 via 192.0.2.9 dev lan1",
    "default via 192.0.2.9 dev lan1 table 100",
    "0.0.0.0/0 via 198.51.100.9 dev lan1 onlink table 100000 metric 5",
    "10.2.0.0/16 dev lan1 scope link src 10.9.0.100",
    "10.3.0.0/16 via 192.0.2.9 dev lan1 tos 0x10",
    "10.3.0.0/16 via 192.0.2.9 dev lan1 metric 0x10",
    "blackhole 10.4.0.0/16 no_track",
    "unreachable 10.5.0.0/16 metric 7 no_track",
    "prohibit 10.6.0.0/16 no_track",
    "throw 10.7.0.0/16 table 7 no_track",
    "10.8.0.0/16 via 192.0.2.9 dev lan1 mtu lock 1400 advmss 101 rtt 102 rttvar 50ms reordering 104 window 105 cwnd 106",
    "10.9.128.0/17 via 192.0.2.9 dev lan1 ssthresh lock 107 rto_min 1s initcwnd 109 initrwnd 110 hoplimit 9 quickack 1",
    "10.10.0.0/16 via 192.0.2.9 dev lan1 features ecn fastopen_no_cookie 1 congctl lock reno",
    "10.11.0.0/16 via 192.0.2.9 dev lan1 realms 3/4",
    "10.12.0.0/16 no_track nexthop via 192.0.2.9 dev lan1 weight 3 nexthop via 192.0.2.8 dev lan1 weight 256",
    "10.13.0.0/16 via inet6 fe80::9 dev lan1",
    "10.14.0.0/16 via 192.0.2.9 dev lan1 encap ip id 5 dst 203.0.113.9 ttl 7",
    "10.15.0.0/16 via 192.0.2.9 dev lan1 encap mpls 100/200",
    "fd01::/64 via fe80::9 dev lan1 pref high",
    "fd02::/64 via fd0a::9 dev lan1 metric 77 mtu 1400",
    "inet6 default via fe80::9 dev lan1 table 100",
    "unreachable fd03::/64 no_track",
    "fd04::/64 no_track nexthop via fd0a::9 dev lan1 weight 2 nexthop via fd0a::8 dev lan1",
    "fd05::/64 from fd06::/48 via fe80::9 dev lan1 expires 500",
];

fn routes_of_ip_route() {
    let lan = lan(&["router", "reference"]);
    let reference = &lan.host(PEER).namespace;
    reference.ip("addr add 10.9.0.100/24 dev eth0");
    let lines = taken(reference, "route", &ROUTES);
    assert!(lines.len() >= 18, "{lines:?}");
    let text = Spec::v3(10).with(&block("virtual_routes", &lines)).text(200);
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text);
    let tables = ["-4 route show table all", "-6 route show table all"];
    let expected = documents(reference, &tables);
    let ours = wait_for("all routes", PATIENCE, || {
        Some(documents(&lan.host(ROUTER).namespace, &tables)).filter(|ours| ours.len() == expected.len())
    });
    for (ours, expected) in ours.iter().zip(&expected) {
        assert_eq!(ours, expected);
    }
    assert!(!daemon.process.log().contains("refused"), "{}", daemon.process.log());
}

const RULES: [&str; 13] = [
    "from 10.0.0.0/8 table 100 priority 10",
    "to 10.0.0.1 lookup main order 11",
    "not from 10.1.0.0/16 to 10.2.0.0/16 iif lan1 oif eth0 tos 0x10 fwmark 0x18/0xc table 100000 preference 12",
    "from all fwmark 7 goto 100 priority 13",
    "from 10.0.0.3 blackhole priority 14",
    "from 10.0.0.4 unreachable priority 15",
    "from 10.0.0.5 prohibit priority 16",
    "from all table main suppress_prefixlength 0 priority 17",
    "from all table main suppress_ifgroup 5 priority 18",
    "from all ipproto udp sport 10-20 dport 53 uidrange 100-200 table 7 priority 19",
    "from 10.0.0.6 realms 3/4 table 7 priority 20",
    "from fd01::/16 to fd02::/16 table 7 priority 21",
    "inet6 from all fwmark 9 table 7 priority 22",
];

fn rules_of_ip_rule() {
    let lan = lan(&["router", "reference"]);
    let reference = &lan.host(PEER).namespace;
    let lines = taken(reference, "rule", &RULES);
    assert!(lines.len() >= 11, "{lines:?}");
    let text = Spec::v3(10).with(&block("virtual_rules", &lines)).text(200);
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text);
    let tables = ["-4 rule show", "-6 rule show"];
    let expected = documents(reference, &tables);
    assert_eq!(expected.len(), lines.len());
    let ours = wait_for("all rules", PATIENCE, || {
        Some(documents(&lan.host(ROUTER).namespace, &tables)).filter(|ours| ours.len() == expected.len())
    });
    for (ours, expected) in ours.iter().zip(&expected) {
        assert_eq!(ours, expected);
    }
    assert!(!daemon.process.log().contains("refused"), "{}", daemon.process.log());
}

/// Routes and rules as real files have them, and how many lines of [`routing`] they make.
fn usual() -> (Spec, usize) {
    let routes = [
        "10.1.0.0/16 via 192.0.2.9 dev lan1",
        "0.0.0.0/0 gw 10.9.0.9 dev eth0 table 100",
        "src 10.9.0.100 to 10.2.0.0/16 via 10.9.0.9 dev eth0 metric 5",
        "10.3.0.0/16 dev lan1 scope link table 100",
        "10.4.0.0/16 dev lan1",
        "10.5.0.0/16 via 10.9.0.9",
        "blackhole 10.6.0.0/16",
        "10.7.0.0/16 nexthop via 192.0.2.9 dev lan1 weight 2 nexthop via 192.0.2.8 dev lan1",
        "fd01::/64 via fd0a::9 dev lan1",
    ];
    let rules = [
        "from 10.9.0.100/32 table 100 priority 100",
        "to 10.3.0.0/16 table 100",
        "from fd01::/64 table 100 preference 7",
    ];
    let spec = Spec::v3(30)
        .with(&block("virtual_routes", &routes))
        .with(&block("virtual_rules", &rules))
        .with(&block("virtual_ipaddress_excluded", &["fd09::64/64", "192.0.2.100/32 dev lan1"]))
        .with("promote_secondaries");
    // Of a route over two hops, each hop has a line without the word.
    (spec, routes.len() + rules.len())
}

/// The same file on both: what is on ours while it is Active is on keepalived's when that is.
fn beside_keepalived() {
    if let Err(why) = available(Engine::Keepalived) {
        println!("skipped: {why}");
        return;
    }
    let lan = lan(&["ours", "theirs"]);
    let (spec, count) = usual();
    let [ours, theirs] = [ROUTER, PEER].map(|host| &lan.host(host).namespace);
    let promoted = |namespace: &Namespace| {
        namespace
            .sysctls()
            .into_iter()
            .any(|(name, value)| name.ends_with("ipv4/conf/eth0/promote_secondaries") && value == "1")
    };
    let mut active = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 200);
    let on_ours = wait_routing(ours, count);
    let peer = Daemon::start(Engine::Keepalived, &lan, PEER, &spec, 100);
    wait_for("keepalived to be Backup", PATIENCE, || peer.process.log().contains("BACKUP").then_some(()));
    assert!(promoted(ours));
    assert_eq!(routing(theirs), [""; 0]);
    active.terminate();
    assert_eq!(active.process.wait(PATIENCE), Some(0), "{}", active.process.log());
    assert_eq!(routing(ours), [""; 0]);
    assert!(!promoted(ours));
    let on_theirs = wait_routing(theirs, count);
    assert_eq!(on_ours, on_theirs);
    let addresses = |host| {
        let mut held = lan.addresses(host);
        held.retain(|address| address.to_string().ends_with("100") || address.to_string().ends_with("::64"));
        held
    };
    let after = addresses(PEER);
    assert_eq!(after.len(), 3, "{after:?}");
    // And back again.
    active = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 200);
    assert_eq!(wait_routing(ours, count), on_ours);
    wait_routing(theirs, 0);
    wait_for("the addresses", PATIENCE, || (addresses(ROUTER).len() == 3 && addresses(PEER).is_empty()).then_some(()));
    drop(active);
}

/// They have no lifetime: whoever comes next takes them up, or takes them off.
fn killed_and_restarted() {
    let lan = lan(&["router", "peer"]);
    let (spec, count) = usual();
    let namespace = &lan.host(ROUTER).namespace;
    let mut active = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 100);
    let before = wait_routing(namespace, count);
    let log = lan.folder().join("monitor.log");
    let monitor = Process::start(namespace.command("ip").args(["monitor", "route", "rule"]), &log);
    active.kill();
    active = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 100);
    active.wait_state("active", PATIENCE);
    assert!(active.process.log().contains("goes on as Active"), "{}", active.process.log());
    assert_eq!(routing(namespace), before);
    let seen = monitor.log();
    assert!(!seen.contains("eleted"), "{seen}");
    // Now somebody else takes over.
    let peer = Daemon::start(Engine::Steadfast, &lan, PEER, &spec.clone().with("nopreempt"), 254);
    peer.wait_state("backup", PATIENCE);
    active.kill();
    assert_eq!(routing(namespace), before);
    wait_routing(&lan.host(PEER).namespace, count);
    active = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 100);
    active.wait_state("backup", PATIENCE);
    wait_routing(namespace, 0);
}

fn reload() {
    let lan = lan(&["router"]);
    let namespace = &lan.host(ROUTER).namespace;
    let text = |routes: &[&str], rules: &[&str]| {
        let mut spec = Spec::v3(10);
        if !routes.is_empty() {
            spec = spec.with(&block("virtual_routes", routes)).with(&block("virtual_rules", rules));
        }
        spec.text(200)
    };
    let (one, two, three) = (
        "10.1.0.0/16 via 192.0.2.9 dev lan1",
        "10.2.0.0/16 via 192.0.2.9 dev lan1",
        "10.3.0.0/16 via 192.0.2.9 dev lan1",
    );
    let (first, second) = ("from 10.1.0.0/16 table 7 priority 5", "from 10.2.0.0/16 table 7 priority 6");
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text(&[], &[]));
    daemon.wait_state("active", PATIENCE);
    assert_eq!(routing(namespace), [""; 0]);
    // An Active that had none gets some.
    daemon.reload(&text(&[one, two], &[first]));
    wait_routing(namespace, 3);
    let log = lan.folder().join("monitor.log");
    let monitor = Process::start(namespace.command("ip").args(["monitor", "route", "rule"]), &log);
    // It listens once it has heard something.
    wait_for("the kernel's first news", PATIENCE, || {
        ["add", "del"].map(|what| namespace.ip(&format!("route {what} blackhole 10.99.0.0/16 table 99")));
        (!monitor.log().is_empty()).then_some(())
    });
    let changed = two.replace("192.0.2.9", "192.0.2.8");
    daemon.reload(&text(&[three, one, &changed], &[second]));
    wait_for("what is new", PATIENCE, || {
        let all = routing(namespace);
        let is = |what: &str| all.iter().any(|line| line.contains(what));
        (all.len() == 4 && is("10.3.0.0/16") && is("192.0.2.8") && is("6: from")).then_some(())
    });
    let own = || -> Vec<String> {
        monitor.log().lines().filter(|line| !line.contains("10.99.")).map(str::to_owned).collect()
    };
    let seen = wait_for("the kernel's news", PATIENCE, || Some(own()).filter(|lines| lines.len() >= 5)).join("\n");
    assert!(!seen.contains("10.1.0.0/16 via"), "{seen}");
    daemon.reload(&text(&[], &[]));
    wait_routing(namespace, 0);
    daemon.wait_state("active", PATIENCE);
    assert_eq!(daemon.counter("master-transitions"), 1);
}

fn removed_by_somebody_else() {
    let lan = lan(&["router"]);
    let (spec, count) = usual();
    let namespace = &lan.host(ROUTER).namespace;
    let daemon = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 200);
    let before = wait_routing(namespace, count);
    for removal in ["route del 10.1.0.0/16", "rule del priority 100", "-6 route del fd01::/64"] {
        namespace.ip(removal);
        wait_for(&format!("what `{removal}` removed"), PATIENCE, || (routing(namespace) == before).then_some(()));
    }
    assert!(daemon.process.log().contains("somebody else removed it"), "{}", daemon.process.log());
    // Nobody watches over one without an interface.
    namespace.ip("route del blackhole 10.6.0.0/16");
    std::thread::sleep(ms(300.0));
    assert_eq!(routing(namespace).len(), count - 1);
    assert_eq!(daemon.state().as_deref(), Some("active"));
}

fn refused() {
    let lan = lan(&["router"]);
    let namespace = &lan.host(ROUTER).namespace;
    let routes =
        ["10.1.0.0/16 via 198.51.100.9 dev lan1", "10.2.0.0/16 dev lan9", "10.3.0.0/16 via 192.0.2.9 dev lan1"];
    let spec = Spec::v3(10).with(&block("virtual_routes", &routes)).with("dont_track_primary");
    let text = spec.text(200).replace("dev lan9", "dev lan9 no_track");
    let daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text);
    daemon.wait_state("active", PATIENCE);
    let all = wait_routing(namespace, 1);
    assert!(all[0].contains("10.3.0.0/16"), "{all:?}");
    assert!(lan.addresses(ROUTER).contains(&spec.vip()));
    let line = 1 + text.lines().position(|line| line.contains("10.1.0.0/16")).expect("the line is there");
    let log = wait_for("what the kernel says", PATIENCE, || {
        Some(daemon.process.log()).filter(|log| log.contains("the kernel refused it"))
    });
    let said = format!("0.conf:{line}:9: route 10.1.0.0/16: the kernel refused it: Nexthop has invalid gateway");
    assert!(log.contains(&said), "{said}\n{log}");
    assert!(log.contains("route 10.2.0.0/16: there is no interface lan9"), "{log}");
}

/// A router whose route leads nowhere is not what it should be.
fn interface_down() {
    let lan = lan(&["router"]);
    let (spec, count) = usual();
    let namespace = &lan.host(ROUTER).namespace;
    let daemon = Daemon::start(Engine::Steadfast, &lan, ROUTER, &spec, 200);
    let before = wait_routing(namespace, count);
    namespace.ip("link set lan1 down");
    daemon.wait_state("initialize", PATIENCE);
    wait_routing(namespace, 0);
    namespace.ip("link set lan1 up");
    // IPv6 addresses went with it, and the routes to their networks.
    namespace.ip("addr replace fd0a::1/64 dev lan1");
    daemon.wait_state("active", PATIENCE);
    assert_eq!(wait_routing(namespace, count), before);
}

fn statics() {
    let lan = lan(&["router", "peer"]);
    let namespace = &lan.host(ROUTER).namespace;
    let statics = |more: &[&str]| {
        let routes: Vec<_> = ["10.1.0.0/16 via 203.0.113.9 dev lan1"].iter().chain(more).copied().collect();
        [
            block("static_ipaddress", &["203.0.113.1/24 dev lan1 track_group G", "203.0.113.200/32 dev nosuch"]),
            block("static_routes", &routes),
            block("static_rules", &["from 10.1.0.0/16 table 7 priority 5"]),
            "track_group G {\n    group {\n        VI\n    }\n}\n".to_owned(),
        ]
        .join("\n")
    };
    let text = |more: &[&str]| statics(more) + &Spec::v3(30).text(100);
    let has = |address: &str| lan.addresses(ROUTER).iter().any(|held| held.to_string() == address);
    let _peer = Daemon::start(Engine::Steadfast, &lan, PEER, &Spec::v3(30), 200);
    let mut daemon = Daemon::start_with(Engine::Steadfast, &lan, ROUTER, &text(&[]));
    wait_routing(namespace, 2);
    daemon.wait_state("backup", PATIENCE);
    assert!(has("203.0.113.1"));
    daemon.reload(&text(&["10.2.0.0/16 via 203.0.113.9 dev lan1"]));
    wait_routing(namespace, 3);
    for removal in ["route del 10.1.0.0/16", "rule del priority 5"] {
        namespace.ip(removal);
        wait_routing(namespace, 3);
    }
    namespace.ip("addr del 203.0.113.1/24 dev lan1");
    wait_for("the address", PATIENCE, || has("203.0.113.1").then_some(()));
    wait_routing(namespace, 3);
    namespace.ip("link set lan1 down");
    daemon.wait_state("initialize", PATIENCE);
    namespace.ip("link set lan1 up");
    wait_routing(namespace, 3);
    daemon.wait_state("backup", PATIENCE);
    daemon.reload(&text(&[]));
    wait_routing(namespace, 2);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    assert_eq!(routing(namespace), [""; 0]);
    assert!(!has("203.0.113.1"));
}
