//! What the agent tells its operator in log lines: transitions, a second Active, and packets that were
//! discarded, the last within bounds that no stranger can exceed. Counting is the core's.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use log::{info, warn};
use steadfast_core::agent::EventKind;
use steadfast_core::auth::Unauthentic;
use steadfast_core::time::Instant;
use steadfast_core::wire::Discard;

use super::guards::Refusal;
use crate::logging::Limiter;
use crate::logging::limiter::WINDOW;

/// The most transitions of one router that get a line of their own in a minute.
const TRANSITIONS: u32 = 12;

/// What is said of clocks before they do harm.
const SKEW: &str =
    "a clock differs from ours by more than half of `time_window`; beyond it, routers do not hear each other";

/// What may be said again and again by somebody else's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Nuisance {
    /// A packet that failed a receive check.
    Discarded(Discard),
    /// A packet that is not to be believed.
    Unauthentic(Unauthentic),
    /// A clock that differs from ours by much.
    ClockSkew,
    /// Another Active is on the LAN.
    DualActive,
    /// An address was taken away by somebody else.
    AddressLost,
    /// The lease of an address ran out.
    LeaseOver,
    /// A message could not be sent.
    SendFailed,
}

/// Where it happened: the number of an interface or of a Virtual Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Interface(usize),
    Router(usize),
    /// It is gone.
    Nowhere,
}

/// What was said, so that not all of it is said again.
#[derive(Debug, Default)]
pub(super) struct Journal {
    limiter: Limiter<At, Nuisance>,
    /// By router: since when its lines are counted, how many there were, and transitions without one.
    transitions: HashMap<usize, (Instant, u32, u64)>,
}

impl Journal {
    /// What became of a packet from `source` on the interface number `at`, named `interface`: if it was taken, whether
    /// its sender's clock is a matter of concern.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        at: usize,
        interface: &str,
        source: IpAddr,
        heard: Result<bool, Refusal>,
    ) {
        let (nuisance, reason) = match heard {
            Ok(false) => return,
            Ok(true) => {
                if self.limiter.note(now, At::Interface(at), Nuisance::ClockSkew) {
                    warn!("{interface}: from {source}: {SKEW}");
                }
                return;
            }
            Err(Refusal::Discarded(discard)) => (Nuisance::Discarded(discard), reason(discard)),
            Err(Refusal::Unauthentic(why)) => (Nuisance::Unauthentic(why), unauthentic(why)),
        };
        if self.limiter.note(now, At::Interface(at), nuisance) {
            warn!("{interface}: discarded an Advertisement from {source}: {reason}");
        }
    }

    /// A transition or another Active, of the Virtual Router `name`. Somebody who sends priorities 255 and 0 in
    /// turn makes as many transitions as he likes, so only some of a minute get a line.
    pub(super) fn event(&mut self, now: Instant, at: usize, name: &str, kind: EventKind) {
        match kind {
            EventKind::Transition { from, to, reason } => {
                let (since, lines, unsaid) = self.transitions.entry(at).or_insert((now, 0, 0));
                if now.since(*since) > WINDOW {
                    (*since, *lines) = (now, 0);
                }
                if *lines >= TRANSITIONS {
                    *unsaid += 1;
                    return;
                }
                *lines += 1;
                let (from, to, reason) = (from.as_str(), to.as_str(), reason.as_str());
                match std::mem::take(unsaid) {
                    0 => info!("{name}: {from} -> {to} ({reason})"),
                    unsaid => info!("{name}: {from} -> {to} ({reason}), after {unsaid} more transitions"),
                }
            }
            EventKind::DualActive { rival } => {
                if self.limiter.note(now, At::Router(at), Nuisance::DualActive) {
                    warn!("{name}: {rival} is Active too; the network was, or is, split");
                }
            }
        }
    }

    /// Somebody else took `address` away from the Virtual Router `name`, or its lease was `over`.
    pub(super) fn address_lost(&mut self, now: Instant, at: usize, name: &str, address: IpAddr, over: bool) {
        if over {
            if self.limiter.note(now, At::Router(at), Nuisance::LeaseOver) {
                warn!("{name}: the lease of {address} ran out while this agent stood still");
            }
        } else if self.limiter.note(now, At::Router(at), Nuisance::AddressLost) {
            warn!("{name}: {address} was removed by somebody else; it is put back");
        }
    }

    /// A message could not be sent on the interface number `at`, named `interface`.
    pub(super) fn send_failed(&mut self, now: Instant, at: Option<usize>, interface: Option<&str>, error: &io::Error) {
        let place = at.map_or(At::Nowhere, At::Interface);
        if self.limiter.note(now, place, Nuisance::SendFailed) {
            warn!("{}: cannot send: {error}", interface.unwrap_or("an interface that is gone"));
        }
    }

    /// Writes the summaries that are due.
    pub(super) fn summarize(&mut self, now: Instant, name: impl Fn(At) -> String) {
        while let Some(summary) = self.limiter.summary(now) {
            let (at, count) = (name(summary.router), summary.count);
            match summary.kind {
                Nuisance::Discarded(discard) => {
                    warn!("{count} more Advertisements were discarded, the last one on {at}: {}", reason(discard));
                }
                Nuisance::Unauthentic(why) => {
                    warn!("{count} more Advertisements were discarded, the last one on {at}: {}", unauthentic(why));
                }
                Nuisance::ClockSkew => warn!("{count} more times, the last time on {at}: {SKEW}"),
                Nuisance::DualActive => warn!("another Active was heard {count} more times, the last time on {at}"),
                Nuisance::AddressLost => warn!("{count} more addresses were removed by somebody else"),
                Nuisance::LeaseOver => warn!("the leases of {count} more addresses ran out"),
                Nuisance::SendFailed => warn!("{count} more messages could not be sent"),
            }
        }
    }

    /// The Virtual Router number `at` is gone: the next one of that number is another.
    pub(super) fn forget(&mut self, at: usize) {
        self.limiter.forget(At::Router(at));
        self.transitions.remove(&at);
    }

    /// When [`Journal::summarize`] will have something to write.
    pub(super) fn due(&self) -> Option<Instant> {
        self.limiter.summary_at()
    }
}

/// Says in a clause what was wrong with a packet.
fn reason(discard: Discard) -> &'static str {
    match discard {
        Discard::HopLimit => "its TTL or hop limit is not 255, or, from a unicast peer, less than `min_ttl`",
        Discard::Version => "it is of another version",
        Discard::Type => "its type is not 1 (ADVERTISEMENT)",
        Discard::Length => "its length does not fit its contents",
        Discard::Checksum => "its checksum is wrong",
        Discard::Vrid => "its VRID is not configured here",
        Discard::Count => "its address count is 0",
        Discard::Interval => "its interval is 0, or (version 2) not the configured one",
        Discard::AuthType => "its authentication type is unknown",
        Discard::AuthTypeMismatch => "its authentication type is not the configured one",
        Discard::AuthFailure => "its password is wrong",
        Discard::Destination => "its destination is not the VRRP group, or, with unicast peers, it is a group",
        Discard::Peer => "its source is no unicast peer",
        Discard::OwnSource => "its source is our own address",
        Discard::FirstAddress => "its first IPv6 address is not link-local",
        Discard::AddressList => "its addresses are not the configured ones",
        Discard::NotRunning => "the Virtual Router is not running",
    }
}

/// Says in a clause why a packet is not believed.
fn unauthentic(reason: Unauthentic) -> &'static str {
    match reason {
        Unauthentic::Missing => "it is not authenticated, and `auth_hmac` wants that",
        Unauthentic::Malformed => "its authentication is of an unknown kind",
        Unauthentic::Stale => "its time differs from ours by more than `time_window`: a late copy, or a wrong clock",
        Unauthentic::UnknownKey => "its key has a number of which there is none here",
        Unauthentic::Mismatch => "its HMAC is wrong: it is of another key, or was changed on the way",
        Unauthentic::Replayed => "it, or a later one of its sender, has been here before",
    }
}
