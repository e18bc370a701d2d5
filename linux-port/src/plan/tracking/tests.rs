//! Files with trackers, what they come to, and what is said about them and where.

use std::path::Path;

use super::*;
use crate::check::Findings;
use crate::plan;

const INSTANCE: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n";

/// The plan of a text, and the findings of these lines: `line:column: message`.
fn read(text: &str) -> (TrackingPlan, Vec<String>) {
    let mut findings = Findings::new(Path::new("a.conf"));
    let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
    let said = findings.iter().map(|finding| format!("{}:{}: {}", finding.line, finding.column, finding.message));
    (plan.tracking, said.collect())
}

/// One instance with these lists after these definitions: what bears on it, `kind name weight`, and what is said.
fn instance(definitions: &str, lists: &str) -> (Vec<String>, Vec<String>) {
    let (plan, said) = read(&format!("{definitions}{INSTANCE}{lists}}}\n"));
    (bearings(&plan, "V"), said)
}

fn bearings(plan: &TrackingPlan, router: &str) -> Vec<String> {
    let text = |bearing: &Bearing| {
        let Bearing { tracker: TrackerName { kind, name }, weight, reverse, .. } = bearing;
        format!("{kind} {name} {weight}{}", if *reverse { " reverse" } else { "" })
    };
    plan.bearings.get(router).into_iter().flatten().map(text).collect()
}

#[test]
fn a_script_has_keepaliveds_defaults() {
    let text = "vrrp_script chk {\n script \"/bin/sh -c 'exit 0'\" more\n}\n";
    let (plan, said) = read(&format!("{text}{INSTANCE}track_script {{ chk }}\n}}\n"));
    assert_eq!(said, [""; 0]);
    let Subject::Script(script) = &plan.trackers[0].subject else { panic!("a script") };
    assert_eq!(script.script.words, ["/bin/sh", "-c", "exit 0", "more"]);
    let second = Duration::from_secs(1);
    assert_eq!((script.interval, script.timeout, script.rise, script.fall), (second, second, 1, 1));
    assert!(!script.init_fail);
    let text = text.replace("more\n", "\n interval 3\n rise 2\n fall 4\n init_fail\n weight -5 reverse\n");
    let (plan, said) = read(&format!("{text}{INSTANCE}track_script {{ chk }}\n}}\n"));
    assert_eq!((said, bearings(&plan, "V")), (vec![], vec!["script chk -5 reverse".to_owned()]));
    let Subject::Script(script) = &plan.trackers[0].subject else { panic!("a script") };
    assert_eq!((script.timeout, script.rise, script.fall), (Duration::from_secs(3), 2, 4));
    assert!(script.init_fail);
}

#[test]
fn uses_have_weights_of_their_own() {
    let definitions = "vrrp_script a {\n script /bin/true\n weight 7 reverse\n}\ntrack_file f {\n file /f\n}\n\
                       vrrp_track_process p {\n process x\n weight -254\n}\n";
    let lists = "track_script {\n a weight -3 noreverse\n}\ntrack_file { f }\ntrack_process {\n p\n}\n\
                 track_interface {\n eth1 weight 253 reverse\n eth2\n}\n";
    let (bears, said) = instance(definitions, lists);
    assert_eq!(said, [""; 0]);
    assert_eq!(bears, ["script a -3", "file f 1", "process p -254", "interface eth1 253 reverse", "interface eth2 0"]);
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    let definitions = "vrrp_script a {\n script /bin/true\n}\n";
    for (lists, expected, bears) in [
        ("track_script {\n what\n}\n", "9:2: there is no vrrp_script `what`: it is not tracked", &[][..]),
        ("track_script {\n a\n a weight 2\n}\n", "10:2: `a` is tracked already: this one is left out", &["script a 0"]),
        ("track_script {\n a reverse\n}\n", "9:2: `a` is not tracked: it knows `weight`, not `reverse`", &[]),
        ("track_script {\n a weight\n}\n", "9:2: `a` is not tracked: its `weight` has no number", &[]),
        (
            "track_script {\n a weight -254\n}\n",
            "9:11: the weight of `a` is 253 at most, as is used",
            &["script a -253"],
        ),
        (
            "track_script {\n a weight 3 backwards\n}\n",
            "9:13: a weight is followed by `reverse` or nothing, not `backwards`",
            &["script a 3"],
        ),
        ("track_interface {\n eth0\n}\n", "9:2: `eth0`: an instance follows its own interface anyway", &[]),
        (
            "track_interface {\n much_too_long_a_name\n}\n",
            "9:2: `much_too_long_a_name` is no interface: it is not tracked",
            &[],
        ),
    ] {
        let (bearing, said) = instance(definitions, lists);
        let said: Vec<_> = said.into_iter().filter(|said| !said.contains("nothing tracks")).collect();
        assert_eq!((said, bearing), (vec![expected.to_owned()], bears.iter().map(ToString::to_string).collect()));
    }
    assert_eq!(instance("", "dont_track_primary\ntrack_interface {\n eth0\n}\n").0, ["interface eth0 0"]);
}

#[test]
fn definitions_with_errors_are_left_out() {
    for (definition, expected) in [
        ("vrrp_script a {\n}\n", "1:1: `script` is missing"),
        ("vrrp_script a {\n script /no/such/program\n}\n", "2:9: it is not tracked until a reload finds it"),
        ("vrrp_track_process a {\n}\n", "1:1: `process` is missing"),
        ("vrrp_script a {\n script /bin/true\n interval soon\n}\n", "3:11: "),
        ("vrrp_script a {\n script /bin/true\n rise 0\n}\n", "3:7: "),
        (
            "vrrp_script a {\n script /bin/true\n}\nvrrp_script a {\n script /bin/true\n}\n",
            "4:1: there is a script `a` at 1:1",
        ),
        ("vrrp_track_process a {\n process much_too_long_a_name\n}\n", "1:1: the kernel keeps 15 bytes"),
    ] {
        let (_, said) = instance(definition, "");
        assert!(said.iter().any(|said| said.starts_with(expected)), "{definition}: {said:?}");
    }
    let (bears, said) = instance("vrrp_script a {\n script /no/such/program\n}\n", "track_script { a }\n");
    assert_eq!(bears, [""; 0]);
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn the_members_of_a_group_have_its_trackers_and_no_weights_of_their_own() {
    let definitions = "vrrp_script a {\n script /bin/true\n weight 5\n}\nvrrp_script b {\n script /bin/true\n}\n\
                       track_file f {\n file /f\n}\n";
    let instances = format!("{INSTANCE}track_script {{\n a\n b\n}}\ntrack_file {{\n f\n}}\n}}\n")
        + &INSTANCE.replace("instance V", "instance W").replace("id 1", "id 2")
        + "}\n";
    let group = "vrrp_sync_group G {\n group {\n V\n W\n }\n track_script {\n b\n a weight 3\n }\n";
    let (plan, said) = read(&format!("{definitions}{instances}{group}}}\n"));
    assert_eq!(bearings(&plan, "V"), ["script b 0", "script a 3", "file f 0"]);
    assert_eq!(bearings(&plan, "W"), ["script b 0", "script a 3"]);
    assert_eq!(said.len(), 3, "{said:?}");
    let (plan, said) = read(&format!("{definitions}{instances}{group}sync_group_tracking_weight\n}}\n"));
    assert_eq!(bearings(&plan, "V"), ["script b 0", "script a 3", "file f 1"]);
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn the_owner_of_the_addresses_has_no_weights() {
    let definitions = "vrrp_script a {\n script /bin/true\n weight 5\n}\n";
    let (bears, said) = instance(definitions, "priority 255\ntrack_script {\n a\n}\n");
    assert_eq!(bears, [""; 0]);
    assert!(said[0].starts_with("11:2: `a` is not tracked as it stands here: the priority of the owner"), "{said:?}");
    assert_eq!(instance(definitions, "priority 255\ntrack_script {\n a weight 0\n}\n").0, ["script a 0"]);
}

#[test]
fn processes_are_found_by_what_is_asked() {
    let comparison = |lines: &str| {
        let text = format!("vrrp_track_process p {{\n{lines}\n}}\n{INSTANCE}track_process {{ p }}\n}}\n");
        let (plan, _) = read(&text);
        let Subject::Process(process) = plan.trackers[0].subject.clone() else { panic!("a process") };
        process
    };
    assert_eq!(comparison("process \"a b\"").words, ["a b"]);
    assert_eq!(comparison("process a").comparison, Comparison::Name);
    assert_eq!(comparison("process a\nfull_command").comparison, Comparison::Command);
    assert_eq!(comparison("process a b").comparison, Comparison::Whole);
    assert_eq!(comparison("process a\nparam_match initial").comparison, Comparison::Whole);
    assert_eq!(comparison("process a b\nparam_match initial").comparison, Comparison::Initial);
    assert_eq!(comparison("process a b\nparam_match partial").comparison, Comparison::Partial);
    let process = comparison("process a\nquorum_max 0\ndelay 0.5\nfork_delay 2");
    assert_eq!((process.quorum, process.quorum_max), (0, 0));
    assert_eq!((process.fork_delay, process.terminate_delay), (Duration::from_secs(2), Duration::from_millis(500)));
}

fn effect(weight: i32, reverse: bool, value: Option<Value>) -> (i32, bool) {
    let tracker = TrackerName { kind: Kind::Script, name: "x".into() };
    let (weight, report) = Bearing { tracker, weight, reverse, of_group: false }.effect(value);
    (weight.addition(report), weight.is_fault(report))
}

#[test]
fn weights_are_keepaliveds() {
    let (up, down) = (Some(Value::Up), Some(Value::Down));
    for (weight, when_up, when_down) in [(10, 10, 0), (-10, 0, -10)] {
        assert_eq!(effect(weight, false, up), (when_up, false));
        assert_eq!(effect(weight, false, down), (when_down, false));
        assert_eq!(effect(weight, true, up), (-when_up, false));
        assert_eq!(effect(weight, true, down), (-when_down, false));
        assert_eq!(effect(weight, false, None), (0, false));
    }
    for (reverse, value, fault) in
        [(false, up, false), (false, down, true), (true, up, true), (true, down, false), (false, None, true)]
    {
        assert_eq!(effect(0, reverse, value), (0, fault));
    }
}

#[test]
fn the_number_of_a_file_counts_as_often_as_its_weight_says() {
    for (weight, reverse, number, expected) in [
        (2, false, 10, (20, false)),
        (2, true, 10, (-20, false)),
        (-3, false, 10, (-30, false)),
        (1, false, 0, (0, false)),
        (1, false, 1_000_000, (253, false)),
        (1, false, -253, (-253, false)),
        (1, false, -254, (0, true)),
        (254, false, i64::MIN, (0, true)),
        (0, false, 0, (0, false)),
        (0, false, 7, (0, true)),
        (0, true, 7, (0, false)),
        (0, true, 0, (0, true)),
    ] {
        assert_eq!(effect(weight, reverse, Some(Value::Number(number))), expected, "{weight} {reverse} {number}");
    }
}

/// The probe with these lines, the first of which is line 2, and what is said.
fn probe(lines: &str) -> (Option<ProbeSubject>, TrackingPlan, Vec<String>) {
    let (plan, said) = read(&format!("vrrp_probe p {{\n{lines}\n}}\n{INSTANCE}track_probe {{\n p\n}}\n}}\n"));
    let subject = plan.trackers.first().map(|tracker| match tracker.subject.clone() {
        Subject::Probe(probe) => probe,
        other => panic!("a probe, not {other:?}"),
    });
    (subject, plan, said)
}

#[test]
fn a_probe_has_the_defaults_of_a_script() {
    let (subject, plan, said) = probe("tcp 192.0.2.1 80");
    assert_eq!((said, bearings(&plan, "V")), (vec![], vec!["probe p 0".to_owned()]));
    let subject = subject.unwrap();
    let second = Duration::from_secs(1);
    assert_eq!((subject.interval, subject.timeout, subject.rise, subject.fall), (second, second, 1, 1));
    assert!(!subject.init_fail);
    let target = "192.0.2.1:80".parse().unwrap();
    let question = Question { kind: CheckKind::Tcp, target, source: None, interface: None };
    assert_eq!(subject.probe, Probe::Server(question.clone()));
    assert_eq!(probe("tcp 192.0.2.1:80").0.unwrap().probe, Probe::Server(question));
    let Probe::Server(question) = probe("tcp [2001:db8::1]:80").0.unwrap().probe else { panic!("a server") };
    assert_eq!(question.target.to_string(), "[2001:db8::1]:80");
    assert_eq!(probe("tcp 2001:db8::1 80").0.unwrap().probe, Probe::Server(question));
}

#[test]
fn a_probe_may_say_more() {
    let lines = "http https://192.0.2.1/x\nvirtualhost www.example.org\nstatus_code 200 300-302\nbindto 192.0.2.9\n\
                 bind_if eth7\ninterval 2\ntimeout 0.5\nrise 2\nfall 3\nweight -20 reverse\ninit_fail";
    let (subject, plan, said) = probe(lines);
    assert_eq!((said, bearings(&plan, "V")), (vec![], vec!["probe p -20 reverse".to_owned()]));
    let subject = subject.unwrap();
    assert_eq!((subject.interval, subject.timeout), (Duration::from_secs(2), Duration::from_millis(500)));
    assert_eq!((subject.rise, subject.fall, subject.init_fail), (2, 3, true));
    let Probe::Server(Question { kind: CheckKind::Http(http), target, source, interface }) = subject.probe else {
        panic!("a server")
    };
    assert_eq!((target.to_string().as_str(), interface.as_deref()), ("192.0.2.1:443", Some("eth7")));
    assert_eq!(source, Some("192.0.2.9".parse().unwrap()));
    let url = &http.urls[0];
    assert_eq!((&*url.path, url.host.as_deref()), ("/x", Some("www.example.org")));
    assert_eq!(url.status, [(200, 200), (300, 302)]);
    assert!(http.tls.is_some_and(|tls| tls.send_name));
    assert_eq!(plan.tls_checks().count(), 1);
    let Probe::Process(process) = probe("process nginx\nquorum 2").0.unwrap().probe else { panic!("a process") };
    assert_eq!((process.words, process.comparison, process.quorum), (vec!["nginx".into()], Comparison::Name, 2));
    let route = |lines: &str| probe(lines).0.unwrap().probe;
    assert_eq!(route("default_route"), Probe::DefaultRoute(Family::V4));
    assert_eq!(route("default_route ipv4"), Probe::DefaultRoute(Family::V4));
    assert_eq!(route("default_route ipv6"), Probe::DefaultRoute(Family::V6));
    // One line is enough, as everywhere.
    assert!(read("vrrp_probe p { ping 192.0.2.1 }\n").1[0].starts_with("1:1: nothing tracks the probe `p`"));
}

#[test]
fn a_probe_that_cannot_be_made_is_left_out() {
    for (lines, expected) in [
        ("", "1:1: `vrrp_probe` "),
        ("interval 2", "1:1: `vrrp_probe` "),
        ("tcp", "2:1: "),
        ("tcp 192.0.2.1", "2:5: "),
        ("tcp 192.0.2.1 0", "2:5: "),
        ("tcp www.example.org 80", "2:5: "),
        ("tcp 2001:db8::1:80", "2:5: "),
        ("tcp 192.0.2.1 80\nping 192.0.2.1", "3:1: a vrrp_probe looks at one thing, this one at its `tcp`: `ping` is "),
        ("http http://www.example.org/", "2:6: "),
        ("http 192.0.2.1", "2:6: "),
        ("ping 224.0.0.1", "2:6: "),
        ("ping fe80::1", "2:1: `bind_if` is missing"),
        ("ping 192.0.2.1\nbindto 2001:db8::1", "3:1: "),
        ("ping 192.0.2.1\nbind_if much_too_long_a_name", "3:9: "),
        ("default_route both", "2:15: "),
        ("process", "2:1: "),
    ] {
        let (subject, _, said) = probe(lines);
        assert_eq!(subject, None, "{lines}");
        assert!(said.len() == 1 && said[0].starts_with(expected), "{lines}: {said:?}");
    }
}

#[test]
fn what_has_no_effect_on_a_probe_is_said() {
    for (lines, expected) in [
        ("ping 192.0.2.1\nstatus_code 200", "3:1: `status_code` has no effect: a probe of `ping` does not take it"),
        ("default_route\ntimeout 1", "3:1: `timeout` has no effect: a probe of `default_route` does not take it"),
        ("tcp 192.0.2.1 80\nquorum 2", "3:1: `quorum` has no effect: a probe of `tcp` does not take it"),
        ("interval 1\ntcp 192.0.2.1 80\ntimeout 2", "4:1: `timeout` is longer than `interval`: "),
        ("tcp 192.0.2.1 80 x", "2:18: "),
        ("tcp 192.0.2.1 80\ninterval soon", "3:10: "),
        ("tcp 192.0.2.1 80\nfal 2", "3:1: unknown keyword `fal`; did you mean `fall`?"),
        ("process much_too_long_a_name", "2:1: the kernel keeps 15 bytes"),
    ] {
        let (subject, _, said) = probe(lines);
        assert!(subject.is_some(), "{lines}");
        assert!(said.len() == 1 && said[0].starts_with(expected), "{lines}: {said:?}");
    }
    let (bears, said) = instance("vrrp_probe p {\n default_route\n}\n", "track_probe {\n what\n}\n");
    assert_eq!(bears, [""; 0]);
    assert_eq!(
        said,
        [
            "1:1: nothing tracks the probe `p`: it is not looked at",
            "9:2: there is no vrrp_probe `what`: it is not tracked"
        ]
    );
}
