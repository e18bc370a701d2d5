//! Whole files with routes and rules: what becomes of each option, and what is said of each mistake.

use std::path::Path;

use netlink_packet_route::route::{RouteAttribute, RouteMetric, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute};

use super::*;
use crate::check::Findings;
use crate::plan::tracking::Kind;
use crate::plan::{self, Plan};

fn file(text: &str) -> (Plan, Vec<String>) {
    let mut findings = Findings::new(Path::new("f"));
    let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
    (plan, findings.iter().map(ToString::to_string).collect())
}

/// An instance with these blocks, of which the first line of the first block is the sixth of the file.
fn instance(blocks: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface lan0\nvirtual_router_id 7\nvirtual_ipaddress {{ 192.0.2.1 }}\n{blocks}\n}}\n"
    )
}

fn routes(lines: &[&str]) -> (Vec<PlannedRoute>, Vec<String>) {
    let (plan, said) = file(&instance(&format!("virtual_routes {{\n{}\n}}", lines.join("\n"))));
    (plan.routers[0].routing.iter().flat_map(|routing| routing.routes.clone()).collect(), said)
}

fn rules(lines: &[&str]) -> (Vec<PlannedRule>, Vec<String>) {
    let (plan, said) = file(&instance(&format!("virtual_rules {{\n{}\n}}", lines.join("\n"))));
    (plan.routers[0].routing.iter().flat_map(|routing| routing.rules.clone()).collect(), said)
}

#[test]
fn every_option_of_a_route_comes_to_its_place() {
    // The line, and how keepalived names the route that it makes.
    let lines = [
        ("10.0.0.0/8 via 192.0.2.9 dev lan1", "10.0.0.0/8 via inet 192.0.2.9 dev lan1 proto 18"),
        ("default via 192.0.2.9 dev lan1 table 100", "default via inet 192.0.2.9 dev lan1 table 100 proto 18"),
        (
            "0.0.0.0/0 via 192.0.2.9 dev lan1 table 100000 metric 5 onlink",
            "default via inet 192.0.2.9 dev lan1 table 100000 proto 18 metric 5 onlink",
        ),
        (
            "src 192.0.2.1 to 10.1.0.0/16 via 192.0.2.9 oif lan1 scope link priority 7 tos 10",
            "10.1.0.0/16 src 192.0.2.1 tos 16 via inet 192.0.2.9 dev lan1 proto 18 scope 253 metric 7",
        ),
        ("10.2.0.0/16 dev lan1 protocol static no_track", "10.2.0.0/16 dev lan1 proto 4 no_track"),
        ("blackhole 10.3.0.0/16 no_track", "blackhole 10.3.0.0/16 proto 18 no_track"),
        ("to unreachable 10.3.0.0/16 no_track", "unreachable 10.3.0.0/16 proto 18 no_track"),
        ("prohibit default no_track", "prohibit default proto 18 no_track"),
        ("throw to 10.3.0.0/16 no_track", "throw 10.3.0.0/16 proto 18 no_track"),
        (
            "10.4.0.0/16 dev lan1 mtu lock 1400 advmss 101 rtt 102 rttvar 103 reordering 104 window 105 cwnd 106",
            "10.4.0.0/16 dev lan1 proto 18 mtu 1400 advmss 101 rtt 12ms rttvar 25ms reordering 104 window 105 cwnd 106",
        ),
        (
            "10.5.0.0/16 dev lan1 ssthresh lock 107 rto_min 1s initcwnd 109 initrwnd 110 hoplimit 9 quickack 1 \
             congctl lock reno features ecn fastopen_no_cookie 1 realms 3/4",
            "10.5.0.0/16 dev lan1 proto 18 realms 3/4 ssthresh 107 rto_min 1000ms initcwnd 109 initrwnd 110 hoplimit 9 \
             quickack 1 congctl reno features ecn fastopen_no_cookie 1",
        ),
        (
            "fd01::/64 from fd02::/48 via fe80::9 dev lan1 pref high expires 50",
            "fd01::/64 from fd02::/48 via inet6 fe80::9 dev lan1 proto 18 pref high expires 50sec",
        ),
        (
            "inet6 default via inet6 fe80::9 dev lan1 metric 0x10",
            "default via inet6 fe80::9 dev lan1 proto 18 metric 16",
        ),
        ("10.6.0.0/16 via inet6 fe80::9 dev lan1", "10.6.0.0/16 via inet6 fe80::9 dev lan1 proto 18"),
        (
            "10.7.0.0/16 no_track nexthop via 192.0.2.9 dev lan1 weight 3 nexthop via 192.0.2.8 dev lan2 onlink",
            "10.7.0.0/16 proto 18 nexthop via inet 192.0.2.9 dev lan1 weight 3 nexthop via inet 192.0.2.8 dev lan2 onlink \
             no_track",
        ),
        ("10.8.0.0/16 dev lan1 encap ip id 5 dst 203.0.113.9 ttl 7", "10.8.0.0/16 dev lan1 proto 18"),
        ("10.8.0.0/16 dev lan1 encap mpls 100/200 ttl-propagate disabled", "10.8.0.0/16 dev lan1 proto 18"),
        ("fd01::/64 dev lan1 encap ip6 dst 2001:db8::9 tc 4 hoplimit 7", "fd01::/64 dev lan1 proto 18"),
    ];
    let (routes, said) = routes(&lines.map(|(line, _)| line));
    assert_eq!(said, [""; 0]);
    assert_eq!(routes.len(), lines.len());
    for (route, (line, shown)) in routes.iter().zip(lines) {
        assert_eq!(route.dumped(), shown, "{line}");
    }
    assert_eq!(&*routes[0].label, "f:6:1: route 10.0.0.0/8");
    assert_eq!(routes[4].message.header.kind, RouteType::Unicast);
    let metrics = routes[9].message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics.clone()),
        _ => None,
    });
    assert!(metrics.unwrap().contains(&RouteMetric::Lock(1 << 2)));
    assert!(routes.iter().all(|route| route.no_track == route.device.is_none() || route.no_track));
}

#[test]
fn the_old_words_of_keepalived_are_understood() {
    let (routes, said) = routes(&["10.0.0.0/8 gw 192.0.2.9 or 192.0.2.8 dev lan1"]);
    assert_eq!(
        routes[0].dumped(),
        "10.0.0.0/8 proto 18 nexthop via inet 192.0.2.9 dev lan1 nexthop via inet 192.0.2.8 dev lan1"
    );
    let [gw, or] = &said[..] else { panic!("{said:?}") };
    assert!(gw.starts_with("f:6:12: warning: ") && or.starts_with("f:6:25: warning: "), "{said:?}");
}

#[test]
fn a_route_without_an_interface_is_not_tracked() {
    let (routes, said) = routes(&["10.0.0.0/8 via 192.0.2.9"]);
    assert!(routes[0].no_track);
    assert!(said[0].starts_with("f:6:1: warning: a route without `dev` is not tracked"), "{said:?}");
}

#[test]
fn of_each_mistake_in_a_route_is_said_where_it_is_and_the_rest_stays() {
    let lines = [
        ("10.0.0.0/8 via x dev lan1", "f:6:16: error: `via` wants "),
        ("10.0.0.0/8 via", "f:7:12: error: `via` wants "),
        ("10.0.0.0/8 dev lan1 bogus", "f:8:21: error: `bogus` is no option of a route"),
        ("via 192.0.2.9 dev lan1", "f:9:1: error: a route wants a destination"),
        ("10.0.0.0/8 via fe80::9 dev lan1", "f:10:16: error: IPv4 and IPv6 in one line"),
        ("10.0.0.0/8 dev lan1 table nosuch", "f:11:27: error: `table` wants "),
        ("10.0.0.0/8 dev lan1 metric -1", "f:12:28: error: `metric` wants "),
        ("10.0.0.0/8 dev an_interface_too_long", "f:13:16: error: `dev` wants"),
        ("10.0.0.0/8 dev lan1 vrf blue", "f:14:21: error: `vrf` is not supported"),
        ("10.0.0.0/8 dev lan1 encap ila 5", "f:15:27: error: `encap ila` is not supported"),
        ("10.0.0.0/8 dev lan1 encap ip ttl 5", "f:16:21: error: a tunnel wants `dst` or `id`"),
        ("10.0.0.0/8 10.1.0.0/16 dev lan1", "f:17:12: error: `10.1.0.0/16` is a second destination"),
        ("10.0.0.0/8 dev lan1 pref high", "f:18:21: error: `pref` is IPv6's"),
        ("10.0.0.0/8 dev lan1 track_group G", "f:19:21: error: `track_group` is no option of a route"),
        ("10.0.0.0/8 nexthop via 192.0.2.9 weight 0", "f:20:41: error: `weight` wants "),
        ("10.0.0.0/8 nexthop via 192.0.2.9 bogus", "f:21:34: error: `bogus` is no option of a next hop"),
        ("10.0.0.0/8 dev lan1 quickack 2", "f:22:30: error: `quickack` wants "),
        ("10.0.0.0/8 dev lan1 protocol static", "f:23:21: warning: `protocol` has no effect"),
        ("10.0.0.1/8 dev lan1", "f:24:1: warning: the kernel refuses it: the destination has bits after its length"),
        ("10.0.0.0/8 no_track", "f:25:1: warning: the kernel refuses it: it has neither `via` nor `dev`"),
    ];
    let (routes, said) = routes(&lines.map(|(line, _)| line));
    assert_eq!(said.len(), lines.len(), "{said:#?}");
    for (said, (line, expected)) in said.iter().zip(lines) {
        assert!(said.starts_with(expected), "{line}: {said}");
    }
    assert_eq!(routes.len(), 3);
}

#[test]
fn every_option_of_a_rule_comes_to_its_place() {
    let lines = [
        ("from 192.0.2.0/24 table 100 priority 1", "from 192.0.2.0/24 priority 1 tos 0x0 protocol 18 lookup 100"),
        ("to 10.0.0.1 lookup main order 2", "from all to 10.0.0.1 priority 2 tos 0x0 protocol 18 lookup 254"),
        ("from 10.0.0.0/8 to 10.1.0.0/16 iif lan0 oif lan1 tos 22 fwmark 24/12 preference 39 realms 30/20 goto 40", ""),
        (
            "not from all iif lan0 oif lan1 tos 10 fwmark 0x18/0xc table 7 pref 4",
            "not from all priority 4 tos 0x10 fwmark 0x18/0xc oif lan1 iif lan0 protocol 18 lookup 7",
        ),
        ("from all goto 100 priority 5", "from all priority 5 tos 0x0 protocol 18 goto 100"),
        ("fwmark 7 nop priority 6 no_track", "from all priority 6 tos 0x0 fwmark 0x7 nop no_track"),
        ("from 10.0.0.1 blackhole priority 7", "from 10.0.0.1 priority 7 tos 0x0 protocol 18 type blackhole"),
        ("from 10.0.0.1 type prohibit priority 7", "from 10.0.0.1 priority 7 tos 0x0 protocol 18 type prohibit"),
        (
            "to fd00::/8 from fd01::/16 table 6908 uidrange 10000-19999 priority 8 suppress_prefixlength 0",
            "from fd01::/16 to fd00::/8 priority 8 tos 0x0 uidrange 10000-19999 suppress_prefixlen 0 protocol 18 lookup 6908",
        ),
        (
            "inet6 l3mdev ipproto UDP sport 10-20 dport 53 tunnel-id 7 priority 9 protocol 12 no_track",
            "inet6 from all priority 9 tos 0x0 l3mdev ipproto 17 sport 10-20 dport 53-53 tunnel-id 7 protocol 12 lookup 0 \
             no_track",
        ),
        ("realms 3/4 table 7 priority 10", "from all priority 10 tos 0x0 realms 3/4 protocol 18 lookup 7"),
    ];
    let (rules, said) = rules(&lines.map(|(line, _)| line));
    assert_eq!(said, ["f:8:84: error: `realms` is of rules with a table"]);
    let right = lines.iter().filter(|(_, shown)| !shown.is_empty());
    assert_eq!(rules.len(), right.clone().count());
    for (rule, (line, shown)) in rules.iter().zip(right) {
        assert_eq!(rule.dumped(), *shown, "{line}");
    }
    assert_eq!(&*rules[0].label, "f:6:1: rule 1");
    assert_eq!(rules[3].message.header.action, RuleAction::Goto);
    let table = |rule: &PlannedRule| {
        let header = rule.message.header.table;
        let attribute = rule.message.attributes.iter().find_map(|attribute| match attribute {
            RuleAttribute::Table(table) => Some(*table),
            _ => None,
        });
        (header, attribute)
    };
    assert_eq!((table(&rules[0]), table(&rules[7])), ((100, Some(100)), (0, Some(6908))));
}

#[test]
fn of_each_mistake_in_a_rule_is_said_where_it_is() {
    let lines = [
        ("from x table 7 priority 1", "f:6:6: error: `from` wants "),
        ("from 10.0.0.1 priority 1", "f:7:1: error: a rule wants a table, or another action"),
        ("from 10.0.0.1 to fd00::1 table 7 priority 1", "f:8:18: error: IPv4 and IPv6 in one line"),
        ("from 10.0.0.1 table 0 priority 1", "f:9:21: error: `table` wants "),
        ("from 10.0.0.1 table 7 nop priority 1", "f:10:23: error: a rule has one of"),
        ("from 10.0.0.1 goto 5", "f:11:15: error: `goto` wants a `preference` that is less"),
        ("from 10.0.0.1 goto 5 priority 5", "f:12:15: error: `goto` wants a `preference` that is less"),
        ("from 10.0.0.1 table 7 bogus", "f:13:23: error: `bogus` is no option of a rule"),
        ("fwmark 1/x table 7 priority 1", "f:14:8: error: `fwmark` wants "),
        ("sport 20-10 table 7 priority 1", "f:15:7: error: `sport` wants "),
        ("from 10.0.0.1 table 7 priority 1 protocol 12", "f:16:34: warning: `protocol` has no effect"),
    ];
    let (rules, said) = rules(&lines.map(|(line, _)| line));
    assert_eq!(said.len(), lines.len(), "{said:#?}");
    for (said, (line, expected)) in said.iter().zip(lines) {
        assert!(said.starts_with(expected), "{line}: {said}");
    }
    assert_eq!(rules.len(), 1);
}

#[test]
fn rules_without_a_priority_get_keepaliveds_in_the_order_of_the_file() {
    let text = "static_rules {\nfrom 10.0.0.1 table 7\n}\n".to_owned()
        + &instance(
            "virtual_rules {\nfrom 10.0.0.2 table 7\nfrom fd00::2 table 7\nfrom 10.0.0.3 table 7 priority 3\n}",
        );
    let (plan, said) = file(&text);
    let of = |rules: &[PlannedRule]| rules.iter().map(|rule| rule.label.to_string()).collect::<Vec<_>>();
    assert_eq!(of(&plan.statics.routing.rules), ["f:2:1: rule 16384"]);
    let own = &plan.routers[0].routing.as_ref().unwrap().rules;
    assert_eq!(of(own), ["f:9:1: rule 16383", "f:10:1: rule 16384", "f:11:1: rule 3"]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("f:2:1: warning: a rule wants a `preference`: this one gets 16384"), "{}", said[0]);
}

#[test]
fn the_interface_of_a_route_is_followed_unless_it_is_not_tracked() {
    let text = instance(
        "virtual_routes {\n10.0.0.0/8 dev lan0\n10.1.0.0/16 dev lan1\n10.2.0.0/16 dev lan2 no_track\n10.3.0.0/16 dev lan1\n}",
    ) + "static_ipaddress {\n192.0.2.200/24 dev lan3 track_group G\n192.0.2.201\n}\n\
         static_routes {\n10.9.0.0/16 dev lan4 track_group G\n10.8.0.0/16 dev lan5 track_group H\n}\n\
         static_rules {\niif lan6 table 7 priority 5 track_group G\n}\n\
         track_group G {\ngroup {\nV\n}\n}\n";
    let (plan, said) = file(&text);
    assert_eq!(said, ["f:18:34: warning: there is no track_group `H`: nothing follows it"]);
    let bearings = &plan.tracking.bearings["V"];
    assert!(bearings.iter().all(|bearing| bearing.tracker.kind == Kind::Interface && bearing.weight == 0));
    let names: Vec<_> = bearings.iter().map(|bearing| &*bearing.tracker.name).collect();
    assert_eq!(names, ["lan1", "lan3", "lan4", "lan6"]);
    let statics = &plan.statics;
    let devices: Vec<_> =
        statics.addresses.iter().map(|(device, address)| format!("{device} {}", address.address)).collect();
    assert_eq!(devices, ["lan3 192.0.2.200", "eth0 192.0.2.201"]);
    assert_eq!((statics.routing.routes.len(), statics.routing.rules.len()), (2, 1));
    assert!(statics.routing.routes[0].label.starts_with("f:17:1: route 10.9.0.0/16"));
}

#[test]
fn a_block_that_is_no_block_is_said() {
    let (plan, said) = file(&instance("virtual_routes 10.0.0.0/8\npromote_secondaries"));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(plan.routers[0].routing.is_none() && plan.routers[0].promote_secondaries);
    let (plan, said) = file(&instance("virtual_routes { 10.0.0.0/8 dev lan1 }"));
    assert_eq!((said.len(), plan.routers[0].routing.as_ref().unwrap().routes.len()), (0, 1));
}
