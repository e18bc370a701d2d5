//! What the fuzz targets in `tests/fuzz` have found, each in its shortest form.

use std::net::{IpAddr, Ipv4Addr};

use steadfast_core::agent::{Action, Agent, Link, RouterConfig, Settings, State};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Vrid};

/// Without a source address there is nothing that `emit` could write.
#[test]
fn an_active_that_loses_its_source_address_owes_no_farewell() {
    let mut agent: Agent<Fixed<1, 1, 1, 4>> = Agent::new();
    let mut now = Instant::from_micros(1);
    let source: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
    let interface = agent.add_interface().unwrap();
    agent.handle_source(now, interface, Family::V4, Some(source));
    agent.handle_link(now, interface, Link::Up);
    let settings = Settings::new(Family::V4, Vrid::new(1).unwrap());
    let addresses = [Ipv4Addr::new(10, 0, 0, 8).into()];
    let router = agent
        .add(now, &RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] }, false)
        .unwrap();
    for _ in 0..2 {
        now = now + Duration::from_secs(60);
        while agent.poll(now).is_some() {}
    }
    assert_eq!(agent.view(router).unwrap().state, State::Active);

    agent.handle_source(now, interface, Family::V4, None);
    while let Some(action) = agent.poll(now) {
        assert!(!matches!(action, Action::Advertise { .. }), "{action:?}");
    }
    // Nor is it made up for when there is an address again.
    agent.handle_source(now, interface, Family::V4, Some(source));
    while let Some(action) = agent.poll(now) {
        assert!(!matches!(action, Action::Advertise { .. }), "{action:?}");
    }
    assert_eq!(agent.view(router).unwrap().counters.priority_zero_pkts_sent, 0);
}
