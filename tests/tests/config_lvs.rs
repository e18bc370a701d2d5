//! The LVS part of a file, as it stands in the plan: every keyword's value, who inherits what from whom, and what is
//! left out. What is said about wrong files is in the fixtures.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use steadfast_core::time::Duration;
use steadfast_core::types::Family;
use steadfast_linux::check::Findings;
use steadfast_linux::ipvs::row::{
    DestinationKey, Forwarding, Persistence, Protocol, ServiceKey, Tunnel, TunnelChecksum,
};
use steadfast_linux::lvs::plan::{Check, CheckKind, FlushOnStop, HttpVersion, LvsPlan, Timing, VirtualServer};
use steadfast_linux::plan;

/// The plan of a fixture, which has no errors.
fn fixture(name: &str) -> LvsPlan {
    let loaded = plan::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name));
    assert!(!loaded.findings.has_errors(), "{:?}", loaded.findings);
    loaded.plan.unwrap().lvs
}

fn read(text: &str) -> (LvsPlan, Vec<String>) {
    let mut findings = Findings::new(Path::new("f"));
    let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
    (plan.lvs, findings.iter().map(ToString::to_string).collect())
}

/// The one virtual server of a text without findings.
fn service(text: &str) -> VirtualServer {
    let (plan, messages) = read(text);
    assert_eq!(messages, [""; 0]);
    let [service] = plan.services.as_slice() else { panic!("one virtual server") };
    VirtualServer::clone(service)
}

/// The one check of the one real server with these lines at the three levels.
fn check(kind: &str, service_lines: &str, server_lines: &str, check_lines: &str) -> Check {
    let needs = match kind {
        "HTTP_GET" | "SSL_GET" => "url {\npath /\n}",
        "MISC_CHECK" => "misc_path /bin/true",
        _ => "",
    };
    // What is said after the real server holds as well.
    let service = service(&format!(
        "virtual_server 192.0.2.1 80 {{\nprotocol TCP\nreal_server 10.0.0.1 80 {{\n{kind} {{\n{needs}\n{check_lines}\n}}\n\
         {server_lines}\n}}\n{service_lines}\n}}\n"
    ));
    Check::clone(&service.servers[0].checks[0])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn key(text: &str) -> DestinationKey {
    DestinationKey { address: at(text).ip(), port: at(text).port() }
}

fn keys(service: &VirtualServer) -> Vec<String> {
    service.keys.iter().map(ToString::to_string).collect()
}

#[test]
fn the_tutorial_is_read() {
    let plan = fixture("lvs-dr.conf");
    let [service] = plan.services.as_slice() else { panic!("one virtual server") };
    assert_eq!((service.name.as_str(), &*service.scheduler), ("192.0.2.100 80", "rr"));
    let address = ip("192.0.2.100");
    assert_eq!(service.keys, [ServiceKey::Address { protocol: Protocol::Tcp, address, port: 80 }]);
    assert_eq!(service.persistence, Some(Persistence { timeout: 50, granularity: 32, engine: None }));
    assert_eq!((service.quorum, service.hysteresis, service.alpha), (1, 0, false));
    let [one, two] = service.servers.as_slice() else { panic!("two real servers") };
    assert_eq!((one.key, one.weight, two.key, two.weight), (key("192.0.2.11:80"), 1, key("192.0.2.12:80"), 2));
    assert!(service.servers.iter().all(|server| server.forwarding == Forwarding::DirectRoute));
    let check = &one.checks[0];
    assert_eq!((&check.kind, check.target), (&CheckKind::Tcp, at("192.0.2.11:80")));
    let seconds = Duration::from_secs;
    let timing = Timing {
        delay_loop: seconds(6),
        retry: 3,
        delay_before_retry: seconds(3),
        warmup: seconds(6),
        connect_timeout: seconds(10),
        alpha: false,
    };
    assert_eq!(check.timing, timing);
    assert_eq!(two.checks[0].timing, Timing { connect_timeout: seconds(3), ..timing });
}

#[test]
fn every_global_keyword_reaches_the_plan() {
    let plan = fixture("lvs-plain.conf");
    let daemon = plan.sync_daemon.unwrap();
    assert_eq!((daemon.interface.as_str(), daemon.instance.as_deref(), daemon.id), ("eth1", Some("VI_1"), 51));
    assert_eq!((daemon.max_length, daemon.port, daemon.ttl), (1400, 8849, 2));
    assert_eq!(daemon.group, Some(ip("224.0.0.82")));
    let timeouts = plan.timeouts.unwrap();
    assert_eq!((timeouts.tcp, timeouts.tcp_fin, timeouts.udp), (900, 120, 300));
    assert!(plan.flush_at_start);
    assert_eq!(plan.flush_on_stop, FlushOnStop::Services);
    assert_eq!(plan.tls.ca.as_deref(), Some(Path::new("/etc/passwd")));
    assert_eq!((plan.tls.certificate, plan.tls.password.as_deref()), (None, Some("secret")));
    assert_eq!(plan.services.len(), 4);
}

#[test]
fn every_keyword_of_a_virtual_server_reaches_the_plan() {
    let plan = fixture("lvs-plain.conf");
    let web = &plan.services[0];
    assert_eq!(web.name, "group WEB");
    let expected = [
        "TCP 192.0.2.100:80",
        "TCP 192.0.2.101:80",
        "TCP 192.0.2.102:80",
        "TCP 192.0.2.103:80",
        "TCP 192.0.2.110:443",
        "TCP 192.0.2.111:443",
        "TCP 192.0.2.120:80",
        "TCP 192.0.2.121:80",
        "FWM 3",
    ];
    assert_eq!(keys(web), expected);
    assert_eq!((&*web.scheduler, web.flags.one, web.flags.two, web.flags.three), ("sh", true, true, false));
    assert_eq!(web.persistence, Some(Persistence { timeout: 600, granularity: 24, engine: None }));
    assert!(web.alpha && web.omega && !web.ha_suspend);
    assert_eq!((web.quorum, web.hysteresis), (2, 1));
    let up = web.quorum_up.as_ref().unwrap();
    assert_eq!(
        (up.words.as_slice(), up.user),
        (["/bin/true", "up", "two words"].map(Into::into).as_slice(), Some((0, 0)))
    );
    assert_eq!(web.quorum_down.as_ref().unwrap().words, ["/bin/true"]);
    let sorry = web.sorry.as_ref().unwrap();
    assert_eq!((sorry.key, sorry.forwarding, sorry.inhibit), (key("10.0.0.9:8080"), Forwarding::Masquerade, true));

    let six = &plan.services[1];
    assert_eq!(keys(six).len(), 12);
    assert_eq!(keys(six).last().unwrap(), "FWM 4 IPv6");
    assert!(six.flags.one_packet);
    let methods: Vec<_> = six.servers.iter().map(|server| (server.key, server.weight, server.forwarding)).collect();
    let gue = Forwarding::Tunnel(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote });
    let gre = Forwarding::Tunnel(Tunnel::Gre { checksum: TunnelChecksum::Full });
    let expected = [
        (key("10.0.0.1:53"), 3, gue),
        (key("[2001:db8::2]:53"), 0, gre),
        (key("[2001:db8::3]:53"), 3, Forwarding::DirectRoute),
    ];
    assert_eq!(methods, expected);

    let mark = &plan.services[2];
    assert_eq!(mark.keys, [ServiceKey::Mark { mark: 9, family: Family::V6 }]);
    assert!(mark.flags.one && mark.flags.two);
    assert_eq!(mark.persistence, Some(Persistence { timeout: 360, granularity: 64, engine: Some("sip".into()) }));
    assert_eq!(mark.servers[0].checks[0].target, at("[2001:db8::4]:5060"));

    let any = &plan.services[3];
    assert_eq!((keys(any), any.name.as_str()), (vec!["SCTP 192.0.2.130:0".to_owned()], "192.0.2.130 0"));
    assert_eq!(any.persistence.as_ref().unwrap().timeout, 360);
    assert!(any.ha_suspend && any.flags.one && any.flags.three && !any.flags.two);
    assert_eq!(&*any.scheduler, "wlc");
}

#[test]
fn every_keyword_of_a_check_reaches_the_plan() {
    let plan = fixture("lvs-plain.conf");
    let [first, second] = plan.services[0].servers.as_slice() else { panic!("two real servers") };
    assert_eq!((first.upper_threshold, first.lower_threshold), (100, 50));
    assert!(!first.inhibit_on_failure && second.inhibit_on_failure);
    assert_eq!(first.notify_down.as_ref().unwrap().words, ["/bin/true", "down"]);
    // `script_user`
    assert_eq!(first.notify_up.as_ref().unwrap().user, Some((0, 0)));

    let [http, sni, named] = first.checks.as_slice() else { panic!("three checks") };
    assert_eq!((http.target, http.source), (at("10.1.0.1:8081"), Some(at("10.1.0.254:1024"))));
    assert_eq!((http.interface.as_deref(), http.mark, http.log_all_failures), (Some("eth1"), 7, false));
    assert!(!http.timing.alpha && sni.timing.alpha && sni.log_all_failures);
    let CheckKind::Http(kind) = &http.kind else { panic!("HTTP_GET") };
    assert_eq!((kind.version, &kind.tls), (HttpVersion::Http11, &None));
    let [a, b] = kind.urls.as_slice() else { panic!("two urls") };
    assert_eq!((a.path.as_str(), a.host.as_deref()), ("/a", Some("other.example.org")));
    assert_eq!(a.status, [(200, 299), (301, 302), (404, 404)]);
    assert_eq!(a.digest.unwrap()[..3], [0x9b, 0x3a, 0x0c]);
    assert_eq!((b.path.as_str(), b.host.as_deref(), &b.status), ("/b?c=d", Some("www.example.org"), &vec![(200, 299)]));
    let pattern = b.pattern.as_ref().unwrap();
    assert_eq!((pattern.expression.text(), pattern.must_not_match), ("(?im)^ok [0-9]+$", true));
    assert_eq!((pattern.min_offset, pattern.max_offset), (10, Some(2000)));
    for (check, name, send) in [(sni, "www.example.org", true), (named, "secure.example.org", true)] {
        let CheckKind::Http(kind) = &check.kind else { panic!("SSL_GET") };
        let tls = kind.tls.as_ref().unwrap();
        assert_eq!((tls.server_name.as_deref(), tls.send_name), (Some(name), send));
    }

    let [mail, other, dns, udp, ping, misc, file, reverse] = second.checks.as_slice() else { panic!("eight checks") };
    assert_eq!(mail.kind, CheckKind::Smtp { helo: "mail.example.org".into() });
    assert_eq!((mail.target, mail.source), (at("10.0.0.21:25"), None));
    assert_eq!((other.target, other.source), (at("10.0.0.22:8080"), Some(at("10.0.0.254:0"))));
    assert_eq!(other.timing.connect_timeout, Duration::from_secs(1));
    assert_eq!(dns.kind, CheckKind::Dns { record: 1, name: "www.example.org".into() });
    let CheckKind::Udp(check) = &udp.kind else { panic!("UDP_CHECK") };
    assert_eq!(check.payload, [0xab, 0x12, 0x0f, 0x03, 0x45, 0x06]);
    assert_eq!(check.reply.as_deref(), Some([(1, 0xff), (0, 0), (0x20, 0xf0)].as_slice()));
    assert_eq!((check.min_length, check.max_length), (4, 512));
    assert_eq!(ping.kind, CheckKind::Ping);
    let CheckKind::Misc { script, timeout, dynamic } = &misc.kind else { panic!("MISC_CHECK") };
    assert_eq!(script.words, ["/bin/true", "--server", "10.0.0.2"]);
    assert_eq!((*timeout, *dynamic), (Duration::from_secs(5), true));
    let path = || Path::new("/run/load").to_owned();
    assert_eq!(file.kind, CheckKind::File { path: path(), weight: 2, reverse: false });
    assert_eq!(reverse.kind, CheckKind::File { path: path(), weight: -3, reverse: true });
}

/// keyword, value at the three levels, what is read of it, in microseconds or a count.
type Row = (&'static str, [&'static str; 3], fn(&Timing) -> u64);

#[test]
fn what_a_check_does_not_say_the_real_server_says_or_the_virtual_server_or_the_default() {
    let rows: [Row; 6] = [
        ("delay_loop", ["11", "12", "13.5"], |timing| timing.delay_loop.as_micros()),
        ("retry", ["11", "0", "13"], |timing| u64::from(timing.retry)),
        ("delay_before_retry", ["11", "0", "13"], |timing| timing.delay_before_retry.as_micros()),
        ("warmup", ["0", "12", "13"], |timing| timing.warmup.as_micros()),
        ("connect_timeout", ["11", "12", "0.25"], |timing| timing.connect_timeout.as_micros()),
        ("alpha", ["", "off", "on"], |timing| u64::from(timing.alpha)),
    ];
    let kinds = [
        ("TCP_CHECK", 1, 1),
        ("HTTP_GET", 1, 3),
        ("SSL_GET", 1, 3),
        ("SMTP_CHECK", 1, 1),
        ("DNS_CHECK", 3, 60),
        ("UDP_CHECK", 1, 1),
        ("PING_CHECK", 1, 1),
        ("MISC_CHECK", 0, 1),
    ];
    for (kind, retry, delay) in kinds {
        for (keyword, values, get) in rows {
            let default = match keyword {
                "retry" => retry,
                "delay_before_retry" => delay * 1_000_000,
                "alpha" => 0,
                "connect_timeout" => 5_000_000,
                _ => 60_000_000,
            };
            let micros = |value: &str| match (keyword, value) {
                ("alpha", value) => u64::from(value != "off"),
                ("retry", value) => value.parse().unwrap(),
                (_, value) => (value.parse::<f64>().unwrap() * 1e6) as u64,
            };
            for levels in 0..8 {
                if kind == "MISC_CHECK" && keyword == "connect_timeout" && levels & 4 != 0 {
                    continue;
                }
                let said = |level: usize| levels & 1 << level != 0;
                let line =
                    |level: usize| if said(level) { format!("{keyword} {}", values[level]) } else { String::new() };
                let timing = check(kind, &line(0), &line(1), &line(2)).timing;
                let expected = (0..3).rev().find(|&level| said(level)).map_or(default, |level| micros(values[level]));
                assert_eq!(get(&timing), expected, "{kind} {keyword} at levels {levels:03b}");
            }
        }
    }
}

#[test]
fn defaults_that_follow_another_value_follow_the_inherited_one() {
    let timing = check("DNS_CHECK", "delay_loop 7", "", "").timing;
    assert_eq!((timing.warmup, timing.delay_before_retry), (Duration::from_secs(7), Duration::from_secs(7)));
    let CheckKind::Misc { timeout, .. } = check("MISC_CHECK", "delay_loop 7", "delay_loop 8", "").kind else {
        panic!()
    };
    assert_eq!(timeout, Duration::from_secs(8));
    let CheckKind::Http(http) = check("SSL_GET", "virtualhost a", "virtualhost b:443", "").kind else { panic!() };
    assert_eq!(http.urls[0].host.as_deref(), Some("b:443"));
    let tls = http.tls.unwrap();
    // The name is there to be verified, but not sent unasked.
    assert_eq!((tls.server_name.as_deref(), tls.send_name), (Some("b"), false));
}

#[test]
fn a_virtual_server_alone_is_a_good_file() {
    let text = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nreal_server 10.0.0.1 80\n}\n";
    let mut findings = Findings::new(Path::new("f"));
    let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
    assert_eq!(findings.iter().count(), 0);
    assert!(!plan.is_empty() && plan.routers.is_empty());
    let server = &plan.lvs.services[0].servers[0];
    assert_eq!((server.weight, server.forwarding, server.checks.len()), (1, Forwarding::Masquerade, 0));
}

#[test]
fn old_names_mean_what_the_new_ones_do() {
    let new = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_sched rr\nlvs_method DR\nreal_server 10.0.0.1 80 {\nTCP_CHECK {\nretry 4\n}\n}\n}\n";
    let old = new.replace("lvs_sched", "lb_algo").replace("lvs_method", "lb_kind").replace("retry", "nb_get_retry");
    assert_eq!(service(new), service(&old));
}

#[test]
fn what_keepalived_puts_right_is_put_right_and_said() {
    let loaded = plan::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/lvs-habits.conf"));
    assert!(!loaded.findings.has_errors());
    let services = loaded.plan.unwrap().lvs.services;
    // The one without real servers is left out.
    let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["192.0.2.1 80", "192.0.2.2 80", "192.0.2.3", "fwmark 3", "group TWICE", "192.0.2.8 80"]);
    let [unsaid, wrong, any, mark, twice, _] = services.as_slice() else { panic!() };
    assert_eq!(keys(unsaid), ["UDP 192.0.2.1:80"]);
    assert_eq!((unsaid.servers.len(), unsaid.quorum, unsaid.hysteresis), (1, 1, 0));
    assert_eq!((&*wrong.scheduler, &wrong.persistence), ("wlc", &None));
    assert_eq!(wrong.flags, Default::default());
    let server = &wrong.servers[0];
    assert_eq!((server.key, server.weight, server.forwarding), (key("10.0.0.1:80"), 1, Forwarding::DirectRoute));
    assert_eq!(server.checks[0].target, at("10.0.0.1:80"));
    assert_eq!(server.checks.len(), 4);
    assert_eq!(any.persistence.as_ref().unwrap().timeout, 360);
    assert!(!mark.ha_suspend && mark.persistence.is_none());
    assert_eq!(keys(twice), ["TCP 192.0.2.5:80", "TCP 192.0.2.4:80", "TCP 192.0.2.6:80"]);
}

#[test]
fn a_wrong_virtual_server_leaves_the_others_alone() {
    let loaded = plan::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/lvs-wrong.conf"));
    assert!(loaded.findings.has_errors());
    let plan = loaded.plan.unwrap().lvs;
    let all: Vec<_> = plan.services.iter().flat_map(|service| keys(service)).collect();
    assert_eq!(all, ["TCP 192.0.2.20:80", "UDP 192.0.2.20:80"]);
    assert_eq!(plan.sync_daemon, None);
}

#[test]
fn a_service_that_another_virtual_server_has_is_an_error_with_both_places() {
    let text = "virtual_server_group G {\n192.0.2.1-9 80\n}\nvirtual_server group G {\nprotocol TCP\nreal_server 10.0.0.1 80\n}\n\
                virtual_server 192.0.2.5 80 {\nprotocol TCP\nreal_server 10.0.0.2 80\n}\n";
    let (plan, messages) = read(text);
    assert_eq!(plan.services.len(), 1);
    let expected = "f:8:1: error: `virtual_server group G` at 4:1 has TCP 192.0.2.5:80 already; this one is left out";
    assert_eq!(messages, [expected]);
}

#[test]
fn an_instance_may_name_the_interface_of_the_sync_daemon() {
    let text = "vrrp_instance A {\ninterface a\nvirtual_router_id 7\nlvs_sync_daemon_interface eth1\nvirtual_ipaddress { 192.0.2.1 }\n}\n";
    let daemon = read(text).0.sync_daemon.unwrap();
    assert_eq!((daemon.interface.as_str(), daemon.instance.as_deref(), daemon.id), ("eth1", Some("A"), 7));
    let text = format!("global_defs {{\nlvs_sync_daemon eth2 A id 3\n}}\n{text}");
    let daemon = read(&text).0.sync_daemon.unwrap();
    assert_eq!((daemon.interface.as_str(), daemon.id), ("eth2", 3));
}

#[test]
fn servers_of_another_family_and_a_sync_daemon_do_not_go_together() {
    let service = "virtual_server 192.0.2.1 80 {\nlb_kind TUN\nprotocol TCP\nreal_server 2001:db8::1 80\nreal_server 10.0.0.1 80\n\
                   sorry_server 2001:db8::2 80\n}\n";
    assert_eq!(read(service).1, [""; 0]);
    let (plan, messages) = read(&format!("{service}global_defs {{\nlvs_sync_daemon eth1\n}}\n"));
    let why = "is of another family than the virtual server: the kernel has no such server beside a sync daemon, and \
               refuses the one or the other";
    let expected = [
        format!("f:4:13: warning: the real_server 2001:db8::1 {why}"),
        format!("f:6:14: warning: the sorry_server 2001:db8::2 {why}"),
    ];
    assert_eq!(messages, expected);
    assert_eq!(plan.services[0].servers.len(), 2);
}
