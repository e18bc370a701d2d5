//! Plans for the tests of LVS: the smallest there are, to be changed as a test needs it.

use std::sync::Arc;

use steadfast_core::time::Duration;

use super::plan::{Check, CheckKind, RealServer, Timing, VirtualServer};
use crate::ipvs::row::{DestinationKey, Forwarding, Protocol, SchedulerFlags, ServiceKey};

/// The key of a service, `address` as `192.0.2.1:80`.
pub(crate) fn address_key(protocol: Protocol, address: &str) -> ServiceKey {
    let socket: std::net::SocketAddr = address.parse().unwrap();
    ServiceKey::Address { protocol, address: socket.ip(), port: socket.port() }
}

/// A service without servers: TCP 192.0.2.1:80, `rr`, quorum 1.
pub(crate) fn service() -> VirtualServer {
    VirtualServer {
        name: "192.0.2.1 80".into(),
        keys: vec![address_key(Protocol::Tcp, "192.0.2.1:80")],
        scheduler: "rr".into(),
        flags: SchedulerFlags::default(),
        persistence: None,
        quorum: 1,
        hysteresis: 0,
        quorum_up: None,
        quorum_down: None,
        sorry: None,
        alpha: false,
        omega: false,
        mail: false,
        ha_suspend: false,
        servers: Vec::new(),
    }
}

/// A server without checks: direct routing, weight 1.
pub(crate) fn server(address: &str) -> RealServer {
    let socket: std::net::SocketAddr = address.parse().unwrap();
    RealServer {
        key: DestinationKey { address: socket.ip(), port: socket.port() },
        weight: 1,
        forwarding: Forwarding::DirectRoute,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit_on_failure: false,
        notify_up: None,
        notify_down: None,
        mail: true,
        checks: Vec::new(),
    }
}

/// A TCP_CHECK.
pub(crate) fn check(alpha: bool, delay_loop: Duration) -> Arc<Check> {
    let timing = Timing {
        delay_loop,
        retry: 1,
        delay_before_retry: Duration::from_secs(1),
        warmup: Duration::ZERO,
        connect_timeout: Duration::from_secs(5),
        alpha,
    };
    let target = ([10, 0, 0, 1], 80).into();
    Arc::new(Check {
        kind: CheckKind::Tcp,
        timing,
        target,
        source: None,
        interface: None,
        mark: 0,
        log_all_failures: false,
    })
}
