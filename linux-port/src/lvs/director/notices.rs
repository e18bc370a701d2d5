//! What the operator hears of pools: a line in the log and a script for each event. However much happens at once, the
//! log gets a bounded number of lines, and so many scripts run at a time.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use log::{error, info, warn};
use steadfast_core::time::{Duration, Instant};

use crate::ipvs::row::{Protocol, ServiceKey};
use crate::lvs::plan::VirtualServer;
use crate::lvs::pool::PoolEvent;
use crate::notify::{BalancingNotice, Outlet};
use crate::process::{Ended, Programs, Script};
use crate::sys::spawn::Exit;

/// Scripts at a time.
const MOST: usize = 32;
/// Scripts that wait for their turn; one more is not run.
const WAITING: usize = 4096;
/// How long a script may run.
const LIMIT: Duration = Duration::from_secs(300);

/// Lines that may come at once, and after that, how often one more.
const LINES: u32 = 100;
const EVERY: Duration = Duration::from_millis(500);

/// The scripts, and what was said of late.
#[derive(Debug)]
pub(super) struct Notices {
    scripts: Programs<String>,
    lines: Budget,
    /// Where the FIFOs are.
    outlet: Option<Outlet>,
}

impl Notices {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { scripts: Programs::new(MOST)?, lines: Budget::default(), outlet: None })
    }

    /// FIFOs, if there are any, are there from now on.
    pub(super) fn tell_to(&mut self, outlet: Option<Outlet>) {
        self.outlet = outlet;
    }

    /// Something has happened in the pool of `plan`.
    pub(super) fn event(&mut self, now: Instant, plan: &VirtualServer, event: PoolEvent) {
        let name = &plan.name;
        let (script, keyword) = match &event {
            PoolEvent::ServerUp { server } => {
                self.say(now, format_args!("{name}: {} is up", server.key));
                (&server.notify_up, "notify_up")
            }
            PoolEvent::ServerDown { server, reason } => {
                self.say(now, format_args!("{name}: {} is down: {reason}", server.key));
                (&server.notify_down, "notify_down")
            }
            PoolEvent::QuorumGained { alive, wanted } => {
                self.say(now, format_args!("{name}: the quorum is there: weight {alive} is alive, {wanted} is wanted"));
                (&plan.quorum_up, "quorum_up")
            }
            PoolEvent::QuorumLost { alive, wanted } => {
                self.say(now, format_args!("{name}: the quorum is lost: weight {alive} is alive, {wanted} is wanted"));
                (&plan.quorum_down, "quorum_down")
            }
        };
        if let Some(script) = script {
            self.run(now, script, format!("{keyword} of {name}"));
        }
        if let Some(outlet) = &self.outlet {
            outlet.tell_balancing(notice(plan, &event));
        }
    }

    /// A line of the log, unless there are too many.
    pub(super) fn say(&mut self, now: Instant, line: fmt::Arguments<'_>) {
        if let Some(unsaid) = self.lines.take(now) {
            match unsaid {
                0 => info!("{line}"),
                unsaid => info!("{line} (after {unsaid} lines of this kind that are not here)"),
            }
        }
    }

    fn run(&mut self, now: Instant, script: &Arc<Script>, what: String) {
        if self.scripts.waiting() >= WAITING {
            error!("{what} is not run: {WAITING} others wait for their turn");
            return;
        }
        self.scripts.run(now, Arc::clone(script), LIMIT, what);
    }

    /// Takes in what has become of scripts.
    pub(super) fn poll(&mut self, now: Instant) -> io::Result<()> {
        self.scripts.poll(now)?;
        while let Some((what, ended)) = self.scripts.next_ended() {
            match ended {
                Ended::Exited(Exit::Status(0)) => {}
                Ended::Exited(Exit::Status(status)) => warn!("{what}: exit status {status}"),
                Ended::Exited(Exit::Signal(signal)) => warn!("{what}: ended by signal {signal}"),
                Ended::TimedOut(limit) => {
                    warn!("{what}: it is ended, since it has run for {} s", limit.as_millis() / 1000);
                }
                Ended::NotRun(error) => error!("{what} cannot be run: {error}"),
            }
        }
        Ok(())
    }

    /// When [`Self::poll`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.scripts.due()
    }

    /// Starts all that is still to be started; they outlive the agent.
    pub(super) fn finish(&mut self, now: Instant) {
        self.scripts.start_all(now);
        // What could not be run is said.
        if let Err(error) = self.poll(now) {
            warn!("scripts: {error}");
        }
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.scripts.as_fd()
    }
}

/// What FIFOs and mail are told, as keepalived says it.
fn notice(plan: &VirtualServer, event: &PoolEvent) -> BalancingNotice {
    let key = plan.keys.first();
    let protocol = match key {
        Some(ServiceKey::Address { protocol: Protocol::Tcp, .. }) => "tcp",
        Some(ServiceKey::Address { protocol: Protocol::Udp, .. }) => "udp",
        Some(ServiceKey::Address { protocol: Protocol::Sctp, .. }) => "sctp",
        Some(ServiceKey::Mark { .. }) | None => "none",
    };
    let service = match (plan.name.strip_prefix("group "), key) {
        (Some(group), _) => format!("[{group}]:0"),
        (None, Some(ServiceKey::Mark { mark, .. })) => format!("FWM {mark}"),
        (None, Some(ServiceKey::Address { address, port, .. })) => format!("[{address}]:{protocol}:{port}"),
        (None, None) => plan.name.clone(),
    };
    let (server, state, why) = match event {
        PoolEvent::ServerUp { server } => (Some(server), "UP", "Its checks say that it answers.".to_owned()),
        PoolEvent::ServerDown { server, reason } => (Some(server), "DOWN", format!("Its checks say: {reason}.")),
        PoolEvent::QuorumGained { alive, wanted } => {
            (None, "UP", format!("The quorum is there: weight {alive} is alive, {wanted} is wanted."))
        }
        PoolEvent::QuorumLost { alive, wanted } => {
            (None, "DOWN", format!("The quorum is lost: weight {alive} is alive, {wanted} is wanted."))
        }
    };
    let (line, subject, mail) = match server {
        Some(server) => {
            let address = format!("[{}]:{protocol}:{}", server.key.address, server.key.port);
            let subject = format!("Realserver {address} of virtual server {service} - {state}");
            (format!("RS {address} {service} {state}\n"), subject, server.mail)
        }
        None => (format!("VS {service} {state}\n"), format!("Virtualserver {service} - {state}"), plan.mail),
    };
    BalancingNotice { line: line.into(), mail: mail.then_some((subject, why)) }
}

/// So many lines at once, and one more every so often.
#[derive(Debug, Default)]
struct Budget {
    /// When all of them will be free again.
    free_at: Instant,
    unsaid: u64,
}

impl Budget {
    /// Takes a line; how many were not said since the last one.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let after = self.free_at.max(now) + EVERY;
        if after.since(now) > EVERY.times(u64::from(LINES)) {
            self.unsaid += 1;
            return None;
        }
        self.free_at = after;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::testing;

    #[test]
    fn fifos_are_told_in_the_words_of_keepalived() {
        let plan = testing::service();
        let server = Arc::new(testing::server("[2001:db8::1]:8080"));
        let line = |plan: &VirtualServer, event: &PoolEvent| notice(plan, event).line.to_string();
        let down = PoolEvent::ServerDown { server, reason: "refused".into() };
        assert_eq!(line(&plan, &down), "RS [2001:db8::1]:tcp:8080 [192.0.2.1]:tcp:80 DOWN\n");
        let (subject, body) = notice(&plan, &down).mail.unwrap();
        assert_eq!(subject, "Realserver [2001:db8::1]:tcp:8080 of virtual server [192.0.2.1]:tcp:80 - DOWN");
        assert_eq!(body, "Its checks say: refused.");
        let gained = PoolEvent::QuorumGained { alive: 2, wanted: 1 };
        assert_eq!(notice(&plan, &gained), BalancingNotice { line: "VS [192.0.2.1]:tcp:80 UP\n".into(), mail: None });
        let marked = VirtualServer {
            name: "fwmark 3".into(),
            keys: vec![ServiceKey::Mark { mark: 3, family: steadfast_core::types::Family::V4 }],
            ..plan.clone()
        };
        assert_eq!(line(&marked, &gained), "VS FWM 3 UP\n");
        let group = VirtualServer { name: "group WEB".into(), ..plan };
        assert_eq!(line(&group, &gained), "VS [WEB]:0 UP\n");
    }

    #[test]
    fn lines_are_bounded_and_none_is_forgotten() {
        let mut budget = Budget::default();
        let start = Instant::from_micros(1_000_000_000);
        let said = (0..10_000).filter(|_| budget.take(start).is_some()).count();
        assert_eq!(said, LINES as usize);
        assert_eq!(budget.take(start + EVERY), Some(10_000 - u64::from(LINES)));
        assert_eq!(budget.take(start + EVERY), None);
    }
}
