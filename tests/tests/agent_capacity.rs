//! Where memory is fixed: what there is no room for is refused and changes nothing, and what has been given
//! back is used again.

use std::net::{IpAddr, Ipv4Addr};

use steadfast_core::agent::{Action, AddError, Agent, InterfaceId, Link, RouterConfig, RouterId, Settings, State};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Priority, Vrid};
use steadfast_core::wire::Full;

/// Two Virtual Routers, three addresses in all, one interface, two events that wait.
type Small = Agent<Fixed<2, 3, 1, 2>>;

const NOW: Instant = Instant::from_micros(1);

fn agent() -> (Small, InterfaceId) {
    let mut agent = Small::new();
    let interface = agent.add_interface().unwrap();
    agent.handle_source(NOW, interface, Family::V4, Some(address(250)));
    agent.handle_link(NOW, interface, Link::Up);
    (agent, interface)
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// Adds the owner of so many addresses: it is Active at once.
fn add(agent: &mut Small, now: Instant, interface: InterfaceId, vrid: u8, addresses: u8) -> Result<RouterId, AddError> {
    let mut settings = Settings::new(Family::V4, Vrid::new(vrid).unwrap());
    settings.priority = Priority::OWNER;
    let addresses: Vec<IpAddr> = (1..=addresses).map(address).collect();
    agent.add(now, &RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] }, false)
}

/// Does what is owed at `now`; who retired.
fn drain(agent: &mut Small, now: Instant) -> Vec<RouterId> {
    let mut retired = Vec::new();
    while let Some(action) = agent.poll(now) {
        match action {
            Action::Acquire { router, generation } | Action::Release { router, generation } => {
                agent.handle_done(now, router, generation, Ok(()));
            }
            Action::Retired(router) => retired.push(router),
            _ => {}
        }
    }
    retired
}

#[test]
fn a_refused_addition_uses_up_nothing() {
    let (mut agent, interface) = agent();
    for _ in 0..20 {
        assert_eq!(add(&mut agent, NOW, interface, 1, 4), Err(AddError::Full));
        assert_eq!((agent.routers().count(), agent.poll_at(), agent.is_idle()), (0, None, true));
    }
    let first = add(&mut agent, NOW, interface, 1, 1).unwrap();
    for _ in 0..20 {
        assert_eq!(add(&mut agent, NOW, interface, 1, 1), Err(AddError::Duplicate));
        assert_eq!(add(&mut agent, NOW, interface, 2, 3), Err(AddError::Full));
    }
    let second = add(&mut agent, NOW, interface, 2, 2).unwrap();
    assert_eq!(add(&mut agent, NOW, interface, 3, 1), Err(AddError::Full));
    assert_eq!(agent.add_interface(), Err(Full));
    drain(&mut agent, NOW);
    for id in [first, second] {
        assert_eq!(agent.view(id).unwrap().state, State::Active);
    }
}

#[test]
fn a_refused_change_of_addresses_leaves_the_old_ones() {
    let (mut agent, interface) = agent();
    let first = add(&mut agent, NOW, interface, 1, 2).unwrap();
    let second = add(&mut agent, NOW, interface, 2, 1).unwrap();
    drain(&mut agent, NOW);
    let settings = *agent.view(first).unwrap().settings;
    let due = agent.poll_at();
    let three = [address(7), address(8), address(9)];
    let config = RouterConfig { interface, settings, addresses: &three, excluded: &[], peers: &[] };
    assert_eq!(agent.reconfigure(NOW, first, &config), Err(AddError::Full));
    assert_eq!(agent.view(first).unwrap().addresses, [address(1), address(2)]);
    assert_eq!(agent.view(second).unwrap().addresses, [address(1)]);
    assert_eq!(agent.poll_at(), due, "nothing is owed");
    let config = RouterConfig { addresses: &three[..2], ..config };
    assert_eq!(agent.reconfigure(NOW, first, &config), Ok(()));
    assert_eq!(agent.view(first).unwrap().addresses, [address(7), address(8)]);
    assert_eq!(agent.view(second).unwrap().addresses, [address(1)]);
}

#[test]
fn what_has_retired_gives_its_room_back_and_its_id_is_void() {
    let (mut agent, interface) = agent();
    let mut now = NOW;
    let mut void = Vec::new();
    for _ in 0..50 {
        let first = add(&mut agent, now, interface, 1, 2).unwrap();
        let second = add(&mut agent, now, interface, 2, 1).unwrap();
        assert!(!void.contains(&first) && !void.contains(&second));
        drain(&mut agent, now);
        agent.remove(now, first);
        assert_eq!(drain(&mut agent, now), [], "it waits for its successor");
        assert!(agent.view(first).is_some());
        agent.remove(now, second);
        now = now + Duration::from_secs(1);
        let retired = drain(&mut agent, now);
        assert_eq!(retired.len(), 2);
        assert!(retired.contains(&first) && retired.contains(&second));
        for id in retired {
            assert!(agent.view(id).is_none());
            agent.remove(now, id);
            agent.handle_lost(now, id);
            void.push(id);
        }
        assert_eq!((agent.poll_at(), agent.is_idle()), (None, true));
    }
}

#[test]
fn the_oldest_events_are_lost_and_counted() {
    let (mut agent, interface) = agent();
    add(&mut agent, NOW, interface, 1, 1).unwrap();
    assert_eq!(agent.lost_events(), 0);
    agent.handle_link(NOW, interface, Link::Down);
    assert_eq!(agent.lost_events(), 0);
    agent.handle_link(NOW, interface, Link::Up);
    assert_eq!(agent.lost_events(), 1);
    let mut states = Vec::new();
    while let Some(action) = agent.poll(NOW) {
        if let Action::Notify(event) = action {
            states.push(event.kind);
        }
    }
    assert_eq!(states.len(), 2);
}

#[test]
fn a_group_that_is_full_takes_no_more_and_what_left_makes_room() {
    let mut agent = Agent::<Fixed<3, 3, 1, 8, 0, 2>>::new();
    let interface = agent.add_interface().unwrap();
    let mut routers = Vec::new();
    for vrid in 1..=3 {
        let settings = Settings::new(Family::V4, Vrid::new(vrid).unwrap());
        let config = RouterConfig { interface, settings, addresses: &[address(vrid)], excluded: &[], peers: &[] };
        routers.push(agent.add(NOW, &config, false).unwrap());
    }
    let groups = [agent.add_group().unwrap(), agent.add_group().unwrap()];
    assert_eq!(agent.add_group(), Err(Full));
    let members = |agent: &Agent<_>, group| agent.members(group).collect::<Vec<_>>();
    for _ in 0..50 {
        agent.join(NOW, routers[0], groups[0]).unwrap();
        agent.join(NOW, routers[1], groups[0]).unwrap();
        assert_eq!(agent.join(NOW, routers[2], groups[0]), Err(AddError::Full));
        assert_eq!(agent.view(routers[2]).unwrap().sync_group, None);
        agent.join(NOW, routers[0], groups[1]).unwrap();
        assert_eq!([members(&agent, groups[0]), members(&agent, groups[1])], [[routers[1]], [routers[0]]]);
        agent.leave(NOW, routers[1]);
        agent.join(NOW, routers[2], groups[1]).unwrap();
        assert_eq!(members(&agent, groups[1]), [routers[0], routers[2]]);
        agent.leave(NOW, routers[0]);
        agent.leave(NOW, routers[2]);
        agent.leave(NOW, routers[2]);
    }
}
