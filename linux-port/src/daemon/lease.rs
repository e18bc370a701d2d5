//! The lease of the addresses: they are put on with a lifetime, which is renewed for as long as the loop works, so that
//! the kernel lets go of them when this agent is killed, hung or starved.
//!
//! The loop only says that it lives, after it has sent what was due; the thread that changes addresses
//! ([`super::addresses`]) tells the kernel. It renews nothing that the loop has not asked for a moment ago; and since it
//! does one thing after the other, no renewal of a lease that has ended is on its way.
//!
//! The kernel counts in whole seconds and looks about once a second: an address with a lifetime of N s is gone at most
//! N + 1 s after it was renewed. It may have been renewed up to an interval after the last Advertisement, and the peers
//! take over 3 intervals after that one, so N is the largest with N + 1 <= 2 intervals. Below 1 s the kernel is too
//! coarse for that, and N is 1.

use std::collections::BTreeMap;
use std::io;

use steadfast_core::agent::Settings;
use steadfast_core::time::{Duration, Instant};

use crate::netlink::{AddressSpec, Renewal, Renewer};

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

/// The lease of one Virtual Router's addresses.
#[derive(Debug)]
pub(super) struct Lease {
    renewals: Vec<Renewal>,
    seconds: u32,
    /// When the loop asked for the last renewal.
    renewed: Instant,
}

impl Lease {
    /// Of those of `specs`, which are put on now, that have a lifetime; `None` if none has.
    pub(super) fn new(now: Instant, settings: &Settings, specs: &[AddressSpec]) -> Option<Self> {
        let leased = specs.iter().filter(|spec| spec.valid_lft.is_some());
        let renewals: Vec<_> = leased.map(|spec| Renewal::new(spec.clone(), now)).collect();
        (!renewals.is_empty()).then(|| Self { renewals, seconds: seconds(settings), renewed: now })
    }

    /// Whether it is to be renewed now that the loop has asked at `asked`.
    fn is_due(&mut self, asked: Instant, now: Instant) -> bool {
        // The loop asks a little later each time, and never sooner than it has to.
        let quarter = QUARTER.times(self.seconds.into());
        let due = now.since(asked) <= FRESH && asked.since(self.renewed) + FRESH > quarter;
        if due {
            self.renewed = asked;
        }
        due
    }
}

/// What is renewed, by the number of the router.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<usize, Lease>);

impl Leases {
    /// Renews these from now on.
    pub(super) fn hold(&mut self, router: usize, lease: Lease) {
        self.0.insert(router, lease);
    }

    /// Renews a router's no longer.
    pub(super) fn forget(&mut self, router: usize) {
        self.0.remove(&router);
    }

    /// Renews those whose turn it is, now that the loop has asked at `asked`.
    ///
    /// # Errors
    /// Of the system; some may not have been renewed.
    pub(super) fn renew(&mut self, renewer: &mut Renewer, asked: Instant, now: Instant) -> io::Result<()> {
        let due = self.0.values_mut().filter_map(|lease| lease.is_due(asked, now).then_some(&*lease));
        renewer.renew(now, due.flat_map(|lease| &lease.renewals))
    }
}

/// What the loop knows of the leases.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// By the number of the router: since when its addresses are leased, and for how many seconds.
    held: BTreeMap<usize, (Instant, u32)>,
    /// When the loop asks next; `None` if there are no leases.
    due: Option<Instant>,
    /// When it last asked.
    asked: Instant,
}

impl Terms {
    /// A lease begins.
    pub(super) fn hold(&mut self, router: usize, lease: &Lease) {
        self.held.insert(router, (lease.renewed, lease.seconds));
        self.due.get_or_insert(lease.renewed + QUARTER);
    }

    /// It ends.
    pub(super) fn forget(&mut self, router: usize) {
        self.held.remove(&router);
        self.due = self.due.filter(|_| !self.held.is_empty());
    }

    /// When [`Terms::ask`] says yes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the leases are to be looked at, at `now`.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = Some(now + QUARTER);
            self.asked = now;
        }
        due
    }

    /// Whether the lease of a router's addresses is over, as far as can be told.
    pub(super) fn is_over(&self, now: Instant, router: usize) -> bool {
        self.held.get(&router).is_some_and(|(since, seconds)| {
            now.since(self.asked.max(*since)) + DOUBT >= Duration::from_secs(u64::from(*seconds))
        })
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
        let mut lease = Lease { renewals: Vec::new(), seconds: 2, renewed: ms(1000) };
        assert!(!lease.is_due(ms(1250), ms(1251)), "not its turn");
        assert!(!lease.is_due(ms(1500), ms(1626)), "the process stood still");
        assert!(lease.is_due(ms(1500), ms(1625)));
        assert!(!lease.is_due(ms(1755), ms(1756)), "not its turn");
        assert!(lease.is_due(ms(2010), ms(2011)));
        lease.seconds = 1;
        assert!(lease.is_due(ms(2260), ms(2260)));
    }
}
