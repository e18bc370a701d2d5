//! What is tracked, as the loop knows it: the last value of each tracker, what it bears on, and what that comes to. The
//! looking is done by a thread ([`crate::tracking`]), but for interfaces, of which the loop hears itself. A tracker that is
//! new to a running virtual router bears on it only once it has said something: no reload takes a router out that nothing
//! is wrong with.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};
use steadfast_core::agent::{Report, RouterId, State, Weight};
use steadfast_core::text::Tracked;
use steadfast_core::time::Instant;
use steadfast_core::types::Family;

use super::port::LinuxPort;
use super::{Daemon, Name};
use crate::logging::limiter::WINDOW;
use crate::plan::tracking::{Bearing, Kind, Subject, Tracker, TrackerName, TrackingPlan, Value};
use crate::status::tracking::{BearingStatus, TrackerStatus};
use crate::timestamp::Timestamp;
use crate::tracking::{News, Watcher};

/// Changes of one tracker that get lines in a minute.
const LINES: u32 = 12;

/// How long a stop waits for scripts to be ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// All trackers.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    watcher: Option<Watcher>,
    /// What the file says of it.
    plan: Arc<TrackingPlan>,
    /// Whether `track_src_ip` is in it.
    has_sources: bool,
    trackers: HashMap<TrackerName, Seen>,
    /// What bears on whom.
    edges: HashMap<RouterId, Vec<Edge>>,
}

/// What is known of a tracker.
#[derive(Debug)]
struct Seen {
    value: Option<Value>,
    since: Instant,
    result: Arc<str>,
    lines: Lines,
    /// On whom it bears.
    routers: BTreeSet<RouterId>,
}

/// A tracker bearing on a virtual router.
#[derive(Debug)]
struct Edge {
    bearing: Bearing,
    /// It bears even before it has said something.
    strict: bool,
}

/// The lines of the log that a tracker has taken of late: one that changes its mind all the time gets some of them only.
#[derive(Debug, Default)]
struct Lines {
    since: Instant,
    count: u32,
    unsaid: u64,
}

impl Lines {
    /// Whether a change gets a line.
    fn take(&mut self, now: Instant) -> bool {
        if now.since(self.since) > WINDOW {
            if self.unsaid > 0 {
                info!("{} changes of the tracker below were not logged", self.unsaid);
            }
            *self = Self { since: now, ..Self::default() };
        }
        let takes = self.count < LINES;
        if takes {
            self.count += 1
        } else {
            self.unsaid += 1
        }
        takes
    }
}

impl Tracking {
    /// What the file says of it.
    pub(super) fn plan(&self) -> Arc<TrackingPlan> {
        Arc::clone(&self.plan)
    }

    fn value(&self, tracker: &TrackerName) -> Option<Value> {
        self.trackers.get(tracker).and_then(|seen| seen.value)
    }

    /// What bears on a virtual router now, and how.
    fn effects(&self, router: RouterId) -> impl Iterator<Item = (&Bearing, Weight, Option<Report>)> {
        let edges = self.edges.get(&router).into_iter().flatten();
        edges.filter_map(|Edge { bearing, strict }| {
            let value = self.value(&bearing.tracker);
            let (weight, report) = bearing.effect(value);
            (*strict || value.is_some()).then_some((bearing, weight, report))
        })
    }

    /// What that comes to: an addition to the priority, and whether one takes it out.
    fn sum(&self, router: RouterId) -> (i32, bool) {
        total(self.effects(router).map(|(_, weight, report)| (weight, report)))
    }

    /// Whether a tracker that has said something takes a virtual router out.
    fn is_down(&self, router: RouterId) -> bool {
        self.effects(router).any(|(_, weight, report)| report.is_some() && weight.is_fault(report))
    }

    /// What trackers come to for a virtual router that is to be.
    pub(super) fn initial(&self, bearings: &[Bearing]) -> (i32, bool) {
        let effects = bearings.iter().map(|bearing| bearing.effect(self.value(&bearing.tracker)));
        total(effects)
    }

    /// The same without the trackers that have not said anything yet.
    pub(super) fn known(&self, bearings: &[Bearing]) -> (i32, bool) {
        let values = bearings.iter().filter_map(|bearing| Some((bearing, self.value(&bearing.tracker)?)));
        total(values.map(|(bearing, value)| bearing.effect(Some(value))))
    }

    /// The interfaces that are tracked.
    fn interfaces(plan: &TrackingPlan) -> impl Iterator<Item = &Name> {
        plan.trackers
            .iter()
            .map(|tracker| &tracker.name)
            .filter(|name| name.kind == Kind::Interface)
            .map(|name| &name.name)
    }

    /// For `steadfast explain`, one after the other.
    pub(super) fn explain(&self, router: RouterId) -> Vec<(String, Weight, Option<Report>)> {
        let effects = self.effects(router).map(|(bearing, weight, report)| {
            let TrackerName { kind, name } = &bearing.tracker;
            let mut text = format!("{kind} {name}");
            if let Some(Value::Number(number)) = self.value(&bearing.tracker) {
                text += &format!(" (its number is {number})");
            } else if bearing.reverse {
                text += " (reverse)";
            }
            (text, weight, report)
        });
        effects.collect()
    }

    /// For `steadfast status`.
    pub(super) fn status(
        &self,
        now: Instant,
        wall: Timestamp,
        name: impl Fn(RouterId) -> Option<Name>,
    ) -> Vec<TrackerStatus> {
        let mut list: Vec<_> = self.trackers.iter().collect();
        list.sort_by_key(|(name, _)| *name);
        let status = |(tracker, seen): (&TrackerName, &Seen)| TrackerStatus {
            name: Arc::clone(&tracker.name),
            kind: tracker.kind,
            up: match seen.value {
                Some(Value::Up) => Some(true),
                Some(Value::Down) => Some(false),
                _ => None,
            },
            number: if let Some(Value::Number(number)) = seen.value { Some(number) } else { None },
            since: wall.earlier_by(now.since(seen.since)),
            result: Arc::clone(&seen.result),
            bears_on: seen
                .routers
                .iter()
                .filter_map(|router| {
                    let of = |edge: &&Edge| edge.bearing.tracker == *tracker;
                    let bearing = &self.edges.get(router)?.iter().find(of)?.bearing;
                    let (weight, report) = bearing.effect(seen.value);
                    Some(BearingStatus {
                        router: name(*router)?,
                        weight: bearing.weight,
                        reverse: bearing.reverse,
                        adds: weight.addition(report),
                        fault: weight.is_fault(report),
                    })
                })
                .collect(),
        };
        list.into_iter().map(status).collect()
    }
}

impl Daemon {
    /// The interfaces that this plan tracks are watched from now on.
    pub(super) fn watch_tracked(&mut self, plan: &TrackingPlan) -> io::Result<()> {
        for name in Tracking::interfaces(plan) {
            self.interface(name)?;
        }
        Ok(())
    }

    /// These are the trackers from now on; what is known of them stays.
    pub(super) fn know_trackers(&mut self, now: Instant, plan: &Arc<TrackingPlan>) {
        self.tracking.plan = Arc::clone(plan);
        self.tracking.has_sources = plan.trackers.iter().any(|tracker| tracker.name.kind == Kind::Source);
        let trackers = &mut self.tracking.trackers;
        let names: HashSet<&TrackerName> = plan.trackers.iter().map(|tracker| &tracker.name).collect();
        trackers.retain(|name, _| names.contains(name));
        for name in names {
            let unseen = || Seen {
                value: None,
                since: now,
                result: "".into(),
                lines: Lines::default(),
                routers: BTreeSet::new(),
            };
            trackers.entry(name.clone()).or_insert_with(unseen).routers.clear();
        }
        for at in 0..self.port.interfaces.len() {
            self.tracked_interface(now, at);
        }
        for tracker in plan.trackers.iter().filter(|tracker| tracker.name.kind == Kind::Peers) {
            let (tracker, result) = (tracker.name.clone(), "there is no peer");
            self.tracker_says(now, News { tracker, value: Some(Value::Down), result: result.into() });
        }
    }

    /// Lets trackers bear on whom the plan says, after [`Self::know_trackers`]; `kept` are the virtual routers that were
    /// there before, or go on as Active from an agent before this one.
    pub(super) fn track(&mut self, now: Instant, plan: Arc<TrackingPlan>, kept: &HashSet<RouterId>) {
        let tracking = &mut self.tracking;
        let mut before = std::mem::take(&mut tracking.edges);
        for id in &self.order {
            let Some(local) = self.port.local(*id) else { continue };
            let Some(bearings) = plan.bearings.get(&*local.name) else { continue };
            let known = before.remove(id).unwrap_or_default();
            let runs = kept.contains(id) && self.agent.view(*id).is_some_and(|view| view.state != State::Initialize);
            let edges = bearings.iter().map(|bearing| {
                let was = known.iter().find(|edge| edge.bearing.tracker == bearing.tracker);
                Edge { bearing: bearing.clone(), strict: was.map_or(!runs, |edge| edge.strict) }
            });
            for bearing in bearings {
                if let Some(seen) = tracking.trackers.get_mut(&bearing.tracker) {
                    seen.routers.insert(*id);
                }
            }
            tracking.edges.insert(*id, edges.collect());
        }
        for id in self.order.clone() {
            self.weigh(now, id, true);
        }
        self.look(plan);
    }

    /// Who cannot even begin because of what a tracker says is told of, with its sync group.
    pub(super) fn tell_kept_out(&mut self, id: RouterId) {
        if !self.tracking.is_down(id) {
            return;
        }
        let LinuxPort { locals, notices, .. } = &mut self.port;
        let group = self.agent.view(id).and_then(|view| view.sync_group);
        let members = group.into_iter().flat_map(|group| self.agent.members(group));
        for local in members.chain([id]).filter_map(|member| locals.get(member.index())?.as_ref()) {
            notices.kept_out(&self.agent, local);
        }
    }

    /// Has the thread look at what the plan says.
    fn look(&mut self, plan: Arc<TrackingPlan>) {
        let of_the_loop = |kind| matches!(kind, Kind::Interface | Kind::Source | Kind::Peers);
        let needed = plan.trackers.iter().any(|tracker| !of_the_loop(tracker.name.kind));
        match &self.tracking.watcher {
            Some(watcher) => watcher.plan(plan),
            None if !needed => {}
            None => match Watcher::start(plan) {
                Ok(watcher) => {
                    self.polls.add(watcher.as_fd());
                    self.tracking.watcher = Some(watcher);
                }
                Err(error) => error!("scripts, files, processes and probes are not tracked: {error}"),
            },
        }
    }

    /// Takes in what the thread has seen.
    pub(super) fn seen(&mut self, now: Instant) {
        let Some(watcher) = &self.tracking.watcher else { return };
        if !self.polls.is_ready(watcher.as_fd()) {
            return;
        }
        watcher.lower();
        let mut all = Vec::new();
        while let Some(news) = watcher.news() {
            all.push(news);
        }
        for news in all {
            self.tracker_says(now, news);
        }
    }

    /// Takes in what an interface that may be tracked is like now.
    pub(super) fn tracked_interface(&mut self, now: Instant, at: usize) {
        self.tracked_sources(now, at);
        let Some(interface) = self.port.interfaces.get(at) else { return };
        let tracker = TrackerName { kind: Kind::Interface, name: Arc::clone(&interface.name) };
        if !self.tracking.trackers.contains_key(&tracker) {
            return;
        }
        // As it counts, see `interface_up_down_delays`.
        let up = self.agent.interface(interface.id, Family::V4).0;
        let (up, result) = match interface.index {
            None => (false, "there is no such interface"),
            Some(_) if up => (true, "it is up"),
            Some(_) => (false, "it is down"),
        };
        self.tracker_says(now, News { tracker, value: Some(up.into()), result: result.into() });
    }

    /// Takes in whether the addresses that are wanted on an interface are there (`track_src_ip`).
    fn tracked_sources(&mut self, now: Instant, at: usize) {
        let Some(interface) = self.port.interfaces.get(at).filter(|_| self.tracking.has_sources) else { return };
        let plan = self.tracking.plan();
        let says = |tracker: &Arc<Tracker>| match &tracker.subject {
            Subject::Source(source) if *source.interface == *interface.name => {
                let there = interface.has(source.address);
                let result = if there { "it is there" } else { "it is not there" };
                Some(News { tracker: tracker.name.clone(), value: Some(there.into()), result: result.into() })
            }
            _ => None,
        };
        let news: Vec<News> = plan.trackers.iter().filter_map(says).collect();
        news.into_iter().for_each(|news| self.tracker_says(now, news));
    }

    fn tracker_says(&mut self, now: Instant, news: News) {
        let News { tracker, value, result } = news;
        let Some(seen) = self.tracking.trackers.get_mut(&tracker) else { return };
        seen.result = result;
        if seen.value == value {
            return;
        }
        (seen.value, seen.since) = (value, now);
        let routers: Vec<_> = seen.routers.iter().copied().collect();
        let TrackerName { kind, name } = &tracker;
        let result = &seen.result;
        let said = seen.lines.take(now);
        match (kind, value) {
            (_, None) => {}
            _ if !said => {}
            (Kind::Script, Some(Value::Up)) => info!("VRRP_Script({name}) succeeded"),
            (Kind::Script, _) => warn!("VRRP_Script({name}) failed ({result})"),
            (Kind::Interface, _) => info!("tracked interface {name}: {result}"),
            (Kind::File, Some(value)) => info!("track_file {name} says {value} ({result})"),
            (Kind::Probe, Some(Value::Up)) => info!("vrrp_probe {name} is up ({result})"),
            (Kind::Probe, _) => warn!("vrrp_probe {name} is down ({result})"),
            (Kind::Source, _) => info!("track_src_ip {name}: {result}"),
            (Kind::Peers, _) => info!("unicast_fault_no_peer: {result}"),
            (Kind::Process, Some(value)) => info!("vrrp_track_process {name} is {value} ({result})"),
        }
        for router in routers {
            self.weigh(now, router, said);
            self.tell_kept_out(router);
        }
    }

    /// Tells the core what bears on a virtual router in all, and perhaps the log.
    fn weigh(&mut self, now: Instant, id: RouterId, said: bool) {
        let (addition, faulty) = self.tracking.sum(id);
        let before = self.agent.view(id).map(|view| view.effective_priority);
        self.agent.weigh(now, id, addition, faulty);
        let after = self.agent.view(id).map(|view| view.effective_priority);
        let LinuxPort { locals, notices, .. } = &mut self.port;
        if let (Some(before), Some(after), Some(Some(local))) = (before, after, locals.get(id.index()))
            && before != after
        {
            notices.priority(&self.agent, local);
            if said {
                info!("({}) Changing effective priority from {} to {}", local.name, before.get(), after.get());
            }
        }
    }

    /// Ends all scripts; waits for it.
    pub(super) fn stop_tracking(&mut self) {
        if let Some(watcher) = self.tracking.watcher.take() {
            self.polls.remove(watcher.as_fd());
            if !watcher.stop(PATIENCE) {
                warn!("scripts could not be ended in time");
            }
        }
    }
}

/// An addition to a priority, and whether one takes out whom they bear on.
fn total(effects: impl Iterator<Item = (Weight, Option<Report>)>) -> (i32, bool) {
    effects.fold((0, false), |(addition, faulty), (weight, report)| {
        (addition + weight.addition(report), faulty || weight.is_fault(report))
    })
}

/// A tracker for the core's explanation.
pub(super) fn tracked<'a>(explained: &'a [(String, Weight, Option<Report>)], number: usize) -> Option<Tracked<'a>> {
    explained.get(number).map(|(name, weight, report)| Tracked { name, weight: *weight, report: *report })
}
