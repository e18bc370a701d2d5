//! What a sync group asks of a member, and what it does to it. When members move, and which, is
//! [`crate::agent::groups`]' matter.

use super::{Active, Backup, Machine, Mark, Router, Speak};
use crate::agent::{EventKind, Reason, State};
use crate::time::Instant;

/// How a member stands to what its sync group may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Something keeps it out.
    Barred,
    /// It could start.
    Resting,
    /// It starts when the startup delay ends.
    Starting,
    /// Backup, while the Active_Down_Timer runs out: nobody has been heard that it yields to.
    Listening,
    /// Backup of an Active that it yields to.
    Following,
    /// Backup, and the Active_Down_Timer has fired.
    Ready,
    /// Active.
    Active,
}

impl Standing {
    pub(crate) const ALL: [Self; 7] =
        [Self::Barred, Self::Resting, Self::Starting, Self::Listening, Self::Following, Self::Ready, Self::Active];
}

impl Router {
    /// How it stands, if its interface lets it take part or not.
    pub(crate) fn standing(&self, can_speak: bool) -> Standing {
        if !can_speak || self.is_stopped() || self.marks.has(Mark::Faulty) || !self.marks.has(Mark::HasSource) {
            return Standing::Barred;
        }
        match self.machine {
            Machine::Initialize { start_at: None, .. } => Standing::Resting,
            Machine::Initialize { start_at: Some(_), .. } => Standing::Starting,
            Machine::Backup(Backup { ready: true, .. }) => Standing::Ready,
            Machine::Backup(Backup { active: Some(_), waiting_for: Reason::NoResponse, .. }) => Standing::Following,
            Machine::Backup(_) => Standing::Listening,
            Machine::Active(_) => Standing::Active,
        }
    }

    /// Whether its addresses stay until its successor is heard.
    pub(crate) fn hands_over(&self) -> bool {
        self.handover_until().is_some()
    }

    /// It would take over, and waits for its sync group.
    pub(crate) fn awaits_group(&self) -> bool {
        matches!(self.machine, Machine::Backup(Backup { ready: true, .. }))
    }

    /// Becomes Active, or waits for its sync group.
    pub(super) fn may_become_active(&mut self, now: Instant, reason: Reason) -> Option<EventKind> {
        if self.membership.is_none() {
            return self.become_active(now, reason);
        }
        self.await_group(reason);
        None
    }

    pub(super) fn await_group(&mut self, reason: Reason) {
        if let Machine::Backup(backup) = &mut self.machine {
            backup.ready = true;
            backup.waiting_for = reason;
        }
    }

    /// The whole group takes over; `None`: for this member's own reason.
    pub(crate) fn take_over(&mut self, now: Instant, reason: Option<Reason>) -> Option<EventKind> {
        match self.machine {
            Machine::Backup(Backup { ready: true, waiting_for, .. }) => {
                self.become_active(now, reason.unwrap_or(waiting_for))
            }
            _ => None,
        }
    }

    /// The whole group steps down, because of its first member or another. Whoever takes over on this network
    /// shall hear that there were two.
    pub(crate) fn step_down(&mut self, now: Instant, by_first: bool) -> Option<EventKind> {
        let Machine::Active(Active { rival, .. }) = self.machine else { return None };
        let interval = self.settings.interval;
        // A rival that has resigned since does not count.
        let rivalled = rival.is_some() && self.heard_priority.is_some() && self.silent_for(now) <= interval.duration();
        self.say(Speak::Farewell);
        self.become_backup(now, interval, None);
        if let Machine::Backup(backup) = &mut self.machine
            && !by_first
        {
            backup.crossed = rivalled;
            backup.lost_elsewhere = !backup.crossed;
            if backup.crossed {
                backup.down_at = backup.down_at + interval.duration();
            }
        }
        self.moved(now, State::Active, Reason::Group)
    }

    /// It is alone again: what it has waited for is due now.
    pub(crate) fn part(&mut self, now: Instant) {
        if let Machine::Backup(backup) = &mut self.machine {
            backup.lost_elsewhere = false;
            backup.crossed = false;
            if core::mem::take(&mut backup.ready) {
                backup.down_at = now;
            }
        }
    }
}
