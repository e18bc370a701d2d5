//! Carrying out a plan: what is new is added, what is gone hands over and goes, what has changed is changed,
//! and the rest is left alone. A Virtual Router is recognised by what it is on the network, not by its name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use log::{error, info, warn};
use steadfast_core::agent::{AddError, InterfaceId, RouterConfig, RouterId, State};
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, Vrid};
use steadfast_core::wire::advertisement::Authentication;

use super::lease;
use super::links::{Links, Prepared};
use super::local::{Local, place};
use super::port::LinuxPort;
use super::{Daemon, Name};
use crate::guard;
use crate::lvs::plan::LvsPlan;
use crate::netlink::Address;
use crate::plan::routing::{PlannedRoute, StaticPlan};
use crate::plan::tracking::{Bearing, TrackingPlan};
use crate::plan::{Plan, PlannedRouter, PlannedVirtualMac};
use crate::statics::Statics;

/// What makes a Virtual Router the same one before and after a reload.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    interface: String,
    family: Family,
    vrid: Vrid,
    virtual_mac: Option<PlannedVirtualMac>,
    other_virtual_macs: Vec<(String, Family)>,
}

fn identity(planned: &PlannedRouter) -> Identity {
    Identity {
        interface: planned.interface.clone(),
        family: planned.settings.family,
        vrid: planned.settings.vrid,
        virtual_mac: planned.virtual_mac.clone(),
        other_virtual_macs: planned.other_virtual_macs().into_iter().map(|(name, of)| (name.to_owned(), of)).collect(),
    }
}

impl Daemon {
    /// Makes the agent what the plan says. Waits for the kernel only if the plan names an interface that none
    /// before it did.
    ///
    /// # Errors
    /// The kernel did not tell of its interfaces; no Virtual Router has changed then.
    pub(super) fn apply(&mut self, now: Instant, prepared: Prepared) -> io::Result<()> {
        let Prepared { plan, links, there } = prepared;
        let Plan { routers, groups, delays, pacing, tracking, lvs, notify, urgency, statics, .. } = plan;
        let mut running: HashMap<Identity, RouterId> = HashMap::new();
        let ordered: HashSet<RouterId> = self.order.iter().copied().collect();
        for local in self.port.locals.iter().flatten() {
            if ordered.contains(&local.id) {
                running.insert(identity(&local.plan), local.id);
            }
        }
        self.services = lvs.services.len();
        self.delays.plan(delays);
        self.port.pace(&self.agent, pacing);
        if let Err(error) = self.learn(now, &routers, &tracking) {
            for (router, links) in routers.iter().zip(links) {
                self.give_back(&Name::from(&*router.name), links.unwrap_or_default());
            }
            return Err(error);
        }
        // Before anything is started that it holds for.
        guard::urgency::follow(urgency);
        self.port.notices.plan(&self.agent, &notify);
        self.keep_static(statics);
        let planned: Vec<_> =
            routers.into_iter().map(|planned| (running.remove(&identity(&planned)), planned)).zip(links).collect();

        // Before anything is added: whoever takes the place of one that goes may have its VRID.
        let gone: HashSet<RouterId> = running.into_values().collect();
        for gone in self.order.iter().copied().filter(|id| gone.contains(id)) {
            let LinuxPort { locals, notices, .. } = &mut self.port;
            if let Some(local) = locals.get(gone.index()).and_then(Option::as_ref) {
                notices.removed(&self.agent, local);
            }
            self.agent.remove(now, gone);
        }
        let tracking = Arc::new(tracking);
        self.know_trackers(now, &tracking);
        let mut order = Vec::with_capacity(planned.len());
        let mut kept = HashSet::new();
        for ((old, router), links) in planned {
            let name = Name::from(&*router.name);
            match old {
                Some(id) => {
                    // It has its interfaces, if it wants some.
                    self.give_back(&name, links.unwrap_or_default());
                    if let Err(problem) = self.change(now, id, router) {
                        error!("{name}: {problem}; it stays as it was");
                    }
                    order.push(id);
                    kept.insert(id);
                }
                None => {
                    let bearings = tracking.bearings.get(&*name).map_or(&[][..], Vec::as_slice);
                    let added = links.and_then(|links| {
                        self.add(now, router, links.clone(), &there, bearings)
                            .inspect_err(|_| self.give_back(&name, links))
                    });
                    match added {
                        Ok(id) => {
                            order.push(id);
                            if self.agent.view(id).is_some_and(|view| view.state == State::Active) {
                                kept.insert(id);
                            }
                        }
                        Err(problem) => error!("{name}: {problem}; it is left out"),
                    }
                }
            }
        }
        let groups = self.leave_out_broken(now, &mut order, groups);
        self.order = order;
        if let Err(error) = self.watch_routing() {
            warn!("routes that somebody removes are not put back: {error}");
        }
        self.regroup(now, &groups);
        self.track(now, tracking, &kept);
        self.note_drains();
        self.note_cautious();
        self.ignoring = self.port.locals.iter().flatten().any(|local| local.plan.options.ignores_others);
        let LinuxPort { locals, notices, .. } = &mut self.port;
        let routers = self.order.iter().filter_map(|id| locals.get(id.index())?.as_ref());
        notices.applied(&self.agent, routers);
        for id in self.order.clone() {
            self.tell_kept_out(id);
        }
        let LinuxPort { locals, notices, .. } = &mut self.port;
        notices.repeat(&self.agent, self.order.iter().filter_map(|id| locals.get(id.index())?.as_ref()));
        self.balance(lvs);
        Ok(())
    }

    /// Has what is static kept from now on; waits for the kernel only where there was nothing before.
    pub(super) fn keep_static(&mut self, plan: StaticPlan) {
        match &self.statics {
            Some(statics) => statics.plan(plan),
            None if plan.is_empty() => {}
            None => match Statics::start(plan) {
                Ok(statics) => self.statics = Some(statics),
                Err(error) => error!("static addresses, routes and rules cannot be put on: {error}"),
            },
        }
    }

    /// Has the director follow its part of the plan.
    fn balance(&mut self, lvs: LvsPlan) {
        let LinuxPort { balancing, notices, .. } = &mut self.port;
        balancing.plan(lvs, notices.balancing_outlet());
        let Some(followed) = self.port.balancing.followed().cloned() else { return };
        let locals = self.port.locals.iter().flatten();
        let router = locals.filter(|local| local.name == followed).find_map(|local| self.agent.view(local.id));
        let active = router.is_some_and(|view| view.state == State::Active);
        self.port.balancing.router(&followed, active);
    }

    /// Learns of the interfaces that these routers are on, and of their addresses.
    fn learn(&mut self, now: Instant, routers: &[Arc<PlannedRouter>], tracking: &TrackingPlan) -> io::Result<()> {
        let known = self.port.interfaces.len();
        for router in routers {
            self.interface(&router.interface)?;
            for device in router.all_addresses().filter_map(|address| address.device.as_ref()) {
                self.interface(device)?;
            }
            let routes = router.routing.iter().flat_map(|routing| &routing.routes);
            for device in routes.flat_map(PlannedRoute::devices) {
                self.interface(device)?;
            }
        }
        self.watch_tracked(tracking)?;
        self.note_addresses(routers.iter().map(|router| &**router));
        if self.port.interfaces.len() > known {
            return self.reread(now);
        }
        // Which address is the source depends on which ones are virtual.
        for at in 0..known {
            self.tell(now, at);
        }
        Ok(())
    }

    /// The number of an interface, which is watched from now on.
    pub(super) fn interface(&mut self, name: &str) -> io::Result<usize> {
        if let Some(at) = self.port.interfaces.at(name) {
            return Ok(at);
        }
        let id = self.agent.add_interface().map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(self.port.interfaces.add(&Name::from(name), id))
    }

    /// Notes which addresses are virtual, and which groups are listened to where.
    fn note_addresses<'a>(&mut self, routers: impl Iterator<Item = &'a PlannedRouter>) {
        for interface in self.port.interfaces.iter_mut() {
            interface.virtual_addresses.clear();
            interface.owned.clear();
            interface.has_headers = false;
        }
        let mut wanted_v4: HashMap<usize, BTreeSet<IpAddr>> = HashMap::new();
        let mut wanted_v6: HashMap<usize, BTreeSet<IpAddr>> = HashMap::new();
        for router in routers {
            for address in router.all_addresses() {
                let on = address.device.as_ref().unwrap_or(&router.interface);
                let Some(at) = self.port.interfaces.at(on) else { continue };
                let Some(interface) = self.port.interfaces.get_mut(at) else { continue };
                interface.virtual_addresses.insert(address.address);
                if router.settings.priority.is_owner() {
                    interface.owned.insert(address.address);
                }
            }
            let Some(at) = self.port.interfaces.at(&router.interface) else { continue };
            let family = if router.settings.family == Family::V4 { &mut wanted_v4 } else { &mut wanted_v6 };
            let groups = family.entry(at).or_default();
            groups.extend(router.peers.is_empty().then_some(router.settings.group));
            if let (Authentication::Header(_), Some(interface)) =
                (router.settings.authentication, self.port.interfaces.get_mut(at))
            {
                interface.has_headers = true;
            }
        }
        for at in 0..self.port.interfaces.len() {
            let groups = [wanted_v4.remove(&at), wanted_v6.remove(&at)];
            let Some(interface) = self.port.interfaces.get_mut(at) else { continue };
            // Sockets that listen to all that is wanted, and to nothing else, stay.
            let same = [&interface.groups_v4, &interface.groups_v6] == [&groups[0], &groups[1]]
                && (interface.has_headers || interface.receive_headers.is_none());
            [interface.groups_v4, interface.groups_v6] = groups;
            if !same {
                self.close(at);
            }
            self.listen(at);
        }
    }

    fn add(
        &mut self,
        now: Instant,
        router: Arc<PlannedRouter>,
        links: Links,
        there: &[Address],
        bearings: &[Bearing],
    ) -> Result<RouterId, String> {
        let at = self.port.interfaces.at(&router.interface).ok_or("its interface is not known")?;
        let interface = self.port.interfaces.get(at).ok_or("its interface is not known")?;
        let id = interface.id;
        if interface.index.is_none() {
            warn!("{}: {} does not exist yet; it is waited for", router.name, router.interface);
        }
        let leftovers: Vec<_> = router
            .all_addresses()
            .filter(|_| !router.settings.priority.is_owner())
            .filter_map(|planned| {
                let place = place(&router, &self.port.interfaces, at, &links, planned)?;
                Some(planned.spec(place.on))
            })
            .filter(|spec| there.iter().any(|known| known.interface == spec.interface && known.ip == spec.ip))
            // What another of our routers holds is no leftover.
            .filter(|spec| self.port.holders.of(spec.interface, spec.ip).is_empty())
            .collect();
        let held = !leftovers.is_empty();
        // Whoever goes on is not kept out by a tracker that has not said anything yet.
        let (addition, faulty) = self.tracking.known(bearings);
        let drained = self.drains.has(&router.name);
        let predecessor = self.predecessors.of(now, &router).filter(|_| !faulty && !drained);
        let strictly = self.tracking.initial(bearings);
        let added = self.with_config(&router, id, |agent, config| match predecessor {
            Some(_) => agent.go_on(now, config, held, addition),
            // Who is drained must not begin: what trackers really say of it follows.
            None => agent.add_weighed(now, config, held, strictly.0, strictly.1 || drained),
        });
        if let Some(advertised) = predecessor {
            let ago = now.since(advertised).as_micros() / 1000;
            info!("{}: goes on as Active; its predecessor advertised {ago} ms ago", router.name);
        } else if held {
            warn!("{}: {} of its addresses were left by a predecessor", router.name, leftovers.len());
        }
        let id = added.map_err(|error| describe(error).to_owned())?;
        let name = Arc::from(&*router.name);
        if drained {
            self.agent.drain(now, id);
            warn!("{name}: it stays out, since it is drained; `steadfast resume` lets it in");
        }
        self.port.enter(Local { id, plan: router, name, interface: at, links, put: leftovers, found: Vec::new() });
        if predecessor.is_none() {
            let LinuxPort { routings, locals, interfaces, addresses, .. } = &mut self.port;
            if let Some(local) = locals.get(id.index()).and_then(Option::as_ref) {
                routings.clear_leftovers(local, interfaces, addresses);
            }
        }
        Ok(id)
    }

    fn change(&mut self, now: Instant, id: RouterId, router: Arc<PlannedRouter>) -> Result<(), String> {
        let local = self.port.local(id).ok_or("it is unknown")?;
        if *local.plan == *router {
            return Ok(());
        }
        let at = local.interface;
        let lease = |plan: &PlannedRouter| plan.lease.then(|| lease::seconds(&plan.settings));
        let options_changed =
            !local.plan.all_addresses().eq(router.all_addresses()) || lease(&local.plan) != lease(&router);
        let interface = self.port.interfaces.get(at).ok_or("its interface is not known")?.id;
        self.with_config(&router, interface, |agent, config| agent.reconfigure(now, id, config))
            .map_err(|error| describe(error).to_owned())?;
        self.port.replan(id, router);
        let holds = self.agent.view(id).is_some_and(|view| view.state == State::Active && view.holds);
        if let Some(local) = self.port.locals.get(id.index()).and_then(Option::as_ref).filter(|_| holds) {
            self.port.routings.begin(local);
        }
        if options_changed {
            self.agent.reacquire(id);
        }
        if self.agent.view(id).is_some_and(|view| view.state == State::Active && view.holds) {
            self.port.advertise_router_anew(id);
        }
        Ok(())
    }

    /// Hands the core's form of a plan to `with`.
    fn with_config<T>(
        &mut self,
        router: &PlannedRouter,
        interface: InterfaceId,
        with: impl FnOnce(&mut super::Agent<super::Heap>, &RouterConfig<'_>) -> T,
    ) -> T {
        let addresses: Vec<_> = router.addresses.iter().map(|planned| planned.address).collect();
        let excluded: Vec<_> = router.excluded.iter().map(|planned| planned.address).collect();
        let PlannedRouter { settings, ref peers, .. } = *router;
        with(&mut self.agent, &RouterConfig { interface, settings, addresses: &addresses, excluded: &excluded, peers })
    }

    /// Clears away what retired routers leave.
    pub(super) fn bury(&mut self) {
        for local in std::mem::take(&mut self.port.retired) {
            self.give_back(&local.name, local.links);
        }
    }

    fn give_back(&self, router: &Name, links: Links) {
        if links.iter().next().is_some() {
            self.links.remove(Arc::clone(router), links);
        }
    }
}

fn describe(error: AddError) -> &'static str {
    match error {
        AddError::Full => "there is no room for it",
        AddError::Duplicate => "its interface, family and VRID are taken",
        AddError::Interface => "its interface is not known",
        AddError::Addresses => "it has no address to advertise, or more than 255, or one of the wrong family",
        AddError::Identity => "it cannot become another one while it runs",
    }
}
