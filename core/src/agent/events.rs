//! Events that wait to be notified: a ring. When it is full the oldest is lost, and that is counted.

use crate::agent::Event;
use crate::storage::{Storage, Table};

pub(crate) struct Events<S: Storage> {
    ring: S::Transitions<Option<Event>>,
    /// Where the oldest stands.
    first: usize,
    waiting: usize,
    lost: u64,
}

impl<S: Storage> Events<S> {
    pub(crate) fn new() -> Self {
        Self { ring: Default::default(), first: 0, waiting: 0, lost: 0 }
    }

    /// Makes room for two for each of `count` Virtual Routers, or for as many as there is memory.
    pub(crate) fn grow(&mut self, count: usize) {
        if self.waiting == 0 {
            self.first = 0;
        }
        // Only while the ring does not go around its end, so that the order stays.
        while self.first == 0 && self.ring.len() < count.saturating_mul(2) && self.ring.push(None).is_ok() {}
    }

    pub(crate) fn push(&mut self, event: Event) {
        let length = self.ring.len();
        if length == 0 {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if self.waiting == length {
            self.first = step(self.first, length);
            self.waiting = self.waiting.saturating_sub(1);
            self.lost = self.lost.saturating_add(1);
        }
        let end = self.first.saturating_add(self.waiting);
        let at = if end >= length { end.saturating_sub(length) } else { end };
        if let Some(place) = self.ring.get_mut(at) {
            *place = Some(event);
            self.waiting = self.waiting.saturating_add(1);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.waiting == 0 {
            return None;
        }
        let event = self.ring.get_mut(self.first)?.take();
        self.first = step(self.first, self.ring.len());
        self.waiting = self.waiting.saturating_sub(1);
        event
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

fn step(at: usize, length: usize) -> usize {
    let next = at.saturating_add(1);
    if next >= length { 0 } else { next }
}
