//! What an Advertisement does to a Virtual Router (RFC 9568 sections 6.4.2 and 6.4.3), once it has passed
//! every check.

use core::cmp::Ordering;
use core::net::IpAddr;

use super::settings::ChecksumMode;
use super::{Active, Backup, Machine, Router, Speak};
use crate::agent::{EventKind, Reason, State};
use crate::counters::bump;
use crate::time::{Duration, Instant};
use crate::types::{Interval, Priority, Version};
use crate::wire::advertisement::{Fit, Form};

/// The time that each answer to a lower priority uses up, and how many may go out in a row before that: when
/// a split heals, announcements of several Actives cross on the wire, and it is the answer to the last
/// farewell that sets the clients right. A flood draws at most ten answers a second.
const ANSWER_SPACING: Duration = Duration::from_millis(200);
const ANSWER_BURST: u64 = 5;
const ANSWER_RESERVE: Duration = ANSWER_SPACING.times(ANSWER_BURST.saturating_sub(1));

/// After this long without an answer the next one announces as often as a new Active does.
const ANSWER_QUIET: Duration = Duration::from_secs(1);

/// Answers to priority 0 are merged within this time. A Backup's skew can be 4 ms, so they are not held back
/// longer.
const ZERO_MERGE: Duration = Duration::from_millis(2);

/// How long the addresses stay after the successor's first Advertisement, for its announcement to arrive.
const HANDOVER: Duration = Duration::from_millis(20);

/// An Advertisement that passed every check.
pub(crate) struct Heard {
    pub(crate) source: IpAddr,
    /// The source address of our own Advertisements, which decides between equal priorities.
    pub(crate) own: Option<IpAddr>,
    pub(crate) priority: Option<Priority>,
    pub(crate) interval: Interval,
    pub(crate) fit: Fit,
    /// It is of version 2, and the router speaks version 3 too.
    pub(crate) is_old: bool,
}

impl Heard {
    /// Whether its sender, of this `priority`, has more right than we have, of our `own`, or less (RFC 9568 section
    /// 6.4.3): by the priority, and between equals by the address, which is of our family.
    fn right(&self, priority: Priority, own: Priority) -> Ordering {
        // By their octets, since the standard library has 200 bytes more of code for it.
        priority.cmp(&own).then_with(|| match (self.source, self.own) {
            (IpAddr::V4(source), Some(IpAddr::V4(own))) => source.to_bits().cmp(&own.to_bits()),
            (IpAddr::V6(source), Some(IpAddr::V6(own))) => source.octets().cmp(&own.octets()),
            _ => Ordering::Equal,
        })
    }

    /// Whether its sender takes another checksum form, and not this one. Of version 3's it says nothing in version 2.
    fn fits_only_other(&self, form: Form) -> bool {
        let other = matches!((self.fit, form), (Fit::Plain, Form::PseudoHeader) | (Fit::PseudoHeader, Form::Plain));
        other && !self.is_old
    }
}

impl Router {
    /// An Advertisement that passed every check (RFC 9568 sections 6.4.2, 6.4.3).
    pub(crate) fn advertisement(&mut self, now: Instant, heard: &Heard) -> Option<EventKind> {
        bump(&mut self.counters.advertisement_rcvd);
        self.heard = Some(now);
        self.heard_priority = heard.priority;
        self.note_version(now, heard);
        if heard.priority.is_none() {
            bump(&mut self.counters.priority_zero_pkts_rcvd);
        }
        if heard.interval != self.settings.interval && !heard.is_old {
            bump(&mut self.counters.interval_mismatches);
        }
        match self.machine {
            Machine::Initialize { .. } => {
                self.successor(now, heard);
                None
            }
            Machine::Backup(backup) => {
                self.heard_as_backup(now, heard, backup);
                None
            }
            Machine::Active(active) => self.heard_as_active(now, heard, active),
        }
    }

    /// Whether Advertisements are of interest: it runs, or waits for its successor.
    pub(crate) fn listens(&self) -> bool {
        !matches!(self.machine, Machine::Initialize { handover_until: None, .. })
    }

    /// A resigned Active hears another: with a virtual MAC that was the frame that moved the switches, so
    /// the addresses can go; without one its announcement follows.
    fn successor(&mut self, now: Instant, heard: &Heard) {
        if heard.priority.is_none() {
            return;
        }
        let Machine::Initialize { handover_until, .. } = &mut self.machine else { return };
        *handover_until = if self.settings.virtual_mac {
            // At once: each further frame from that MAC address would turn the switches back.
            None
        } else {
            handover_until.map(|until| until.min(now + HANDOVER))
        };
    }

    fn heard_as_backup(&mut self, now: Instant, heard: &Heard, mut backup: Backup) {
        if Self::is_superseded(now, heard, &backup) {
            return;
        }
        let Some(priority) = heard.priority else {
            // Never later than it stands: a flood of resignations must not keep the Backup waiting.
            backup.down_at = backup.down_at.min(now + self.skew());
            backup.waiting_for = Reason::ActiveResigned;
            self.machine = Machine::Backup(backup);
            return;
        };
        let own = self.effective_priority();
        if backup.lost_elsewhere || backup.crossed {
            let lesser = heard.right(priority, own).is_lt();
            if lesser && !backup.crossed {
                backup.down_at = backup.down_at + self.settings.interval.duration();
            }
            backup.crossed = lesser;
            backup.lost_elsewhere = false;
        }
        let preempts = self.settings.preempt || own.is_owner();
        if priority < own && preempts {
            let delay = self.settings.preempt_delay;
            let hold_until = match backup.hold_until {
                Some(until) => until,
                None => now + delay,
            };
            backup.hold_until = Some(hold_until);
            if hold_until <= now {
                backup.active = Some(heard.source);
                backup.waiting_for = Reason::Preempt;
                self.machine = Machine::Backup(backup);
                return;
            }
        } else {
            backup.hold_until = None;
        }
        backup.active = Some(heard.source);
        backup.newer.heard(now, heard);
        backup.patient = false;
        backup.ready = false;
        backup.waiting_for = Reason::NoResponse;
        if self.settings.version == Version::V3 {
            backup.interval = heard.interval;
        }
        self.adopt(heard);
        self.machine = Machine::Backup(backup);
        let longer = if backup.crossed { self.settings.interval.duration() } else { Duration::ZERO };
        let down_at = now + self.down_interval() + longer;
        if let Machine::Backup(backup) = &mut self.machine {
            backup.down_at = down_at;
        }
    }

    fn heard_as_active(&mut self, now: Instant, heard: &Heard, mut active: Active) -> Option<EventKind> {
        let own = self.effective_priority();
        let Some(priority) = heard.priority else {
            // At once, but merged with what was sent less than a moment ago.
            if active.sent.is_none_or(|sent| sent + ZERO_MERGE <= now) {
                self.say(Speak::Advertise);
                active.sent = Some(now);
                active.answers_zero = false;
                active.adver_at = self.after(now);
            } else {
                active.answers_zero = true;
            }
            self.machine = Machine::Active(active);
            return None;
        };
        bump(&mut self.counters.dual_active);
        if heard.right(priority, own).is_gt() {
            self.adopt(heard);
            let interval = if self.settings.version == Version::V3 { heard.interval } else { self.settings.interval };
            self.say(Speak::Farewell);
            self.become_backup(now, interval, Some(heard.source));
            if let Machine::Backup(backup) = &mut self.machine {
                backup.newer.heard(now, heard);
            }
            return self.moved(now, State::Active, Reason::HigherPriority);
        }
        if self.settings.checksum == ChecksumMode::Auto && heard.fits_only_other(self.form) {
            active.both_forms = true;
        }
        let news = active.rival != Some(heard.source);
        active.rival = Some(heard.source);
        self.answer(now, &mut active);
        self.machine = Machine::Active(active);
        news.then_some(EventKind::DualActive { rival: heard.source })
    }

    /// Another Active of less right: advertise and announce again at once (RFC 9568 section 6.4.3), but not
    /// so often that a flood of such Advertisements is amplified. An answer that is held back follows later.
    pub(super) fn answer(&mut self, now: Instant, active: &mut Active) {
        if !self.settings.answer_lower {
            return;
        }
        let announcing = &self.settings.announcing;
        let used = active.answered.map_or(now, |answered| answered.max(now));
        let announces = active.rounds > 0 && active.cursor == 0 && active.paced_until.is_none();
        if matches!(self.speak, Speak::Advertise | Speak::AdvertiseAgain) && announces {
            // What is owed already answers this one too.
            return;
        }
        if used > now + ANSWER_RESERVE {
            bump(&mut self.counters.answers_held_back);
            active.held_back = true;
            return;
        }
        active.held_back = false;
        let quiet = active.answered.is_none_or(|answered| answered + ANSWER_QUIET <= now);
        active.announce(if quiet { announcing.lower_repeat.max(1) } else { 1 }, announcing);
        active.answered = Some(used + ANSWER_SPACING);
        active.repeat_at = announcing.lower_delay.map(|delay| now + delay);
        self.say(Speak::Advertise);
    }

    /// `auto` takes over the checksum form of an Active that it has accepted.
    fn adopt(&mut self, heard: &Heard) {
        if self.settings.checksum == ChecksumMode::Auto && heard.fits_only_other(self.form) {
            self.form = other(self.form);
        }
    }
}

impl Active {
    /// When priority 0 is answered, if it has not been yet.
    pub(super) fn zero_answer_at(&self) -> Option<Instant> {
        self.sent.filter(|_| self.answers_zero).map(|sent| sent + ZERO_MERGE)
    }

    /// When the answer that was held back goes out.
    pub(super) fn lower_answer_at(&self) -> Option<Instant> {
        self.answered.filter(|_| self.held_back).map(|answered| answered - ANSWER_RESERVE)
    }
}

pub(super) fn other(form: Form) -> Form {
    match form {
        Form::PseudoHeader => Form::Plain,
        Form::Plain => Form::PseudoHeader,
        #[cfg(feature = "both-versions")]
        Form::Version2 => Form::Version2,
    }
}
