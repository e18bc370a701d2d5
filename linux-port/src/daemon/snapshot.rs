//! The facts for `steadfast status`, copied out of the agent in one go; formatting them is the control
//! thread's work.

use std::sync::Arc;

use steadfast_core::agent::{Obstacle, Report, State, View, Weight};
use steadfast_core::text::Explanation;
use steadfast_core::time::Instant;
use steadfast_core::types::Version;

use super::local::Local;
use super::tracking::tracked;
use crate::control::Explained;
use crate::keepalived::dump::DumpedRouter;
use crate::status;
use crate::timestamp::Timestamp;

/// The status of one Virtual Router, with what was counted beside the core; `now` of the agent's clock is the moment `wall`.
pub(super) fn router(
    [name, interface]: [&Arc<str>; 2],
    sync_group: Option<&Arc<str>>,
    view: &View<'_>,
    more_counters: impl Iterator<Item = (&'static str, u64)>,
    (now, wall): (Instant, Timestamp),
    stopping: bool,
) -> status::RouterStatus {
    let settings = view.settings;
    status::RouterStatus {
        name: Arc::clone(name),
        interface: Arc::clone(interface),
        vrid: settings.vrid.get(),
        family: settings.family.into(),
        version: settings.version.number(),
        versions: if settings.speaks_both() { vec![3, 2] } else { Vec::new() },
        heard_version: view.heard_version.map(Version::number),
        state: state(view.state),
        priority: settings.priority.get(),
        effective_priority: view.effective_priority.get(),
        active_address: view.active_address,
        advertisement_interval_ms: settings.interval.duration().as_millis(),
        active_down_interval_ms: view.active_down_interval,
        skew_ms: view.skew,
        virtual_mac: settings.virtual_mac.then(|| settings.vrid.virtual_mac(settings.family).to_string()),
        addresses: view.addresses.iter().chain(view.excluded).copied().collect(),
        unicast_peers: view.peers.to_vec(),
        sync_group: sync_group.cloned(),
        kept_out: view.obstacle.map(|obstacle| kept_out(obstacle, stopping)),
        last_transition: view.last_transition.map(|(at, from, to, reason)| status::Transition {
            at: wall.earlier_by(now.since(at)),
            from: state(from),
            to: state(to),
            reason: reason.as_str().into(),
        }),
        counters: view.counters.iter().chain(more_counters).collect(),
    }
}

fn kept_out(obstacle: Obstacle, stopping: bool) -> status::KeptOut {
    match obstacle {
        Obstacle::Stopped if stopping => status::KeptOut::Stopping,
        Obstacle::Stopped => status::KeptOut::Drained,
        Obstacle::Link => status::KeptOut::Interface,
        Obstacle::Source => status::KeptOut::SourceAddress,
        Obstacle::Tracker => status::KeptOut::Tracker,
        Obstacle::Delay(_) => status::KeptOut::StartupDelay,
        Obstacle::Group => status::KeptOut::SyncGroup,
    }
}

/// A Virtual Router for keepalived's dumps.
pub(super) fn dumped(local: &Local, view: &View<'_>, now: Instant, wall: Timestamp) -> DumpedRouter {
    DumpedRouter {
        plan: Arc::clone(&local.plan),
        virtual_link: local.links.own.as_ref().map(|link| link.name.clone()),
        state: view.state,
        broken: view.obstacle.is_some(),
        effective_priority: view.effective_priority,
        active_priority: view.heard.and_then(|(_, priority)| priority),
        active_interval: view.active_interval,
        holds: view.holds,
        last_transition: view.last_transition.map(|(at, ..)| wall.earlier_by(now.since(at))),
        counters: *view.counters,
    }
}

/// Why a Virtual Router is as it is.
pub(super) fn explanation(
    name: &str,
    interface: &str,
    view: View<'_>,
    now: Instant,
    trackers: &[(String, Weight, Option<Report>)],
    group: Option<&str>,
) -> Explained {
    let tracked = |number| tracked(trackers, number);
    let explanation = Explanation { name, interface, view, now, trackers: &tracked };
    let mut text = explanation.to_string();
    if let Some(group) = group {
        text += &format!("  sync group   {group}\n");
    }
    if view.obstacle == Some(Obstacle::Stopped) {
        text += &format!("  lets it in   `steadfast resume {name}`\n");
    }
    Explained::new(&text)
}

pub(super) fn state(state: State) -> status::State {
    match state {
        State::Initialize => status::State::Initialize,
        State::Backup => status::State::Backup,
        State::Active => status::State::Active,
    }
}
