//! Configurations by chance, and how a mutant misreads them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use steadfast_core::time::Duration;
use steadfast_linux::ipvs::row::{DestinationKey, Forwarding, Protocol, SchedulerFlags, ServiceKey};
use steadfast_linux::lvs::plan::{Check, CheckKind, RealServer, SorryServer, Timing, VirtualServer};
use steadfast_tests::sim::rng::Rng;

use crate::Mutant;

pub(crate) fn micros(rng: &mut Rng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_micros(rng.between(from_ms * 1_000, to_ms * 1_000))
}

pub(crate) fn timing(rng: &mut Rng) -> Timing {
    Timing {
        delay_loop: micros(rng, 100, 10_000),
        retry: rng.below(4) as u32,
        delay_before_retry: micros(rng, 10, 5_000),
        warmup: micros(rng, 0, 10_000),
        connect_timeout: micros(rng, 10, 5_000),
        alpha: rng.percent(30),
    }
}

pub(crate) fn key(last: u8) -> DestinationKey {
    DestinationKey { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port: 80 }
}

pub(crate) fn check(rng: &mut Rng) -> Arc<Check> {
    Arc::new(Check {
        kind: CheckKind::Tcp,
        timing: timing(rng),
        target: SocketAddr::from(([10, 0, 0, 1], 80)),
        source: None,
        interface: None,
        mark: 0,
        log_all_failures: false,
    })
}

pub(crate) fn server(rng: &mut Rng, last: u8) -> Arc<RealServer> {
    Arc::new(RealServer {
        key: key(last),
        weight: rng.below(4) as u32,
        forwarding: Forwarding::DirectRoute,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit_on_failure: rng.percent(25),
        notify_up: None,
        notify_down: None,
        mail: false,
        checks: (0..rng.pick(&[0, 1, 1, 1, 1, 2, 3])).map(|_| check(rng)).collect(),
    })
}

pub(crate) fn plan(rng: &mut Rng) -> VirtualServer {
    let servers: Vec<_> = (1..=rng.between(1, 6) as u8).map(|last| server(rng, last)).collect();
    let sum: u32 = servers.iter().map(|server| server.weight).sum();
    let quorum = rng.between(1, u64::from(sum.max(1))) as u32;
    VirtualServer {
        name: "192.0.2.1 80".into(),
        keys: vec![ServiceKey::Address { protocol: Protocol::Tcp, address: [192, 0, 2, 1].into(), port: 80 }],
        scheduler: "rr".into(),
        flags: SchedulerFlags::default(),
        persistence: None,
        quorum,
        hysteresis: rng.below(u64::from(quorum)) as u32,
        quorum_up: None,
        quorum_down: None,
        sorry: rng.percent(50).then(|| SorryServer {
            key: key(rng.pick(&[1, 9, 9])),
            forwarding: Forwarding::Masquerade,
            inhibit: rng.percent(50),
        }),
        alpha: false,
        omega: false,
        mail: false,
        ha_suspend: true,
        servers,
    }
}

/// The plan as a mutant reads it.
pub(crate) fn misread(plan: &VirtualServer, mutant: Mutant) -> Arc<VirtualServer> {
    let mut plan = plan.clone();
    match mutant {
        Mutant::NoHysteresis => plan.hysteresis = 0,
        Mutant::NoSorry => plan.sorry = None,
        Mutant::NoInhibit => {
            for server in &mut plan.servers {
                Arc::make_mut(server).inhibit_on_failure = false;
            }
        }
        _ => {}
    }
    Arc::new(plan)
}

pub(crate) fn misread_timing(timing: &Timing, mutant: Mutant) -> Timing {
    match mutant {
        Mutant::NoRetry => Timing { retry: 0, ..*timing },
        Mutant::OneRetryMore => Timing { retry: timing.retry + 1, ..*timing },
        Mutant::HastyRetry => Timing { delay_before_retry: Duration::ZERO, ..*timing },
        Mutant::HastyLoop => Timing { delay_loop: Duration::from_micros(timing.delay_loop.as_micros() / 2), ..*timing },
        Mutant::LazyLoop => Timing { delay_loop: timing.delay_loop.times(2), ..*timing },
        _ => *timing,
    }
}
