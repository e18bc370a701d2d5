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

const VACANT: Entry = Entry { at: Instant::from_micros(u64::MAX), router: NOWHERE };

pub(crate) struct Deadlines<S: Storage> {
    /// The heap is the first `len` entries.
    entries: S::Routers<Entry>,
    /// Where each Virtual Router's entry stands.
    positions: S::Routers<u16>,
    len: usize,
}

impl<S: Storage> Deadlines<S> {
    pub(crate) fn new() -> Self {
        Self { entries: Default::default(), positions: Default::default(), len: 0 }
    }

    /// Makes room for `count` Virtual Routers.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Full> {
        while self.entries.len() < count {
            self.entries.push(VACANT)?;
        }
        while self.positions.len() < count {
            self.positions.push(NOWHERE)?;
        }
        Ok(())
    }

    /// The earliest deadline and whose it is.
    pub(crate) fn first(&self) -> Option<(Instant, usize)> {
        let entry = self.entries.get(..self.len)?.first()?;
        Some((entry.at, usize::from(entry.router)))
    }

    /// Sets, moves or (with `None`) removes the deadline of a Virtual Router.
    pub(crate) fn set(&mut self, router: usize, at: Option<Instant>) {
        let position = self.positions.get(router).copied().unwrap_or(NOWHERE);
        match (position, at) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(at)) => {
                let hole = self.len;
                if hole < self.entries.len() {
                    self.len = hole.saturating_add(1);
                    self.settle(hole, Entry { at, router: router as u16 });
                }
            }
            (position, None) => {
                let last = self.len.saturating_sub(1);
                let moved = self.entries.get(last).copied().unwrap_or(VACANT);
                self.len = last;
                self.place(NOWHERE, router);
                if usize::from(position) != last {
                    self.settle(usize::from(position), moved);
                }
            }
            (position, Some(at)) => {
                let position = usize::from(position);
                if self.entries.get(position).is_some_and(|entry| entry.at != at) {
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
        let Some(heap) = self.entries.get_mut(..self.len) else { return };
        let positions = &mut self.positions;
        let mut put = |heap: &mut [Entry], position: usize, entry: Entry| {
            if let Some(place) = heap.get_mut(position) {
                *place = entry;
            }
            if let Some(place) = positions.get_mut(usize::from(entry.router)) {
                *place = position as u16;
            }
        };
        while let Some(above) = position.checked_sub(1).map(|below| below / ARITY)
            && let Some(parent) = heap.get(above).copied()
            && parent.at > entry.at
        {
            put(heap, position, parent);
            position = above;
        }
        loop {
            let first = position.saturating_mul(ARITY).saturating_add(1);
            let children = heap.get(first..).unwrap_or(&[]).iter().take(ARITY);
            let mut least = (position, entry);
            for (at, child) in (first..first.saturating_add(ARITY)).zip(children) {
                if child.at < least.1.at {
                    least = (at, *child);
                }
            }
            if least.0 == position {
                break;
            }
            put(heap, position, least.1);
            position = least.0;
        }
        put(heap, position, entry);
    }
}
