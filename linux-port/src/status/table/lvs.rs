//! The services and real servers as a table: what `ipvsadm -Ln` shows, in its words and its order, and what it
//! cannot know.

use std::fmt::Write;
use std::net::SocketAddr;

use steadfast_core::text::Printable;

use super::{age, columns};
use crate::status::Family;
use crate::status::lvs::{Forwarding, Health, Override, Protocol, ServerStatus, ServiceStatus};
use crate::timestamp::Timestamp;

const HEAD: [&str; 9] = [
    "  -> RemoteAddress:Port",
    "Forward",
    "Weight",
    "ActiveConn",
    "InActConn",
    "Health",
    "Checked",
    "Override",
    "Reason",
];

/// The services, under two lines of heads; nothing if there are none.
pub(super) fn services(out: &mut String, services: &[ServiceStatus], now: Timestamp) {
    if services.is_empty() {
        return;
    }
    // The servers of all services have the same columns, though each stands below its service.
    let mut rows = vec![HEAD.map(String::from)];
    rows.extend(services.iter().flat_map(|service| &service.servers).map(|server| row(server, now)));
    let mut text = String::new();
    columns(&mut text, &rows);
    let mut lines = text.lines();

    out.push_str("Prot LocalAddress:Port Scheduler Flags\n");
    let mut line = |out: &mut String| {
        out.push_str(lines.next().unwrap_or_default());
        out.push('\n');
    };
    line(out);
    for service in services {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", Printable(&title(service)));
        for _ in &service.servers {
            line(out);
        }
    }
}

/// `TCP  192.0.2.1:80 rr persistent 300`, and what is wrong with it.
fn title(service: &ServiceStatus) -> String {
    let address = service.address.zip(service.port).map(|(address, port)| SocketAddr::new(address, port).to_string());
    let mark = service.fwmark.map(|mark| match service.family {
        Family::Ipv4 => mark.to_string(),
        Family::Ipv6 => format!("{mark} IPv6"),
    });
    let protocol = match service.protocol {
        Protocol::Tcp => "TCP ",
        Protocol::Udp => "UDP ",
        Protocol::Sctp => "SCTP",
        Protocol::Fwmark => "FWM ",
    };
    let mut title = format!("{protocol} {} {}", address.or(mark).unwrap_or_default(), service.scheduler);
    if !service.flags.is_empty() {
        let _ = write!(title, " ({})", service.flags.join(","));
    }
    if let Some(timeout) = service.persistence_timeout_s {
        let _ = write!(title, " persistent {timeout}");
    }
    if let Some(bits) = service.persistence_granularity {
        let _ = write!(title, " mask {bits}");
    }
    if let Some(engine) = &service.persistence_engine {
        let _ = write!(title, " pe {engine}");
    }
    if service.name.starts_with("group ") {
        let _ = write!(title, "  {}", service.name);
    }
    if !service.in_table {
        title.push_str("  not in the table");
    }
    if !service.quorum {
        let _ = write!(title, "  no quorum: weight {} of {}", service.alive_weight, service.wanted_weight);
    }
    title
}

fn row(server: &ServerStatus, now: Timestamp) -> [String; 9] {
    let forwarding = match server.forwarding {
        Forwarding::Masq => "Masq",
        Forwarding::Route => "Route",
        Forwarding::Tunnel => "Tunnel",
        Forwarding::Local => "Local",
        Forwarding::Bypass => "Bypass",
    };
    let health = match (server.sorry, server.health, server.known) {
        (true, ..) => "sorry",
        (_, Health::Up, true) => "up",
        (_, Health::Up, false) => "up?",
        (_, Health::Down, true) => "down",
        (_, Health::Down, false) => "down?",
    };
    let decree = match server.r#override {
        None => String::new(),
        Some(Override::Drain) => "drain".into(),
        Some(Override::Weight(weight)) => format!("weight {weight}"),
    };
    [
        format!("  -> {}", server.address),
        forwarding.into(),
        server.weight.map_or("-".into(), |weight| weight.to_string()),
        server.active_connections.to_string(),
        server.inactive_connections.to_string(),
        health.into(),
        server.last_check.map_or("-".into(), |at| age(at, now)),
        decree,
        server.reason.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::status::table) fn example() -> ServiceStatus {
        let server = ServerStatus {
            address: ([10, 0, 0, 1], 80).into(),
            forwarding: Forwarding::Route,
            sorry: false,
            health: Health::Up,
            known: true,
            reason: None,
            last_check: Some("2026-11-22T15:27:01.000000Z".parse().unwrap()),
            configured_weight: 1,
            r#override: None,
            weight: Some(1),
            active_connections: 12,
            inactive_connections: 3,
            persistent_connections: 0,
            traffic: None,
        };
        let down = ServerStatus {
            address: ([10, 0, 0, 2], 80).into(),
            health: Health::Down,
            reason: Some("no answer within 5 s".into()),
            weight: None,
            active_connections: 0,
            inactive_connections: 0,
            ..server.clone()
        };
        let sorry = ServerStatus {
            address: ([10, 0, 0, 9], 80).into(),
            forwarding: Forwarding::Masq,
            sorry: true,
            last_check: None,
            ..server.clone()
        };
        ServiceStatus {
            name: "192.0.2.1 80".into(),
            protocol: Protocol::Tcp,
            family: Family::Ipv4,
            address: Some([192, 0, 2, 1].into()),
            port: Some(80),
            fwmark: None,
            scheduler: "sh".into(),
            flags: vec!["sh-port".into()],
            persistence_timeout_s: Some(300),
            persistence_granularity: None,
            persistence_engine: None,
            in_table: true,
            quorum: true,
            alive_weight: 1,
            wanted_weight: 1,
            traffic: None,
            servers: vec![ServerStatus { r#override: Some(Override::Drain), ..server }, down, sorry],
        }
    }

    fn shown(service: &ServiceStatus) -> String {
        let mut out = String::new();
        services(&mut out, std::slice::from_ref(service), "2026-11-22T15:27:04.000000Z".parse().unwrap());
        out
    }

    #[test]
    fn it_reads_like_ipvsadm() {
        let lines = [
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port  Forward  Weight  ActiveConn  InActConn  Health  Checked  Override  Reason",
            "TCP  192.0.2.1:80 sh (sh-port) persistent 300",
            "  -> 10.0.0.1:80         Route    1       12          3          up      3s       drain",
            "  -> 10.0.0.2:80         Route    -       0           0          down    3s                 no answer within 5 s",
            "  -> 10.0.0.9:80         Masq     1       12          3          sorry   -",
        ];
        assert_eq!(shown(&example()).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn what_is_wrong_stands_behind_the_service() {
        let mark = ServiceStatus {
            name: "group WEB\x1b".into(),
            protocol: Protocol::Fwmark,
            family: Family::Ipv6,
            address: None,
            port: None,
            fwmark: Some(3),
            persistence_granularity: Some(64),
            persistence_engine: Some("sip".into()),
            in_table: false,
            quorum: false,
            alive_weight: 1,
            wanted_weight: 3,
            ..example()
        };
        let line = "FWM  3 IPv6 sh (sh-port) persistent 300 mask 64 pe sip  group WEB\\u{1b}  not in the table  \
                    no quorum: weight 1 of 3";
        assert_eq!(shown(&mark).lines().nth(2), Some(line));
    }

    #[test]
    fn without_services_there_is_no_table() {
        let mut out = String::new();
        services(&mut out, &[], Timestamp::default());
        assert_eq!(out, "");
    }
}
