//! What the director answers: the services and servers for the status document, and requests about one server.

use std::io;

use steadfast_core::time::Instant;

use super::engine::{Engine, Service};
use crate::control::command::{Action, ServerCommand, ServerReport};
use crate::ipvs::client::Client;
use crate::ipvs::row::{self, ServiceKey};
use crate::ipvs::statistics::{Counters, ServiceStatistics};
use crate::lvs::find::find;
use crate::lvs::pool::{Override, Pool};
use crate::lvs::report::{self, Counted};
use crate::status::lvs::LvsStatus;
use crate::sys::clock;
use crate::timestamp::Timestamp;

/// The kernel's counters as they were last read.
#[derive(Debug, Default)]
pub(super) struct LastCount {
    rows: Vec<ServiceStatistics>,
    again_at: Instant,
}

impl Engine<'_> {
    /// Everything that status shows of LVS.
    pub(super) fn status(&mut self, now: Instant) -> LvsStatus {
        self.count(now);
        let counted = Counted::new(&self.counted.rows);
        let wall = Timestamp::now();
        let services = self.services.iter().flat_map(|Service { pool, slots, .. }| {
            let last = |server: usize| {
                let checks = slots.get(server).into_iter().flatten();
                let last = checks.filter_map(|slot| self.checks.last(*slot)).max()?;
                Some(wall.earlier_by(now.since(last)))
            };
            report::services(pool, &counted, last)
        });
        let services = services.collect();
        let (checks, table) = (self.checks.counts, self.keeper.counts);
        let counters = [
            ("check-attempts", checks.attempts),
            ("checks-put-off", checks.obstacles),
            ("table-looks", table.looks),
            ("table-writes", table.writes),
            ("table-repairs", table.repairs),
            ("table-refusals", table.refused),
            ("director-restarts", self.memory.restarts),
        ];
        LvsStatus { services, counters: counters.into_iter().collect() }
    }

    /// Does what is asked of one server; how it is then, or why it cannot be done.
    pub(super) fn command(&mut self, now: Instant, command: &ServerCommand) -> Result<ServerReport, String> {
        let (index, key) = find(&self.memory.plan.services, &command.service, &command.server)?;
        let service = self.services.get_mut(index).ok_or("there is no such virtual server")?;
        let decree = match command.action {
            Action::Drain => Some(Some(Override::Drain)),
            Action::Weight(weight) => Some(Some(Override::Weight(weight))),
            Action::Enable => Some(None),
            Action::Show => None,
        };
        if let Some(decree) = decree {
            service.pool.set_override(key, decree);
            let what = match decree {
                Some(Override::Drain) => "is drained".to_owned(),
                Some(decree) => format!("has weight {}", decree.weight()),
                None => "is as the file and its checks say".to_owned(),
            };
            log::info!("{}: {key} {what}, as an administrator wants", service.pool.plan().name);
            self.changed.insert(index);
            self.keep(now);
        }
        let pool = &self.services.get(index).ok_or("there is no such virtual server")?.pool.clone();
        let statistics = self.ask(now, |client| statistics(client, pool)).unwrap_or_default();
        report::server(pool, key, &Counted::new(&statistics)).ok_or_else(|| "there is no such real server".into())
    }

    /// Has the kernel's counters read, unless that was done so recently that doing it again would take more than a
    /// tenth of the time: however often status is asked for, checks go on.
    fn count(&mut self, now: Instant) {
        if now < self.counted.again_at {
            return;
        }
        let begun = clock::now();
        self.counted.rows = self.ask(now, Client::statistics).unwrap_or_default();
        let end = clock::now();
        self.counted.again_at = end + end.since(begun).times(9);
    }

    /// Asks the kernel something; nothing if there is no IPVS.
    fn ask<T>(&mut self, now: Instant, question: impl FnOnce(&mut Client) -> io::Result<T>) -> Option<T> {
        let client = self.kernel.client(now).0?;
        question(client).inspect_err(|error| self.kernel.broke(now, error)).ok()
    }
}

/// The destinations of one pool's services as the kernel counts them; nothing of other services is read.
fn statistics(client: &mut Client, pool: &Pool) -> io::Result<Vec<ServiceStatistics>> {
    let of = |service: row::Service| {
        let key: ServiceKey = service.key;
        Ok(ServiceStatistics { service, counters: Counters::default(), destinations: client.destinations(&key)? })
    };
    pool.services().map(of).collect()
}
