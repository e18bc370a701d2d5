//! `virtual_routes` and `virtual_rules` of the routers that are Active. They go to the kernel in a train of their own,
//! after the addresses and their announcements have left, and are taken off in the train of the addresses, before them.
//! What the kernel refuses holds nothing up. One that somebody else removes is put back, at most once a second. They have
//! no lifetime: what an agent that is killed leaves is taken up, or taken off, by the next one.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use log::{error, warn};
use steadfast_core::agent::{Generation, RouterId};
use steadfast_core::time::{Duration, Instant};

use super::addresses::{Addresses, Owned, Step};
use super::interfaces::Interfaces;
use super::local::Local;
use super::{CHANGES, Daemon, Name};
use crate::netlink::{Refusal, Removal, RouteMonitor, RoutingEntry, RoutingKey};
use crate::plan::PlannedRouter;
use crate::plan::routing::PlannedRoute;

/// How long to wait before routes that somebody removes are put back once more, and for how long our own removals are
/// known as such.
const PAUSE: Duration = Duration::from_secs(1);

/// Routes and rules that are put on before the loop looks at everything else again.
const MOST_AT_ONCE: usize = 512;

/// Whose train it is.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) router: RouterId,
    /// Of a train that the core asked for.
    pub(super) generation: Option<Generation>,
    /// What its first changes are called: routes and rules.
    pub(super) labels: Vec<Arc<str>>,
}

/// A route or rule that is on, or was sent to be.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) entry: RoutingEntry,
    pub(super) label: Arc<str>,
    tracked: bool,
}

/// Of one Virtual Router.
#[derive(Debug)]
struct Routing {
    router: RouterId,
    /// They shall be on.
    wanted: bool,
    held: Vec<Held>,
    /// Before when they are not put back.
    not_before: Instant,
    /// Somebody has removed one.
    lost: bool,
}

/// How much of it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// What differs from what is held.
    Difference,
    /// All of it: what is held may be gone.
    All,
}

/// Of all Virtual Routers that have some.
#[derive(Debug, Default)]
pub(super) struct Routings {
    /// By the number of the router.
    list: BTreeMap<usize, Routing>,
    pending: BTreeMap<usize, Extent>,
    /// Which routers hold an entry: only the last one to let go takes it off.
    holders: HashMap<RoutingEntry, Vec<usize>>,
    /// What we have removed of late, of which the kernel tells us too.
    removed: Vec<(RoutingKey, Instant)>,
    monitor: Option<RouteMonitor>,
}

impl Routings {
    /// A router has, or will have at once, its addresses.
    pub(super) fn want(&mut self, local: &Local) {
        let at = local.id.index();
        if local.plan.routing.is_none() && !self.list.contains_key(&at) {
            return;
        }
        let none = || Routing {
            router: local.id,
            wanted: false,
            held: Vec::new(),
            not_before: Instant::default(),
            lost: false,
        };
        self.list.entry(at).or_insert_with(none).wanted = true;
        self.pending.insert(at, Extent::All);
    }

    /// A router has another plan.
    pub(super) fn replanned(&mut self, local: &Local, was: &PlannedRouter) {
        let at = local.id.index();
        if was.routing == local.plan.routing {
            return;
        }
        if self.list.get(&at).is_some_and(|routing| routing.wanted) {
            self.pending.entry(at).or_insert(Extent::Difference);
        }
    }

    /// A router that is Active has none yet, and its plan now has some.
    pub(super) fn begin(&mut self, local: &Local) {
        if !self.list.contains_key(&local.id.index()) {
            self.want(local);
        }
    }

    /// A router lets go of what it holds: what is to be removed for that, in this order.
    pub(super) fn release(&mut self, now: Instant, router: RouterId) -> Vec<Held> {
        let at = router.index();
        self.pending.remove(&at);
        let Some(routing) = self.list.remove(&at) else { return Vec::new() };
        self.leave(now, at, routing.held)
    }

    /// Those of `held` that nobody else holds, the last one first.
    fn leave(&mut self, now: Instant, at: usize, mut held: Vec<Held>) -> Vec<Held> {
        held.reverse();
        held.retain(|held| {
            let Some(holders) = self.holders.get_mut(&held.entry) else { return true };
            holders.retain(|holder| *holder != at);
            let last = holders.is_empty();
            if last {
                self.holders.remove(&held.entry);
            }
            last
        });
        self.removed.extend(held.iter().filter_map(|held| Some((held.entry.key()?, now))));
        held
    }

    /// An interface is up, or is another one than before: the kernel has removed what led there.
    fn interface_is_up(&mut self, locals: &[Option<Local>], name: &str) {
        for (at, routing) in &self.list {
            let plan = locals.get(*at).and_then(Option::as_ref).and_then(|local| local.plan.routing.as_ref());
            let leads_there = plan.is_some_and(|plan| plan.may_lead_over(name));
            if routing.wanted && leads_there {
                self.pending.insert(*at, Extent::All);
            }
        }
    }

    /// When [`Self::put`] has something to do.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let pending = (!self.pending.is_empty()).then_some(now);
        let lost = self.list.values().filter(|routing| routing.lost).map(|routing| routing.not_before).min();
        [pending, lost].into_iter().flatten().min()
    }

    /// Sends what is to be sent; whether anything was.
    pub(super) fn put(
        &mut self,
        now: Instant,
        locals: &[Option<Local>],
        interfaces: &Interfaces,
        addresses: &mut Addresses,
    ) -> bool {
        if self.list.is_empty() {
            return false;
        }
        for (at, routing) in &mut self.list {
            if routing.lost && routing.not_before <= now {
                routing.lost = false;
                routing.not_before = now + PAUSE;
                self.pending.insert(*at, Extent::All);
            }
        }
        let mut sent = 0;
        while sent < MOST_AT_ONCE
            && let Some((at, extent)) = self.pending.pop_first()
        {
            let Some(local) = locals.get(at).and_then(Option::as_ref) else { continue };
            sent += self.put_one(now, local, interfaces, extent, addresses);
        }
        sent > 0
    }

    /// How many changes it took.
    fn put_one(
        &mut self,
        now: Instant,
        local: &Local,
        interfaces: &Interfaces,
        extent: Extent,
        addresses: &mut Addresses,
    ) -> usize {
        let at = local.id.index();
        let Some(held) = self.list.get_mut(&at).map(|routing| std::mem::take(&mut routing.held)) else { return 0 };
        let wanted = entries(&local.plan, interfaces, |route, missing| {
            warn!("{}: {}: there is no interface {missing}", local.name, route.label);
        });
        let is_in = |list: &[Held], entry: &RoutingEntry| list.iter().any(|other| other.entry == *entry);
        let new: Vec<Held> =
            wanted.iter().filter(|one| extent == Extent::All || !is_in(&held, &one.entry)).cloned().collect();
        let gone = held.into_iter().filter(|old| !is_in(&wanted, &old.entry)).collect();
        let gone = self.leave(now, at, gone);
        for one in &wanted {
            let holders = self.holders.entry(one.entry.clone()).or_default();
            if !holders.contains(&at) {
                holders.push(at);
            }
        }
        if let Some(routing) = self.list.get_mut(&at) {
            routing.held = wanted;
        }
        let count = gone.len() + new.len();
        if count > 0 {
            let labels = gone.iter().chain(&new).map(|one| Arc::clone(&one.label)).collect();
            let changes = gone.into_iter().map(|one| Owned::Take(one.entry));
            let changes = changes.chain(new.into_iter().map(|one| Owned::Put(one.entry))).collect();
            let tag = Tag { router: local.id, generation: None, labels };
            addresses.carry_out(&local.name, Some(tag), vec![Step::Change(changes)]);
        }
        count
    }

    /// The kernel did not do what it was told.
    pub(super) fn refused(&mut self, name: &str, tag: &Tag, refused: &[Refusal]) {
        for refusal in refused {
            let Some(label) = tag.labels.get(refusal.number) else {
                warn!("{name}: the kernel does not let go of what was left by a predecessor: {refusal}");
                continue;
            };
            error!("{name}: {label}: the kernel refused it: {refusal}");
            if let Some(routing) = self.list.get_mut(&tag.router.index()) {
                routing.held.retain(|held| held.label != *label);
            }
        }
    }

    /// Has what a predecessor may have left of a new router's taken off, unless another of our routers holds it.
    pub(super) fn clear_leftovers(&self, local: &Local, interfaces: &Interfaces, addresses: &mut Addresses) {
        if local.plan.routing.is_none() {
            return;
        }
        // What leads over an interface that is not there is not there.
        let mut left = entries(&local.plan, interfaces, |_, _| ());
        left.retain(|one| !self.holders.contains_key(&one.entry));
        left.reverse();
        if left.is_empty() {
            return;
        }
        let tag = Tag { router: local.id, generation: None, labels: Vec::new() };
        let changes = left.into_iter().map(|one| Owned::Take(one.entry)).collect();
        addresses.carry_out(&local.name, Some(tag), vec![Step::Change(changes)]);
    }

    /// Something of this key was removed; the labels of what is ours of it.
    fn removed(&mut self, now: Instant, key: RoutingKey) -> Vec<(RouterId, Arc<str>)> {
        self.removed.retain(|(_, at)| now.since(*at) < PAUSE);
        if let Some(at) = self.removed.iter().position(|(removed, _)| *removed == key) {
            self.removed.swap_remove(at);
            return Vec::new();
        }
        let mut lost = Vec::new();
        for routing in self.list.values_mut().filter(|routing| routing.wanted) {
            let is_it = |held: &&Held| held.tracked && held.entry.key() == Some(key);
            if let Some(held) = routing.held.iter().find(is_it) {
                routing.lost = true;
                lost.push((routing.router, Arc::clone(&held.label)));
            }
        }
        lost
    }

    /// Nobody knows what was removed.
    fn overrun(&mut self) {
        self.list.values_mut().filter(|routing| routing.wanted).for_each(|routing| routing.lost = true);
    }
}

/// The routes and rules of a plan, as far as their interfaces are there; says which one is `missing`.
fn entries(plan: &PlannedRouter, interfaces: &Interfaces, missing: impl Fn(&PlannedRoute, &str)) -> Vec<Held> {
    let Some(routing) = &plan.routing else { return Vec::new() };
    let index = |name: &str| interfaces.get(interfaces.at(name)?)?.index;
    let mut list = Vec::with_capacity(routing.routes.len() + routing.rules.len());
    for route in &routing.routes {
        match route.on_interfaces(index) {
            Ok(message) => list.push(Held {
                entry: RoutingEntry::route(&message, route.insertion),
                label: Arc::clone(&route.label),
                tracked: !route.no_track,
            }),
            Err(name) => missing(route, name),
        }
    }
    list.extend(routing.rules.iter().map(|rule| Held {
        entry: RoutingEntry::rule(&rule.message),
        label: Arc::clone(&rule.label),
        tracked: !rule.no_track,
    }));
    list
}

impl Daemon {
    /// Listens to what becomes of routes and rules, if there are any.
    pub(super) fn watch_routing(&mut self) -> io::Result<()> {
        let wanted = self.port.locals.iter().flatten().any(|local| local.plan.routing.is_some());
        if wanted && self.port.routings.monitor.is_none() {
            let monitor = RouteMonitor::open()?;
            self.polls.add(monitor.as_fd());
            self.port.routings.monitor = Some(monitor);
        }
        Ok(())
    }

    /// Takes in what somebody has removed.
    pub(super) fn routing_news(&mut self, now: Instant) -> io::Result<()> {
        let routings = &mut self.port.routings;
        let Some(monitor) = routings.monitor.as_mut().filter(|monitor| self.polls.is_ready(monitor.as_fd())) else {
            return Ok(());
        };
        let mut news = Vec::new();
        monitor.receive(CHANGES, |removal| news.push(removal))?;
        for removal in news {
            match removal {
                Removal::Overrun => self.port.routings.overrun(),
                Removal::Of(key) => {
                    for (router, label) in self.port.routings.removed(now, key) {
                        let name = self.port.local(router).map(|local| Name::clone(&local.name));
                        let name = name.as_deref().unwrap_or_default();
                        warn!("{name}: {label}: somebody else removed it; it is put back");
                    }
                }
            }
        }
        Ok(())
    }

    /// An interface is up now.
    pub(super) fn routes_lead_again(&mut self, at: usize) {
        let super::port::LinuxPort { routings, locals, interfaces, .. } = &mut self.port;
        if let Some(interface) = interfaces.get(at) {
            routings.interface_is_up(locals, &interface.name);
        }
    }
}
