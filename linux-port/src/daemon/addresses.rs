//! The thread that changes addresses, routes and rules for the loop, and renews their leases. For every such change the
//! kernel takes one lock, which others may hold for long (a container that starts, a thousand interfaces that go), and
//! whoever asks meanwhile waits. The loop has Advertisements to send: it hands over what is to be done, in order, and
//! hears of it when it is done.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::{debug, error, warn};
use steadfast_core::time::{Duration, Instant};

use super::lease::{Lease, Leases, Terms};
use super::routing::Tag;
use crate::guard;
use crate::guard::urgency::{self, Who};
use crate::netlink::{AddressChanger, AddressSpec, Change, Refusal, Renewer, RoutingEntry};
use crate::sys::clock;
use crate::sys::event::EventFd;
use crate::sys::poll::PollSet;
use crate::vmac::Vmac;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Lets a virtual MAC interface have IPv6 addresses.
    Prepare(Vmac),
    /// Opens it, once it has its addresses.
    Unmute(Vmac),
    /// Closes it, while it still has them.
    Mute(Vmac),
    /// Changes addresses, routes and rules, in one train of messages.
    Change(Vec<Owned>),
    /// Begins a lease.
    Hold(usize, Lease),
    /// Ends it.
    Forget(usize),
}

/// A [`Change`] that outlives what it was made of.
#[derive(Debug)]
pub(super) enum Owned {
    Add(AddressSpec),
    Remove(AddressSpec),
    Put(RoutingEntry),
    Take(RoutingEntry),
}

impl Owned {
    fn borrowed(&self) -> Change<'_> {
        match self {
            Self::Add(spec) => Change::Add(spec),
            Self::Remove(spec) => Change::Remove(spec),
            Self::Put(entry) => Change::Put(entry),
            Self::Take(entry) => Change::Take(entry),
        }
    }
}

/// What the thread is told, in this order.
enum Order {
    /// Steps of a router; whoever gave a tag hears of the outcome.
    Carry { name: Arc<str>, tag: Option<Tag>, steps: Vec<Step> },
    /// The loop lives, and did so at this time: leases whose turn it is are renewed.
    Renew(Instant),
}

/// What became of the changes among some steps: success, or the first error; and the routes and rules that were refused.
struct Outcome {
    tag: Tag,
    result: io::Result<()>,
    refused: Vec<Refusal>,
}

/// Where the thread leaves outcomes.
struct Done {
    outcomes: Mutex<Vec<Outcome>>,
    news: EventFd,
}

impl Done {
    fn outcomes(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, outcome: Outcome) {
        self.outcomes().push(outcome);
        self.news.raise();
    }
}

/// The loop's side. Nothing here waits but [`Addresses::finish`].
pub(super) struct Addresses {
    orders: Sender<Order>,
    done: Arc<Done>,
    /// Outcomes that are still to come.
    awaited: usize,
    terms: Terms,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("awaited", &self.awaited).field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Addresses {
    /// Starts the thread.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn start() -> io::Result<Self> {
        let (orders, theirs) = channel();
        let done = Arc::new(Done { outcomes: Mutex::default(), news: EventFd::new()? });
        let changer = AddressChanger::open()?;
        let mut answers = PollSet::new();
        answers.add(changer.as_fd());
        let leases = Leases::default();
        let worker = Worker { changer, answers, renewer: Renewer::open()?, leases, done: Arc::clone(&done) };
        let builder = thread::Builder::new().name("addresses".into()).stack_size(128 << 10);
        guard::start(builder, guard::NETWORK, move || worker.work(&theirs))?;
        Ok(Self { orders, done, awaited: 0, terms: Terms::default() })
    }

    /// Has steps of a router carried out, after all that was asked before; `tag` comes back with the outcome.
    pub(super) fn carry_out(&mut self, name: &Arc<str>, tag: Option<Tag>, steps: Vec<Step>) {
        for step in &steps {
            match step {
                Step::Hold(router, lease) => self.terms.hold(*router, lease),
                Step::Forget(router) => self.terms.forget(*router),
                _ => {}
            }
        }
        self.awaited += usize::from(tag.is_some());
        let Err(refused) = self.orders.send(Order::Carry { name: Arc::clone(name), tag, steps }) else { return };
        // The thread is gone, which nothing but a panic of its own can bring about.
        error!("{name}: addresses cannot be changed any more");
        if let Order::Carry { tag: Some(tag), .. } = refused.0 {
            let result = Err(io::ErrorKind::BrokenPipe.into());
            self.done.report(Outcome { tag, result, refused: Vec::new() });
        }
    }

    /// Hands on what is done by now.
    pub(super) fn completed(&mut self, mut hand: impl FnMut(Tag, io::Result<()>, Vec<Refusal>)) {
        if self.awaited == 0 {
            return;
        }
        self.done.news.lower();
        for Outcome { tag, result, refused } in std::mem::take(&mut *self.done.outcomes()) {
            self.awaited -= 1;
            hand(tag, result, refused);
        }
    }

    /// Whether something is not done yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.awaited > 0
    }

    /// Waits until all is done, or for so long; whether it is.
    pub(super) fn finish(&mut self, limit: Duration) -> bool {
        let end = clock::now() + limit;
        let mut wait = PollSet::new();
        wait.add(self.done.news.as_fd());
        while self.awaited > 0 {
            let left = end.since(clock::now());
            if left == Duration::ZERO || wait.wait(Some(left)).is_err() {
                return false;
            }
            self.completed(|_, _, _| ());
        }
        true
    }

    /// When [`Addresses::ask`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.terms.due()
    }

    /// Has the leases renewed whose turn it is. `now` is the time that this turn of the loop began, and the
    /// Advertisements that were due by then have been sent.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.terms.ask(now) {
            // If the thread is gone, that is said when something is to be changed.
            let _ = self.orders.send(Order::Renew(now));
        }
    }

    /// Whether the lease of a router's addresses is over, as far as can be told.
    pub(super) fn is_over(&self, now: Instant, router: usize) -> bool {
        self.terms.is_over(now, router)
    }
}

impl AsFd for Addresses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.done.news.as_fd()
    }
}

/// The thread.
struct Worker {
    changer: AddressChanger<()>,
    /// The changer's socket.
    answers: PollSet,
    renewer: Renewer,
    leases: Leases,
    done: Arc<Done>,
}

impl Worker {
    /// Ends with the loop's side.
    fn work(mut self, orders: &Receiver<Order>) {
        urgency::enter(Who::Addresses);
        while let Ok(order) = orders.recv() {
            match order {
                Order::Carry { name, tag, steps } => {
                    let (result, refused) = self.carry_out(&name, steps);
                    if let Some(tag) = tag {
                        self.done.report(Outcome { tag, result, refused });
                    }
                }
                Order::Renew(asked) => {
                    if let Err(error) = self.leases.renew(&mut self.renewer, asked, clock::now()) {
                        // The kernel was short of memory. There is another try in each lease, and what it lets go of is
                        // noticed.
                        debug!("leases could not be renewed: {error}");
                    }
                }
            }
        }
    }

    /// What became of the changes among the steps.
    fn carry_out(&mut self, name: &str, steps: Vec<Step>) -> (io::Result<()>, Vec<Refusal>) {
        let mut outcome = (Ok(()), Vec::new());
        for step in steps {
            match step {
                Step::Prepare(vmac) => stays_silent(name, vmac.prepare()),
                Step::Unmute(vmac) => stays_silent(name, vmac.unmute()),
                Step::Mute(vmac) => {
                    if let Err(error) = vmac.mute() {
                        warn!("{name}: the virtual MAC address is not silent: {error}");
                    }
                }
                Step::Change(changes) => outcome = self.change(&changes),
                Step::Hold(router, lease) => self.leases.hold(router, lease),
                Step::Forget(router) => self.leases.forget(router),
            }
        }
        outcome
    }

    /// Waits for the kernel's answers.
    fn change(&mut self, changes: &[Owned]) -> (io::Result<()>, Vec<Refusal>) {
        let Self { changer, answers, .. } = self;
        changer.submit((), changes.iter().map(Owned::borrowed));
        let mut outcome = None;
        loop {
            if let Err(error) = changer.completed(|(), result, refused| outcome = Some((result, refused))) {
                return (Err(error), Vec::new());
            }
            if let Some(outcome) = outcome.take() {
                return outcome;
            }
            if let Err(error) = answers.wait(None) {
                return (Err(error), Vec::new());
            }
        }
    }
}

fn stays_silent(name: &str, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        warn!("{name}: the virtual MAC address stays silent: {error}");
    }
}
