//! What comes out: one action at a time, in the order that keeps an election prompt, and the bytes of an
//! Advertisement.

use core::net::{IpAddr, Ipv4Addr};
use core::slice;

use crate::agent::owed::Debt;
use crate::agent::{Action, Agent, Generation, RouterId};
use crate::storage::Storage;
use crate::time::{Duration, Instant};
use crate::types::Priority;
use crate::wire::advertisement::{Form, Outgoing};
use crate::wire::{Envelope, Full, HOP_LIMIT};

impl<S: Storage> Agent<S> {
    /// When [`Agent::poll`] has something to do by itself; a time in the past, or now, if it has already.
    pub fn poll_at(&self) -> Option<Instant> {
        let owes = Debt::ALL.iter().any(|debt| self.owed.first(*debt).is_some());
        if owes || self.twin.is_owed() || !self.events.is_empty() {
            return Some(Instant::default());
        }
        self.deadlines.first().map(|(at, _)| at)
    }

    /// The next thing that is owed. `now` is a time from before the receive queues were drained.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        self.expire(now);
        if let Some(twin) = self.twin.take() {
            return Some(twin);
        }
        if let Some(index) = self.owed.first(Debt::Advertise) {
            return self.advertise(now, index);
        }
        if let Some(index) = self.owed.first(Debt::Release) {
            let generation = Generation(self.routers.get_mut(index)?.release());
            self.settle(index);
            return Some(Action::Release { router: self.routers.id(index), generation });
        }
        if let Some(index) = self.owed.first(Debt::Acquire) {
            let generation = Generation(self.routers.get_mut(index)?.acquire());
            self.settle(index);
            return Some(Action::Acquire { router: self.routers.id(index), generation });
        }
        if let Some(index) = self.owed.first(Debt::Announce) {
            let count = self.routers.address_count(index);
            let at = self.routers.get_mut(index)?.announce(now, count)?;
            let address = *self.routers.addresses(index).get(usize::from(at))?;
            self.settle(index);
            return Some(Action::Announce { router: self.routers.id(index), address });
        }
        if let Some(event) = self.events.pop() {
            return Some(Action::Notify(event));
        }
        let index = self.owed.first(Debt::Retire)?;
        let id = self.routers.id(index);
        self.retire(index);
        Some(Action::Retired(id))
    }

    /// What the IP headers of an [`Action::Advertise`] say: one to each peer but itself, or one to the group; none
    /// while there is no source address.
    pub fn envelopes(&self, id: RouterId) -> impl Iterator<Item = Envelope> + Clone {
        let known = self.routers.index(id).and_then(|index| {
            let router = self.routers.get(index)?;
            let to = match self.routers.peers(index) {
                [] => slice::from_ref(&router.settings.group),
                peers => peers,
            };
            Some((self.source(router)?, to))
        });
        let (source, to) = known.unwrap_or((IpAddr::V4(Ipv4Addr::UNSPECIFIED), &[]));
        let others = to.iter().filter(move |destination| **destination != source);
        others.map(move |destination| Envelope { source, destination: *destination, hop_limit: HOP_LIMIT })
    }

    /// Writes the payload of an [`Action::Advertise`] into `buffer`; its length. `envelope` is one of
    /// [its own](Agent::envelopes).
    pub fn emit(
        &self,
        id: RouterId,
        envelope: &Envelope,
        priority: Option<Priority>,
        form: Form,
        buffer: &mut [u8],
    ) -> Result<usize, Full> {
        let index = self.routers.index(id).ok_or(Full)?;
        let router = self.routers.get(index).ok_or(Full)?;
        let settings = &router.settings;
        let version = match form {
            #[cfg(feature = "both-versions")]
            Form::Version2 => crate::types::Version::V2,
            _ => settings.version,
        };
        let outgoing = Outgoing {
            version,
            vrid: settings.vrid,
            priority,
            // A farewell carries the winner's interval: who learned ours from it would not wait for the
            // winner's next Advertisement.
            interval: router.active_interval(),
            authentication: settings.authentication,
            addresses: self.routers.advertised(index),
        };
        outgoing.emit(envelope.source, envelope.destination, form, buffer)
    }

    fn advertise(&mut self, now: Instant, index: usize) -> Option<Action> {
        let router = self.routers.get_mut(index)?;
        let interface = router.interface;
        let (priority, form) = router.advertise(now)?;
        let twice = router.repeats_in_version_2(form);
        self.settle(index);
        let advertise = Action::Advertise { router: self.routers.id(index), interface, priority, form };
        if twice {
            self.twin.owe(advertise);
        }
        Some(advertise)
    }

    /// Lets every deadline fire that has come.
    fn expire(&mut self, now: Instant) {
        while let Some((at, index)) = self.deadlines.first() {
            if at > now {
                return;
            }
            let event = self.routers.get_mut(index).and_then(|router| router.expire(now));
            self.note(now, index, event);
            self.settle(index);
            // A deadline that has fired is later, or gone. Should one ever not be, it must not hold up the
            // others.
            if self.deadlines.first().is_some_and(|(next, same)| same == index && next <= now) {
                self.deadlines.set(index, Some(now + Duration::from_micros(1)));
            }
        }
    }

    fn retire(&mut self, index: usize) {
        let Some(router) = self.routers.get(index) else { return };
        let interface = router.interface;
        self.last_retired = Some((interface, router.settings.group));
        self.unlink(interface, index);
        self.deadlines.set(index, None);
        self.owed.set(index, false, None);
        self.trackers.forget(index);
        self.routers.remove(index);
    }
}
