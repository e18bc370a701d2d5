//! The director's loop: events are taken in before deadlines are looked at, verdicts go to the pools, and what the
//! pools want goes to the kernel, once for all that has happened at the same time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use log::{error, info, warn};
use steadfast_core::time::{Duration, Instant};

use super::checks::{Checks, Place, Remark, untoken};
use super::keeper::{INTERVAL, Keeper};
use super::kernel::Kernel;
use super::notices::Notices;
use super::presence::Presence;
use super::questions::LastCount;
use super::sync::Sync;
use super::{Command, Inbox, Memory};
use crate::control::Answer;
use crate::guard::urgency::{self, Who};
use crate::ipvs::row::ServiceKey;
use crate::ipvs::table::Row;
use crate::lvs::plan::{FlushOnStop, LvsPlan, VirtualServer};
use crate::lvs::pool::{Pool, PoolEvent, heritage};
use crate::lvs::probe::TlsContext;
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Events, Interest};

/// Tokens of what is no check; no check has so high a slot.
const WAKE: u64 = u64::MAX;
const PROGRAMS: u64 = u64::MAX - 1;
const SCRIPTS: u64 = u64::MAX - 2;
const PRESENCE: u64 = u64::MAX - 3;

/// Batches of events that are taken in before deadlines are looked at.
const BATCHES: usize = 64;

/// Everything that the loop holds.
pub(super) struct Engine<'a> {
    inbox: &'a Inbox,
    pub(super) memory: &'a mut Memory,
    epoll: Epoll,
    events: Events,
    pub(super) services: Vec<Service>,
    pub(super) checks: Checks,
    pub(super) kernel: Kernel,
    pub(super) keeper: Keeper,
    sync: Sync,
    /// When daemons and timeouts are looked at again.
    sync_at: Instant,
    notices: Notices,
    /// What nobody has been told yet, by virtual server.
    news: Vec<(Arc<VirtualServer>, Vec<PoolEvent>)>,
    presence: Option<Presence>,
    pub(super) counted: LastCount,
    /// Services whose rows may have changed.
    pub(super) changed: BTreeSet<usize>,
    stopped: bool,
}

/// A virtual server at work.
pub(super) struct Service {
    pub(super) pool: Pool,
    /// The slots of its checks, by real server.
    pub(super) slots: Vec<Vec<usize>>,
    /// Whether its checks rest (`ha_suspend`).
    rests: bool,
}

impl<'a> Engine<'a> {
    pub(super) fn new(inbox: &'a Inbox, memory: &'a mut Memory) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let (checks, notices) = (Checks::new()?, Notices::new()?);
        epoll.add(inbox.wake.as_fd(), Interest::READABLE, WAKE)?;
        epoll.add(checks.as_fd(), Interest::READABLE, PROGRAMS)?;
        epoll.add(notices.as_fd(), Interest::READABLE, SCRIPTS)?;
        Ok(Self {
            inbox,
            memory,
            epoll,
            events: Events::default(),
            services: Vec::new(),
            checks,
            kernel: Kernel::default(),
            keeper: Keeper::default(),
            sync: Sync::default(),
            sync_at: Instant::default(),
            notices,
            news: Vec::new(),
            presence: None,
            counted: LastCount::default(),
            changed: BTreeSet::new(),
            stopped: false,
        })
    }

    /// The loop, until it is told to stop.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn work(&mut self) -> io::Result<()> {
        self.apply(clock::now(), Arc::clone(&self.memory.plan));
        while !self.stopped {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let due = self.due();
        let mut timeout = due.map(|due| due.since(clock::now()));
        let mut now = clock::now();
        for batch in 0..BATCHES {
            self.epoll.wait(&mut self.events, timeout)?;
            // Before what has happened is taken in: no deadline fires ahead of what came before it.
            now = clock::now();
            if batch == 0 {
                urgency::woke(Who::Director, due, now);
            }
            self.take_in(now)?;
            if !self.events.is_full() {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        self.checks.read_on(now, &self.epoll);
        self.checks.poll_programs(now, &self.epoll)?;
        self.checks.expire(now, &self.epoll);
        self.hear(now);
        self.keep(now);
        self.tell(now);
        self.notices.poll(now)
    }

    fn due(&self) -> Option<Instant> {
        if !self.changed.is_empty() {
            return Some(Instant::default());
        }
        let keeper = match self.kernel.due() {
            Some(retry) => self.keeper.due().map(|_| retry),
            None => self.keeper.due().map(|due| due.min(self.sync_at)),
        };
        [self.checks.due(), keeper, self.notices.due()].into_iter().flatten().min()
    }

    /// Takes in one batch of events.
    fn take_in(&mut self, now: Instant) -> io::Result<()> {
        let (mut woken, mut news) = (false, false);
        for ready in self.events.iter() {
            match ready.token {
                WAKE => woken = true,
                PRESENCE => news = true,
                // Looked at in every turn.
                PROGRAMS | SCRIPTS => {}
                token => {
                    let (slot, serial) = untoken(token);
                    self.checks.ready(now, &self.epoll, slot, serial, ready.failed);
                }
            }
        }
        if news && let Some(presence) = &mut self.presence {
            match presence.take_in() {
                Ok(()) => self.rest(now),
                Err(error) => warn!("ha_suspend: the kernel's addresses are not known: {error}"),
            }
        }
        if woken {
            self.inbox.wake.lower();
            while let Ok(command) = self.inbox.commands.try_recv() {
                self.obey(now, command);
            }
        }
        Ok(())
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            _ if self.stopped => {}
            Command::Plan(plan, outlet) => {
                self.memory.outlet = outlet;
                self.apply(now, plan);
            }
            Command::Router { name, active } => {
                let before = self.memory.is_active();
                self.memory.set_active(&name, active);
                if self.memory.is_active() != before {
                    self.sync_at = Instant::default();
                }
            }
            Command::Status(request, snapshot) => {
                let snapshot = snapshot.with_lvs(self.status(now));
                request.answer(Answer::Status(snapshot));
            }
            Command::Server(request, command) => {
                let answer = self.command(now, &command);
                request.answer(Answer::Server(answer));
            }
            Command::Stop => self.stop(now),
        }
    }

    /// Makes the director what the plan says: what is in both plans goes on undisturbed.
    fn apply(&mut self, now: Instant, plan: Arc<LvsPlan>) {
        self.notices.tell_to(self.memory.outlet.clone());
        match TlsContext::load(&plan) {
            Ok(tls) => self.checks.set_tls(tls),
            Err(error) => error!("{error}"),
        }
        let mut owners: HashMap<ServiceKey, usize> = HashMap::new();
        for (index, service) in self.services.iter().enumerate() {
            owners.extend(service.pool.plan().keys.iter().map(|key| (*key, index)));
        }
        let mut olds: Vec<Option<Service>> = std::mem::take(&mut self.services).into_iter().map(Some).collect();
        self.services.reserve_exact(plan.services.len());
        for (index, new) in plan.services.iter().enumerate() {
            let owner = new.keys.iter().find_map(|key| {
                let owner = *owners.get(key)?;
                olds.get(owner).is_some_and(Option::is_some).then_some(owner)
            });
            let old = owner.and_then(|owner| olds.get_mut(owner)).and_then(Option::take);
            let service = match old {
                Some(old) => self.reload(now, index, Arc::clone(new), old),
                None => self.begin(now, index, Arc::clone(new)),
            };
            self.services.push(service);
        }
        for old in olds.into_iter().flatten() {
            for slot in old.slots.iter().flatten() {
                self.checks.remove(now, *slot);
            }
            let plan = Arc::clone(old.pool.plan());
            for event in old.pool.end(false) {
                self.notices.event(now, &plan, event);
            }
        }
        let mut gone: BTreeSet<ServiceKey> = self.keeper.wanted().collect();
        for key in plan.services.iter().flat_map(|service| &service.keys) {
            gone.remove(key);
        }
        for key in gone {
            self.keeper.unwant(key);
        }
        self.changed = (0..self.services.len()).collect();
        self.memory.plan = plan;
        self.sync_at = Instant::default();
        self.watch_addresses();
        self.rest(now);
        info!("{} virtual servers", self.services.len());
    }

    fn begin(&mut self, now: Instant, index: usize, plan: Arc<VirtualServer>) -> Service {
        let slots = plan.servers.iter().enumerate().map(|(server, real)| {
            let checks = real.checks.iter().enumerate();
            let add =
                |(check, plan)| self.checks.add(now, Place { service: index, server, check }, Arc::clone(plan), None);
            checks.map(add).collect()
        });
        let slots = slots.collect();
        Service { pool: Pool::new(plan), slots, rests: false }
    }

    /// A virtual server after a reload.
    fn reload(&mut self, now: Instant, index: usize, plan: Arc<VirtualServer>, mut old: Service) -> Service {
        let origins = heritage(old.pool.plan(), &plan);
        let places: HashMap<_, _> =
            old.pool.plan().servers.iter().enumerate().map(|(at, real)| (real.key, at)).collect();
        let mut slots = Vec::with_capacity(plan.servers.len());
        let mut kept = HashSet::new();
        for (server, (real, origins)) in plan.servers.iter().zip(origins).enumerate() {
            let mut row = Vec::with_capacity(real.checks.len());
            for (check, (plan, origin)) in real.checks.iter().zip(origins).enumerate() {
                let place = Place { service: index, server, check };
                let at = |server: usize, check: usize| Some(*old.slots.get(server)?.get(check)?);
                let slot = match origin.and_then(|(server, check)| at(server, check)) {
                    Some(slot) => {
                        self.checks.set_place(slot, place);
                        kept.insert(slot);
                        slot
                    }
                    None => {
                        let ancestor = places.get(&real.key).and_then(|server| at(*server, check));
                        self.checks.add(now, place, Arc::clone(plan), ancestor)
                    }
                };
                row.push(slot);
            }
            slots.push(row);
        }
        for slot in old.slots.iter().flatten().filter(|slot| !kept.contains(*slot)) {
            self.checks.remove(now, *slot);
        }
        let before = Arc::clone(old.pool.plan());
        let rests = old.rests;
        for event in old.pool.take_events() {
            self.notices.event(now, &before, event);
        }
        Service { pool: Pool::reloaded(plan, old.pool), slots, rests }
    }

    /// Listens to the kernel's addresses if somebody wants to know them.
    fn watch_addresses(&mut self) {
        let wanted = self.memory.plan.services.iter().any(|service| service.ha_suspend);
        if !wanted {
            self.presence = None;
        } else if self.presence.is_none() {
            let opened = Presence::open().and_then(|presence| {
                self.epoll.add(presence.as_fd(), Interest::READABLE, PRESENCE)?;
                Ok(presence)
            });
            match opened {
                Ok(presence) => self.presence = Some(presence),
                Err(error) => error!("ha_suspend: the kernel's addresses are not known: {error}; checks do not rest"),
            }
        }
    }

    /// Lets the checks rest of virtual servers whose address is not on this machine, and wakes the others.
    fn rest(&mut self, now: Instant) {
        let Self { services, presence, checks, .. } = self;
        for service in services {
            let plan = service.pool.plan();
            let rests =
                plan.ha_suspend && presence.as_ref().is_some_and(|presence| !is_here(plan, |ip| presence.has(ip)));
            for slot in service.slots.iter().flatten() {
                checks.set_rest(now, *slot, rests);
            }
            service.rests = rests;
        }
    }

    /// Takes in what the checks have said.
    fn hear(&mut self, now: Instant) {
        for said in std::mem::take(&mut self.checks.said) {
            let Place { service: index, server, check } = said.place;
            if let Some(service) = self.services.get_mut(index) {
                service.pool.set_check(server, check, &said.verdict);
                self.changed.insert(index);
            }
        }
        for remark in std::mem::take(&mut self.checks.remarks) {
            let (Remark::Failed(place, _) | Remark::Obstacle(place, _)) = &remark;
            let Some(plan) = self.services.get(place.service).map(|service| service.pool.plan()) else { continue };
            let Some(server) = plan.servers.get(place.server) else { continue };
            let (name, key) = (&plan.name, server.key);
            match remark {
                Remark::Failed(_, reason) => {
                    self.notices.say(now, format_args!("{name}: {key} failed a check: {reason}"))
                }
                Remark::Obstacle(_, why) => {
                    self.notices.say(now, format_args!("{name}: {key} cannot be checked: {why}"))
                }
            }
        }
    }

    /// Tells what has happened to the pools: after the table is so, which is more urgent.
    fn tell(&mut self, now: Instant) {
        for (plan, events) in std::mem::take(&mut self.news) {
            for event in events {
                self.notices.event(now, &plan, event);
            }
        }
    }

    /// Has the kernel hold what the pools want.
    pub(super) fn keep(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.changed) {
            let Some(Service { pool, .. }) = self.services.get_mut(index) else { continue };
            let events = pool.take_events();
            if !events.is_empty() {
                self.news.push((Arc::clone(pool.plan()), events));
            }
            let destinations = pool.destinations();
            for service in pool.services() {
                self.keeper.want(Row { service, destinations: destinations.clone() });
            }
        }
        if self.keeper.due().is_none_or(|due| due > now) && self.sync_at > now {
            return;
        }
        let (Some(client), new) = self.kernel.client(now) else { return };
        if new {
            self.keeper.forget();
            self.sync_at = now;
        }
        let result = (|| {
            if !std::mem::replace(&mut self.memory.begun, true) && self.memory.plan.flush_at_start {
                client.flush()?;
                info!("lvs_flush: the IPVS table was emptied");
            }
            if self.sync_at <= now {
                self.sync_at = now + INTERVAL;
                let active = self.memory.is_active();
                self.sync.keep(client, &self.memory.plan, active);
            }
            self.keeper.keep(now, client)
        })();
        match result {
            Ok(()) => self.kernel.works(),
            Err(error) => self.kernel.broke(now, &error),
        }
    }

    /// Takes everything back.
    fn stop(&mut self, now: Instant) {
        self.stopped = true;
        self.tell(now);
        self.checks.clear(now);
        for service in std::mem::take(&mut self.services) {
            let plan = Arc::clone(service.pool.plan());
            for event in service.pool.end(true) {
                self.notices.event(now, &plan, event);
            }
        }
        for key in self.keeper.wanted().collect::<Vec<_>>() {
            self.keeper.unwant(key);
        }
        if let (Some(client), _) = self.kernel.client(now) {
            let cleared = match self.memory.plan.flush_on_stop {
                FlushOnStop::Everything => client.flush(),
                FlushOnStop::Rows | FlushOnStop::Services => self.keeper.keep(now, client),
            };
            if let Err(error) = cleared.and_then(|()| self.sync.undo(client)) {
                warn!("the IPVS table was not all cleared: {error}");
            }
        }
        self.notices.finish(now);
    }
}

/// Whether one of the addresses of a virtual server is on this machine; marks are everywhere.
fn is_here(plan: &VirtualServer, has: impl Fn(IpAddr) -> bool) -> bool {
    plan.keys.iter().any(|key| match *key {
        ServiceKey::Address { address, .. } => has(address),
        ServiceKey::Mark { .. } => true,
    })
}
