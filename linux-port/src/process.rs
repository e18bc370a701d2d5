//! Programs that run beside an event loop: so many at once and no more, each with a time limit, ended together with
//! everything that it has started. The loop waits for one descriptor, whatever their number. What their exit status
//! means is the matter of whoever starts them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use steadfast_core::time::{Duration, Instant};

use crate::guard;
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::spawn::{Child, Exit};

/// Between SIGTERM, when a program's time is over, and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A program and who runs it. No shell: the first word is the program's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    /// The program and its arguments; at least one word.
    pub words: Vec<String>,
    /// The user and group to run it as, resolved; `None` is the agent's own.
    pub user: Option<(u32, u32)>,
}

/// Programs that are running, and those that wait until one of them has ended. `T` says what each is for.
#[derive(Debug)]
pub struct Programs<T> {
    epoll: Epoll,
    events: Events,
    most: usize,
    running: BTreeMap<u64, Running<T>>,
    deadlines: BTreeSet<(Instant, u64)>,
    waiting: VecDeque<(u64, Order<T>)>,
    ended: VecDeque<(T, Ended)>,
    next: u64,
    told_when_gone: bool,
}

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Exited(Exit),
    /// It did not, within this limit; it is being ended, or has been ([`Programs::told_when_gone`]).
    TimedOut(Duration),
    /// It could not be run.
    NotRun(io::Error),
}

/// A program that was started, as long as it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(u64);

#[derive(Debug)]
struct Order<T> {
    script: Arc<Script>,
    limit: Duration,
    tag: T,
}

#[derive(Debug)]
struct Running<T> {
    child: Child,
    limit: Duration,
    deadline: Instant,
    /// Gone once somebody was told how it ended, or nobody wants to know.
    tag: Option<T>,
    terminated: bool,
}

impl<T> Programs<T> {
    /// None yet, and never more than `most` at once.
    ///
    /// # Errors
    /// Of the system.
    pub fn new(most: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            events: Events::default(),
            most,
            running: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            ended: VecDeque::new(),
            next: 0,
            told_when_gone: false,
        })
    }

    /// The same, but that a program's time was over is told only once nothing of it is left that could still act: for
    /// those that must not run beside their successor.
    #[must_use]
    pub fn told_when_gone(self) -> Self {
        Self { told_when_gone: true, ..self }
    }

    /// Starts a program, or has it wait for its turn; from its start it has `limit`.
    pub fn run(&mut self, now: Instant, script: Arc<Script>, limit: Duration, tag: T) -> ProgramId {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let order = Order { script, limit, tag };
        if self.running.len() < self.most {
            self.start(now, id, order);
        } else {
            self.waiting.push_back((id, order));
        }
        ProgramId(id)
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Nobody wants to know of this program any more: it is ended, or never started.
    pub fn cancel(&mut self, now: Instant, id: ProgramId) {
        self.waiting.retain(|(waiting, _)| *waiting != id.0);
        if let Some(running) = self.running.get_mut(&id.0) {
            running.tag = None;
            if !running.terminated {
                self.terminate(now, id.0);
            }
        }
    }

    /// Whether this program runs, be it that somebody was told that its time was over.
    pub fn is_running(&self, id: ProgramId) -> bool {
        self.running.contains_key(&id.0)
    }

    /// Takes in what has happened, ends what has had its time, and starts what had to wait. Never waits.
    ///
    /// # Errors
    /// Of the system.
    pub fn poll(&mut self, now: Instant) -> io::Result<()> {
        self.epoll.wait(&mut self.events, Some(Duration::ZERO))?;
        let ready: Vec<u64> = self.events.iter().map(|ready| ready.token).collect();
        for id in ready {
            let Some(running) = self.running.get_mut(&id) else { continue };
            if running.terminated {
                // Others of its group may be more stubborn than their leader. Before it is waited for: until then its
                // number is nobody else's.
                guard::kill(&running.child);
            }
            let Some(exit) = running.child.try_wait() else { continue };
            let Some(running) = self.running.remove(&id) else { continue };
            self.deadlines.remove(&(running.deadline, id));
            if let Some(tag) = running.tag {
                let ended = if running.terminated { Ended::TimedOut(running.limit) } else { Ended::Exited(exit) };
                self.ended.push_back((tag, ended));
            }
        }
        while let Some(&(deadline, id)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            let Some(running) = self.running.get_mut(&id) else {
                self.deadlines.remove(&(deadline, id));
                continue;
            };
            if running.terminated {
                guard::kill(&running.child);
                // Once killed it ends; there is nothing more to be late.
                self.deadlines.remove(&(deadline, id));
            } else {
                if !self.told_when_gone
                    && let Some(tag) = running.tag.take()
                {
                    self.ended.push_back((tag, Ended::TimedOut(running.limit)));
                }
                self.terminate(now, id);
            }
        }
        while self.running.len() < self.most
            && let Some((id, order)) = self.waiting.pop_front()
        {
            self.start(now, id, order);
        }
        Ok(())
    }

    /// The next one that has ended, in the order of their ends; each is told once.
    pub fn next_ended(&mut self) -> Option<(T, Ended)> {
        self.ended.pop_front()
    }

    /// When [`Self::poll`] has something to do, if nothing happens before.
    pub fn due(&self) -> Option<Instant> {
        if !self.ended.is_empty() {
            return Some(Instant::default());
        }
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Starts all that wait, however many that makes: the agent ends, and they are to run all the same.
    pub fn start_all(&mut self, now: Instant) {
        while let Some((id, order)) = self.waiting.pop_front() {
            self.start(now, id, order);
        }
    }

    /// A program that is running has no more than `limit` from now on.
    pub fn hurry(&mut self, now: Instant, id: ProgramId, limit: Duration) {
        let Some(running) = self.running.get_mut(&id.0) else { return };
        if !running.terminated && running.deadline > now + limit {
            self.deadlines.remove(&(running.deadline, id.0));
            running.deadline = now + limit;
            self.deadlines.insert((running.deadline, id.0));
        }
    }

    /// Ends all of them at once, without grace, but for those that are to be spared; nobody is told.
    pub fn kill_unless(&mut self, spared: impl Fn(&T) -> bool) {
        self.waiting.clear();
        for running in self.running.values_mut() {
            if !running.tag.as_ref().is_some_and(&spared) {
                running.tag = None;
                guard::kill(&running.child);
            }
        }
    }

    /// Ends all of them at once, without grace; nobody is told.
    pub fn kill_all(&mut self) {
        self.waiting.clear();
        for running in self.running.values_mut() {
            running.tag = None;
            guard::kill(&running.child);
        }
    }

    /// Whether one runs, or waits for its turn, that is for this.
    pub fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        let running = self.running.values().filter_map(|running| running.tag.as_ref());
        running.chain(self.waiting.iter().map(|(_, order)| &order.tag)).any(is)
    }

    /// Whether none is running.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    fn start(&mut self, now: Instant, id: u64, order: Order<T>) {
        let Order { script, limit, tag } = order;
        let started = guard::spawn(&script.words, script.user).and_then(|child| {
            self.epoll.add(child.as_fd(), Interest::READABLE, id).inspect_err(|_| guard::kill(&child))?;
            Ok(child)
        });
        match started {
            Ok(child) => {
                let deadline = now + limit;
                self.deadlines.insert((deadline, id));
                self.running.insert(id, Running { child, limit, deadline, tag: Some(tag), terminated: false });
            }
            Err(error) => self.ended.push_back((tag, Ended::NotRun(error))),
        }
    }

    fn terminate(&mut self, now: Instant, id: u64) {
        let Some(running) = self.running.get_mut(&id) else { return };
        guard::terminate(&running.child);
        running.terminated = true;
        self.deadlines.remove(&(running.deadline, id));
        running.deadline = now + GRACE;
        self.deadlines.insert((running.deadline, id));
    }
}

impl<T> AsFd for Programs<T> {
    /// Readable when one of them has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use crate::sys::poll::PollSet;

    const LONG: Duration = Duration::from_secs(60);

    fn script(text: &str) -> Arc<Script> {
        Arc::new(Script { words: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(), user: None })
    }

    /// Waits for the next end.
    fn next(programs: &mut Programs<&'static str>) -> (&'static str, Ended) {
        let mut set = PollSet::new();
        set.add(programs.as_fd());
        loop {
            programs.poll(clock::now()).unwrap();
            if let Some(ended) = programs.next_ended() {
                return ended;
            }
            set.wait(programs.due().map(|due| due.since(clock::now()))).unwrap();
        }
    }

    #[test]
    fn no_more_than_so_many_run_at_once_and_all_in_order() {
        let mut programs = Programs::new(1).unwrap();
        for (tag, text) in [("a", "exit 1"), ("b", "exit 2"), ("c", "exit 3")] {
            programs.run(clock::now(), script(text), LONG, tag);
        }
        assert_eq!(programs.waiting(), 2);
        for (tag, status) in [("a", 1), ("b", 2), ("c", 3)] {
            let (whose, ended) = next(&mut programs);
            assert_eq!(whose, tag);
            assert!(matches!(ended, Ended::Exited(Exit::Status(exit)) if exit == status), "{ended:?}");
        }
        assert!(programs.is_idle());
    }

    #[test]
    fn time_is_up_for_what_does_not_end() {
        let mut programs = Programs::new(8).unwrap();
        let limit = Duration::from_millis(50);
        let begun = clock::now();
        programs.run(begun, script("trap '' TERM; while :; do sleep 1; done"), limit, "stubborn");
        let (tag, ended) = next(&mut programs);
        assert_eq!(tag, "stubborn");
        assert!(matches!(ended, Ended::TimedOut(told) if told == limit), "{ended:?}");
        assert!(!programs.is_idle());
        // It does not listen to SIGTERM, so only SIGKILL ends it, which comes no sooner than after the grace.
        let mut set = PollSet::new();
        set.add(programs.as_fd());
        while !programs.is_idle() {
            set.wait(programs.due().map(|due| due.since(clock::now()))).unwrap();
            programs.poll(clock::now()).unwrap();
        }
        assert!(clock::now().since(begun) >= limit + GRACE);
        assert!(programs.next_ended().is_none());
    }

    #[test]
    fn what_cannot_be_run_says_so_and_what_is_cancelled_says_nothing() {
        let mut programs = Programs::new(1).unwrap();
        let nothing = Arc::new(Script { words: vec!["/no/such/program".into()], user: None });
        programs.run(clock::now(), nothing, LONG, "missing");
        assert!(matches!(next(&mut programs), ("missing", Ended::NotRun(_))));
        let sleeping = programs.run(clock::now(), script("sleep 60"), LONG, "sleeping");
        let waiting = programs.run(clock::now(), script("exit 0"), LONG, "waiting");
        programs.run(clock::now(), script("exit 0"), LONG, "last");
        programs.cancel(clock::now(), waiting);
        programs.cancel(clock::now(), sleeping);
        assert!(matches!(next(&mut programs), ("last", Ended::Exited(Exit::Status(0)))));
        assert!(programs.is_idle());
    }
}
