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

    fn put(&mut self, position: usize, entry: Entry) {
        if let Some(slot) = self.entries.get_mut(position) {
            *slot = entry;
        }
        self.place(position as u16, usize::from(entry.router));
    }

    /// Puts `entry` where it belongs, starting from the hole at `position`.
    fn settle(&mut self, mut position: usize, entry: Entry) {
        while let Some(above) = position.checked_sub(1).map(|p| p / ARITY) {
            match self.entries.get(above).copied() {
                Some(parent) if parent.at > entry.at => {
                    self.put(position, parent);
                    position = above;
                }
                _ => break,
            }
        }
        loop {
            let first = position.saturating_mul(ARITY).saturating_add(1);
            let end = first.saturating_add(ARITY).min(self.len);
            let Some(children) = self.entries.get(first..end) else { break };
            let mut least = entry;
            let mut least_at = position;
            for (offset, child) in children.iter().enumerate() {
                if child.at < least.at {
                    least = *child;
                    least_at = first.saturating_add(offset);
                }
            }
            if least_at == position {
                break;
            }
            self.put(position, least);
            position = least_at;
        }
        self.put(position, entry);
    }
}
