//! A Virtual Router as the Linux port knows it: its plan, where its addresses lie, and which of them are ours
//! to take off again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use steadfast_core::agent::RouterId;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};

use super::addresses::{Addresses, Owned, Step};
use super::interfaces::Interfaces;
use super::lease::{self, Lease};
use super::links::Links;
use super::routing::{Held, Tag};
use crate::netlink::AddressSpec;
use crate::plan::{PlannedAddress, PlannedRouter};

/// One Virtual Router.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) id: RouterId,
    pub(super) plan: Arc<PlannedRouter>,
    pub(super) name: Arc<str>,
    /// Its interface, by number in [`Interfaces`].
    pub(super) interface: usize,
    /// The interfaces of its own that `use_vmac` and `use_vmac_addr` give it.
    pub(super) links: Links,
    /// The addresses that are on and ours: put on by us, or found as a predecessor's.
    pub(super) put: Vec<AddressSpec>,
    /// Those of them that the host had already, put there by somebody else: they are not leased.
    pub(super) found: Vec<IpAddr>,
}

/// Which Virtual Routers hold an address of an interface: one, or two while it moves from one to the other.
/// Only the last one to let go takes it off.
#[derive(Debug, Default)]
pub(super) struct Holders(HashMap<(u32, IpAddr), Vec<RouterId>>);

impl Holders {
    /// Who holds an address.
    pub(super) fn of(&self, interface: u32, address: IpAddr) -> &[RouterId] {
        self.0.get(&(interface, address)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn enter(&mut self, router: RouterId, spec: &AddressSpec) {
        let holders = self.0.entry((spec.interface, spec.ip)).or_default();
        if !holders.contains(&router) {
            holders.push(router);
        }
    }

    /// Whether the router was the last holder.
    fn leave(&mut self, router: RouterId, spec: &AddressSpec) -> bool {
        let Some(holders) = self.0.get_mut(&(spec.interface, spec.ip)) else { return true };
        holders.retain(|holder| *holder != router);
        let last = holders.is_empty();
        if last {
            self.0.remove(&(spec.interface, spec.ip));
        }
        last
    }
}

/// Where an address lies, and how it is announced.
pub(super) struct Place {
    /// The index of the interface that it is put on.
    pub(super) on: u32,
    /// The index of the interface that announcements leave from.
    pub(super) from: u32,
    /// The MAC address that it is reached at.
    pub(super) mac: MacAddr,
}

/// An interface that an address needs is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoInterface;

impl Local {
    /// Where an address of this router lies; `None` while an interface that it needs is not there.
    pub(super) fn place(&self, interfaces: &Interfaces, address: &PlannedAddress) -> Option<Place> {
        place(&self.plan, interfaces, self.interface, &self.links, address)
    }

    /// The MAC address that Advertisements come from, if it is not the interface's own.
    pub(super) fn advertises_from(&self) -> Option<MacAddr> {
        let from_base = self.plan.virtual_mac.as_ref().is_some_and(|planned| planned.transmit_from_base);
        self.links.own.as_ref().filter(|_| !from_base).map(|_| virtual_mac(&self.plan))
    }

    /// Has exactly the planned addresses put on. An address that is there and not ours, the owner's own, stays what it
    /// is.
    pub(super) fn acquire(
        &mut self,
        now: Instant,
        interfaces: &Interfaces,
        holders: &mut Holders,
        addresses: &mut Addresses,
        tag: Tag,
    ) -> Result<(), NoInterface> {
        let mut wanted = Vec::new();
        for planned in self.plan.all_addresses() {
            let place = self.place(interfaces, planned).ok_or(NoInterface)?;
            if !self.is_foreign(interfaces, place.on, planned.address) {
                let mut spec = planned.spec(place.on);
                if self.plan.lease {
                    if !self.put.iter().any(|put| put.is_same(&spec)) && interfaces.is_kept(spec.interface, spec.ip) {
                        self.found.push(spec.ip);
                    }
                    spec.valid_lft = (!self.found.contains(&spec.ip)).then(|| lease::seconds(&self.plan.settings));
                }
                wanted.push(spec);
            }
        }
        let mut gone = std::mem::replace(&mut self.put, wanted);
        gone.retain(|old| !self.put.iter().any(|new| new.is_same(old)) && holders.leave(self.id, old));
        for spec in &self.put {
            holders.enter(self.id, spec);
        }
        let mut changes = self.removals(now, addresses, gone);
        changes.extend(self.put.iter().cloned().map(Owned::Add));
        let mut steps = vec![Step::Forget(self.id.index())];
        steps.extend(self.links.iter().cloned().map(Step::Prepare));
        steps.push(Step::Change(changes));
        steps.extend(self.lease(now));
        steps.extend(self.links.iter().cloned().map(Step::Unmute));
        addresses.carry_out(&self.name, Some(tag), steps);
        Ok(())
    }

    /// Has all of our addresses taken off, and before them these routes and rules.
    pub(super) fn release(
        &mut self,
        now: Instant,
        holders: &mut Holders,
        addresses: &mut Addresses,
        routing: &[Held],
        tag: Tag,
    ) {
        let mut gone = std::mem::take(&mut self.put);
        gone.retain(|spec| holders.leave(self.id, spec));
        self.found.clear();
        let mut changes: Vec<_> = routing.iter().map(|held| Owned::Take(held.entry.clone())).collect();
        changes.append(&mut self.removals(now, addresses, gone));
        let mut steps = vec![Step::Forget(self.id.index())];
        steps.extend(self.links.iter().cloned().map(Step::Mute));
        steps.push(Step::Change(changes));
        addresses.carry_out(&self.name, Some(tag), steps);
    }

    /// The lease of what is put on now.
    fn lease(&self, now: Instant) -> Option<Step> {
        Lease::new(now, &self.plan.settings, &self.put).map(|lease| Step::Hold(self.id.index(), lease))
    }

    /// What takes addresses off.
    fn removals(&self, now: Instant, addresses: &Addresses, gone: Vec<AddressSpec>) -> Vec<Owned> {
        let kept = self.kept_until_removed(now, addresses, &gone);
        kept.into_iter().map(Owned::Add).chain(gone.into_iter().map(Owned::Remove)).collect()
    }

    /// Those of `gone` that are kept for ever for the moment before they are removed: with an IPv6 address that has a
    /// lifetime the kernel does not remove the route to its prefix. What may have run out is not put on again for that.
    fn kept_until_removed(&self, now: Instant, addresses: &Addresses, gone: &[AddressSpec]) -> Vec<AddressSpec> {
        if addresses.is_over(now, self.id.index()) {
            return Vec::new();
        }
        // A muted virtual MAC interface has neither addresses nor routes of IPv6.
        let muted = |index: u32| self.links.iter().any(|link| link.index == index);
        let leased = |spec: &&AddressSpec| spec.valid_lft.is_some() && spec.ip.is_ipv6() && !muted(spec.interface);
        gone.iter().filter(leased).map(|spec| AddressSpec { valid_lft: None, ..spec.clone() }).collect()
    }

    /// Somebody took this address away, and may.
    pub(super) fn let_go(
        &mut self,
        now: Instant,
        holders: &mut Holders,
        addresses: &mut Addresses,
        interface: u32,
        address: IpAddr,
    ) {
        for spec in self.put.extract_if(.., |spec| (spec.interface, spec.ip) == (interface, address)) {
            holders.leave(self.id, &spec);
        }
        let mut steps = vec![Step::Forget(self.id.index())];
        steps.extend(self.lease(now));
        addresses.carry_out(&self.name, None, steps);
    }

    /// Whether somebody else put an address on before us: only the owner of the addresses has such.
    fn is_foreign(&self, interfaces: &Interfaces, on: u32, address: IpAddr) -> bool {
        self.plan.settings.priority.is_owner()
            && interfaces.by_index(on).and_then(|at| interfaces.get(at)).is_some_and(|known| known.has(address))
            && !self.put.iter().any(|spec| spec.ip == address)
    }

    /// Whether somebody may take this address away without it being put back (`no_track`).
    pub(super) fn lets_go(&self, address: IpAddr) -> bool {
        self.plan.all_addresses().any(|planned| planned.address == address && planned.no_track)
    }
}

/// Where an address of a planned router on the interface number `interface` lies; `None` while an interface
/// that it needs is not there.
pub(super) fn place(
    plan: &PlannedRouter,
    interfaces: &Interfaces,
    interface: usize,
    links: &Links,
    address: &PlannedAddress,
) -> Option<Place> {
    let below = match &address.device {
        Some(device) => interfaces.get(interfaces.at(device)?)?,
        None => interfaces.get(interface)?,
    };
    let from = below.index?;
    let family = Family::of(&address.address);
    let is_own = *below.name == *plan.interface && family == plan.settings.family;
    let link = match &links.own {
        Some(link) if is_own => Some((link, virtual_mac(plan))),
        _ if is_own || !address.use_vmac => None,
        _ => links.other(&below.name, family).map(|link| (link, plan.settings.vrid.virtual_mac(family))),
    };
    // An excluded address of the other family stays on the interface below, as with keepalived, unless it says otherwise.
    Some(match link {
        Some((link, mac)) => Place { on: link.index, from, mac },
        None => Place { on: from, from, mac: below.mac? },
    })
}

/// The MAC address that `use_vmac` gives a router.
pub(super) fn virtual_mac(plan: &PlannedRouter) -> MacAddr {
    let configured = plan.virtual_mac.as_ref().and_then(|planned| planned.mac);
    configured.unwrap_or_else(|| plan.settings.vrid.virtual_mac(plan.settings.family))
}
