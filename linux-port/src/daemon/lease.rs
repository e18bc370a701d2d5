//! The lease of the addresses: they are put on with a lifetime, which is renewed for as long as the loop works, so that
//! the kernel lets go of them when this agent is killed, hung or starved.
//!
//! The loop only says that it lives; a thread of its own tells the kernel, because others may hold the lock for changes
//! of addresses for long, and no Advertisement waits for that. It renews nothing that the loop has not asked for a
//! moment ago, and [`Leases::forget`] ends only when no message about the router is on its way.
//!
//! The kernel counts in whole seconds and looks about once a second: an address with a lifetime of N s is gone at most
//! N + 1 s after it was renewed. From an interval of 1 s on an address is renewed with each Advertisement and at no other
//! time, so that it is gone 3 intervals after the last one: before any peer takes over. Below 1 s the kernel is too
//! coarse for that, and all addresses are renewed together four times a second.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::{debug, error};
use steadfast_core::agent::Settings;
use steadfast_core::time::{Duration, Instant};

use crate::netlink::{AddressSpec, Renewal, Renewer};
use crate::sys::clock;
use crate::sys::event::EventFd;
use crate::sys::poll::PollSet;

const SECOND: Duration = Duration::from_secs(1);

/// A quarter of the shortest lease.
const QUARTER: Duration = Duration::from_millis(250);
const HALF_A_QUARTER: Duration = Duration::from_millis(125);

/// How much earlier than the lease ends it counts as over, in doubt.
const DOUBT: Duration = Duration::from_millis(50);

/// The lease of a Virtual Router's addresses in seconds: over when the peers take over, but at least 1.
pub(super) fn seconds(settings: &Settings) -> u32 {
    let adverts = settings.down_timer_adverts.min(3);
    let patience = settings.interval.duration().times(adverts.into()).as_micros() / 1_000_000;
    u32::try_from(patience.saturating_sub(1)).unwrap_or(u32::MAX).max(1)
}

/// What the loop knows of a Virtual Router whose addresses are leased.
#[derive(Debug)]
struct Alive {
    /// When it last advertised, in microseconds.
    at: Arc<AtomicU64>,
    /// Renewed with its Advertisements, not four times a second.
    with_advertisements: bool,
    seconds: u32,
}

/// What the thread knows of it.
#[derive(Debug)]
struct Lease {
    renewals: Vec<Renewal>,
    advertised: Arc<AtomicU64>,
    with_advertisements: bool,
    /// How long ago the loop may have asked: half of the lease, so that what has run out is never put on again.
    patience: Duration,
    /// The Advertisement, or the moment, of the last renewal.
    renewed: Instant,
}

impl Lease {
    /// Whether it is to be renewed now that the loop has asked at `asked`.
    fn is_due(&mut self, asked: Instant, now: Instant) -> bool {
        let alive = if self.with_advertisements {
            Instant::from_micros(self.advertised.load(Ordering::Acquire))
        } else {
            asked
        };
        let fresh = now.since(alive) <= self.patience;
        let wanted = if self.with_advertisements {
            alive > self.renewed
        } else {
            // Others may have been the reason to ask.
            alive.since(self.renewed) > HALF_A_QUARTER
        };
        if fresh && wanted {
            self.renewed = alive;
        }
        fresh && wanted
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
    /// By the number of the router.
    alive: Vec<Option<Alive>>,
    /// A router that is renewed with its Advertisements has sent one since the loop last asked.
    advertised: bool,
    /// How many there are of the others, and when they are renewed, together; `None` if there are none.
    together: usize,
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
        thread::Builder::new().name("lease".into()).spawn(move || {
            if let Err(error) = renew(&theirs, &mut renewer) {
                error!("leases are no longer renewed, and addresses will be lost: {error}");
            }
        })?;
        Ok(Self { shared, alive: Vec::new(), advertised: false, together: 0, due: None })
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
        let with_advertisements = settings.interval.duration() >= SECOND;
        let at = Arc::new(AtomicU64::new(now.as_micros()));
        let patience = Duration::from_millis(u64::from(seconds) * 500);
        let lease = Lease { renewals, advertised: Arc::clone(&at), with_advertisements, patience, renewed: now };
        self.shared.leases().insert(router, lease);
        if self.alive.len() <= router {
            self.alive.resize_with(router + 1, || None);
        }
        if let Some(place) = self.alive.get_mut(router) {
            *place = Some(Alive { at, with_advertisements, seconds });
        }
        if !with_advertisements {
            self.together += 1;
            self.due.get_or_insert(now + QUARTER);
        }
    }

    /// Renews a router's addresses no longer. When this returns no renewal of them is on its way.
    pub(super) fn forget(&mut self, router: usize) {
        let Some(alive) = self.alive.get_mut(router).and_then(Option::take) else { return };
        self.shared.leases().remove(&router);
        if !alive.with_advertisements {
            self.together -= 1;
            self.due = self.due.filter(|_| self.together > 0);
        }
    }

    /// A router sends an Advertisement.
    pub(super) fn advertised(&mut self, now: Instant, router: usize) {
        if let Some(alive) = self.alive.get(router).and_then(Option::as_ref) {
            alive.at.store(now.as_micros(), Ordering::Release);
            self.advertised |= alive.with_advertisements;
        }
    }

    /// When [`Leases::ask`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Has the addresses renewed whose turn it is. Never waits; `now` is the time that this turn of the loop began.
    pub(super) fn ask(&mut self, now: Instant) {
        let advertised = std::mem::take(&mut self.advertised);
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = Some(now + QUARTER);
        }
        if due || advertised {
            self.shared.asked_at.store(now.as_micros(), Ordering::Release);
            self.shared.asked.raise();
        }
    }

    /// Whether the lease of a router's addresses is over, as far as can be told.
    pub(super) fn is_over(&self, now: Instant, router: usize) -> bool {
        self.alive.get(router).and_then(Option::as_ref).is_some_and(|alive| {
            let mut last = alive.at.load(Ordering::Acquire);
            if !alive.with_advertisements {
                last = last.max(self.shared.asked_at.load(Ordering::Acquire));
            }
            now.since(Instant::from_micros(last)) + DOUBT >= Duration::from_secs(alive.seconds.into())
        })
    }
}

/// Renews what the loop asks for; ends only with an error.
fn renew(shared: &Shared, renewer: &mut Renewer) -> io::Result<()> {
    let mut wait = PollSet::new();
    wait.add(std::os::fd::AsFd::as_fd(&shared.asked));
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
        assert_eq!([1, 10, 66, 67, 99].map(|interval| of(interval, 3)), [1; 5]);
        assert_eq!([100, 133, 134, 150, 200, 4095].map(|interval| of(interval, 3)), [2, 2, 3, 3, 5, 121]);
        assert_eq!([(100, 1), (100, 2), (100, 100)].map(|(interval, adverts)| of(interval, adverts)), [1, 1, 2]);
    }

    #[test]
    fn only_what_the_loop_has_just_asked_for_is_renewed() {
        let ms = |ms| Instant::default() + Duration::from_millis(ms);
        let advertised = Arc::new(AtomicU64::new(0));
        let mut lease = Lease {
            renewals: Vec::new(),
            advertised: Arc::clone(&advertised),
            with_advertisements: true,
            patience: SECOND,
            renewed: ms(1000),
        };
        let advertise = |at: Instant| advertised.store(at.as_micros(), Ordering::Release);
        advertise(ms(1000));
        assert!(!lease.is_due(ms(1500), ms(1500)), "no Advertisement since");
        advertise(ms(2000));
        assert!(lease.is_due(ms(2000), ms(2001)));
        assert!(!lease.is_due(ms(2300), ms(2300)), "once for each Advertisement");
        advertise(ms(3000));
        assert!(!lease.is_due(ms(3000), ms(4001)), "the process stood still");
        lease.with_advertisements = false;
        assert!(!lease.is_due(ms(2010), ms(2010)), "asked for another's sake");
        assert!(lease.is_due(ms(2240), ms(2240)));
        assert!(!lease.is_due(ms(2490), ms(4000)), "the process stood still");
    }
}
