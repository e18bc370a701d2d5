//! The configuration grammar on texts that nobody would write: it ends soon, says what it has to say in
//! bounded memory, and never panics.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use steadfast_core::config::lexer::{Kind, Lexer, Quoting, unescape};
use steadfast_core::config::{self, Config, Diagnostic, Instance};
use steadfast_core::types::Family;
use steadfast_linux::check::{Findings, MOST_FINDINGS};
use steadfast_linux::plan::{self, Plan};

/// Words that mean something somewhere, and some that break things.
const SOUP: &[&str] = &[
    "{",
    "}",
    "\n",
    "\n",
    "\"",
    "'",
    "#",
    "!",
    "\\",
    "$X",
    "@id",
    "~SEQ",
    "vrrp_instance",
    "global_defs",
    "A",
    "interface",
    "lan0",
    "virtual_router_id",
    "1",
    "255",
    "256",
    "-1",
    "0.01",
    "state",
    "MASTER",
    "priority",
    "advert_int",
    "version",
    "2",
    "3",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "10.0.0.1/24",
    "fe80::1",
    "10.0.0.1/99",
    "dev",
    "label",
    "brd",
    "+",
    "-",
    "peer",
    "scope",
    "link",
    "preferred_lft",
    "forever",
    "authentication",
    "auth_type",
    "PASS",
    "auth_pass",
    "use_vmac",
    "00:00:5e:00:01",
    "vrrp_strict",
    "no_accept",
    "checksum",
    "both_versions",
    "router_advertisements",
    "prefix",
    "lifetime",
    "auto",
    "unicast_peer",
    "include",
    "virtual_server",
    "virtual_server_group",
    "group",
    "fwmark",
    "192.0.2.1-20",
    "10.0.0.0/8",
    "real_server",
    "sorry_server",
    "protocol",
    "TCP",
    "UDP",
    "80",
    "lb_kind",
    "TUN",
    "type",
    "gue",
    "port",
    "DR",
    "lvs_sched",
    "mh",
    "mh-port",
    "quorum",
    "hysteresis",
    "weight",
    "delay_loop",
    "retry",
    "TCP_CHECK",
    "HTTP_GET",
    "SSL_GET",
    "url",
    "path",
    "/",
    "status_code",
    "200-299",
    "regex",
    "(a|b$)*",
    "UDP_CHECK",
    "payload",
    "ab1",
    "MISC_CHECK",
    "misc_path",
    "/bin/true 'a b",
    "FILE_CHECK",
    "track_file",
    "SMTP_CHECK",
    "host",
    "lvs_sync_daemon",
    "lvs_timeouts",
    "persistence_granularity",
    "255.255.0.0",
    "notify_master",
    "script",
    "script \"a 'b",
    "nopreemt",
    "\u{feff}",
    "\u{e9}",
    "\r",
    "\t",
    "on",
    "off",
];

/// Does with a text everything that can be done with it; the plan is checked as far as it goes.
fn whole(bytes: &[u8]) -> (Option<Plan>, Findings) {
    let mut findings = Findings::new(Path::new("x"));
    let plan = plan::parse(bytes, &mut findings);
    assert!(findings.iter().count() <= 3 * MOST_FINDINGS);
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
    for finding in findings.iter() {
        assert!(finding.line as usize <= lines && finding.column >= 1, "{finding}");
        assert!(finding.message.len() < 1024 && !finding.message.contains(char::is_control), "{finding}");
    }
    for router in plan.iter().flat_map(|plan| &plan.routers) {
        let protocol = router.settings;
        assert!(!router.addresses.is_empty() && router.addresses.len() <= 255);
        assert!(router.addresses.iter().all(|address| Family::of(&address.address) == protocol.family));
        assert!(router.all_addresses().all(|one| one.prefix_len <= if one.address.is_ipv4() { 32 } else { 128 }));
        assert_eq!(Family::of(&protocol.group), protocol.family);
        assert!(protocol.source.is_none_or(|source| Family::of(&source) == protocol.family));
        assert!(!router.name.is_empty() && (1..=15).contains(&router.interface.len()));
    }
    let mut keys = HashSet::new();
    for service in plan.iter().flat_map(|plan| &plan.lvs.services) {
        assert!(!service.keys.is_empty() && service.keys.iter().all(|key| keys.insert(*key)));
        let total: u64 = service.servers.iter().map(|server| u64::from(server.weight)).sum();
        assert!(u64::from(service.quorum) <= total && service.hysteresis < service.quorum.max(1));
        assert!(!service.servers.is_empty() || service.sorry.is_some());
        let servers: HashSet<_> = service.servers.iter().map(|server| server.key).collect();
        assert_eq!(servers.len(), service.servers.len());
        assert!(service.persistence.is_some() || service.keys.iter().all(|key| !key.to_string().ends_with(":0")));
        for check in service.servers.iter().flat_map(|server| &server.checks) {
            assert!(
                check.timing.delay_loop.as_micros() >= 10_000 && check.timing.connect_timeout.as_micros() >= 10_000
            );
            assert!(check.source.is_none_or(|source| source.is_ipv4() == check.target.is_ipv4()));
        }
    }
    (plan, findings)
}

/// All the tokens of a text: at most one for each byte, and each word's text without its escapes.
fn lex(text: &str, quoting: Quoting) {
    let mut lexer = Lexer::new(text);
    let mut count = 0;
    loop {
        match lexer.next_token(quoting).kind {
            Kind::End => break,
            Kind::Word(word) => assert!(unescape(word).count() <= word.len()),
            _ => {}
        }
        count += 1;
        assert!(count <= text.len());
    }
}

fn fixtures() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .map(|p| fs::read_to_string(p).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        whole(&bytes);
        if let Ok(text) = config::text(&bytes) {
            lex(text, Quoting::Plain);
            lex(text, Quoting::Shell);
        }
    }

    #[test]
    fn any_soup_of_words_is_survived(words in prop::collection::vec((select(SOUP), select(&[" ", "\n", ""][..])), 0..200)) {
        let text: String = words.iter().flat_map(|&(word, space)| [word, space]).collect();
        whole(text.as_bytes());
        lex(&text, Quoting::Plain);
        lex(&text, Quoting::Shell);
    }

    /// Real files with pieces lost, doubled and replaced.
    #[test]
    fn any_damage_to_a_file_is_survived(
        file in select(fixtures()),
        damages in prop::collection::vec((any::<Index>(), 0_usize..40, select(SOUP)), 1..8),
    ) {
        let mut bytes = file.into_bytes();
        for (at, removed, inserted) in damages {
            let from = at.index(bytes.len() + 1);
            let to = (from + removed).min(bytes.len());
            bytes.splice(from..to, inserted.bytes());
        }
        whole(&bytes);
    }

    /// An instance damaged at will changes nothing about its neighbours, as long as its braces are whole.
    #[test]
    fn what_stands_in_an_instance_stays_there(words in prop::collection::vec(select(SOUP), 0..60)) {
        let tame = |word: &&&str| !["{", "}", "vrrp_instance", "global_defs", "virtual_server"].contains(*word);
        let inside: Vec<_> = words.iter().filter(tame).copied().collect();
        let good = |name, vrid| format!(
            "vrrp_instance {name} {{\ninterface lan9\nvirtual_router_id {vrid}\nvirtual_ipaddress {{ 192.0.2.{vrid} }}\n}}\n"
        );
        let text = format!("{}vrrp_instance bad {{\n{}\n}}\n{}", good("before", 1), inside.join(" "), good("after", 2));
        let (plan, _) = whole(text.as_bytes());
        let names: Vec<_> = plan.unwrap().routers.iter().map(|router| router.name.clone()).collect();
        prop_assert_eq!(names.first().map(String::as_str), Some("before"));
        prop_assert_eq!(names.last().map(String::as_str), Some("after"));
    }

    /// Any right value comes out as it went in.
    #[test]
    fn right_values_are_read_back(
        vrid in 1_u8.., priority in 1_u8.., centiseconds in 1_u16..=4095, delay in 0_u32..=1000, repeat in 1_u8..,
        addresses in prop::collection::hash_set(any::<[u8; 4]>(), 1..20), prefix in 0_u8..=32,
    ) {
        let mut text = format!(
            "vrrp_instance A {{\n interface lan0\n version 3\n virtual_router_id {vrid}\n priority {priority}\n \
             advert_int {}.{:02}\n preempt_delay {delay}\n garp_master_repeat {repeat}\n virtual_ipaddress {{\n",
            centiseconds / 100, centiseconds % 100,
        );
        let addresses: Vec<_> = addresses.into_iter().map(std::net::IpAddr::from).collect();
        for address in &addresses {
            writeln!(text, "{address}/{prefix}").unwrap();
        }
        text += "}\n}\n";
        let (plan, findings) = whole(text.as_bytes());
        // The owner knows no delay, and that is said.
        prop_assert_eq!(findings.iter().count(), usize::from(priority == 255 && delay > 0));
        let plan = plan.unwrap();
        let read = &plan.routers[0];
        prop_assert_eq!((read.settings.vrid.get(), read.settings.priority.get()), (vrid, priority));
        prop_assert_eq!(read.settings.interval.centiseconds(), centiseconds);
        let delay = if priority == 255 { 0 } else { u64::from(delay) };
        prop_assert_eq!(read.settings.preempt_delay.duration().as_micros(), delay * 1_000_000);
        prop_assert_eq!(read.settings.announcing.repeat, repeat);
        let read: Vec<_> = read.addresses.iter().map(|one| (one.address, one.prefix_len)).collect();
        let written: Vec<_> = addresses.iter().map(|&address| (address, prefix)).collect();
        prop_assert_eq!(read, written);
    }

    /// Addresses are those of the standard library, which the core does without.
    #[test]
    fn addresses_are_read_as_the_standard_library_does(text in "[0-9a-f:.]{0,24}|([0-9a-f]{0,5}:){0,9}[0-9a-f]{0,4}") {
        let file = format!("vrrp_instance A {{\ninterface a\nvirtual_router_id 1\nvirtual_ipaddress {{ {text} }}\n}}\n");
        let (plan, _) = whole(file.as_bytes());
        let read = plan.unwrap().routers.first().map(|router| router.addresses[0].address);
        prop_assert_eq!(read, text.parse().ok());
    }
}

/// The time that `whole` takes on a text, and what comes of it.
fn timed(text: &str) -> (Duration, Option<Plan>, Findings) {
    let begun = Instant::now();
    let (plan, findings) = whole(text.as_bytes());
    (begun.elapsed(), plan, findings)
}

/// Far more than an unoptimized build takes on a busy machine, far less than a quadratic one would.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_hundred_thousand_unknown_keywords_take_bounded_time_and_memory() {
    let mut text = String::from("vrrp_instance A {\n");
    for number in 0..100_000 {
        writeln!(text, "virtual_router_ix{number} 1").unwrap();
    }
    text += "}\n";
    let (time, _, findings) = timed(&text);
    assert!(time < SOON, "{time:?}");
    assert_eq!(findings.omitted(), 100_000 - MOST_FINDINGS as u64);
}

#[test]
fn the_largest_files_take_bounded_time() {
    let huge = 4 << 20;
    let nested = "a {\n".repeat(huge / 4);
    let nested_inside = format!("vrrp_instance A {{\n{nested}");
    let braces = format!("vrrp_instance A {{\n{}", "{".repeat(huge));
    let closing = format!("vrrp_instance A x{}", "}".repeat(huge));
    let one_line = format!("vrrp_instance A {{ {}", "word ".repeat(huge / 5));
    let one_word = "x".repeat(huge);
    let one_quote = format!("router_id \"{}", "x".repeat(huge));
    let blank = format!("global_defs{}{{ }}", "\n".repeat(huge));
    let comments = "!#!#\n".repeat(huge / 5);
    let unclosed = "vrrp_instance A {\nvirtual_ipaddress {\n".repeat(huge / 38);
    let quotes = "\"\n".repeat(huge / 2);
    let texts =
        [nested, nested_inside, braces, closing, one_line, one_word, one_quote, blank, comments, unclosed, quotes];
    for text in &texts {
        let (time, ..) = timed(text);
        assert!(time < SOON, "{time:?} for {:?}...", &text[..20]);
    }
}

#[test]
fn four_thousand_instances_are_read_in_bounded_time() {
    let mut text = String::new();
    for number in 0..4096 {
        let (interface, vrid) = (number / 255, number % 255 + 1);
        write!(text, "vrrp_instance V{number} {{\ninterface lan{interface}\nvirtual_router_id {vrid}\n").unwrap();
        writeln!(text, "virtual_ipaddress {{\n10.{interface}.{vrid}.1/24\n10.{interface}.{vrid}.2/24\n}}\n}}").unwrap();
    }
    let (time, plan, findings) = timed(&text);
    assert!(time < SOON, "{time:?}");
    assert_eq!((plan.unwrap().routers.len(), findings.iter().count()), (4096, 0));
}

#[test]
fn the_largest_groups_and_lists_of_servers_take_bounded_time_and_memory() {
    let huge = 1 << 20;
    let service = |number: usize| {
        format!("virtual_server group G {{\nprotocol TCP\nreal_server 10.0.0.1 {}\n}}\n", number % 60_000 + 1)
    };
    let services: String = (0..huge / 80).map(service).collect();
    let wide = format!("virtual_server_group G {{\n{}}}\n{services}", "10.0.0.0/8 80\n".repeat(1000));
    let many = format!("virtual_server_group G {{\n{}}}\n{services}", "192.0.2.1 80\n".repeat(90_000));
    let six = format!("virtual_server_group G {{\n::/0 80\n{}}}\n{services}", "::-ffff 80\n".repeat(1000));
    let inside = |text: &str| format!("virtual_server 192.0.2.1 80 {{\nreal_server 10.0.0.1 80 {{\n{text}");
    let checks = inside(&"TCP_CHECK {\n}\n".repeat(huge / 15));
    let hosts = inside(&format!("SMTP_CHECK {{\nhelo_name {}\n{}", "x".repeat(250), "host {\n}\n".repeat(huge / 9)));
    let statuses = inside(&format!("HTTP_GET {{\nurl {{\nstatus_code {}", "100-599 101-300 ".repeat(huge / 16)));
    let expression = inside(&format!("HTTP_GET {{\nurl {{\nregex \"{}\"\n", "(a|b){1000}".repeat(huge / 11)));
    let expressions =
        inside(&format!("HTTP_GET {{\n{}", "url {\npath /\nregex \"((a|b){1000}){1000}\"\n}\n".repeat(2000)));
    let bytes = inside(&format!("UDP_CHECK {{\npayload {}", "ab ".repeat(huge / 3)));
    let name = format!("virtual_server group {} {{\n}}\n", "x".repeat(huge));
    for text in [wide, many, six, checks, hosts, statuses, expression, expressions, bytes, name] {
        let (time, ..) = timed(&text);
        assert!(time < SOON, "{time:?} for {:?}...", &text[..80]);
    }
}

#[test]
fn what_multiplies_takes_bounded_time_and_memory() {
    let each = |count: u32, line: &dyn Fn(u32) -> String| (0..count).map(line).collect::<String>();
    let address = |n: u32| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let instance = |name: &str, number: u32, addresses: &str| {
        let (lan, vrid) = (number / 255, number % 255 + 1);
        format!(
            "vrrp_instance {name} {{\ninterface lan{lan}\nvirtual_router_id {vrid}\nvirtual_ipaddress {{\n{addresses}}}\n}}\n"
        )
    };
    let instances = each(2000, &|n| instance(&format!("V{n}"), n, "10.0.0.1\n"));
    let (members, tracked) = (each(2000, &|n| format!("V{n}\n")), each(2000, &|n| format!("e{n}\n")));
    let synced =
        format!("{instances}vrrp_sync_group G {{\ngroup {{\n{members}}}\ntrack_interface {{\n{tracked}}}\n}}\n");
    let routes = each(2000, &|n| format!("{} dev e{n} track_group G\n", address(n)));
    let followed = format!("{instances}track_group G {{\ngroup {{\n{members}}}\n}}\nstatic_routes {{\n{routes}}}\n");
    let route = |n| format!("{} dev e{n}\n", address(n));
    let routed = format!("static_routes {{\n{}}}\n", each(100_001, &route));
    let addressed = instance("A", 0, &each(100_001, &|n| format!("{}\n", address(n))));
    let entries = each(50_000, &|n| format!("{} 80\n", address(n)));
    let servers = each(20_000, &|n| format!("real_server {} 80 {{\n}}\n", address(n)));
    let balanced = format!(
        "virtual_server_group G {{\n{entries}}}\nvirtual_server group G {{\nprotocol TCP\nlvs_method DR\n{servers}}}\n"
    );
    let trackers = "more than 100000 trackers of instances, those of a sync group counted for each member";
    let destinations = "more than 1000000 real servers, each counted for each of its services";
    for (text, says) in [
        (synced, trackers),
        (followed, trackers),
        (routed, "more than 100000 routes and rules"),
        (addressed, "more than 100000 virtual addresses"),
        (balanced, destinations),
    ] {
        let (time, _, findings) = timed(&text);
        assert!(time < SOON, "{time:?} for {says}");
        assert!(
            findings.iter().any(|finding| finding.to_string().ends_with(says)),
            "{says}: {:?}",
            findings.iter().next()
        );
    }
    // What is compared with all others.
    let role = format!("real_server_role {{\nvirtual_ipaddress {{\n{}}}\n}}\n", each(100_000, &|n| address(n) + "\n"));
    let delayed = format!("{instances}interface_up_down_delays {{\n{}}}\n", each(100_000, &|n| format!("e{n} 1\n")));
    let led = instance("A", 0, &format!("10.0.0.1\n}}\nvirtual_routes {{\n{}", each(90_000, &route)));
    for (text, what) in [(role, "role"), (delayed, "delays"), (led, "routes")] {
        let (time, _, findings) = timed(&text);
        assert!(time < SOON, "{time:?} for {what}");
        assert!(!findings.has_errors(), "{what}: {:?}", findings.iter().next());
    }
}

#[test]
fn four_thousand_virtual_servers_are_read_in_bounded_time() {
    let mut text = String::new();
    for number in 0..4096 {
        let (high, low) = (number / 256, number % 256);
        write!(text, "virtual_server 10.1.{high}.{low} 80 {{\nprotocol TCP\nlvs_sched rr\n").unwrap();
        for server in 1..=4 {
            writeln!(text, "real_server 10.2.{high}.{server} 80 {{\nTCP_CHECK {{\nconnect_timeout 3\n}}\n}}").unwrap();
        }
        text += "}\n";
    }
    let (time, plan, findings) = timed(&text);
    assert!(time < SOON, "{time:?}");
    assert_eq!((plan.unwrap().lvs.services.len(), findings.iter().count()), (4096, 0));
}

#[test]
fn addresses_that_do_not_fit_are_excluded() {
    let list = |count: u32| (0..count).map(|n| format!("10.1.{}.{}\n", n / 256, n % 256)).collect::<String>();
    let text =
        |list| format!("vrrp_instance A {{\ninterface a\nvirtual_router_id 1\nvirtual_ipaddress {{\n{list}}}\n}}\n");
    let (_, plan, findings) = timed(&text(list(300)));
    let router = &plan.unwrap().routers[0];
    assert_eq!((router.addresses.len(), router.excluded.len(), findings.iter().count()), (255, 45, 1));
    assert_eq!(findings.iter().next().unwrap().line, 260);

    let list = (0..100).map(|n| format!("fe80::{n}/64\n")).collect::<String>();
    let router = &timed(&text(list)).1.unwrap().routers[0];
    assert_eq!((router.addresses.len(), router.excluded.len()), (90, 10));
}

#[test]
fn an_instance_takes_no_memory_but_its_own_few_bytes() {
    assert!(size_of::<Instance<'_>>() <= 320, "{}", size_of::<Instance<'_>>());
    assert!(size_of::<Config<'_>>() <= 320, "{}", size_of::<Config<'_>>());
    assert!(size_of::<Diagnostic<'_>>() <= 128, "{}", size_of::<Diagnostic<'_>>());
}
