//! Membership in multicast groups: in the group of each Virtual Router's Advertisements as long as it exists, and,
//! where it serves an IPv6 address, in that address's solicited-node group (RFC 9568 section 6.4.3). Groups are
//! said when the link comes up and when they change, once more a second later, and when a querier asks.

use core::iter::once;
use core::net::IpAddr;

use steadfast_core::agent::{InterfaceId, RouterId};
use steadfast_core::storage::Storage;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::ndisc::solicited_node;

use super::{Node, Port};
use crate::hardware::NetworkHardware;
use crate::multicast::{self, ALL_NODES, ALL_SYSTEMS, Message, Query};

/// How long after the first report the second one comes (Unsolicited Report Interval of IGMPv3 and MLDv2).
const AGAIN: Duration = Duration::from_secs(1);
/// The second try when the hardware had no room.
const RETRY: Duration = Duration::from_millis(10);
/// Answers to queries keep at least this distance, however fast they ask.
const LEAST_DELAY: Duration = Duration::from_millis(50);
/// Older Version Querier Present Timeout (RFC 3376 section 8.12): two query intervals and a response.
const OLDER: Duration = Duration::from_secs(260);

/// What an interface owes to the queriers of one family.
pub(super) struct Membership {
    /// When to report all groups.
    due: Option<Instant>,
    /// How many of them have been, this time.
    reported: u16,
    /// How many times more.
    rounds: u8,
    /// It is the answer to a query.
    asked: bool,
    /// Until when a querier of IGMPv2 or MLDv1 is about.
    older_until: Option<Instant>,
    /// The groups of Virtual Routers that were added have not been joined yet.
    unsettled: bool,
}

impl Membership {
    pub(super) const fn new() -> Self {
        Self { due: None, reported: 0, rounds: 0, asked: false, older_until: None, unsettled: false }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Says all groups, twice.
    pub(super) const fn join(&mut self, now: Instant) {
        self.due = Some(now);
        self.reported = 0;
        self.rounds = 2;
        self.asked = false;
    }

    /// The link is down.
    pub(super) const fn stop(&mut self) {
        *self = Self { unsettled: self.unsettled, ..Self::new() };
    }

    /// A query was heard. What is due anyway, and soon enough, is the answer.
    fn asked(&mut self, now: Instant, query: Query, station: MacAddr) {
        if query.older {
            self.older_until = Some(now + OLDER);
        }
        let at = now + delay(query.within, station);
        if self.due.is_none_or(|due| due > at) {
            self.due = Some(at);
            self.reported = 0;
            self.asked = self.rounds == 0;
            self.rounds = self.rounds.max(1);
        }
    }

    fn is_older(&self, now: Instant) -> bool {
        self.older_until.is_some_and(|until| now < until)
    }
}

/// When within the time that a querier allows a station answers: between a quarter and three quarters of it, at a
/// place that its MAC address gives, so that stations do not answer all at once and none needs random numbers.
fn delay(within: Duration, station: MacAddr) -> Duration {
    let place = station.0.iter().fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(*byte));
    let parts = u64::from(place / 2).saturating_add(64);
    Duration::from_micros(within.as_micros().saturating_mul(parts) / 256).max(LEAST_DELAY)
}

impl<S: Storage, const I: usize> Node<S, I> {
    /// A group is to be joined at the next opportunity.
    pub(super) fn unsettle(&mut self, interface: InterfaceId, group: IpAddr) {
        if let Some(port) = self.ports.get_mut(interface.index()) {
            port.membership(Family::of(&group)).unsettled = true;
        }
    }

    /// Joins the groups of the Virtual Routers that were added or configured anew.
    pub(super) fn settle(&mut self, now: Instant, hardware: &mut impl NetworkHardware) {
        for index in 0..self.ports.len() {
            for family in [Family::V4, Family::V6] {
                let Some(port) = self.ports.get_mut(index) else { continue };
                let interface = port.interface;
                if !core::mem::take(&mut port.membership(family).unsettled) {
                    continue;
                }
                let queries = match family {
                    Family::V4 => ALL_SYSTEMS.into(),
                    Family::V6 => ALL_NODES.into(),
                };
                Self::hear_group(interface, queries, true, hardware);
                let groups = self.agent.present(interface).map(|presence| presence.settings.group);
                for group in groups.filter(|group| Family::of(group) == family) {
                    Self::hear_group(interface, group, true, hardware);
                }
                self.rejoin(now, interface, family);
            }
        }
    }

    /// The agent has forgotten a Virtual Router.
    pub(super) fn retire(&mut self, hardware: &mut impl NetworkHardware) {
        if let Some((interface, group)) = self.agent.last_retired() {
            self.leave(interface, group, hardware);
        }
    }

    /// Leaves the group of a Virtual Router, unless another needs it.
    pub(super) fn leave(&mut self, interface: InterfaceId, group: IpAddr, hardware: &mut impl NetworkHardware) {
        if !self.agent.present(interface).any(|other| other.settings.group == group) {
            self.leave_group(interface, group, hardware);
        }
    }

    fn leave_group(&mut self, interface: InterfaceId, group: IpAddr, hardware: &mut impl NetworkHardware) {
        Self::hear_group(interface, group, false, hardware);
        let older = self
            .ports
            .get_mut(interface.index())
            .is_some_and(|port| port.up && port.membership(Family::of(&group)).older_until.is_some());
        self.say(interface, group, Message::Leave, older, hardware);
    }

    /// Joins or leaves the solicited-node groups of a Virtual Router's addresses.
    pub(super) fn solicited_nodes(
        &mut self,
        now: Instant,
        router: RouterId,
        join: bool,
        hardware: &mut impl NetworkHardware,
    ) {
        let Some(interface) = self.agent.view(router).map(|view| view.interface) else { return };
        for at in 0..usize::from(u16::MAX) {
            let own = self.agent.present(interface).find(|presence| presence.router == router);
            let Some(address) = own.and_then(|presence| presence.addresses.get(at).copied()) else { return };
            let IpAddr::V6(address) = address else { continue };
            let group = IpAddr::V6(solicited_node(address));
            if join {
                Self::hear_group(interface, group, true, hardware);
                self.rejoin(now, interface, Family::V6);
            } else if !self.needs(interface, group, router) {
                self.leave_group(interface, group, hardware);
            }
        }
    }

    /// Whether another Virtual Router than this one needs a solicited-node group.
    fn needs(&self, interface: InterfaceId, group: IpAddr, except: RouterId) -> bool {
        let others = self.agent.present(interface).filter(|other| other.router != except && other.holds);
        others.flat_map(|other| other.addresses).any(|address| solicited(address) == Some(group))
    }

    fn rejoin(&mut self, now: Instant, interface: InterfaceId, family: Family) {
        if let Some(port) = self.ports.get_mut(interface.index()).filter(|port| port.up) {
            port.membership(family).join(now);
        }
    }

    pub(super) fn queried(&mut self, now: Instant, interface: InterfaceId, family: Family, query: Query) {
        if let Some(port) = self.ports.get_mut(interface.index()).filter(|port| port.up) {
            let station = port.station;
            port.membership(family).asked(now, query, station);
        }
    }

    /// Sends the reports that are due.
    pub(super) fn report(&mut self, now: Instant, hardware: &mut impl NetworkHardware) {
        for index in 0..self.ports.len() {
            for family in [Family::V4, Family::V6] {
                self.report_one(now, index, family, hardware);
            }
        }
    }

    fn report_one(&mut self, now: Instant, port: usize, family: Family, hardware: &mut impl NetworkHardware) {
        let Some(known) = self.ports.get_mut(port) else { return };
        let interface = known.interface;
        let membership = known.membership(family);
        if membership.due.is_none_or(|due| due > now) {
            return;
        }
        let older = membership.is_older(now);
        if !older {
            membership.older_until = None;
        }
        let message = if membership.asked { Message::Current } else { Message::Join };
        let first = membership.reported;
        let mut reported = first;
        let mut refused = false;
        while let Some(group) = self.group(interface, family, usize::from(reported)) {
            let is_said = (0..usize::from(reported)).any(|n| self.group(interface, family, n) == Some(group));
            if !is_said && !self.say(interface, group, message, older, hardware) {
                refused = true;
                break;
            }
            reported = reported.saturating_add(1);
        }
        let Some(membership) = self.ports.get_mut(port).map(|port| port.membership(family)) else { return };
        if refused {
            membership.reported = reported;
            membership.due = Some(now + RETRY);
            return;
        }
        membership.reported = 0;
        membership.rounds = membership.rounds.saturating_sub(1);
        membership.due = (membership.rounds > 0).then(|| now + AGAIN);
    }

    /// The `n`th group of an interface and family that is to be said; one may be there more than once.
    fn group(&self, interface: InterfaceId, family: Family, n: usize) -> Option<IpAddr> {
        let groups = self.agent.present(interface).flat_map(|presence| {
            let served = if presence.serves() { presence.addresses } else { &[] };
            once(presence.settings.group).chain(served.iter().filter_map(solicited))
        });
        groups.filter(|group| Family::of(group) == family).nth(n)
    }

    /// Says something of a group, if the interface has an address to say it from; false if the hardware had no
    /// room.
    fn say(
        &mut self,
        interface: InterfaceId,
        group: IpAddr,
        message: Message,
        older: bool,
        hardware: &mut impl NetworkHardware,
    ) -> bool {
        let Some(&Port { station, up: true, .. }) = self.ports.get(interface.index()) else { return true };
        let Some(source) = self.source(interface, Family::of(&group)) else { return true };
        let mut buffer = [0; multicast::LONGEST];
        match multicast::emit(station, source, group, message, older, &mut buffer)
            .and_then(|length| buffer.get(..length))
        {
            Some(frame) => self.send_short(interface, frame, hardware),
            None => true,
        }
    }
}

fn solicited(address: &IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(address) => Some(solicited_node(*address).into()),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_answer_a_query_within_its_time_and_not_all_at_once() {
        let within = Duration::from_secs(10);
        let mut places = std::collections::BTreeSet::new();
        for last in 0..=255 {
            let delay = delay(within, MacAddr([2, 0, 0, 0, 0, last]));
            assert!(delay.as_millis() >= 2_500 && delay.as_millis() < 7_500, "{delay:?}");
            places.insert(delay);
        }
        assert!(places.len() > 100);
        assert_eq!(delay(Duration::ZERO, MacAddr([2; 6])), LEAST_DELAY);
    }
}
