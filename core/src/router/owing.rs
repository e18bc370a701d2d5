//! What a Virtual Router owes the world: what is to be said, put on, taken off and announced. It is not
//! queued but derived, from what is wanted and what is held, so that a later intent replaces an earlier one.

use super::hearing::other;
use super::settings::Announcing;
use super::{Active, Held, Machine, Router, Speak};
use crate::counters::bump;
use crate::time::{Duration, Instant, Pause};
use crate::types::Priority;
use crate::wire::advertisement::Form;

/// The least time between two attempts to put addresses on again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a burst pauses when so many of its rounds are left. What the predecessor had in its queues comes within a
/// moment, and is set right at once; what comes late, because its machine is busy, not for long either.
const fn spread(left: u8) -> Pause {
    Pause::new(Duration::from_micros(match left {
        0 => 0,
        1 => 10_000,
        2 => 3_500,
        3 => 1_000,
        _ => 500,
    }))
}

impl Router {
    pub(super) fn say(&mut self, speak: Speak) {
        self.speak = speak;
    }

    /// Nothing can be sent any more, not even a farewell: there is no source address.
    pub(crate) fn mute(&mut self) {
        self.say(Speak::Nothing);
    }

    pub(crate) fn owes_advertisement(&self) -> bool {
        self.speak != Speak::Nothing
    }

    /// The next Advertisement that is owed: its priority and checksum form.
    pub(crate) fn advertise(&mut self, now: Instant) -> Option<(Option<Priority>, Form)> {
        let priority = match self.speak {
            Speak::Nothing => return None,
            Speak::Advertise | Speak::AdvertiseAgain | Speak::Farewell => Some(self.effective_priority()),
            Speak::Resign => None,
        };
        let again = self.speak == Speak::AdvertiseAgain;
        let form = if again { other(self.form) } else { self.form };
        self.say(Speak::Nothing);
        if let Machine::Active(active) = &mut self.machine {
            active.sent = Some(now);
            active.answers_zero = false;
            if active.both_forms && !again {
                self.say(Speak::AdvertiseAgain);
            }
        }
        let times = if self.repeats_in_version_2(form) { 2 } else { 1 };
        for _ in 0..times {
            bump(&mut self.counters.advertisement_sent);
            if priority.is_none() {
                bump(&mut self.counters.priority_zero_pkts_sent);
            }
        }
        Some((priority, form))
    }

    pub(crate) fn owes_release(&self) -> bool {
        !self.wanted() && !matches!(self.held, Held::Nothing | Held::Releasing)
    }

    pub(crate) fn release(&mut self) -> u16 {
        self.held = Held::Releasing;
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    pub(crate) fn owes_acquisition(&self) -> bool {
        matches!(self.machine, Machine::Active(_))
            && matches!(self.held, Held::Nothing | Held::Unsure | Held::Releasing)
    }

    pub(crate) fn acquire(&mut self) -> u16 {
        self.held = Held::Acquiring;
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// The port's report on an acquisition or a release; stale ones are ignored.
    pub(crate) fn done(&mut self, now: Instant, generation: u16, success: bool) {
        if generation != self.generation {
            return;
        }
        if !success {
            bump(&mut self.counters.address_failures);
        }
        match (self.held, success) {
            (Held::Acquiring, true) => {
                self.held = Held::Acquired;
                let announcing = self.settings.announcing;
                let adver_at = self.after(now);
                if let Machine::Active(active) = &mut self.machine {
                    if active.sent.is_none() && self.speak == Speak::Nothing {
                        active.adver_at = adver_at;
                        self.speak = Speak::Advertise;
                    }
                    active.announce(announcing.repeat, &announcing);
                    active.repeat_at = announcing.delay.map(|delay| now + delay);
                    active.refresh_at = announcing.refresh.map(|every| now + every);
                }
            }
            (Held::Acquiring, false) => {
                self.retry_at = Some(now + RETRY);
                self.held = Held::Missing;
            }
            // What could not be taken off is not ours to keep trying at: the port has said so.
            (Held::Releasing, _) => self.held = Held::Nothing,
            _ => {}
        }
    }

    /// Somebody else took one of the addresses away: put it back, at most once a second.
    pub(crate) fn lost(&mut self, now: Instant) {
        if self.held == Held::Acquired && self.wanted() {
            bump(&mut self.counters.addresses_lost);
            self.retry_at = Some(self.retry_at.map_or(now, |last| now.max(last + RETRY)));
            self.held = Held::Missing;
        }
    }

    /// The addresses have to be put on again, because they were configured anew.
    pub(crate) fn reacquire(&mut self) {
        if self.holds() && matches!(self.machine, Machine::Active(_)) {
            self.held = Held::Unsure;
        }
    }

    pub(crate) fn owes_announcement(&self, addresses: u16) -> bool {
        match self.machine {
            Machine::Active(Active { rounds, paced_until, .. }) => {
                self.held == Held::Acquired && rounds > 0 && paced_until.is_none() && addresses > 0
            }
            _ => false,
        }
    }

    /// The index of the address that is to be announced now, of `addresses`.
    pub(crate) fn announce(&mut self, now: Instant, addresses: u16) -> Option<u16> {
        let spacing = self.settings.announcing.spacing;
        let Machine::Active(active) = &mut self.machine else { return None };
        let index = active.cursor.min(addresses.saturating_sub(1));
        active.cursor = index.saturating_add(1);
        let mut pause = spacing.unwrap_or(Pause::ZERO);
        if active.cursor >= addresses {
            active.cursor = 0;
            active.rounds = active.rounds.saturating_sub(1);
            pause = spacing.unwrap_or(spread(active.rounds));
        }
        active.paced_until = (pause > Pause::ZERO).then(|| now + pause);
        Some(index)
    }

    pub(crate) fn owes_retirement(&self) -> bool {
        self.is_retiring() && self.is_at_rest()
    }

    /// Whether the port may end as far as this Virtual Router is concerned.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_stopped() && self.is_at_rest()
    }

    fn is_at_rest(&self) -> bool {
        self.held == Held::Nothing && self.handover_until().is_none() && self.speak == Speak::Nothing
    }
}

impl Active {
    /// Starts a burst of `rounds` over all addresses; a longer one that is under way goes on. Its first round comes
    /// at once, unless announcements are paced.
    pub(super) fn announce(&mut self, rounds: u8, announcing: &Announcing) {
        self.rounds = self.rounds.max(rounds);
        self.cursor = 0;
        if announcing.spacing.is_none() {
            self.paced_until = None;
        }
    }
}
