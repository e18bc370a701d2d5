//! What can be seen of an agent from outside, by every port in the same words: the facts behind `status`.

use core::net::IpAddr;

use crate::agent::{Agent, GroupId, InterfaceId, Obstacle, Reason, RouterId, Settings, State, table};
use crate::counters::{GlobalCounters, RouterCounters};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::types::{Family, Interval, MacAddr, Priority, Version, Vrid};

/// One Virtual Router as it is now.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The interface that it speaks on.
    pub interface: InterfaceId,
    /// How it is configured.
    pub settings: &'a Settings,
    /// Its state.
    pub state: State,
    /// The priority that takes part in the election.
    pub effective_priority: Priority,
    /// The Active, as far as it is known.
    pub active_address: Option<IpAddr>,
    /// The source address of its own Advertisements.
    pub source: Option<IpAddr>,
    /// Active_Adver_Interval.
    pub active_interval: Interval,
    /// Active_Down_Interval.
    pub active_down_interval: Duration,
    /// Skew_Time.
    pub skew: Duration,
    /// The advertised addresses.
    pub addresses: &'a [IpAddr],
    /// The addresses that go with it but are not advertised.
    pub excluded: &'a [IpAddr],
    /// The routers that its Advertisements go to, if not to the group.
    pub peers: &'a [IpAddr],
    /// When it last changed its state, from what, to what, and why.
    pub last_transition: Option<(Instant, State, State, Reason)>,
    /// Whether its addresses are, or may be, on an interface.
    pub holds: bool,
    /// Another Active that is being heard while this one is Active.
    pub rival: Option<IpAddr>,
    /// Its sync group.
    pub sync_group: Option<GroupId>,
    /// It would take over, and waits for the other members of its sync group.
    pub awaits_group: bool,
    /// What keeps it in Initialize.
    pub obstacle: Option<Obstacle>,
    /// What trackers add to the priority, before the sum is kept within 1 to 254.
    pub weights: i32,
    /// When an Advertisement last passed every check, and its priority; `None` there is 0.
    pub heard: Option<(Instant, Option<Priority>)>,
    /// For one that speaks both versions: which it last heard, of what counts.
    pub heard_version: Option<Version>,
    /// When it takes over, as Backup that hears nothing more.
    pub takes_over_at: Option<Instant>,
    /// Until when a lower priority is tolerated, while one is (`preempt_delay`).
    pub preempts_at: Option<Instant>,
    /// What has been counted.
    pub counters: &'a RouterCounters,
}

/// A Virtual Router as far as it matters to the frames of its interface: what is looked at for each of them.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a> {
    /// Which it is.
    pub router: RouterId,
    /// How it is configured.
    pub settings: &'a Settings,
    /// Whether it is to hold its addresses.
    pub wanted: bool,
    /// Whether its addresses are, or may be, on an interface.
    pub holds: bool,
    /// Whether it has resigned, and serves only until its successor is heard. What it sends then may be on the wire
    /// behind what the successor has moved the switches with, and from the virtual MAC address it would turn them back:
    /// it leaves with that of the interface, unless it binds an address to the virtual one (ARP, Neighbour Discovery).
    pub resigned: bool,
    /// All its addresses, the advertised ones first.
    pub addresses: &'a [IpAddr],
}

impl Presence<'_> {
    /// Whether it answers for its addresses and its virtual MAC address: as Active, once they are on, and as one
    /// that has resigned until its successor has been heard. Never as Backup (RFC 9568 section 6.4.2), and from that
    /// moment on, even before the addresses are taken off.
    pub const fn serves(&self) -> bool {
        self.holds && self.wanted
    }

    /// Whether packets to its addresses are for this machine: to the owner's, or with Accept_Mode (RFC 9568
    /// section 6.4.3).
    pub const fn accepts(&self) -> bool {
        self.settings.accept || self.settings.priority.is_owner()
    }

    /// Its virtual MAC address.
    pub const fn virtual_mac(&self) -> MacAddr {
        self.settings.vrid.virtual_mac(self.settings.family)
    }
}

/// How much an agent can ever hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Virtual Routers.
    pub routers: usize,
    /// Their addresses, over all of them.
    pub addresses: usize,
    /// Sync groups, and as many members of them.
    pub groups: usize,
}

impl<S: Storage> Agent<S> {
    /// How much it can ever hold, whatever it holds now.
    pub fn capacity(&self) -> Capacity {
        let (routers, addresses) = self.routers.capacity();
        Capacity { routers, addresses, groups: self.groups.capacity() }
    }

    /// The Virtual Routers of an interface, the one that was added last first.
    pub fn present(&self, interface: InterfaceId) -> impl Iterator<Item = Presence<'_>> {
        let mut next = self.interfaces.get(interface.index()).map_or(table::END, |known| known.first);
        core::iter::from_fn(move || {
            let index = usize::from(next);
            next = self.routers.after(index);
            self.presence(index)
        })
    }

    /// The Virtual Router that an interface, family and VRID name. One look-up, however many there are.
    pub fn find(&self, interface: InterfaceId, family: Family, vrid: Vrid) -> Option<Presence<'_>> {
        self.routers.find(interface, family, vrid).and_then(|index| self.presence(index))
    }

    fn presence(&self, index: usize) -> Option<Presence<'_>> {
        let router = self.routers.get(index)?;
        Some(Presence {
            router: self.routers.id(index),
            settings: &router.settings,
            wanted: router.wanted(),
            holds: router.holds(),
            resigned: router.has_resigned(),
            addresses: self.routers.addresses(index),
        })
    }

    /// One Virtual Router; `None` once it has retired.
    pub fn view(&self, id: RouterId) -> Option<View<'_>> {
        let index = self.routers.index(id)?;
        let router = self.routers.get(index)?;
        let addresses = self.routers.advertised(index);
        let source = self.source(router);
        let (takes_over_at, preempts_at) = router.takes_over_at();
        Some(View {
            interface: router.interface,
            settings: &router.settings,
            state: router.state(),
            effective_priority: router.effective_priority(),
            active_address: if router.state() == State::Active { source } else { router.follows() },
            source,
            active_interval: router.active_interval(),
            active_down_interval: router.down_interval(),
            skew: router.skew(),
            addresses,
            excluded: self.routers.addresses(index).get(addresses.len()..).unwrap_or(&[]),
            peers: self.routers.peers(index),
            last_transition: router.last_transition(),
            holds: router.holds(),
            rival: router.rival(),
            sync_group: router.membership.and_then(|membership| self.groups.group_of(membership)),
            awaits_group: router.awaits_group(),
            obstacle: self.obstacle(index),
            weights: router.weights.into(),
            heard: router.heard.map(|at| (at, router.heard_priority)),
            heard_version: router.heard_version(),
            takes_over_at,
            preempts_at,
            counters: &router.counters,
        })
    }

    /// The interface and the group of the Virtual Router that [`Action::Retired`](crate::agent::Action::Retired) named
    /// last, for who has joined that group for it.
    pub const fn last_retired(&self) -> Option<(InterfaceId, IpAddr)> {
        self.last_retired
    }

    /// All Virtual Routers, by their place in the agent's table.
    pub fn routers(&self) -> impl Iterator<Item = RouterId> + '_ {
        (0..self.routers.len()).filter(|index| self.routers.get(*index).is_some()).map(|index| self.routers.id(index))
    }

    /// What has been counted for no Virtual Router in particular.
    pub fn counters(&self) -> &GlobalCounters {
        &self.counters
    }

    /// Events that were lost because nobody polled them in time.
    pub fn lost_events(&self) -> u64 {
        self.events.lost()
    }

    /// Whether an interface is up, and its source address of a family.
    pub fn interface(&self, id: InterfaceId, family: Family) -> (bool, Option<IpAddr>) {
        self.interfaces.get(id.index()).map_or((false, None), |known| (known.up, known.own_source(family)))
    }
}
