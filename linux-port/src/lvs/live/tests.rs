//! Rule by rule: the sentence that is said, and that it is not said where it does not hold.

use super::*;
use crate::check::Findings;
use crate::netlink::AddressFlags;

/// Two directors' tutorial: eth0 is 192.0.2.2/24, the virtual address 192.0.2.1 is in an instance.
fn plan(services: &str) -> Plan {
    let text = format!(
        "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n{services}"
    );
    let mut findings = Findings::new(std::path::Path::new("a.conf"));
    let plan = crate::plan::parse(text.as_bytes(), &mut findings).unwrap();
    assert!(!findings.has_errors(), "{findings:?}");
    plan
}

fn service(kind: &str, more: &str, servers: &[&str]) -> String {
    let servers: Vec<_> =
        servers.iter().map(|server| format!(" real_server {server} 80 {{\n TCP_CHECK {{\n }}\n }}\n")).collect();
    let servers = servers.concat();
    format!("virtual_server 192.0.2.1 80 {{\n protocol TCP\n lvs_sched rr\n lvs_method {kind}\n {more}\n{servers}}}\n")
}

fn address(interface: u32, ip: &str, prefix_len: u8) -> Address {
    Address {
        interface,
        ip: ip.parse().unwrap(),
        prefix_len,
        scope: 0,
        flags: AddressFlags::empty(),
        label: None,
        protocol: 0,
    }
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        up: true,
        running: true,
        multicast: true,
        mac: Some(mac(0)),
        mtu: 1500,
        parent: None,
        controller: None,
        kind: None,
        macvlan_mode: None,
    }
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

/// A machine where nothing is wrong, with IPVS and the scheduler rr.
fn facts() -> Facts {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    Facts {
        settings: [
            ("net/ipv4/ip_forward", 1),
            ("net/ipv4/vs/expire_nodest_conn", 1),
            ("net/ipv4/vs/expire_quiescent_template", 1),
            ("net/ipv4/vs/conntrack", 1),
            ("net/ipv4/vs/backup_only", 0),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
        modules: Modules {
            release: "6.1".into(),
            ipvs: true,
            present: names(&["ip_vs", "ip_vs_rr", "nf_conntrack"]),
            on_disk: Some(names(&["ip_vs", "ip_vs_rr", "ip_vs_wlc"])),
            modprobe: true,
        },
        default_routes: names(&["eth0"]),
        addresses: vec![address(1, "127.0.0.1", 8), address(2, "192.0.2.2", 24)],
        links: vec![link(1, "lo"), link(2, "eth0")],
        lan: Ok(Lan { owners: [(Ipv4Addr::new(192, 0, 2, 11), [mac(11)].into())].into(), receptions: BTreeMap::new() }),
    }
}

fn dr(servers: &[&str]) -> Plan {
    plan(&service("DR", "", servers))
}

/// What is said, a line each: `error: ...`.
fn said(plan: &Plan, facts: &Facts) -> Vec<String> {
    judge(plan, facts).into_iter().map(|remark| format!("{}: {}", remark.severity, remark.message)).collect()
}

/// That one thing is said, and begins so.
#[track_caller]
fn says(plan: &Plan, facts: &Facts, sentence: &str) {
    let said = said(plan, facts);
    assert!(said.len() == 1 && said[0].starts_with(sentence), "{said:#?}");
}

#[track_caller]
fn silent(plan: &Plan, facts: &Facts) {
    assert_eq!(said(plan, facts), Vec::<String>::new());
}

/// The facts with a change.
fn but(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = facts();
    change(&mut facts);
    facts
}

fn set(facts: &mut Facts, key: &str, value: u32) {
    facts.settings.insert(key.into(), value);
}

#[test]
fn where_nothing_is_wrong_nothing_is_said() {
    silent(&dr(&["192.0.2.11"]), &facts());
}

#[test]
fn missing_modules() {
    let plan = dr(&["192.0.2.11"]);
    let missing = |change: fn(&mut Modules)| {
        but(|facts| {
            facts.modules.ipvs = false;
            facts.modules.present.clear();
            change(&mut facts.modules);
        })
    };
    says(&plan, &missing(|_| ()), "notice: the kernel's module ip_vs is not loaded; `steadfast run`");
    says(
        &plan,
        &missing(|modules| modules.modprobe = false),
        "error: the kernel's module ip_vs is not loaded, and there is no",
    );
    says(
        &plan,
        &missing(|modules| modules.on_disk = Some(BTreeSet::new())),
        "error: the kernel 6.1 has no module ip_vs:",
    );
    says(
        &plan,
        &missing(|modules| modules.on_disk = None),
        "error: the kernel has no IPVS, and there is no /lib/modules/6.1",
    );
    let scheduler = |name| self::plan(&service("DR", "", &["192.0.2.11"]).replace("lvs_sched rr", name));
    silent(&scheduler("lvs_sched wlc"), &facts());
    says(&scheduler("lvs_sched sed"), &facts(), "error: the kernel 6.1 has no module ip_vs_sed:");
    let without = but(|facts| facts.modules.modprobe = false);
    says(&scheduler("lvs_sched wlc"), &without, "error: the kernel's module ip_vs_wlc is not loaded, and there is no");
    let engine = self::plan(&service("DR", "persistence_timeout 60\n persistence_engine sip", &["192.0.2.11"]));
    assert!(said(&engine, &facts()).iter().any(|said| said.contains("no module ip_vs_pe_sip")));
}

#[test]
fn nat_needs_forwarding_and_direct_routing_does_not() {
    let off = but(|facts| set(facts, "net/ipv4/ip_forward", 0));
    says(&plan(&service("NAT", "", &["192.0.2.11"])), &off, "error: net.ipv4.ip_forward is 0: with NAT");
    silent(&dr(&["192.0.2.11"]), &off);
}

#[test]
fn settings_of_ipvs_that_hurt_what_is_configured() {
    let nodest = but(|facts| set(facts, "net/ipv4/vs/expire_nodest_conn", 0));
    says(&dr(&["192.0.2.11"]), &nodest, "notice: net.ipv4.vs.expire_nodest_conn is 0");
    let quiescent = but(|facts| set(facts, "net/ipv4/vs/expire_quiescent_template", 0));
    silent(&dr(&["192.0.2.11"]), &quiescent);
    let persistent = plan(&service("DR", "persistence_timeout 60", &["192.0.2.11"]));
    says(&persistent, &quiescent, "warning: net.ipv4.vs.expire_quiescent_template is 0");
    let conntrack = but(|facts| set(facts, "net/ipv4/vs/conntrack", 0));
    silent(&dr(&["192.0.2.11"]), &conntrack);
    says(&plan(&service("NAT", "", &["192.0.2.11"])), &conntrack, "notice: net.ipv4.vs.conntrack is 0");
}

#[test]
fn one_armed_nat_must_not_redirect() {
    let redirects = but(|facts| set(facts, "net/ipv4/conf/eth0/send_redirects", 1));
    let nat = |server| plan(&service("NAT", "", &[server]));
    says(&nat("192.0.2.11"), &redirects, "warning: virtual and real servers of NAT share the LAN of eth0");
    silent(&nat("198.51.100.1"), &redirects);
    silent(&dr(&["192.0.2.11"]), &redirects);
}

#[test]
fn a_strict_reverse_path_beside_the_default_route() {
    let plan = dr(&["192.0.2.11"]);
    let strict = |value, route: &str| {
        but(|facts| {
            set(facts, "net/ipv4/conf/eth0/rp_filter", value);
            facts.default_routes = [route.to_owned()].into();
        })
    };
    says(&plan, &strict(1, "eth1"), "warning: net.ipv4.conf.eth0.rp_filter is 1 and the default route leaves by eth1");
    silent(&plan, &strict(1, "eth0"));
    silent(&plan, &strict(2, "eth1"));
    let mut nowhere = strict(1, "eth1");
    nowhere.default_routes.clear();
    silent(&plan, &nowhere);
}

#[test]
fn a_virtual_address_that_nobody_holds() {
    let other = |address: &str| plan(&service("DR", "", &["192.0.2.11"]).replace("192.0.2.1 80", address));
    says(&other("192.0.2.9 80"), &facts(), "warning: 192.0.2.9 is in no vrrp_instance and not on this machine");
    silent(&other("192.0.2.2 80"), &facts());
    silent(&other("fwmark 3"), &facts());
}

#[test]
fn direct_routing_reaches_neighbours_only() {
    says(
        &dr(&["198.51.100.1"]),
        &facts(),
        "error: direct routing reaches neighbours only, and no network of this machine has 198.51.100.1",
    );
    silent(&plan(&service("TUN", "", &["198.51.100.1"])), &facts());
    silent(&plan(&service("NAT", "", &["198.51.100.1"])), &facts());
}

#[test]
fn directors_that_are_real_servers() {
    let both = dr(&["192.0.2.2", "192.0.2.11"]);
    let synced = plan(&format!(
        "global_defs {{\n lvs_sync_daemon eth0 A\n}}\n{}",
        service("DR", "", &["192.0.2.2", "192.0.2.11"])
    ));
    let only = but(|facts| set(facts, "net/ipv4/vs/backup_only", 1));
    says(&both, &facts(), "warning: 192.0.2.2 is this machine, which is a real server");
    says(&both, &only, "warning: 192.0.2.2 is this machine");
    says(&synced, &facts(), "warning: 192.0.2.2 is this machine");
    silent(&synced, &only);
}

#[test]
fn who_answers_arp() {
    let plan = dr(&["192.0.2.11"]);
    let (server, virtual_address) = (Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 1));
    let owners = |owners: &[(Ipv4Addr, &[u8])]| {
        but(|facts| {
            let macs = |macs: &[u8]| macs.iter().map(|last| mac(*last)).collect();
            let owners = owners.iter().map(|(address, owners)| (*address, macs(owners))).collect();
            facts.lan = Ok(Lan { owners, receptions: BTreeMap::new() });
        })
    };
    says(&plan, &owners(&[]), "warning: nobody answers ARP for 192.0.2.11");
    says(
        &plan,
        &owners(&[(server, &[11, 12])]),
        "error: 192.0.2.11 is had by 02:00:00:00:00:0b and 02:00:00:00:00:0c at once",
    );
    // The Active, elsewhere.
    silent(&plan, &owners(&[(server, &[11]), (virtual_address, &[7])]));
    let leak = owners(&[(server, &[11]), (virtual_address, &[11])]);
    says(&plan, &leak, "error: the real server 192.0.2.11 (02:00:00:00:00:0b) answers ARP for 192.0.2.1");
    let mut active = owners(&[(server, &[11]), (virtual_address, &[7])]);
    active.addresses.push(address(2, "192.0.2.1", 32));
    says(&plan, &active, "error: 192.0.2.1 is on this machine, and 02:00:00:00:00:07 answers ARP for it too");
    let both = dr(&["192.0.2.2", "192.0.2.11"]);
    assert_eq!(
        said(&both, &leak)[1],
        "notice: the real server 192.0.2.11 answers ARP for 192.0.2.1: right only if it is the Active"
    );
}

#[test]
fn real_servers_that_do_not_take_the_virtual_address() {
    let plan = dr(&["192.0.2.11"]);
    let reception = |reception| {
        but(|facts| {
            let service = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
            let lan = facts.lan.as_mut().unwrap();
            lan.receptions.insert((service, Ipv4Addr::new(192, 0, 2, 11)), reception);
        })
    };
    silent(&plan, &reception(Reception::Accepted));
    says(&plan, &reception(Reception::Silent), "warning: 192.0.2.11 does not answer a connection to 192.0.2.1:80");
    says(
        &plan,
        &reception(Reception::Refused),
        "warning: 192.0.2.11 takes packets for 192.0.2.1:80 but nobody listens",
    );
}

#[test]
fn without_privilege_the_lan_is_left_out() {
    let deaf = but(|facts| facts.lan = Err("it needs CAP_NET_RAW".into()));
    says(&dr(&["192.0.2.11"]), &deaf, "notice: the LAN cannot be asked: it needs CAP_NET_RAW");
}

#[test]
fn questions_are_for_direct_routing_on_the_lan() {
    let plan = plan(&format!(
        "{}{}",
        service("DR", "", &["192.0.2.2", "192.0.2.11", "198.51.100.1"]),
        service("NAT", "", &["192.0.2.12"]).replace("192.0.2.1 80", "192.0.2.1 81")
    ));
    let asked = questions(&plan, &facts());
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].index, asked[0].source), (2, Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(asked[0].servers, [Ipv4Addr::new(192, 0, 2, 11)].into());
    assert_eq!(asked[0].virtuals, [Ipv4Addr::new(192, 0, 2, 1)].into());
    assert_eq!(asked[0].connections.len(), 1);
}

#[test]
fn without_virtual_servers_there_is_nothing_to_look_at() {
    assert_eq!(examine(&plan("")), []);
}
