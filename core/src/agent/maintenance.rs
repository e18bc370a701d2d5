//! Maintenance: a Virtual Router that an administrator takes out for a while, and lets in again; and what keeps
//! one out otherwise.

use crate::agent::{Agent, Reason, RouterId, State};
use crate::router::Mark;
use crate::storage::Storage;
use crate::time::Instant;

/// What keeps a Virtual Router in Initialize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It was stopped ([`Agent::drain`], [`Agent::remove`], [`Agent::shutdown`]).
    Stopped,
    /// Its interface is down.
    Link,
    /// Its interface has no source address of its family.
    Source,
    /// A tracker of weight 0 is down or has not reported yet.
    Tracker,
    /// The startup delay, until then.
    Delay(Instant),
    /// Another member of its sync group is kept out.
    Group,
}

impl<S: Storage> Agent<S> {
    /// What keeps a Virtual Router in Initialize, if it is there.
    pub(super) fn obstacle(&self, index: usize) -> Option<Obstacle> {
        let router = self.routers.get(index).filter(|router| router.state() == State::Initialize)?;
        if self.stopping || router.is_stopped() {
            Some(Obstacle::Stopped)
        } else if !self.can_speak(index) {
            Some(Obstacle::Link)
        } else if !router.marks.has(Mark::HasSource) {
            Some(Obstacle::Source)
        } else if router.marks.has(Mark::Faulty) {
            Some(Obstacle::Tracker)
        } else if let Some(at) = router.starts_at() {
            Some(Obstacle::Delay(at))
        } else {
            router.membership.map(|_| Obstacle::Group)
        }
    }

    /// Hands over as at a planned stop and keeps the Virtual Router out until [`Agent::resume`]; its sync group
    /// goes with it.
    pub fn drain(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        if let Some(router) = self.routers.get_mut(index) {
            router.set_stopped(true);
        }
        self.stop(now, index, Reason::Drained, true);
        self.settle(index);
    }

    /// Lets a drained Virtual Router take part again. One that is being removed stays out.
    pub fn resume(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        let Some(router) = self.routers.get_mut(index) else { return };
        if self.stopping || router.is_retiring() || !router.is_stopped() {
            return;
        }
        router.set_stopped(false);
        if self.can_speak(index) {
            self.start(now, index, Reason::Startup);
        }
        // Also without a start: its sync group may be complete now.
        self.note(now, index, None);
        self.settle(index);
    }
}

impl<S: Storage> Agent<S> {
    /// When an Active last advertised; `None` for any other.
    pub fn advertised_at(&self, id: RouterId) -> Option<Instant> {
        self.routers.index(id).and_then(|index| self.routers.get(index)?.advertised_at())
    }

    /// When an Active advertises next by itself (its Adver_Timer); `None` for any other.
    pub fn advertises_at(&self, id: RouterId) -> Option<Instant> {
        self.routers.index(id).and_then(|index| self.routers.get(index)?.advertises_at())
    }

    /// Has an Active listen as Backup, without a word: its port has been late for so long that another may have taken
    /// over, and it is not to take that back (`timer_expired_backup`). To be said before the receive queues are drained,
    /// and to all members of a sync group.
    pub fn stand_back(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        let event = self.routers.get_mut(index).and_then(|router| router.stand_back(now));
        self.note(now, index, event);
        self.settle(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Action, GroupId, Link, RouterConfig};
    use crate::testing::{Heap, settings};
    use crate::time::Duration;
    use crate::types::Family;

    extern crate std;
    use std::vec::Vec;

    struct Lan {
        agent: Agent<Heap>,
        now: Instant,
        routers: [RouterId; 2],
    }

    impl Lan {
        /// Two Virtual Routers that are Active.
        fn new(group: impl FnOnce(&mut Agent<Heap>) -> Option<GroupId>) -> Self {
            let mut agent = Agent::new();
            let now = Instant::from_micros(0);
            let interface = agent.add_interface().unwrap();
            agent.handle_link(now, interface, Link::Up);
            agent.handle_source(now, interface, Family::V4, Some([192, 0, 2, 9].into()));
            let routers = [1, 2].map(|vrid| {
                let addresses = [[192, 0, 2, vrid].into()];
                let config = RouterConfig {
                    interface,
                    settings: settings(vrid),
                    addresses: &addresses,
                    excluded: &[],
                    peers: &[],
                };
                agent.add(now, &config, false).unwrap()
            });
            if let Some(group) = group(&mut agent) {
                routers.iter().for_each(|id| agent.join(now, *id, group).unwrap());
            }
            let mut lan = Self { agent, now, routers };
            lan.after(Duration::from_secs(5));
            assert_eq!(lan.states(), [State::Active; 2]);
            lan
        }

        fn after(&mut self, span: Duration) {
            let end = self.now + span;
            loop {
                while let Some(action) = self.agent.poll(self.now) {
                    if let Action::Acquire { router, generation } | Action::Release { router, generation } = action {
                        self.agent.handle_done(self.now, router, generation, Ok(()));
                    }
                }
                match self.agent.poll_at() {
                    Some(at) if at <= end => self.now = at,
                    _ => break,
                }
            }
            self.now = end;
        }

        fn states(&self) -> [State; 2] {
            self.routers.map(|id| self.agent.view(id).unwrap().state)
        }
    }

    #[test]
    fn who_goes_on_is_active_at_once_with_the_addresses_that_it_has() {
        let mut agent = Agent::<Heap>::new();
        let now = Instant::from_micros(0);
        let interface = agent.add_interface().unwrap();
        agent.set_startup_delay(now, Duration::from_secs(10));
        let going_on = |agent: &mut Agent<Heap>, vrid| {
            let addresses = [[192, 0, 2, vrid].into()];
            let config =
                RouterConfig { interface, settings: settings(vrid), addresses: &addresses, excluded: &[], peers: &[] };
            let id = agent.go_on(now, &config, true, 0).unwrap();
            agent.view(id).unwrap().state
        };
        assert_eq!(going_on(&mut agent, 1), State::Initialize, "its link is down");
        agent.handle_source(now, interface, Family::V4, Some([192, 0, 2, 9].into()));
        agent.handle_link(now, interface, Link::Up);
        assert_eq!(going_on(&mut agent, 2), State::Active);
        let done: Vec<_> = core::iter::from_fn(|| agent.poll(now)).collect();
        let of_2 = |router: &RouterId| router.index() == 1;
        assert!(matches!(&done[0], Action::Advertise { priority: Some(_), router, .. } if of_2(router)), "{done:?}");
        assert!(done.iter().any(|action| matches!(action, Action::Acquire { router, .. } if of_2(router))), "{done:?}");
        assert!(
            !done.iter().any(|action| matches!(action, Action::Release { router, .. } if of_2(router))),
            "{done:?}"
        );
        let told = done.iter().filter(|action| matches!(action, Action::Notify(event) if of_2(&event.router)));
        assert_eq!(told.count(), 1, "no word of a Backup: {done:?}");
    }

    #[test]
    fn a_drained_router_stays_out_until_it_is_resumed() {
        let mut lan = Lan::new(|_| None);
        lan.agent.drain(lan.now, lan.routers[0]);
        // Its addresses stay until a successor is heard, or the handover has taken an interval.
        lan.after(Duration::from_millis(500));
        assert!(lan.agent.view(lan.routers[0]).unwrap().holds);
        lan.after(Duration::from_secs(60));
        assert_eq!(lan.states(), [State::Initialize, State::Active]);
        let view = lan.agent.view(lan.routers[0]).unwrap();
        assert_eq!((view.holds, view.obstacle), (false, Some(Obstacle::Stopped)));
        assert_eq!(view.last_transition.unwrap().3, Reason::Drained);
        lan.agent.resume(lan.now, lan.routers[0]);
        assert_eq!(lan.states(), [State::Backup, State::Active]);
        lan.after(Duration::from_secs(5));
        assert_eq!(lan.states(), [State::Active; 2]);
    }

    #[test]
    fn a_sync_group_goes_out_with_its_member_and_comes_back_with_it() {
        let mut lan = Lan::new(|agent| agent.add_group().ok());
        lan.agent.drain(lan.now, lan.routers[1]);
        assert_eq!(lan.states(), [State::Initialize; 2]);
        lan.after(Duration::from_secs(60));
        assert_eq!(lan.states(), [State::Initialize; 2]);
        assert_eq!(lan.agent.view(lan.routers[0]).unwrap().obstacle, Some(Obstacle::Group));
        lan.agent.resume(lan.now, lan.routers[1]);
        lan.after(Duration::from_secs(5));
        assert_eq!(lan.states(), [State::Active; 2]);
    }

    #[test]
    fn who_stands_back_is_silent_and_takes_over_only_when_nobody_else_has() {
        let mut lan = Lan::new(|_| None);
        let id = lan.routers[0];
        let sent = lan.agent.advertised_at(id).unwrap();
        assert!(sent <= lan.now && lan.now.since(sent) < Duration::from_secs(1));
        lan.now = lan.now + Duration::from_secs(10);
        lan.agent.stand_back(lan.now, id);
        assert_eq!((lan.agent.advertised_at(id), lan.states()[0]), (None, State::Backup));
        assert_eq!(lan.agent.view(id).unwrap().last_transition.unwrap().3, Reason::Late);
        let done: Vec<_> = core::iter::from_fn(|| lan.agent.poll(lan.now)).collect();
        let speaks = |action: &Action| matches!(action, Action::Advertise { router, .. } if *router == id);
        assert!(!done.iter().any(speaks), "{done:?}");
        assert!(done.iter().any(|action| matches!(action, Action::Release { router, .. } if *router == id)));
        lan.after(Duration::from_secs(3));
        assert_eq!(lan.states()[0], State::Backup);
        lan.after(Duration::from_secs(1));
        assert_eq!(lan.states(), [State::Active; 2]);
        // Nobody else is moved by it.
        lan.agent.stand_back(lan.now, id);
        lan.agent.stand_back(lan.now, id);
        assert_eq!(lan.states(), [State::Backup, State::Active]);
    }

    #[test]
    fn what_is_being_removed_or_was_shut_down_does_not_resume() {
        let mut lan = Lan::new(|_| None);
        lan.agent.drain(lan.now, lan.routers[0]);
        lan.agent.remove(lan.now, lan.routers[0]);
        lan.agent.resume(lan.now, lan.routers[0]);
        assert_eq!(lan.states(), [State::Initialize, State::Active]);
        lan.agent.shutdown(lan.now);
        lan.agent.resume(lan.now, lan.routers[1]);
        assert_eq!(lan.states()[1], State::Initialize);
    }
}
