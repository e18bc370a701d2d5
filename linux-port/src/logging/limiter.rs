//! How often something that strangers can cause may be logged: the first of each kind at each router in
//! full, after that one summary a minute for the kind, and never more than [`LINES`] lines in any minute,
//! however many kinds and routers there are. Pure logic, the caller logs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use steadfast_core::time::{Duration, Instant};

/// The span that the bounds speak of.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The time over which lines are counted: more than a minute, so that no minute, by whatever clock, sees the lines
/// at both of its ends.
const SPAN: Duration = Duration::from_secs(65);

/// Lines per [`WINDOW`] that one limiter allows, summaries included.
pub const LINES: usize = 15;

/// Lines that routers may take at which a kind, seen before elsewhere, is new; the others are kept for
/// kinds that are new altogether and for summaries.
const ROUTER_LINES: usize = 7;

/// Pairs of router and kind that are remembered; what comes after counts as seen before.
const PAIRS: usize = 65_536;

/// What happened without a line of its own since the kind was last logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary<R, K> {
    /// What happened.
    pub kind: K,
    /// How often.
    pub count: u64,
    /// Where it happened last.
    pub router: R,
}

/// Decides for each event whether it is logged. `R` names where it happened (a router, an interface), `K`
/// what happened; neither may take values at a stranger's choice.
#[derive(Debug)]
pub struct Limiter<R, K> {
    seen: HashSet<(R, K)>,
    kinds: HashMap<K, Kind<R>>,
    /// When the lines of the last [`WINDOW`] were allowed, at most [`LINES`] of them.
    lines: VecDeque<Instant>,
}

#[derive(Debug)]
struct Kind<R> {
    /// The last line about this kind.
    logged: Instant,
    unlogged: u64,
    router: R,
}

impl<R, K> Default for Limiter<R, K> {
    fn default() -> Self {
        Self { seen: HashSet::new(), kinds: HashMap::new(), lines: VecDeque::new() }
    }
}

impl<R: Copy + Eq + Hash, K: Copy + Eq + Hash> Limiter<R, K> {
    /// A limiter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `kind` happened at `router`; whether to log it in full. If not, a later [`summary`]
    /// counts it.
    ///
    /// [`summary`]: Self::summary
    pub fn note(&mut self, now: Instant, router: R, kind: K) -> bool {
        let first = self.seen.len() < PAIRS && !self.seen.contains(&(router, kind));
        // One that the minute has no line left for keeps its claim to a full one.
        let limit = if self.kinds.contains_key(&kind) { ROUTER_LINES } else { LINES };
        let allowed = first && self.allow(now, limit);
        if allowed {
            self.seen.insert((router, kind));
        }
        let kind = self.kinds.entry(kind).or_insert(Kind { logged: now, unlogged: 0, router });
        kind.router = router;
        if allowed {
            kind.logged = now;
        } else {
            kind.unlogged = kind.unlogged.saturating_add(1);
        }
        allowed
    }

    /// A summary that is due, to be logged; call it until there is none.
    pub fn summary(&mut self, now: Instant) -> Option<Summary<R, K>> {
        let due = |state: &Kind<R>| state.unlogged > 0 && state.logged + WINDOW <= now;
        let oldest = self.kinds.iter().filter(|(_, state)| due(state)).min_by_key(|(_, state)| state.logged);
        let kind = *oldest?.0;
        if !self.allow(now, LINES) {
            return None;
        }
        let state = self.kinds.get_mut(&kind)?;
        let summary = Summary { kind, count: state.unlogged, router: state.router };
        state.logged = now;
        state.unlogged = 0;
        Some(summary)
    }

    /// When [`summary`](Self::summary) will have the next one; `None` if nothing is unlogged.
    pub fn summary_at(&self) -> Option<Instant> {
        let due = self.kinds.values().filter(|state| state.unlogged > 0).map(|state| state.logged + WINDOW).min()?;
        match self.lines.front() {
            Some(&oldest) if self.lines.len() >= LINES => Some(due.max(oldest + SPAN)),
            _ => Some(due),
        }
    }

    /// `router` is gone: if its name is used again, that is another one.
    pub fn forget(&mut self, router: R) {
        self.seen.retain(|(seen, _)| *seen != router);
    }

    /// Takes one of the minute's lines, if fewer than `limit` are taken.
    fn allow(&mut self, now: Instant, limit: usize) -> bool {
        while self.lines.front().is_some_and(|&oldest| oldest + SPAN <= now) {
            self.lines.pop_front();
        }
        let allowed = self.lines.len() < limit;
        if allowed {
            self.lines.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn the_first_of_each_router_and_kind_is_logged() {
        let mut limiter = Limiter::new();
        assert!(limiter.note(at(0), "gw1", "checksum"));
        assert!(!limiter.note(at(1), "gw1", "checksum"));
        assert!(limiter.note(at(2), "gw2", "checksum"));
        assert!(limiter.note(at(3), "gw1", "version"));
        assert!(!limiter.note(at(4), "gw2", "checksum"));
    }

    #[test]
    fn the_rest_is_summed_up_once_a_minute() {
        let mut limiter = Limiter::new();
        assert!(limiter.note(at(0), 1, 'c'));
        assert_eq!(limiter.summary_at(), None);
        for millis in 1..=1_000 {
            limiter.note(at(millis), 1, 'c');
        }
        assert_eq!(limiter.summary_at(), Some(at(60_000)));
        assert_eq!(limiter.summary(at(59_999)), None);
        assert_eq!(limiter.summary(at(60_000)), Some(Summary { kind: 'c', count: 1_000, router: 1 }));
        assert_eq!(limiter.summary(at(60_000)), None);
        assert_eq!(limiter.summary_at(), None);
        // A straggler much later is not silent: its summary is due at once.
        assert!(!limiter.note(at(600_000), 1, 'c'));
        assert_eq!(limiter.summary_at(), Some(at(120_000)));
        assert_eq!(limiter.summary(at(600_000)).map(|summary| summary.count), Some(1));
    }

    #[test]
    fn no_minute_has_more_lines_than_allowed_however_many_kinds() {
        let mut limiter = Limiter::new();
        let mut lines = Vec::new();
        let mut noted = 0;
        let mut logged = 0;
        // Ten minutes of 20 events a second, of 40 kinds at 255 routers.
        for step in 0..12_000_u64 {
            let now = at(step * 50);
            while let Some(summary) = limiter.summary(now) {
                lines.push(now);
                logged += summary.count;
            }
            noted += 1;
            if limiter.note(now, step % 255, step % 40) {
                lines.push(now);
                logged += 1;
            }
        }
        assert!(lines.windows(LINES + 1).all(|window| window[LINES].since(window[0]) >= WINDOW));
        assert!(lines.len() >= LINES * 10);
        // Nothing is dropped from the count; the last minutes' rest comes when it is due.
        let mut now = at(600_000);
        while let Some(next) = limiter.summary_at() {
            now = now.max(next);
            logged += limiter.summary(now).expect("due when announced").count;
        }
        assert_eq!(noted, logged);
    }

    #[test]
    fn one_kind_at_many_routers_leaves_lines_for_other_kinds() {
        let mut limiter = Limiter::new();
        assert_eq!((0..255).filter(|&router| limiter.note(at(0), router, 'c')).count(), ROUTER_LINES);
        assert!(limiter.note(at(1), 1, 'v'));
    }

    #[test]
    fn a_removed_router_is_new_when_it_returns() {
        let mut limiter = Limiter::new();
        assert!(limiter.note(at(0), 1, 'c'));
        assert!(limiter.note(at(0), 2, 'c'));
        limiter.forget(1);
        assert!(limiter.note(at(1), 1, 'c'));
        assert!(!limiter.note(at(1), 2, 'c'));
    }
}
