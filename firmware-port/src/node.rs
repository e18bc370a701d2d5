//! The node: VRRP under a network stack, as a machine of Ethernet frames without I/O. It knows which frames are
//! VRRP's, which the stack may see and in what form, and what is owed to the wire. The election is the core's;
//! frames in are in [`receive`], frames out of the stack in [`transmit`], what the election asks for in [`act`].

mod act;
mod answer;
mod membership;
mod receive;
mod transmit;

use core::net::IpAddr;

use heapless::Vec;
use steadfast_core::agent::{AddError, Agent, GroupId, InterfaceId, Link, Presence, RouterConfig, RouterId, TrackerId};
use steadfast_core::storage::Storage;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr, Vrid};
use steadfast_core::wire::Full;

use crate::hardware::NetworkHardware;
use crate::tracking::Watch;
use crate::vlan::VlanId;

pub use receive::Received;

use answer::Answer;
use membership::Membership;

/// How many questions can wait for [`Node::poll`]. Who gets no answer asks again, after a second.
const ANSWERS: usize = 8;

/// One interface: a port of the box, or a VLAN on one.
struct Port {
    interface: InterfaceId,
    station: MacAddr,
    vlan: Option<VlanId>,
    up: bool,
    v4: Membership,
    v6: Membership,
}

/// Virtual Routers on up to `I` interfaces, as Ethernet frames. See the [crate's walk through it](crate).
pub struct Node<S: Storage, const I: usize> {
    pub(crate) agent: Agent<S>,
    ports: Vec<Port, I>,
    answers: Vec<Answer, ANSWERS>,
    /// What each tracker looks at.
    pub(crate) watches: S::Trackers<(TrackerId, Watch)>,
    /// The sync groups, by their number in the configuration.
    pub(crate) groups: S::Groups<GroupId>,
    refused: u64,
}

impl<S: Storage, const I: usize> Default for Node<S, I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Storage, const I: usize> Node<S, I> {
    /// A node without interfaces and Virtual Routers.
    pub fn new() -> Self {
        Self {
            agent: Agent::new(),
            ports: Vec::new(),
            answers: Vec::new(),
            watches: Default::default(),
            groups: Default::default(),
            refused: 0,
        }
    }

    /// Adds an interface: a port of the box that has the MAC address `station`, or the VLAN `vlan` on it. It is
    /// down and has no source addresses until [`handle_link`](Self::handle_link) and
    /// [`handle_source`](Self::handle_source) say otherwise.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room.
    pub fn add_port(&mut self, station: MacAddr, vlan: Option<VlanId>) -> Result<InterfaceId, Full> {
        if self.ports.is_full() {
            return Err(Full);
        }
        let interface = self.agent.add_interface()?;
        let port = Port { interface, station, vlan, up: false, v4: Membership::new(), v6: Membership::new() };
        self.ports.push(port).map_err(|_| Full)?;
        Ok(interface)
    }

    /// The agent: what is to be seen of its Virtual Routers, counters, reasons.
    pub fn agent(&self) -> &Agent<S> {
        &self.agent
    }

    /// Frames that the hardware had no room for.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Adds a Virtual Router. It always has its virtual MAC address, whatever the settings say.
    ///
    /// # Errors
    ///
    /// As [`Agent::add`]; nothing has changed then.
    pub fn add(&mut self, now: Instant, config: &RouterConfig<'_>) -> Result<RouterId, AddError> {
        let mut config = *config;
        config.settings.virtual_mac = true;
        let id = self.agent.add(now, &config, false)?;
        self.unsettle(config.interface, config.settings.group);
        Ok(id)
    }

    /// Gives a Virtual Router new settings and addresses; see [`Agent::reconfigure`]. The stack and the receive
    /// filter let go of addresses that it has no more.
    ///
    /// # Errors
    ///
    /// As [`Agent::reconfigure`]; nothing has changed then.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        id: RouterId,
        config: &RouterConfig<'_>,
        hardware: &mut impl NetworkHardware,
    ) -> Result<(), AddError> {
        let mut config = *config;
        config.settings.virtual_mac = true;
        let before = self.agent.view(id).map(|view| view.settings.group);
        self.tell_addresses(id, false, hardware);
        let result = self.agent.reconfigure(now, id, &config);
        // What stays, and what is new, is put on: at once what was there, by the agent's asking what was not.
        self.tell_addresses(id, true, hardware);
        if result.is_ok()
            && let Some(before) = before.filter(|before| *before != config.settings.group)
        {
            self.unsettle(config.interface, config.settings.group);
            self.leave(config.interface, before, hardware);
        }
        result
    }

    /// Takes a Virtual Router out, handing over to its successor first.
    pub fn remove(&mut self, now: Instant, id: RouterId) {
        self.agent.remove(now, id);
    }

    /// Hands over and keeps a Virtual Router out until [`resume`](Self::resume).
    pub fn drain(&mut self, now: Instant, id: RouterId) {
        self.agent.drain(now, id);
    }

    /// Lets a drained Virtual Router take part again.
    pub fn resume(&mut self, now: Instant, id: RouterId) {
        self.agent.resume(now, id);
    }

    /// Stops all Virtual Routers as planned. When [`Agent::is_idle`], nothing is held any more.
    pub fn shutdown(&mut self, now: Instant) {
        self.agent.shutdown(now);
    }

    /// Lets no Virtual Router that is added from now on take part before `delay` has passed.
    pub fn set_startup_delay(&mut self, now: Instant, delay: Duration) {
        self.agent.set_startup_delay(now, delay);
    }

    /// A cable was put in or pulled out.
    pub fn handle_link(&mut self, now: Instant, interface: InterfaceId, link: Link) {
        if let Some(port) = self.ports.get_mut(interface.index()) {
            port.up = link == Link::Up;
            for membership in [&mut port.v4, &mut port.v6] {
                match link {
                    Link::Up => membership.join(now),
                    Link::Down => membership.stop(),
                }
            }
        }
        self.agent.handle_link(now, interface, link);
        self.link_changed(now, interface, link);
    }

    /// The primary IPv4 address of an interface, or its IPv6 link-local address: the source of Advertisements
    /// (RFC 9568 section 7.2). It is the station's own, never one that is made from a virtual MAC address
    /// (section 7.4).
    pub fn handle_source(&mut self, now: Instant, interface: InterfaceId, family: Family, source: Option<IpAddr>) {
        if let Some(port) = self.ports.get_mut(interface.index())
            && port.up
        {
            port.membership(family).join(now);
        }
        self.agent.handle_source(now, interface, family, source);
    }

    /// Sends what is owed; when to come back, unless a frame or another input comes first. A time that is not
    /// after `now` means at once. `now` was read before the receive queue was drained, so that no deadline fires
    /// ahead of a frame that came before it.
    pub fn poll(&mut self, now: Instant, hardware: &mut impl NetworkHardware) -> Option<Instant> {
        self.settle(now, hardware);
        self.act(now, hardware);
        self.answer(hardware);
        self.report(now, hardware);
        self.ask(now, hardware);
        let reports = self.ports.iter().filter_map(Port::due).min();
        let questions = self.watches.iter().filter_map(|(_, watch)| watch.due()).min();
        [self.agent.poll_at(), reports, questions].into_iter().flatten().min()
    }

    // What follows is shared by frames in and frames out.

    /// The Virtual Router of an interface that has this address.
    pub(crate) fn with_address(&self, interface: InterfaceId, address: IpAddr) -> Option<Presence<'_>> {
        let mut present = self.agent.present(interface).filter(|presence| presence.addresses.contains(&address));
        let first = present.next()?;
        // Two may have it, as while one replaces the other: the one that serves counts.
        if first.serves() { Some(first) } else { Some(present.find(Presence::serves).unwrap_or(first)) }
    }

    /// Whether an address is one that frames to this station come for: a virtual one of an interface, or its source.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn has(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.source(interface, Family::of(&address)) == Some(address) || self.with_address(interface, address).is_some()
    }

    /// The MAC address of an interface's own.
    pub(crate) fn station(&self, interface: InterfaceId) -> Option<MacAddr> {
        self.ports.get(interface.index()).map(|port| port.station)
    }

    /// The Virtual Router of an interface that has this virtual MAC address.
    fn with_virtual_mac(&self, interface: InterfaceId, address: MacAddr) -> Option<Presence<'_>> {
        let family = match address.0 {
            [0, 0, 0x5e, 0, 1, _] => Family::V4,
            [0, 0, 0x5e, 0, 2, _] => Family::V6,
            _ => return None,
        };
        let [.., vrid] = address.0;
        self.agent.find(interface, family, Vrid::new(vrid)?)
    }
}

impl Port {
    fn membership(&mut self, family: Family) -> &mut Membership {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    fn due(&self) -> Option<Instant> {
        [self.v4.due(), self.v6.due()].into_iter().flatten().min()
    }
}
