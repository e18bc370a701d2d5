//! One Virtual Router: the state machine of RFC 9568 section 6 (and RFC 3768 section 6 for version 2), its
//! timers, and what it owes the world. It neither parses nor sends: [`crate::agent`] hands it Advertisements
//! that passed every check, tells it that a deadline has come, and asks it what is due.
//!
//! A state owns its deadlines, so a timer that a state forbids cannot exist; and what is owed is not queued
//! but derived from what is *wanted* against what is *held*, so that a later intent replaces an earlier one.

mod grouping;
mod hearing;
mod late;
mod marks;
mod owing;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod versions;

use core::net::IpAddr;
use core::num::NonZeroU8;

use crate::agent::groups::Membership;
use crate::agent::table::Note;
use crate::agent::{EventKind, InterfaceId, Reason, State};
use crate::counters::{RouterCounters, bump};
use crate::time::{Duration, Instant};
use crate::types::{Interval, Priority, Version};
use crate::wire::advertisement::Form;

pub(crate) use grouping::Standing;
pub(crate) use hearing::Heard;
pub(crate) use marks::Mark;
use marks::Marks;
use settings::Settings;
use versions::Newer;

/// The longest time that a resigned Active waits for its successor.
const HANDOVER_LIMIT: Duration = Duration::from_secs(1);

/// The longest time that the addresses are put on ahead of the first Advertisement.
const HEAD_START: Duration = Duration::from_millis(5);

/// A state and the deadlines that it has.
#[derive(Clone, Copy, Debug)]
enum Machine {
    Initialize {
        /// When the startup delay ends, if that is all it waits for.
        start_at: Option<Instant>,
        /// Until when one that was Active goes on forwarding, unless its successor is heard before.
        handover_until: Option<Instant>,
    },
    Backup(Backup),
    Active(Active),
}

#[derive(Clone, Copy, Debug)]
struct Backup {
    /// The Active_Down_Timer.
    down_at: Instant,
    /// Active_Adver_Interval, learned from the Active (RFC 9568 section 6.1).
    interval: Interval,
    /// The Active that we follow.
    active: Option<IpAddr>,
    /// Whether that one speaks version 3, where it might speak version 2.
    newer: Newer,
    /// When the preempt delay ends, while it runs: a lower priority was heard.
    hold_until: Option<Instant>,
    /// What the wait for the Active_Down_Timer means.
    waiting_for: Reason,
    /// The Active has been given one more interval, because this machine stood still.
    patient: bool,
    /// The Active_Down_Timer has fired, and the sync group is waited for.
    ready: bool,
    /// Its sync group has just lost, at another member than its first, to one that may have less right here.
    lost_elsewhere: bool,
    /// That one does have less right here: it listens an interval longer.
    crossed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    /// The Adver_Timer. Only transmitting moves it.
    adver_at: Instant,
    /// When the last Advertisement went out.
    sent: Option<Instant>,
    /// An answer to priority 0 waits, so that it is merged with that Advertisement.
    answers_zero: bool,
    /// Until when answers to lower priorities are used up: each uses [`hearing::ANSWER_SPACING`].
    answered: Option<Instant>,
    /// An answer to a lower priority has been held back, and goes out as soon as the next may.
    held_back: bool,
    /// Rounds over all addresses that are due now.
    rounds: u8,
    /// The address that comes next in this round.
    cursor: u16,
    /// Until when the next announcement waits.
    paced_until: Option<Instant>,
    /// The second burst (`garp_master_delay`, `garp_lower_prio_delay`).
    repeat_at: Option<Instant>,
    /// The periodic refresh (`garp_master_refresh`).
    refresh_at: Option<Instant>,
    /// The other Active that was heard last, until nothing has been heard for three intervals.
    rival: Option<IpAddr>,
    /// An Active that speaks the other checksum form was heard: speak both.
    both_forms: bool,
}

/// What the port is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    Acquiring,
    Acquired,
    /// Not all of it: somebody took an address away, or the port failed. Tried again at `retry_at`.
    Missing,
    /// Perhaps all, perhaps some: to be put on again while they are wanted, to be taken off otherwise.
    Unsure,
    Releasing,
}

/// How an administrator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Running,
    /// Shut down: does not start again by itself.
    Stopped,
    /// It is being removed: gone as soon as nothing is held.
    Retiring,
}

/// What is to be said next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speak {
    Nothing,
    /// An Advertisement of an Active.
    Advertise,
    /// The same once more, in the other checksum form.
    AdvertiseAgain,
    /// The last Advertisement of an Active that steps down: its own priority, so that the winner knows that
    /// there were two and announces its addresses again.
    Farewell,
    /// Priority 0: the Active resigns.
    Resign,
}

/// One Virtual Router.
pub(crate) struct Router {
    pub(crate) interface: InterfaceId,
    pub(crate) settings: Settings,
    pub(crate) counters: RouterCounters,
    /// The agent's, here because it takes more memory beside it.
    pub(crate) note: Note,
    pub(crate) marks: Marks,
    /// When it last changed its state, from what, and why.
    moved_at: Option<Instant>,
    moved_from: State,
    moved_because: Reason,
    machine: Machine,
    held: Held,
    generation: u16,
    /// When what is missing is, or was last, put on again.
    retry_at: Option<Instant>,
    speak: Speak,
    /// When an Advertisement last passed every check, and its priority.
    pub(crate) heard: Option<Instant>,
    pub(crate) heard_priority: Option<Priority>,
    /// The version of the last one that counted.
    #[cfg(feature = "both-versions")]
    heard_version: Version,
    /// What trackers add to the priority at the moment.
    pub(crate) weights: i16,
    /// Its place in its sync group, if it has one.
    pub(crate) membership: Option<Membership>,
    /// The checksum form that `auto` has settled on.
    form: Form,
    service: Service,
    /// Advertisements are aligned to this remainder of the interval, so that those of many Virtual Routers
    /// come in batches that no receive queue overflows at. `None`: at the interval after the last.
    pub(crate) phase: Option<NonZeroU8>,
}

/// In Initialize, and nothing happens by itself.
const RESTING: Machine = Machine::Initialize { start_at: None, handover_until: None };

impl Router {
    pub(crate) fn new(interface: InterfaceId, settings: Settings, has_source: bool, held: bool) -> Self {
        let mut marks = Marks::default();
        marks.set(Mark::HasSource, has_source);
        Self {
            interface,
            settings,
            counters: RouterCounters::default(),
            note: Note::default(),
            marks,
            moved_at: None,
            moved_from: State::Initialize,
            moved_because: Reason::Startup,
            machine: RESTING,
            held: if held { Held::Acquired } else { Held::Nothing },
            generation: 0,
            retry_at: None,
            speak: Speak::Nothing,
            heard: None,
            heard_priority: None,
            #[cfg(feature = "both-versions")]
            heard_version: settings.version,
            weights: 0,
            membership: None,
            form: settings.first_form(),
            service: Service::Running,
            phase: None,
        }
    }

    // What others may know.

    pub(crate) fn state(&self) -> State {
        match self.machine {
            Machine::Initialize { .. } => State::Initialize,
            Machine::Backup(_) => State::Backup,
            Machine::Active(_) => State::Active,
        }
    }

    /// The priority that takes part in the election: with the weights of trackers, but 1 to 254; the owner's
    /// never changes.
    pub(crate) fn effective_priority(&self) -> Priority {
        self.settings.priority.weighted(self.weights.into())
    }

    /// When it last changed its state, from what, to what, and why.
    pub(crate) fn last_transition(&self) -> Option<(Instant, State, State, Reason)> {
        self.moved_at.map(|at| (at, self.moved_from, self.state(), self.moved_because))
    }

    /// The Active that it follows, as Backup, as far as it is known.
    pub(crate) fn follows(&self) -> Option<IpAddr> {
        match self.machine {
            Machine::Backup(backup) => backup.active,
            _ => None,
        }
    }

    /// Active_Adver_Interval: the Active's interval, ours until one was heard.
    pub(crate) fn active_interval(&self) -> Interval {
        match self.machine {
            Machine::Backup(backup) => backup.interval,
            _ => self.settings.interval,
        }
    }

    /// Skew_Time (RFC 9568 section 6.1, RFC 3768 section 6.1), in microseconds, not rounded to centiseconds.
    pub(crate) fn skew(&self) -> Duration {
        let base = match self.settings.version {
            Version::V2 => 1_000_000,
            Version::V3 => self.active_interval().duration().as_micros(),
        };
        let share = 256_u64.saturating_sub(u64::from(self.effective_priority().get()));
        Duration::from_micros(base.saturating_mul(share) / 256)
    }

    /// Active_Down_Interval (RFC 9568 section 6.1).
    pub(crate) fn down_interval(&self) -> Duration {
        self.active_interval().duration().times(u64::from(self.settings.down_timer_adverts)) + self.skew()
    }

    /// Whether the addresses are on, as far as the port has reported.
    pub(crate) fn holds(&self) -> bool {
        self.held != Held::Nothing
    }

    /// The other Active that is being heard.
    pub(crate) fn rival(&self) -> Option<IpAddr> {
        match self.machine {
            Machine::Active(active) => active.rival,
            _ => None,
        }
    }

    /// When the startup delay ends, if that is all that it waits for.
    pub(crate) fn starts_at(&self) -> Option<Instant> {
        match self.machine {
            Machine::Initialize { start_at, .. } => start_at,
            _ => None,
        }
    }

    /// Until when it goes on forwarding, as one that has resigned.
    fn handover_until(&self) -> Option<Instant> {
        match self.machine {
            Machine::Initialize { handover_until, .. } => handover_until,
            _ => None,
        }
    }

    /// Whether it has resigned, and goes on only until its successor is heard.
    pub(crate) fn has_resigned(&self) -> bool {
        self.handover_until().is_some()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.service != Service::Running
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.service == Service::Retiring
    }

    /// Keeps it out, unless it is being removed.
    pub(crate) fn set_stopped(&mut self, stopped: bool) {
        if self.service != Service::Retiring {
            self.service = if stopped { Service::Stopped } else { Service::Running };
        }
    }

    /// It is to go, as soon as nothing is held.
    pub(crate) fn set_retiring(&mut self) {
        self.service = Service::Retiring;
    }

    /// The Active_Down_Timer, and when the preempt delay ends, while they run.
    pub(crate) fn takes_over_at(&self) -> (Option<Instant>, Option<Instant>) {
        match self.machine {
            Machine::Backup(backup) => ((!backup.ready).then_some(backup.down_at), backup.hold_until),
            _ => (None, None),
        }
    }

    /// Whether it is to hold its addresses: as Active, and after it has resigned until its successor is heard.
    pub(crate) fn wanted(&self) -> bool {
        matches!(self.machine, Machine::Active(_) | Machine::Initialize { handover_until: Some(_), .. })
    }

    // Deadlines.

    /// The next time at which something happens by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = match self.machine {
            Machine::Initialize { start_at, handover_until } => earliest(&[start_at, handover_until]),
            Machine::Backup(backup) => (!backup.ready).then_some(backup.down_at),
            Machine::Active(active) => {
                let Active { paced_until, repeat_at, refresh_at, .. } = active;
                let (zero, lower) = (active.zero_answer_at(), active.lower_answer_at());
                earliest(&[Some(active.adver_at), zero, lower, paced_until, repeat_at, refresh_at])
            }
        };
        let retry = match self.held {
            Held::Missing if self.wanted() => self.retry_at,
            _ => None,
        };
        earliest(&[state, retry])
    }

    /// Does what is due at `now`. The event that it brings, if it brings one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<EventKind> {
        if let Machine::Initialize { handover_until, .. } = &mut self.machine {
            handover_until.take_if(|until| *until <= now);
        }
        if self.held == Held::Missing && self.retry_at.is_some_and(|at| at <= now) && self.wanted() {
            self.held = Held::Unsure;
        }
        match self.machine {
            Machine::Initialize { start_at: Some(at), .. } if at <= now => self.start(now, now, Reason::Startup),
            Machine::Initialize { .. } => None,
            Machine::Backup(backup) if backup.down_at <= now && !backup.ready => self.active_down(now, backup),
            Machine::Backup(_) => None,
            Machine::Active(active) => {
                self.active_due(now, active);
                None
            }
        }
    }

    /// The Active_Down_Timer fires (RFC 9568 section 6.4.2).
    fn active_down(&mut self, now: Instant, mut backup: Backup) -> Option<EventKind> {
        let interval = backup.interval.duration();
        if now.since(backup.down_at) > interval {
            bump(&mut self.counters.late_wakeups);
            // This machine stood still, so its queues say nothing about the Active: listen once more.
            if !backup.patient {
                backup.patient = true;
                backup.down_at = now + interval;
                self.machine = Machine::Backup(backup);
                return None;
            }
        }
        self.may_become_active(now, backup.waiting_for)
    }

    fn active_due(&mut self, now: Instant, mut active: Active) {
        let interval = self.settings.interval.duration();
        if active.adver_at <= now {
            self.say(Speak::Advertise);
            if now.since(active.adver_at) > interval {
                // Others may have taken the addresses while this machine stood still.
                bump(&mut self.counters.late_wakeups);
                active.announce(1, &self.settings.announcing);
            }
            let next = if active.sent.is_some() { active.adver_at + interval } else { self.after(now) };
            active.adver_at = if next > now { next } else { self.after(now) };
        }
        if active.zero_answer_at().is_some_and(|at| at <= now) {
            active.answers_zero = false;
            self.say(Speak::Advertise);
        }
        if active.lower_answer_at().is_some_and(|at| at <= now) {
            active.held_back = false;
            self.answer(now, &mut active);
        }
        if active.paced_until.is_some_and(|at| at <= now) {
            active.paced_until = None;
        }
        if active.repeat_at.is_some_and(|at| at <= now) {
            active.repeat_at = None;
            active.announce(self.settings.announcing.repeat, &self.settings.announcing);
        }
        if active.refresh_at.is_some_and(|at| at <= now) {
            active.refresh_at = self.settings.announcing.refresh.map(|every| now + every);
            active.announce(self.settings.announcing.refresh_repeat, &self.settings.announcing);
        }
        if active.rival.is_some() && self.silent_for(now) > interval.times(3) {
            active.rival = None;
        }
        self.machine = Machine::Active(active);
    }

    /// The Adver_Timer after an Advertisement at `now`: an interval later, or earlier where Advertisements
    /// are aligned.
    fn after(&self, now: Instant) -> Instant {
        let interval = self.settings.interval.duration();
        let latest = now + interval;
        let Some(phase) = self.phase else { return latest };
        let offset = interval.as_micros().saturating_mul(u64::from(phase.get())) / 256;
        let excess = remainder(latest.as_micros().saturating_sub(offset), interval);
        let aligned = latest - excess;
        if aligned > now { aligned } else { latest }
    }

    // Transitions.

    /// Startup (RFC 9568 section 6.4.1), once the interface and the source address are there.
    pub(crate) fn start(&mut self, now: Instant, not_before: Instant, reason: Reason) -> Option<EventKind> {
        if self.is_stopped() || self.marks.has(Mark::Faulty) || !self.marks.has(Mark::HasSource) {
            return None;
        }
        let Machine::Initialize { start_at, .. } = &mut self.machine else { return None };
        if not_before > now {
            *start_at = Some(not_before);
            return None;
        }
        self.say(Speak::Nothing);
        let owner = self.effective_priority().is_owner();
        if owner && self.membership.is_none() {
            return self.become_active(now, reason);
        }
        self.become_backup(now, self.settings.interval, None);
        if owner {
            self.await_group(Reason::Startup);
        }
        self.moved(now, State::Initialize, reason)
    }

    /// Startup where a predecessor was Active until a moment ago: without a wait as Backup.
    pub(crate) fn go_on(&mut self, now: Instant) -> Option<EventKind> {
        if self.marks.has(Mark::HasSource) && !self.marks.has(Mark::Faulty) {
            self.become_active(now, Reason::Startup)
        } else {
            None
        }
    }

    /// Shutdown (RFC 9568 sections 6.4.2, 6.4.3). A planned stop keeps the addresses until the successor has
    /// been heard; a fault lets go at once.
    pub(crate) fn stop(&mut self, now: Instant, reason: Reason, planned: bool) -> Option<EventKind> {
        let from = self.state();
        let handover = match from {
            State::Initialize => self.handover_until(),
            State::Backup => None,
            State::Active => {
                self.say(Speak::Resign);
                Some(now + self.settings.interval.duration().min(HANDOVER_LIMIT))
            }
        };
        self.machine = Machine::Initialize { start_at: None, handover_until: handover.filter(|_| planned) };
        if from == State::Initialize {
            return None;
        }
        self.moved(now, from, reason)
    }

    fn become_active(&mut self, now: Instant, reason: Reason) -> Option<EventKind> {
        let from = self.state();
        bump(&mut self.counters.master_transitions);
        let adver_at = match self.head_start(reason) {
            Duration::ZERO => {
                self.say(Speak::Advertise);
                self.after(now)
            }
            // Unless the addresses are on sooner.
            head_start => {
                self.say(Speak::Nothing);
                now + head_start
            }
        };
        self.machine = Machine::Active(Active {
            adver_at,
            sent: None,
            answers_zero: false,
            answered: None,
            held_back: false,
            rounds: 0,
            cursor: 0,
            paced_until: None,
            repeat_at: None,
            refresh_at: None,
            rival: None,
            both_forms: false,
        });
        if self.held == Held::Acquired {
            // Left over from a predecessor: they are on, but have to be checked and announced all the same.
            self.held = Held::Unsure;
        }
        self.moved(now, from, reason)
    }

    /// How long the first Advertisement waits for the addresses at most. It turns the switches, so whoever takes over
    /// from one that still serves puts the addresses on before it, and nothing is lost in between. So little that a
    /// Backup of eight priorities less is not earlier.
    fn head_start(&self, reason: Reason) -> Duration {
        let serves = matches!(reason, Reason::ActiveResigned | Reason::Preempt) && self.settings.virtual_mac;
        let share = Duration::from_micros(self.settings.interval.duration().as_micros() / 32);
        if serves { share.min(HEAD_START) } else { Duration::ZERO }
    }

    fn become_backup(&mut self, now: Instant, interval: Interval, active: Option<IpAddr>) {
        self.machine = Machine::Backup(Backup {
            down_at: now,
            interval,
            active,
            newer: Newer::default(),
            hold_until: None,
            waiting_for: Reason::NoResponse,
            patient: false,
            ready: false,
            lost_elsewhere: false,
            crossed: false,
        });
        let down_at = now + self.down_interval();
        if let Machine::Backup(backup) = &mut self.machine {
            backup.down_at = down_at;
        }
    }

    /// How long no Advertisement has been heard.
    fn silent_for(&self, now: Instant) -> Duration {
        now.since(self.heard.unwrap_or_default())
    }

    fn moved(&mut self, now: Instant, from: State, reason: Reason) -> Option<EventKind> {
        self.moved_at = Some(now);
        self.moved_from = from;
        self.moved_because = reason;
        Some(EventKind::Transition { from, to: self.state(), reason })
    }

    // Trackers.

    /// What trackers add to the priority is now this, and one of weight 0 keeps it out, or none does.
    pub(crate) fn track(&mut self, now: Instant, weights: i32, faulty: bool) -> Option<EventKind> {
        let skew = self.skew();
        self.weights = weights.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        self.marks.set(Mark::Faulty, faulty);
        self.shift(now, skew);
        if faulty { self.stop(now, Reason::TrackerDown, false) } else { None }
    }

    /// Shifts the running Active_Down_Timer by the change of its skew, as keepalived does.
    fn shift(&mut self, now: Instant, skew_before: Duration) {
        let (skew, longest) = (self.skew(), now + self.down_interval());
        let longer = self.settings.interval.duration();
        if let Machine::Backup(backup) = &mut self.machine {
            let longest = if backup.crossed { longest + longer } else { longest };
            backup.down_at = (backup.down_at + skew - skew_before).min(longest);
        }
    }

    /// New settings for the same Virtual Router; timers move only as far as the settings demand.
    pub(crate) fn reconfigure(&mut self, now: Instant, settings: Settings) -> Option<EventKind> {
        let skew = self.skew();
        if (settings.version, settings.checksum) != (self.settings.version, self.settings.checksum) {
            self.form = settings.first_form();
            match &mut self.machine {
                Machine::Initialize { .. } => {}
                Machine::Backup(backup) => backup.newer = Newer::default(),
                Machine::Active(active) => active.both_forms = false,
            }
        }
        let old = core::mem::replace(&mut self.settings, settings);
        let was_owner = old.priority.is_owner();
        let after = self.after(now);
        match &mut self.machine {
            Machine::Initialize { .. } => {}
            Machine::Backup(backup) => {
                if backup.active.is_none() || settings.version == Version::V2 {
                    backup.interval = settings.interval;
                }
                if settings.priority.is_owner() && !was_owner {
                    return self.may_become_active(now, Reason::Reconfigured);
                }
                if backup.ready && was_owner && !settings.priority.is_owner() {
                    // It has never listened for as long as it now has to.
                    let (interval, active) = (backup.interval, backup.active);
                    self.become_backup(now, interval, active);
                    return None;
                }
            }
            Machine::Active(active) => {
                active.adver_at = active.adver_at.min(after);
                if active.refresh_at.is_none() {
                    active.refresh_at = settings.announcing.refresh.map(|every| now + every);
                }
            }
        }
        self.shift(now, skew);
        None
    }
}

/// What is left of a time behind the last whole interval. In steps of four bits, since an interval has less than 28: a
/// machine of 32 bits divides so itself, and needs no 900 bytes for numbers of 64.
fn remainder(micros: u64, interval: Duration) -> Duration {
    let length = interval.as_micros() as u32;
    let (mut left, mut rest) = (micros, 0_u32);
    for _ in 0..16 {
        rest = (rest << 4 | (left >> 60) as u32).checked_rem(length).unwrap_or(0);
        left <<= 4;
    }
    Duration::from_micros(rest.into())
}

fn earliest(deadlines: &[Option<Instant>]) -> Option<Instant> {
    deadlines.iter().flatten().min().copied()
}
