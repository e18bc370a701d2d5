//! The rows of the kernel's table that a pool wants.

use super::{Health, Pool};
use crate::ipvs::row::{Destination, Service};
use crate::ipvs::table::Destinations;

impl Pool {
    /// Its services: one for each of its keys, each with the same destinations.
    pub fn services(&self) -> impl Iterator<Item = Service> {
        let plan = &self.plan;
        plan.keys.iter().map(|key| Service {
            key: *key,
            scheduler: plan.scheduler.clone(),
            flags: plan.flags,
            persistence: plan.persistence.clone(),
        })
    }

    /// The destinations of each of them.
    ///
    /// Without the quorum the sorry server stands for all: those that are up leave the table, or stay in it with
    /// weight 0 if that is how they leave it (`inhibit_on_failure`), or if they are being drained, since then
    /// their connections are to end by themselves. Without a sorry server the quorum changes nothing here.
    pub fn destinations(&self) -> Destinations {
        let sorry = self.plan.sorry.as_ref();
        let replaced = sorry.is_some() && !self.quorum;
        let inhibited = sorry.is_some_and(|sorry| sorry.inhibit);
        let rows = self.servers().filter_map(|(server, member)| {
            let weight = match member.health() {
                Health::Up if !replaced => member.weight(server),
                Health::Up if server.inhibit_on_failure || member.decree.is_some_and(|decree| decree.weight() == 0) => {
                    0
                }
                Health::Down if server.inhibit_on_failure => 0,
                Health::Up | Health::Down => return None,
            };
            Some(Destination {
                key: server.key,
                forwarding: server.forwarding,
                weight,
                upper_threshold: server.upper_threshold,
                lower_threshold: server.lower_threshold,
            })
        });
        let sorry = sorry.map(|sorry| Destination {
            key: sorry.key,
            forwarding: sorry.forwarding,
            weight: u32::from(replaced),
            upper_threshold: 0,
            lower_threshold: 0,
        });
        // One that is a real server of the pool as well keeps that row while the quorum is there: the last one counts.
        let (first, last) = if replaced { (None, sorry) } else { (sorry.filter(|_| inhibited), None) };
        first.into_iter().chain(rows).chain(last).collect()
    }
}
