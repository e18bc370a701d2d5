//! The Virtual Routers and their addresses in memory: slots that are used again, a hash table by interface,
//! family and VRID, a list for each interface, and all addresses in one slab. It knows where things are, not
//! what they mean.

use core::net::{IpAddr, Ipv4Addr};

use crate::agent::{AddError, InterfaceId, RouterConfig, RouterId};
use crate::router::Router;
use crate::storage::{Storage, Table};
use crate::types::{Family, Vrid};

/// The end of a list.
pub(crate) const END: u16 = u16::MAX;

/// The most Virtual Routers that an agent can have: their numbers leave room for the marks of lists.
const MOST: usize = 65_000;

/// What the slab holds where no address is.
const UNUSED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

struct Slot {
    router: Option<Router>,
    /// How often it has been used before.
    epoch: u32,
    /// Next in the same hash bucket, or in the list of free slots.
    next: u16,
    interface_next: u16,
}

/// What the agent notes of a Virtual Router.
#[derive(Clone, Copy, Default)]
pub(crate) struct Note {
    /// Where its addresses start in the slab.
    start: u16,
    /// How many there are in all.
    total: u16,
    /// How many of them are advertised, 255 at most.
    advertised: u8,
    /// How many peers come after them, 255 at most.
    peers: u8,
}

pub(crate) struct Routers<S: Storage> {
    slots: S::Routers<Slot>,
    /// The first router of each bucket; the first `buckets_used` are in use, a power of two.
    buckets: S::Routers<u16>,
    buckets_used: usize,
    free: u16,
    addresses: S::Addresses<IpAddr>,
    addresses_used: usize,
}

impl<S: Storage> Routers<S> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Default::default(),
            buckets: Default::default(),
            buckets_used: 0,
            free: END,
            addresses: Default::default(),
            addresses_used: 0,
        }
    }

    /// How many slots there are, used or free.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many Virtual Routers and addresses there can ever be.
    pub(crate) fn capacity(&self) -> (usize, usize) {
        (self.slots.most().min(MOST), self.addresses.most().min(usize::from(u16::MAX).saturating_sub(1)))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Router> {
        self.slots.get(index)?.router.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Router> {
        self.slots.get_mut(index)?.router.as_mut()
    }

    pub(crate) fn id(&self, index: usize) -> RouterId {
        RouterId { index: index as u16, epoch: self.slots.get(index).map_or(0, |slot| slot.epoch) }
    }

    /// The slot of a Virtual Router, if it still is the one that the id was given for.
    pub(crate) fn index(&self, id: RouterId) -> Option<usize> {
        let slot = self.slots.get(id.index())?;
        (slot.epoch == id.epoch && slot.router.is_some()).then_some(id.index())
    }

    /// Whether the next insertion needs a new slot.
    pub(crate) fn is_full_grown(&self) -> bool {
        self.free == END
    }

    // Slots.

    pub(crate) fn insert(&mut self, mut router: Router, config: &RouterConfig<'_>) -> Result<usize, AddError> {
        let start = self.addresses_used;
        self.reserve(start, config)?;
        router.note.set(start, config);
        let slot = Slot { router: Some(router), epoch: 0, next: END, interface_next: END };
        let index = usize::from(self.free);
        let index = if let Some(reused) = self.slots.get_mut(index) {
            self.free = reused.next;
            *reused = Slot { epoch: reused.epoch, ..slot };
            index
        } else {
            let index = self.slots.len();
            if index >= MOST || self.buckets.push(END).is_err() || self.slots.push(slot).is_err() {
                return Err(AddError::Full);
            }
            index
        };
        self.write(start, config);
        if self.slots.len() >= self.buckets_used.saturating_mul(2) {
            self.rehash();
        } else {
            self.enter(index);
        }
        Ok(index)
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(bucket) = self.bucket_of(index) {
            self.leave(bucket, index);
        }
        self.addresses_used = self.move_to_end(index);
        let free = self.free;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.router = None;
            // No id is given out twice, so after four thousand million routers this place is not used again.
            if let Some(epoch) = slot.epoch.checked_add(1) {
                slot.epoch = epoch;
                slot.next = free;
                self.free = index as u16;
            }
        }
    }

    // The hash table.

    /// The Virtual Router of an interface, family and VRID; one that is being removed only if there is no
    /// other.
    pub(crate) fn find(&self, interface: InterfaceId, family: Family, vrid: Vrid) -> Option<usize> {
        let mut next = *self.buckets.get(self.bucket(interface, family, vrid))?;
        let mut retiring = None;
        while let Some(slot) = self.slots.get(usize::from(next)) {
            let index = usize::from(next);
            next = slot.next;
            let Some(router) = &slot.router else { continue };
            let settings = &router.settings;
            if settings.vrid == vrid && router.interface == interface && settings.family == family {
                if !router.is_retiring() {
                    return Some(index);
                }
                retiring = Some(index);
            }
        }
        retiring
    }

    fn bucket(&self, interface: InterfaceId, family: Family, vrid: Vrid) -> usize {
        let key = (interface.index() as u32).wrapping_mul(512) ^ ((family as u32) << 8) ^ u32::from(vrid.get());
        let hash = key.wrapping_mul(0x9e37_79b1) >> 8;
        (hash as usize) & self.buckets_used.saturating_sub(1)
    }

    fn bucket_of(&self, index: usize) -> Option<usize> {
        let router = self.get(index)?;
        let settings = &router.settings;
        Some(self.bucket(router.interface, settings.family, settings.vrid))
    }

    fn enter(&mut self, index: usize) {
        let Some(bucket) = self.bucket_of(index) else { return };
        if let (Some(head), Some(slot)) = (self.buckets.get_mut(bucket), self.slots.get_mut(index)) {
            slot.next = core::mem::replace(head, index as u16);
        }
    }

    fn leave(&mut self, bucket: usize, index: usize) {
        let next = self.slots.get(index).map_or(END, |slot| slot.next);
        let Some(head) = self.buckets.get_mut(bucket) else { return };
        if usize::from(*head) == index {
            *head = next;
            return;
        }
        let mut at = usize::from(*head);
        while let Some(slot) = self.slots.get_mut(at) {
            if usize::from(slot.next) == index {
                slot.next = next;
                return;
            }
            at = usize::from(slot.next);
        }
    }

    /// Uses as many buckets as there are slots, rounded down to a power of two, and enters all routers.
    fn rehash(&mut self) {
        self.buckets_used = 1;
        while self.buckets_used.saturating_mul(2) <= self.slots.len() {
            self.buckets_used = self.buckets_used.saturating_mul(2);
        }
        for head in self.buckets.iter_mut() {
            *head = END;
        }
        for index in 0..self.slots.len() {
            self.enter(index);
        }
    }

    // The list of an interface.

    /// Puts a router at the head of the list that begins with `first`; the new head.
    pub(crate) fn link(&mut self, first: u16, index: usize) -> u16 {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.interface_next = first;
        }
        index as u16
    }

    /// Takes a router out of the list that begins with `first`; the new head.
    pub(crate) fn unlink(&mut self, first: u16, index: usize) -> u16 {
        let next = self.after(index);
        if usize::from(first) == index {
            return next;
        }
        let mut at = first;
        while let Some(slot) = self.slots.get_mut(usize::from(at)) {
            if usize::from(slot.interface_next) == index {
                slot.interface_next = next;
                break;
            }
            at = slot.interface_next;
        }
        first
    }

    /// The router after this one in its interface's list.
    pub(crate) fn after(&self, index: usize) -> u16 {
        self.slots.get(index).map_or(END, |slot| slot.interface_next)
    }

    // The address slab: of each router what is advertised, what is excluded, its peers. Ranges lie in it without
    // gaps, in any order.

    /// The advertised addresses.
    pub(crate) fn advertised(&self, index: usize) -> &[IpAddr] {
        let note = self.note(index);
        let start = usize::from(note.start);
        self.addresses.get(start..start.saturating_add(usize::from(note.advertised))).unwrap_or(&[])
    }

    /// All addresses, the advertised ones first.
    pub(crate) fn addresses(&self, index: usize) -> &[IpAddr] {
        let note = self.note(index);
        let start = usize::from(note.start);
        self.addresses.get(start..start.saturating_add(usize::from(note.total))).unwrap_or(&[])
    }

    pub(crate) fn address_count(&self, index: usize) -> u16 {
        self.note(index).total
    }

    fn note(&self, index: usize) -> Note {
        self.get(index).map_or_else(Note::default, |router| router.note)
    }

    /// The peers that Advertisements go to, instead of a group; none if they go to the group.
    #[cfg(feature = "unicast")]
    pub(crate) fn peers(&self, index: usize) -> &[IpAddr] {
        let note = self.note(index);
        let start = usize::from(note.start).saturating_add(usize::from(note.total));
        self.addresses.get(start..start.saturating_add(usize::from(note.peers))).unwrap_or(&[])
    }

    /// None: all go to the group.
    #[cfg(not(feature = "unicast"))]
    pub(crate) const fn peers(&self, _: usize) -> &[IpAddr] {
        &[]
    }

    /// Gives a router other addresses and peers; whether its addresses are others than before.
    pub(crate) fn set_addresses(&mut self, index: usize, config: &RouterConfig<'_>) -> Result<bool, AddError> {
        let same = self.addresses(index).iter().eq(config.addresses.iter().chain(config.excluded))
            && self.advertised(index).len() == config.addresses.len();
        if same && self.peers(index) == config.peers {
            return Ok(false);
        }
        let start = self.move_to_end(index);
        self.reserve(start, config)?;
        self.write(start, config);
        if let Some(router) = self.get_mut(index) {
            router.note.set(start, config);
        }
        Ok(!same)
    }

    /// Makes room for addresses from `start` on; what is there stays.
    fn reserve(&mut self, start: usize, config: &RouterConfig<'_>) -> Result<(), AddError> {
        let end = start.saturating_add(length(config));
        if end >= usize::from(u16::MAX) {
            return Err(AddError::Full);
        }
        while self.addresses.len() < end {
            self.addresses.push(UNUSED)?;
        }
        Ok(())
    }

    /// Writes addresses from `start` on, where there is room. They are the last ones then.
    fn write(&mut self, start: usize, config: &RouterConfig<'_>) {
        let places = self.addresses.get_mut(start..).unwrap_or(&mut []);
        let all = config.addresses.iter().chain(config.excluded).chain(config.peers);
        for (place, address) in places.iter_mut().zip(all) {
            *place = *address;
        }
        self.addresses_used = start.saturating_add(length(config));
    }

    /// Moves a router's addresses behind those of all others; where they start then.
    fn move_to_end(&mut self, index: usize) -> usize {
        let note = self.note(index);
        let (start, length) = (note.start, note.total.saturating_add(u16::from(note.peers)));
        let end = self.addresses_used.saturating_sub(usize::from(length));
        // Both parts turned around, and all of it turned around again: the parts have changed places.
        if let Some(range) = self.addresses.get_mut(usize::from(start)..self.addresses_used)
            && let Some((own, others)) = range.split_at_mut_checked(usize::from(length))
        {
            turn_around(own);
            turn_around(others);
            turn_around(range);
        }
        for router in self.slots.iter_mut().filter_map(|slot| slot.router.as_mut()) {
            if router.note.start > start {
                router.note.start = router.note.start.saturating_sub(length);
            }
        }
        if let Some(router) = self.get_mut(index) {
            router.note.start = end as u16;
        }
        end
    }
}

impl Note {
    fn set(&mut self, start: usize, config: &RouterConfig<'_>) {
        self.start = start as u16;
        self.total = config.addresses.len().saturating_add(config.excluded.len()) as u16;
        self.advertised = config.addresses.len() as u8;
        self.peers = config.peers.len() as u8;
    }
}

/// How many places the addresses and peers of a router take.
fn length(config: &RouterConfig<'_>) -> usize {
    config.addresses.len().saturating_add(config.excluded.len()).saturating_add(config.peers.len())
}

/// The slice's own `reverse` leaves a bounds check in the program when it is built for size.
fn turn_around(mut addresses: &mut [IpAddr]) {
    while let [first, rest @ .., last] = addresses {
        core::mem::swap(first, last);
        addresses = rest;
    }
}

#[cfg(test)]
mod tests;
