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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{EventKind, RouterId};
    use crate::storage::Fixed;
    use crate::testing::{Heap, Random};
    use crate::time::Instant;

    extern crate std;
    use core::net::{IpAddr, Ipv4Addr};
    use std::collections::VecDeque;

    fn event(number: u64) -> Event {
        let rival = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Event {
            router: RouterId { index: 0, epoch: 0 },
            at: Instant::from_micros(number),
            kind: EventKind::DualActive { rival },
        }
    }

    /// Random pushes, pops and growth beside a queue of as many places as the ring has.
    fn beside_a_queue<S: Storage>(seed: u64) {
        let mut random = Random::new(seed);
        let mut events = Events::<S>::new();
        let mut model = VecDeque::new();
        let (mut lost, mut routers) = (0, 0);
        for number in 0..500 {
            match random.below(8) {
                0 => {
                    let before = events.ring.len();
                    routers += 1;
                    events.grow(routers);
                    assert!(events.ring.len() >= before);
                }
                1..=4 => {
                    events.push(event(number));
                    model.push_back(event(number));
                    if model.len() > events.ring.len() {
                        model.pop_front();
                        lost += 1;
                    }
                }
                _ => assert_eq!(events.pop(), model.pop_front()),
            }
            assert_eq!(events.is_empty(), model.is_empty());
            assert_eq!(events.lost(), lost);
        }
        while let Some(event) = model.pop_front() {
            assert_eq!(events.pop(), Some(event));
        }
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn events_come_in_order_and_the_oldest_are_lost() {
        for seed in 0..200 {
            beside_a_queue::<Heap>(seed);
            beside_a_queue::<Fixed<0, 0, 0, 0>>(seed);
            beside_a_queue::<Fixed<0, 0, 0, 1>>(seed);
            beside_a_queue::<Fixed<0, 0, 0, 5>>(seed);
        }
    }

    #[test]
    fn there_is_room_for_two_events_of_each_router() {
        let mut events = Events::<Heap>::new();
        for routers in 1..=100 {
            events.grow(routers);
        }
        for number in 0..200 {
            events.push(event(number));
        }
        assert_eq!(events.lost(), 0);
        events.push(event(200));
        assert_eq!((events.lost(), events.pop()), (1, Some(event(1))));
    }
}
