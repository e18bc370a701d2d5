//! All checks: when each is due, which attempt is under way, and what it said. What a verdict does to a pool is the
//! engine's business.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use log::debug;
use steadfast_core::time::{Duration, Instant};

use crate::lvs::attempt::{self, Attempt, Buffer, Step, Way, describe};
use crate::lvs::plan::{Check, CheckKind};
use crate::lvs::probe::{self, TlsContext, Transport};
use crate::lvs::schedule::{Outcome, Schedule};
use crate::lvs::sockets::Sockets;
use crate::lvs::verdict::{Verdict, WeightChange};
use crate::process::{Ended, ProgramId, Programs};
use crate::source;
use crate::sys::client::Failure;
use crate::sys::epoll::Epoll;
use crate::sys::spawn::Exit;

/// Programs of checks at a time; the others wait for their turn.
const PROGRAMS: usize = 256;
/// How long an attempt waits that something here stood in the way of.
const OBSTACLE: Duration = Duration::from_secs(1);
/// Checks that are begun in one turn: between two of them, answers are taken in.
const BEGINNINGS: usize = 128;
/// Checks that may have gone without an answer for less than [`YOUTH`]; others wait for their begin. So neither a
/// machine that was late nor one that is overloaded throws more at servers and queues than they take, and servers
/// that never answer still leave room for more than a thousand checks a second.
const YOUNG: usize = 256;
const YOUTH: Duration = Duration::from_millis(200);
/// How long a server that sends without end is left alone between two helpings, so that it takes no more than a part
/// of a processor.
const BREATH: Duration = Duration::from_millis(1);
/// The longest content of a file that is looked at: a number, and blanks.
const FILE_BYTES: u64 = 64;

/// Where a check belongs: the numbers of the virtual server, the real server and the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) service: usize,
    pub(super) server: usize,
    pub(super) check: usize,
}

/// A check at work.
pub(super) struct Checker {
    pub(super) place: Place,
    plan: Arc<Check>,
    schedule: Schedule,
    state: State,
    /// Which of the urls it is at.
    round: usize,
    /// How much later than due the check was begun.
    late: Duration,
    /// Whether it is left alone for a moment, since it had more to read than one helping.
    breathes: bool,
    /// The verdict that counted last.
    counted: Option<Verdict>,
    /// When the loop has to look at it.
    timer: Option<Instant>,
    /// Tells the events of an attempt from those of earlier ones.
    serial: u32,
}

enum State {
    /// Until the schedule says so, or nothing at all.
    Idle,
    /// Over a socket.
    Attempt(Attempt),
    /// A program.
    Program(ProgramId),
    /// Something here is missing; another try then.
    Obstacle(Instant),
}

/// A verdict that counts, for the pool.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) place: Place,
    pub(super) verdict: Verdict,
}

/// Something that the log may tell of.
#[derive(Debug)]
pub(super) enum Remark {
    /// A failure that is tried again, or changes nothing (`log_all_failures`).
    Failed(Place, Cow<'static, str>),
    /// A check could not be done for want of something here.
    Obstacle(Place, String),
}

/// All checks.
pub(super) struct Checks {
    list: Vec<Option<Checker>>,
    free: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    /// Those that are due, since when, and their serials.
    queue: VecDeque<(Instant, usize, u32)>,
    /// Those that were begun of late, when, and their serials.
    young: VecDeque<(Instant, usize, u32)>,
    programs: Programs<(usize, u32)>,
    tls: TlsContext,
    /// Those with more to read, and when they are read on.
    again: Vec<(usize, u32)>,
    read_on_at: Instant,
    buffer: Buffer,
    sockets: Sockets,
    random: RandomState,
    drawn: u64,
    pub(super) said: Vec<Said>,
    pub(super) remarks: Vec<Remark>,
    pub(super) counts: Counts,
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Attempts that ended.
    pub(super) attempts: u64,
    /// Attempts that something here stood in the way of.
    pub(super) obstacles: u64,
}

impl Checks {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            list: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            queue: VecDeque::new(),
            young: VecDeque::new(),
            programs: Programs::new(PROGRAMS)?,
            tls: TlsContext::default(),
            again: Vec::new(),
            read_on_at: Instant::default(),
            buffer: attempt::buffer(),
            sockets: Sockets::default(),
            random: RandomState::new(),
            drawn: 0,
            said: Vec::new(),
            remarks: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// What TLS is done with from now on.
    pub(super) fn set_tls(&mut self, tls: TlsContext) {
        self.tls = tls;
    }

    /// Enters a check; `old` is the slot of the one that stood in its place, if it was another.
    pub(super) fn add(&mut self, now: Instant, place: Place, plan: Arc<Check>, old: Option<usize>) -> usize {
        let mut schedule = Schedule::new(now, &plan.timing, self.draw());
        if let Some(old) = old.and_then(|old| self.get(old)) {
            schedule = schedule.succeeding(&old.schedule);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.list.push(None);
            self.list.len() - 1
        });
        let serial = u32::try_from(self.draw() >> 32).unwrap_or(0);
        let checker = Checker {
            place,
            plan,
            schedule,
            state: State::Idle,
            round: 0,
            late: Duration::ZERO,
            breathes: false,
            counted: None,
            timer: None,
            serial,
        };
        if let Some(entry) = self.list.get_mut(slot) {
            *entry = Some(checker);
        }
        self.set_timer(slot);
        slot
    }

    /// Takes a check out, with what it has under way.
    pub(super) fn remove(&mut self, now: Instant, slot: usize) {
        self.call_off(now, slot);
        let Some(checker) = self.list.get_mut(slot).and_then(Option::take) else { return };
        if let Some(timer) = checker.timer {
            self.timers.remove(&(timer, slot));
        }
        self.free.push(slot);
    }

    /// A check has another place now.
    pub(super) fn set_place(&mut self, slot: usize, place: Place) {
        if let Some(checker) = self.get_mut(slot) {
            checker.place = place;
        }
    }

    /// `ha_suspend`: a check rests, or no longer.
    pub(super) fn set_rest(&mut self, now: Instant, slot: usize, rests: bool) {
        let Some(checker) = self.get_mut(slot).filter(|checker| checker.schedule.is_suspended() != rests) else {
            return;
        };
        if rests {
            checker.schedule.suspend();
            self.call_off(now, slot);
        } else {
            checker.schedule.resume(now);
        }
        self.set_timer(slot);
    }

    /// When the last attempt of a check ended.
    pub(super) fn last(&self, slot: usize) -> Option<Instant> {
        self.get(slot)?.schedule.last()
    }

    /// Something has happened at a socket.
    pub(super) fn ready(&mut self, now: Instant, epoll: &Epoll, slot: usize, serial: u32, failed: bool) {
        if self.get(slot).is_some_and(|checker| checker.serial == serial && !checker.breathes) {
            self.go_on(now, epoll, slot, failed);
        }
    }

    /// Goes on with what had more to read.
    pub(super) fn read_on(&mut self, now: Instant, epoll: &Epoll) {
        if now < self.read_on_at {
            return;
        }
        for (slot, serial) in std::mem::take(&mut self.again) {
            if let Some(checker) = self.get_mut(slot).filter(|checker| checker.serial == serial) {
                checker.breathes = false;
                self.go_on(now, epoll, slot, false);
            }
        }
    }

    /// Takes in which programs have ended.
    pub(super) fn poll_programs(&mut self, now: Instant, epoll: &Epoll) -> io::Result<()> {
        self.programs.poll(now)?;
        while let Some(((slot, serial), ended)) = self.programs.next_ended() {
            let Some(checker) = self.get_mut(slot).filter(|checker| checker.serial == serial) else { continue };
            let dynamic = matches!(checker.plan.kind, CheckKind::Misc { dynamic: true, .. });
            match ended {
                Ended::Exited(exit) => self.finish(now, epoll, slot, exit_verdict(exit, dynamic)),
                Ended::TimedOut(limit) => {
                    let verdict = Verdict::Down(format!("no exit within {}", probe::span(limit)).into());
                    self.finish(now, epoll, slot, verdict);
                }
                // A program that is not there is the file's mistake, and what it would have said is unknown.
                Ended::NotRun(error) if is_shortage(&error) => self.obstruct(now, slot, &error),
                Ended::NotRun(error) => {
                    self.finish(now, epoll, slot, Verdict::Down(format!("it cannot be run: {error}").into()));
                }
            }
        }
        Ok(())
    }

    /// Begins what is due and ends what has had its time.
    pub(super) fn expire(&mut self, now: Instant, epoll: &Epoll) {
        while let Some(&(due, slot)) = self.timers.first().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, slot));
            let Some(checker) = self.list.get_mut(slot).and_then(Option::as_mut) else { continue };
            checker.timer = None;
            match &mut checker.state {
                State::Idle => self.queue.push_back((due, slot, checker.serial)),
                State::Obstacle(_) => self.begin(now, epoll, slot),
                State::Attempt(attempt) => {
                    let verdict = attempt.expire();
                    self.finish(now, epoll, slot, verdict);
                }
                State::Program(_) => {}
            }
        }
        for _ in 0..BEGINNINGS {
            if self.is_crowded(now) {
                break;
            }
            let Some((due, slot, serial)) = self.queue.pop_front() else { break };
            let Some(checker) = self.get_mut(slot).filter(|checker| checker.serial == serial) else { continue };
            checker.schedule.begin();
            checker.round = 0;
            checker.late = now.since(due);
            self.begin(now, epoll, slot);
        }
    }

    /// Whether so many have been begun of late, and not ended, that others have to wait.
    fn is_crowded(&mut self, now: Instant) -> bool {
        if self.young.len() >= YOUNG {
            let Self { young, list, .. } = self;
            young.retain(|(begun, slot, serial)| {
                let checker = list.get(*slot).and_then(Option::as_ref);
                now.since(*begun) < YOUTH && checker.is_some_and(|checker| checker.serial == *serial)
            });
        }
        self.young.len() >= YOUNG
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(due, _)| *due);
        let read_on = (!self.again.is_empty()).then_some(self.read_on_at);
        let begin = (!self.queue.is_empty()).then(|| match self.young.front() {
            Some((begun, ..)) if self.young.len() >= YOUNG => *begun + YOUTH,
            _ => Instant::default(),
        });
        [timer, read_on, begin, self.programs.due()].into_iter().flatten().min()
    }

    /// Ends everything that is under way.
    pub(super) fn clear(&mut self, now: Instant) {
        for slot in 0..self.list.len() {
            self.remove(now, slot);
        }
        self.programs.kill_all();
    }

    /// A number that nobody can guess.
    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.drawn);
        hasher.finish()
    }

    fn get(&self, slot: usize) -> Option<&Checker> {
        self.list.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Checker> {
        self.list.get_mut(slot)?.as_mut()
    }

    /// An attempt begins, or its next round.
    fn begin(&mut self, now: Instant, epoll: &Epoll, slot: usize) {
        let random = self.draw();
        let Some(checker) = self.list.get_mut(slot).and_then(Option::as_mut) else { return };
        checker.serial = checker.serial.wrapping_add(1);
        let plan = Arc::clone(&checker.plan);
        let transport = probe::transport(&plan.kind);
        match (&plan.kind, transport) {
            (CheckKind::Misc { script, timeout, .. }, _) => {
                let tag = (slot, checker.serial);
                checker.state = State::Program(self.programs.run(now, Arc::clone(script), *timeout, tag));
            }
            (CheckKind::File { path, weight, reverse }, _) => {
                let verdict = read_file(path, *weight, *reverse);
                self.finish(now, epoll, slot, verdict);
            }
            _ => {
                let dialogue = match transport {
                    Transport::Connect => Ok(None),
                    _ => probe::dialogue(&plan.kind, plan.target, checker.round, &self.tls, random),
                };
                let dialogue = match dialogue {
                    Ok(dialogue) => dialogue,
                    Err(why) => return self.finish(now, epoll, slot, Verdict::Down(why.into())),
                };
                let token = token(slot, checker.serial);
                match Attempt::begin(now, Way::from(&*plan), transport, dialogue, epoll, &mut self.sockets, token) {
                    Ok(attempt) => {
                        let speaks_first = attempt.speaks_first();
                        checker.state = State::Attempt(attempt);
                        self.young.push_back((now, slot, checker.serial));
                        if speaks_first {
                            self.go_on(now, epoll, slot, false);
                        } else {
                            self.set_timer(slot);
                        }
                    }
                    Err(Failure::There(error)) => self.finish(now, epoll, slot, Verdict::Down(describe(&error))),
                    Err(Failure::Here(error)) => self.obstruct(now, slot, &error),
                }
            }
        }
    }

    fn go_on(&mut self, now: Instant, epoll: &Epoll, slot: usize, failed: bool) {
        let Self { list, buffer, .. } = self;
        let Some(checker) = list.get_mut(slot).and_then(Option::as_mut) else { return };
        let State::Attempt(attempt) = &mut checker.state else { return };
        match attempt.go_on(now, failed, buffer) {
            Step::Wait => self.set_timer(slot),
            Step::Again => {
                checker.breathes = true;
                if self.again.is_empty() {
                    self.read_on_at = now + BREATH;
                }
                self.again.push((slot, checker.serial));
                self.set_timer(slot);
            }
            Step::Done(verdict) => self.finish(now, epoll, slot, verdict),
        }
    }

    /// The attempt, or its round, has ended like this.
    fn finish(&mut self, now: Instant, epoll: &Epoll, slot: usize, verdict: Verdict) {
        let Some(checker) = self.list.get_mut(slot).and_then(Option::as_mut) else { return };
        // Closes the socket, and with it every event that it may still have; or it has none until it is used again.
        if let State::Attempt(attempt) = std::mem::replace(&mut checker.state, State::Idle)
            && verdict == Verdict::Up
        {
            attempt.give_back(checker.plan.target, &mut self.sockets);
        }
        checker.breathes = false;
        checker.serial = checker.serial.wrapping_add(1);
        self.counts.attempts += 1;
        if verdict == Verdict::Up {
            checker.round += 1;
            if checker.round < probe::rounds(&checker.plan.kind) {
                return self.begin(now, epoll, slot);
            }
        }
        let place = checker.place;
        // Checks that were late together, since the machine was busy, do not stay together: each keeps its own beat,
        // or, on a machine that is always late, comes later.
        let beat = Duration::from_micros(checker.plan.timing.delay_loop.as_micros() / 4);
        let late = checker.late.min(beat);
        let outcome = checker.schedule.finish(now - late, &verdict);
        match outcome {
            // Most attempts say what the one before has said; the pool knows that.
            Outcome::Counts if checker.counted.as_ref() == Some(&verdict) => {
                if checker.plan.log_all_failures
                    && let Verdict::Down(reason) = verdict
                {
                    self.remarks.push(Remark::Failed(place, reason));
                }
            }
            Outcome::Counts => {
                checker.counted = Some(verdict.clone());
                self.said.push(Said { place, verdict });
            }
            Outcome::Retry(_) => {
                if checker.plan.log_all_failures
                    && let Verdict::Down(reason) = verdict
                {
                    self.remarks.push(Remark::Failed(place, reason));
                }
            }
            Outcome::Void => {}
        }
        self.set_timer(slot);
    }

    /// Something here stands in the way: that says nothing about the server.
    fn obstruct(&mut self, now: Instant, slot: usize, error: &io::Error) {
        self.counts.obstacles += 1;
        let Some(checker) = self.get_mut(slot) else { return };
        checker.state = State::Obstacle(now + OBSTACLE);
        let place = checker.place;
        debug!("a check of {} is put off: {error}", checker.plan.target);
        self.remarks.push(Remark::Obstacle(place, error.to_string()));
        self.set_timer(slot);
    }

    fn call_off(&mut self, now: Instant, slot: usize) {
        let Some(checker) = self.list.get_mut(slot).and_then(Option::as_mut) else { return };
        checker.serial = checker.serial.wrapping_add(1);
        checker.breathes = false;
        if let State::Program(id) = std::mem::replace(&mut checker.state, State::Idle) {
            self.programs.cancel(now, id);
        }
    }

    /// Enters when the loop has to look at a check again.
    fn set_timer(&mut self, slot: usize) {
        let Some(checker) = self.list.get_mut(slot).and_then(Option::as_mut) else { return };
        let timer = match &checker.state {
            State::Idle => checker.schedule.due(),
            State::Attempt(attempt) => Some(attempt.deadline),
            State::Program(_) => None,
            State::Obstacle(until) => Some(*until),
        };
        if timer != checker.timer {
            if let Some(old) = std::mem::replace(&mut checker.timer, timer) {
                self.timers.remove(&(old, slot));
            }
            if let Some(new) = timer {
                self.timers.insert((new, slot));
            }
        }
    }
}

impl AsFd for Checks {
    /// Readable when a program has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.programs.as_fd()
    }
}

/// The token of an attempt's events.
fn token(slot: usize, serial: u32) -> u64 {
    (slot as u64) << 32 | u64::from(serial)
}

/// Takes a token apart.
pub(super) fn untoken(token: u64) -> (usize, u32) {
    ((token >> 32) as usize, token as u32)
}

/// What an exit status means (`MISC_CHECK`).
fn exit_verdict(exit: Exit, dynamic: bool) -> Verdict {
    match exit {
        Exit::Status(0) => Verdict::Up,
        Exit::Status(status @ 2..) if dynamic => Verdict::UpWith(WeightChange::Absolute(u32::from(status) - 2)),
        Exit::Status(status) => Verdict::Down(format!("exit status {status}").into()),
        Exit::Signal(signal) => Verdict::Down(format!("ended by signal {signal}").into()),
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}

/// What a file means (`FILE_CHECK`): its number times `weight` is added to the server's; without a weight, 0 is up,
/// or, with `reverse`, any other number.
fn read_file(path: &Path, weight: i32, reverse: bool) -> Verdict {
    let number = match number_in(path) {
        Ok(number) => number,
        Err(why) => return Verdict::Down(why.into()),
    };
    match (weight, number) {
        (0, number) if (number == 0) != reverse => Verdict::Up,
        (0, number) => Verdict::Down(format!("the file says {number}").into()),
        (weight, number) => {
            let change = i64::from(number).saturating_mul(i64::from(weight));
            let change = change.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            Verdict::UpWith(WeightChange::Relative(i32::try_from(change).unwrap_or(0)))
        }
    }
}

fn number_in(path: &Path) -> Result<i32, String> {
    let cannot = |error: io::Error| format!("the file cannot be read: {error}");
    let file = source::open(path).map_err(cannot)?;
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text).map_err(cannot)?;
    text.trim().parse().map_err(|_| "the file holds no number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_weights_only_where_that_is_wanted() {
        assert_eq!(exit_verdict(Exit::Status(0), true), Verdict::Up);
        assert_eq!(exit_verdict(Exit::Status(1), true), Verdict::Down("exit status 1".into()));
        assert_eq!(exit_verdict(Exit::Status(2), true), Verdict::UpWith(WeightChange::Absolute(0)));
        assert_eq!(exit_verdict(Exit::Status(255), true), Verdict::UpWith(WeightChange::Absolute(253)));
        assert_eq!(exit_verdict(Exit::Status(2), false), Verdict::Down("exit status 2".into()));
        assert_eq!(exit_verdict(Exit::Signal(9), true), Verdict::Down("ended by signal 9".into()));
    }

    #[test]
    fn files_hold_numbers() {
        let path = std::env::temp_dir().join(format!("steadfast-file-check-{}", std::process::id()));
        let read = |text: &str, weight| {
            std::fs::write(&path, text).unwrap();
            read_file(&path, weight, false)
        };
        assert_eq!(read("0\n", 0), Verdict::Up);
        assert!(matches!(read("1", 0), Verdict::Down(_)));
        assert_eq!(read_file(&path, 0, true), Verdict::Up);
        assert_eq!(read(" -3 \n", 10), Verdict::UpWith(WeightChange::Relative(-30)));
        assert_eq!(read("2147483647", -253), Verdict::UpWith(WeightChange::Relative(i32::MIN)));
        for text in ["", "up", &"1".repeat(100)] {
            assert!(matches!(read(text, 1), Verdict::Down(_)), "{text}");
        }
        // A device that never ends, or whoever writes to a pipe, is no file.
        assert_eq!(
            read_file(Path::new("/dev/zero"), 1, false),
            Verdict::Down("the file cannot be read: it is no file".into())
        );
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read_file(&path, 1, false), Verdict::Down(_)));
    }

    #[test]
    fn tokens_come_apart() {
        assert_eq!(untoken(token(4_000, 17)), (4_000, 17));
        assert_eq!(untoken(token(0, u32::MAX)), (0, u32::MAX));
    }
}
