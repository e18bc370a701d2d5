//! The page of metrics: what status shows, in formats that those who wrote them take; for whoever asks as HTTP wants it;
//! and no socket without the option.

use std::net::SocketAddr;
use std::time::Duration;

use steadfast_tests::lab::Lan;
use steadfast_tests::lab::clock::wait_for;
use steadfast_tests::lab::engine::Daemon;
use steadfast_tests::lab::hostile::lower_priority;
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::namespace::Namespace;
use steadfast_tests::lab::scrape::{Answer, OLD_REQUEST, REQUEST, ask, ask_file, families, promtool};
use steadfast_tests::lab::spec::Spec;

use super::{OTHER, PATIENCE, ROUTER};

const ATTACKER: usize = 2;
const ADDRESS: &str = "127.0.0.1:9165";

/// What Grafana shows of it.
const DASHBOARD: &str = include_str!("../../../linux-port/packaging/grafana.json");

/// A web server that is not there.
const SERVICE: &str = "virtual_server 10.9.0.100 80 {\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n\
                       \n    real_server 10.9.0.1 81 {\n        TCP_CHECK {\n            connect_timeout 1\n            warmup 0\n        }\n    }\n}\n";

/// How many TCP ports a namespace listens on.
fn listening(place: &Namespace) -> usize {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let text = place.enter(|| read("/proc/thread-self/net/tcp") + &read("/proc/thread-self/net/tcp6"));
    text.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A")).count()
}

pub(super) fn page() {
    let lan = Lan::new(&["router", "other", "attacker"]);
    let place = &lan.host(ROUTER).namespace;
    let spec = Spec::v3(10);
    let active = Daemon::start_serving(&lan, ROUTER, &spec.text(200), ADDRESS);
    active.wait_state("active", PATIENCE);
    let file = lan.folder().join("metrics.sock");
    let text = format!("{}{SERVICE}", spec.text(100));
    let mut backup = Daemon::start_serving(&lan, OTHER, &text, &format!("unix:{}", file.display()));
    backup.wait_state("backup", PATIENCE);
    assert_eq!((listening(place), listening(&lan.host(OTHER).namespace)), (1, 0));

    let address: SocketAddr = ADDRESS.parse().expect("an address");
    let asked = |request: &str| ask(place, address, request).expect("an answer");
    let from_file = || ask_file(&file, REQUEST).expect("an answer");
    let name = active.status().expect("a status")["routers"][0]["name"].as_str().expect("a name").to_owned();
    let of = |family: &str| format!("steadfast_router_{family}{{router=\"{name}\"}}");

    // What is counted and measured is there, and nothing of status is missing.
    let page = asked(REQUEST);
    assert!(page.head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0"), "{}", page.head);
    complete(&page, &active);
    assert_eq!(page.must(&of("effective_priority")), 200.0);
    assert_eq!(page.must(&of("advertisement_interval_seconds")), 0.1);
    let state = |state: &str| format!("steadfast_router_state{{router=\"{name}\",steadfast_router_state=\"{state}\"}}");
    assert_eq!((page.must(&state("active")), page.must(&state("backup"))), (1.0, 0.0));
    let transition = "from=\"backup\",to=\"active\",reason=\"no-response\"";
    assert_eq!(page.must(&format!("steadfast_router_transitions_total{{router=\"{name}\",{transition}}}")), 1.0);
    assert_eq!(page.must("steadfast_configuration_generation"), 1.0);
    let count = "steadfast_advertisement_lateness_seconds_count";
    let before = page.must(count);
    wait_for("Advertisements that are measured", PATIENCE, || {
        (asked(REQUEST).must(count) >= before + 5.0).then_some(())
    });
    let labels = "service=\"10.9.0.100 80\",protocol=\"tcp\",family=\"ipv4\",address=\"10.9.0.100:80\"";
    let server = format!("steadfast_destination_up{{{labels},destination=\"10.9.0.1:81\",role=\"real\"}}");
    let page =
        wait_for("a server that is down", PATIENCE, || Some(from_file()).filter(|page| page.must(&server) == 0.0));
    complete(&page, &backup);
    assert_eq!(page.must(&state("backup")), 1.0);
    let jitter = page.must(&of("active_jitter_seconds"));
    assert!(jitter < 0.1, "{jitter}");
    assert_eq!(page.must(&format!("steadfast_service_quorum{{{labels}}}")), 0.0);
    assert!(page.must("steadfast_director_check_attempts_total") >= 1.0);

    // Those who wrote the formats take it.
    for page in [asked(REQUEST), page] {
        match families(&page.body) {
            Ok(count) => assert!(count > 40, "only {count} families"),
            Err(why) => println!("skipped: {why}"),
        }
    }
    for page in [asked(OLD_REQUEST), ask_file(&file, OLD_REQUEST).expect("an answer")] {
        assert!(page.head.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{}", page.head);
        if let Err(why) = promtool(&page.body) {
            println!("skipped: {why}");
        }
    }

    // The dashboard asks for nothing else. A connection is counted only where there is IPVS.
    let pages = [asked(OLD_REQUEST).body, ask_file(&file, OLD_REQUEST).expect("an answer").body].concat();
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    for name in DASHBOARD.split(|character| !is_name(character)).filter(|word| word.starts_with("steadfast_")) {
        let is_known = pages.contains(&format!("\n{name}{{")) || pages.contains(&format!("\n{name} "));
        let is_more = ["steadfast_", "steadfast_router_state", "steadfast_service_connections_total"].contains(&name);
        assert!(is_known || is_more, "{name} is in the dashboard, and not on the page");
    }

    // HTTP.
    for (request, status) in [
        ("HEAD /metrics HTTP/1.0\r\n\r\n", "200 OK"),
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("\x16\x03\x01\x02\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = asked(request);
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {}", answer.head);
        assert!(answer.body.len() < 100, "{request}: {}", answer.body);
    }

    // Another Active, for a second.
    let frame = lower_priority(&spec, lan.host(ATTACKER));
    inject(&lan.host(ATTACKER).namespace, &[frame], 20, Duration::from_secs(1));
    let seconds = asked(REQUEST).must(&of("dual_active_seconds_total"));
    assert!((0.5..1.5).contains(&seconds), "{seconds} s of two that are Active");

    // Configurations.
    active.reload_and_wait(&spec.text(210), PATIENCE);
    assert_eq!(asked(REQUEST).must("steadfast_configuration_generation"), 2.0);
    active.reload("vrrp_instance {");
    let page = wait_for("a refused configuration", PATIENCE, || {
        Some(asked(REQUEST)).filter(|page| page.must("steadfast_configuration_reloads_refused_total") == 1.0)
    });
    assert_eq!(page.must("steadfast_configuration_generation"), 2.0);
    assert_eq!(page.must("steadfast_configuration_last_reload_successful"), 0.0);
    assert_eq!(page.must(&of("effective_priority")), 210.0);

    backup.terminate();
    assert_eq!(backup.process.wait(PATIENCE), Some(0), "{}", backup.process.log());
    assert!(!file.exists(), "the socket is left behind");
}

/// Every counter of the status document is on the page.
#[track_caller]
fn complete(page: &Answer, daemon: &Daemon) {
    let status = daemon.status().expect("a status");
    let router = &status["routers"][0];
    let label = format!("{{router=\"{}\"}}", router["name"].as_str().expect("a name"));
    for (prefix, label, counters) in [
        ("router_", label.as_str(), &router["counters"]),
        ("", "", &status["global"]["counters"]),
        ("director_", "", &status["director"]["counters"]),
    ] {
        for counter in counters.as_object().expect("an object").keys() {
            let name = counter.strip_prefix("steadfast-").unwrap_or(counter).replace('-', "_");
            page.must(&format!("steadfast_{prefix}{name}_total{label}"));
        }
    }
}
