//! When a check is done, and which of its attempts count: one machine per check, without I/O and with explicit
//! time. What an attempt is and how long it may take is the driver's matter; what a verdict does to the server
//! is [`super::pool`]'s.
//!
//! From the moment a server that was up stops answering until its check says so there are at most
//! `delay_loop + (retry + 1) × attempt + retry × delay_before_retry`, an attempt lasting no longer than the
//! driver lets it, and at least `retry × delay_before_retry`.

use steadfast_core::time::{Duration, Instant};

use crate::lvs::plan::Timing;
use crate::lvs::verdict::Verdict;

/// The first check comes no sooner than this after the start: keepalived's interval.
const FIRST: Duration = Duration::from_secs(1);

/// After a rest the checks come back within this, each at a moment of its own.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);

/// No attempt follows another sooner: a file that asks for no pause at all does not get a busy loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The schedule of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    timing: Timing,
    /// Where in a span this check has its place, so that not all come at once.
    place: u64,
    phase: Phase,
    /// Failures in a row that have not counted yet.
    failures: u32,
    /// What the attempts that counted said last.
    up: Option<bool>,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting(Instant),
    Running,
    Suspended,
}

/// What a finished attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This is what the check says now; the pool wants to know.
    Counts,
    /// It failed and is tried again first: so many failures in a row by now.
    Retry(u32),
    /// It had been called off.
    Void,
}

impl Schedule {
    /// A check that has never been done; the first one is due 1 s plus a part of `warmup` from `now`. `random`
    /// says which part.
    pub fn new(now: Instant, timing: &Timing, random: u64) -> Self {
        let first = now + FIRST + part(timing.warmup, random);
        Self { timing: *timing, place: random, phase: Phase::Waiting(first), failures: 0, up: None, last: None }
    }

    /// Takes over from the check that stood in this one's place before a reload, where they are not equal: the
    /// server keeps its health, and one that is up has its retries before the new check can take it down.
    #[must_use]
    pub fn succeeding(self, old: &Self) -> Self {
        Self { up: old.up, ..self }
    }

    /// When the next attempt is due; `None` while one is running or the check rests.
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(due) => Some(due),
            Phase::Running | Phase::Suspended => None,
        }
    }

    /// An attempt begins. One that rests does not wake up by this.
    pub fn begin(&mut self) {
        if matches!(self.phase, Phase::Waiting(_)) {
            self.phase = Phase::Running;
        }
    }

    /// The attempt that had begun has ended like this.
    pub fn finish(&mut self, now: Instant, verdict: &Verdict) -> Outcome {
        if self.phase != Phase::Running {
            return Outcome::Void;
        }
        self.last = Some(now);
        let up = !matches!(verdict, Verdict::Down(_));
        // A server that is down stays so at once. As for a first check, it is keepalived's rule that a server
        // which has been taken for up gets no second chance.
        let chances = if self.up.unwrap_or(self.timing.alpha) { self.timing.retry } else { 0 };
        if !up && self.failures < chances {
            self.failures = self.failures.saturating_add(1);
            self.wait(now, self.timing.delay_before_retry);
            return Outcome::Retry(self.failures);
        }
        self.failures = 0;
        self.up = Some(up);
        self.wait(now, self.timing.delay_loop);
        Outcome::Counts
    }

    /// `ha_suspend`: no more attempts. One that is running is called off.
    pub fn suspend(&mut self) {
        self.phase = Phase::Suspended;
        // What failed before the rest says nothing of the time after it.
        self.failures = 0;
    }

    /// The rest is over.
    pub fn resume(&mut self, now: Instant) {
        if self.phase == Phase::Suspended {
            self.phase = Phase::Waiting(now + part(RESUMED_WITHIN, self.place));
        }
    }

    /// Whether the check rests.
    pub fn is_suspended(&self) -> bool {
        self.phase == Phase::Suspended
    }

    /// When the last attempt ended.
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    fn wait(&mut self, now: Instant, pause: Duration) {
        self.phase = Phase::Waiting(now + pause.max(SHORTEST_PAUSE));
    }
}

/// `random` of 2^64 parts of `span`.
fn part(span: Duration, random: u64) -> Duration {
    Duration::from_micros(((u128::from(span.as_micros()) * u128::from(random)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::verdict::WeightChange;

    const DOWN: Verdict = Verdict::Down(std::borrow::Cow::Borrowed("connection refused"));

    fn timing(alpha: bool) -> Timing {
        Timing {
            delay_loop: Duration::from_secs(6),
            retry: 2,
            delay_before_retry: Duration::from_secs(3),
            warmup: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            alpha,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    /// Begins the attempt that is due and ends it one second later.
    fn attempt(schedule: &mut Schedule, verdict: &Verdict) -> (Outcome, u64) {
        let end = schedule.due().unwrap() + Duration::from_secs(1);
        schedule.begin();
        assert_eq!(schedule.due(), None);
        let outcome = schedule.finish(end, verdict);
        assert_eq!(schedule.last(), Some(end));
        (outcome, schedule.due().unwrap().since(end).as_micros() / 1_000_000)
    }

    #[test]
    fn the_first_check_comes_after_a_second_and_part_of_the_warmup() {
        let due = |random| Schedule::new(at(100), &timing(false), random).due().unwrap();
        assert_eq!(due(0), at(101));
        assert_eq!(due(1 << 63), at(106));
        assert!(due(u64::MAX) <= at(111) && due(u64::MAX) > at(110));
    }

    #[test]
    fn the_first_failure_of_a_server_taken_for_up_counts_at_once() {
        let mut schedule = Schedule::new(at(0), &timing(false), 0);
        assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Counts, 6));
        assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Counts, 6));
    }

    #[test]
    fn later_failures_count_after_the_retries() {
        for alpha in [false, true] {
            let mut schedule = Schedule::new(at(0), &timing(alpha), 0);
            assert_eq!(attempt(&mut schedule, &Verdict::Up), (Outcome::Counts, 6));
            for _ in 0..2 {
                assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Retry(1), 3));
                assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Retry(2), 3));
                assert_eq!(
                    attempt(&mut schedule, &Verdict::UpWith(WeightChange::Absolute(3))),
                    (Outcome::Counts, 6),
                    "a success forgives"
                );
            }
            assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Retry(1), 3));
            assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Retry(2), 3));
            assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Counts, 6));
            assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Counts, 6), "down: no retries");
            assert_eq!(attempt(&mut schedule, &Verdict::Up), (Outcome::Counts, 6), "up at once");
        }
    }

    #[test]
    fn alpha_has_its_retries_at_the_first_check() {
        let mut schedule = Schedule::new(at(0), &timing(true), 0);
        assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Retry(1), 3));
        assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Retry(2), 3));
        assert_eq!(attempt(&mut schedule, &DOWN), (Outcome::Counts, 6));
    }

    #[test]
    fn a_rest_calls_off_what_is_running_and_forgets_failures() {
        let mut schedule = Schedule::new(at(0), &timing(false), 1 << 63);
        attempt(&mut schedule, &Verdict::Up);
        assert_eq!(attempt(&mut schedule, &DOWN).0, Outcome::Retry(1));
        schedule.begin();
        schedule.suspend();
        assert!(schedule.is_suspended());
        assert_eq!(schedule.finish(at(50), &DOWN), Outcome::Void);
        assert_eq!(schedule.due(), None);
        schedule.begin();
        assert_eq!(schedule.due(), None);
        schedule.resume(at(60));
        assert_eq!(schedule.due(), Some(at(60) + Duration::from_millis(500)));
        schedule.resume(at(90));
        assert_eq!(schedule.due(), Some(at(60) + Duration::from_millis(500)));
        assert_eq!(attempt(&mut schedule, &DOWN).0, Outcome::Retry(1));
    }

    #[test]
    fn an_answer_nobody_waits_for_is_void() {
        let mut schedule = Schedule::new(at(0), &timing(false), 0);
        let before = schedule.clone();
        assert_eq!(schedule.finish(at(1), &DOWN), Outcome::Void);
        assert_eq!(schedule, before);
    }

    #[test]
    fn no_pause_at_all_is_still_one() {
        let none = Timing { delay_loop: Duration::ZERO, delay_before_retry: Duration::ZERO, ..timing(false) };
        let mut schedule = Schedule::new(at(0), &none, 0);
        for verdict in [Verdict::Up, DOWN] {
            schedule.begin();
            schedule.finish(at(9), &verdict);
            assert_eq!(schedule.due(), Some(at(9) + SHORTEST_PAUSE));
        }
    }

    #[test]
    fn a_changed_check_of_a_server_that_is_up_has_its_retries() {
        let mut old = Schedule::new(at(0), &timing(false), 0);
        attempt(&mut old, &Verdict::Up);
        let mut new = Schedule::new(at(20), &timing(false), 0).succeeding(&old);
        assert_eq!(new.due(), Some(at(21)));
        assert_eq!(attempt(&mut new, &DOWN).0, Outcome::Retry(1));
    }

    #[test]
    fn time_at_its_end_overflows_nothing() {
        let end = Instant::from_micros(u64::MAX);
        let mut schedule = Schedule::new(end, &timing(false), u64::MAX);
        schedule.begin();
        assert_eq!(schedule.finish(end, &Verdict::Up), Outcome::Counts);
        assert_eq!(schedule.due(), Some(end));
    }
}
