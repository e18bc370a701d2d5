//! The agent: many Virtual Routers on several interfaces, driven by inputs that carry `now` and drained by
//! [`Agent::poll`]. It finds the router that an input is for, keeps the deadlines, and says what is owed in
//! the one order that keeps an election prompt: Advertisements of all routers, releases, acquisitions,
//! announcements, notifications. The state machine itself is in [`crate::router`].

mod deadlines;
mod events;
pub(crate) mod groups;
mod input;
mod maintenance;
mod output;
mod owed;
pub(crate) mod table;
mod trackers;
mod twin;
mod view;

use core::net::IpAddr;
use core::num::NonZeroU8;

use crate::counters::GlobalCounters;
use crate::router::{Mark, Router};
use crate::storage::{Storage, Table};
use crate::time::{Duration, Instant};
use crate::types::{Family, Priority};
use crate::wire::Full;
use crate::wire::advertisement::Form;

pub use crate::router::settings::{Announcing, ChecksumMode, Settings};
pub use groups::GroupId;
pub use maintenance::Obstacle;
pub use trackers::{Report, TrackerId, Weight};
pub use view::{Capacity, Presence, View};

use deadlines::Deadlines;
use events::Events;
use groups::Groups;
use owed::{Debt, Owed};
use table::Routers;
use trackers::Trackers;
use twin::Twin;

/// More Virtual Routers than this on one agent have their Advertisements aligned in batches of this size,
/// spread over the interval, so that a peer's receive queue (256 packets on Linux) never overflows.
const BATCH: usize = 32;

/// An interface of the agent, by the order in which it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(u16);

impl InterfaceId {
    /// Its number, counted from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A Virtual Router of the agent. It stays valid until [`Action::Retired`] names it, and is not given out
/// again after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId {
    index: u16,
    epoch: u32,
}

impl RouterId {
    /// Its place in the agent's table, from 0; a place is used again after its router has retired.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Which acquisition or release a report belongs to; a stale one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u16);

/// The state of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It can send and receive.
    Up,
    /// It cannot.
    Down,
}

/// The port could not do what it was asked to. The port says why, in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The states of RFC 9568 section 6.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not taking part.
    Initialize,
    /// Listening to the Active.
    Backup,
    /// Holding the addresses.
    Active,
}

/// Why a transition happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was started.
    Startup,
    /// It was stopped.
    Shutdown,
    /// It was configured anew.
    Reconfigured,
    /// The interface came up.
    LinkUp,
    /// The interface went down.
    LinkDown,
    /// The interface has got a source address for Advertisements.
    SourceAddress,
    /// The interface has lost its source address.
    NoSourceAddress,
    /// An Active with more right was heard.
    HigherPriority,
    /// The Active has not been heard for Active_Down_Interval.
    NoResponse,
    /// The Active has resigned (priority 0).
    ActiveResigned,
    /// The Active had less priority.
    Preempt,
    /// A tracker of weight 0 reports again that what it looks at works.
    TrackerUp,
    /// A tracker of weight 0 reports a failure.
    TrackerDown,
    /// Another member of its sync group moved.
    Group,
    /// An administrator took it out.
    Drained,
    /// It was late for so long that another may have taken over.
    Late,
}

impl Reason {
    /// The word for it in status and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Shutdown => "shutdown",
            Self::Reconfigured => "reconfigured",
            Self::LinkUp => "interface-up",
            Self::LinkDown => "interface-down",
            Self::SourceAddress => "source-address",
            Self::NoSourceAddress => "no-source-address",
            Self::HigherPriority => "higher-priority",
            Self::NoResponse => "no-response",
            Self::ActiveResigned => "active-resigned",
            Self::Preempt => "preempted",
            Self::TrackerUp => "tracker-up",
            Self::TrackerDown => "tracker-down",
            Self::Group => "sync-group",
            Self::Drained => "drained",
            Self::Late => "late",
        }
    }
}

impl State {
    /// The word for it in status and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

/// Something that an operator wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whom it concerns.
    pub router: RouterId,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A change of state.
    Transition {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// Another Active is on the LAN: the network was, or is, split. Reported once for each rival, until it
    /// has been silent for three intervals.
    DualActive {
        /// Its source address.
        rival: IpAddr,
    },
}

/// What the port is to do now. None of it may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an Advertisement; [`Agent::emit`] writes it.
    Advertise {
        /// Whose.
        router: RouterId,
        /// Where.
        interface: InterfaceId,
        /// The priority in it; `None` is 0, the Active resigns.
        priority: Option<Priority>,
        /// The checksum form.
        form: Form,
    },
    /// Take all addresses (and the virtual MAC) off, then report by [`Agent::handle_done`].
    Release {
        /// Whose.
        router: RouterId,
        /// To be given back in the report.
        generation: Generation,
    },
    /// Put exactly the configured addresses on (and the virtual MAC), then report by
    /// [`Agent::handle_done`]. What is there already counts as done.
    Acquire {
        /// Whose.
        router: RouterId,
        /// To be given back in the report.
        generation: Generation,
    },
    /// Send one gratuitous ARP or unsolicited Neighbour Advertisement.
    Announce {
        /// Whose.
        router: RouterId,
        /// For which address.
        address: IpAddr,
    },
    /// Tell whoever wants to know.
    Notify(Event),
    /// The removed Virtual Router holds nothing any more, and its id is void. [`Agent::last_retired`] says where it
    /// spoke.
    Retired(RouterId),
}

/// A Virtual Router to be: where it is, its settings and its addresses.
#[derive(Clone, Copy, Debug)]
pub struct RouterConfig<'a> {
    /// The interface that it speaks on.
    pub interface: InterfaceId,
    /// Everything but the addresses.
    pub settings: Settings,
    /// The addresses in its Advertisements: 1 to 255, all of its family.
    pub addresses: &'a [IpAddr],
    /// Addresses that go with it but are not advertised, of either family.
    pub excluded: &'a [IpAddr],
    /// The routers that its Advertisements go to and come from, one by one (`unicast_peer`): 255 at most, all of its
    /// family, none without the feature `unicast`. Without any they go to the [group](Settings::group).
    pub peers: &'a [IpAddr],
}

/// Why a Virtual Router was not taken; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// No room for another Virtual Router or its addresses.
    Full,
    /// This interface, family and VRID are taken.
    Duplicate,
    /// No such interface.
    Interface,
    /// No address to advertise, more than 255 of them or of peers, one of the wrong family, a peer that is a group, or
    /// version 2 with IPv6.
    Addresses,
    /// No such Virtual Router or sync group, or another interface, family, VRID or version than it has: remove it and add
    /// the new one.
    Identity,
}

impl From<Full> for AddError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// An interface as the agent knows it.
struct Interface {
    up: bool,
    source_v4: Option<IpAddr>,
    source_v6: Option<IpAddr>,
    /// The list of its Virtual Routers.
    first: u16,
}

impl Interface {
    fn own_source(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.source_v4,
            Family::V6 => self.source_v6,
        }
    }

    /// The source address of the Advertisements of a Virtual Router on it.
    fn source(&self, settings: &Settings) -> Option<IpAddr> {
        match settings.source {
            None => self.own_source(settings.family),
            configured => configured,
        }
    }
}

/// Many Virtual Routers. See the [crate's contract](crate) for how it is driven.
pub struct Agent<S: Storage> {
    routers: Routers<S>,
    interfaces: S::Interfaces<Interface>,
    deadlines: Deadlines<S>,
    owed: Owed<S>,
    trackers: Trackers<S>,
    groups: Groups<S>,
    events: Events<S>,
    counters: GlobalCounters,
    /// No Virtual Router starts before this.
    start_at: Instant,
    stopping: bool,
    /// Virtual Routers that are not idle, see [`Agent::is_idle`].
    busy: usize,
    /// Where the last one that has retired spoke.
    last_retired: Option<(InterfaceId, IpAddr)>,
    twin: Twin,
}

impl<S: Storage> Default for Agent<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Storage> Agent<S> {
    /// An agent without interfaces and Virtual Routers.
    pub fn new() -> Self {
        Self {
            routers: Routers::new(),
            interfaces: Default::default(),
            deadlines: Deadlines::new(),
            owed: Owed::new(),
            trackers: Trackers::new(),
            groups: Groups::new(),
            events: Events::new(),
            counters: GlobalCounters::default(),
            start_at: Instant::default(),
            stopping: false,
            busy: 0,
            last_retired: None,
            twin: Twin::default(),
        }
    }

    /// Lets no Virtual Router that is added from now on take part before `delay` has passed
    /// (`vrrp_startup_delay`).
    pub fn set_startup_delay(&mut self, now: Instant, delay: Duration) {
        self.start_at = now + delay;
    }

    /// Adds an interface, which is down and has no source addresses until the port says otherwise.
    pub fn add_interface(&mut self) -> Result<InterfaceId, Full> {
        let index = u16::try_from(self.interfaces.len()).map_err(|_| Full)?;
        self.interfaces.push(Interface { up: false, source_v4: None, source_v6: None, first: table::END })?;
        Ok(InterfaceId(index))
    }

    /// Adds a Virtual Router, which starts as soon as its interface is up and has a source address.
    /// `held`: its addresses were found on the interface, left by a predecessor; they are taken off, or
    /// taken over if it becomes Active.
    pub fn add(&mut self, now: Instant, config: &RouterConfig<'_>, held: bool) -> Result<RouterId, AddError> {
        self.add_weighed(now, config, held, 0, false)
    }

    /// The same for one that trackers bear on from its begin, see [`weigh`](Self::weigh).
    pub fn add_weighed(
        &mut self,
        now: Instant,
        config: &RouterConfig<'_>,
        held: bool,
        addition: i32,
        faulty: bool,
    ) -> Result<RouterId, AddError> {
        let start = |agent: &mut Self, index| agent.start(now, index, Reason::Startup);
        self.add_with(now, config, held, (addition, faulty), start)
    }

    /// As [`add_weighed`](Self::add_weighed) without a fault, but it is Active at once, if its interface lets it be, also
    /// within the startup delay: this machine was Active until a moment ago, and its peers have not missed it yet.
    pub fn go_on(
        &mut self,
        now: Instant,
        config: &RouterConfig<'_>,
        held: bool,
        addition: i32,
    ) -> Result<RouterId, AddError> {
        self.add_with(now, config, held, (addition, false), |agent, index| {
            let event = agent.routers.get_mut(index).and_then(|router| router.go_on(now));
            agent.note(now, index, event);
        })
    }

    fn add_with(
        &mut self,
        now: Instant,
        config: &RouterConfig<'_>,
        held: bool,
        (addition, faulty): (i32, bool),
        start: impl FnOnce(&mut Self, usize),
    ) -> Result<RouterId, AddError> {
        let settings = config.settings;
        check_addresses(config)?;
        let interface = self.interfaces.get(config.interface.index()).ok_or(AddError::Interface)?;
        let has_source = interface.source(&settings).is_some();
        if self
            .routers
            .find(config.interface, settings.family, settings.vrid)
            .is_some_and(|index| self.routers.get(index).is_some_and(|router| !router.is_retiring()))
        {
            return Err(AddError::Duplicate);
        }
        if self.routers.is_full_grown() {
            let count = self.routers.len().saturating_add(1);
            self.deadlines.grow(count)?;
            self.owed.grow(count)?;
            self.trackers.grow(count)?;
            self.events.grow(count);
        }
        let mut router = Router::new(config.interface, settings, has_source, held);
        // It has not begun to listen, so nothing else follows.
        router.track(now, addition, faulty);
        let index = self.routers.insert(router, config)?;
        self.busy = self.busy.saturating_add(1);
        self.link(config.interface, index);
        self.spread();
        if self.can_speak(index) {
            start(self, index);
        }
        self.settle(index);
        Ok(self.routers.id(index))
    }

    /// Gives a Virtual Router new settings and addresses. Its interface, family, VRID and use of the virtual MAC are what
    /// it is and cannot change. With another version it stays what it is: a peer that speaks both follows it.
    pub fn reconfigure(&mut self, now: Instant, id: RouterId, config: &RouterConfig<'_>) -> Result<(), AddError> {
        let index = self.routers.index(id).ok_or(AddError::Identity)?;
        let router = self.routers.get(index).ok_or(AddError::Identity)?;
        let (old, new) = (router.settings, config.settings);
        let identity = |s: &Settings| (s.family, s.vrid, s.virtual_mac);
        if router.interface != config.interface || identity(&old) != identity(&new) || router.is_retiring() {
            return Err(AddError::Identity);
        }
        check_addresses(config)?;
        let changed = self.routers.set_addresses(index, config)?;
        let event = self.routers.get_mut(index).and_then(|router| {
            if changed {
                router.reacquire();
            }
            router.reconfigure(now, new)
        });
        self.note(now, index, event);
        self.source_changed(now, index);
        if !self.can_speak(index) {
            self.stop(now, index, Reason::LinkDown, false);
        }
        self.settle(index);
        Ok(())
    }

    /// Puts the addresses of an Active on again, because the port has new options for them.
    pub fn reacquire(&mut self, id: RouterId) {
        if let Some(index) = self.routers.index(id) {
            if let Some(router) = self.routers.get_mut(index) {
                router.reacquire();
            }
            self.settle(index);
        }
    }

    /// Takes a Virtual Router out, handing over to its successor first; [`Action::Retired`] tells when it
    /// is gone. Its sync group goes on without it.
    pub fn remove(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        self.part(now, index);
        if let Some(router) = self.routers.get_mut(index) {
            router.set_retiring();
        }
        self.stop(now, index, Reason::Shutdown, true);
        self.settle(index);
    }

    /// Stops all Virtual Routers as planned: priority 0, and the addresses stay until the successor has been
    /// heard. When [`Agent::is_idle`], the port may end.
    pub fn shutdown(&mut self, now: Instant) {
        self.stopping = true;
        for index in 0..self.routers.len() {
            self.stop(now, index, Reason::Shutdown, true);
            if let Some(router) = self.routers.get_mut(index) {
                router.set_stopped(true);
            }
            self.settle(index);
        }
    }

    /// Whether every Virtual Router has been stopped and nothing is held or owed any more.
    pub fn is_idle(&self) -> bool {
        self.busy == 0 && self.events.is_empty() && !self.twin.is_owed()
    }

    // What follows is shared by inputs and outputs.

    /// Whether the interface of a Virtual Router lets it take part.
    fn can_speak(&self, index: usize) -> bool {
        let interface = self.routers.get(index).map(|router| router.interface.index());
        let up = interface.and_then(|at| self.interfaces.get(at)).is_some_and(|interface| interface.up);
        up || !self.follows_link(index)
    }

    fn follows_link(&self, index: usize) -> bool {
        self.routers.get(index).is_some_and(|router| router.settings.track_link)
    }

    fn link(&mut self, interface: InterfaceId, index: usize) {
        if let Some(interface) = self.interfaces.get_mut(interface.index()) {
            interface.first = self.routers.link(interface.first, index);
        }
    }

    fn unlink(&mut self, interface: InterfaceId, index: usize) {
        if let Some(interface) = self.interfaces.get_mut(interface.index()) {
            interface.first = self.routers.unlink(interface.first, index);
        }
    }

    /// Aligns Advertisements once there are many Virtual Routers.
    fn spread(&mut self) {
        let many = self.routers.len();
        let from = match many.checked_sub(BATCH) {
            None | Some(0) => return,
            Some(1) => 0,
            Some(_) => many.saturating_sub(1),
        };
        for index in from..many {
            if let Some(router) = self.routers.get_mut(index) {
                // Batches of a few thousand Virtual Routers have even numbers, so the lowest bit tells none apart.
                router.phase = NonZeroU8::new(((index / BATCH) as u8).reverse_bits() | 1);
            }
        }
    }

    fn start(&mut self, now: Instant, index: usize, reason: Reason) {
        if self.stopping || !self.may_start(index) {
            return;
        }
        let not_before = self.start_at;
        let event = self.routers.get_mut(index).and_then(|router| router.start(now, not_before, reason));
        self.note(now, index, event);
    }

    fn stop(&mut self, now: Instant, index: usize, reason: Reason, planned: bool) {
        let event = self.routers.get_mut(index).and_then(|router| router.stop(now, reason, planned));
        self.note(now, index, event);
    }

    /// The source address of a Virtual Router's Advertisements.
    fn source(&self, router: &Router) -> Option<IpAddr> {
        self.interfaces.get(router.interface.index())?.source(&router.settings)
    }

    /// A Virtual Router may have got a source address, or lost it.
    fn source_changed(&mut self, now: Instant, index: usize) {
        let Some(router) = self.routers.get_mut(index) else { return };
        let interface = self.interfaces.get(router.interface.index());
        let has_source = interface.and_then(|interface| interface.source(&router.settings)).is_some();
        router.marks.set(Mark::HasSource, has_source);
        if !has_source {
            self.stop(now, index, Reason::NoSourceAddress, false);
            if let Some(router) = self.routers.get_mut(index) {
                router.mute();
            }
        } else if self.can_speak(index) {
            self.start(now, index, Reason::SourceAddress);
        }
    }

    /// Notes what has become of a Virtual Router, and carries it over to its sync group.
    fn note(&mut self, now: Instant, index: usize, kind: Option<EventKind>) {
        self.report(now, index, kind);
        self.sync(now, index);
    }

    fn report(&mut self, now: Instant, index: usize, kind: Option<EventKind>) {
        if let Some(kind) = kind {
            self.events.push(Event { router: self.routers.id(index), at: now, kind });
        }
    }

    /// Enters what a Virtual Router owes now, and when it wants to be looked at.
    fn settle(&mut self, index: usize) {
        let addresses = self.routers.address_count(index);
        let Some(router) = self.routers.get_mut(index) else { return };
        self.deadlines.set(index, router.deadline());
        // No two of these at a time: the first and the last are of one that is not Active, the second of one that
        // does not hold its addresses, the third of one that does.
        let other = if router.owes_release() {
            Some(Debt::Release)
        } else if router.owes_acquisition() {
            Some(Debt::Acquire)
        } else if router.owes_announcement(addresses) {
            Some(Debt::Announce)
        } else if router.owes_retirement() {
            Some(Debt::Retire)
        } else {
            None
        };
        self.owed.set(index, router.owes_advertisement(), other);
        let idle = router.is_idle();
        if router.marks.set(Mark::WasIdle, idle) {
            self.busy = if idle { self.busy.saturating_sub(1) } else { self.busy.saturating_add(1) };
        }
    }
}

fn check_addresses(config: &RouterConfig<'_>) -> Result<(), AddError> {
    let family = config.settings.family;
    let count = config.addresses.len();
    let fits = (1..=255).contains(&count)
        && config.addresses.iter().chain(config.peers).all(|address| Family::of(address) == family)
        && config.peers.len() <= if cfg!(feature = "unicast") { 255 } else { 0 }
        && !config.peers.iter().any(IpAddr::is_multicast)
        && !(family == Family::V6 && config.settings.version == crate::types::Version::V2);
    if fits { Ok(()) } else { Err(AddError::Addresses) }
}
