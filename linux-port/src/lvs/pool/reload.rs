//! A reload: what a new pool takes over from the one that stood in its place.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Health, Member, Opinion, Pool, PoolEvent, REMOVED};
use crate::lvs::plan::{Check, RealServer, VirtualServer};

/// Where the checks of `new` come from: for each server and each of its checks, the numbers of the equal one in
/// `old`, whose schedule (and running attempt) goes on. `None` is a new check, or one that has been changed.
pub fn heritage(old: &VirtualServer, new: &VirtualServer) -> Vec<Vec<Option<(usize, usize)>>> {
    let places: HashMap<_, _> = old.servers.iter().enumerate().map(|(place, server)| (server.key, place)).collect();
    let origins = |server: &Arc<RealServer>| {
        let Some((place, ancestor)) =
            places.get(&server.key).and_then(|place| Some((*place, old.servers.get(*place)?)))
        else {
            return vec![None; server.checks.len()];
        };
        let mut taken = vec![false; ancestor.checks.len()];
        let origin = |check: &Arc<Check>| {
            // Equal checks of one server keep their order; each is taken once.
            let mut known = ancestor.checks.iter().zip(&mut taken).enumerate();
            let (number, (_, taken)) = known.find(|(_, (known, taken))| !**taken && *known == check)?;
            *taken = true;
            Some((place, number))
        };
        server.checks.iter().map(origin).collect()
    };
    new.servers.iter().map(origins).collect()
}

impl Pool {
    /// The pool of `plan` after a reload, in the place of `old`. Servers are the same by their address and port,
    /// checks by being equal; they keep their health and weight, servers also what an administrator has said. A
    /// check that is new or has been changed says what its server's health was, until its first verdict. What
    /// this changes, such as a server that was down by a check which is gone, is in the events, after those of
    /// `old` that nobody has taken.
    pub fn reloaded(plan: Arc<VirtualServer>, mut old: Self) -> Self {
        let origins = heritage(&old.plan, &plan);
        let keys: HashMap<_, _> = plan.servers.iter().enumerate().map(|(place, server)| (server.key, place)).collect();
        let mut members: Vec<Member> = plan.servers.iter().map(Member::new).collect();
        let mut events = std::mem::take(&mut old.events);

        for (server, before) in old.plan.servers.iter().zip(&old.members) {
            let place = keys.get(&server.key);
            let Some((member, origins)) = place.and_then(|at| Some((members.get_mut(*at)?, origins.get(*at)?))) else {
                if before.health() == Health::Up {
                    let reason = REMOVED.into();
                    events.push(PoolEvent::ServerDown { server: Arc::clone(server), reason });
                }
                continue;
            };
            let opinion = |origin: &Option<(usize, usize)>| {
                let inherited = origin.and_then(|(_, number)| before.checks.get(number));
                inherited.cloned().unwrap_or_else(|| Opinion::assuming(before.health()))
            };
            *member =
                Member { checks: origins.iter().map(opinion).collect(), decree: before.decree, told: before.told };
        }

        let mut pool = Self { plan, members, quorum: old.quorum, events };
        for place in 0..pool.members.len() {
            pool.tell_of(place);
        }
        pool.judge_quorum();
        pool
    }
}
