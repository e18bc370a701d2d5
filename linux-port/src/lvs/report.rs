//! What status shows of LVS: the pools' facts beside what the kernel has counted. Values in, values out; who has
//! them is the director.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::control::command::ServerReport;
use crate::ipvs::row::{self, DestinationKey, Forwarding, ServiceKey};
use crate::ipvs::statistics::{Counters, DestinationStatistics, ServiceStatistics};
use crate::lvs::pool::{Health, Override, Pool};
use crate::status::lvs::{self, Protocol, ServerStatus, ServiceStatus, Traffic};
use crate::timestamp::Timestamp;

/// The services of the kernel's table as they were counted, by their keys.
#[derive(Debug, Default)]
pub struct Counted<'a>(HashMap<ServiceKey, &'a ServiceStatistics>);

impl<'a> Counted<'a> {
    /// Those of `statistics`.
    pub fn new(statistics: &'a [ServiceStatistics]) -> Self {
        Self(statistics.iter().map(|service| (service.service.key, service)).collect())
    }

    fn destination(&self, service: ServiceKey, key: DestinationKey) -> Option<&'a DestinationStatistics> {
        self.0.get(&service)?.destinations.iter().find(|counted| counted.destination.key == key)
    }
}

/// The services of a pool. `last_check` says when a server, by its number in the plan, was last checked.
pub fn services(
    pool: &Pool,
    counted: &Counted<'_>,
    last_check: impl Fn(usize) -> Option<Timestamp>,
) -> Vec<ServiceStatus> {
    let name: Arc<str> = pool.plan().name.as_str().into();
    let status = |service: row::Service| {
        let key = service.key;
        let kernels = counted.0.get(&key);
        let (protocol, address, port, fwmark) = match key {
            ServiceKey::Address { protocol, address, port } => {
                let protocol = match protocol {
                    row::Protocol::Tcp => Protocol::Tcp,
                    row::Protocol::Udp => Protocol::Udp,
                    row::Protocol::Sctp => Protocol::Sctp,
                };
                (protocol, Some(address), Some(port), None)
            }
            ServiceKey::Mark { mark, .. } => (Protocol::Fwmark, None, None, Some(mark)),
        };
        let whole = if key.family() == steadfast_core::types::Family::V4 { 32 } else { 128 };
        let persistence = service.persistence.as_ref();
        ServiceStatus {
            name: Arc::clone(&name),
            protocol,
            family: key.family().into(),
            address,
            port,
            fwmark,
            flags: flags(&service),
            persistence_timeout_s: persistence.map(|persistence| persistence.timeout),
            persistence_granularity: persistence
                .map(|persistence| persistence.granularity)
                .filter(|&bits| bits != whole),
            persistence_engine: persistence.and_then(|persistence| persistence.engine.clone()),
            scheduler: service.scheduler,
            in_table: kernels.is_some(),
            quorum: pool.has_quorum(),
            alive_weight: pool.alive_weight(),
            wanted_weight: pool.wanted_weight(),
            traffic: kernels.map(|kernels| traffic(&kernels.counters)),
            servers: servers(pool, key, counted, &last_check),
        }
    };
    pool.services().map(status).collect()
}

/// The real servers and the sorry server of one service of a pool.
fn servers(
    pool: &Pool,
    service: ServiceKey,
    counted: &Counted<'_>,
    last_check: &impl Fn(usize) -> Option<Timestamp>,
) -> Vec<ServerStatus> {
    let row = |key: DestinationKey, forwarding: Forwarding, weight: u32| {
        let kernels = counted.destination(service, key);
        ServerStatus {
            address: SocketAddr::new(key.address, key.port),
            forwarding: match kernels.map_or(forwarding, |kernels| kernels.destination.forwarding) {
                Forwarding::Masquerade => lvs::Forwarding::Masq,
                Forwarding::DirectRoute => lvs::Forwarding::Route,
                Forwarding::Tunnel(_) => lvs::Forwarding::Tunnel,
                Forwarding::Local => lvs::Forwarding::Local,
                Forwarding::Bypass => lvs::Forwarding::Bypass,
            },
            sorry: false,
            health: lvs::Health::Up,
            known: true,
            reason: None,
            last_check: None,
            configured_weight: weight,
            r#override: None,
            weight: kernels.map(|kernels| kernels.destination.weight),
            active_connections: kernels.map_or(0, |kernels| kernels.active),
            inactive_connections: kernels.map_or(0, |kernels| kernels.inactive),
            persistent_connections: kernels.map_or(0, |kernels| kernels.persistent),
            traffic: kernels.map(|kernels| traffic(&kernels.counters)),
        }
    };
    let real = pool.view().enumerate().map(|(number, view)| ServerStatus {
        health: health(view.health),
        known: view.known,
        reason: (view.health == Health::Down).then(|| view.reason.to_owned()),
        last_check: last_check(number),
        r#override: view.decree.map(decree),
        ..row(view.server.key, view.server.forwarding, view.server.weight)
    });
    let sorry = pool.plan().sorry.as_ref();
    let sorry = sorry.map(|sorry| ServerStatus { sorry: true, ..row(sorry.key, sorry.forwarding, 1) });
    real.chain(sorry).collect()
}

/// One real server of a pool, in all of its services; `None` if the pool has none of this key.
pub fn server(pool: &Pool, key: DestinationKey, counted: &Counted<'_>) -> Option<ServerReport> {
    let view = pool.view().find(|view| view.server.key == key)?;
    let address = SocketAddr::new(key.address, key.port);
    let mut report = ServerReport::new(pool.plan().name.as_str().into(), address, health(view.health));
    report.r#override = view.decree.map(decree);
    for service in &pool.plan().keys {
        let Some(kernels) = counted.destination(*service, key) else { continue };
        let (active, inactive) = (u64::from(kernels.active), u64::from(kernels.inactive));
        // Of TCP and SCTP, those that are not active have been closed, and wait for late packets.
        let closes = matches!(service, ServiceKey::Address { protocol: row::Protocol::Tcp | row::Protocol::Sctp, .. });
        let open = if closes { active } else { active.saturating_add(inactive) };
        report.weight = Some(kernels.destination.weight);
        report.active_connections = report.active_connections.saturating_add(active);
        report.inactive_connections = report.inactive_connections.saturating_add(inactive);
        report.persistent_connections = report.persistent_connections.saturating_add(kernels.persistent.into());
        report.open_connections = report.open_connections.saturating_add(open);
    }
    Some(report)
}

fn health(health: Health) -> lvs::Health {
    match health {
        Health::Up => lvs::Health::Up,
        Health::Down => lvs::Health::Down,
    }
}

fn decree(decree: Override) -> lvs::Override {
    match decree {
        Override::Drain => lvs::Override::Drain,
        Override::Weight(_) => lvs::Override::Weight(decree.weight()),
    }
}

fn traffic(counters: &Counters) -> Traffic {
    let Counters { connections, packets_in, packets_out, bytes_in, bytes_out, .. } = *counters;
    Traffic { connections, packets_in, packets_out, bytes_in, bytes_out }
}

/// The flags in ipvsadm's words.
fn flags(service: &row::Service) -> Vec<Arc<str>> {
    let (one, two) = match &*service.scheduler {
        "sh" => ("sh-fallback", "sh-port"),
        "mh" => ("mh-fallback", "mh-port"),
        _ => ("flag-1", "flag-2"),
    };
    let flags = &service.flags;
    let words = [(flags.one, one), (flags.two, two), (flags.three, "flag-3"), (flags.one_packet, "ops")];
    words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::row::{Destination, Persistence, SchedulerFlags};
    use crate::lvs::plan::SorryServer;
    use crate::lvs::plan::VirtualServer;
    use crate::lvs::testing;
    use crate::lvs::verdict::Verdict;

    fn pool() -> Pool {
        let check = || vec![testing::check(false, steadfast_core::time::Duration::from_secs(6))];
        let server = |address| Arc::new(crate::lvs::plan::RealServer { checks: check(), ..testing::server(address) });
        let mut plan = VirtualServer {
            servers: vec![server("10.0.0.1:80"), server("10.0.0.2:80")],
            scheduler: "sh".into(),
            flags: SchedulerFlags { one: true, one_packet: true, ..SchedulerFlags::default() },
            persistence: Some(Persistence { timeout: 300, granularity: 32, engine: None }),
            ..testing::service()
        };
        plan.keys.push(testing::address_key(row::Protocol::Tcp, "192.0.2.2:80"));
        let sorry = testing::server("10.0.0.9:80");
        plan.sorry = Some(SorryServer { key: sorry.key, forwarding: Forwarding::Masquerade, inhibit: false });
        let mut pool = Pool::new(Arc::new(plan));
        pool.set_check(1, 0, &Verdict::Down("connection refused".into()));
        pool.set_override(testing::server("10.0.0.1:80").key, Some(Override::Drain));
        pool
    }

    /// What a kernel has that holds `pool`'s rows, with 3 open and 2 other connections on each.
    fn counted_by_a_kernel(pool: &Pool) -> Vec<ServiceStatistics> {
        let destination = |destination: Destination| DestinationStatistics {
            destination,
            counters: Counters::default(),
            active: 3,
            inactive: 2,
            persistent: 1,
        };
        let destinations: Vec<_> = pool.destinations().iter().cloned().map(destination).collect();
        let service = |service| ServiceStatistics {
            service,
            counters: Counters { connections: 7, ..Counters::default() },
            destinations: destinations.clone(),
        };
        pool.services().map(service).collect()
    }

    #[test]
    fn each_service_of_a_group_is_shown() {
        let pool = pool();
        let statistics = counted_by_a_kernel(&pool);
        let at = Timestamp::default();
        let services = services(&pool, &Counted::new(&statistics), |number| (number == 1).then_some(at));
        assert_eq!(services.len(), 2);
        for service in &services {
            assert!(service.in_table && !service.quorum);
            assert_eq!((service.alive_weight, service.wanted_weight), (0, 1));
            assert_eq!(service.flags.iter().map(|flag| &**flag).collect::<Vec<_>>(), ["sh-fallback", "ops"]);
            assert_eq!((service.persistence_timeout_s, service.persistence_granularity), (Some(300), None));
            assert_eq!(service.traffic.map(|traffic| traffic.connections), Some(7));
            let [first, second, sorry] = service.servers.as_slice() else { panic!("three servers") };
            assert_eq!(
                (first.weight, first.r#override, first.active_connections),
                (Some(0), Some(lvs::Override::Drain), 3)
            );
            assert_eq!((second.weight, second.reason.as_deref()), (None, Some("connection refused")));
            assert_eq!((second.last_check, second.active_connections), (Some(at), 0));
            assert_eq!((sorry.sorry, sorry.weight, sorry.forwarding), (true, Some(1), lvs::Forwarding::Masq));
        }
    }

    #[test]
    fn a_server_is_counted_in_all_services() {
        let pool = pool();
        let statistics = counted_by_a_kernel(&pool);
        let report = server(&pool, testing::server("10.0.0.1:80").key, &Counted::new(&statistics)).unwrap();
        assert_eq!((report.active_connections, report.inactive_connections, report.weight), (6, 4, Some(0)));
        assert_eq!(report.open_connections, 6, "TCP: those that are closed are not waited for");
        assert!(!report.is_idle());
        let gone = server(&pool, testing::server("10.0.0.1:80").key, &Counted::default()).unwrap();
        assert!(gone.is_idle() && gone.weight.is_none());
        assert!(server(&pool, testing::server("10.0.0.3:80").key, &Counted::default()).is_none());
    }
}
