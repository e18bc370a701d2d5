//! An Active whose machine stood still: when it last spoke and speaks next, and how it listens before it speaks again.

use super::{Active, Machine, Router, Speak};
use crate::agent::{EventKind, Reason, State};
use crate::time::Instant;

impl Router {
    /// When it last advertised as Active.
    pub(crate) fn advertised_at(&self) -> Option<Instant> {
        match self.machine {
            Machine::Active(Active { sent, .. }) => sent,
            _ => None,
        }
    }

    /// When it advertises next as Active, by itself.
    pub(crate) fn advertises_at(&self) -> Option<Instant> {
        match self.machine {
            Machine::Active(Active { adver_at, .. }) => Some(adver_at),
            _ => None,
        }
    }

    /// As Active it becomes Backup, without a word: whoever has taken over shall not yield to a farewell.
    pub(crate) fn stand_back(&mut self, now: Instant) -> Option<EventKind> {
        if self.state() != State::Active {
            return None;
        }
        self.say(Speak::Nothing);
        self.become_backup(now, self.settings.interval, None);
        self.moved(now, State::Active, Reason::Late)
    }
}
