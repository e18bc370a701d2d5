//! A virtual server at work: what its checks and its administrator say of the real servers, its quorum, and what
//! follows from both: the rows that the kernel ought to have (`rows`) and the events that scripts and the log
//! hear of. A machine without I/O or time; when checks are done is [`super::schedule`]'s matter.
//!
//! A server is up while none of its checks says otherwise, or, with `alpha`, once all have said so. The rows are
//! a function of the healths, the weights and the quorum alone: how the pool came to them does not matter.

mod reload;
mod rows;
#[cfg(test)]
mod tests;

pub use reload::heritage;

use std::borrow::Cow;
use std::sync::Arc;

use crate::ipvs::row::DestinationKey;
use crate::lvs::plan::{Check, RealServer, VirtualServer};
use crate::lvs::verdict::{Verdict, WeightChange};

/// What the kernel takes for a weight at most.
const LARGEST_WEIGHT: u32 = i32::MAX as u32;

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It does not.
    Down,
    /// It does.
    Up,
}

/// What an administrator has said of a server, until it is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// No new connections; those that are there go on. Its checks too.
    Drain,
    /// This weight, whatever the file and the checks say.
    Weight(u32),
}

impl Override {
    /// The weight that it stands for.
    pub fn weight(self) -> u32 {
        match self {
            Self::Drain => 0,
            Self::Weight(weight) => weight.min(LARGEST_WEIGHT),
        }
    }
}

/// What has happened in a pool. The servers are handed out whole, since those of a configuration that is gone
/// have scripts as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// `notify_up`.
    ServerUp {
        /// Which one.
        server: Arc<RealServer>,
    },
    /// `notify_down`.
    ServerDown {
        /// Which one.
        server: Arc<RealServer>,
        /// Why.
        reason: Cow<'static, str>,
    },
    /// `quorum_up`.
    QuorumGained {
        /// The weight that is alive.
        alive: u64,
        /// The weight that is wanted: the quorum and the hysteresis.
        wanted: u64,
    },
    /// `quorum_down`.
    QuorumLost {
        /// The weight that is alive.
        alive: u64,
        /// The weight that is wanted: the quorum less the hysteresis, at least 1.
        wanted: u64,
    },
}

/// A virtual server at work.
#[derive(Clone, Debug)]
pub struct Pool {
    plan: Arc<VirtualServer>,
    /// As in the plan.
    members: Vec<Member>,
    quorum: bool,
    events: Vec<PoolEvent>,
}

/// What a pool knows of a real server.
#[derive(Clone, Debug)]
struct Member {
    /// As in the plan.
    checks: Vec<Opinion>,
    decree: Option<Override>,
    /// What its health was when somebody was last told of it, or knew without being told.
    told: Option<Health>,
}

/// What a check says of its server.
#[derive(Clone, Debug)]
struct Opinion {
    /// Before its first word, what is assumed in its stead.
    health: Health,
    /// Whether it has had a word.
    spoken: bool,
    /// The weight that it asked for last.
    weight: Option<WeightChange>,
    /// Why it said so.
    reason: Cow<'static, str>,
}

/// A real server as status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView<'a> {
    /// The server.
    pub server: &'a Arc<RealServer>,
    /// Whether it answers.
    pub health: Health,
    /// Whether all its checks have said so, or it is only assumed.
    pub known: bool,
    /// Why it is down; empty if it is not, or none of its checks has been done.
    pub reason: &'a str,
    /// Its share of new connections if it is up.
    pub weight: u32,
    /// What an administrator has said.
    pub decree: Option<Override>,
}

impl Pool {
    /// The pool of an agent that starts: nothing has been checked. It begins with the quorum that these healths
    /// give, and says so.
    pub fn new(plan: Arc<VirtualServer>) -> Self {
        let members = plan.servers.iter().map(Member::new).collect();
        let mut pool = Self { plan, members, quorum: false, events: Vec::new() };
        pool.judge_quorum();
        // As in keepalived, a start without the quorum is an event where a sorry server has to help.
        if !pool.quorum && pool.plan.sorry.is_some() {
            pool.events.push(PoolEvent::QuorumLost { alive: pool.alive_weight(), wanted: pool.wanted_weight() });
        }
        pool
    }

    /// The plan that it follows.
    pub fn plan(&self) -> &Arc<VirtualServer> {
        &self.plan
    }

    /// What a check says by an attempt that counts. Numbers that are not in the plan are nobody's, and change
    /// nothing.
    pub fn set_check(&mut self, server: usize, check: usize, verdict: &Verdict) {
        let Some(opinion) = self.members.get_mut(server).and_then(|member| member.checks.get_mut(check)) else {
            return;
        };
        opinion.spoken = true;
        match verdict {
            Verdict::Up => (opinion.health, opinion.reason) = (Health::Up, Cow::Borrowed("")),
            Verdict::UpWith(weight) => {
                (opinion.health, opinion.reason) = (Health::Up, Cow::Borrowed(""));
                opinion.weight = Some(*weight);
            }
            Verdict::Down(reason) => (opinion.health, opinion.reason) = (Health::Down, reason.clone()),
        }
        self.tell_of(server);
        self.judge_quorum();
    }

    /// What an administrator says of a server, or, with `None`, that he takes it back. False if there is no such
    /// server.
    pub fn set_override(&mut self, key: DestinationKey, decree: Option<Override>) -> bool {
        let servers = self.plan.servers.iter().zip(&mut self.members);
        let Some((_, member)) = servers.into_iter().find(|(server, _)| server.key == key) else { return false };
        member.decree = decree;
        self.judge_quorum();
        true
    }

    /// What has happened since it was last asked, in order.
    pub fn take_events(&mut self) -> Vec<PoolEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether the quorum is there.
    pub fn has_quorum(&self) -> bool {
        self.quorum
    }

    /// The sum of the weights of those that are up.
    pub fn alive_weight(&self) -> u64 {
        self.servers().filter(|(_, member)| member.health() == Health::Up).map(|(s, m)| u64::from(m.weight(s))).sum()
    }

    /// The real servers, in the order of the plan.
    pub fn view(&self) -> impl ExactSizeIterator<Item = MemberView<'_>> {
        self.plan.servers.iter().zip(&self.members).map(|(server, member)| MemberView {
            server,
            health: member.health(),
            known: member.checks.iter().all(|check| check.spoken),
            reason: member.reason(),
            weight: member.weight(server),
            decree: member.decree,
        })
    }

    /// Ends the pool: what is to be told when its virtual server is taken out of the configuration, or, if
    /// `stopping`, when the agent stops; then, without `omega`, nothing.
    pub fn end(self, stopping: bool) -> Vec<PoolEvent> {
        let mut events = Vec::new();
        if stopping && !self.plan.omega {
            return events;
        }
        for (server, member) in self.plan.servers.iter().zip(&self.members) {
            if member.health() == Health::Up {
                let reason = if stopping { "the agent stops" } else { REMOVED };
                events.push(PoolEvent::ServerDown { server: Arc::clone(server), reason: reason.into() });
            }
        }
        // At a stop keepalived says so even where it was lost already.
        if self.quorum || stopping {
            events.push(PoolEvent::QuorumLost { alive: 0, wanted: self.wanted_weight() });
        }
        events
    }

    fn servers(&self) -> impl Iterator<Item = (&RealServer, &Member)> {
        self.plan.servers.iter().map(Arc::as_ref).zip(&self.members)
    }

    /// Makes an event of a health that nobody has been told.
    fn tell_of(&mut self, index: usize) {
        let (Some(server), Some(member)) = (self.plan.servers.get(index), self.members.get_mut(index)) else { return };
        let health = member.health();
        // A server that `alpha` holds back is nothing to tell until a check has found it down.
        let assumed =
            member.told.is_none() && member.checks.iter().all(|check| check.health == Health::Up || !check.spoken);
        if member.told == Some(health) || (health == Health::Down && assumed) {
            return;
        }
        member.told = Some(health);
        let server = Arc::clone(server);
        self.events.push(match health {
            Health::Up => PoolEvent::ServerUp { server },
            Health::Down => PoolEvent::ServerDown { server, reason: Cow::Owned(member.reason().to_owned()) },
        });
    }

    /// The weight that keeps the quorum, or, while it is lost, brings it back. None at all is never enough.
    pub fn wanted_weight(&self) -> u64 {
        let (quorum, hysteresis) = (u64::from(self.plan.quorum), u64::from(self.plan.hysteresis));
        let threshold = if self.quorum { quorum.saturating_sub(hysteresis) } else { quorum.saturating_add(hysteresis) };
        threshold.max(1)
    }

    fn judge_quorum(&mut self) {
        let (alive, wanted) = (self.alive_weight(), self.wanted_weight());
        let quorum = alive >= wanted;
        if quorum != self.quorum {
            self.quorum = quorum;
            self.events.push(match quorum {
                true => PoolEvent::QuorumGained { alive, wanted },
                false => PoolEvent::QuorumLost { alive, wanted },
            });
        }
    }
}

/// Why a server is down that is not in the new configuration.
const REMOVED: &str = "no longer configured";

impl Member {
    fn new(server: &Arc<RealServer>) -> Self {
        let checks: Vec<Opinion> = server.checks.iter().map(|check| Opinion::new(check)).collect();
        let mut member = Self { checks, decree: None, told: None };
        // That a server is up from the start is no news.
        if member.health() == Health::Up {
            member.told = Some(Health::Up);
        }
        member
    }

    fn health(&self) -> Health {
        self.checks.iter().map(|check| check.health).min().unwrap_or(Health::Up)
    }

    fn reason(&self) -> &str {
        self.checks.iter().find(|check| check.health == Health::Down).map_or("", |check| &check.reason)
    }

    /// Its share: the administrator's word, or else the file's with what the checks make of it. The last check
    /// in the file that knows an absolute weight has its way; the relative ones are added.
    fn weight(&self, server: &RealServer) -> u32 {
        if let Some(decree) = self.decree {
            return decree.weight();
        }
        let mut weight = i64::from(server.weight);
        for check in &self.checks {
            if let Some(WeightChange::Absolute(absolute)) = check.weight {
                weight = i64::from(absolute);
            }
        }
        for check in &self.checks {
            if let Some(WeightChange::Relative(change)) = check.weight {
                weight = weight.saturating_add(i64::from(change));
            }
        }
        weight.clamp(0, i64::from(LARGEST_WEIGHT)) as u32
    }
}

impl Opinion {
    fn new(check: &Check) -> Self {
        Self::assuming(if check.timing.alpha { Health::Down } else { Health::Up })
    }

    fn assuming(health: Health) -> Self {
        let reason = match health {
            Health::Up => "",
            Health::Down => "not checked yet",
        };
        Self { health, spoken: false, weight: None, reason: reason.into() }
    }
}
