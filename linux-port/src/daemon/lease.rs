//! The lease of the addresses: they are put on with a lifetime, which is renewed for as long as the loop works, so that
//! the kernel lets go of them when this agent is killed, hung or starved.
//!
//! The loop only says that it lives, after it has sent what was due; a thread of its own tells the kernel, because others
//! may hold the lock for changes of addresses for long, and no Advertisement waits for that. It renews nothing that the
//! loop has not asked for a moment ago, and [`Leases::forget`] ends only when no message about the router is on its way.
//!
//! The kernel counts in whole seconds and looks about once a second: an address with a lifetime of N s is gone at most
//! N + 1 s after it was renewed. It may have been renewed up to an interval after the last Advertisement, and the peers
//! take over 3 intervals after that one, so N is the largest with N + 1 <= 2 intervals. Below 1 s the kernel is too
//! coarse for that, and N is 1.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::{debug, error};
use steadfast_core::agent::Settings;
use steadfast_core::time::{Duration, Instant};

use crate::guard;
use crate::netlink::{AddressSpec, Renewal, Renewer};
use crate::sys::clock;
use crate::sys::event::EventFd;
use crate::sys::poll::PollSet;

/// A quarter of the shortest lease: how often the loop asks.
const QUARTER: Duration = Duration::from_millis(250);

/// How long ago the loop may have asked; what has run out is never put on again by a thread that was late.
const FRESH: Duration = Duration::from_millis(125);

/// How much earlier than the lease ends it counts as over, in doubt.
const DOUBT: Duration = Duration::from_millis(50);

/// The lease of a Virtual Router's addresses in seconds: over when the peers take over, but at least 1.
pub(super) fn seconds(settings: &Settings) -> u32 {
    let intervals = u64::from(settings.down_timer_adverts.min(3).saturating_sub(1));
    let longest = settings.interval.duration().times(intervals).as_micros() / 1_000_000;
    u32::try_from(longest.saturating_sub(1)).unwrap_or(u32::MAX).max(1)
}

/// The lease of one Virtual Router's addresses, as the thread knows it.
#[derive(Debug)]
struct Lease {
    renewals: Vec<Renewal>,
    /// A quarter of it.
    quarter: Duration,
    /// When the loop asked for the last renewal.
    renewed: Instant,
}

impl Lease {
    /// Whether it is to be renewed now that the loop has asked at `asked`.
    fn is_due(&mut self, asked: Instant, now: Instant) -> bool {
        // The loop asks a little later each time, and never sooner than it has to.
        let due = now.since(asked) <= FRESH && asked.since(self.renewed) + FRESH > self.quarter;
        if due {
            self.renewed = asked;
        }
        due
    }
}

/// What loop and thread share.
#[derive(Debug)]
struct Shared {
    /// By the number of the router. Locked while a train is on its way.
    leases: Mutex<BTreeMap<usize, Lease>>,
    asked: EventFd,
    /// When the loop last asked, in microseconds.
    asked_at: AtomicU64,
}

impl Shared {
    fn leases(&self) -> MutexGuard<'_, BTreeMap<usize, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's side.
#[derive(Debug)]
pub(super) struct Leases {
    shared: Arc<Shared>,
    /// By the number of the router: since when its addresses are leased, and for how many seconds.
    held: BTreeMap<usize, (Instant, u32)>,
    /// When the loop asks next; `None` if there are no leases.
    due: Option<Instant>,
}

impl Leases {
    /// Starts the thread.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn start() -> io::Result<Self> {
        let mut renewer = Renewer::open()?;
        let leases = Mutex::new(BTreeMap::new());
        let shared = Arc::new(Shared { leases, asked: EventFd::new()?, asked_at: AtomicU64::new(0) });
        let theirs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("lease".into()).stack_size(128 << 10);
        guard::start(builder, guard::NETWORK, move || {
            if let Err(error) = renew(&theirs, &mut renewer) {
                error!("leases are no longer renewed, and addresses will be lost: {error}");
            }
        })?;
        Ok(Self { shared, held: BTreeMap::new(), due: None })
    }

    /// Renews those of `specs` from now on that have a lifetime; they were just put on.
    pub(super) fn hold(&mut self, now: Instant, router: usize, settings: &Settings, specs: &[AddressSpec]) {
        self.forget(router);
        let leased = specs.iter().filter(|spec| spec.valid_lft.is_some());
        let renewals: Vec<_> = leased.map(|spec| Renewal::new(spec.clone(), now)).collect();
        if renewals.is_empty() {
            return;
        }
        let seconds = seconds(settings);
        let quarter = QUARTER.times(seconds.into());
        self.shared.leases().insert(router, Lease { renewals, quarter, renewed: now });
        self.held.insert(router, (now, seconds));
        self.due.get_or_insert(now + QUARTER);
    }

    /// Renews a router's addresses no longer. When this returns no renewal of them is on its way.
    pub(super) fn forget(&mut self, router: usize) {
        if self.held.remove(&router).is_some() {
            self.shared.leases().remove(&router);
            self.due = self.due.filter(|_| !self.held.is_empty());
        }
    }

    /// When [`Leases::ask`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Has the leases renewed whose turn it is. Never waits; `now` is the time that this turn of the loop began, and the
    /// Advertisements that were due by then have been sent.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + QUARTER);
            self.shared.asked_at.store(now.as_micros(), Ordering::Release);
            self.shared.asked.raise();
        }
    }

    /// Whether the lease of a router's addresses is over, as far as can be told.
    pub(super) fn is_over(&self, now: Instant, router: usize) -> bool {
        self.held.get(&router).is_some_and(|(since, seconds)| {
            let asked = Instant::from_micros(self.shared.asked_at.load(Ordering::Acquire));
            now.since(asked.max(*since)) + DOUBT >= Duration::from_secs(u64::from(*seconds))
        })
    }
}

/// Renews what the loop asks for; ends only with an error.
fn renew(shared: &Shared, renewer: &mut Renewer) -> io::Result<()> {
    let mut wait = PollSet::new();
    wait.add(shared.asked.as_fd());
    loop {
        wait.wait(None)?;
        shared.asked.lower();
        let mut leases = shared.leases();
        let asked = Instant::from_micros(shared.asked_at.load(Ordering::Acquire));
        let now = clock::now();
        let due = leases.values_mut().filter_map(|lease| lease.is_due(asked, now).then_some(&*lease));
        let result = renewer.renew(now, due.flat_map(|lease| &lease.renewals));
        drop(leases);
        if let Err(error) = result {
            // The kernel was short of memory. There is another try in each lease, and what it lets go of is noticed.
            debug!("leases could not be renewed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::types::{Family, Interval, Vrid};

    #[test]
    fn a_lease_ends_before_the_peers_take_over_and_is_at_least_a_second() {
        let mut settings = Settings::new(Family::V4, Vrid::new(1).unwrap());
        let mut of = |centiseconds, adverts| {
            settings.interval = Interval::from_centiseconds(centiseconds).unwrap();
            settings.down_timer_adverts = adverts;
            seconds(&settings)
        };
        assert_eq!([1, 10, 99, 100, 149].map(|interval| of(interval, 3)), [1; 5]);
        assert_eq!([150, 199, 200, 300, 4095].map(|interval| of(interval, 3)), [2, 2, 3, 5, 80]);
        assert_eq!([(300, 1), (300, 2), (300, 100)].map(|(interval, adverts)| of(interval, adverts)), [1, 2, 5]);
    }

    #[test]
    fn only_what_the_loop_has_just_asked_for_is_renewed() {
        let ms = |ms| Instant::default() + Duration::from_millis(ms);
        let mut lease = Lease { renewals: Vec::new(), quarter: QUARTER.times(2), renewed: ms(1000) };
        assert!(!lease.is_due(ms(1250), ms(1251)), "not its turn");
        assert!(!lease.is_due(ms(1500), ms(1626)), "the process stood still");
        assert!(lease.is_due(ms(1500), ms(1625)));
        assert!(!lease.is_due(ms(1755), ms(1756)), "not its turn");
        assert!(lease.is_due(ms(2010), ms(2011)));
        lease.quarter = QUARTER;
        assert!(lease.is_due(ms(2260), ms(2260)));
    }
}
