//! How urgent the loop that sends Advertisements is, who changes addresses for it, and the director: their scheduling,
//! processors and names, locked memory, and the umask, as the configuration wants them. The thread that keeps all rights
//! does it, so that nobody else needs any, and what it starts has none of it.
//!
//! A real-time thread that goes wrong could take a processor for itself. The kernel tells when one has computed for longer
//! than `vrrp_rlimit_rttime` or `checker_rlimit_rttime` without waiting; it is then as urgent as all others for a second.
//! (keepalived is killed.)

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

use log::{info, warn};
use steadfast_core::time::{Duration, Instant};

use super::later;
use crate::plan::urgency::{Urgency, UrgencyPlan};
use crate::sys::clock;
use crate::sys::poll::PollSet;
use crate::sys::rights::{self, Rights};
use crate::sys::signal::Signals;
use crate::sys::spawn::Child;
use crate::sys::urgency::{Bounds, Cpus, Limit, Thread, lock_memory, set_umask, unlock_memory};

/// How long one that has computed for too long is as urgent as all others.
const PENANCE: std::time::Duration = std::time::Duration::from_secs(1);

/// That it did is logged once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// Whether memory is to be locked.
static LOCKS: AtomicBool = AtomicBool::new(false);

/// From which lateness on, in microseconds, somebody becomes more urgent.
static LATE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Who can be urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The loop that sends Advertisements: `vrrp_*`.
    Loop,
    /// Who changes addresses for it: `vrrp_*` too, except the name.
    Addresses,
    /// The director: `checker_*`.
    Director,
}

impl Who {
    /// As the keywords begin.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Loop | Self::Addresses => "vrrp",
            Self::Director => "checker",
        }
    }
}

/// The calling thread is this one from now on.
pub fn enter(who: Who) {
    let thread = Thread::this();
    later(move |urgencies| urgencies.enter(who, thread));
}

/// This is the plan from now on; never waits.
pub fn follow(plan: Arc<UrgencyPlan>) {
    LOCKS.store(plan.locks(), Ordering::Relaxed);
    let late = plan.auto.map_or(u64::MAX, |auto| auto.delay.as_micros());
    LATE.store(late, Ordering::Relaxed);
    later(move |urgencies| urgencies.follow(plan));
}

/// What else the loop has to keep: where memory is locked, its stack may grow beyond a limit.
pub fn rights() -> Rights {
    if LOCKS.load(Ordering::Relaxed) { Rights::LOCK } else { Rights::NONE }
}

/// The calling thread, which waited until `due`, goes on now. Never waits.
pub fn woke(who: Who, due: Option<Instant>, now: Instant) {
    // What is due at once was never waited for.
    let Some(due) = due.filter(|due| *due != Instant::default()) else { return };
    let late = now.since(due);
    if late.as_micros() >= LATE.load(Ordering::Relaxed) {
        later(move |urgencies| urgencies.raise(who, late));
    }
}

/// What the limits were, if they are others now: those of a program.
static LIMITS: Mutex<Before> = Mutex::new(Before { computing: None, locked: None });

#[derive(Clone, Copy, Debug)]
struct Before {
    computing: Option<Bounds>,
    locked: Option<Bounds>,
}

fn limits() -> MutexGuard<'static, Before> {
    LIMITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a program that was just started the limits that it would have without a plan.
pub(super) fn release(child: &Child) {
    let Before { computing, locked } = *limits();
    for (limit, before) in [(Limit::Computing, computing), (Limit::Locked, locked)] {
        if let Some(before) = before {
            // Of another user's, only where we may: it is a limit, and what it limits is not inherited.
            let _ = child.set_limit(limit, before);
        }
    }
}

/// What has been done, and what was before.
#[derive(Debug)]
pub(super) struct Urgencies {
    plan: Arc<UrgencyPlan>,
    parts: Vec<Part>,
    /// Where the kernel tells who computes for too long; until somebody listens there.
    overtime: Option<Signals>,
    umask: Option<u32>,
    locks: bool,
    /// Whether there has been a plan.
    begun: bool,
    /// Nobody is to be urgent for a moment.
    penance: bool,
    said: Option<Instant>,
}

/// A thread, and what it was like before it was made otherwise.
#[derive(Debug)]
struct Part {
    who: Who,
    thread: Thread,
    name: Option<String>,
    nice: Option<i32>,
    cpus: Option<Cpus>,
    /// By `max_auto_priority`.
    raised: Option<u8>,
    /// What it was made.
    realtime: Option<u8>,
}

/// What something is to become: what is wanted, or what it was `before` somebody wanted something; `None`: it is left
/// alone.
fn change<T>(wanted: Option<T>, before: &mut Option<T>, now: impl FnOnce() -> Option<T>) -> Option<T> {
    if wanted.is_none() {
        return before.take();
    }
    if before.is_none() {
        *before = now();
    }
    wanted
}

impl Urgencies {
    pub(super) fn new(overtime: Signals) -> Self {
        Self {
            plan: Arc::default(),
            parts: Vec::new(),
            overtime: Some(overtime),
            umask: None,
            locks: false,
            begun: false,
            penance: false,
            said: None,
        }
    }

    fn enter(&mut self, who: Who, thread: Thread) {
        self.parts.retain(|part| part.who != who);
        let (name, nice, cpus) = (None, None, None);
        self.parts.push(Part { who, thread, name, nice, cpus, raised: None, realtime: None });
        self.apply();
    }

    fn follow(&mut self, plan: Arc<UrgencyPlan>) {
        let locks = plan.locks();
        self.plan = plan;
        for part in self.parts.iter_mut().filter(|_| self.plan.auto.is_none()) {
            part.raised = None;
        }
        match self.plan.umask {
            Some(mask) => {
                let before = set_umask(mask);
                self.umask.get_or_insert(before);
            }
            None => _ = self.umask.take().map(set_umask),
        }
        if let Err(error) = self.lock(locks) {
            warn!("vrrp_no_swap, checker_no_swap: memory is not locked: {error}");
        }
        self.begun = true;
        self.apply();
    }

    /// Locks memory, or unlocks it.
    fn lock(&mut self, locks: bool) -> io::Result<()> {
        if !locks {
            if std::mem::take(&mut self.locks) {
                unlock_memory()?;
            }
            return Ok(());
        }
        let bounds = Limit::Locked.get()?;
        let unlimited = Bounds { soft: None, hard: None };
        let raised = bounds == unlimited || Limit::Locked.set(unlimited).is_ok();
        if raised {
            limits().locked.get_or_insert(bounds);
        } else if self.begun && !self.locks {
            // The loop has let go of the right to lock more than the limit allows.
            return Err(io::Error::other(
                "RLIMIT_MEMLOCK cannot be raised; it can be locked by an agent that is started with this",
            ));
        } else if !self.locks {
            info!("memory that is needed later is not locked: RLIMIT_MEMLOCK cannot be raised");
        }
        lock_memory(raised)?;
        self.locks = true;
        Ok(())
    }

    /// Makes all threads what they are to be.
    fn apply(&mut self) {
        let plan = Arc::clone(&self.plan);
        for part in &mut self.parts {
            let (urgency, name) = match part.who {
                Who::Loop => (&plan.vrrp, plan.process_name.as_deref()),
                Who::Addresses => (&plan.vrrp, None),
                Who::Director => (&plan.checker, plan.checker_name.as_deref()),
            };
            part.apply(urgency, name, self.penance);
        }
        self.limit();
    }

    /// Limits how long real-time threads may compute.
    fn limit(&mut self) {
        let all = self.parts.iter().filter(|part| part.realtime.is_some()).map(|part| match part.who {
            Who::Loop | Who::Addresses => self.plan.vrrp.limit(),
            Who::Director => self.plan.checker.limit(),
        });
        // There is one for the whole process.
        let limit = all.max();
        let mut before = limits();
        let result = match (limit, before.computing.take()) {
            (None, None) => return,
            (None, Some(before)) => Limit::Computing.set(before),
            (Some(limit), known) => known.map_or_else(|| Limit::Computing.get(), Ok).and_then(|bounds| {
                before.computing = Some(bounds);
                Limit::Computing.set(Bounds { soft: Some(limit.into()), ..bounds })
            }),
        };
        drop(before);
        let result = result.and_then(|()| if limit.is_some() { self.listen() } else { Ok(()) });
        if let Err(error) = result {
            warn!("how long a real-time thread may compute cannot be limited: {error}");
        }
    }

    /// Listens to the kernel.
    fn listen(&mut self) -> io::Result<()> {
        let Some(signals) = self.overtime.take() else { return Ok(()) };
        let builder = Builder::new().name("overtime".into()).stack_size(64 << 10);
        builder.spawn(move || {
            let _ = rights::shed(Rights::NONE);
            let mut polls = PollSet::new();
            polls.add(signals.as_fd());
            while polls.wait(None).is_ok() {
                if signals.next().is_some() {
                    later(|urgencies| urgencies.repent(true));
                    thread::sleep(PENANCE);
                    later(|urgencies| urgencies.repent(false));
                }
            }
        })?;
        Ok(())
    }

    /// One of the real-time threads has computed for too long: all of them are as others are, or are no longer.
    fn repent(&mut self, penance: bool) {
        let now = clock::now();
        if penance && self.said.is_none_or(|said| now.since(said) > QUIET) {
            self.said = Some(now);
            let limit = self.plan.vrrp.limit().max(self.plan.checker.limit());
            warn!(
                "a real-time thread has computed for more than {limit} us without waiting (vrrp_rlimit_rttime, \
                 checker_rlimit_rttime): for a second it is as urgent as others"
            );
        }
        self.penance = penance;
        self.apply();
    }

    /// Somebody was late.
    fn raise(&mut self, who: Who, late: Duration) {
        let Some(auto) = self.plan.auto else { return };
        let Some(part) = self.parts.iter_mut().find(|part| part.who == who) else { return };
        let next = part.realtime.map_or(1, |priority| priority.saturating_add(1));
        if next > auto.most {
            return;
        }
        part.raised = Some(next);
        let late = late.as_micros() / 1000;
        info!("{}: {late} ms late, so its real-time priority is {next} from now on (max_auto_priority)", who.prefix());
        self.apply();
    }
}

impl Part {
    fn apply(&mut self, urgency: &Urgency, name: Option<&str>, penance: bool) {
        let (prefix, thread) = (self.who.prefix(), self.thread);
        let say = |keyword: &str, result: io::Result<()>| {
            result.inspect_err(|error| warn!("{prefix}_{keyword}: it cannot be done: {error}")).is_ok()
        };
        if let Some(name) = change(name.map(str::to_owned), &mut self.name, || thread.name().ok()) {
            let _ = thread.set_name(&name);
        }
        if let Some(nice) = change(urgency.nice, &mut self.nice, || thread.niceness().ok()) {
            say("priority", thread.set_niceness(nice));
        }
        let cpus = urgency.cpus.as_ref().map(|numbers| Cpus::of(numbers.iter().copied()));
        if let Some(cpus) = change(cpus, &mut self.cpus, || thread.cpus().ok()) {
            say("cpu_affinity", thread.set_cpus(&cpus));
        }
        let wanted = urgency.realtime.max(self.raised).filter(|_| !penance);
        if wanted != self.realtime && say("rt_priority", thread.set_realtime(wanted)) {
            self.realtime = wanted;
        }
    }
}
