//! What is measured for the page of metrics alone, in the agent's loop, and only where there is such a page: transitions
//! by reason, how late Advertisements leave, how evenly those of the Active arrive, for how long there were two. What
//! status shows besides is not counted again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use log::error;
use steadfast_core::agent::{Agent, InterfaceId, RouterId, State};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::Family;
use steadfast_core::wire::advertisement::vrid_of;

use super::Name;
use crate::control::Request;
use crate::metrics::measured::{Configuration, Histogram, Measured, Passage, RouterMeasured};
use crate::metrics::{Endpoint, Metrics};
use crate::storage::Heap;
use crate::sys::clock;
use crate::timestamp::Timestamp;

/// The page's end in the loop, and what is measured for it.
#[derive(Debug)]
pub(super) struct Measures {
    metrics: Metrics,
    started: Timestamp,
    configuration: Configuration,
    lateness: Histogram,
    /// By [`RouterId::index`].
    routers: HashMap<usize, Router>,
    /// When the Advertisements were due that are about to be sent.
    leaving: Vec<Instant>,
}

/// Of one Virtual Router.
#[derive(Clone, Debug, Default)]
struct Router {
    /// When its next Advertisement is due.
    due: Option<Instant>,
    passages: Vec<(Passage, u64)>,
    /// Whom it follows, and when that was heard last.
    heard: Option<(IpAddr, Instant)>,
    /// 16 times the mean of RFC 3550 section 6.4.1, in microseconds.
    jitter: u64,
    /// When another Active was heard last.
    rival_at: Option<Instant>,
    dual_active: Duration,
}

impl Measures {
    /// Opens the page; without one the agent runs all the same.
    pub(super) fn start(endpoint: &Endpoint) -> Option<Box<Self>> {
        match Metrics::start(endpoint) {
            Ok(metrics) => Some(Box::new(Self {
                metrics,
                started: Timestamp::now(),
                configuration: Configuration::default(),
                lateness: Histogram::default(),
                routers: HashMap::new(),
                leaving: Vec::new(),
            })),
            Err(error) => {
                error!("{endpoint}: {error}; there will be no metrics");
                None
            }
        }
    }

    /// The question of who serves the page, if there is one.
    pub(super) fn take_request(&mut self) -> Option<Request> {
        self.metrics.take_request()
    }

    /// A configuration is in force.
    pub(super) fn configured(&mut self) {
        let generation = self.configuration.generation.saturating_add(1);
        let applied = Timestamp::now();
        self.configuration = Configuration { generation, applied, last_refused: false, ..self.configuration };
    }

    /// A configuration was read, and is not taken.
    pub(super) fn refused(&mut self) {
        self.configuration.refused = self.configuration.refused.saturating_add(1);
        self.configuration.last_refused = true;
    }

    /// An Advertisement is in the batch. Of those that are sent on occasion there is no time at which they were due.
    pub(super) fn advertises(&mut self, agent: &Agent<Heap>, router: RouterId, now: Instant) {
        let due = std::mem::replace(&mut self.router(router.index()).due, agent.advertises_at(router));
        self.leaving.extend(due.filter(|due| *due <= now));
    }

    /// The batch was sent.
    pub(super) fn sent(&mut self) {
        if !self.leaving.is_empty() {
            let now = clock::now();
            for due in self.leaving.drain(..) {
                self.lateness.note(now.since(due));
            }
        }
    }

    /// A Virtual Router has changed its state.
    pub(super) fn passed(&mut self, at: usize, passage: Passage) {
        let router = self.router(at);
        match router.passages.iter_mut().find(|(known, _)| *known == passage) {
            Some((_, times)) => *times = times.saturating_add(1),
            None => router.passages.push((passage, 1)),
        }
        (router.heard, router.jitter, router.rival_at) = (None, 0, None);
        if passage.to != State::Active {
            router.due = None;
        }
    }

    /// An Advertisement that begins with `message` was taken by the agent.
    pub(super) fn heard(
        &mut self,
        agent: &Agent<Heap>,
        now: Instant,
        interface: InterfaceId,
        source: IpAddr,
        message: &[u8],
    ) {
        let found = vrid_of(message).and_then(|vrid| agent.find(interface, Family::of(&source), vrid));
        let Some(id) = found.map(|found| found.router) else { return };
        let Some(view) = agent.view(id) else { return };
        let interval = view.active_interval.duration();
        let router = self.router(id.index());
        match view.state {
            State::Active if view.rival.is_some() => {
                // What is further apart is another time of two.
                let since = router.rival_at.replace(now).map(|before| now.since(before));
                if let Some(since) = since.filter(|since| *since <= interval.times(3)) {
                    router.dual_active = router.dual_active + since;
                }
            }
            State::Backup if view.active_address == Some(source) => {
                let before = router.heard.replace((source, now)).filter(|(before, _)| *before == source);
                match before.map(|(_, at)| now.since(at)) {
                    None => router.jitter = 0,
                    // One that is missing was lost, and is not late.
                    Some(since) if since >= interval.times(2) => {}
                    Some(since) => {
                        let off = since.as_micros().abs_diff(interval.as_micros());
                        router.jitter = router.jitter.saturating_add(off).saturating_sub(router.jitter / 16);
                    }
                }
            }
            _ => {}
        }
    }

    /// The Virtual Router number `at` is gone: the next one of that number is another.
    pub(super) fn forget(&mut self, at: usize) {
        self.routers.remove(&at);
    }

    /// All of it, of these Virtual Routers.
    pub(super) fn measured<'a>(&self, routers: impl Iterator<Item = (&'a Name, RouterId)>) -> Box<Measured> {
        let unknown = Router::default();
        let routers = routers.map(|(name, id)| {
            let router = self.routers.get(&id.index()).unwrap_or(&unknown);
            RouterMeasured {
                name: Arc::clone(name),
                passages: router.passages.clone(),
                dual_active: router.dual_active,
                jitter: router.heard.map(|_| Duration::from_micros(router.jitter / 16)),
            }
        });
        let routers = routers.collect();
        let Self { started, configuration, lateness, .. } = *self;
        Box::new(Measured { started, configuration, lateness, routers })
    }

    fn router(&mut self, at: usize) -> &mut Router {
        self.routers.entry(at).or_default()
    }
}

impl AsFd for Measures {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.metrics.as_fd()
    }
}
