//! What is on the page of metrics: the status document's facts under names of the conventions (snake case, base units,
//! `_total`), family by family. Nothing is decided or counted here.

use std::net::SocketAddr;

use steadfast_core::counters::{AuthCounters, GlobalCounters, RouterCounters};
use steadfast_core::time::Duration;

use super::measured::Measured;
use super::text::{Format, Kind, Seconds, Writer, since_1970};
use crate::status::lvs::{Health, Protocol, ServerStatus, ServiceStatus, Traffic};
use crate::status::{Counters, Family, KeptOut, RouterStatus, Snapshot, State};

/// What the agent counts besides the core.
const BESIDE: &[(&str, &str)] = &[
    ("steadfast-events-lost", "Events that came faster than they could be told of."),
    ("steadfast-notify-scripts", "Notification scripts that were run."),
    ("steadfast-notify-scripts-failed", "Notification scripts that failed."),
    ("steadfast-notify-scripts-killed", "Notification scripts that took too long."),
    ("steadfast-notify-scripts-dropped", "Notification scripts that were not run, because too many waited."),
    ("steadfast-notify-lines", "Lines written to FIFOs."),
    ("steadfast-notify-lines-dropped", "Lines for FIFOs that were not written, because nobody read."),
    ("steadfast-notify-dropped", "Notifications that were dropped, because too many waited."),
    ("steadfast-notify-mails", "Mails that were handed to a server."),
    ("steadfast-notify-mails-not-sent", "Mails that were not."),
];

/// What the director of LVS counts.
const DIRECTOR: &[(&str, &str)] = &[
    ("check-attempts", "Attempts of checks."),
    ("checks-put-off", "Checks that were put off for want of something here."),
    ("table-looks", "Looks at the kernel's IPVS table."),
    ("table-writes", "Changes of the kernel's IPVS table."),
    ("table-repairs", "Changes of the kernel's IPVS table that set right what somebody else had changed."),
    ("table-refusals", "Changes of the kernel's IPVS table that the kernel refused."),
    ("director-restarts", "Restarts of the director after a mistake of its own."),
];

/// The page of a snapshot. It will have about `length` bytes.
pub(super) fn page(snapshot: &Snapshot, format: Format, length: usize) -> String {
    let mut writer = Writer::new(format, length);
    let build = [("version", env!("CARGO_PKG_VERSION"))];
    writer.family(Kind::Info, "build", "The agent's version.").sample(&build, 1);
    if let Some(measured) = &snapshot.measured {
        agent(&mut writer, measured);
    }
    routers(&mut writer, &snapshot.routers);
    if let Some(measured) = &snapshot.measured {
        measured_routers(&mut writer, measured);
    }
    let counters = || GlobalCounters::HELP.iter().chain(BESIDE).copied();
    count(&mut writer, "", counters(), &[("", &snapshot.global.counters)]);
    rest(&mut writer, snapshot);
    services(&mut writer, &snapshot.services);
    count(&mut writer, "director_", DIRECTOR.iter().copied(), &[("", &snapshot.director.counters)]);
    writer.finish()
}

fn agent(writer: &mut Writer, measured: &Measured) {
    let Measured { started, configuration, lateness, .. } = measured;
    let mut gauge = |name, help, value: &dyn std::fmt::Display| {
        writer.family(Kind::Gauge, name, help).sample(&[], value);
    };
    gauge("start_time_seconds", "When the agent started, since 1970.", &since_1970(*started));
    let generation = &configuration.generation;
    gauge("configuration_generation", "How many configurations have been in force, this one included.", generation);
    gauge(
        "configuration_applied_timestamp_seconds",
        "When the configuration came into force, since 1970.",
        &since_1970(configuration.applied),
    );
    gauge(
        "configuration_last_reload_successful",
        "Whether the configuration that was read last is in force.",
        &u8::from(!configuration.last_refused),
    );
    let help = "Configurations that were read again and refused.";
    writer.family(Kind::Counter, "configuration_reloads_refused", help).sample(&[], configuration.refused);
    let help = "How late periodic Advertisements left, behind the time when each was due.";
    writer.family(Kind::Histogram, "advertisement_lateness_seconds", help).histogram(lateness);
}

fn routers(writer: &mut Writer, routers: &[RouterStatus]) {
    let mut info = writer.family(Kind::Info, "router", "A Virtual Router, by its vrrp_instance name.");
    for router in routers {
        let (vrid, version) = (router.vrid.to_string(), router.version.to_string());
        info.sample(
            &[
                ("router", &router.name),
                ("interface", &router.interface),
                ("vrid", &vrid),
                ("family", family(router.family)),
                ("version", &version),
                ("sync_group", router.sync_group.as_deref().unwrap_or_default()),
            ],
            1,
        );
    }
    let mut states = writer.family(Kind::StateSet, "router_state", "The state of RFC 9568 section 6.4.");
    for router in routers {
        states.states(&[("router", &router.name)], &STATES, Some(state(router.state)));
    }
    let mut kept_out = writer.family(Kind::Gauge, "router_kept_out", "1 while something keeps it from taking part.");
    for router in routers {
        if let Some(reason) = router.kept_out {
            kept_out.sample(&[("router", &router.name), ("reason", self::kept_out(reason))], 1);
        }
    }
    let mut gauge = |name, help, value: fn(&RouterStatus) -> u8| {
        let mut family = writer.family(Kind::Gauge, name, help);
        routers.iter().for_each(|router| family.sample(&[("router", &router.name)], value(router)));
    };
    gauge("router_priority", "The configured priority.", |router| router.priority);
    let help = "The priority that takes part in the election.";
    gauge("router_effective_priority", help, |router| router.effective_priority);
    let mut gauge = |name, help, value: fn(&RouterStatus) -> Duration| {
        let mut family = writer.family(Kind::Gauge, name, help);
        routers.iter().for_each(|router| family.sample(&[("router", &router.name)], Seconds(value(router))));
    };
    gauge("router_advertisement_interval_seconds", "How often it advertises while Active.", |router| {
        Duration::from_millis(router.advertisement_interval_ms)
    });
    gauge("router_active_down_interval_seconds", "How long the Active may be silent.", |router| {
        router.active_down_interval_ms
    });
    let help = "When it last changed its state, since 1970.";
    let mut changed = writer.family(Kind::Gauge, "router_last_transition_timestamp_seconds", help);
    for router in routers {
        if let Some(last) = &router.last_transition {
            changed.sample(&[("router", &router.name)], since_1970(last.at));
        }
    }
    let counters = RouterCounters::HELP.iter().chain(AuthCounters::HELP).copied();
    let places: Vec<_> = routers.iter().map(|router| (&*router.name, &router.counters)).collect();
    count(writer, "router_", counters, &places);
}

fn measured_routers(writer: &mut Writer, measured: &Measured) {
    let routers = &measured.routers;
    let help = "Changes of state, by the states and the reason.";
    let mut transitions = writer.family(Kind::Counter, "router_transitions", help);
    for router in routers {
        for (passage, times) in &router.passages {
            let (from, to, reason) = (passage.from.as_str(), passage.to.as_str(), passage.reason.as_str());
            let labels = [("router", &*router.name), ("from", from), ("to", to), ("reason", reason)];
            transitions.sample(&labels, times);
        }
    }
    let help = "For how long another Active was heard while it was Active.";
    let mut dual = writer.family(Kind::Counter, "router_dual_active_seconds", help);
    for router in routers {
        dual.sample(&[("router", &router.name)], Seconds(router.dual_active));
    }
    let help =
        "By how much the intervals between the Advertisements of the Active that it follows are off, on average.";
    let mut jitter = writer.family(Kind::Gauge, "router_active_jitter_seconds", help);
    for router in routers {
        if let Some(span) = router.jitter {
            jitter.sample(&[("router", &router.name)], Seconds(span));
        }
    }
}

/// A family for each counter that one of the places has, in the order of `known`. A place has a name, or it is the only
/// one.
fn count<'a>(
    writer: &mut Writer,
    prefix: &str,
    known: impl Iterator<Item = (&'a str, &'a str)>,
    places: &[(&str, &Counters)],
) {
    for (at, (name, help)) in known.enumerate() {
        let named = metric(prefix, name);
        let mut family = writer.family(Kind::Counter, &named, help);
        for (place, counters) in places {
            // They are in the order in which they are known, so that it is seldom looked for.
            let here = counters.0.get(at).filter(|(found, _)| found == name).map(|(_, value)| *value);
            let Some(value) = here.or_else(|| counters.get(name)) else { continue };
            let label = [("router", *place)];
            family.sample(if place.is_empty() { &[] } else { &label }, value);
        }
    }
}

/// The name of a counter, in the words of the conventions.
fn metric(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.strip_prefix("steadfast-").unwrap_or(name).replace('-', "_"))
}

fn rest(writer: &mut Writer, snapshot: &Snapshot) {
    let mut states = writer.family(Kind::StateSet, "group_state", "The state of all members of a sync group.");
    for group in &snapshot.groups {
        states.states(&[("sync_group", &group.name)], &STATES, group.state.map(state));
    }
    let mut up = writer.family(Kind::Gauge, "interface_up", "Whether Advertisements can go out.");
    for interface in &snapshot.interfaces {
        up.sample(&[("interface", &interface.name)], u8::from(interface.up));
    }
    let mut up = writer.family(Kind::Gauge, "tracker_up", "Whether what it looks at works, once that is known.");
    for tracker in &snapshot.trackers {
        if let Some(works) = tracker.up {
            let kind = tracker.kind.to_string();
            up.sample(&[("tracker", &tracker.name), ("kind", &kind)], u8::from(works));
        }
    }
    let mut number = writer.family(Kind::Gauge, "tracker_file_number", "The number in a file.");
    for tracker in &snapshot.trackers {
        if let Some(found) = tracker.number {
            number.sample(&[("tracker", &tracker.name)], found);
        }
    }
}

/// A service with its labels.
struct Service<'a> {
    status: &'a ServiceStatus,
    address: String,
}

impl<'a> Service<'a> {
    fn new(status: &'a ServiceStatus) -> Self {
        let address = status.address.zip(status.port).map(|(address, port)| SocketAddr::new(address, port).to_string());
        let address = address.or_else(|| status.fwmark.map(|mark| mark.to_string()));
        Self { status, address: address.unwrap_or_default() }
    }

    fn labels(&self) -> [(&str, &str); 4] {
        let protocol = match self.status.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
            Protocol::Fwmark => "fwmark",
        };
        let family = family(self.status.family);
        [("service", &self.status.name), ("protocol", protocol), ("family", family), ("address", &self.address)]
    }
}

/// A real server of a service with its labels.
struct Server<'a> {
    status: &'a ServerStatus,
    service: &'a Service<'a>,
    address: String,
}

impl Server<'_> {
    fn labels(&self) -> [(&str, &str); 6] {
        let [name, protocol, family, address] = self.service.labels();
        let role = if self.status.sorry { "sorry" } else { "real" };
        [name, protocol, family, address, ("destination", &self.address), ("role", role)]
    }
}

/// What went through a service or a real server, as the kernel has counted it.
type Count = (&'static str, &'static str, fn(&Traffic) -> u64);
const TRAFFIC: [Count; 5] = [
    ("connections", "Connections that were scheduled.", |traffic| traffic.connections),
    ("in_packets", "Packets from clients.", |traffic| traffic.packets_in),
    ("out_packets", "Packets from servers that came this way.", |traffic| traffic.packets_out),
    ("in_bytes", "Bytes from clients.", |traffic| traffic.bytes_in),
    ("out_bytes", "Bytes from servers that came this way.", |traffic| traffic.bytes_out),
];

fn services(writer: &mut Writer, services: &[ServiceStatus]) {
    let services: Vec<_> = services.iter().map(Service::new).collect();
    let mut gauge = |name, help, value: fn(&ServiceStatus) -> u64| {
        let mut family = writer.family(Kind::Gauge, name, help);
        services.iter().for_each(|service| family.sample(&service.labels(), value(service.status)));
    };
    gauge("service_in_table", "Whether the kernel's IPVS table has it.", |service| service.in_table.into());
    gauge("service_quorum", "Whether the weight that is alive is enough.", |service| service.quorum.into());
    gauge("service_alive_weight", "The weight that is alive.", |service| service.alive_weight);
    gauge("service_wanted_weight", "The weight that is wanted.", |service| service.wanted_weight);
    for (name, help, value) in TRAFFIC {
        let name = format!("service_{name}");
        let mut family = writer.family(Kind::Counter, &name, help);
        for service in &services {
            if let Some(traffic) = &service.status.traffic {
                family.sample(&service.labels(), value(traffic));
            }
        }
    }
    let mut servers = Vec::new();
    for service in &services {
        let all = service.status.servers.iter();
        servers.extend(all.map(|status| Server { status, service, address: status.address.to_string() }));
    }
    destinations(writer, &servers);
}

fn destinations(writer: &mut Writer, servers: &[Server<'_>]) {
    let mut gauge = |name, help, value: fn(&ServerStatus) -> Option<u64>| {
        let mut family = writer.family(Kind::Gauge, name, help);
        for server in servers {
            if let Some(value) = value(server.status) {
                family.sample(&server.labels(), value);
            }
        }
    };
    // The sorry server is not checked.
    gauge("destination_up", "Whether it is taken for one that answers.", |server| {
        (!server.sorry).then_some((server.health == Health::Up).into())
    });
    gauge("destination_known", "Whether all its checks have said so.", |server| {
        (!server.sorry).then_some(server.known.into())
    });
    gauge("destination_configured_weight", "The weight in the file.", |server| Some(server.configured_weight.into()));
    gauge("destination_weight", "The weight in the kernel's IPVS table, if it is there.", |server| {
        server.weight.map(u64::from)
    });
    gauge("destination_overridden", "1 while an administrator has drained or weighed it.", |server| {
        server.r#override.map(|_| 1)
    });
    gauge("destination_active_connections", "Connections that are open.", |server| {
        Some(server.active_connections.into())
    });
    gauge("destination_inactive_connections", "Connections in any other state.", |server| {
        Some(server.inactive_connections.into())
    });
    gauge("destination_persistent_connections", "Clients that are kept with it.", |server| {
        Some(server.persistent_connections.into())
    });
    let help = "When one of its checks was last done, since 1970.";
    let mut checked = writer.family(Kind::Gauge, "destination_last_check_timestamp_seconds", help);
    for server in servers {
        if let Some(at) = server.status.last_check {
            checked.sample(&server.labels(), since_1970(at));
        }
    }
    for (name, help, value) in TRAFFIC {
        let name = format!("destination_{name}");
        let mut family = writer.family(Kind::Counter, &name, help);
        for server in servers {
            if let Some(traffic) = &server.status.traffic {
                family.sample(&server.labels(), value(traffic));
            }
        }
    }
}

const STATES: [&str; 3] = ["initialize", "backup", "active"];

const fn state(state: State) -> &'static str {
    match state {
        State::Initialize => "initialize",
        State::Backup => "backup",
        State::Active => "active",
    }
}

const fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

const fn kept_out(reason: KeptOut) -> &'static str {
    match reason {
        KeptOut::Drained => "drained",
        KeptOut::Stopping => "stopping",
        KeptOut::Interface => "interface",
        KeptOut::SourceAddress => "source-address",
        KeptOut::Tracker => "tracker",
        KeptOut::StartupDelay => "startup-delay",
        KeptOut::SyncGroup => "sync-group",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::measured::{Configuration, Histogram, Passage, RouterMeasured};
    use crate::status::lvs::Forwarding;
    use crate::status::tests::example;
    use steadfast_core::agent::{self, Reason};

    /// The example of the status document, with what is measured and a service.
    fn snapshot() -> Snapshot {
        let mut snapshot = example();
        let name = snapshot.routers[0].name.clone();
        let mut lateness = Histogram::default();
        lateness.note(Duration::from_micros(70));
        let passage = Passage { from: agent::State::Backup, to: agent::State::Active, reason: Reason::NoResponse };
        snapshot.measured = Some(Box::new(Measured {
            started: "2026-11-22T15:27:00.000000Z".parse().unwrap(),
            configuration: Configuration { generation: 3, ..Configuration::default() },
            lateness,
            routers: vec![RouterMeasured {
                name,
                passages: vec![(passage, 2)],
                dual_active: Duration::from_millis(1_500),
                jitter: Some(Duration::from_micros(42)),
            }],
        }));
        let traffic = Some(Traffic { connections: 5, bytes_in: 600, ..Traffic::default() });
        let server = ServerStatus {
            address: "10.0.0.1:80".parse().unwrap(),
            forwarding: Forwarding::Route,
            sorry: false,
            health: Health::Down,
            known: true,
            reason: Some("connection refused".into()),
            last_check: snapshot.routers[0].last_transition.as_ref().map(|last| last.at),
            configured_weight: 4,
            r#override: None,
            weight: Some(0),
            active_connections: 3,
            inactive_connections: 2,
            persistent_connections: 1,
            traffic,
        };
        snapshot.services.push(ServiceStatus {
            name: "group \"WEB\"".into(),
            protocol: Protocol::Tcp,
            family: Family::Ipv6,
            address: Some("2001:db8::1".parse().unwrap()),
            port: Some(80),
            fwmark: None,
            scheduler: "rr".into(),
            flags: Vec::new(),
            persistence_timeout_s: None,
            persistence_granularity: None,
            persistence_engine: None,
            in_table: true,
            quorum: false,
            alive_weight: 0,
            wanted_weight: 1,
            traffic,
            servers: vec![server],
        });
        snapshot
    }

    #[test]
    fn every_fact_has_its_line() {
        let page = page(&snapshot(), Format::OpenMetrics, 0);
        let service =
            concat!("{service=\"group \\\"WEB\\\"\",protocol=\"tcp\",family=\"ipv6\",", "address=\"[2001:db8::1]:80\"");
        let destination = format!("{service},destination=\"10.0.0.1:80\",role=\"real\"}}");
        for line in [
            "steadfast_configuration_generation 3",
            "steadfast_start_time_seconds 1795361220.000000",
            "steadfast_advertisement_lateness_seconds_bucket{le=\"0.0001\"} 1",
            "steadfast_router_info{router=\"gw\",interface=\"eth0\",vrid=\"51\",family=\"ipv4\",version=\"3\",\
             sync_group=\"\"} 1",
            "steadfast_router_state{router=\"gw\",steadfast_router_state=\"backup\"} 1",
            "steadfast_router_state{router=\"gw\",steadfast_router_state=\"active\"} 0",
            "steadfast_router_active_down_interval_seconds{router=\"gw\"} 3.609375",
            "steadfast_router_advertisement_rcvd_total{router=\"gw\"} 7",
            "steadfast_router_transitions_total{router=\"gw\",from=\"backup\",to=\"active\",reason=\"no-response\"} 2",
            "steadfast_router_dual_active_seconds_total{router=\"gw\"} 1.500000",
            "steadfast_router_active_jitter_seconds{router=\"gw\"} 0.000042",
            "steadfast_checksum_errors_total 1",
            "steadfast_interface_up{interface=\"eth0\"} 1",
            &format!("steadfast_service_in_bytes_total{service}}} 600"),
            &format!("steadfast_destination_up{destination} 0"),
            &format!("steadfast_destination_weight{destination} 0"),
            &format!("steadfast_destination_active_connections{destination} 3"),
            &format!("steadfast_destination_connections_total{destination} 5"),
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line} in\n{page}");
        }
    }

    #[test]
    fn counters_are_found_wherever_they_stand() {
        let counters: Counters = [("steadfast-b", 2), ("a-c", 1)].into_iter().collect();
        let mut writer = Writer::new(Format::Prometheus, 0);
        let known = [("a-c", "A."), ("steadfast-b", "B."), ("d", "D.")];
        count(&mut writer, "router_", known.into_iter(), &[("gw", &counters)]);
        let page = writer.finish();
        let lines: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["steadfast_router_a_c_total{router=\"gw\"} 1", "steadfast_router_b_total{router=\"gw\"} 2"]);
    }
}
