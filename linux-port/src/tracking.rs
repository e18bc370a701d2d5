//! Looking at what is tracked: the thread that runs scripts, makes probes, and watches files and processes. It exists if
//! the configuration has such trackers, and shares nothing with the loop that sends Advertisements but channels. What
//! follows from what it sees is decided there, by the rules in [`crate::plan::tracking`]. Interfaces are not looked at
//! here: that loop hears of them anyway.

mod files;
mod level;
mod probes;
mod processes;
mod routes;
mod scripts;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;

use log::error;
use steadfast_core::time::Instant;

use crate::guard;
use crate::plan::tracking::{Kind, Probe, ProbeSubject, Subject, TrackerName, TrackingPlan, Value};
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::event::EventFd;

use files::Files;
use probes::Probes;
use processes::Processes;
use scripts::Scripts;

/// How long it rests after an error of the system before it begins anew.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

/// The thread's stack: a probe may go through TLS.
const STACK: usize = 256 << 10;

/// Something has been seen: another value than before, or another result that comes to the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Who says it.
    pub tracker: TrackerName,
    /// What it says; `None`: nothing yet.
    pub value: Option<Value>,
    /// The result behind it, as part of a sentence: `exit status 1`.
    pub result: Arc<str>,
}

/// What the thread is told.
enum Command {
    /// This is looked at from now on.
    Plan(Arc<TrackingPlan>),
    /// Nothing more is looked at, and the thread ends.
    Stop,
}

/// The loop's end.
#[derive(Debug)]
pub struct Watcher {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    news: Receiver<News>,
    told: Arc<EventFd>,
    /// Nothing ever comes; it is closed when the thread has ended.
    ended: Receiver<()>,
}

impl Watcher {
    /// Starts the thread. Whoever wants signals on a descriptor blocks them first.
    ///
    /// # Errors
    /// Of the system.
    pub fn start(plan: Arc<TrackingPlan>) -> io::Result<Self> {
        let (commands, inbox) = channel();
        let (tell, news) = channel();
        let (alive, ended) = channel();
        let (wake, told) = (Arc::new(EventFd::new()?), Arc::new(EventFd::new()?));
        let thread = Ends { inbox, wake: Arc::clone(&wake), news: tell, told: Arc::clone(&told) };
        let builder = thread::Builder::new().name("tracking".into()).stack_size(STACK);
        guard::start(builder, guard::TRACKING, move || {
            let _alive: Sender<()> = alive;
            work(&thread, plan);
        })?;
        Ok(Self { commands, wake, news, told, ended })
    }

    /// This is looked at from now on; what was looked at before goes on as it was. Never waits.
    pub fn plan(&self, plan: Arc<TrackingPlan>) {
        if self.commands.send(Command::Plan(plan)).is_ok() {
            self.wake.raise();
        } else {
            error!("trackers stay as they are: their thread has ended");
        }
    }

    /// The next news; never waits.
    pub fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// What is left of the news since [`AsFd`] was readable will be told by [`Self::news`].
    pub fn lower(&self) {
        self.told.lower();
    }

    /// Ends all scripts, and waits for the thread's end, but no longer than `patience`; whether it has ended.
    pub fn stop(self, patience: std::time::Duration) -> bool {
        // One that has ended needs not be told.
        let _ = self.commands.send(Command::Stop);
        self.wake.raise();
        self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

impl AsFd for Watcher {
    /// Readable when there is news.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

/// The thread's end.
struct Ends {
    inbox: Receiver<Command>,
    wake: Arc<EventFd>,
    news: Sender<News>,
    told: Arc<EventFd>,
}

/// The thread. Errors of the system end no more than what was going on: it begins anew.
fn work(ends: &Ends, mut plan: Arc<TrackingPlan>) {
    loop {
        match Engine::new(ends, &mut plan).and_then(|mut engine| engine.work()) {
            Ok(()) => return,
            Err(error) => error!("trackers begin anew after an error: {error}"),
        }
        thread::sleep(REST);
    }
}

const WAKE: u64 = 0;
const SCRIPTS: u64 = 1;
const FILES: u64 = 2;
const PROCESSES: u64 = 3;
const ROUTES: u64 = 4;

/// Everything that the thread holds.
struct Engine<'a> {
    ends: &'a Ends,
    plan: &'a mut Arc<TrackingPlan>,
    epoll: Epoll,
    events: Events,
    scripts: Scripts,
    files: Files,
    processes: Processes,
    probes: Probes,
    /// What there is to say of processes, some of which are probed.
    counted: Vec<News>,
    news: Vec<News>,
}

impl<'a> Engine<'a> {
    fn new(ends: &'a Ends, plan: &'a mut Arc<TrackingPlan>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let (scripts, files) = (Scripts::new()?, Files::new()?);
        epoll.add(ends.wake.as_fd(), Interest::READABLE, WAKE)?;
        epoll.add(scripts.as_fd(), Interest::READABLE, SCRIPTS)?;
        epoll.add(files.as_fd(), Interest::READABLE, FILES)?;
        let (events, processes, counted, news) = Default::default();
        Ok(Self { ends, plan, epoll, events, scripts, files, processes, probes: Probes::new(), counted, news })
    }

    /// The loop, until it is told to stop.
    fn work(&mut self) -> io::Result<()> {
        self.apply(clock::now())?;
        loop {
            let now = clock::now();
            self.scripts.expire(now);
            self.files.expire(now, &mut self.news);
            self.processes.expire(now, &mut self.counted);
            self.hand_on(now);
            self.tell();
            let due = [self.scripts.due(), self.files.due(), self.processes.due(), self.probes.due()];
            let due = due.into_iter().flatten().min();
            self.epoll.wait(&mut self.events, due.map(|due| due.since(clock::now())))?;
            let now = clock::now();
            for ready in self.events.iter() {
                self.probes.ready(now, ready.token, ready.failed, &mut self.news);
            }
            // Always: it is one system call, and a result that waits is looked at before its time is up.
            self.scripts.poll(now, &mut self.news)?;
            let ready = |token| self.events.iter().any(|ready| ready.token == token);
            let (files, processes, routes, woken) = (ready(FILES), ready(PROCESSES), ready(ROUTES), ready(WAKE));
            if files {
                self.files.read(now, &mut self.news)?;
            }
            if processes {
                self.processes.read(now, &mut self.counted)?;
                self.hand_on(now);
            }
            if routes {
                self.probes.read_routes()?;
            }
            // After the answers that have come, and not while some may wait: whoever was late has missed none.
            if !self.events.is_full() {
                self.probes.expire(now, &self.epoll, &mut self.news);
            }
            if woken && !self.obey(now)? {
                self.scripts.kill_all();
                return Ok(());
            }
        }
    }

    /// Takes in what it is told; whether it is to go on.
    fn obey(&mut self, now: Instant) -> io::Result<bool> {
        self.ends.wake.lower();
        let mut changed = false;
        loop {
            match self.ends.inbox.try_recv() {
                Ok(Command::Plan(plan)) => {
                    *self.plan = plan;
                    changed = true;
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Ok(false),
                Err(TryRecvError::Empty) => break,
            }
        }
        if changed {
            self.apply(now)?;
        }
        Ok(true)
    }

    /// Looks at what the plan says.
    fn apply(&mut self, now: Instant) -> io::Result<()> {
        let plan = Arc::clone(self.plan);
        let trackers = || plan.trackers.iter().map(|tracker| (&tracker.name.name, &tracker.subject));
        let scripts = trackers().filter_map(|(name, subject)| match subject {
            Subject::Script(subject) => Some((name, subject)),
            _ => None,
        });
        self.scripts.plan(now, scripts, &mut self.news);
        let files = trackers().filter_map(|(name, subject)| match subject {
            Subject::File(subject) => Some((name, subject)),
            _ => None,
        });
        self.files.plan(now, files, &mut self.news);
        let probes = trackers().filter_map(|(name, subject)| match subject {
            Subject::Probe(subject) => Some((name, subject)),
            _ => None,
        });
        if self.probes.plan(now, &plan, probes, &mut self.news)?
            && let Some(routes) = self.probes.routes()
        {
            self.epoll.add(routes, Interest::READABLE, ROUTES)?;
        }
        let processes = plan.trackers.iter().filter_map(|tracker| match &tracker.subject {
            Subject::Process(subject) | Subject::Probe(ProbeSubject { probe: Probe::Process(subject), .. }) => {
                Some((&tracker.name, subject))
            }
            _ => None,
        });
        if self.processes.plan(now, processes, &mut self.counted)
            && let Some(connector) = self.processes.connector()
        {
            self.epoll.add(connector, Interest::READABLE, PROCESSES)?;
        }
        self.hand_on(now);
        Ok(())
    }

    /// Hands on what was seen of processes: to their probes, whose results they are, or as news.
    fn hand_on(&mut self, now: Instant) {
        for News { tracker, value, result } in self.counted.drain(..) {
            if tracker.kind == Kind::Probe {
                self.probes.observe(now, &tracker.name, value == Some(Value::Up), result, &mut self.news);
            } else {
                self.news.push(News { tracker, value, result });
            }
        }
    }

    fn tell(&mut self) {
        if self.news.is_empty() {
            return;
        }
        for news in self.news.drain(..) {
            // Nobody listens any more: the loop has ended, and this thread is about to be told.
            let _ = self.ends.news.send(news);
        }
        self.ends.told.raise();
    }
}
