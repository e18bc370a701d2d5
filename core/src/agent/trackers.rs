//! Trackers: things outside VRRP (a link, a script, a gateway) whose state bears on priorities. A tracker
//! knows the Virtual Routers that it bears on, so a report costs what it affects. What a tracker looks at,
//! and how, is the port's matter.

use crate::agent::{AddError, Agent, Reason, RouterId};
use crate::storage::{Storage, Table};
use crate::time::Instant;
use crate::wire::Full;

/// The end of a list.
const END: u16 = u16::MAX;

/// A tracker of the agent, by the order in which it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(u16);

impl TrackerId {
    /// Its number, counted from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a tracker says of the thing that it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It works.
    Up,
    /// It does not.
    Down,
}

/// How a tracker bears on a Virtual Router, in keepalived's sense: 0 takes it out while the tracker is down
/// (or has not reported yet), a positive weight is added to the priority while it is up, a negative one while
/// it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(pub i16);

/// What one tracker does to one Virtual Router at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Effect {
    priority: i32,
    fault: bool,
}

impl Weight {
    /// What it adds to the priority while the tracker says `report`; `None`: it has not reported yet.
    pub fn addition(self, report: Option<Report>) -> i32 {
        self.effect(report).priority
    }

    /// Whether it takes the Virtual Router out while the tracker says `report`.
    pub fn is_fault(self, report: Option<Report>) -> bool {
        self.effect(report).fault
    }

    fn effect(self, report: Option<Report>) -> Effect {
        let weight = i32::from(self.0);
        match (report, self.0.signum()) {
            (Some(Report::Up), 1) | (Some(Report::Down), -1) => Effect { priority: weight, fault: false },
            (Some(Report::Down) | None, 0) => Effect { priority: 0, fault: true },
            _ => Effect::default(),
        }
    }
}

struct Tracker {
    report: Option<Report>,
    /// The first of its edges.
    first: u16,
}

/// One tracker bearing on one Virtual Router.
struct Edge {
    tracker: u16,
    router: u16,
    weight: Weight,
    previous_of_tracker: u16,
    /// Next of the same tracker, or in the list of free edges.
    next_of_tracker: u16,
    next_of_router: u16,
}

pub(crate) struct Trackers<S: Storage> {
    trackers: S::Trackers<Tracker>,
    edges: S::Trackers<Edge>,
    free: u16,
    /// The first edge of each Virtual Router.
    first_of_router: S::Routers<u16>,
}

impl<S: Storage> Trackers<S> {
    pub(crate) fn new() -> Self {
        Self { trackers: Default::default(), edges: Default::default(), free: END, first_of_router: Default::default() }
    }

    /// Makes room for `count` Virtual Routers.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Full> {
        while self.first_of_router.len() < count {
            self.first_of_router.push(END)?;
        }
        Ok(())
    }

    fn insert(&mut self, tracker: u16, router: usize, weight: Weight) -> Result<(), Full> {
        let first = self.trackers.get(usize::from(tracker)).ok_or(Full)?.first;
        let own = *self.first_of_router.get(router).ok_or(Full)?;
        let edge = Edge {
            tracker,
            router: router as u16,
            weight,
            previous_of_tracker: END,
            next_of_tracker: first,
            next_of_router: own,
        };
        let at = if let Some(reused) = self.edges.get_mut(usize::from(self.free)) {
            let at = self.free;
            self.free = reused.next_of_tracker;
            *reused = edge;
            at
        } else {
            let at = u16::try_from(self.edges.len()).ok().filter(|at| *at != END).ok_or(Full)?;
            self.edges.push(edge)?;
            at
        };
        if let Some(after) = self.edges.get_mut(usize::from(first)) {
            after.previous_of_tracker = at;
        }
        if let Some(tracker) = self.trackers.get_mut(usize::from(tracker)) {
            tracker.first = at;
        }
        if let Some(first) = self.first_of_router.get_mut(router) {
            *first = at;
        }
        Ok(())
    }

    /// What all trackers together do to a Virtual Router: what they add to its priority, and whether one keeps it out.
    pub(crate) fn burden(&self, router: usize) -> (i32, bool) {
        let (mut weights, mut faulty) = (0_i32, false);
        let mut next = self.first_of_router.get(router).copied().unwrap_or(END);
        while let Some(edge) = self.edges.get(usize::from(next)) {
            next = edge.next_of_router;
            let effect = edge.weight.effect(self.report(edge.tracker));
            weights = weights.saturating_add(effect.priority);
            faulty |= effect.fault;
        }
        (weights, faulty)
    }

    fn report(&self, tracker: u16) -> Option<Report> {
        self.trackers.get(usize::from(tracker))?.report
    }

    /// Takes all trackers off a Virtual Router.
    pub(crate) fn forget(&mut self, router: usize) {
        let Some(first) = self.first_of_router.get_mut(router) else { return };
        let mut next = core::mem::replace(first, END);
        while let Some(edge) = self.edges.get(usize::from(next)) {
            let at = next;
            next = edge.next_of_router;
            let (tracker, before, after) = (edge.tracker, edge.previous_of_tracker, edge.next_of_tracker);
            if let Some(edge) = self.edges.get_mut(usize::from(after)) {
                edge.previous_of_tracker = before;
            }
            if let Some(edge) = self.edges.get_mut(usize::from(before)) {
                edge.next_of_tracker = after;
            } else if let Some(tracker) = self.trackers.get_mut(usize::from(tracker)) {
                tracker.first = after;
            }
            let free = core::mem::replace(&mut self.free, at);
            if let Some(edge) = self.edges.get_mut(usize::from(at)) {
                edge.next_of_tracker = free;
            }
        }
    }
}

impl<S: Storage> Agent<S> {
    /// Adds a tracker that has not reported yet.
    pub fn add_tracker(&mut self) -> Result<TrackerId, Full> {
        let index = u16::try_from(self.trackers.trackers.len()).map_err(|_| Full)?;
        self.trackers.trackers.push(Tracker { report: None, first: END })?;
        Ok(TrackerId(index))
    }

    /// Lets a tracker bear on a Virtual Router, from now on.
    pub fn track(&mut self, now: Instant, id: RouterId, tracker: TrackerId, weight: Weight) -> Result<(), AddError> {
        let index = self.routers.index(id).ok_or(AddError::Identity)?;
        self.trackers.insert(tracker.0, index, weight)?;
        self.bear(now, index, Effect::default(), weight.effect(self.trackers.report(tracker.0)));
        Ok(())
    }

    /// The trackers that bear on a Virtual Router, the last one first, and what each has last reported.
    pub fn trackers(&self, id: RouterId) -> impl Iterator<Item = (TrackerId, Weight, Option<Report>)> + Clone + '_ {
        let first = self.routers.index(id).and_then(|index| self.trackers.first_of_router.get(index));
        let mut next = first.copied().unwrap_or(END);
        core::iter::from_fn(move || {
            let edge = self.trackers.edges.get(usize::from(next))?;
            next = edge.next_of_router;
            Some((TrackerId(edge.tracker), edge.weight, self.trackers.report(edge.tracker)))
        })
    }

    /// Takes all trackers off a Virtual Router, as before it is configured anew.
    pub fn untrack(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        self.trackers.forget(index);
        let event = self.routers.get_mut(index).and_then(|router| router.track(now, 0, false));
        self.note(now, index, event);
        self.restart(now, index, Reason::Reconfigured);
    }

    /// A tracker reports.
    pub fn handle_report(&mut self, now: Instant, tracker: TrackerId, report: Report) {
        let Some(known) = self.trackers.trackers.get_mut(usize::from(tracker.0)) else { return };
        let before = known.report.replace(report);
        let mut next = known.first;
        while let Some(edge) = self.trackers.edges.get(usize::from(next)) {
            next = edge.next_of_tracker;
            let (index, weight) = (usize::from(edge.router), edge.weight);
            self.bear(now, index, weight.effect(before), weight.effect(Some(report)));
        }
    }

    /// What bears on a Virtual Router in all from now on: an addition to its priority, and whether a tracker takes it
    /// out. For a port that keeps its trackers itself, and lets none [`track`](Self::track) the same Virtual Router.
    pub fn weigh(&mut self, now: Instant, id: RouterId, addition: i32, faulty: bool) {
        let Some(index) = self.routers.index(id) else { return };
        self.change(now, index, addition, faulty);
    }

    fn bear(&mut self, now: Instant, index: usize, before: Effect, after: Effect) {
        if before != after {
            let (weights, faulty) = self.trackers.burden(index);
            self.change(now, index, weights, faulty);
        }
    }

    /// What trackers add to a priority in all, and whether one takes the Virtual Router out, is now this.
    fn change(&mut self, now: Instant, index: usize, weights: i32, faulty: bool) {
        let event = self.routers.get_mut(index).and_then(|router| router.track(now, weights, faulty));
        self.note(now, index, event);
        self.restart(now, index, Reason::TrackerUp);
    }

    /// Starts a Virtual Router again if nothing keeps it from it any more.
    fn restart(&mut self, now: Instant, index: usize, reason: Reason) {
        if self.can_speak(index) {
            self.start(now, index, reason);
        }
        self.settle(index);
    }
}
