//! The verbs of the core's [`Port`] on Linux: Advertisements and announcements go into batches, addresses and routes into
//! netlink trains, and nothing waits. What goes where is looked up here; when and why is the core's.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use log::{debug, error};
use steadfast_core::agent::{Agent, Event, EventKind, Generation, InterfaceId, Reason, Refused, RouterId, State};
use steadfast_core::port::Port;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr, Priority};
use steadfast_core::wire::advertisement::Form;
use steadfast_core::wire::{Envelope, Full, arp, ip, ndisc};

use super::addresses::{Addresses, Step};
use super::balancing::Balancing;
use super::guards::Guards;
use super::interfaces::Interfaces;
use super::journal::{At, Journal};
use super::local::{Holders, Local, Place};
use super::measures::Measures;
use super::notify::Notices;
use super::pacing::Pacing;
use super::record::Record;
use super::routing::{Routings, Tag};
use crate::metrics::measured::Passage;
use crate::plan::PlannedRouter;
use crate::plan::pacing::PacedGroup;
use crate::radv::{Advertiser, Service};
use crate::socket::{AdvertSender, FrameSender, Sent};
use crate::storage::Heap;
use crate::supervisor::Supervisor;

/// What the verbs need.
#[derive(Debug)]
pub(super) struct LinuxPort {
    pub(super) interfaces: Interfaces,
    /// By [`RouterId::index`].
    pub(super) locals: Vec<Option<Local>>,
    pub(super) addresses: Addresses,
    pub(super) holders: Holders,
    pub(super) routings: Routings,
    pub(super) record: Record,
    pub(super) journal: Journal,
    pub(super) guards: Guards,
    pub(super) balancing: Balancing,
    pub(super) notices: Notices,
    pub(super) advertiser: Advertiser,
    pub(super) pacing: Pacing,
    /// With `--metrics`.
    pub(super) measures: Option<Box<Measures>>,
    pub(super) supervisor: Supervisor,
    /// Routers that the core has forgotten since the loop last looked.
    pub(super) retired: Vec<Local>,
    advertisements_v4: Option<AdvertSender>,
    advertisements_v6: Option<AdvertSender>,
    frames: FrameSender,
    /// Reports that the loop hands to the agent.
    pub(super) reports: Vec<(RouterId, Generation, Result<(), Refused>)>,
    now: Instant,
}

impl LinuxPort {
    /// Opens the sockets. IPv6 may be missing on this machine; then its routers never start.
    ///
    /// # Errors
    /// No privilege for raw sockets (CAP_NET_RAW) or for addresses (CAP_NET_ADMIN).
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            interfaces: Interfaces::default(),
            locals: Vec::new(),
            addresses: Addresses::start()?,
            holders: Holders::default(),
            routings: Routings::default(),
            record: Record::default(),
            journal: Journal::default(),
            guards: Guards::default(),
            balancing: Balancing::default(),
            notices: Notices::default(),
            advertiser: Advertiser::default(),
            pacing: Pacing::default(),
            measures: None,
            supervisor: Supervisor::default(),
            retired: Vec::new(),
            advertisements_v4: Some(AdvertSender::open(Family::V4)?),
            advertisements_v6: AdvertSender::open(Family::V6).ok(),
            frames: FrameSender::open()?,
            reports: Vec::new(),
            now: Instant::default(),
        })
    }

    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Enters a router, and the addresses that it has found.
    pub(super) fn enter(&mut self, local: Local) {
        for spec in &local.put {
            self.holders.enter(local.id, spec);
        }
        let at = local.id.index();
        self.record.enter(at, &local.plan);
        self.guards.forget(at);
        self.guards.set(at, &local.plan);
        if self.locals.len() <= at {
            self.locals.resize_with(at + 1, || None);
        }
        if let Some(place) = self.locals.get_mut(at) {
            *place = Some(local);
        }
    }

    /// Gives a router another plan.
    pub(super) fn replan(&mut self, router: RouterId, plan: Arc<PlannedRouter>) {
        self.guards.set(router.index(), &plan);
        if let Some(local) = self.locals.get_mut(router.index()).and_then(Option::as_mut) {
            local.name = Arc::from(&*plan.name);
            let was = std::mem::replace(&mut local.plan, plan);
            self.routings.replanned(local, &was);
        }
    }

    pub(super) fn local(&self, router: RouterId) -> Option<&Local> {
        self.locals.get(router.index())?.as_ref().filter(|local| local.id == router)
    }

    /// Sends what has been batched. Advertisements go before everything else.
    pub(super) fn flush(&mut self) {
        self.flush_advertisements();
        let sent = self.frames.flush();
        self.sent(sent);
    }

    /// Logs what has been counted since, if it is time to.
    pub(super) fn summarize(&mut self, now: Instant) {
        let Self { journal, interfaces, locals, .. } = self;
        journal.summarize(now, |at| {
            let name = match at {
                At::Interface(at) => interfaces.get(at).map(|known| &known.name),
                At::Router(at) => locals.get(at).and_then(Option::as_ref).map(|local| &local.name),
                At::Nowhere => None,
            };
            name.map_or_else(|| "what is gone now".into(), ToString::to_string)
        });
    }

    fn flush_advertisements(&mut self) {
        let v4 = self.advertisements_v4.as_mut().map(AdvertSender::flush).unwrap_or_default();
        let v6 = self.advertisements_v6.as_mut().map(AdvertSender::flush).unwrap_or_default();
        let frames = self.frames.flush();
        if let Some(measures) = &mut self.measures {
            measures.sent();
        }
        for sent in [v4, v6, frames] {
            self.sent(sent);
        }
    }

    fn sent(&mut self, sent: Sent) {
        if let Some((interface, errno)) = sent.first_failure {
            let at = self.interfaces.by_index(interface);
            let name = at.and_then(|at| self.interfaces.get(at)).map(|known| Arc::clone(&known.name));
            self.journal.send_failed(self.now, at, name.as_deref(), &io::Error::from_raw_os_error(errno));
        }
    }

    /// Takes in what the kernel has answered.
    pub(super) fn answers(&mut self) {
        let Self { addresses, reports, locals, routings, .. } = self;
        addresses.completed(|tag, result, refused| {
            let local = locals.get(tag.router.index()).and_then(Option::as_ref);
            let name = local.map_or("a router that is gone", |local| &local.name);
            routings.refused(name, &tag, &refused);
            let Some(generation) = tag.generation else { return };
            if let Err(error) = &result {
                error!("{name}: the kernel refused a change of addresses: {error}");
            }
            reports.push((tag.router, generation, result.map_err(|_| Refused)));
        });
    }

    /// Puts routes and rules on whose addresses are; whether anything was sent.
    pub(super) fn put_routes(&mut self, now: Instant) -> bool {
        let Self { routings, locals, interfaces, addresses, .. } = self;
        routings.put(now, locals, interfaces, addresses)
    }

    fn put_advertisement(
        &mut self,
        agent: &Agent<Heap>,
        router: RouterId,
        priority: Option<Priority>,
        form: Form,
    ) -> Option<Result<(), Full>> {
        let local = self.locals.get(router.index())?.as_ref()?;
        let index = self.interfaces.get(local.interface)?.index?;
        let from = local.advertises_from();
        for envelope in agent.envelopes(router) {
            let Envelope { source, destination: to, .. } = envelope;
            if self.guards.has_header(router.index()) {
                let write = |buffer: &mut [u8]| agent.emit(router, &envelope, priority, form, buffer);
                let put = self.put_with_header(index, from, router.index(), &envelope, write);
                if put.is_err() {
                    return Some(put);
                }
                continue;
            }
            let sender = match Family::of(&source) {
                Family::V4 => &mut self.advertisements_v4,
                Family::V6 => &mut self.advertisements_v6,
            };
            let guards = &mut self.guards;
            let write = |buffer: &mut [u8]| {
                let length = agent.emit(router, &envelope, priority, form, buffer)?;
                guards.seal(router.index(), &envelope, buffer, length)
            };
            let put = match from {
                Some(mac) => self.frames.push(index, |buffer| ip::emit_frame(mac, None, source, to, buffer, write)),
                None => sender.as_mut()?.push(index, source, to, write),
            };
            if put.is_err() {
                return Some(put);
            }
        }
        Some(Ok(()))
    }

    /// Queues an Advertisement behind an Authentication Header.
    fn put_with_header(
        &mut self,
        interface: u32,
        from: Option<MacAddr>,
        router: usize,
        envelope: &Envelope,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
    ) -> Result<(), Full> {
        let Self { guards, frames, advertisements_v4, .. } = self;
        let packet = |buffer: &mut [u8]| guards.emit_packet(router, envelope, buffer, write);
        match (from, envelope.destination) {
            (Some(from), to) => frames.push(interface, |buffer| {
                let (head, room) = buffer.split_at_mut_checked(ip::ETHERNET_HEADER).ok_or(Full)?;
                let length = packet(room)?;
                ip::emit_ethernet(ip::multicast_mac(to), from, ip::ETHERTYPE_IPV4, head)?;
                Ok(ip::ETHERNET_HEADER + length)
            }),
            (None, IpAddr::V4(to)) => advertisements_v4.as_mut().ok_or(Full)?.push_packet(interface, to, packet),
            (None, IpAddr::V6(_)) => Err(Full),
        }
    }

    /// These groups of interfaces are paced from now on.
    pub(super) fn pace(&mut self, agent: &Agent<Heap>, groups: Vec<PacedGroup>) {
        for (router, address) in self.pacing.plan(groups) {
            Port::announce(self, agent, router, address);
        }
    }

    /// Announces what has waited for its turn.
    pub(super) fn announce_waiting(&mut self, agent: &Agent<Heap>) {
        let is_active = |router| agent.view(router).is_some_and(|view| view.holds && view.state == State::Active);
        while let Some((router, address)) = self.pacing.next(self.now, |(router, _)| is_active(*router)) {
            let _ = self.put_announcement(router, address);
        }
    }

    /// Whether an announcement has to wait for others.
    fn waits(&mut self, router: RouterId, address: IpAddr) -> bool {
        let Self { pacing, locals, interfaces, now, .. } = self;
        if pacing.is_empty() {
            return false;
        }
        let from = locals.get(router.index()).and_then(Option::as_ref).and_then(|local| {
            let planned = local.plan.all_addresses().find(|planned| planned.address == address)?;
            interfaces.get(interfaces.by_index(local.place(interfaces, planned)?.from)?)
        });
        from.is_some_and(|from| !pacing.admit(*now, &from.name, (router, address)))
    }

    fn put_announcement(&mut self, router: RouterId, address: IpAddr) -> Option<Result<(), Full>> {
        let local = self.locals.get(router.index())?.as_ref()?;
        let planned = local.plan.all_addresses().find(|planned| planned.address == address)?;
        let Place { from, mac, .. } = local.place(&self.interfaces, planned)?;
        // RFC 9568 section 6.4.3: an Active is a router, and its Neighbour Advertisements say so.
        Some(match address {
            IpAddr::V4(address) => self.frames.push_frame(from, &arp::gratuitous(mac, address)),
            IpAddr::V6(address) => self.frames.push_frame(from, &ndisc::unsolicited(mac, address, true)),
        })
    }
}

/// Router Advertisements, of those that want them.
impl LinuxPort {
    /// A router is Active, and its addresses are on.
    pub(super) fn advertise_router(&mut self, router: RouterId) {
        let Some(local) = self.locals.get(router.index()).and_then(Option::as_ref) else { return };
        let Some(what) = &local.plan.router_advertisements else { return };
        let Some(first) = local.plan.addresses.first() else { return };
        if let (IpAddr::V6(source), Some(place)) = (first.address, local.place(&self.interfaces, first)) {
            let service = Service { interface: place.from, mac: place.mac, source, what: Arc::clone(what) };
            self.advertiser.serve(router.index(), service);
        }
    }

    /// An Active may have been configured anew.
    pub(super) fn advertise_router_anew(&mut self, router: RouterId) {
        if self.local(router).is_some_and(|local| local.plan.router_advertisements.is_some()) {
            self.advertise_router(router);
        } else {
            self.advertiser.end(router.index(), true);
        }
    }

    /// A router lets go of its addresses: for good, if it was stopped and has waited for a successor in vain for as long
    /// as one may need.
    fn end_advertising(&mut self, agent: &Agent<Heap>, router: RouterId) {
        let Some(since) = self.advertiser.silent_since(router.index()) else {
            return self.advertiser.end(router.index(), false);
        };
        let is_last = agent.view(router).is_some_and(|view| {
            let stopped = view
                .last_transition
                .is_some_and(|(.., to, reason)| to == State::Initialize && reason == Reason::Shutdown);
            let succeeded = view.heard.is_some_and(|(at, priority)| at >= since && priority.is_some());
            stopped && !succeeded && view.settings.interval.duration() <= Duration::from_secs(1)
        });
        self.advertiser.end(router.index(), is_last);
    }
}

impl Port<Heap> for LinuxPort {
    fn advertise(
        &mut self,
        agent: &Agent<Heap>,
        router: RouterId,
        _: InterfaceId,
        priority: Option<Priority>,
        form: Form,
    ) {
        if self.put_advertisement(agent, router, priority, form).is_none_or(|result| result.is_err()) {
            debug!("an Advertisement had nowhere to go");
        } else {
            if let Some(measures) = &mut self.measures {
                measures.advertises(agent, router, self.now);
            }
            // Not a farewell.
            if priority.is_some() && agent.view(router).is_some_and(|view| view.state == State::Active) {
                self.record.advertised(self.now, router.index());
            } else {
                self.record.ended(router.index());
            }
        }
    }

    fn acquire(&mut self, _: &Agent<Heap>, router: RouterId, generation: Generation) {
        self.flush_advertisements();
        let Self { locals, interfaces, holders, routings, addresses, now, .. } = self;
        let local = locals.get_mut(router.index()).and_then(Option::as_mut);
        let begun = local.is_some_and(|local| {
            let tag = Tag { router, generation: Some(generation), labels: Vec::new() };
            let begun = local.acquire(*now, interfaces, holders, addresses, tag).is_ok();
            if begun {
                routings.want(local);
            }
            begun
        });
        if !begun {
            self.reports.push((router, generation, Err(Refused)));
        }
    }

    fn release(&mut self, agent: &Agent<Heap>, router: RouterId, generation: Generation) {
        self.flush_advertisements();
        self.end_advertising(agent, router);
        let Self { locals, holders, routings, addresses, now, .. } = self;
        if let Some(local) = locals.get_mut(router.index()).and_then(Option::as_mut) {
            let gone = routings.release(*now, router);
            let labels = gone.iter().map(|held| Arc::clone(&held.label)).collect();
            let tag = Tag { router, generation: Some(generation), labels };
            local.release(*now, holders, addresses, &gone, tag);
        }
    }

    fn announce(&mut self, _: &Agent<Heap>, router: RouterId, address: IpAddr) {
        if self.waits(router, address) {
            return;
        }
        if self.put_announcement(router, address).is_none_or(|result| result.is_err()) {
            debug!("{address} could not be announced: its interface is gone");
        }
        if address.is_ipv6() {
            self.advertise_router(router);
        }
    }

    fn notify(&mut self, agent: &Agent<Heap>, event: &Event) {
        let Some(local) = self.locals.get(event.router.index()).and_then(Option::as_ref) else { return };
        if let EventKind::Transition { from, to, .. } = event.kind
            && (from == State::Active) != (to == State::Active)
        {
            self.balancing.router(&local.name, to == State::Active);
            self.supervisor.changed(event.at);
            if from == State::Active {
                self.record.ended(event.router.index());
                self.advertiser.silence(event.at, event.router.index());
            }
        }
        if let (EventKind::Transition { from, to, reason }, Some(measures)) = (event.kind, &mut self.measures) {
            measures.passed(event.router.index(), Passage { from, to, reason });
        }
        self.journal.event(event.at, event.router.index(), &local.name, event.kind);
        self.notices.event(agent, local, event);
    }

    fn retired(&mut self, router: RouterId) {
        self.record.ended(router.index());
        self.guards.forget(router.index());
        if let Some(measures) = &mut self.measures {
            measures.forget(router.index());
        }
        self.advertiser.end(router.index(), false);
        // It has been released.
        self.routings.release(self.now, router);
        if let Some(local) = self.locals.get_mut(router.index()).and_then(Option::take) {
            self.addresses.carry_out(&local.name, None, vec![Step::Forget(router.index())]);
            self.journal.forget(router.index());
            self.notices.forget(router);
            self.supervisor.changed(self.now);
            self.retired.push(local);
        }
    }
}
