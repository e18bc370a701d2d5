//! The rules of sync groups, at the core's public API: Virtual Routers that are in one state at any time. What
//! happens to them on a bad LAN is the simulator's matter.

use std::net::{IpAddr, Ipv4Addr};

use steadfast_core::agent::{
    Action, AddError, Agent, EventKind, GroupId, InterfaceId, Link, Reason, Report, RouterConfig, RouterId, Settings,
    State, Weight,
};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_tests::sim::packet::Packet;

type Store = Fixed<64, 64, 8, 128, 4, 64>;

const SECOND: Duration = Duration::from_secs(1);
const BEGIN: Instant = Instant::from_micros(10_000_000);

/// What a router did, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Sent(usize, u8),
    Acquire(usize),
    Release(usize),
    Moved(usize, State, State, Reason),
}

/// An agent with Virtual Routers that form a group, each on an interface of its own unless there are many.
struct Firewall {
    agent: Box<Agent<Store>>,
    interfaces: Vec<InterfaceId>,
    routers: Vec<RouterId>,
    group: GroupId,
    now: Instant,
}

impl Firewall {
    fn new(count: usize, edit: impl Fn(usize, &mut Settings)) -> Self {
        let mut agent: Box<Agent<Store>> = Box::default();
        let interfaces: Vec<_> = (0..count.min(8)).map(|_| agent.add_interface().unwrap()).collect();
        for interface in &interfaces {
            agent.handle_link(BEGIN, *interface, Link::Up);
            agent.handle_source(BEGIN, *interface, Family::V4, Some(host(50)));
        }
        let group = agent.add_group().unwrap();
        let mut firewall = Self { agent, interfaces, routers: Vec::new(), group, now: BEGIN };
        for number in 0..count {
            firewall.add(number, |settings| edit(number, settings));
            firewall.agent.join(BEGIN, firewall.routers[number], group).unwrap();
        }
        firewall
    }

    fn add(&mut self, number: usize, edit: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::new(Family::V4, Vrid::new(1 + number as u8).unwrap());
        settings.version = Version::V3;
        edit(&mut settings);
        let interface = self.interfaces[number % self.interfaces.len()];
        let addresses = [host(100 + number as u8)];
        let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] };
        self.routers.push(self.agent.add(self.now, &config, false).unwrap());
    }

    fn states(&self) -> Vec<State> {
        self.routers.iter().map(|id| self.agent.view(*id).unwrap().state).collect()
    }

    fn number(&self, id: RouterId) -> usize {
        self.routers.iter().position(|known| *known == id).unwrap()
    }

    /// Does what is owed now; announcements are not noted.
    fn drain(&mut self) -> Vec<Did> {
        let mut done = Vec::new();
        while let Some(action) = self.agent.poll(self.now) {
            done.push(match action {
                Action::Advertise { router, priority, .. } => {
                    Did::Sent(self.number(router), priority.map_or(0, Priority::get))
                }
                Action::Acquire { router, generation } => {
                    self.agent.handle_done(self.now, router, generation, Ok(()));
                    Did::Acquire(self.number(router))
                }
                Action::Release { router, generation } => {
                    self.agent.handle_done(self.now, router, generation, Ok(()));
                    Did::Release(self.number(router))
                }
                Action::Notify(event) => match event.kind {
                    EventKind::Transition { from, to, reason } => {
                        Did::Moved(self.number(event.router), from, to, reason)
                    }
                    EventKind::DualActive { .. } => continue,
                },
                Action::Announce { .. } | Action::Retired(_) => continue,
            });
        }
        done
    }

    /// Lets time pass; what was done, and how long after now.
    fn pass(&mut self, span: Duration) -> Vec<(Duration, Did)> {
        let (begin, end) = (self.now, self.now + span);
        let mut done = Vec::new();
        loop {
            let due = self.agent.poll_at().filter(|due| *due < end);
            self.now = due.unwrap_or(end).max(self.now);
            let after = self.now.since(begin);
            done.extend(self.drain().into_iter().map(|did| (after, did)));
            if due.is_none() {
                return done;
            }
        }
    }

    /// Lets time pass while an Active of this priority is heard by `number` twice an interval.
    fn pass_beside(&mut self, number: usize, priority: u8, seconds: u64) -> Vec<Did> {
        let mut done = Vec::new();
        for _ in 0..2 * seconds {
            self.hear(number, priority);
            done.extend(self.drain());
            done.extend(self.pass(Duration::from_millis(500)).into_iter().map(|(_, did)| did));
        }
        done
    }

    fn hear(&mut self, number: usize, priority: u8) {
        let addresses = [host(100 + number as u8)];
        let packet = Packet { vrid: 1 + number as u8, ..Packet::v3(priority, host(51), &addresses) };
        let interface = self.interfaces[number % self.interfaces.len()];
        self.agent.handle_advertisement(self.now, interface, &packet.envelope(), &packet.payload()).unwrap();
    }

    fn link(&mut self, number: usize, link: Link) {
        self.agent.handle_link(self.now, self.interfaces[number], link);
    }

    /// Two members, Active, all announced.
    fn active() -> Self {
        let mut firewall = Self::new(2, |_, _| {});
        firewall.pass(Duration::from_secs(10));
        assert_eq!(firewall.states(), [Active; 2]);
        firewall
    }
}

fn host(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn moved(number: usize, from: State, to: State, reason: Reason) -> Did {
    Did::Moved(number, from, to, reason)
}

use State::{Active, Backup, Initialize};

#[test]
fn a_group_takes_over_in_the_instant_in_which_its_last_member_would() {
    // Skews of 156/256 s and of 6/256 s: the second member is ready first, and waits.
    let priorities = [100, 250];
    let mut firewall = Firewall::new(2, |number, s| s.priority = Priority::new(priorities[number]).unwrap());
    firewall.drain();
    let done = firewall.pass(Duration::from_micros(3_600_000));
    assert_eq!((done, firewall.states()), (vec![], vec![Backup; 2]));
    let view = firewall.agent.view(firewall.routers[1]).unwrap();
    assert!(view.awaits_group && view.sync_group == Some(firewall.group));
    let done = firewall.pass(Duration::from_millis(20));
    let at = Duration::from_micros(9_375);
    let expected = [
        Did::Sent(0, 100),
        Did::Sent(1, 250),
        Did::Acquire(0),
        Did::Acquire(1),
        moved(0, Backup, Active, Reason::NoResponse),
        moved(1, Backup, Active, Reason::Group),
    ];
    assert_eq!(done, expected.map(|did| (at, did)));
}

#[test]
fn a_network_that_is_silent_moves_nothing_while_an_active_is_heard_on_another() {
    let mut firewall = Firewall::new(2, |_, _| {});
    firewall.drain();
    assert_eq!(firewall.pass_beside(0, 200, 60), []);
    assert_eq!(firewall.states(), [Backup; 2]);
    // The first network falls silent too.
    let done = firewall.pass(Duration::from_secs(4));
    assert!(done.contains(&(Duration::from_micros(3_109_375), moved(1, Backup, Active, Reason::Group))), "{done:?}");
    assert_eq!(firewall.states(), [Active; 2]);
}

#[test]
fn a_member_that_hears_an_active_with_more_right_takes_all_with_it() {
    for number in [0, 1] {
        let mut firewall = Firewall::active();
        firewall.hear(number, 200);
        assert_eq!(firewall.states(), [Backup; 2]);
        let other = 1 - number;
        let done = firewall.drain();
        for did in [
            Did::Sent(number, 100),
            Did::Sent(other, 100),
            Did::Release(number),
            Did::Release(other),
            moved(number, Active, Backup, Reason::HigherPriority),
            moved(other, Active, Backup, Reason::Group),
        ] {
            assert!(done.contains(&did), "{did:?} in {done:?}");
        }
        assert_eq!(done.len(), 6);
    }
}

#[test]
fn a_member_that_is_kept_out_takes_all_out_and_lets_none_in() {
    let mut firewall = Firewall::active();
    firewall.link(1, Link::Down);
    assert_eq!(firewall.states(), [Initialize; 2]);
    let done = firewall.drain();
    // Not lossless: the other address has to move at once, too.
    for did in [Did::Sent(0, 0), Did::Release(0), moved(0, Active, Initialize, Reason::Group)] {
        assert!(done.contains(&did), "{did:?} in {done:?}");
    }
    assert!(done.contains(&moved(1, Active, Initialize, Reason::LinkDown)));
    // What happens to the healthy member alone starts nobody.
    firewall.link(0, Link::Down);
    firewall.link(0, Link::Up);
    assert_eq!((firewall.pass(Duration::from_secs(20)), firewall.states()), (vec![], vec![Initialize; 2]));
    firewall.link(1, Link::Up);
    let done = firewall.drain();
    let started = [moved(1, Initialize, Backup, Reason::LinkUp), moved(0, Initialize, Backup, Reason::Group)];
    assert_eq!((done, firewall.states()), (started.to_vec(), vec![Backup; 2]));
}

#[test]
fn a_tracker_of_weight_0_takes_all_out() {
    let mut firewall = Firewall::active();
    let tracker = firewall.agent.add_tracker().unwrap();
    firewall.agent.handle_report(firewall.now, tracker, Report::Up);
    firewall.agent.track(firewall.now, firewall.routers[0], tracker, Weight(0)).unwrap();
    assert_eq!(firewall.states(), [Active; 2]);
    firewall.agent.handle_report(firewall.now, tracker, Report::Down);
    assert_eq!(firewall.states(), [Initialize; 2]);
    firewall.agent.handle_report(firewall.now, tracker, Report::Up);
    assert_eq!(firewall.states(), [Backup; 2]);
}

#[test]
fn a_lost_source_address_takes_all_out() {
    let mut firewall = Firewall::active();
    firewall.agent.handle_source(firewall.now, firewall.interfaces[0], Family::V4, None);
    assert_eq!(firewall.states(), [Initialize; 2]);
    firewall.agent.handle_source(firewall.now, firewall.interfaces[0], Family::V4, Some(host(50)));
    assert_eq!(firewall.states(), [Backup; 2]);
}

#[test]
fn a_member_that_does_not_preempt_keeps_all_from_it() {
    let mut firewall = Firewall::new(2, |number, settings| settings.preempt = number == 0);
    for _ in 0..10 {
        firewall.hear(0, 50);
        firewall.hear(1, 50);
        firewall.pass(SECOND);
        assert_eq!(firewall.states(), [Backup; 2]);
    }
}

#[test]
fn all_start_when_the_startup_delay_ends() {
    let mut firewall = Firewall::new(0, |_, _| {});
    firewall.interfaces = (0..2).map(|_| firewall.agent.add_interface().unwrap()).collect();
    firewall.agent.set_startup_delay(BEGIN, Duration::from_secs(5));
    for number in 0..2 {
        firewall.add(number, |_| {});
        firewall.agent.join(BEGIN, firewall.routers[number], firewall.group).unwrap();
        firewall.agent.handle_source(BEGIN, firewall.interfaces[number], Family::V4, Some(host(50)));
    }
    firewall.link(0, Link::Up);
    firewall.link(1, Link::Up);
    assert_eq!((firewall.pass(Duration::from_millis(4_999)), firewall.states()), (vec![], vec![Initialize; 2]));
    let begun = |number| (Duration::from_millis(1), moved(number, Initialize, Backup, Reason::Startup));
    let done = firewall.pass(Duration::from_millis(2));
    assert_eq!(done[0], begun(0));
    assert_eq!((done.len(), firewall.states()), (2, vec![Backup; 2]));
}

#[test]
fn owners_are_active_as_soon_as_all_can_be() {
    let mut firewall = Firewall::new(2, |_, settings| settings.priority = Priority::OWNER);
    assert_eq!(firewall.states(), [Active; 2]);
    firewall.link(0, Link::Down);
    assert_eq!(firewall.states(), [Initialize; 2]);
    firewall.link(0, Link::Up);
    assert_eq!(firewall.states(), [Active; 2]);
}

#[test]
fn who_joins_an_active_group_listens_first_and_costs_it_nothing() {
    let mut firewall = Firewall::active();
    firewall.add(2, |_| {});
    firewall.agent.join(firewall.now, firewall.routers[2], firewall.group).unwrap();
    let members: Vec<_> = firewall.agent.members(firewall.group).collect();
    assert_eq!(members, firewall.routers);
    assert_eq!(firewall.states(), [Active, Active, Backup]);
    let done = firewall.pass(Duration::from_secs(4));
    assert!(done.contains(&(Duration::from_micros(3_609_375), moved(2, Backup, Active, Reason::NoResponse))));
    assert_eq!(firewall.states(), [Active; 3]);
}

#[test]
fn an_active_group_steps_down_when_who_has_joined_hears_an_active_with_more_right() {
    let mut firewall = Firewall::active();
    firewall.add(2, |_| {});
    firewall.agent.join(firewall.now, firewall.routers[2], firewall.group).unwrap();
    firewall.hear(2, 50);
    assert_eq!(firewall.states(), [Active, Active, Backup]);
    firewall.hear(2, 200);
    assert_eq!(firewall.states(), [Backup; 3]);
}

#[test]
fn who_is_active_and_joins_a_group_of_backups_steps_down() {
    let mut firewall = Firewall::new(2, |_, _| {});
    firewall.hear(0, 200);
    firewall.add(2, |settings| settings.priority = Priority::OWNER);
    assert_eq!(firewall.states(), [Backup, Backup, Active]);
    firewall.agent.join(firewall.now, firewall.routers[2], firewall.group).unwrap();
    assert_eq!(firewall.states(), [Backup; 3]);
}

#[test]
fn who_leaves_does_what_it_waited_for_and_those_that_stay_what_it_kept_them_from() {
    let mut firewall = Firewall::new(2, |_, _| {});
    firewall.pass_beside(0, 200, 10);
    firewall.agent.leave(firewall.now, firewall.routers[1]);
    firewall.drain();
    assert_eq!(firewall.states(), [Backup, Active], "its own network has been silent");

    let mut firewall = Firewall::new(2, |_, _| {});
    firewall.pass_beside(0, 200, 10);
    firewall.agent.leave(firewall.now, firewall.routers[0]);
    firewall.drain();
    assert_eq!(firewall.states(), [Backup, Active], "nobody else is waited for");

    let mut firewall = Firewall::new(2, |_, _| {});
    firewall.link(0, Link::Down);
    assert_eq!(firewall.states(), [Initialize; 2]);
    firewall.agent.leave(firewall.now, firewall.routers[1]);
    assert_eq!(firewall.states(), [Initialize, Backup]);
    firewall.agent.join(firewall.now, firewall.routers[1], firewall.group).unwrap();
    assert_eq!(firewall.states(), [Initialize; 2]);
    firewall.agent.leave(firewall.now, firewall.routers[0]);
    assert_eq!(firewall.states(), [Initialize, Backup]);
}

#[test]
fn what_is_removed_from_a_group_hands_over_alone() {
    let mut firewall = Firewall::active();
    firewall.agent.remove(firewall.now, firewall.routers[1]);
    let done = firewall.drain();
    assert_eq!(done, [Did::Sent(1, 0), moved(1, Active, Initialize, Reason::Shutdown)]);
    assert_eq!(firewall.states(), [Active, Initialize]);
    let router = firewall.routers[1];
    assert_eq!(firewall.agent.join(firewall.now, router, firewall.group), Err(AddError::Identity));
}

#[test]
fn a_planned_stop_hands_over_every_member() {
    let mut firewall = Firewall::active();
    firewall.agent.shutdown(firewall.now);
    let done = firewall.drain();
    let stopped = |number| moved(number, Active, Initialize, Reason::Shutdown);
    assert_eq!(done, [Did::Sent(0, 0), Did::Sent(1, 0), stopped(0), stopped(1)], "and the addresses stay for now");
    let released = firewall.pass(Duration::from_secs(2));
    assert!(released.iter().all(|(at, did)| *at == SECOND && matches!(did, Did::Release(_))));
    assert_eq!(released.len(), 2);
}

/// keepalived goes on like this for ever.
#[test]
fn two_groups_with_crossed_priorities_settle() {
    let group = |priorities: [u8; 2], last: u8| {
        let mut firewall = Firewall::new(2, |number, s| s.priority = Priority::new(priorities[number]).unwrap());
        for interface in firewall.interfaces.clone() {
            firewall.agent.handle_source(BEGIN, interface, Family::V4, Some(host(last)));
        }
        firewall
    };
    let priorities = [[150, 100], [100, 150]];
    let mut nodes = [group(priorities[0], 50), group(priorities[1], 51)];
    let mut rounds = 0;
    let mut now = BEGIN;
    // What each says reaches the other 1 ms later, so what both say at once crosses on the wire.
    let mut wire: Vec<(Instant, usize, usize)> = Vec::new();
    while now < BEGIN + Duration::from_secs(30) {
        now = now + Duration::from_millis(1);
        for (at, from, number) in std::mem::take(&mut wire) {
            let addresses = [host(100 + number as u8)];
            let source = host(50 + from as u8);
            let packet = Packet { vrid: 1 + number as u8, ..Packet::v3(priorities[from][number], source, &addresses) };
            assert!(at < now);
            let interface = nodes[1 - from].interfaces[number];
            let heard =
                nodes[1 - from].agent.handle_advertisement(now, interface, &packet.envelope(), &packet.payload());
            assert!(heard.is_ok());
        }
        for (from, node) in nodes.iter_mut().enumerate() {
            node.now = now;
            for did in node.drain() {
                match did {
                    Did::Sent(number, _) => wire.push((now, from, number)),
                    Did::Moved(0, Active, ..) => rounds += 1,
                    _ => {}
                }
            }
            assert_eq!(node.states()[0], node.states()[1]);
        }
    }
    let mut roles = [nodes[0].states()[0], nodes[1].states()[0]];
    roles.sort();
    assert_eq!(roles, [Backup, Active]);
    assert!(rounds >= 2, "both were Active at once: {rounds}");
}

#[test]
fn sixty_four_members_on_eight_interfaces_move_in_one_instant() {
    let mut firewall = Firewall::new(64, |_, settings| {
        settings.interval = Interval::from_centiseconds(10).unwrap();
        settings.announcing.delay = None;
    });
    firewall.drain();
    let done = firewall.pass(Duration::from_millis(400));
    let first = done.first().map(|(at, _)| *at);
    let began: Vec<_> = done.iter().filter(|(at, _)| Some(*at) == first).map(|(_, did)| *did).collect();
    assert!(began[..64].iter().all(|did| matches!(did, Did::Sent(..))), "Advertisements before all else");
    assert!(began[64..128].iter().all(|did| matches!(did, Did::Acquire(_))));
    assert_eq!(firewall.states(), [Active; 64]);
    firewall.link(3, Link::Down);
    assert_eq!(firewall.states(), [Initialize; 64]);
}
