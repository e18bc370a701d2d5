//! The thread's loop: what was left in the queue goes to the lanes and into the FIFOs, and what has become of scripts is
//! logged. It waits for its queue, its programs, and the FIFOs that are full.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use log::{debug, error, info, warn};
use steadfast_core::time::{Duration, Instant};

use super::fifo::{Fifo, Written};
use super::lanes::{Key, Lanes, MOST, Tag};
use super::mail::Post;
use super::{BalancingNotice, Command, Inbox, Notice, What, add};
use crate::plan::notify::{NotifyPlan, PlannedFifo};
use crate::process::{Ended, ProgramId, Programs};
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::spawn::Exit;

/// Tokens of what is no FIFO.
const WAKE: u64 = u64::MAX;
const PROGRAMS: u64 = u64::MAX - 1;

/// The program that reads a FIFO may run for as long as it likes.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// When it has ended, it is started again after this.
const REST: Duration = Duration::from_secs(5);

/// How long scripts have once the agent stops, and readers that sleep.
const STOP_PATIENCE: Duration = Duration::from_secs(4);
const READERS_PATIENCE: Duration = Duration::from_secs(1);
/// How long a reader's program has to end by itself once its FIFO is closed, before it is told to.
const FAREWELL: Duration = Duration::from_millis(200);
/// When it is told no more, but ended.
const STOP_LIMIT: Duration = Duration::from_millis(5_500);

/// What a program is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Script(Tag),
    /// It reads the FIFO of this serial number.
    Reader(u64),
}

impl From<Tag> for Purpose {
    fn from(tag: Tag) -> Self {
        Self::Script(tag)
    }
}

/// A FIFO that the plan has.
struct Outlet {
    serial: u64,
    plan: PlannedFifo,
    /// `None` if it could not be opened.
    fifo: Option<Fifo>,
    /// Whether it was ever waited for.
    registered: bool,
    reader: Option<ProgramId>,
    /// When its reader is started again.
    retry_at: Option<Instant>,
}

/// Everything that the loop holds.
struct Engine<'a> {
    inbox: &'a Inbox,
    epoll: Epoll,
    programs: Programs<Purpose>,
    lanes: Lanes,
    post: Post,
    outlets: Vec<Outlet>,
    serial: u64,
    /// When it was told to stop.
    stopping: Option<Instant>,
}

/// The thread, until it is told to stop.
///
/// # Errors
/// Of the system.
pub(super) fn work(inbox: &Inbox, plan: &NotifyPlan) -> io::Result<()> {
    let epoll = Epoll::new()?;
    let programs = Programs::new(MOST)?.told_when_gone();
    epoll.add(inbox.shared.wake.as_fd(), Interest::READABLE, WAKE)?;
    epoll.add(programs.as_fd(), Interest::READABLE, PROGRAMS)?;
    let lanes = Lanes::default();
    let post = Post::default();
    let mut engine = Engine { inbox, epoll, programs, lanes, post, outlets: Vec::new(), serial: 0, stopping: None };
    engine.apply(clock::now(), plan);
    let mut events = Events::default();
    while !engine.is_over() {
        let timeout = engine.due().map(|due| due.since(clock::now()));
        engine.epoll.wait(&mut events, timeout)?;
        let now = clock::now();
        for ready in events.iter() {
            engine.room(ready.token);
        }
        engine.take_in(now);
        engine.expire(now)?;
    }
    engine.end();
    Ok(())
}

impl Engine<'_> {
    fn due(&self) -> Option<Instant> {
        let readers = self.outlets.iter().filter_map(|outlet| outlet.retry_at).min();
        let patience = if self.lanes.is_empty() { READERS_PATIENCE } else { STOP_PATIENCE };
        let stop = self.stopping.map(|since| since + patience);
        [self.programs.due(), readers, stop].into_iter().flatten().min()
    }

    /// Makes the FIFOs what the plan says; those that stay as they are notice nothing.
    fn apply(&mut self, now: Instant, plan: &NotifyPlan) {
        self.post.set_plan(plan.mail.clone());
        let mut old = std::mem::take(&mut self.outlets);
        for planned in &plan.fifos {
            let same = old.iter().position(|outlet| outlet.plan == *planned && outlet.fifo.is_some());
            if let Some(at) = same {
                self.outlets.push(old.swap_remove(at));
            }
        }
        // Before others are opened, which may have their names.
        for gone in old {
            self.close(now, gone);
        }
        for (at, planned) in plan.fifos.iter().enumerate() {
            if self.outlets.get(at).is_none_or(|outlet| outlet.plan != *planned) {
                let outlet = self.open(now, planned);
                self.outlets.insert(at.min(self.outlets.len()), outlet);
            }
        }
    }

    fn open(&mut self, now: Instant, plan: &PlannedFifo) -> Outlet {
        self.serial += 1;
        let fifo = match Fifo::open(plan) {
            Ok(fifo) => Some(fifo),
            Err(error) => {
                error!("{}: notifications cannot be written to it: {error}", plan.path.display());
                None
            }
        };
        let retry_at = (fifo.is_some() && plan.script.is_some()).then_some(now);
        Outlet { serial: self.serial, plan: plan.clone(), fifo, registered: false, reader: None, retry_at }
    }

    /// Closes a FIFO; its reader is told to end.
    fn close(&mut self, now: Instant, outlet: Outlet) {
        if let Some(fifo) = outlet.fifo {
            let left = fifo.waiting() as u64;
            add(&self.inbox.shared.counts.lines_dropped, left);
            if left > 0 {
                warn!("{}: it is closed, and {left} lines were not read", outlet.plan.path.display());
            }
            fifo.close();
        }
        if let Some(reader) = outlet.reader {
            self.programs.hurry(now, reader, FAREWELL);
        }
    }

    /// Takes in what was left in the queue.
    fn take_in(&mut self, now: Instant) {
        self.inbox.shared.wake.lower();
        while let Some(command) = self.inbox.next() {
            match command {
                Command::Plan(plan) => self.apply(now, &plan),
                Command::Notice(notice) => self.notice(now, &notice),
                Command::Balancing(BalancingNotice { line, mail }) => {
                    self.write(&line, |plan| plan.lvs);
                    if let Some((subject, body)) = mail {
                        self.post.write(subject, body, &self.inbox.shared);
                    }
                }
                Command::Stop => {
                    self.stopping.get_or_insert(now);
                    self.lanes.stop(now, &mut self.programs);
                }
            }
        }
    }

    fn notice(&mut self, now: Instant, notice: &Notice) {
        let dropped = self.lanes.notice(now, notice, &mut self.programs);
        if dropped > 0 {
            add(&self.inbox.shared.counts.scripts_dropped, dropped);
            warn!("{}: too many scripts wait to be run: the {dropped} oldest are dropped", notice.name);
        }
        if notice.notified.as_ref().is_some_and(|notified| notified.mail) {
            self.post.notice(notice, &self.inbox.shared);
        }
        if self.outlets.iter().any(|outlet| outlet.plan.vrrp) {
            let Notice { whose, name, what, priority, .. } = notice;
            let line = format!("{whose} \"{name}\" {what} {priority}\n").into();
            self.write(&line, |plan| plan.vrrp);
        }
    }

    /// Writes a line to those FIFOs that take it.
    fn write(&mut self, line: &Arc<str>, takes: impl Fn(&PlannedFifo) -> bool) {
        let counts = &self.inbox.shared.counts;
        for outlet in &mut self.outlets {
            let Some(fifo) = outlet.fifo.as_mut().filter(|fifo| takes(&fifo.plan)) else { continue };
            let before = fifo.waiting();
            let Written { lines, lost } = fifo.write(line);
            add(&counts.lines, lines);
            add(&counts.lines_dropped, lost);
            if before == 0 {
                outlet.await_room(&self.epoll);
            }
        }
    }

    /// A FIFO that was full has room.
    fn room(&mut self, token: u64) {
        let Some(outlet) = self.outlets.iter_mut().find(|outlet| outlet.serial == token) else { return };
        if let Some(fifo) = &mut outlet.fifo {
            add(&self.inbox.shared.counts.lines, fifo.flush());
        }
        outlet.await_room(&self.epoll);
    }

    /// Takes in what has become of programs, and starts readers anew.
    fn expire(&mut self, now: Instant) -> io::Result<()> {
        self.programs.poll(now)?;
        while let Some((purpose, ended)) = self.programs.next_ended() {
            match purpose {
                Purpose::Script(tag) => self.ended(now, &tag, &ended),
                Purpose::Reader(serial) => self.reader_ended(now, serial, &ended),
            }
        }
        for outlet in self.outlets.iter_mut().filter(|outlet| outlet.retry_at.is_some_and(|at| at <= now)) {
            outlet.retry_at = None;
            if let Some(script) = &outlet.plan.script {
                let purpose = Purpose::Reader(outlet.serial);
                outlet.reader = Some(self.programs.run(now, Arc::clone(script), FOR_EVER, purpose));
            }
        }
        Ok(())
    }

    fn ended(&mut self, now: Instant, tag: &Tag, ended: &Ended) {
        let counts = &self.inbox.shared.counts;
        add(&counts.scripts, 1);
        if !matches!(ended, Ended::Exited(Exit::Status(0))) {
            add(&counts.failed, 1);
        }
        match ended {
            Ended::Exited(Exit::Status(0)) => debug!("{tag}: done"),
            Ended::Exited(Exit::Status(status)) => warn!("{tag}: exit status {status}"),
            Ended::Exited(Exit::Signal(signal)) => warn!("{tag}: ended by signal {signal}"),
            Ended::TimedOut(_) => {
                add(&counts.killed, 1);
                warn!("{tag}: it was ended, since it had run for too long");
            }
            Ended::NotRun(error) => error!("{tag}: it cannot be run: {error}"),
        }
        let key: &Key = &tag.key;
        self.lanes.ended(now, key, &mut self.programs);
    }

    fn reader_ended(&mut self, now: Instant, serial: u64, ended: &Ended) {
        let Some(outlet) = self.outlets.iter_mut().find(|outlet| outlet.serial == serial) else { return };
        outlet.reader = None;
        if self.stopping.is_none() {
            let path = outlet.plan.path.display();
            match ended {
                Ended::NotRun(error) => error!("{path}: its script cannot be run: {error}"),
                _ => warn!("{path}: its script has ended; it is started again"),
            }
            outlet.retry_at = Some(now + REST);
        }
    }

    /// Whether it was told to stop, and nothing is left to do or no time to do it.
    fn is_over(&self) -> bool {
        let Some(since) = self.stopping else { return false };
        let written = self.outlets.iter().filter_map(|outlet| outlet.fifo.as_ref()).all(|fifo| fifo.waiting() == 0);
        let passed = clock::now().since(since);
        passed >= STOP_PATIENCE || self.lanes.is_empty() && (written || passed >= READERS_PATIENCE)
    }

    /// Closes the FIFOs and ends what still runs, but for what the stop itself has started: that outlives the agent.
    fn end(mut self) {
        let left = self.lanes.waiting();
        if left > 0 {
            add(&self.inbox.shared.counts.scripts_dropped, left);
            warn!("{left} scripts were not run, since those before them did not end");
        }
        let now = clock::now();
        for mut outlet in std::mem::take(&mut self.outlets) {
            outlet.retry_at = None;
            self.close(now, outlet);
        }
        let limit = self.stopping.unwrap_or(now) + STOP_LIMIT;
        let is_reader = |purpose: &Purpose| matches!(purpose, Purpose::Reader(_));
        let of_stop = |purpose: &Purpose| matches!(purpose, Purpose::Script(tag) if tag.what == What::Stop);
        self.programs.kill_unless(|purpose| is_reader(purpose) || of_stop(purpose));
        let mut events = Events::default();
        while self.programs.any(is_reader) && clock::now() < limit {
            let due = self.programs.due().unwrap_or(limit).min(limit);
            if self.epoll.wait(&mut events, Some(due.since(clock::now()))).is_err()
                || self.programs.poll(clock::now()).is_err()
            {
                break;
            }
            while self.programs.next_ended().is_some() {}
        }
        self.programs.kill_unless(of_stop);
        self.post.finish();
        if self.programs.any(of_stop) {
            info!("scripts of the stop are still running");
        }
    }
}

impl Outlet {
    /// Waits for room, if lines do.
    fn await_room(&mut self, epoll: &Epoll) {
        let Some(fifo) = self.fifo.as_ref().filter(|fifo| fifo.waiting() > 0) else { return };
        let waits = if self.registered {
            epoll.change(fifo.as_fd(), Interest::CONNECTION, self.serial)
        } else {
            epoll.add(fifo.as_fd(), Interest::CONNECTION, self.serial)
        };
        match waits {
            Ok(()) => self.registered = true,
            Err(error) => warn!("{}: it is not waited for: {error}", self.plan.path.display()),
        }
    }
}
