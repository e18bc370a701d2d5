//! `static_ipaddress`, `static_routes` and `static_rules`: what the machine has as long as the agent runs, whoever is
//! Active. A thread keeps them, puts back what somebody else removes or an interface has taken along when it went down,
//! and takes them off in the end; the loop never waits for it, but for the first time, since Virtual Routers may need the
//! addresses.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use crate::guard;
use crate::netlink::{
    AddressChanger, AddressSpec, Change, Client, Event, Link, Monitor, Removal, RouteMonitor, RoutingEntry,
};
use crate::plan::routing::StaticPlan;
use crate::sys::event::EventFd;
use crate::sys::poll::PollSet;

/// How long news may gather before what is missing is put back.
const GATHER: steadfast_core::time::Duration = steadfast_core::time::Duration::from_millis(200);

/// How much news is taken in at once.
const NEWS: usize = 256;

/// Something that is on, or shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Address(AddressSpec),
    Routing(RoutingEntry),
}

impl Thing {
    fn addition(&self) -> Change<'_> {
        match self {
            Self::Address(spec) => Change::Add(spec),
            Self::Routing(entry) => Change::Put(entry),
        }
    }

    fn removal(&self) -> Change<'_> {
        match self {
            Self::Address(spec) => Change::Remove(spec),
            Self::Routing(entry) => Change::Take(entry),
        }
    }
}

/// What a thing is called, whether it is put back, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    label: Arc<str>,
    tracked: bool,
    thing: Thing,
}

/// The thread, from the loop's side.
#[derive(Debug)]
pub struct Statics {
    plans: Sender<StaticPlan>,
    wake: Arc<EventFd>,
    /// Nothing ever comes; it is closed when the thread has ended.
    ended: Receiver<()>,
}

impl Statics {
    /// Puts everything on, and starts the thread. Waits for the kernel.
    ///
    /// # Errors
    /// Of the system. What the kernel refuses is logged.
    pub fn start(plan: StaticPlan) -> io::Result<Self> {
        let mut keeper = Keeper::open()?;
        keeper.follow(plan)?;
        let (plans, wanted) = channel();
        let (alive, ended) = channel();
        let wake = Arc::new(EventFd::new()?);
        let woken = Arc::clone(&wake);
        let builder = thread::Builder::new().name("statics".into()).stack_size(128 << 10);
        guard::start(builder, guard::NETWORK, move || {
            let _alive: Sender<()> = alive;
            if let Err(error) = keeper.work(&wanted, &woken) {
                error!("static addresses, routes and rules are no longer kept: {error}");
            }
        })?;
        Ok(Self { plans, wake, ended })
    }

    /// This is wanted from now on; never waits.
    pub fn plan(&self, plan: StaticPlan) {
        // A thread that has ended has said why.
        if self.plans.send(plan).is_ok() {
            self.wake.raise();
        }
    }

    /// Has everything taken off, and waits for it, but no longer than `patience`; whether it was done.
    pub fn stop(self, patience: Duration) -> bool {
        drop(self.plans);
        self.wake.raise();
        self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The thread's side.
struct Keeper {
    client: Client,
    changer: AddressChanger<(Arc<str>, bool)>,
    monitor: Monitor,
    routes: RouteMonitor,
    plan: StaticPlan,
    /// What has been put on.
    held: Vec<Item>,
    /// The links that were there of late, and whether they were up.
    links: HashMap<u32, bool>,
    /// What was wrong when it was last looked at: it is said once.
    complaints: Vec<String>,
}

impl Keeper {
    fn open() -> io::Result<Self> {
        Ok(Self {
            client: Client::open()?,
            changer: AddressChanger::open()?,
            // Before the first thing is put on: nothing is missed then.
            monitor: Monitor::open()?,
            routes: RouteMonitor::open()?,
            plan: StaticPlan::default(),
            held: Vec::new(),
            links: HashMap::new(),
            complaints: Vec::new(),
        })
    }

    fn work(&mut self, plans: &Receiver<StaticPlan>, wake: &EventFd) -> io::Result<()> {
        let mut polls = PollSet::new();
        polls.add(wake.as_fd());
        polls.add(self.monitor.as_fd());
        polls.add(self.routes.as_fd());
        let mut missing = false;
        loop {
            let news = polls.wait(missing.then_some(GATHER))? > 0;
            wake.lower();
            loop {
                match plans.try_recv() {
                    Ok(plan) if plan == self.plan => {}
                    Ok(plan) => self.follow(plan)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.follow(StaticPlan::default()),
                }
            }
            missing |= self.hear()?;
            if missing && !news {
                missing = false;
                let plan = self.plan.clone();
                self.follow(plan)?;
            }
        }
    }

    /// Takes in news; whether something may be missing.
    fn hear(&mut self) -> io::Result<bool> {
        let Self { monitor, routes, held, links, plan, .. } = self;
        let tracked = |thing: &dyn Fn(&Thing) -> bool| held.iter().any(|item| item.tracked && thing(&item.thing));
        let mut missing = false;
        monitor.receive(NEWS, |event| {
            missing |= match event {
                Event::AddressRemoved(gone) => tracked(&|thing| match thing {
                    Thing::Address(spec) => spec.ip == gone.ip && spec.interface == gone.interface,
                    Thing::Routing(_) => false,
                }),
                // It has taken routes along when it went down, and does not bring them back.
                Event::Link(link) => {
                    let was_up = links.insert(link.index, link.up) == Some(true);
                    link.up && !was_up && plan.may_lead_over(&link.name)
                }
                Event::LinkGone(link) => {
                    links.remove(&link.index);
                    false
                }
                Event::Overrun => true,
                Event::AddressAdded(_) => false,
            };
        })?;
        routes.receive(NEWS, |removal| {
            missing |= match removal {
                Removal::Overrun => true,
                Removal::Of(key) => tracked(&|thing| match thing {
                    Thing::Routing(entry) => entry.key() == Some(key),
                    Thing::Address(_) => false,
                }),
            };
        })?;
        Ok(missing)
    }

    /// Makes the machine what the plan says: what is no longer wanted goes, the rest is put on, or put back.
    fn follow(&mut self, plan: StaticPlan) -> io::Result<()> {
        let again = plan == self.plan;
        let links = if plan.is_empty() { Vec::new() } else { self.client.links()? };
        self.links = links.iter().map(|link| (link.index, link.up)).collect();
        let mut complaints = Vec::new();
        let wanted = items(&plan, &links, &mut complaints);
        let is_in = |list: &[Item], item: &Item| list.iter().any(|other| other.thing == item.thing);
        // The last one first: a route may lead over an address before it.
        for item in self.held.iter().rev().filter(|item| !is_in(&wanted, item)) {
            self.changer.submit((Arc::clone(&item.label), false), [item.thing.removal()]);
        }
        let mut new = 0;
        for item in &wanted {
            if is_in(&self.held, item) && !(again && item.tracked) {
                continue;
            }
            new += 1;
            self.changer.submit((Arc::clone(&item.label), true), [item.thing.addition()]);
        }
        let count = wanted.len();
        (self.plan, self.held) = (plan, wanted);
        // The kernel has answered while it was told.
        self.changer.completed(|(label, on), result, refused| {
            let why = match (result, refused.first()) {
                (Err(error), _) => error.to_string(),
                (Ok(()), Some(refusal)) => refusal.to_string(),
                (Ok(()), None) => return,
            };
            complaints.push(if on { format!("{label}: {why}") } else { format!("{label}: it stays: {why}") });
        })?;
        for complaint in complaints.iter().filter(|complaint| !self.complaints.contains(complaint)) {
            error!("{complaint}");
        }
        if again {
            warn!("static addresses, routes or rules were removed, or their interface was down: they are put back");
        } else if new > 0 {
            info!("{count} static addresses, routes and rules");
        }
        self.complaints = complaints;
        Ok(())
    }
}

/// What a plan wants, as far as its interfaces are there.
fn items(plan: &StaticPlan, links: &[Link], complaints: &mut Vec<String>) -> Vec<Item> {
    let index = |name: &str| links.iter().find(|link| link.name == name).map(|link| link.index);
    let mut list = Vec::new();
    for (device, planned) in &plan.addresses {
        let label: Arc<str> = format!("static_ipaddress {}", planned.address).into();
        let Some(index) = index(device) else {
            complaints.push(format!("{label}: there is no interface {device}"));
            continue;
        };
        list.push(Item { label, tracked: !planned.no_track, thing: Thing::Address(planned.spec(index)) });
    }
    for route in &plan.routing.routes {
        match route.on_interfaces(index) {
            Ok(message) => {
                let thing = Thing::Routing(RoutingEntry::route(&message, route.insertion));
                list.push(Item { label: Arc::clone(&route.label), tracked: !route.no_track, thing });
            }
            Err(missing) => complaints.push(format!("{}: there is no interface {missing}", route.label)),
        }
    }
    list.extend(plan.routing.rules.iter().map(|rule| Item {
        label: Arc::clone(&rule.label),
        tracked: !rule.no_track,
        thing: Thing::Routing(RoutingEntry::rule(&rule.message)),
    }));
    list
}
