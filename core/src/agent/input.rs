//! What comes in: Advertisements, the state of interfaces, and reports of the port. Each input moves state
//! and enters debts; none has an effect by itself.

use core::net::IpAddr;

use crate::agent::{Agent, Generation, InterfaceId, Link, Reason, Refused, RouterId, Settings, table};
use crate::counters::bump;
use crate::router::Heard;
use crate::storage::Storage;
use crate::time::Instant;
use crate::types::{Family, Version};
use crate::wire::advertisement::{Advertisement, Authentication, vrid_of};
use crate::wire::{Discard, Envelope, HOP_LIMIT};

/// RFC 3768 section 5.3.6: types 1 and 2 are historic but known; keepalived and others still use 1, a simple
/// password.
const AUTH_TYPES: core::ops::RangeInclusive<u8> = 0..=2;

impl<S: Storage> Agent<S> {
    /// An interface came up or went down.
    pub fn handle_link(&mut self, now: Instant, interface: InterfaceId, link: Link) {
        let Some(known) = self.interfaces.get_mut(interface.index()) else { return };
        known.up = link == Link::Up;
        let mut next = known.first;
        while next != table::END {
            let index = usize::from(next);
            next = self.routers.after(index);
            match link {
                Link::Up => self.start(now, index, Reason::LinkUp),
                Link::Down if self.follows_link(index) => self.stop(now, index, Reason::LinkDown, false),
                Link::Down => {}
            }
            self.settle(index);
        }
    }

    /// The primary IPv4 address of an interface, or its IPv6 link-local address: the source of
    /// Advertisements (RFC 9568 sections 5.1.1.1, 5.1.2.1).
    pub fn handle_source(&mut self, now: Instant, interface: InterfaceId, family: Family, source: Option<IpAddr>) {
        let Some(known) = self.interfaces.get_mut(interface.index()) else { return };
        match family {
            Family::V4 => known.source_v4 = source,
            Family::V6 => known.source_v6 = source,
        }
        let mut next = known.first;
        while next != table::END {
            let index = usize::from(next);
            next = self.routers.after(index);
            let inherits = self
                .routers
                .get(index)
                .is_some_and(|router| router.settings.source.is_none() && router.settings.family == family);
            if inherits {
                self.source_changed(now, index);
                self.settle(index);
            }
        }
    }

    /// A packet of protocol 112 that arrived on an interface. `payload` begins after the IP header and ends
    /// where the header says. What fails a receive check moves one counter and nothing else.
    pub fn handle_advertisement(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        envelope: &Envelope,
        payload: &[u8],
    ) -> Result<RouterId, Discard> {
        let family = Family::of(&envelope.source);
        let found = vrid_of(payload).and_then(|vrid| self.routers.find(interface, family, vrid));
        let checked = self.check(found, envelope, payload);
        match (checked, found) {
            (Ok(heard), Some(index)) => {
                let event = self.routers.get_mut(index).and_then(|router| router.advertisement(now, &heard));
                self.note(now, index, event);
                self.settle(index);
                Ok(self.routers.id(index))
            }
            (Err(discard), found) => {
                let own = found.and_then(|index| self.routers.get_mut(index)?.counters.of(discard));
                match own {
                    Some(counter) => bump(counter),
                    None => self.counters.count(discard),
                }
                Err(discard)
            }
            (Ok(_), None) => Err(Discard::Vrid),
        }
    }

    /// The receive checks, in their order (RFC 9568 section 7.1, RFC 3768 section 7.1).
    fn check(&mut self, found: Option<usize>, envelope: &Envelope, payload: &[u8]) -> Result<Heard, Discard> {
        let peers = found.map_or(&[][..], |index| self.routers.peers(index));
        let hop_limit = self.checked_hop_limit(found, envelope.hop_limit);
        let parsed = Advertisement::parse(payload, &Envelope { hop_limit, ..*envelope });
        let Some(index) = found else {
            // An unknown VRID is said before anything that comes later in the order.
            return Err(parsed.err().unwrap_or(Discard::Vrid).min(Discard::Vrid));
        };
        let ours = self.routers.advertised(index);
        let Some(router) = self.routers.get(index) else { return Err(Discard::Vrid) };
        let settings = &router.settings;
        let advertisement = match parsed {
            Ok(advertisement) => advertisement,
            // A packet of the other version fails by its version, whatever else is wrong with it.
            Err(discard) if discard > Discard::Version && !speaks(settings, version_of(payload)) => {
                return Err(Discard::Version);
            }
            Err(discard) => return Err(discard),
        };
        if !speaks(settings, advertisement.version.number()) {
            return Err(Discard::Version);
        }
        // Only then one that speaks both versions.
        let is_old = advertisement.version != settings.version;
        if advertisement.version == Version::V2 {
            if advertisement.interval != settings.interval && !is_old {
                return Err(Discard::Interval);
            }
            let (auth_type, auth_data) = match settings.authentication {
                Authentication::None => (0, None),
                Authentication::Simple(password) => (1, Some(password)),
                #[cfg(feature = "authentication")]
                Authentication::Header(_) => (2, None),
            };
            if !AUTH_TYPES.contains(&advertisement.auth_type) {
                return Err(Discard::AuthType);
            }
            if advertisement.auth_type != auth_type {
                return Err(Discard::AuthTypeMismatch);
            }
            if auth_data.is_some_and(|password| !same_password(&password, &advertisement.auth_data)) {
                return Err(Discard::AuthFailure);
            }
        }
        let to_us = match peers {
            [] => envelope.destination == settings.group,
            _ => !envelope.destination.is_multicast(),
        };
        if !to_us {
            return Err(Discard::Destination);
        }
        if settings.check_peers && !peers.is_empty() && !peers.contains(&envelope.source) {
            return Err(Discard::Peer);
        }
        let own = self.source(router);
        if own == Some(envelope.source) {
            return Err(Discard::OwnSource);
        }
        let first_is_link_local = match advertisement.addresses.iter().next() {
            Some(IpAddr::V6(first)) => first.is_unicast_link_local(),
            _ => true,
        };
        let known = settings.skip_address_check && router.follows() == Some(envelope.source);
        let same_addresses = known || same_set(&advertisement, ours);
        let strict = settings.strict;
        let listens = router.listens();
        if strict && !first_is_link_local {
            return Err(Discard::FirstAddress);
        }
        if strict && !same_addresses {
            return Err(Discard::AddressList);
        }
        if !listens {
            return Err(Discard::NotRunning);
        }
        let heard = Heard {
            source: envelope.source,
            own,
            priority: advertisement.priority,
            interval: advertisement.interval,
            fit: advertisement.fit,
            is_old,
        };
        if let Some(router) = self.routers.get_mut(index) {
            if !first_is_link_local {
                bump(&mut router.counters.first_address_errors);
            }
            if !same_addresses {
                bump(&mut router.counters.address_list_errors);
            }
        }
        Ok(heard)
    }

    /// What the check of the hop limit shall see: RFC 9568 section 5.1.1.3 speaks of the group only, and a peer may be as
    /// far away as is configured.
    fn checked_hop_limit(&self, found: Option<usize>, hop_limit: u8) -> u8 {
        let Some(index) = found.filter(|index| !self.routers.peers(*index).is_empty()) else { return hop_limit };
        let least = self.routers.get(index).map_or(0, |router| router.settings.least_peer_hops);
        if hop_limit >= least { HOP_LIMIT } else { hop_limit }
    }

    /// The port has finished an [`Action::Acquire`](crate::agent::Action::Acquire) or
    /// [`Action::Release`](crate::agent::Action::Release), or failed to.
    pub fn handle_done(&mut self, now: Instant, id: RouterId, generation: Generation, result: Result<(), Refused>) {
        let Some(index) = self.routers.index(id) else { return };
        if let Some(router) = self.routers.get_mut(index) {
            router.done(now, generation.0, result.is_ok());
        }
        self.settle(index);
    }

    /// Somebody else has taken away an address that a Virtual Router holds.
    pub fn handle_lost(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        if let Some(router) = self.routers.get_mut(index) {
            router.lost(now);
        }
        self.settle(index);
    }
}

/// Whether a Virtual Router with these settings speaks a version.
fn speaks(settings: &Settings, version: u8) -> bool {
    version == settings.version.number() || settings.speaks_both() && version == Version::V2.number()
}

fn version_of(payload: &[u8]) -> u8 {
    payload.first().map_or(0, |first| first >> 4)
}

/// Compares without telling by its duration where they differ.
fn same_password(ours: &[u8; 8], theirs: &[u8; 8]) -> bool {
    ours.iter().zip(theirs).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Whether the advertised addresses are ours, in any order. Mostly they are in our order, so that is looked
/// at first. Each of ours is looked for among theirs: the other way round, one said twice would hide that
/// another is missing.
fn same_set(advertisement: &Advertisement<'_>, ours: &[IpAddr]) -> bool {
    let theirs = advertisement.addresses;
    if theirs.len() != ours.len() {
        return false;
    }
    theirs.iter().eq(ours.iter().copied()) || ours.iter().all(|ours| theirs.iter().any(|address| address == *ours))
}
