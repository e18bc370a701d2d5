//! The next deadline of every Virtual Router, as a 4-ary heap that knows where each one stands: moving one
//! costs a logarithm of their number, and the earliest is always at hand. What a deadline means is the
//! router's matter.

use crate::storage::{Storage, Table};
use crate::time::Instant;
use crate::wire::Full;

/// Position of a Virtual Router that has no deadline.
const NOWHERE: u16 = u16::MAX;

const ARITY: usize = 4;

#[derive(Clone, Copy)]
struct Entry {
    at: Instant,
    router: u16,
}

pub(crate) struct Deadlines<S: Storage> {
    /// The heap is the first `len` of these, and of those whose they are: side by side they take less memory than
    /// as one table of entries.
    times: S::Routers<Instant>,
    routers: S::Routers<u16>,
    /// Where each Virtual Router's entry stands.
    positions: S::Routers<u16>,
    len: usize,
}

impl<S: Storage> Deadlines<S> {
    pub(crate) fn new() -> Self {
        Self { times: Default::default(), routers: Default::default(), positions: Default::default(), len: 0 }
    }

    /// Makes room for `count` Virtual Routers.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Full> {
        while self.times.len() < count {
            self.times.push(Instant::default())?;
        }
        for table in [&mut self.routers, &mut self.positions] {
            while table.len() < count {
                table.push(NOWHERE)?;
            }
        }
        Ok(())
    }

    /// The earliest deadline and whose it is.
    pub(crate) fn first(&self) -> Option<(Instant, usize)> {
        let at = self.times.get(..self.len)?.first()?;
        Some((*at, usize::from(*self.routers.first()?)))
    }

    /// Sets, moves or (with `None`) removes the deadline of a Virtual Router.
    pub(crate) fn set(&mut self, router: usize, at: Option<Instant>) {
        let Some(position) = self.positions.get(router).copied() else { return };
        match (position, at) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(at)) => {
                let hole = self.len;
                if hole < self.times.len() {
                    self.len = hole.saturating_add(1);
                    self.settle(hole, Entry { at, router: router as u16 });
                }
            }
            (position, None) => {
                let last = self.len.saturating_sub(1);
                let moved = self.times.get(last).copied().zip(self.routers.get(last).copied());
                self.len = last;
                self.place(NOWHERE, router);
                if let Some((at, router)) = moved.filter(|_| usize::from(position) != last) {
                    self.settle(usize::from(position), Entry { at, router });
                }
            }
            (position, Some(at)) => {
                let position = usize::from(position);
                if self.times.get(position).is_some_and(|before| *before != at) {
                    self.settle(position, Entry { at, router: router as u16 });
                }
            }
        }
    }

    fn place(&mut self, position: u16, router: usize) {
        if let Some(slot) = self.positions.get_mut(router) {
            *slot = position;
        }
    }

    /// Puts `entry` where it belongs, starting from the hole at `position`.
    fn settle(&mut self, mut position: usize, entry: Entry) {
        let (Some(times), Some(routers)) = (self.times.get_mut(..self.len), self.routers.get_mut(..self.len)) else {
            return;
        };
        let mut heap = Entries { times, routers, positions: &mut self.positions };
        while let Some(above) = position.checked_sub(1).map(|below| below / ARITY)
            && let Some(parent) = heap.get(above)
            && parent.at > entry.at
        {
            heap.put(position, parent);
            position = above;
        }
        loop {
            let first = position.saturating_mul(ARITY).saturating_add(1);
            let children = heap.times.get(first..).unwrap_or(&[]).iter().take(ARITY);
            let mut least = (position, entry.at);
            for (below, child) in (first..first.saturating_add(ARITY)).zip(children) {
                if *child < least.1 {
                    least = (below, *child);
                }
            }
            let below = least.0;
            let Some(child) = heap.get(below).filter(|_| below != position) else { break };
            heap.put(position, child);
            position = below;
        }
        heap.put(position, entry);
    }
}

/// The heap in its two tables.
struct Entries<'a> {
    times: &'a mut [Instant],
    routers: &'a mut [u16],
    positions: &'a mut [u16],
}

impl Entries<'_> {
    fn get(&self, position: usize) -> Option<Entry> {
        Some(Entry { at: *self.times.get(position)?, router: *self.routers.get(position)? })
    }

    fn put(&mut self, position: usize, entry: Entry) {
        if let (Some(at), Some(router)) = (self.times.get_mut(position), self.routers.get_mut(position)) {
            (*at, *router) = (entry.at, entry.router);
        }
        if let Some(place) = self.positions.get_mut(usize::from(entry.router)) {
            *place = position as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Fixed;
    use crate::testing::{Heap, Random};

    extern crate std;
    use std::collections::BTreeMap;

    /// The model: every deadline, by whose it is.
    type Model = BTreeMap<usize, Instant>;

    fn check<S: Storage>(deadlines: &Deadlines<S>, model: &Model) {
        match deadlines.first() {
            None => assert!(model.is_empty()),
            Some((at, router)) => {
                assert_eq!(model.get(&router), Some(&at));
                assert_eq!(model.values().min(), Some(&at));
            }
        }
    }

    /// Takes everything out, the earliest first.
    fn drain<S: Storage>(deadlines: &mut Deadlines<S>, model: &mut Model) {
        let mut before = Instant::default();
        while let Some((at, router)) = deadlines.first() {
            check(deadlines, model);
            assert!(before <= at);
            before = at;
            deadlines.set(router, None);
            model.remove(&router);
        }
        assert!(model.is_empty());
    }

    #[test]
    fn the_earliest_is_first_whatever_is_set_moved_and_removed() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (mut deadlines, mut model) = (Deadlines::<Heap>::new(), Model::new());
            let routers = 1 + random.below(80);
            // Few times, so that many are equal.
            let times = 1 + random.below(50);
            deadlines.grow(routers).unwrap();
            for _ in 0..500 {
                let router = random.below(routers);
                if random.once_in(4) {
                    deadlines.set(router, None);
                    model.remove(&router);
                } else {
                    let at = Instant::from_micros(random.below(times) as u64);
                    deadlines.set(router, Some(at));
                    model.insert(router, at);
                }
                check(&deadlines, &model);
            }
            drain(&mut deadlines, &mut model);
        }
    }

    #[test]
    fn growing_keeps_what_there_is() {
        let (mut deadlines, mut model) = (Deadlines::<Heap>::new(), Model::new());
        for router in 0..300 {
            deadlines.grow(router + 1).unwrap();
            let at = Instant::from_micros((router as u64 * 7919) % 301);
            deadlines.set(router, Some(at));
            model.insert(router, at);
            check(&deadlines, &model);
        }
        drain(&mut deadlines, &mut model);
    }

    #[test]
    fn what_there_is_no_room_for_changes_nothing() {
        let mut deadlines = Deadlines::<Fixed<2, 0, 0, 0>>::new();
        assert_eq!(deadlines.grow(2), Ok(()));
        let at = Some(Instant::from_micros(5));
        deadlines.set(1, at);
        assert_eq!(deadlines.grow(3), Err(Full));
        deadlines.set(2, Some(Instant::default()));
        deadlines.set(usize::MAX, Some(Instant::default()));
        assert_eq!(deadlines.first(), at.map(|at| (at, 1)));
        deadlines.set(0, Some(Instant::default()));
        assert_eq!(deadlines.first(), Some((Instant::default(), 0)));
    }
}
